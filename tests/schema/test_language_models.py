"""Rules of language models."""

import pytest

from ttt.schema.model.language import LlamaConfig

LLAMA = {"vocabulary": 256, "sequence_length": 64}


@pytest.mark.parametrize(
    ("settings", "sentences"),
    [
        ({}, []),
        ({"rope_factor": None}, []),
        ({"layers": 0}, ["model.layers=0 is not allowed; allowed: above 0; model.layers=1"]),
        (
            {"width": 4100},
            [
                "model.width=4100 does not suit model.heads=32; allowed: even multiples of the"
                " heads, as 4096; model.width=4096"
            ],
        ),
        (
            {"kv_heads": 5},
            [
                "model.kv_heads=5 does not divide model.heads=32; allowed: 1, 2, 4, 8, 16, 32;"
                " model.kv_heads=4"
            ],
        ),
        (
            {"rope_low": 4.0},
            ["model.rope_low=4 is not allowed; allowed: below model.rope_high=4; model.rope_low=1"],
        ),
    ],
)
def test_what_no_decoder_can_be_is_a_sentence(settings, sentences):
    assert list(LlamaConfig(**LLAMA | settings).problems()) == sentences
