"""Evaluation points: every benchmark's rule against the official checker's own expressions."""

import math
from fractions import Fraction
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import mlperf_logging
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ttt import compliance, config
from ttt.schema.closed import DEFINITIONS
from ttt.schema.points import (
    RULES,
    Amount,
    Rounding,
    Rule,
    evaluation_interval,
    first_evaluation,
    of_epochs,
    points,
)
from ttt.schema.run import TargetConfig

# All small ones, and powers of two and published batches with their neighbours.
LARGE = (1024, 1152, 1536, 2304, 4096, 4608, 8192, 12288, 15360, 16384, 18432, 32768, 65536, 262144)
BATCHES = [*range(1, 300), *(size + near for size in LARGE for near in (-1, 0, 1))]
CHECKED = ("deepseekv3_671b", "dlrmv4", "flux1", "qwen35_397b_grpo")  # the checker computes these


def path(benchmark: str, ruleset: str) -> Path:
    folder = Path(mlperf_logging.__file__).parent / "compliance_checker" / f"training_{ruleset}"
    return folder / f"closed_{benchmark}.yaml"


def has(benchmark: str, ruleset: str) -> bool:
    return path(benchmark, ruleset).exists()


@cache
def rules(benchmark: str, ruleset: str = "6.1.0") -> list[dict[str, Any]]:
    read = yaml.safe_load(path(benchmark, ruleset).read_text())
    return [{"NAME": "BEGIN", **one["BEGIN"]} if "BEGIN" in one else one["KEY"] for one in read]


class Checker:
    """The official checker's file of a benchmark, asked about one batch."""

    def __init__(self, benchmark: str, global_batch: int) -> None:
        self.keys = {key["NAME"]: key for key in rules(benchmark)}
        self.state = {"math": math, "is_integer": lambda value: isinstance(value, int), "s": {}}
        exec(self.keys.get("BEGIN", {}).get("CODE", ""), self.state)
        self.after("global_batch_size", {"value": global_batch})

    def after(self, key: str, v: dict[str, Any]) -> None:
        exec(self.keys[key].get("POST", "").strip(), self.state, {"v": v})

    def passes(self, key: str, kind: str, v: dict[str, Any]) -> bool:
        checks = self.keys[key].get(kind, [])
        checks = [checks] if isinstance(checks, str) else checks
        return all(eval(one.strip(), self.state, {"v": v}) for one in checks)

    def evaluates(self, samples: list[int]) -> bool:
        """Whether it takes evaluations after these numbers of samples."""
        for place, count in enumerate(samples):
            v = {"value": 0.5, "metadata": {"samples_count": count}}
            if place == 0 and not self.passes("eval_accuracy", "FIRST_CHECK", v):
                return False
            if not self.passes("eval_accuracy", "CHECK", v):
                return False
            self.after("eval_accuracy", v)
        return True


@pytest.mark.parametrize("benchmark", CHECKED)
def test_the_official_checkers_expressions_give_the_same_points(benchmark: str):
    smallest = 15_360 if benchmark == "deepseekv3_671b" else 1
    for batch in (one for one in BATCHES if one >= smallest):
        when = points(RULES[benchmark], batch, 2_290_835_423)
        checker = Checker(benchmark, batch)
        due = [when.first + turn * when.interval for turn in range(4)]
        assert checker.evaluates(due), (batch, when)
        if benchmark == "flux1":
            asked = {"value": when.interval}
            assert checker.passes("evaluation_frequency", "CHECK", asked), (batch, when)
        else:
            other = Checker(benchmark, batch)
            assert not other.evaluates([when.first - when.interval])
        if benchmark == "dlrmv4":
            assert when.interval == checker.state["s"]["eval_interval_samples"]


@pytest.mark.parametrize("benchmark", sorted({*RULES} - {"llama31_8b_twin"}))
def test_the_official_checker_asks_for_that_many_evaluation_samples(benchmark: str):
    found = next(one for one in reversed(compliance.rulesets()) if has(benchmark, one))
    keys = {key["NAME"]: key for key in rules(benchmark, found)}
    if "eval_samples" in keys:
        check = keys["eval_samples"]["CHECK"].strip()
        assert eval(check, {"v": {"value": RULES[benchmark].eval_samples}})
        assert not eval(check, {"v": {"value": 7}})


