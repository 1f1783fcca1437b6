"""What one run lost its time to, and what to try. Pure."""

from dataclasses import dataclass

from ttt.report.run import Run


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that made a run slower than it need be, or may break it.

    Attributes:
        what: As "waiting for data".
        measured: The figures, in words.
        advice: What to try.
        share: Of the time-to-train that it took; None if it is no loss of time.
    """

    what: str
    measured: str
    advice: str
    share: float | None = None


def diagnose(run: Run) -> list[Finding]:
    """What was found, the most expensive first; nothing where nothing is wrong or known."""
    raise NotImplementedError
