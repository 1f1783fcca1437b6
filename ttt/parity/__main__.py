"""Whether a benchmark's model learns on four processes what it learns on one.

`python -m ttt.parity benchmark=... [parallel=...]` composes as `ttt run` does. Four gloo processes
on this machine make some updates in each mode, in fp32 and from made-up batches of the data set,
beside one process that makes the same. No file of the data set is read.
"""

import argparse
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import psutil
import torch

from ttt import config, streams
from ttt.cli.composed import add_settings, composed
from ttt.cli.composer import split
from ttt.distributed.world import Solo
from ttt.errors import OK, ConfigError, TttError, show
from ttt.parity.compare import Apart
from ttt.parity.ranks import Answer, No, every_mode, references
from ttt.parity.trial import PROCESSES, UPDATES, modes, parts, tried, without_dropout
from ttt.schema.parallel import ParallelConfig
from ttt.schema.run import RunConfig

DIFFERS = 1
# As in ttt's own tests: sums of another order, which updates amplify.
ALLOWED = Apart(first=1e-5, later=1e-3, losses=2e-5, judged=2e-4)
_ROOM = 10  # times what one process is from itself if it adds up in another order
_COPIES = 6  # weights, gradients, two moments, and gradients to compare, twice
_EPILOG = f"""\
Dropout and running statistics of the model are switched off, precision is fp32 and the batch
small, unless data.global_batch is typed. Beside {PROCESSES} processes one adds up the same parts
of the batch; how far it is from itself in another order, times {_ROOM}, is allowed as well.

exit codes: 0 as on one process, 1 otherwise, 2 wrong use
"""


def main(arguments: list[str]) -> int:
    """Compose, try, print; returns the exit code."""
    streams.prepare()
    sys.path.append(os.getcwd())
    try:
        return _main(arguments)
    except TttError as error:
        show(error)
        return error.exit_code


def _main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    run, off = without_dropout(_composed(options.overrides, options.config_dir))
    named = any(split(word)[1].startswith("parallel") for word in options.overrides)
    wanted = {"as typed": run.parallel} if named else modes()
    refused = {name: why for name, mode in wanted.items() if (why := _why_not(run, mode))}
    if len(refused) == len(wanted):
        raise ConfigError([sentence for each in refused.values() for sentence in each])
    fit = {name: mode for name, mode in wanted.items() if name not in refused}
    _demand_memory(run)
    frozen = config.freeze(run)
    with tempfile.TemporaryDirectory(prefix="ttt-") as temporary:
        folder = Path(temporary)
        batch = parts(run, Solo(torch.device("cpu")))
        shards = {mode.mesh(PROCESSES).data_shards for mode in fit.values()}
        noise, switched = references(frozen, folder, batch, shards)
        limits = _limits(noise)
        answers = every_mode(frozen, folder, fit, limits.first)
    answers |= {name: No(why[0], failed=False) for name, why in refused.items()}
    none = [answer.sentence for answer in answers.values() if _refused(answer)]
    if len(none) == len(answers):
        raise ConfigError(none)
    samples = len(batch) * len(batch[0][0])
    print(f"{UPDATES} updates of {samples} samples on {PROCESSES} processes, fp32")
    print("switched off: " + (", ".join([*off, *_shortened(switched)]) or "nothing"))
    print("\n".join(table({name: answers[name] for name in wanted}, noise, limits)))
    judged = [answer for answer in answers.values() if not _refused(answer)]
    return OK if all(within(answer, limits) for answer in judged) else DIFFERS


def _refused(answer: Answer) -> TypeGuard[No]:
    return isinstance(answer, No) and not answer.failed


def _composed(words: list[str], config_dir: str | None) -> RunConfig:
    """The run as `ttt run` has it, in fp32 and with a small batch.

    Raises:
        ConfigError: The words are wrong, in the sentences of `ttt run`.
    """
    made = composed(words, config_dir)
    run = config.resolve(made)
    if not any(split(word)[1] == "data.global_batch" for word in words):
        run = _smaller(made, run)
    for name, value in (("precision", "fp32"), ("device", "cpu")):
        setattr(run, name, type(getattr(run, name))(value))
    mode = tried(run, ParallelConfig())
    if found := [*config.foreign(run), *mode.problems(PROCESSES)]:
        raise ConfigError(found)
    return run


