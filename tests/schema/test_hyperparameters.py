"""What the log says of hyperparameters: what parts log by themselves, and what a benchmark adds."""

from types import SimpleNamespace

import pytest

from ttt import config
from ttt.schema.hyperparameters import logged
from ttt.schema.optim import AdagradConfig, AdamConfig, LarsConfig, SgdConfig
from ttt.schema.schedule import CosineConfig, GnmtScheduleConfig, PolynomialConfig

NAME = ("opt_name", "opt_base_learning_rate")
ADAM = ("opt_adam_beta_1", "opt_adam_beta_2", "opt_adam_epsilon")
TRIANGLE = (*NAME, "opt_end_learning_rate", "opt_learning_rate_warmup_epochs", "opt_weight_decay")
ADAGRAD = (
    *NAME,
    "opt_adagrad_epsilon",
    "opt_adagrad_initial_accumulator_value",
    "opt_adagrad_learning_rate_decay",
    "opt_weight_decay",
)
TEXT = (*NAME, "opt_learning_rate_warmup_steps", *ADAM, "max_sequence_length")
POLYNOMIAL = (
    "opt_base_learning_rate",
    "opt_end_learning_rate",
    "opt_learning_rate_decay_poly_power",
    "opt_learning_rate_decay_steps",
)
LANGUAGE = (
    *NAME,
    "opt_end_learning_rate",
    "opt_learning_rate_warmup_steps",
    "opt_learning_rate_decay_steps",
    "opt_learning_rate_decay_schedule",
    "max_steps",
    "opt_adamw_beta_1",
    "opt_adamw_beta_2",
    "opt_adamw_epsilon",
    "opt_adamw_weight_decay",
    "max_sequence_length",
)
LAMB = (
    *NAME,
    "opt_lamb_epsilon",
    "opt_learning_rate_training_steps",
    "opt_learning_rate_warmup_steps",
    "num_warmup_steps",
    "start_warmup_step",
    "opt_lamb_learning_rate_decay_poly_power",
    "opt_lamb_beta_1",
    "opt_lamb_beta_2",
    "opt_lamb_weight_decay_rate",
)
# The keys of the log of each benchmark, in their order.
KEYS = {
    "digits": TRIANGLE,
    "cifar10": TRIANGLE,
    "clothing10": TRIANGLE,
    "clicks": ADAGRAD,
    "flights": ADAGRAD,
    "dlrm_dcnv2": (
        *ADAGRAD,
        "opt_learning_rate_warmup_steps",
        "opt_learning_rate_decay_start_step",
        "opt_learning_rate_decay_steps",
    ),
    "bert": LAMB,
    "bert_topics": LAMB,
    "dates": TEXT,
    "multi30k": TEXT,
    "topics": LANGUAGE,
    "shakespeare": LANGUAGE,
    "llama31_8b": (*LANGUAGE, "opt_gradient_clip_norm"),
    "llama31_8b_twin": (*LANGUAGE, "opt_gradient_clip_norm"),
    "transformer": TEXT,
    "gnmt": (
        *NAME,
        *ADAM,
        "opt_learning_rate_alt_decay_func",
        "opt_learning_rate_alt_warmup_func",
        "opt_learning_rate_warmup_steps",
        "opt_learning_rate_remain_steps",
        "opt_learning_rate_decay_interval",
        "opt_learning_rate_decay_steps",
        "opt_learning_rate_decay_factor",
        "max_sequence_length",
    ),
    "resnet": (
        "opt_name",
        *(f"lars_{key}" for key in (*POLYNOMIAL, "opt_learning_rate_warmup_epochs")),
        "lars_opt_momentum",
        "lars_opt_weight_decay",
        "lars_epsilon",
    ),
    "resnet_sgd": (
        "opt_name",
        *(f"sgd_{key}" for key in POLYNOMIAL),
        "sgd_opt_momentum",
        "sgd_opt_weight_decay",
        "opt_learning_rate_warmup_epochs",
        "model_bn_span",
    ),
}


def composed(*overrides, folder=None):
    config.register()
    return config.resolve(config.compose([*overrides], folder and str(folder)))


def own(folder, text):
    (folder / "benchmark").mkdir()
    (folder / "benchmark" / "mine.yaml").write_text(f"# @package _global_\n{text}")


def test_every_benchmark_logs_what_its_parts_are():
    files = {path.stem for path in (config.folder() / "benchmark").glob("*.yaml")}
    assert files == set(KEYS)
    for name, keys in KEYS.items():
        run = composed(f"benchmark={name}")
        assert tuple(run.mlperf) == keys
        base = [key for key in keys if key.endswith("opt_base_learning_rate")]
        assert [run.mlperf[key] for key in base] == [run.optim.lr]
        assert run.mlperf["opt_name"] == run.optim.name


