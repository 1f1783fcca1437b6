"""The verdict on one log; any file gets one.

May not know which run a log belongs to, nor print anything.
"""

import codecs
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from ttt import foreign
from ttt.compliance.engine import Findings, judge
from ttt.compliance.log import Log, Seed
from ttt.compliance.ours import LABEL
from ttt.compliance.rounds import Choice, choose, day_of, plausible
from ttt.compliance.rulesets import USAGES, official_ids, rulesets
from ttt.compliance.sentences import plain
from ttt.errors import ConfigError

# The rules want a run in one piece; the engine ignores the key `resumed`, which ttt logs.
RESUMED = (
    "the run was suspended and resumed in other processes (key resumed), which the closed division"
    " does not allow; only an open result may be claimed"
)

_START = 1 << 20  # bytes that identify a kind of file
# What a log may have become on its way, by its first bytes; the longer ones first.
_PACKED = {
    codecs.BOM_UTF32_LE: ("UTF-32 text", "iconv -f UTF-32 -t UTF-8"),
    codecs.BOM_UTF16_LE: ("UTF-16 text", "iconv -f UTF-16 -t UTF-8"),
    codecs.BOM_UTF16_BE: ("UTF-16 text", "iconv -f UTF-16 -t UTF-8"),
    b"\x1f\x8b": ("packed by gzip", "zcat"),
    b"BZh": ("packed by bzip2", "bzcat"),
    b"\xfd7zXZ\0": ("packed by xz", "xzcat"),
    b"\x28\xb5\x2f\xfd": ("packed by zstd", "zstdcat"),
    b"PK\x03\x04": ("a zip archive", "unzip -p"),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of checking one log.

    Attributes:
        path: The log.
        benchmark: Its id, as logged; None if it is not logged.
        official: Whether that is an id of an official benchmark, judged by its official rules.
        ruleset: The ruleset applied; None if no rules were.
        reason: Why this ruleset; None if no rules were applied.
        division: As logged; None if it is not logged.
        passed: Whether every rule was kept.
        problems: A sentence for each broken rule.
        warnings: Sentences that do not change the verdict.
        converged: Whether the run ended with status "success" and reached the target of its rules.
        seeds: File, line and value of every seed.
    """

    path: Path
    benchmark: str | None
    official: bool
    ruleset: str | None
    division: str | None
    passed: bool
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    reason: str | None = None
    converged: bool = False
    seeds: tuple[Seed, ...] = ()

    @property
    def label(self) -> str:
        """What a passed check is worth."""
        return "official MLPerf rules" if self.official else LABEL


def check_file(
    path: str | Path,
    ruleset: str | None = None,
    *,
    ran: tuple[str, str] | None = None,
    werror: bool = False,
) -> Verdict:
    """Read a log and check it, as `check_log` does; an unreadable file gets a verdict too."""
    require_known(ruleset)
    try:
        log = Log.read(Path(path))
    except OSError as error:
        return _unread(Path(path), f"the file cannot be read: {error.strerror}")
    return check_log(log, ruleset, ran=ran, werror=werror)


def check_log(
    log: Log,
    ruleset: str | None = None,
    *,
    ran: tuple[str, str] | None = None,
    werror: bool = False,
) -> Verdict:
    """Check one log.

    An official benchmark meets the official rules of its round (`ttt.compliance.rounds`), a
    workload of our own the rules of `ttt.compliance.ours`. A log without a benchmark meets the
    common rules of the newest ruleset, which it cannot pass.

    Args:
        log: Any log.
        ruleset: The ruleset that the user asks for; None is that of the log's round.
        ran: The ruleset of the log's run folder, and the file that names it.
        werror: Whether what the engine warns of is a problem.

    Raises:
        ConfigError: The installed package does not have this ruleset.
    """
    require_known(ruleset)
    if log.endless or not log.records:
        return _unread(log.path, *(log.endless or [_what_it_is(log.path)]))
    folders = [each.name for each in Path(os.path.abspath(log.path)).parents]  # no link is followed
    day = day_of(log.moment("run_start"))
    chosen = choose(log.benchmark, log.division, day, folders=folders, asked=ruleset, ran=ran)
    if chosen.ruleset is None:
        why = (chosen.reason,)
        return Verdict(
            log.path, log.benchmark, True, None, log.division, False, why, seeds=log.seeds
        )
    found = judge(log, chosen.ruleset, werror)
    if found.problems and not found.missed and ruleset is None:
        chosen, found = _fitting(log, chosen, found, werror)
    return _verdict(log, chosen, found)


def _verdict(log: Log, chosen: Choice, found: Findings) -> Verdict:
    """What the engine found, and what it does not look at."""
    problems, warnings = list(found.problems), [*log.glued, *found.warnings]
    if log.of("resumed") and log.division != "open":
        problems.append(RESUMED)
    succeeded = bool(log.statuses) and all(status == "success" for status in log.statuses)
    if not problems and not succeeded:
        # The engine passes any status; MLPerf's scoring counts such a run as not converged.
        warnings.append(plain(f"run_stop has status {log.statuses}, so the run has no score"))
    return Verdict(
        path=log.path,
        benchmark=log.benchmark,
        official=log.benchmark in official_ids(),
        ruleset=chosen.ruleset,
        reason=chosen.reason,
        division=log.division,
        passed=not problems,
        problems=tuple(problems),
        warnings=tuple(warnings),
        converged=succeeded and not found.missed,
        seeds=log.seeds,
    )


def _fitting(log: Log, chosen: Choice, found: Findings, werror: bool) -> tuple[Choice, Findings]:
    """What to make of a log that breaks its ruleset but may have been written for another.

    Where only its date spoke for the ruleset, one of a later round that it keeps is its own. Else
    it is only a warning: rules grow, and a log is not wrong for lacking what another round wants.
    """
    if log.benchmark not in official_ids():
        return chosen, found
    likely = plausible(log.benchmark, log.division, day_of(log.moment("run_start")))
    others = [one for one in likely if one != chosen.ruleset]
    for other in reversed(others) if chosen.likely else others:
        instead = judge(log, other, werror)
        if not instead.problems and chosen.likely:
            return Choice(other, f"{chosen.reason} and its keys"), instead
        if not instead.problems:
            found.warnings.append(f"the log keeps every rule of ruleset {other}")
            break
    return chosen, found


def require_known(ruleset: str | None) -> None:
    """Refuse a ruleset that cannot be applied; None is any.

    Raises:
        ConfigError: The installed package does not have this ruleset.
    """
    allowed = dict.fromkeys(name for usage in USAGES for name in rulesets(usage))
    if ruleset is not None and ruleset not in allowed:
        raise ConfigError(
            [
                f"ruleset {ruleset!r} is not in the installed mlperf-logging; allowed:"
                f" {', '.join(allowed)}; --ruleset {rulesets()[0]}"
            ]
        )


def _unread(path: Path, *why: str) -> Verdict:
    return Verdict(path, None, False, None, None, False, why)


def _what_it_is(path: Path) -> str:
    with open(path, "rb", opener=foreign.regular) as file:
        start = file.read(_START)
    if not start:
        return "the file is empty"
    for beginning, (what, unpack) in _PACKED.items():
        if start.startswith(beginning):
            clean = shlex.quote(f"{path.name.removesuffix(path.suffix)}.clean.txt")
            return f"the file is {what}; type {unpack} {shlex.quote(str(path))} > {clean}"
    if b"\0" in start:
        return "the file is binary, not a log"
    return "the file has no :::MLLOG record, so it is not an MLPerf log"
