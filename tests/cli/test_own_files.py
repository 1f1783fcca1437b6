"""Faults in a user's own YAML files: each a sentence with the file, the place and what is right."""

from pathlib import Path

import pytest

from ground import Command
from ttt import config
from ttt.cli import overrides

G = "# @package _global_\n"
BENCHMARK = "mine/benchmark/mine.yaml"
FILES = {
    "choice": (G + "defaults:\n  - override /data: digitss\n", "; - override /data: digits"),
    "group": (G + "defaults:\n  - override /dada: digits\n", "; - override /data: digits"),
    "override": (G + "defaults:\n  - /data: dates\n", "must be - override /data: dates"),
    "slash": (G + "defaults:\n  - override data: dates\n", "must be - override /data: dates"),
    "colon": (G + "defaults:\n  - override /data dates\n", "- override /data: dates"),
    "self": (G + "defaults:\n  - digits\n  - self\n", "- self must be - _self_"),
    "parent": (G + "defaults:\n  - digit\n", "- digit: no such choice; allowed: bert, "),
    "itself": (G + "defaults:\n  - mine\n", "its defaults lead back to itself"),
    "word": (G + "defaults: digits\n", "defaults is not a list"),
    "mapping": (G + "defaults:\n  override /data: dates\n", "defaults is not a list"),
    "misspelt": (G + "default:\n  - digits\n", "close to it: defaults"),
    "syntax": (G + "benchmark:\n  id: b\n target: [\n", f"{BENCHMARK}, line 4: "),
    "tab": (G + "target:\n\tthreshold: 0.5\n", f"{BENCHMARK}, line 3: a tab"),
    "twice": (G + "seed: 1\nseed: 2\n", f"{BENCHMARK}, line 3: found duplicate key seed"),
    "documents": (G + "seed: 1\n---\nruns: 2\n", "line 3: a second document"),
    "alias": (G + "seed: *x\n", "line 2: found undefined alias 'x'"),
    "header": ("benchmark:\n  id: c\n", "does not begin with the line # @package _global_"),
    "headers": ("# @package _globl_\nseed: 3\n", "does not begin with the line # @package"),
    "comment": ("# mine\n" + G + "seed: 3\n", "does not begin with the line # @package"),
    "bom": ("\ufeff" + G + "seed: 3\n", "begins with a byte order mark"),
    "nothing": ("", f"{BENCHMARK} sets nothing; allowed: the line # @package _global_"),
    "remarks": (G + "# later\n", f"{BENCHMARK} sets nothing"),
    "list": (G + "- seed\n", f"{BENCHMARK} is a list; allowed: lines of NAME: VALUE"),
    "text": (G + "hello\n", f"{BENCHMARK} is one value; allowed: lines of NAME: VALUE"),
    "number": (G + "3\n", f"{BENCHMARK} is one value; allowed: lines of NAME: VALUE"),
    "dotted": (G + "target.threshold: 0.5\n", "target: and below it, indented, threshold:"),
    "chooses": (G + "data: dates\n", "below defaults: - override /data: dates"),
    "empty": (G + "target:\n", "target: has nothing below it; remove the line"),
    "equals": (G + "target:\n  threshold=0.5\n", "target: threshold=0.5 is not allowed"),
    "type": (G + "precision: bf61\n", "allowed: fp32, tf32, bf16, fp16; precision: bf16"),
    "nowhere": (G + "seed: ${runz}\n", "seed=${runz}: runz is not a setting; close to it: runs"),
}


def _said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **files: str | bytes) -> list[str]:
    """What is wrong with `--config-dir mine benchmark=mine` and these files, by group."""
    monkeypatch.chdir(tmp_path)
    for group, content in files.items():
        path = Path("mine") / group / "mine.yaml"
        path.parent.mkdir(parents=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    config.register()
    typed = [f"{group}=mine" for group in files]
    return overrides.diagnose(["--config-dir", "mine", *typed], None, lambda run: [])


@pytest.mark.parametrize("name", FILES)
def test_a_fault_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    content, right = FILES[name]
    [sentence] = _said(tmp_path, monkeypatch, benchmark=content)
    assert right in sentence
    assert "\n" not in sentence
    assert sentence.startswith(f"benchmark=mine: {BENCHMARK}") or name == "nowhere"


@pytest.mark.parametrize(
    ("content", "right"),
    [
        ((G + "benchmark:\n  id: caf\xe9\n").encode("latin-1"), ", line 3: not UTF-8 (byte 0xe9)"),
        ((G + "seed: 3\n").encode("utf-16"), "iconv -f UTF-16 -t UTF-8"),
    ],
)
def test_a_file_that_is_not_utf_8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, right: str
):
    [sentence] = _said(tmp_path, monkeypatch, benchmark=content)
    assert right in sentence


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    content = "target:\n  treshold: 0.5\n  max_epochs: many\nsede: 3\ndata:\n  globalbatch: 8\n"
    found = _said(tmp_path, monkeypatch, benchmark=G + content)
    begin = f"benchmark=mine: {BENCHMARK}: "
    assert [one.removeprefix(begin).split(";")[0] for one in found] == [
        "target.treshold is not a setting",
        "target.max_epochs: many is not allowed",
        "sede is not a setting",
        "data.globalbatch is not a setting",
    ]
    assert found[3].endswith("close to it: data.global_batch")


