"""Would `ttt run` start this configuration at all? The command has found that out."""

from collections.abc import Iterator, Sequence

from ttt.doctor.findings import Finding, failure, ok
from ttt.schema.run import RunConfig


def judge(run: RunConfig, problems: Sequence[str]) -> Iterator[Finding]:
    """Whether `ttt run` would start.

    Args:
        run: What would be run.
        problems: Sentences that each end with what to type instead.
    """
    for sentence in problems:
        problem, _, advice = sentence.rpartition("; ")
        text = f"`ttt run` refuses this configuration: {problem or advice}"
        yield failure("configuration", text, advice if problem else None)
    if not problems:
        yield ok("configuration", f"{run.benchmark.id}: `ttt run` would start it")
