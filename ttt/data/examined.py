"""The result of reading a data set before a run, in words; the same for every kind of set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ttt.errors import one_line

_NAMED = 3  # of many, in a sentence


def places(count: int, block: int, most: int) -> list[int]:
    """Where to look at blocks of a file: everywhere, or at even distances, both ends included."""
    if count <= most * block:
        return list(range(0, count, block))
    return [(count - block) * place // (most - 1) for place in range(most)]


@dataclass(frozen=True, slots=True)
class Examined:
    """What was read of a set.

    Attributes:
        read: How many things.
        what: What they are, in the plural: "image files".
        advice: What to do about bad ones, as an imperative; {} stands for "it" or "them".
        bad: Name and reason of each that a run would stumble over.
        wrong: Sentences about anything else that is wrong.
    """

    read: int
    what: str
    advice: str
    bad: Sequence[tuple[str, str]] = ()
    wrong: Sequence[str] = ()

    def sentences(self) -> list[str]:
        """What is wrong and what to do, one sentence for all that cannot be read."""
        return [one_line(sentence) for sentence in (*self._unreadable(), *self.wrong)]

    def remedy(self, count: int) -> str:
        """What to do about so many bad ones."""
        return self.advice.replace("{}", "it" if count == 1 else "them")

    def _unreadable(self) -> list[str]:
        if not self.bad:
            return []
        remedy = self.remedy(len(self.bad))
        if len(self.bad) == 1:
            [(name, why)] = self.bad
            return [f"{name} cannot be read: {why}; {remedy}"]
        named = ", ".join(f"{name.rstrip(',')} ({why})" for name, why in self.bad[:_NAMED])
        rest = len(self.bad) - _NAMED
        more = f" and {rest} more, which `ttt doctor` lists" if rest > 0 else ""
        return [
            f"{len(self.bad)} of {self.read} {self.what} cannot be read: {named}{more}; {remedy}"
        ]