def test_each_value_is_that_of_its_setting():
    sgd = SgdConfig(lr=1.0, momentum=0.8, weight_decay=0.2)
    assert sgd.logged(CosineConfig(epochs=3, warmup_epochs=1.5, end_lr=0.1).logged(None)) == {
        "opt_name": "sgd",
        "opt_base_learning_rate": 1.0,
        "opt_end_learning_rate": 0.1,
        "opt_learning_rate_warmup_epochs": 1.5,
        "opt_weight_decay": 0.2,
    }
    polynomial = PolynomialConfig(epochs=3, warmup_epochs=2, end_lr=0.1, power=2.0).logged(None)
    found = sgd.logged(polynomial)
    assert (found["sgd_opt_momentum"], found["sgd_opt_weight_decay"]) == (0.8, 0.2)
    assert found["opt_learning_rate_warmup_epochs"] == 2
    lars = LarsConfig(momentum=0.7, weight_decay=0.3, epsilon=0.01).logged(polynomial)
    assert (lars["lars_opt_momentum"], lars["lars_opt_weight_decay"]) == (0.7, 0.3)
    assert (lars["lars_epsilon"], lars["lars_opt_learning_rate_warmup_epochs"]) == (0.01, 2)
    assert lars["lars_opt_learning_rate_decay_poly_power"] == 2.0
    adam = AdamConfig(beta_1=0.1, beta_2=0.2, epsilon=0.3)
    stairs = GnmtScheduleConfig(
        warmup_steps=1, remain_steps=2, decay_interval=3, decay_steps=4, decay_factor=0.5
    )
    assert list(adam.logged(stairs.logged(None)).values())[2:] == [
        *(0.1, 0.2, 0.3),
        *(True, True),
        *(1, 2, 3, 4, 0.5),
    ]
    adagrad = AdagradConfig(
        epsilon=0.1, initial_accumulator_value=0.2, lr_decay=0.3, weight_decay=0.4
    )
    assert list(adagrad.logged({}).values())[2:] == [0.1, 0.2, 0.3, 0.4]


def test_another_optimizer_or_schedule_brings_its_own_keys():
    run = composed("optim=adam", "schedule=cosine")
    assert tuple(run.mlperf) == (*TRIANGLE[:4], *ADAM)


def test_a_benchmark_that_lists_every_key_is_logged_as_it_says(tmp_path):
    own(tmp_path, "mlperf:\n  opt_weight_decay: 7\n  mine: 3\n  opt_name: my_sgd\n")
    keys = composed("benchmark=mine", folder=tmp_path).mlperf
    assert list(keys.items())[-3:] == [("opt_weight_decay", 7), ("mine", 3), ("opt_name", "my_sgd")]
    assert tuple(keys)[:-3] == TRIANGLE[1:4]


def test_a_class_of_a_users_own_logs_the_settings_of_its_schema(tmp_path):
    own(tmp_path, "mlperf: {opt_name: mine}\noptim: {_target_: mine.build}\n")
    run = composed("benchmark=mine", folder=tmp_path)
    assert tuple(run.mlperf) == (*TRIANGLE[1:], "opt_name")
    assert run.mlperf["opt_name"] == "mine"
    assert "max_sequence_length" in composed("benchmark=dates", "data._target_=mine.Text").mlperf


def test_a_part_without_a_schema_logs_nothing():
    run = composed()
    run.optim, run.mlperf = SimpleNamespace(_target_="mine.build", lr=1.0), {}
    assert tuple(logged(run)) == TRIANGLE[2:4]


@pytest.mark.parametrize("plus", ["", "+"])
def test_a_key_can_be_typed(plus):
    assert composed(f"{plus}mlperf.opt_name=other").mlperf["opt_name"] == "other"


def test_a_frozen_run_says_what_it_said():
    """Also where it was frozen before parts logged keys by themselves."""
    run = composed("benchmark=resnet_sgd")
    again = config.load(config.freeze(run))
    assert list(again.mlperf.items()) == list(run.mlperf.items())
    run.mlperf = {"opt_name": "sgd"}
    assert config.load(config.freeze(run)).mlperf == {"opt_name": "sgd"}


def test_a_setting_that_a_loader_no_longer_takes_is_left_out_of_an_older_run():
    run = composed("benchmark=dates")
    older = config.freeze(run).replace("  accumulate: 1\n", "  accumulate: 1\n  seed: 3\n")
    assert "  seed: 3" in older
    assert config.freeze(config.load(older)) == config.freeze(run)
