"""Closed forms: model tensor FLOPs of training one sample, forward and backward. Pure.

A multiply-add is two. Only products of matrices and convolutions count: no lookups, no recomputed
activations, no products with a single vector. A product costs as much for the gradient of its input
and for that of its weights as it does forward, so that training takes three times the forward pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_TRAINED = 3  # passes of a product: forward, gradient of the input, gradient of the weights
_FIRST = 2  # the same where the input needs no gradient
_FROZEN = 2  # the same where the weights need none
_BOTTLENECK = ((64, 3), (128, 4), (256, 6), (512, 3))  # ResNet-50: width, blocks of each stage
_EXPANSION = 4


@dataclass(frozen=True, slots=True)
class Lengths:
    """Means over a set of sentence pairs, in tokens with the end mark; or as other data say.

    Attributes:
        source: Of the source lengths.
        target: Of the target lengths.
        source_squared: Of their squares.
        target_squared: Likewise.
        product: Of source times target length.
    """

    source: float
    target: float
    source_squared: float
    target_squared: float
    product: float

    @classmethod
    def equal(cls, source: float, target: float) -> "Lengths":
        """Of pairs that are all as long."""
        return cls(source, target, source**2, target**2, source * target)


def utilization(
    *,
    flop_per_sample: float | None,
    samples: float | None,
    workers: int | None,
    peak_flop_per_s: float | None,
    seconds: float | None,
) -> float | None:
    """The share of the peak that the model's own products took; None if a part is unknown.

    training_rules.adoc, "Appendix: Utilization". Above 1 one of the parts is wrong.

    Args:
        flop_per_sample: Of training one.
        samples: Trained.
        workers: Accelerators; nodes where there are none.
        peak_flop_per_s: Of one worker, in the precision of the run.
        seconds: Of the run.
    """
    rate = flop_per_s(flop_per_sample, samples, workers, seconds)
    return rate / peak_flop_per_s if rate is not None and peak_flop_per_s else None


def flop_per_s(
    flop_per_sample: float | None,
    samples: float | None,
    workers: int | None,
    seconds: float | None,
) -> float | None:
    """Model FLOPs that each worker did in a second of the run; None if a part is unknown."""
    if flop_per_sample is None or samples is None or not workers or not seconds:
        return None
    return flop_per_sample * samples / (workers * seconds)


def impossible(share: float | None) -> str | None:
    """What to say instead of a utilization above 100 %; None for any other."""
    if share is None or share <= 1:
        return None
    return (
        f"a utilization of {share:,.0%} is impossible: the peak, the FLOPs of a sample or the"
        " samples are not what they are taken for"
    )


def decoder(  # noqa: PLR0913 - a formula of so many numbers
    *,
    layers: int,
    width: int,
    heads: int,
    kv_heads: int,
    head_width: int,
    feedforward: int,
    vocabulary: int,
    sequence: int,
    attended: float = 0.5,
    matrices: int = 3,
) -> float:
    """A Llama decoder: 6 x weights in products x positions, and attention.

    With heads x head_width = width and half of the attention this is 6 N S + 6 layers width S^2,
    where N has the output layer and not the embedding (Kaplan et al. 2020, arXiv:2001.08361,
    section 2.1). Chowdhery et al. 2022 (arXiv:2204.02311, appendix B) count all of the attention.

    Args:
        layers: Of attention and feed-forward network.
        width: Of every position between layers.
        heads: Of queries.
        kv_heads: Of keys and values (grouped-query attention).
        head_width: Of one head.
        feedforward: Inner width of the feed-forward network.
        vocabulary: Tokens that the output layer tells apart.
        sequence: Positions of a sample, S.
        attended: Share of the S x S products that count: 0.5 for causal attention that is halved.
        matrices: Of a feed-forward network: 3 if it is gated (SwiGLU), else 2.
    """
    inner = heads * head_width
    attention = 2 * width * inner + 2 * width * kv_heads * head_width
    weights = layers * (attention + matrices * width * feedforward) + width * vocabulary
    products = 4 * layers * inner * sequence**2 * attended
    return _TRAINED * (2 * weights * sequence + products)


def masked_encoder(
    *,
    layers: int,
    width: int,
    feedforward: int,
    vocabulary: int,
    lengths: Lengths,
) -> float:
    """BERT (Devlin et al. 2018, arXiv:1810.04805) as `ttt.models.bert` has it, with its heads.

    Args:
        layers: Of attention and feed-forward network.
        width: Of every position between layers.
        feedforward: Inner width of the feed-forward networks.
        vocabulary: Words that the output layer tells apart.
        lengths: Of the samples: words, and as the target words to predict; padding does not count.
    """
    layer = (8 * width**2 + 4 * width * feedforward) * lengths.source
    layer += 4 * width * lengths.source_squared
    words = (2 * width**2 + 2 * width * vocabulary) * lengths.target
    follows = 2 * width**2 + 2 * width * 2  # of the first position, for two answers
    return _TRAINED * (layers * layer + words + follows)


def transformer(
    *,
    vocabulary: int,
    encoder_layers: int,
    decoder_layers: int,
    width: int,
    feedforward: int,
    lengths: Lengths,
    attended: float = 0.5,
) -> float:
    """Encoder and decoder of Vaswani et al. 2017 (arXiv:1706.03762); padding does not count.

    Args:
        vocabulary: Words that the output layer tells apart.
        encoder_layers: Layers of the encoder.
        decoder_layers: Layers of the decoder.
        width: Of every position between layers.
        feedforward: Inner width of the feed-forward networks.
        lengths: Of the sentence pairs.
        attended: Share of the decoder's self-attention that counts: 0.5 if causal is halved.
    """
    square, inner = width**2, 4 * width * feedforward
    encoder = (8 * square + inner) * lengths.source + 4 * width * lengths.source_squared
    decoder = (
        (12 * square + inner) * lengths.target
        + 4 * square * lengths.source  # keys and values of the source
        + 4 * width * (attended * lengths.target_squared + lengths.product)
    )
    output = 2 * width * vocabulary * lengths.target
    return _TRAINED * (encoder_layers * encoder + decoder_layers * decoder + output)


def gnmt(*, vocabulary: int, layers: int, width: int, lengths: Lengths) -> float:
    """LSTMs with attention (Wu et al. 2016, arXiv:1609.08144), as `ttt.models.gnmt` has them.

    Args:
        vocabulary: Words that the output layer tells apart.
        layers: LSTMs of the encoder and of the decoder each.
        width: Of embeddings, LSTMs and attention.
        lengths: Of the sentence pairs.
    """
    narrow, wide = _lstm(width, width), _lstm(2 * width, width)
    encoder = (2 * narrow + wide + (layers - 2) * narrow) * lengths.source
    decoder = (narrow + (layers - 1) * wide) * lengths.target
    attention = 2 * width**2 * (lengths.source + lengths.target) + 2 * width * lengths.product
    output = 2 * width * vocabulary * lengths.target
    return _TRAINED * (encoder + decoder + attention + output)


def _lstm(inputs: int, width: int) -> float:
    """Four gates of the input and of the output before, for one position, forward."""
    return 2 * 4 * width * (inputs + width)


def resnet50(*, size: int, classes: int) -> float:
    """ResNet-50 v1.5 (`ttt.models.resnet50`) on square images of `size` pixels."""
    side = _half(size)
    total, channels = _FIRST * _convolution(7, 3, 64, side), 64
    side = _half(side)  # the max pool
    for stage, (width, blocks) in enumerate(_BOTTLENECK):
        for block in range(blocks):
            strides = stage > 0 and block == 0
            after = _half(side) if strides else side
            out = _EXPANSION * width
            forward = _convolution(1, channels, width, side)
            forward += _convolution(3, width, width, after) + _convolution(1, width, out, after)
            if block == 0:
                forward += _convolution(1, channels, out, after)  # the shortcut
            total += _TRAINED * forward
            side, channels = after, out
    return total + _TRAINED * 2 * channels * classes


def resnet_small(
    *, size: int, classes: int, widths: Sequence[int], blocks: Sequence[int], stem_stride: int
) -> float:
    """`ttt.models.resnet_small` on square images of `size` pixels, in that model's words."""
    side = -(-size // stem_stride)
    total, channels = _FIRST * _convolution(3, 3, widths[0], side), widths[0]
    for index, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        if index > 0:
            total += _TRAINED * _convolution(3, channels, width, side)
            side = _half(side)  # the pool comes after the convolution
        total += _TRAINED * 2 * count * _convolution(3, width, width, side)
        channels = width
    return total + _TRAINED * 2 * channels * classes


def _half(side: int) -> int:
    return -(-side // 2)


def _convolution(kernel: int, inputs: int, outputs: int, side: int) -> float:
    """Forward, for an output of side x side pixels."""
    return 2 * kernel**2 * inputs * outputs * side**2


def dlrm_dcnv2(
    *,
    dense: int,
    tables: int,
    dim: int,
    bottom: Sequence[int],
    cross_layers: int,
    cross_rank: int,
    top: Sequence[int],
) -> float:
    """DLRM-DCNv2 in the words of `ttt.models.dlrm_dcnv2`; embedding rows are only summed.

    Args:
        dense: Numbers of a sample.
        tables: Embedding tables.
        dim: Width of an embedding row.
        bottom: Widths of the network that the numbers go through.
        cross_layers: Layers of the cross network.
        cross_rank: Rank of their matrices.
        top: Widths of the network after it.
    """
    width = bottom[-1] + tables * dim
    first = _FIRST * 2 * dense * bottom[0]
    chains = [*pairwise(bottom), *pairwise([width, *top])]
    linear = sum(2 * before * after for before, after in chains)
    cross = cross_layers * 4 * width * cross_rank
    return first + _TRAINED * (linear + cross)


def low_rank_adaptation(
    *, frozen: float, adapters: float, layers: int, width: int, sequence: int, attended: float = 0.5
) -> float:
    """LoRA (Hu et al. 2021, arXiv:2106.09685) on a decoder whose own weights take no gradient.

    Args:
        frozen: Weights in products that are not trained.
        adapters: Weights that are.
        layers: Of attention.
        width: Of all heads together.
        sequence: Positions of a sample.
        attended: Share of the attention that counts: 0.5 for causal attention that is halved.
    """
    products = 4 * layers * width * sequence**2 * attended
    return (
        _FROZEN * 2 * frozen * sequence + _TRAINED * 2 * adapters * sequence + _TRAINED * products
    )
