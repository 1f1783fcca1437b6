"""Figures for a reader: how a time, a share, a spread is written. Pure.

May not know any form: the terminal, the page and the charts say the same in the same words.
"""

import math
from collections.abc import Callable, Sequence

from ttt.report.analyze.score import Spread

UNKNOWN = "-"
PLURAL = {"accelerator": "accelerators", "process": "processes", "node": "nodes"}
_MINUTES_FROM = 300.0  # seconds; a bench of ours takes seconds
_MOST, _LEAST = 6, 3  # significant digits of one whose interval is very small, or as large as it


def number(value: float | None, form: str = "") -> str:
    """A number in the given format, or the sign for unknown."""
    return UNKNOWN if value is None else format(value, form)


def significant(value: float | None, digits: int = 3) -> str:
    """A number with so many digits that say something, never as a power of ten: 41,200 or 5.03."""
    if (value := _finite(value)) is None:
        return UNKNOWN
    return _rounded(value, digits - 1 - _power(value))


def _finite(value: float | None) -> float | None:
    """The number; None if there is none, or if damaged records made it infinite."""
    return value if value is not None and math.isfinite(value) else None


def _rounded(value: float, places: int) -> str:
    """A number to so many decimal places; negative ones are tens, hundreds and so on."""
    return f"{round(value, places):,.{max(0, places)}f}"


def _power(value: float) -> int:
    """The power of ten of a number's first digit, once it is rounded to three; 0 of zero."""
    return int(f"{value:.2e}".partition("e")[2])


def unit_for(times: Sequence[float | None]) -> str:
    """The unit a table or an axis of such times, in seconds, is best read in: "s" or "min"."""
    longest = max((time for time in times if time is not None), default=0.0)
    return "min" if longest >= _MINUTES_FROM else "s"


def in_unit(value: float, unit: str) -> float:
    """Seconds in one of the units of `unit_for`."""
    return value / 60 if unit == "min" else value


def duration(
    value: float | None,
    unit: str,
    interval: tuple[float, float] | None = None,
    digits: int = 3,
) -> str:
    """A time, and its interval, both given in seconds, in one of the units of `unit_for`."""
    return (
        UNKNOWN if _finite(value) is None else f"{measured(value, unit, interval, digits)} {unit}"
    )


def measured(
    value: float | None,
    unit: str,
    interval: tuple[float, float] | None = None,
    digits: int = 3,
) -> str:
    """The same without the unit, for a column that has it in its title.

    With an interval of confidence it has the digits to which this gives a meaning; without one as
    many as are asked for, but no more than milliseconds.
    """
    if (value := _finite(value)) is None:
        return UNKNOWN
    shown = in_unit(value, unit)
    if interval is not None:
        return _rounded(shown, _places(shown, interval, unit))
    places = digits - 1 - _power(shown)
    return _rounded(shown, min(3, places) if unit == "s" else places)


def between(value: float | None, unit: str, interval: tuple[float, float] | None) -> str:
    """Such as "13.18 to 13.34", with the digits of the value that lies in it."""
    if (value := _finite(value)) is None or interval is None or None in map(_finite, interval):
        return UNKNOWN
    places = _places(in_unit(value, unit), interval, unit)
    return " to ".join(_rounded(in_unit(each, unit), places) for each in interval)


def _places(value: float, interval: tuple[float, float], unit: str) -> int:
    """Decimal places that an interval justifies."""
    half = in_unit(interval[1] - interval[0], unit) / 2
    first = -_power(value)
    least, most = first + _LEAST - 1, first + _MOST - 1
    return max(least, min(most, places_of(half))) if half > 0 else most


def places_of(error: float) -> int:
    """Decimal places to which an error is rounded, and what it is the error of.

    Two digits of it if these are 10 to 35, else one: the rule of the Particle Data Group (Review of
    Particle Physics, introduction, section 5.3).
    """
    return math.ceil(-math.log10(error / 3.55))


def percent(share: float | None) -> str:
    """A share in whole percent; in tenths below two."""
    if share is None:
        return UNKNOWN
    if share < 0.0005:
        return "less than 0.1%" if share > 0 else "0%"
    return f"{share:,.0%}" if share >= 0.02 else f"{share:.1%}"


def spread(of: Spread, write: Callable[[float], str], roughly: Callable[[float], str]) -> str:
    """Mean, standard deviation and range.

    Args:
        of: What they are of.
        write: Writes a value.
        roughly: Writes the deviation, which few runs tell less well.
    """
    if of.min == of.max:
        return write(of.mean) + ("" if of.std is None else " in every run")
    std = "" if of.std is None else f", standard deviation {roughly(of.std)}"
    return f"mean {write(of.mean)}{std}, from {write(of.min)} to {write(of.max)}"


def samples(count: float | None) -> str:
    """A number of samples: 3,072 or 1.20 M."""
    if (count := _finite(count)) is None:
        return UNKNOWN
    return f"{count:,.0f}" if count < 1e6 else f"{significant(count / 1e6)} M"


def energy(joules: float | None) -> str:
    """Such as "1.95 MJ" or "870 J"."""
    if (joules := _finite(joules)) is None:
        return UNKNOWN
    power = min(2, max(0, _power(joules) // 3))
    return f"{significant(joules / 1000**power)} {('J', 'kJ', 'MJ')[power]}"
