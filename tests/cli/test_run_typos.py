"""Every setting of every benchmark, mistyped: one sentence with the name that was meant."""

import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from ttt import config
from ttt.cli import names, overrides
from ttt.cli.candidates import FILLED_IN
from ttt.cli.composer import Composer

BENCHMARKS = sorted(path.stem for path in (config.folder() / "benchmark").glob("*.yaml"))


@cache
def _composer() -> Composer:
    config.register()
    return Composer()


@cache
def _settings(benchmark: str) -> dict[str, Any]:
    return config.settings(_composer().compose([f"benchmark={benchmark}"]))


def _typos(name: str) -> Iterator[str]:
    """The name with two letters swapped, one dropped, or one doubled, in its group or its leaf."""
    for at, letter in enumerate(name):
        if letter != ".":
            yield name[:at] + name[at + 1 :]
            yield name[:at] + letter + name[at:]
        if "." not in name[at : at + 2] and len(name[at : at + 2]) == 2:
            yield name[:at] + name[at + 1] + letter + name[at + 2 :]


def _mistyped(benchmark: str) -> list[tuple[str, str]]:
    """All names that can be mistyped so that no other setting comes of it, each with a typo."""
    settings = _settings(benchmark)
    return [
        (name, typo)
        for name in settings
        if len(name) > 2 and name not in FILLED_IN and not name.startswith("mlperf.")  # free
        for typo in sorted(set(_typos(name)))
        if typo not in settings and not typo.startswith(".") and not typo.endswith(".")
    ]


def check_names(benchmark: str, cases: list[tuple[str, str]]) -> list[str]:
    """Typos whose sentence does not have the right name."""
    known, composer = _settings(benchmark), _composer()
    return [
        f"{benchmark}: {typo}: {sentence}"
        for name, typo in cases
        if name not in (sentence := names.unknown(typo, "1", known, composer)).split("; ", 1)[1]
    ]


def check_whole(benchmark: str, cases: list[tuple[str, str]]) -> list[str]:
    """Command lines with a typo that are not exactly one sentence with the right name."""
    wrong = []
    for name, typo in cases:
        _, found = overrides.judge([f"benchmark={benchmark}", f"{typo}=1"], _composer())
        if len(found) != 1 or name not in found[0] or "\n" in found[0]:
            wrong.append(f"{benchmark}: {typo}: {found}")
    return wrong


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_a_mistyped_setting_is_a_sentence_with_the_right_name(benchmark: str):
    """Some typos of every setting, and some of those through all that a command line passes."""
    cases = _mistyped(benchmark)
    chosen = random.Random(benchmark)
    assert check_names(benchmark, chosen.sample(cases, 300)) == []
    assert check_whole(benchmark, chosen.sample(cases, 8)) == []


def one_apart(one: str, other: str) -> bool:
    """Whether two words differ in a letter."""
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and sum(mine != its for mine, its in pairs) == 1


def test_every_group_and_choice_mistyped_lists_the_choices_that_were_meant():
    composer = _composer()
    chosen = random.Random(1)
    parts = set(_settings("digits"))
    for group in sorted(set(composer.parts) & parts):
        for option in composer.groups[group]:
            typo = chosen.choice(sorted(set(_typos(option)) - set(composer.groups[group]) - {""}))
            _, [sentence] = overrides.judge([f"{group}={typo}"], composer)
            assert f"allowed: {', '.join(composer.groups[group])}" in sentence, sentence
            others = set(composer.groups[group]) - {option}
            as_near = any(one_apart(typo, other) for other in others)  # fdp: fsdp, or ddp
            assert sentence.endswith(f"; {group}={option}") or as_near or len(option) < 3, sentence
            wrong = chosen.choice(sorted(set(_typos(group)) - parts))
            _, [sentence] = overrides.judge([f"{wrong}={option}"], composer)
            assert f"allowed: {', '.join(composer.groups[group])}" in sentence, sentence
            assert sentence.endswith(f"; {group}={option}"), sentence


if __name__ == "__main__":  # the full walk: some minutes
    for each in BENCHMARKS:
        every = _mistyped(each)
        print(each, len(every), "typos", *check_names(each, every), sep="\n  ")
        print("  wrong:", *check_whole(each, random.Random(1).sample(every, 60)), sep="\n  ")


def test_a_mistyped_key_of_the_log_is_a_sentence_with_the_right_name():
    """Hydra accepts any key there: parts log keys that no YAML file names."""

    def unlogged(*typed: str) -> list[str]:
        run = config.resolve(_composer().compose(["benchmark=digits", *typed]))
        return overrides.unlogged(["benchmark=digits", *typed], run)

    assert unlogged("mlperf.opt_name=x", "+mlperf.new=3") == []
    assert unlogged("mlperf.opt_nam=x") == [
        "mlperf.opt_nam is no key that this run logs; close to it: mlperf.opt_name;"
        " to add it: +mlperf.opt_nam=x"
    ]
    run = config.resolve(_composer().compose(["+mlperf.a.b=1"]))
    assert [one for one in run.problems(1) if "mlperf" in one] == [
        "mlperf.a={'b': 1} has no value; allowed: a value, or {value: VALUE, ...} with metadata;"
        " mlperf.a=VALUE"
    ]
