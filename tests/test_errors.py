"""Sentences about settings and options that are refused."""

import pytest

from ttt.errors import ConfigError, fault, writing


@pytest.mark.parametrize(
    ("arguments", "more", "sentence"),
    [
        (("seed", -1), {"allowed": "0 or more", "typed": "1"}, "seed=1"),
        (("seed", -1), {"allowed": "0 or more", "typed": "seed=1, or runs=1"}, "seed=1, or runs=1"),
        (("--seed", -1), {"allowed": "0 or more", "typed": "1"}, "--seed 1"),
        (("--seed", -1), {"allowed": "0 or more", "typed": "a=b"}, "--seed a=b"),
        (("--seed", -1), {"allowed": "0 or more", "typed": "--eval FILES"}, "--eval FILES"),
    ],
)
def test_what_to_type_is_a_setting_or_an_option(arguments, more, sentence):
    joint = " " if arguments[0].startswith("-") else "="
    begin = f"{arguments[0]}{joint}-1 is not allowed; allowed: 0 or more; "
    assert fault(*arguments, **more) == begin + sentence


def test_a_failed_write_names_the_option_and_the_place_within(tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("")
    with pytest.raises(ConfigError) as caught, writing("--figures", taken):
        (taken / "score.svg").write_text("")
    within = f"({taken / 'score.svg'})"
    assert str(caught.value) == f"--figures {taken} cannot be written: Not a directory {within}"
    with pytest.raises(ConfigError) as caught, writing("run_root", tmp_path, "DIR"):
        tmp_path.write_text("")
    assert (
        str(caught.value) == f"run_root={tmp_path} cannot be written: Is a directory; run_root=DIR"
    )