def _smaller(composed: Any, run: RunConfig) -> RunConfig:
    """The run with the first batch that fits: 2 samples a part, or 2 of the longest texts."""
    pieces = PROCESSES * max(1, run.accumulate)
    longest = getattr(run.data, "max_length", None) or 1
    for size in (2 * pieces, 2 * pieces * longest):
        smaller = config.resolve(config.changed(composed, {"data.global_batch": size}))
        if size < run.data.global_batch and not _batch_problems(smaller):
            return smaller
    return run


def _batch_problems(run: RunConfig) -> list[str]:
    mesh = ParallelConfig().mesh(PROCESSES)
    problems = getattr(run.data, "problems", lambda *_: ())
    return [*problems(mesh, max(1, run.accumulate))]


def _why_not(run: RunConfig, mode: ParallelConfig) -> list[str]:
    """Why a model cannot be shared so, as far as its settings say."""
    found = [*mode.problems(PROCESSES, "fp32")]
    return found or [*mode.cut_problems(run.model, PROCESSES)]


def _demand_memory(run: RunConfig) -> None:
    """Refuse a model of which this machine has no room for so many copies.

    Raises:
        ConfigError: It is too large.
    """
    try:
        with torch.device("meta"):
            model = config.instantiate("model", run.model)
    except Exception:  # a user's class may need values: then it is tried as it is
        return
    weights = sum(one.numel() for one in model.parameters())
    wanted, free = 4 * weights * _COPIES * (PROCESSES + 1), psutil.virtual_memory().available
    if wanted > free:
        sizes = {n: v for n, v in vars(run.model).items() if type(v) is int and v > 1}
        smaller = " ".join(f"model.{name}={max(1, size // 8)}" for name, size in sizes.items())
        raise ConfigError(
            [
                f"the model has {weights:,} weights, and {PROCESSES + 1} processes would take about"
                f" {wanted / 1e9:,.0f} GB to compare them; {free / 1e9:,.0f} GB are free; make it"
                f" smaller: {smaller or 'its sizes below model.'}"
            ]
        )


def _limits(noise: Apart) -> Apart:
    pairs = zip(ALLOWED[:4], noise[:4], strict=True)
    return Apart(*(max(allowed, _ROOM * each) for allowed, each in pairs))  # type: ignore[arg-type]


def within(answer: Answer, limits: Apart) -> bool:
    """Whether a mode learns what one process does."""
    if isinstance(answer, No):
        return False
    pairs = zip(answer[:4], limits[:4], strict=True)
    return all(math.isfinite(each) and each <= limit for each, limit in pairs)


def table(answers: Mapping[str, Answer], noise: Apart, limits: Apart) -> Iterator[str]:
    """A line for each mode; the largest differences, gradients as shares of their largest value."""
    yield f"{'':<26}{'gradients':>10}{'5th':>10}{'losses':>10}{'evaluation':>12}"
    rows: dict[str, Answer] = {"one process, other order": noise, "allowed": limits, **answers}
    for name, answer in rows.items():
        if isinstance(answer, No):
            what = "FAILED" if answer.failed else "not possible"
            yield f"{name:<26}{what}: {answer.sentence.rstrip()}"
            continue
        line = f"{name:<26}{answer.first:>10.1e}{answer.later:>10.1e}{answer.losses:>10.1e}"
        line += f"{answer.judged:>12.1e}"
        if name in answers:
            line += "  as one process" if within(answer, limits) else "  DIFFERS"
            line += f" first in {answer.name}" if answer.name else ""
        yield line


def _shortened(names: list[str]) -> list[str]:
    """Some of the names, and how many more."""
    return names if len(names) <= 4 else [*names[:3], f"{len(names) - 3} more"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ttt.parity",
        description="Whether a model learns the same on several processes as on one.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_settings(parser, "benchmark=topics")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
