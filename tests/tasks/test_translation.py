"""Translation as a task: a loss that is the mean over words wherever they are, and whole runs."""

import json
import re
from itertools import islice

import pytest
import torch
from torch import nn

from ranks import on_ranks
from texts import EVAL, RECIPE, TRAIN, loader, prepared
from ttt.data.text import Pairs, Sentences
from ttt.distributed.parallelize import parallelize
from ttt.distributed.world import Solo
from ttt.learner import StandardLearner
from ttt.models.transformer import Transformer
from ttt.optim import sgd
from ttt.schema.data.text import BatchBy, TextDataConfig
from ttt.schema.parallel import Mesh
from ttt.special_tokens import BOS, EOS, PAD
from ttt.tasks.translation import Translation

SOLO = Solo(torch.device("cpu"))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("text") / "set")


def task(label_smoothing=0.1):
    return Translation(
        label_smoothing=label_smoothing,
        beam=2,
        length_penalty=0.6,
        coverage_penalty=0.0,
        extra_length=5,
        lowercase=False,
        tokenize="13a",
    )


def network():
    torch.manual_seed(0)
    return Transformer(
        vocabulary=RECIPE.vocabulary,
        encoder_layers=1,
        decoder_layers=1,
        width=16,
        heads=2,
        feedforward=16,
        dropout=0.0,
        attention_dropout=0.0,
        relu_dropout=0.0,
        norm_first=True,
    )


class Table(nn.Module):
    """Logits that depend on the decoder's input word only."""

    def __init__(self, vocabulary):
        super().__init__()
        self.logits = nn.Parameter(torch.randn(vocabulary, vocabulary))

    def forward(self, source, target):
        return self.logits[target]


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_the_formula(label_smoothing):
    torch.manual_seed(0)
    words = 11
    said = torch.tensor([[BOS, 7, 8], [BOS, PAD, PAD]])
    to_say = torch.tensor([[7, 8, EOS], [EOS, PAD, PAD]])
    weight = torch.tensor([0.25, 2.0])
    model = Table(words)
    expected = 0.0
    for before, after, counts in [(BOS, 7, 0.25), (7, 8, 0.25), (8, EOS, 0.25), (BOS, EOS, 2.0)]:
        logs = model.logits[before].detach().double().log_softmax(0)
        smooth = (1 - label_smoothing) * logs[after] + label_smoothing / words * logs.sum()
        expected -= counts * float(smooth)
    loss = task(label_smoothing).loss(model, Pairs(said, said, to_say, weight))
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_the_loss_is_computed_in_fp32():
    class Half(Table):
        def forward(self, source, target):
            return super().forward(source, target).bfloat16()

    words = torch.tensor([[BOS, 5]])
    assert task().loss(Half(9), Pairs(words, words, words, torch.ones(1))).dtype == torch.float32


def learned(world, root, accumulate, **settings):
    """Weights after a few updates."""
    model = network()
    rules = dict(lr=0.5, momentum=0.0, nesterov=False, weight_decay=0.0)
    learner = StandardLearner(
        parallelize(model, world, optimizer=lambda model: sgd.build(model, **rules)),
        task(),
        world,
        schedule=lambda step: 0.5,
        precision="fp32",
        accumulate=accumulate,
        clip_norm=None,
    )
    data = loader(world, root, accumulate=accumulate, **settings)
    for batch in islice(data.train(world.data, 1), 4):
        learner.step(batch)
    return {name: value.detach().clone() for name, value in model.named_parameters()}


@pytest.mark.parametrize(
    ("size", "accumulate", "tokens"),
    [(1, 3, 512), (2, 2, 512), (3, 1, 64)],  # 64: fewer sentences than ranks
)
def test_updates_do_not_depend_on_how_a_batch_is_shared_out(root, size, accumulate, tokens):
    given = (root, accumulate)
    alone = learned(SOLO, root, 1, global_batch=tokens)
    if size == 1:
        found = [learned(SOLO, *given, global_batch=tokens)]
    else:
        found = on_ranks(size, learned_with, *given, tokens)
    moved = max(
        float((value - start.detach()).abs().max())
        for value, start in zip(alone.values(), network().parameters(), strict=True)
    )
    assert moved > 0.01
    for weights in found:
        for name, value in alone.items():
            torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-6 + 1e-5 * moved)


