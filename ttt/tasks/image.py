"""Image classification: cross-entropy to learn from, top-1 to be judged by."""

import torch.nn.functional as F
from torch import Tensor, nn

from ttt.metrics.accuracy import Top1
from ttt.protocols import Column

ImageBatch = tuple[Tensor, Tensor]  # pixels [B, 3, H, W] float, labels [B] int64

_NONE = -2  # the class predicted where a logit is NaN: no label equals it, not even an unreadable's


class ImageClassification:
    """Implements `ttt.protocols.Task` for one label per image.

    Args:
        label_smoothing: Share of the target spread over all classes (Szegedy et al. 2016).
    """

    def __init__(self, *, label_smoothing: float) -> None:
        self._label_smoothing = label_smoothing

    def loss(self, model: nn.Module, batch: ImageBatch) -> Tensor:
        """Mean cross-entropy, in fp32 for any precision of the model."""
        pixels, labels = batch
        logits = model(pixels).float()
        return F.cross_entropy(logits, labels, label_smoothing=self._label_smoothing)

    def predict(self, model: nn.Module, batch: ImageBatch) -> Tensor:
        """Logits [B, classes]."""
        logits: Tensor = model(batch[0])
        return logits

    def kept(self, prediction: Tensor, batch: ImageBatch) -> dict[str, Column]:
        """The label and the most likely class; their equality is what `Top1` counts."""
        classes = prediction.argmax(dim=1).where(~prediction.isnan().any(dim=1), _NONE)
        return {"label": batch[1].cpu().numpy(), "predicted": classes.cpu().numpy()}

    def metric(self) -> Top1:
        """Share of images whose most likely class is their label."""
        return Top1()
