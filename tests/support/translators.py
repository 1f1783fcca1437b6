"""Small models that translate, and sentences for them."""

import torch
from torch import Tensor

from ttt.models.gnmt import Gnmt
from ttt.models.transformer import Transformer
from ttt.special_tokens import BOS, EOS, PAD

VOCABULARY = 23


def transformer(**settings) -> Transformer:
    """Two layers each, of weights that tell sentences apart, in evaluation mode."""
    torch.manual_seed(8)
    sizes = {"encoder_layers": 2, "decoder_layers": 2, "width": 16, "heads": 4, "feedforward": 32}
    model = Transformer(vocabulary=VOCABULARY, **{**sizes, **settings}).eval()
    with torch.no_grad():
        for layer in (*model.encoder, *model.decoder):
            for weight in layer.parameters():
                weight.mul_(2)  # else the tied table makes it say the same word again and again
        model.embedding.weight[EOS] *= 3  # so that some sentences end
    return model


def gnmt(**settings) -> Gnmt:
    """Four layers each, of weights that tell sentences apart, in evaluation mode."""
    torch.manual_seed(8)
    model = Gnmt(vocabulary=VOCABULARY, **{"width": 16, **settings}).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(10)  # so small a network would else say nearly the same of everything
    return model


MODELS = {
    "transformer": transformer,
    "post-norm": lambda **settings: transformer(norm_first=False, **settings),
    "gnmt": gnmt,
}


def sentences(*lengths: int, seed: int = 1) -> Tensor:
    """Random words, ended by EOS and padded to the longest, [B, S]; lengths count EOS."""
    random = torch.Generator().manual_seed(seed)
    words = torch.full((len(lengths), max(lengths)), PAD)
    for row, length in enumerate(lengths):
        words[row, :length] = torch.randint(EOS + 1, VOCABULARY, (length,), generator=random)
        words[row, length - 1] = EOS
    return words


def prefixes(*lengths: int, seed: int = 2) -> Tensor:
    """What a decoder is given: BOS and random words, padded, [B, T]; lengths count BOS."""
    words = sentences(*lengths, seed=seed)
    words[words == EOS] = EOS + 1
    words[:, 0] = BOS
    return words
