"""Beam search over any model that takes in a word at a time.

All sentences of a batch are searched at once, on the model's device. The host issues work and waits
for none of it, but for a look every few words at which sentences are done; those are then dropped,
so that the work shrinks with them. A sentence's result does not depend on those beside it, up to
the rounding of the model itself: nothing here sums over sentences, and one that is done is left as
it is.

Of each sentence the K best unfinished hypotheses are kept. One that ends among the K best
continuations is finished, and finished ones compete by

    log P(Y | X) / ((5 + |Y|) / 6) ** length_penalty + coverage_penalty * coverage

with |Y| counting the end of sentence (Wu et al. 2016, arXiv:1609.08144, equation 14). A sentence is
done when K have finished, as in fairseq, on which MLPerf entries are built. So one beam is greedy
search. It is done earlier when the best is out of reach: no unfinished hypothesis would get past it
even if it gained all words still allowed for nothing. What has not ended by the last word ends
there, at the price of that word's probability.

The search knows a model by the protocols below and ids by `ttt.special_tokens`.

Shape suffixes: B batch, S source positions, K beams of a sentence, N = B * K hypotheses, C
candidates of a sentence, T words, V vocabulary; 1 is broadcast.
"""
# ruff: noqa: N803, N806 - capital letters name dimensions

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from ttt.errors import ConfigError, fault
from ttt.special_tokens import BOS, EOS, PAD

_LOOK_EVERY = 4  # words; a look makes the host wait for the device
_WORTH_KEEPING = 0.75  # share of sentences still going on above which the rest is carried along


class State(Protocol):
    """What a model remembers of hypotheses that are being extended."""

    def reorder(self, order_N: Tensor) -> None:
        """Hypothesis n goes on from what was hypothesis `order_N[n]`, of the same sentence."""

    def keep(self, sentences_B: Tensor) -> None:
        """Forget all sentences but these, with all their hypotheses."""


@runtime_checkable
class Attentive(State, Protocol):
    """A state that also knows what of the source a hypothesis has covered."""

    def coverage(self) -> Tensor:
        """The sum over source words of log(min(attention so far, 1)), fp32 [B, K]."""


S = TypeVar("S", bound=State)


class Translator(Protocol[S]):
    """A model that can be searched; `ttt.models.transformer` and `ttt.models.gnmt` have two."""

    def start(self, source_BS: Tensor, beam: int, max_length: int) -> S:
        """Read the source, for `beam` hypotheses of each sentence, next to each other."""

    def advance(self, tokens_N: Tensor, state: S) -> Tensor:
        """Take in one more word of every hypothesis; logits [N, V] of the next."""


class Candidates(NamedTuple):
    """The best continuations of each sentence's beams, best first, [B, C] each."""

    scores: Tensor  # log-probability of all words so far, fp32; -inf where there is no candidate
    beams: Tensor  # which beam is continued
    tokens: Tensor  # by which word


@torch.no_grad()
def search(
    model: Translator[S],
    source_BS: Tensor,
    *,
    beam: int,
    length_penalty: float,
    max_length: int,
    coverage_penalty: float = 0.0,
) -> Tensor:
    """The best translation that beam search finds for each sentence; see above for what is best.

    Args:
        model: In evaluation mode.
        source_BS: Words, end of sentence included, then padding; int64, on the model's device.
        beam: Unfinished hypotheses kept for each sentence, K.
        length_penalty: 0 compares probabilities; more favours long translations. Not negative.
        max_length: Words of a translation at most, end of sentence included.
        coverage_penalty: More favours translations that attend to all of the source. Not negative.

    Returns:
        Words of each sentence's best hypothesis, without begin of sentence, ended by EOS and padded
        after it; int64 [B, T] with T <= max_length.

    Raises:
        ConfigError: A coverage penalty for a model that does not know its coverage.
    """
    state = model.start(source_BS, beam, max_length)
    attentive = _attentive(state, coverage_penalty) if coverage_penalty else None
    beams = _Beams(source_BS, beam, max_length, length_penalty)
    result_BT = source_BS.new_full((len(source_BS), max_length), PAD)
    for length in range(1, max_length + 1):
        logits_NV = model.advance(beams.newest_BK.flatten(), state)
        bonus_BK = coverage_penalty * attentive.coverage() if attentive else None
        order_N = beams.extend(logits_NV, bonus_BK)
        if beam > 1:
            state.reorder(order_N)
        if length % _LOOK_EVERY == 0:
            going_on_B = (~beams.done_B).nonzero()[:, 0]
            if len(going_on_B) <= _WORTH_KEEPING * len(beams.done_B):
                result_BT[beams.sentences_B] = beams.best_BT
                if len(going_on_B) == 0:
                    break
                beams.keep(going_on_B)
                state.keep(going_on_B)
    result_BT[beams.sentences_B] = beams.best_BT
    return result_BT[:, :length]


