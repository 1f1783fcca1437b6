"""Which ruleset a log is judged by, and why: one answer for every command.

Rules change from round to round, so a published log is judged by those of its own round. Pure: the
caller passes where a log lies and what it holds. May not read a file.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from ttt.compliance.rulesets import Usage, official_ids, rulesets, rulesets_of, usage_of

# When MLCommons published the results of each round: no log of it is younger. From its releases at
# mlcommons.org, and "Schedule of submission rounds" in submission_rules.adoc (mlcommons/policies).
# A ruleset that is not here is that of a round to come.
_PUBLISHED: dict[Usage, dict[str, date]] = {
    "training": {
        "0.7.0": date(2020, 7, 29),
        "1.0.0": date(2021, 6, 30),
        "1.1.0": date(2021, 12, 1),
        "2.0.0": date(2022, 6, 29),
        "2.1.0": date(2022, 11, 9),
        "3.0.0": date(2023, 6, 27),
        "3.1.0": date(2023, 11, 8),
        "4.0.0": date(2024, 6, 12),
        "4.1.0": date(2024, 11, 13),
        "5.0.0": date(2025, 6, 4),
        "5.1.0": date(2025, 11, 12),
        "6.0.0": date(2026, 6, 16),
    },
    "hpc": {"1.0.0": date(2021, 11, 17), "2.0.0": date(2022, 11, 9), "3.0.0": date(2023, 11, 8)},
}

_FIRST = date(2020, 1, 1)  # the year of v0.7, the first round whose logs are those of mllog

# As MLCommons names repositories, GitHub their archives, and people what they unpack.
_ROUND = re.compile(
    r"(?:(?:.*[_-])?(?:training|hpc|mlperf|results)[_-])?v(\d+)\.(\d+)(?:-main|-master)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Choice:
    """A ruleset, and where it comes from.

    Attributes:
        ruleset: By which a log is judged; None if no installed ruleset can judge it.
        reason: Why this one, as in "by the folder v5.1".
        likely: Only the log's date speaks for it: a later round may fit the log better.
    """

    ruleset: str | None
    reason: str
    likely: bool = False


def choose(
    benchmark: str | None,
    division: str | None,
    day: date | None,
    *,
    folders: Sequence[str] = (),
    asked: str | None = None,
    ran: tuple[str, str] | None = None,
) -> Choice:
    """The ruleset to judge a log by.

    In this order: what the user typed; the ruleset of the run folder; the round a folder
    above is named after; the first round after the log was written; the newest ruleset.

    Args:
        benchmark: Its id, as logged.
        division: As logged.
        day: Of the log's run_start, UTC.
        folders: Names of the folders the log lies in, the nearest first.
        asked: The ruleset that the user typed.
        ran: The ruleset of the run folder, and the file that names it.
    """
    usage = usage_of(benchmark)
    if asked is not None:
        return Choice(asked, "by --ruleset")
    if ran is not None and ran[0] in rulesets(usage):
        return Choice(ran[0], f"by the run's own {ran[1]}")
    if benchmark is None or benchmark not in official_ids():
        return Choice(rulesets()[0], "the newest")
    for name in folders:
        if (version := round_of(name)) in rulesets(usage):
            return Choice(version, f"by the folder {name}")
    return _by_date(benchmark, able_for(benchmark, division), day)


def _by_date(benchmark: str, able: Sequence[str], day: date | None) -> Choice:
    """The first round after the log was written, of those that have the benchmark."""
    if not able:
        return Choice(None, f"no installed ruleset can check {benchmark}")
    known = _PUBLISHED[usage_of(benchmark)]
    later = [one for one in able if day is not None and known.get(one, date.min) >= day]
    if day is None or not later:
        return Choice(able[0], f"the newest that has {benchmark}")
    return Choice(later[-1], f"by the log's date {day}", likely=True)


def able_for(benchmark: str | None, division: str | None) -> tuple[str, ...]:
    """The rulesets that can pass a log of this benchmark and division, newest first."""
    return rulesets_of(benchmark or "", "open" if division == "open" else "closed")


def plausible(benchmark: str | None, division: str | None, day: date | None) -> tuple[str, ...]:
    """Rulesets a log may have been written for, newest first; none if it has no date.

    A log is younger than no round it was submitted to; it may be much older, for a result may be
    submitted again.
    """
    known = _PUBLISHED[usage_of(benchmark)]
    able = able_for(benchmark, division)
    return tuple(one for one in able if day is not None and known.get(one, day) >= day)


def round_of(folder: str) -> str | None:
    """The ruleset of the round that a folder is named after, as 5.1.0 of training_results_v5.1."""
    match = _ROUND.fullmatch(folder)
    return f"{match[1]}.{match[2]}.0" if match else None


def day_of(time_ms: float | None) -> date | None:
    """The day of a moment in milliseconds since the epoch, UTC.

    None where there is none, or one from before logs had this form: a clock may be wrong.
    """
    if time_ms is None:
        return None
    try:
        day = datetime.fromtimestamp(time_ms / 1000, UTC).date()
    except (OverflowError, ValueError, OSError):  # a log may hold any number
        return None
    return day if day >= _FIRST else None
