"""Two laws of scaling, put through measured points by least squares. Pure.

Amdahl, "Validity of the single processor approach to achieving large scale computing
capabilities", AFIPS 1967; Gustafson, "Reevaluating Amdahl's law", CACM 31(5), 1988.
"""

import math
import statistics
from collections.abc import Callable, Sequence

_GRID = 64  # places looked at in each round
_ROUNDS = 6  # each narrows the place by _GRID / 2: to below 1e-8


def amdahl(points: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """The serial share s of T(n) = T1 (s + (1 - s) n0 / n), n0 being the smallest n.

    T1 is free: the smallest point is measured with no less noise than the others. Errors are
    relative, so least squares is of log time.

    Args:
        points: Workers and seconds, of two or more sizes of one problem.

    Returns:
        The share, 0 to 1, and the largest relative distance of a time from the law.
    """
    smallest = min(workers for workers, _ in points)

    def distances(serial: float) -> list[float]:
        logs = [
            math.log(seconds) - math.log(serial + (1 - serial) * smallest / workers)
            for workers, seconds in points
        ]
        return [log - statistics.fmean(logs) for log in logs]

    serial = _least(lambda share: math.fsum(each**2 for each in distances(share)))
    return serial, max(abs(math.expm1(each)) for each in distances(serial))


def gustafson(points: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """The serial share s of r(n) / r(n0) = g - s (g - 1) with g = n / n0, n0 the smallest n.

    Divided by g it is a straight line through 1, so least squares of the efficiency has a closed
    form.

    Args:
        points: Workers and their rate together, of two or more sizes; the problem grew with them.

    Returns:
        The share, 0 to 1, and the largest relative distance of a rate from the law.
    """
    smallest, base = min(points)
    grown = [(n / smallest, rate / base) for n, rate in points if n > smallest]
    lost = math.fsum((1 - rate / g) * (1 - 1 / g) for g, rate in grown)
    serial = min(1.0, max(0.0, lost / math.fsum((1 - 1 / g) ** 2 for g, _ in grown)))
    return serial, max(abs(rate / (g - serial * (g - 1)) - 1) for g, rate in grown)


def _least(cost: Callable[[float], float]) -> float:
    """Where in 0 to 1 the cost is least: a grid, and again around its best place."""
    low, high = 0.0, 1.0
    for _ in range(_ROUNDS):
        step = (high - low) / _GRID
        best = min((low + step * place for place in range(_GRID + 1)), key=cost)
        low, high = max(0.0, best - step), min(1.0, best + step)
    return best
