"""BLEU as sacrebleu computes it, from counts that add up over processes.

Every process compares its own hypotheses with their references and keeps ten integers. Their sums
over processes are those of the whole text, and so is the score, to the last digit. It knows nothing
of models or files: a batch brings the references and what makes text of ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from ttt.errors import DataError, MissingExtra
from ttt.special_tokens import without_special

if TYPE_CHECKING:
    from torch import Tensor

    from ttt.protocols import World

    # Source, unused; references; from ids without EOS to text.
    TextBatch = tuple[Tensor, list[str], Callable[[list[list[int]]], list[str]]]

ORDERS = 4  # n-grams of up to so many words (Papineni et al. 2002)


class Bleu:
    """Corpus BLEU, a fraction in [0, 1].

    Args:
        lowercase: Compare without case.
        tokenize: sacrebleu's way to find words: "13a", its default, or "intl", by character class.

    Raises:
        MissingExtra: sacrebleu is not installed.
    """

    name = "bleu"

    def __init__(
        self, *, lowercase: bool = False, tokenize: Literal["13a", "intl"] = "13a"
    ) -> None:
        try:
            from sacrebleu.metrics import BLEU  # noqa: PLC0415 - an extra, and slow to import
        except ImportError as error:
            raise MissingExtra("sacrebleu", "text", "computing BLEU") from error
        # It takes spaced punctuation for a sign of text that is tokenized, and would warn.
        self._bleu = BLEU(lowercase=lowercase, tokenize=tokenize, force=True)
        self._batches: list[tuple[Tensor, TextBatch]] = []

    def details(self) -> dict[str, str]:
        """Sacrebleu's signature: all that a score depends on but the text."""
        self._bleu.corpus_score([""], [[""]])  # it learns the number of references from some
        return {"signature": str(self._bleu.get_signature())}

    def update(self, prediction: Tensor, batch: TextBatch) -> None:
        """Keep one batch where it is, without waiting for the device.

        Args:
            prediction: Hypotheses, int64 [B, T], each ended by EOS.
            batch: The sentences they translate.
        """
        self._batches.append((prediction, batch))

    def compute(self, world: World) -> tuple[float, int]:
        """BLEU over all processes and the sentences it is of; this is where the host waits.

        Raises:
            DataError: No process has seen a sentence.
        """
        hypotheses: list[str] = []
        references: list[str] = []
        for prediction, (_, theirs, decode) in self._batches:
            hypotheses += decode([without_special(ids) for ids in prediction.tolist()])
            references += theirs
        *counts, sentences = world.replicas.sum(
            [*self._counts(hypotheses, references), len(references)]
        )
        if sentences == 0:
            raise DataError(
                "bleu of 0 evaluation sentences is undefined: the evaluation set must hold at least"
                " 1; check data.root and data.eval_samples"
            )
        score = self._bleu.compute_bleu(
            correct=counts[:ORDERS],
            total=counts[ORDERS : 2 * ORDERS],
            sys_len=counts[-2],
            ref_len=counts[-1],
            smooth_method=self._bleu.smooth_method,
            smooth_value=self._bleu.smooth_value,
            effective_order=self._bleu.effective_order,
            max_ngram_order=self._bleu.max_ngram_order,
        )
        return float(score.score) / 100, sentences

    def _counts(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[int]:
        """N-grams that match and that there are, for each n; words of hypotheses and references."""
        if not hypotheses:
            return [0] * (2 * ORDERS + 2)
        own = self._bleu.corpus_score(hypotheses, [references])
        return [int(n) for n in (*own.counts, *own.totals, own.sys_len, own.ref_len)]
