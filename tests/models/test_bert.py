"""BERT against Hugging Face's, with the same weights."""

import pytest
import torch
import transformers

from ttt.models.bert import Bert
from ttt.models.bert_names import sources

SIZES = dict(vocabulary=50, layers=2, width=16, heads=4, feedforward=24, positions=12)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Bert(**SIZES).eval()


def inputs():
    torch.manual_seed(1)
    words, segments = torch.randint(50, (3, 10)), torch.randint(2, (3, 10))
    mask = (torch.arange(10) < torch.tensor([[10], [7], [4]])).long()
    return words, segments, mask


def test_equals_the_one_of_transformers(model):
    configuration = transformers.BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=24,
        max_position_embeddings=12,
    )
    theirs = transformers.BertForPreTraining(configuration).eval()
    for weight in theirs.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    weights = theirs.state_dict()
    ours = {name: weights[source.torch] for name, source in sources(2).items()}
    model.load_state_dict(ours)
    words, segments, mask = inputs()
    places = torch.arange(10).expand(3, -1)
    with torch.no_grad():
        expected = theirs(words, attention_mask=mask, token_type_ids=segments)
        found, follows = model(words, segments, mask, places)
    torch.testing.assert_close(found, expected.prediction_logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(follows, expected.seq_relationship_logits, rtol=1e-5, atol=1e-5)


def test_predicts_at_the_places_asked_for(model):
    words, segments, mask = inputs()
    every, _ = model(words, segments, mask, torch.arange(10).expand(3, -1))
    some, _ = model(words, segments, mask, torch.tensor([[3, 0], [6, 2], [1, 1]]))
    torch.testing.assert_close(some[1], every[1, [6, 2]])


def test_padding_changes_nothing(model):
    words, segments, mask = inputs()
    other = torch.where(mask.bool(), words, 7)
    places = torch.zeros(3, 1, dtype=torch.long)
    for one, two in zip(
        model(words, segments, mask, places), model(other, segments, mask, places), strict=True
    ):
        torch.testing.assert_close(one, two)


def test_as_many_weights_as_the_reference():
    """BERT-large: 1024 wide, 24 layers, 30,522 words."""
    with torch.device("meta"):
        model = Bert(vocabulary=30522)
    assert sum(weight.numel() for weight in model.parameters()) == 336_226_108
    assert model.state_dict().keys() == sources(24).keys()


def test_first_weights_are_cut_at_twice_their_deviation():
    """As TensorFlow's truncated_normal: 0.02 before the cut is 0.0176 after it."""
    torch.manual_seed(1)
    model = Bert(vocabulary=2000, layers=1, width=64, heads=2, feedforward=128, positions=64)
    weight = model.words.weight
    assert weight.abs().max() <= 0.04
    assert weight.std().item() == pytest.approx(0.02 * 0.8796, rel=0.02)
