"""When a run trained and when it only evaluated, from the marks in its MLPerf log. Pure.

A log may have epochs, blocks, evaluations, or all. They may overlap: some submitters
evaluate beside training, and some after run_stop, off the clock. The finest pieces that account for
the time on the clock are taken: epochs or blocks, else what is between evaluations.
Times are in milliseconds since the epoch, as logged, and go out in seconds since run_start.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from ttt.report.read.units import Position, Unit
from ttt.report.run import Block

_LEFT = 0.15  # share of the clock that pieces may leave open and still account for it
_TOGETHER = 1000.0  # ms; what comes as close is one moment


@dataclass(frozen=True, slots=True)
class Interval:
    """Something with a start and a stop.

    Attributes:
        begin: Milliseconds.
        end: Milliseconds.
        first: Position in the record of its start.
        last: Position in the record of its stop.
        label: The epoch's number, or what the start counts in its place; None if it has neither.
        epochs: How many it has; None if unknown.
    """

    begin: float
    end: float
    first: Position
    last: Position
    label: float | None = None
    epochs: float | None = None


@dataclass(frozen=True, slots=True)
class Spans:
    """How the time on the clock was spent.

    Attributes:
        blocks: Training.
        eval_s: Seconds of evaluations in which nothing was trained; None if the log has none.
        beside_s: Seconds of evaluations beside training, or after run_stop: they cost no time.
    """

    blocks: tuple[Block, ...] = ()
    eval_s: float | None = None
    beside_s: float | None = None


def spans(
    intervals: Mapping[str, Sequence[Interval]],
    start: float,
    stop: float,
    unit: Unit,
    end: Position,
) -> Spans:
    """The finest account of the time from start to stop.

    Args:
        intervals: Intervals of "epoch", "block" and "eval" in the order they ended.
        start: run_start.
        stop: run_stop, or the last sign of a run that has none.
        unit: What the log counts in.
        end: Where training ended.
    """
    evals = sorted(intervals.get("eval", ()), key=lambda each: each.begin)
    on_clock = [replace(each, end=min(each.end, stop)) for each in evals if each.begin < stop]
    trained = [
        _training(intervals.get(name, ()), on_clock, stop, unit, end) for name in ("epoch", "block")
    ]
    # Evaluations that go on beside each other go on beside training: they account for no time.
    together = any(then.begin < this.end for this, then in pairwise(on_clock))
    waited = [] if together else on_clock
    best = _finest(trained, waited, stop - start)
    if best is None and together:
        return Spans()  # what was trained when is unknown
    if best is None:
        best = _finest([_between(on_clock, start, stop, unit), *trained], waited, stop - start, 1)
    pieces = best or []
    blocks = tuple(
        Block((each.begin - start) / 1000, (each.end - each.begin) / 1000, each.samples)
        for each in pieces
    )
    if not evals:
        return Spans(blocks)
    alone = _alone(on_clock, pieces) / 1000
    everything = sum(each.end - each.begin for each in evals) / 1000
    return Spans(blocks, alone, max(0.0, everything - alone))


@dataclass(frozen=True, slots=True)
class _Piece:
    """Training from begin to end, in milliseconds."""

    begin: float
    end: float
    samples: float | None


def _finest(
    choices: Sequence[list[_Piece]], evals: Sequence[Interval], clock: float, left: float = _LEFT
) -> list[_Piece] | None:
    """The most pieces with known samples, among those that account for the clock."""

    def known(pieces: Sequence[_Piece]) -> tuple[int, int]:
        return sum(each.samples is not None for each in pieces), len(pieces)

    accounts = [
        pieces
        for pieces in choices
        if pieces
        and clock - sum(each.end - each.begin for each in pieces) - _alone(evals, pieces)
        <= left * clock
    ]
    return max(accounts, key=known, default=None)


def _training(
    intervals: Sequence[Interval], evals: Sequence[Interval], stop: float, unit: Unit, end: Position
) -> list[_Piece]:
    """Epochs or blocks without the evaluations in them."""
    ordered = sorted((each for each in intervals if each.begin < stop), key=lambda each: each.begin)
    ends = [min(this.end, then.begin) for this, then in pairwise(ordered)]
    ends += [min(each.end, stop) for each in ordered[-1:]]
    begins = [each.begin for each in evals]
    counts = _samples(ordered, evals, begins, unit, end)
    pieces = []
    for each, last, state, samples in zip(
        ordered, ends, _states(ordered, unit), counts, strict=True
    ):
        inside = evals[bisect_left(begins, each.begin) : bisect_left(begins, last)]
        # An evaluation of what training began with goes on beside it; any other interrupts it.
        cut = (one.begin for one in inside if one.label is None or not one.label <= state)
        pieces.append(_Piece(each.begin, next(cut, last), samples))
    return pieces


def _states(ordered: Sequence[Interval], unit: Unit) -> list[float]:
    """Where training stood when each interval began, in what labels count; -inf if unknown.

    Labels are those of beginnings where the first is 0. Else epochs are called by their number,
    from 1, and what counts samples by its end.
    """
    labels = [-math.inf if each.label is None else each.label for each in ordered]
    if labels[:1] == [0]:
        return labels
    if unit.in_a_sample is None:
        return [label - 1 for label in labels]
    return [0.0, *labels[:-1]] if labels else []


def _samples(
    ordered: Sequence[Interval],
    evals: Sequence[Interval],
    begins: Sequence[float],
    unit: Unit,
    end: Position,
) -> list[float | None]:
    """Samples trained in each interval.

    Stops that repeat the number of their start leave open which of both it is: the beginning where
    the first is 0, else the end.
    """
    starts = [unit.position(each.first).samples for each in ordered]
    counts: list[float | None] = []
    for place, each in enumerate(ordered):
        if unit.in_a_sample is None and each.first.samples_count is None:
            counts.append(each.epochs * unit.epoch if each.epochs and unit.epoch else None)
            continue
        count = _difference(starts[place], unit.position(each.last).samples)
        if count is None and starts[0] == 0:
            last = place + 1 == len(starts)
            next_one = bisect_left(begins, each.end - _TOGETHER)
            following = evals[next_one : next_one + 1]
            after = _reached(following, unit, end) if last else starts[place + 1]
            count = _difference(starts[place], after)
        elif count is None:
            count = _difference(starts[place - 1] if place else 0.0, starts[place])
        counts.append(count)
    return counts


def _reached(following: Sequence[Interval], unit: Unit, end: Position) -> float | None:
    """Samples after the last interval: what is evaluated next, or where training ended."""
    return unit.position(following[0].first).samples if following else end.samples


def _between(evals: Sequence[Interval], start: float, stop: float, unit: Unit) -> list[_Piece]:
    """Training as what is between evaluations."""
    pieces = []
    begin, before = start, 0.0
    for each in evals:
        samples = unit.position(each.first).samples
        if begin < each.begin < stop:
            trained = None if samples is None else _difference(before, samples)
            pieces.append(_Piece(begin, each.begin, trained))
        begin = max(begin, each.end)
        before = before if samples is None else samples
    return pieces


def _alone(evals: Sequence[Interval], pieces: Sequence[_Piece]) -> float:
    """Milliseconds of evaluations in which nothing was trained."""
    ends = [each.end for each in pieces]  # pieces are in order and do not overlap
    total, seen = 0.0, -math.inf
    for each in evals:
        begin = max(each.begin, seen)  # two at once take time once
        if each.end <= begin:
            continue
        seen, total = each.end, total + each.end - begin
        place = bisect_left(ends, begin)
        while place < len(pieces) and pieces[place].begin < each.end:
            piece, place = pieces[place], place + 1
            total -= max(0.0, min(each.end, piece.end) - max(begin, piece.begin))
    return total


def _difference(before: float | None, after: float | None) -> float | None:
    if before is None or after is None or not math.isfinite(after - before) or after <= before:
        return None
    return after - before