@pytest.mark.parametrize(
    ("benchmark", "expected"),
    [
        # batch: first, interval; in samples, computed by hand from the rules' text
        ("llama31_8b", {16: (12288, 12288), 36: (12312, 12312), 96: (12288, 12288)}),
        ("llama31_8b_twin", {32: (1024, 1024), 48: (1056, 1056)}),
        ("gpt_oss_20b", {128: (12288, 12288), 5: (12290, 12290)}),
        (
            "llama31_405b",
            {1152: (276_480, 18_432), 2304: (331_776, 18_432), 1280: (307_200, 19_200)},
        ),
        (
            "llama2_70b_lora",
            {8: (1536, 384), 16: (1920, 384), 32: (2688, 384), 64: (4224, 384), 128: (7296, 384)},
        ),
        ("flux1", {512: (262_144, 262_144), 2304: (262_656, 262_656)}),
        (
            "dlrmv4",
            {
                8192: (25 * 2_293_760, 2_293_760),
                16384: (31 * 2_293_760, 2_293_760),
                32768: (41 * 2_293_760, 2_293_760),
            },
        ),
        ("deepseekv3_671b", {15_360: (43 * 15_360, 15_360), 16_384: (43 * 16_384, 16_384)}),
        ("qwen35_397b_grpo", {256: (18 * 256, 256), 512: (10 * 512, 512), 7: (552 * 7, 7)}),
        ("bert", {256: (150_000, 150_000), 448: (150_000, 150_000), 16_384: (325_000, 325_000)}),
        ("dlrm_dcnv2", {65_536: (3200 * 65_536, 3200 * 65_536)}),
    ],
)
def test_points_are_those_of_the_rules_text(benchmark: str, expected: dict[int, tuple[int, int]]):
    for batch, (first, interval) in expected.items():
        assert first_evaluation(benchmark, batch, 4_195_197_692) == first
        assert evaluation_interval(benchmark, batch, 4_195_197_692) == interval


@pytest.mark.parametrize(
    "file", [file for name, files in DEFINITIONS.items() if name in RULES for file in files]
)
def test_a_shipped_benchmark_is_evaluated_by_its_rule(file: str):
    """The loop's own points, through the watcher; also where the YAML file has plain numbers."""
    config.register()
    composed = config.compose([f"benchmark={file}", "data.root=."])
    default = config.resolve(composed).data.global_batch
    for batch in (default, default + 1, 3 * default):
        # of a set that no file here tells, a number; else its own
        counted = composed.data.train_samples or 2_400_000
        changes = {"data.global_batch": batch, "data.train_samples": counted}
        run = config.resolve(config.changed(composed, changes))
        when = points(RULES[run.benchmark.id], batch, run.data.train_samples)
        target = run.target.target(run.data.train_samples)
        assert (target.first_eval_samples, target.eval_every_samples) == (when.first, when.interval)
        steps = target.evaluation_steps(run.data.train_samples, lambda n: math.ceil(n / batch))  # noqa: B023
        due = [math.ceil((when.first + turn * when.interval) / batch) for turn in range(5)]
        assert list(islice(steps, 5)) == due
        assert run.data.eval_samples == when.eval_samples


def test_first_evaluations_of_ones_own_may_be_in_samples():
    target = TargetConfig(eval_every_epochs=0.05, first_eval_samples=30).target(1000)
    assert (target.first_eval_samples, target.eval_every_samples) == (30, 50)
    target = TargetConfig(eval_every_epochs=None, eval_every_samples=70).target(1000)
    assert (target.first_eval_samples, target.eval_every_samples) == (70, 70)


def test_epochs_are_counted_as_they_were_typed():
    # in binary floating point 0.145 * 100 is below 14.5, and 0.285 * 1000 below 285
    assert of_epochs(0.285, 1000) == 285
    assert of_epochs(1e-9, 4_000_000_000) == 4
    assert 1.005 * 1_000_000_000_000_000_000 != of_epochs(1.005, 10**18) == 1_005 * 10**15


@given(
    every=st.fractions(1, 10**6, max_denominator=1000),
    batch=st.integers(1, 10**5),
    per_batch=st.fractions(0, 3, max_denominator=100),
)
def test_rounded_intervals_are_whole_updates_next_to_the_amount(every, batch, per_batch):
    amount = every + per_batch * batch
    up, down = (
        points(Rule(Amount(every, per_batch), updates=how), batch, None).interval
        for how in (Rounding.up, Rounding.down)
    )
    assert up % batch == down % batch == 0
    assert amount <= up < amount + batch
    assert amount - batch < down <= amount


def test_a_rule_does_without_what_is_not_known_yet():
    assert points(RULES["dlrm_dcnv2"], 0, None).interval == 0
    assert points(RULES["llama31_8b"], 0, None).interval == 12_288
    tiny = Rule(Amount(Fraction(0)), updates=Rounding.up)
    assert points(tiny, 8, None).interval == 8
    late = Rule(Amount(5), updates=Rounding.down, first=Amount(9), intervals=Rounding.up)
    assert points(late, 8, None).first == 9


def test_an_interval_of_less_than_a_sample_is_after_each_update():
    """It would else never end: no number of such intervals reaches the end of the run."""
    target = TargetConfig(eval_every_epochs=1e-9, max_epochs=1).target(100)
    steps = target.evaluation_steps(100, lambda samples: -(-samples // 25))
    assert [*islice(steps, 9)] == [1, 2, 3, 4]
