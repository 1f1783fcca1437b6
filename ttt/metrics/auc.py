"""Area under the ROC curve, counted in integers: exact for any number of processes.

It knows nothing of the model or of how samples are divided: its caller sends every evaluation
sample exactly once. Scores stay where they were made until the end; no process ever holds them all.

The area is the share of (positive, negative) pairs in which the positive sample has the higher
score; a tie counts half (Hanley and McNeil 1982, "The Meaning and Use of the Area under a Receiver
Operating Characteristic (ROC) Curve", section "The Statistical Properties"). Ranking all scores
with mid-ranks for ties gives the same (Mann and Whitney 1947). Twice that count of pairs is an
integer, so the sum over processes is exact. One division at the end then makes the quality the same
float for any number of processes.

`Auc.compute` is a sample sort (Frazer and McKellar 1970). Each process sorts its own scores. A
sample of all of them gives boundaries. One exchange puts every score on the process that counts its
range, equal scores on the same one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ttt.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from ttt.protocols import Axis, World

_SAMPLED = 256  # scores per process that boundaries are taken from: more even ranges, more to send


class Auc:
    """Area under the ROC curve of one score a sample, a fraction in [0, 1].

    Only the order of the scores counts, in fp32: a logit judges as well as its probability, and
    better where the sigmoid rounds: from 17 on it is 1 in fp32 for every logit.

    A score that is NaN counts as the worst its label can have: -inf for a positive sample, +inf for
    a negative one. So no NaN does better than a number would.

    Let n be the samples of one process. It keeps 5 n bytes (fp32 scores, one byte a label). To
    compute, it takes about 26 n more at its peak. It sorts n scores, exchanges at most 4 n bytes
    and sorts again what came. Scores that are all equal end on one process, which then holds all of
    that class: right, and slow.

    The largest set it is for has 89,137,319 samples (MLPerf's DLRM-DCNv2): on 8 processes
    n = 11,142,165. Measured alone on one core of a CPU, a sort of so many took 1.2 s, and `compute`
    1.3 s and 272 MiB above the 53 MiB kept. From there it is arithmetic: two sorts and 45 MB to
    exchange, about 3 s on such cores.
    """

    name = "auc"

    def __init__(self) -> None:
        self._scores: list[Tensor] = []
        self._positive: list[Tensor] = []

    def details(self) -> dict[str, str]:
        """Nothing: there is one area."""
        return {}

    def update(self, prediction: Tensor, batch: tuple[Tensor, Tensor, Tensor]) -> None:
        """Keep one batch on its device; the host does not wait.

        Args:
            prediction: A score for each sample [B], any floating-point type.
            batch: Dense features and ids, unused, and labels [B]: 0 or 1, of any type.
        """
        self._scores.append(prediction.detach().float())
        self._positive.append(batch[2] > 0)

    def compute(self, world: World) -> tuple[float, int]:
        """Quality over all processes and the samples it counts; this is where the host waits.

        Raises:
            DataError: There are not samples of both classes.
        """
        replicas = world.replicas
        own = [side.sort().values for side in self._sides(world.device)]
        counts = replicas.sum([len(side) for side in own])
        splitters = _splitters(own, sum(counts), replicas)
        positive, negative = (_range(side, splitters, replicas) for side in own)
        ranges = replicas.gather((len(positive), len(negative)))
        assert [sum(column) for column in zip(*ranges, strict=True)] == counts
        positives, negatives = counts
        if not positives or not negatives:
            raise DataError(
                f"auc of {positives} positive and {negatives} negative evaluation samples is"
                " undefined: there must be at least 1 of each; check data.root and"
                " data.eval_samples"
            )
        below = sum(count for _, count in ranges[: replicas.rank])
        mine = _twice_won(positive, negative) + 2 * len(positive) * below
        twice_won = replicas.sum([mine])[0]
        return twice_won / (2 * positives * negatives), positives + negatives

    def _sides(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Scores of the positive and of the negative samples, without NaN."""
        if not self._scores:  # a process without samples takes part all the same
            return torch.empty(0, device=device), torch.empty(0, device=device)
        scores, positive = torch.cat(self._scores), torch.cat(self._positive)
        return (
            scores[positive].nan_to_num(-torch.inf, torch.inf, -torch.inf),
            scores[~positive].nan_to_num(torch.inf, torch.inf, -torch.inf),
        )


def _splitters(sides: list[Tensor], total: int, replicas: Axis) -> Tensor:
    """Scores that divide all samples into about equal ranges, one fewer than processes."""
    stride = max(1, total // (_SAMPLED * replicas.size))
    sample = replicas.concat(torch.cat([side[::stride] for side in sides])).sort().values
    places = [len(sample) * rank // replicas.size for rank in range(1, replicas.size)]
    return sample[torch.tensor(places, dtype=torch.int64, device=sample.device)]


def _range(ordered: Tensor, splitters: Tensor, replicas: Axis) -> Tensor:
    """All processes' scores in this process's range, sorted; given one's own scores, sorted.

    The range of process i is above splitter i - 1, up to and including splitter i.
    """
    ends = torch.searchsorted(ordered, splitters, right=True).tolist()
    pieces = replicas.exchange(ordered.tensor_split(ends))
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces).sort().values


def _twice_won(positive: Tensor, negative: Tensor) -> int:
    """Twice the pairs that the positive sample wins, a tie being half a win."""
    below = torch.searchsorted(negative, positive).sum()
    not_above = torch.searchsorted(negative, positive, right=True).sum()
    return int(below + not_above)