def learned_with(world, root, accumulate, tokens):
    return learned(world, root, accumulate, global_batch=tokens)


def evaluated(world, root):
    """Hypotheses of this rank by source, and the quality of all."""
    metric, model, said = task().metric(), network().eval(), {}
    for batch in loader(world, root).eval(world.data):
        with torch.no_grad():
            hypotheses = task().predict(model, batch)
        metric.update(hypotheses, batch)
        said |= zip(map(tuple, batch.source.tolist()), hypotheses.tolist(), strict=True)
    return said, metric.compute(world)


def test_hypotheses_and_quality_do_not_depend_on_the_ranks(root):
    said, quality = evaluated(SOLO, root)
    assert quality[1] == EVAL
    answers = on_ranks(3, evaluated, root)
    assert [found for _, found in answers] == [quality] * 3
    together = {source: ids for part, _ in answers for source, ids in part.items()}
    assert together == said


def test_a_hypothesis_may_be_so_much_longer_than_its_source():
    source = torch.tensor([[7, 8, EOS], [9, EOS, PAD]])
    hypotheses = task().predict(network().eval(), Sentences(source, ["", ""], lambda ids: ids))
    assert hypotheses.shape[1] <= 3 + 5
    assert (hypotheses == EOS).any(dim=1).all()


def test_a_run_from_text_to_result(root, ttt, tmp_path):
    small = [
        f"data.root={root}",
        "data.prepare=null",
        f"data.train_samples={TRAIN}",
        f"data.eval_samples={EVAL}",
        f"data.vocabulary={RECIPE.vocabulary}",
        "data.global_batch=512",
        "model.width=16",
        "model.heads=2",
        "model.encoder_layers=1",
        "model.decoder_layers=1",
        "target.max_epochs=1",
    ]
    result = ttt("run", "benchmark=dates", *small)
    assert result.returncode == 3, result.stderr  # not reached, in an epoch
    [folder] = (tmp_path / "runs" / "dates").glob("*/seed_1")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["samples"] == TRAIN
    assert 0 < summary["data"]["padding"] < 0.3
    lines = (folder / "result_0.txt").read_text().splitlines()
    records = [json.loads(line.removeprefix(":::MLLOG ")) for line in lines]
    [length] = [record for record in records if record["key"] == "max_sequence_length"]
    assert (length["value"], length["metadata"]["method"]) == (64, "discard")
    [goal] = [record for record in records if record["key"] == "target_accuracy"]
    assert goal["metadata"]["signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"global_batch": 60}, r"data\.global_batch=60 tokens do not hold .*=64 for each"),
        ({"global_batch": 500, "pieces": 8}, r"allowed: 512 or more; data\.global_batch=512$"),
        ({"global_batch": 300, "accumulate": 2}, r"3 processes x accumulate=2; allowed: 384"),
        ({"batch_by": BatchBy.sentences, "pieces": 3}, r"multiples of 3; data\.global_batch=798$"),
        ({"vocabulary": 0}, r"data\.vocabulary=0 is not allowed"),
        ({"pieces": 0}, r"data\.pieces=0 is not allowed"),
    ],
)
def test_mistakes_are_told_before_the_run(settings, message):
    right = {"train_samples": 9, "eval_samples": 9, "vocabulary": 9, "global_batch": 800}
    accumulate = settings.get("accumulate", 1)
    assert not list(TextDataConfig(**right).problems(Mesh(3), 1))
    [problem] = TextDataConfig(**right | settings).problems(Mesh(3), accumulate)
    assert re.search(message, problem)


def test_a_word_that_no_setting_has_is_refused(ttt):
    result = ttt("run", "benchmark=dates", "task.tokenize=moses")
    assert result.returncode == 2
    assert "13a" in result.stderr
    assert "Traceback" not in result.stderr