def test_a_data_set_of_ones_own_is_judged_by_its_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    content = "defaults:\n  - /schema/images@_here_\n  - _self_\nsizee: 3\nclases: 4\n"
    found = _said(tmp_path, monkeypatch, data=content)
    assert [one.rpartition(": ")[2] for one in found] == ["data.size", "data.classes"]


def test_a_schema_that_does_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    content = "defaults:\n  - /schema/imags@_here_\nsize: 3\n"
    [sentence] = _said(tmp_path, monkeypatch, data=content)
    assert sentence.endswith("; - /schema/images@_here_")


def test_a_folder_of_benchmarks_of_which_none_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    own = ["--config-dir", "mine"]
    Path(BENCHMARK).parent.mkdir(parents=True)
    assert overrides.unchosen(own) == []
    Path(BENCHMARK).write_text(G + "seed: 3\n")
    [remark] = overrides.unchosen([*own, "seed=3"])
    assert "none of those in mine is trained: mine; benchmark=mine" in remark
    for typed in ("benchmark=mine", "benchmark=digits", "benchmark=digits,mine"):
        assert overrides.unchosen([*own, typed]) == []
    assert overrides.unchosen([]) == []


@pytest.mark.parametrize("name", ["number", "choice", "nothing"])
def test_the_command_says_so(ttt: Command, tmp_path: Path, name: str):
    """Hydra raises an OSError for the first, one of its own for the second, none for the third."""
    content, right = FILES[name]
    (tmp_path / BENCHMARK).parent.mkdir(parents=True)
    (tmp_path / BENCHMARK).write_text(content)
    done = ttt("run", "seed=3", "--config-dir", "mine", "benchmark=mine")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"ttt: benchmark=mine: {BENCHMARK}")
    assert right in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("typed", "advice"),
    [
        (["benchmark=my_photos"], "--config-dir my_photos benchmark=my_photos"),
        (["benchmark=other"], "--config-dir my_photos benchmark=other"),
        (["benchmark=near"], "--config-dir . benchmark=near"),
        (
            ["--config-dir", "my_photos/benchmark", "benchmark=my_photos"],
            "my_photos/benchmark: one folder up: --config-dir my_photos",
        ),
        (
            ["--config-dir", "data/photos"],
            "data/photos has no benchmark/NAME.yaml, it is a data set; ttt new NAME --from"
            " data/photos",
        ),
        (["--config-dir", "bare"], "bare has no benchmark/NAME.yaml; --config-dir DIR"),
    ],
)
def test_a_folder_that_was_forgotten_or_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: list[str], advice: str
):
    monkeypatch.chdir(tmp_path)
    for file in (
        "my_photos/benchmark/my_photos.yaml",
        "my_photos/benchmark/other.yaml",
        "another/benchmark/my_photos.yaml",
        "benchmark/near.yaml",
        "data/photos/manifest.json",
        "bare/notes.txt",
    ):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(G + "defaults:\n  - digits\n")
    config.register()
    [sentence] = overrides.diagnose(typed, None, lambda run: [])
    assert sentence.endswith(advice)


@pytest.mark.parametrize(
    "name", ["a]b", "a{b", "a'b", "a(b)", "a,b", "a\\", "a\\'b", "${a}", "\x1b[1m\n"]
)
def test_a_folder_of_any_name_is_read(name: str, tmp_path: Path):
    file = tmp_path / name / "benchmark" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(G + "defaults:\n  - digits\nseed: 7\n")
    config.register()
    assert config.compose(["benchmark=mine"], str(tmp_path / name)).seed == 7