class _Beams:
    """The hypotheses of sentences: K unfinished ones each, and the best finished one.

    Attributes:
        sentences_B: Which sentences of the batch these are.
        newest_BK: The last word of each unfinished hypothesis.
        best_BT: The best finished hypothesis, ended by EOS; only padding before there is one.
        done_B: Nothing that follows can change the best one.
    """

    def __init__(
        self, source_BS: Tensor, beam: int, max_length: int, length_penalty: float
    ) -> None:
        count, device = len(source_BS), source_BS.device
        self._beam = beam
        self._max_length = max_length
        self._length_penalty = length_penalty
        self._length = 0
        self._scores_BK = torch.full((count, beam), -torch.inf, device=device)
        self._scores_BK[:, 0] = 0.0  # all beams begin alike: only one of them counts
        self._said_BKT = source_BS.new_full((count, beam, max_length), PAD)
        self._best_scores_B = torch.full((count,), -torch.inf, device=device)
        self._finished_B = source_BS.new_zeros(count)
        self.sentences_B = torch.arange(count, device=device)
        self.newest_BK = source_BS.new_full((count, beam), BOS)
        self.best_BT = source_BS.new_full((count, max_length), PAD)
        self.done_B = torch.zeros(count, dtype=torch.bool, device=device)

    def extend(self, logits_NV: Tensor, bonus_BK: Tensor | None) -> Tensor:
        """Go on by one word.

        Args:
            logits_NV: Of that word.
            bonus_BK: Added to the score of a hypothesis that ends with it; not positive.

        Returns:
            The hypotheses that were continued, int64 [N].
        """
        self._length += 1
        last = self._length == self._max_length
        candidates = _candidates(logits_NV, self._scores_BK, must_end=last)
        self._finish(candidates, bonus_BK)
        self._scores_BK, beams_BK, self.newest_BK = _unfinished(candidates, self._beam)
        self._said_BKT = self._said_BKT.gather(1, beams_BK[..., None].expand_as(self._said_BKT))
        self._said_BKT[..., self._length - 1] = self.newest_BK
        # Log-probabilities can only fall, and a penalty divides by most at the greatest length.
        reach_B = self._scores_BK.amax(dim=1) / self._penalty(self._max_length)
        self.done_B |= (self._finished_B >= self._beam) | (self._best_scores_B >= reach_B)
        first_B1 = torch.arange(len(beams_BK), device=beams_BK.device)[:, None] * self._beam
        return (first_B1 + beams_BK).flatten()

    def keep(self, index_B: Tensor) -> None:
        """Forget all sentences but these."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value[index_B])

    def _finish(self, candidates: Candidates, bonus_BK: Tensor | None) -> None:
        """Let those among the K best candidates compete that end with this word."""
        scores_BK, beams_BK, tokens_BK = (part[:, : self._beam] for part in candidates)
        ended_BK = (tokens_BK == EOS) & (scores_BK > -torch.inf) & ~self.done_B[:, None]
        scores_BK = scores_BK.masked_fill(~ended_BK, -torch.inf) / self._penalty(self._length)
        if bonus_BK is not None:
            scores_BK = scores_BK + bonus_BK.gather(1, beams_BK)
        scores_B, place_B = scores_BK.max(dim=1)
        beams_B11 = beams_BK.gather(1, place_B[:, None])[..., None]
        words_BT = self._said_BKT.take_along_dim(beams_B11, dim=1)[:, 0]
        words_BT[:, self._length - 1] = EOS
        better_B = scores_B > self._best_scores_B
        self.best_BT = torch.where(better_B[:, None], words_BT, self.best_BT)
        self._best_scores_B = torch.maximum(scores_B, self._best_scores_B)
        self._finished_B = self._finished_B + ended_BK.sum(dim=1)

    def _penalty(self, length: int) -> float:
        return float(((5 + length) / 6) ** self._length_penalty)


def _attentive(state: State, coverage_penalty: float) -> Attentive:
    if isinstance(state, Attentive):
        return state
    why = "needs a model with one attention, as model=gnmt"
    raise ConfigError([fault("task.coverage_penalty", coverage_penalty, why, typed="0")])


def _candidates(logits_NV: Tensor, scores_BK: Tensor, *, must_end: bool) -> Candidates:
    """The 2K best continuations: as at most K of them end, at least K are left to go on with."""
    beam = scores_BK.shape[1]
    logs_NV = logits_NV.log_softmax(dim=1, dtype=torch.float32)
    logs_NV[:, PAD] = logs_NV[:, BOS] = -torch.inf
    if must_end:
        logs_NV[:, :EOS] = logs_NV[:, EOS + 1 :] = -torch.inf
    count = min(2 * beam, logs_NV.shape[1])
    logs_NC, tokens_NC = logs_NV.topk(count, dim=1)
    scores_NC = scores_BK.flatten()[:, None] + logs_NC
    scores_BC, places_BC = scores_NC.view(len(scores_BK), -1).topk(2 * beam, dim=1)
    tokens_BC = tokens_NC.view(len(scores_BK), -1).gather(1, places_BC)
    return Candidates(scores_BC, places_BC // count, tokens_BC)


def _unfinished(candidates: Candidates, beam: int) -> Candidates:
    """The K best candidates that do not end."""
    going_on_BC = candidates.scores.masked_fill(candidates.tokens == EOS, -torch.inf)
    scores_BK, places_BK = going_on_BC.topk(beam, dim=1)
    return Candidates(
        scores_BK,
        candidates.beams.gather(1, places_BK),
        candidates.tokens.gather(1, places_BK),
    )
