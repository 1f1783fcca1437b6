"""Settings of translation models: composed from YAML, frozen, loaded, built, and refused."""

import pytest

from ttt import config
from ttt.schema.model import translation
from ttt.schema.schedule import GnmtScheduleConfig, InverseSqrtConfig

PARTS = {
    "transformer": ("adam", "inverse_sqrt"),
    "gnmt": ("adam", "gnmt"),
}


@pytest.mark.parametrize("model", PARTS)
def test_the_yaml_files_make_what_they_name(model, tmp_path):
    optim, schedule = PARTS[model]
    (tmp_path / "benchmark").mkdir()
    (tmp_path / "benchmark" / "mine.yaml").write_text(
        f"""# @package _global_
defaults:
  - override /data: digits
  - override /model: {model}
  - override /optim: {optim}
  - override /schedule: {schedule}
data:
  classes: 10
"""
    )
    config.register()
    composed = config.compose(
        ["benchmark=mine", "model.vocabulary=40", "model.width=16"], str(tmp_path)
    )
    run = config.load(config.freeze(config.resolve(composed)))
    network = config.instantiate("model", run.model)
    assert {p.shape[-1] for p in network.embedding.parameters()} == {16}
    assert (
        config.instantiate("optim", run.optim, network, without=("name",)).defaults["lr"]
        == run.optim.lr
    )
    rate = config.instantiate("schedule", run.schedule, base_lr=1.0, steps_per_epoch=None)
    assert 0 < rate(0) < rate(1) < 1.0


def test_models_learn_the_vocabulary_from_the_data():
    for node in (translation.TransformerConfig, translation.GnmtConfig):
        assert node.vocabulary == "${data.vocabulary}"


@pytest.mark.parametrize(
    ("node", "says"),
    [
        (translation.TransformerConfig(heads=3, width=512), ["model.width=510"]),
        (translation.TransformerConfig(heads=3, width=9), ["model.width=12"]),
        (translation.TransformerConfig(heads=0), ["model.heads=1"]),
        (translation.TransformerConfig(encoder_layers=0), ["model.encoder_layers=1"]),
        (translation.GnmtConfig(layers=1), ["model.layers=2"]),
        (translation.GnmtConfig(width=0), ["model.width=1"]),
        (InverseSqrtConfig(warmup_steps=-1), ["schedule.warmup_steps=0"]),
        (GnmtScheduleConfig(remain_steps=100), ["schedule.remain_steps=200"]),
        (GnmtScheduleConfig(decay_interval=0), ["schedule.decay_interval=1"]),
        (GnmtScheduleConfig(warmup_steps=-1), ["schedule.warmup_steps=0"]),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_type(node, says):
    problems = list(node.problems())
    assert [problem.split("; ")[-1] for problem in problems] == says


def test_published_sizes_are_allowed():
    assert not list(translation.TransformerConfig().problems())
    assert not list(
        translation.TransformerConfig(width=1024, heads=16, feedforward=4096).problems()
    )
    assert not list(translation.GnmtConfig().problems())
    assert not list(GnmtScheduleConfig(warmup_steps=0, decay_steps=0).problems())
