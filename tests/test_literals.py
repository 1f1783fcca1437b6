"""Lines of a program in a traceback: their secrets are hidden, and all else is as in the file."""

import traceback
from pathlib import Path

import pytest

from secret_texts import HIDDEN
from ttt import redact

FRAME = '  File "/home/me/parts.py", line 3, in build\n    {}\n'
ORDINARY = [
    "token = make()",
    "key = self._key(name)",
    'self.api_key = os.environ["API_KEY"]',
    'token = os.environ.get("HF_TOKEN")',
    "login(password=arguments.password, user=me)",
    "load(token=token, url=url)",
    'key = prefix + "weight"',
    'key = row["id"]',
    "for key, value in state.items():",
    'if token: raise ValueError("no token was given")',
    'if password is None: raise ValueError("no password was given")',
    'raise KeyError(f"key {key} of {name} is missing")',
    'parser.add_argument("--token", help="a word of the vocabulary")',
    'password = getpass.getpass("Password: ")',
    "def build(token: str, key: int = 5, password: str | None = None):",
    'url = f"https://{user}:{password}@{host}/x"',
    'headers = {"Authorization": f"Bearer {token}"}',
    'os.environ["HF_TOKEN"] = f"{first}-{second}"',
    "PAD_TOKEN = 5",
    'if key == "run_start":',
    'if key in ("quality", "error"):',
    'VARIABLES = {"SLURM_JWT", "SLURM_CONF"}',
    'return {"KEY": {"NAME": name}}',
    'password = getattr(settings, "password")',
    'token = vocabulary.index("the")',
    "token: Tokenizer = make()",
    'assert token.text == "word"',
    'x = lambda key: "abc"',
]
SECRET = {
    'load(password="canary", url="x")': 'load(password="[redacted]", url="x")',
    'password = b"canary"': 'password = b"[redacted]"',
    'password = ("can" "ary")': 'password = ("[redacted]" "[redacted]")',
    'api_key = key or "canary"': 'api_key = key or "[redacted]"',
    'api_key = f"{begin}canary"': 'api_key = f"[redacted]"',
    'if (token := "canary"): pass': 'if (token := "[redacted]"): pass',
    'password, user = "canary", "me"': 'password, user = "[redacted]", "[redacted]"',
    'saved["password"] = "canary"': 'saved["password"] = "[redacted]"',
    'os.environ.get("HF_TOKEN", "canary")': 'os.environ.get("HF_TOKEN", "[redacted]")',
    'run(["x", "--password", "canary", "--n"])': 'run(["x", "--password", "[redacted]", "--n"])',
    'add("--password", default="canary")': 'add("--password", default="[redacted]")',
    'if password == "canary":': 'if password == "[redacted]":',
    'password = decrypt("canary")': 'password = decrypt("[redacted]")',
    'def f(password: str = "canary", n=5):': 'def f(password: str = "[redacted]", n=5):',
    '{"password": "canary", "name": "x"}': '{"password": "[redacted]", "name": "x"}',
    "login(me, password='can\\'ary": "login(me, password='[redacted]",
    'API_KEY: "canary",': 'API_KEY: "[redacted]",',
    'token: str = "canary"': 'token: str = "[redacted]"',
    'api_key = Secret("canary")': 'api_key = Secret("[redacted]")',
    'token = login(me, "can4ry")': 'token = login(me, "[redacted]")',
    "password = 12345": "password = [redacted]",
    'password = "12345"': 'password = "[redacted]"',
    'password = "{canary}"': 'password = "[redacted]"',
    "f(f'{login(password=\"canary\")}')": "f(f'{login(password=\"[redacted]\")}')",
    'main(["+d={user:me,password:canary}"])': 'main(["+d={user:me,password:[redacted]}"])',
    'main([f"+d={{user:me,password:canary}}"])': 'main([f"+d={{user:me,password:[redacted]}}"])',
    'get(f"https://{user}:canary@host")': 'get(f"https://[redacted]@host")',
    "x = 1  # api_key=canary": "x = 1  # api_key=[redacted]",
}


@pytest.mark.parametrize("line", ORDINARY)
@pytest.mark.parametrize("margin", ["", "  | ", "[rank0]: "])
def test_an_ordinary_line_stays_as_it_is_in_the_file(line: str, margin: str):
    shown = "".join(f"{margin}{each}\n" for each in FRAME.format(line).splitlines())
    told = f"Traceback (most recent call last):\n{shown}ValueError: password=canary\n"
    assert redact.text(told) == told.replace("canary", "[redacted]")


@pytest.mark.parametrize(("line", "wanted"), SECRET.items())
def test_a_secret_in_a_line_is_hidden(line: str, wanted: str):
    assert redact.text(FRAME.format(line)) == FRAME.format(wanted)
    assert redact.text(FRAME.format(wanted)) == FRAME.format(wanted)


def test_a_quote_within_braces_does_not_end_a_text():
    """From Python 3.12 on; the line is then read as any text is."""
    assert "canary" not in redact.text(FRAME.format('f(f"{login(password="canary")}", x="y")'))


@pytest.mark.parametrize("said", HIDDEN)
def test_what_is_hidden_in_a_text_is_hidden_in_a_literal(said: str):
    doubled = said.replace("{", "{{").replace("}", "}}")
    for line in (f"main([{said!r}])", f"main(words + [f{doubled!r}], 3)", f'"""{said}'):
        told = redact.text(FRAME.format(line.replace("\n", "\\n")))
        assert "canary" not in told.replace("can@ary", "canary"), told


def test_the_lines_of_a_real_traceback(tmp_path: Path):
    file = tmp_path / "parts.py"
    lines = ["token = len", 'password = "canary" + token("abc", 5)']
    file.write_text("\n".join(lines))
    with pytest.raises(TypeError) as error:
        exec(compile(file.read_text(), file, "exec"), {})
    told = redact.text("".join(traceback.format_exception(error.value)))
    assert '    password = "[redacted]" + token("[redacted]", 5)\n' in told
    assert "canary" not in told
    file.write_text("def make(): raise ValueError('api_key=canary')\ntoken = make()\n")
    with pytest.raises(ValueError, match="canary") as failed:
        exec(compile(file.read_text(), tmp_path / "parts.py", "exec"), {})
    told = redact.text("".join(traceback.format_exception(failed.value)))
    assert "    token = make()\n" in told
    assert "ValueError: api_key=[redacted]\n" in told


def test_source_of_a_submission_hides_literals_of_any_kind():
    source = 'API_KEY = b"canary"\npassword = ("can"\n    "ary")\nsort(key="id")\n'
    hidden = redact.code(source)
    compile(hidden, "source", "exec")
    assert hidden == source.replace("canary", "[redacted]").replace(
        '("can"\n    "ary")', '("[redacted]"\n    "[redacted]")'
    )


@pytest.mark.parametrize("piece", ['"', "'''", "[", "password=(", 'key="a",', "f'{", "\\", "{("])
def test_a_long_line_is_read_once(piece: str):
    redact.text(FRAME.format("password=" + piece * (100_000 // len(piece))))
