"""Tasks: what is learned, and how a prediction is made."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

# How sacrebleu finds words: its default, or by character class, as MLPerf's rules have it.
Tokenize = StrEnum("Tokenize", {"13a": "13a", "intl": "intl"})


@dataclass
class ImageTaskConfig:
    """Image classification; see `ttt.tasks.image`."""

    metric: ClassVar[str] = "top1"
    higher_is_better: ClassVar[bool] = True
    _target_: str = "ttt.tasks.image.ImageClassification"
    label_smoothing: float = 0.0


@dataclass
class LanguageTaskConfig:
    """Prediction of the next token; see `ttt.tasks.language`."""

    metric: ClassVar[str] = "log_perplexity"
    higher_is_better: ClassVar[bool] = False
    _target_: str = "ttt.tasks.language.Language"


@dataclass
class RecommendationTaskConfig:
    """Click prediction; see `ttt.tasks.recommendation`."""

    metric: ClassVar[str] = "auc"
    higher_is_better: ClassVar[bool] = True
    _target_: str = "ttt.tasks.recommendation.ClickPrediction"


@dataclass
class MaskedLanguageTaskConfig:
    """Masked words, and which text follows; see `ttt.tasks.masked_language`."""

    metric: ClassVar[str] = "masked_accuracy"
    higher_is_better: ClassVar[bool] = True
    _target_: str = "ttt.tasks.masked_language.MaskedLanguage"


@dataclass
class TranslationTaskConfig:
    """Translation judged by BLEU; see `ttt.tasks.translation`."""

    metric: ClassVar[str] = "bleu"
    higher_is_better: ClassVar[bool] = True
    _target_: str = "ttt.tasks.translation.Translation"
    label_smoothing: float = 0.1
    beam: int = 4
    length_penalty: float = 0.6
    coverage_penalty: float = 0.0
    extra_length: int = 50  # words a translation may have more than the longest source beside it
    lowercase: bool = False
    tokenize: Tokenize = Tokenize["13a"]
