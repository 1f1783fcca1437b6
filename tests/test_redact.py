"""What is a secret by its name, and what is a setting of a benchmark."""

import pytest

from secret_texts import HIDDEN
from ttt import config, redact
from ttt.launch.messages import Request, difference

LEFT = [
    *("max_tokens=512", "tokens=on", "pad_token=<pad>", "data.key_column=id", "keep=[weights]"),
    *("monkey=see", "MONKEY=see", "model.embedding.keys=[a,b]", "tokenizer=bpe", "sort_key=length"),
    *("TOKENIZERS_PARALLELISM=false", "PWD=/home", "model.token=5", "data.password=null"),
    *("HF_TOKEN=$TOKEN", "HF_TOKEN=${TOKEN}", "HF_TOKEN=$(cat ~/.token)", 'A_KEY="$(< f)"'),
    "export TTT_KEY=$(openssl rand -hex 32)",
    *("data.password=${oc.env:PASSWORD}", "HF_TOKEN=", "HF_TOKEN=[redacted]", "git@host:me/x"),
    *(
        "ssh://git@host/x",
        "file:///data/x",
        "s3://bucket/key",
        "the key: three words",
        "-x HF_TOKEN",
    ),
    *("wandb login --relogin", "key column of the table", "--key-column id"),
]


@pytest.mark.parametrize(("said", "shown"), HIDDEN.items())
def test_a_secret_is_hidden_in_a_text(said: str, shown: str):
    assert redact.text(said) == shown
    assert redact.text(shown) == shown
    assert redact.holds(said)
    assert redact.holds({"a": [shown]})


@pytest.mark.parametrize("said", LEFT)
def test_what_is_no_secret_is_left_alone(said: str):
    assert redact.text(said) is said
    assert redact.settings([said]) == [said]


def test_settings_are_hidden_by_their_names():
    nested = {
        "launcher": {"setup": ["export A_KEY=canary", "ls"], "arguments": ["-genv", "B_KEY", "x"]},
        "data": {"password": 12345, "key": 5, "token": True, "api_key": "canary", "keys": ["a"]},
        "credentials": {"user": "me", "more": ["canary"]},
        "command": ["ttt", "run", "+data.secret=canary with blanks", "seed=3"],
        "loss": float("nan"),
    }
    hidden = redact.settings(nested)
    assert hidden["launcher"]["setup"] == ["export A_KEY=[redacted]", "ls"]
    assert hidden["launcher"]["arguments"] == ["-genv", "B_KEY", "[redacted]"]
    secret = {"password": "[redacted]", "api_key": "[redacted]"}
    assert hidden["data"] == nested["data"] | secret
    assert hidden["credentials"] == {"user": "[redacted]", "more": ["[redacted]"]}
    assert hidden["command"] == ["ttt", "run", "+data.secret=[redacted]", "seed=3"]
    assert "canary" not in str(hidden)
    for node in (nested, hidden):  # what was hidden before is left out, too
        kept = redact.without(node)
        assert kept["launcher"]["setup"] == ["ls"]
        assert kept["data"] == {"key": 5, "token": True, "keys": ["a"]}
        assert kept["command"] == ["ttt", "run", "seed=3"]
        assert redact.holds(node)
        assert not redact.holds(kept)


def test_no_setting_that_ttt_ships_looks_like_a_secret():
    config.register()
    names = [file.stem for file in (config.folder() / "benchmark").glob("*.yaml")]
    typed = [f"benchmark={name}" for name in names]
    typed += [f"launcher={name}" for name in ("torchrun", "mpi", "slurm")]
    for choice in [*typed, "tracking=wandb"]:
        settings = config.settings(config.compose([choice]))
        assert redact.without(settings) == settings, choice


def test_source_stays_a_program():
    source = (
        'API_KEY = "canary"\nload(password="canary", url="http://a:canary@h")\n'
        'rows.sort(key=len)\njoin(rows, key="id")\ntoken = make()\nA_KEY = make()\n'
    )
    hidden = redact.code(source)
    assert "canary" not in hidden
    assert hidden.splitlines()[2:] == source.splitlines()[2:]
    compile(hidden, "source", "exec")


@pytest.mark.parametrize(
    "piece",
    [
        *("a_KEY='", "{key:", "wandb login ", "--a ", "KEY=\\", 'a_key=" ', "://a@", "-----B"),
        *("A_KEY=$(", "A_KEY=$((a)", "A_KEY=`", "A_KEY=`a"),
    ],
)
def test_a_long_text_of_a_stranger_is_read_once(piece: str):
    redact.text(piece * (200_000 // len(piece)))  # else it would be minutes


def test_nodes_of_a_launch_are_told_apart_without_secrets():
    words = [tuple(redact.settings([f"+a.password={secret}", "b=1"])) for secret in "xy"]
    assert difference(Request("a", 2, words[0]), Request("b", 2, words[1])) is None
