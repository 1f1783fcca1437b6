"""Settings of image sets: what cannot go together is told before the run, with what to type."""

import pytest

from tests.data.test_images import OneProcess, settings
from ttt import config
from ttt.data import cached, dali, resident
from ttt.errors import ConfigError
from ttt.schema.choices import Augment, Format, Loader, OnError
from ttt.schema.data.images import ImageDataConfig
from ttt.schema.parallel import Mesh

CUT = {"augment": Augment.random_resized_crop}
CACHED = {"loader": Loader.cached, "cache_mb": 10.0}


def problems(**changes):
    data = {"train_samples": 100, "eval_samples": 10, "classes": 2, "global_batch": 10} | changes
    return list(ImageDataConfig(**data).problems(Mesh(), accumulate=1))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (CACHED | CUT, "data.loader=dali"),
        ({"loader": Loader.resident} | CUT, "data.loader=dali"),
        ({"loader": Loader.cached}, "data.cache_mb=1000"),
        (CACHED | {"cache_mb": 0.0}, "data.cache_mb=0 is not allowed"),
        ({"cache_mb": 10.0}, "data.loader=cached or data.cache_mb=null"),
        ({"first_label": 1}, "data.first_label=1 has no effect with data.format=folder"),
        ({"hw_decoder_load": 1.5}, "allowed: 0 to 1"),
        ({"largest": [100]}, "a width and a height"),
        ({"largest": [100, 0]}, "a width and a height"),
        ({"area": [0, 1]}, "data.area=[0.08,1]"),
        ({"area": [0.5, 0.4]}, "data.area=[0.08,1]"),
        ({"ratio": [1.5, 1]}, "data.ratio=[0.75,1.333]"),
        ({"size": 224, "eval_resize": 200}, "data.eval_resize=256"),
    ],
)
def test_what_cannot_be_is_told(changes, said):
    found = problems(**changes)
    assert any(said in sentence for sentence in found), found
    assert len(found) == 1


@pytest.mark.parametrize(
    "changes",
    [
        CACHED,
        CACHED | {"augment": Augment.pad_crop, "pad": 1},
        CACHED | {"on_error": OnError.skip},
        {"format": Format.tfrecord, "first_label": 0},
        {"hw_decoder_load": 0.0, "largest": [5980, 6430]},
        CUT | {"area": [1, 1], "eval_resize": 32},
    ],
)
def test_what_can_be_is_not(changes):
    assert problems(**changes) == []


@pytest.mark.parametrize("loader", [dali, resident, cached])
def test_a_gpus_decoder_is_refused_on_a_cpu(loader, tmp_path):
    changes = {"hw_decoder_load": 0.5, "cache_mb": 1.0}
    with pytest.raises(ConfigError, match=r"data\.hw_decoder_load=null"):
        loader.Images(
            world=OneProcess(), channels_last=False, **settings(tmp_path / "none", **changes)
        )


def test_imagenet_is_read_as_the_mlperf_reference_does():
    config.register()
    data = config.resolve(config.compose(["benchmark=resnet", "data.root=."])).data
    assert (data.train_samples, data.eval_samples, data.classes) == (1_281_167, 50_000, 1000)
    assert (data.size, data.eval_resize, data.flip) == (224, 256, True)
    assert (data.augment, data.area, data.ratio) == ("random_resized_crop", [0.05, 1], [0.75, 1.33])
    assert [round(255 * mean, 2) for mean in data.mean] == [123.68, 116.78, 103.94]


def test_the_steps_and_spans_of_resnet_follow_from_the_batch():
    config.register()

    def logged(*overrides, **values):
        composed = config.compose(["data.root=.", *overrides])
        return config.resolve(composed, **values).mlperf

    # 37 epochs: 14,814 batches of 3,200 and 11,851 of 4,000, rounded up.
    lars = logged("benchmark=resnet")
    assert lars["lars_opt_learning_rate_decay_steps"] == 14814
    larger = logged("benchmark=resnet", "data.global_batch=4000")
    assert larger["lars_opt_learning_rate_decay_steps"] == 11851
    sgd = logged("benchmark=resnet_sgd", "accumulate=2", processes=8)
    assert sgd["model_bn_span"] == 200
    assert sgd["sgd_opt_learning_rate_decay_steps"] == 14814
