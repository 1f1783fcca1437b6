"""An official id stands for its shipped definition, whatever else is tried."""

import copy
from enum import Enum
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from ground import Command
from official import problems
from ttt import claim, compliance, config
from ttt.cli.run import freeze
from ttt.schema import adjustable
from ttt.schema.adjustable import MACHINE, OPEN, SECTIONS, TUNABLE, covered
from ttt.schema.closed import DEFINITIONS
from ttt.schema.run import metric_of

FILES = [(file, name) for name, files in DEFINITIONS.items() for file in files]


def composed(*overrides: str, config_dir: Path | None = None):
    config.register()
    folder = str(config_dir) if config_dir else None
    return config.resolve(config.compose([*overrides, "data.root=."], folder))


def node_of(run, setting):
    *path, name = setting.split(".")
    for part in path:
        run = run[part] if isinstance(run, dict) else getattr(run, part)
    return run, name


def other(node, name):
    """Another value that the setting may have by its type."""
    value = node[name] if isinstance(node, dict) else getattr(node, name)
    match value:
        case Enum():
            return next(one for one in type(value) if one is not value)
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value}x"
        case list():
            return [*value, value[0]]
        case None:
            return 1
    raise AssertionError(f"{name}={value!r}: no other value is known")


def refused(shipped, settings):
    """The settings that a run is refused for with other values of these."""
    run = copy.deepcopy(shipped)
    for setting in settings:
        node, last = node_of(run, setting)
        value = other(node, last)
        if isinstance(node, dict):
            node[last] = value
        else:
            setattr(node, last, value)
    return {one.partition("=")[0] for one in claim.problems(run)}


@pytest.mark.parametrize(("file", "name"), FILES)
def test_every_setting_is_free_by_name_or_fixed(file, name):
    """One that is added tomorrow is fixed until somebody lists it with a reason."""
    free = adjustable.adjustable(name, "closed")
    shipped = composed(f"benchmark={file}")
    fixed = [one for one in config.plain(shipped) if not covered(one, free)]
    assert len(fixed) > 20
    fixed.remove("benchmark.id")  # another one is another claim, or none
    usual = [one for one in fixed if not one.endswith("._target_")]
    together = refused(shipped, usual)
    # What follows from another setting, or is of another class, is refused by itself alone.
    rest = [one for one in fixed if one not in together]
    assert [one for one in rest if one not in refused(shipped, [one])] == []


@pytest.mark.parametrize(("file", "name"), FILES)
def test_every_free_setting_is_one(file, name):
    """No name in the tables stands for nothing, and none stands in two of them."""
    settings = config.plain(composed(f"benchmark={file}"))
    for setting in TUNABLE[name]:
        assert setting in settings
    assert not set(TUNABLE[name]) & set(MACHINE)


def test_the_tables_name_settings_of_some_benchmark():
    known = {one for file, _ in FILES for one in config.plain(composed(f"benchmark={file}"))}
    known |= set(config.plain(composed("benchmark=multi30k")))
    for setting in {*MACHINE, *OPEN, *SECTIONS} - {""}:
        assert any(covered(one, [setting]) for one in known), setting
    assert not set(OPEN) & set(MACHINE)


def test_every_official_file_that_is_shipped_is_a_definition():
    found = {}
    for path in sorted((config.folder() / "benchmark").glob("*.yaml")):
        name = composed(f"benchmark={path.stem}").benchmark.id
        if name in compliance.official_ids():
            found[name] = (*found.get(name, ()), path.stem)
    assert found == dict(DEFINITIONS)
    assert set(DEFINITIONS) == set(TUNABLE)


@pytest.mark.parametrize("file", ["resnet", "transformer", "gnmt", "dlrm_dcnv2", "digits"])
def test_the_metric_that_a_schema_tells_is_what_its_class_computes(file):
    run = composed(f"benchmark={file}")
    assert (
        metric_of(run.task)
        == config.instantiate("task", run.task).metric().name
        == run.target.metric
    )
    run.task._target_ = "mine.Task"
    assert metric_of(run.task) is None


def own_files(tmp_path: Path, **benchmarks: dict) -> Path:
    (tmp_path / "benchmark").mkdir()
    for name, values in benchmarks.items():
        text = "# @package _global_\n" + yaml.safe_dump(values, sort_keys=False)
        (tmp_path / "benchmark" / f"{name}.yaml").write_text(text)
    return tmp_path


def test_a_users_file_does_not_redefine_a_benchmark(tmp_path):
    """Fashion-MNIST to 0.5 by a small network, under the name of MLPerf's ResNet-50."""
    target = {"metric": "top1", "threshold": 0.5}
    data = {"train_samples": 60_000, "eval_samples": 10_000, "size": 28, "global_batch": 100}
    for division in ("open", "closed"):
        said = {"id": "resnet", "division": division, "ruleset": "4.0.0"}
        folder = tmp_path / division
        folder.mkdir()
        own_files(folder, fashion={"benchmark": said, "target": target, "data": data})
        run = composed("benchmark=fashion", config_dir=folder)
        found = problems(run)
        for setting in ("data.size=28", "data.eval_samples=10000", "target.threshold=0.5"):
            assert any(f"{setting} is not" in one for one in found), found
        assert any("benchmark.id=my_resnet benchmark.division=open" in one for one in found)
        assert not claim.holds(run)


def test_a_users_file_of_the_same_name_does_not_take_the_definitions_place(tmp_path):
    shipped = yaml.safe_load((config.folder() / "benchmark" / "resnet.yaml").read_text())
    own_files(tmp_path, resnet=shipped | {"data": {"size": 64}})
    run = composed("benchmark=resnet", config_dir=tmp_path)
    if run.data.size == 64:  # Hydra took it
        assert any("data.size=64 is not" in one for one in claim.problems(run))
    assert claim.examine(run)[1].data.size == 224


def test_the_same_run_under_its_own_id_is_nobodys_business():
    mine = ("benchmark.id=my_resnet", "benchmark.division=open", "target.threshold=0.5")
    run = composed("benchmark=resnet", *mine)
    assert problems(run) == []
    assert not claim.holds(run)


@pytest.mark.parametrize("division", ["closed", "open"])
def test_a_run_that_keeps_the_definition_is_official(division):
    run = composed("benchmark=resnet", f"benchmark.division={division}")
    assert claim.holds(run)
    frozen = config.load(config.freeze(config.resolve(config.compose(["benchmark=resnet"]))))
    assert claim.holds(frozen)


def test_the_open_division_may_change_model_and_training_but_no_data_metric_or_target():
    run = ("benchmark=resnet", "benchmark.division=open")
    changes = ("model=resnet_small", "data.flip=false", "clip_norm=1", "optim.nesterov=true")
    assert problems(composed(*run, "task.label_smoothing=0.3", *changes[:3])) == []
    assert problems(composed("benchmark=resnet_sgd", run[1], changes[3])) == []
    logged = ("mlperf.opt_base_learning_rate=3", "model.dense=13", "target.eval_every_samples=9")
    assert problems(composed("benchmark=dlrm_dcnv2", run[1], *logged)) == []
    for fixed in ("data.eval_dir=train", "data.classes=10", "target.threshold=0.7", "data=cifar10"):
        found = problems(composed(*run, fixed))
        assert found, fixed
        assert any("hold in the open division too" in one for one in found)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["benchmark.id=retinanet"], "benchmark.id=my_retinanet benchmark.division=open"),
        (["benchmark.id=retinanet", "benchmark.division=closed"], "no definition of"),
        (["benchmark.id=cosmoflow"], "benchmark.id=my_cosmoflow"),
        (["benchmark.id=ResNet"], "reads like MLPerf's resnet"),
        (["benchmark.id='resnet '"], "benchmark=resnet, or an id of its own"),
        (["benchmark.division=closed"], "digits is not an MLPerf benchmark"),
        (["benchmark.ruleset=9.9.9"], "benchmark.ruleset=9.9.9 is not a ruleset"),
        (["benchmark=resnet", "benchmark.ruleset=9.9.9"], "allowed: 4.0.0"),
    ],
)
def test_an_official_name_is_not_taken_in_vain(overrides, said):
    [found] = claim.problems(composed(*overrides))
    assert said in found


def test_what_the_log_says_by_itself_cannot_be_said_otherwise():
    [found] = problems(composed("data.prepare=null", "+mlperf.submission_benchmark=resnet"))
    assert "remove +mlperf.submission_benchmark=resnet" in found
    found = problems(composed("data.prepare=null", "+mlperf.seed=3", "+mlperf.run_stop=1"))
    assert len(found) == 2


def test_a_setting_of_the_wrong_type_is_refused_without_a_traceback():
    run = config.load(config.freeze(composed("benchmark=resnet")))
    run.optim.lr = "fast"
    assert any("optim.lr=fast" in one for one in claim.problems(run))
    run.data = SimpleNamespace(_target_="mine.Data", global_batch=1, root=".")
    assert any("data._target_=mine.Data" in one for one in claim.problems(run))


@pytest.mark.parametrize(
    ("name", "batch", "bounds"),
    [("resnet", 67_841, "1632 to 67840"), ("dlrm_dcnv2", 160_001, "32768 to 160000")],
)
def test_a_batch_above_the_largest_reference_point_is_refused(name, batch, bounds):
    [found] = problems(composed(f"benchmark={name}", f"data.global_batch={batch}"))
    assert f"points: {bounds}" in found
    assert found.endswith("or benchmark.division=open")
    opened = composed(f"benchmark={name}", f"data.global_batch={batch}", "benchmark.division=open")
    assert problems(opened) == []
    assert claim.remarks(opened) == []
    largest = composed(f"benchmark={name}", f"data.global_batch={batch - 1}")
    assert (problems(largest), claim.remarks(largest)) == ([], [])


def test_a_batch_below_the_smallest_reference_point_is_remarked_on():
    run = composed("benchmark=resnet", "data.global_batch=256")
    assert problems(run) == []
    [remark] = claim.remarks(run)
    assert "data.global_batch=256 is below 1632" in remark
    assert claim.remarks(composed("benchmark=resnet", "data.global_batch=1632")) == []
    assert claim.remarks(composed("benchmark=transformer", "data.global_batch=6400")) == []
    assert claim.remarks(composed()) == []


@pytest.mark.parametrize("name", ["resnet", "transformer"])
def test_a_closed_launch_draws_its_seeds(tmp_path, name):
    config.register()
    typed = [f"benchmark={name}", "data.root=.", f"run_root={tmp_path}", "runs=5"]
    drawn = set()
    for _ in range(2):
        job = freeze(config.compose(typed), 5, 1, ["ttt", "run"])
        runs = [config.load((folder / "config.yaml").read_text()) for folder in job.runs]
        for folder, run in zip(job.runs, runs, strict=True):
            assert folder.name == f"seed_{run.seed}"
            assert 0 <= run.seed < 2**31
            assert claim.problems(run) == []
        drawn |= {run.seed for run in runs}
    assert len(drawn) == 10  # by chance fewer once in fifty million times


def test_other_seeds_are_counted_from_the_first(tmp_path):
    assert claim.seeds(composed("runs=3")) == [1, 2, 3]
    assert claim.seeds(composed("runs=2", "seed=7")) == [7, 8]
    opened = composed("benchmark=resnet", "benchmark.division=open", "seed=4")
    assert (problems(opened), claim.seeds(opened)) == ([], [4])


def test_a_refused_claim_ends_with_2_and_starts_nothing(ttt: Command, tmp_path: Path):
    (tmp_path / "data").mkdir()
    done = ttt("run", "benchmark=resnet", "data.root=data", "data.size=64", "seed=3")
    assert done.returncode == 2
    assert "data.size=64 is not allowed in the closed division; allowed: 224" in done.stderr
    assert "seed=3 is not allowed in the closed division" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_small_batch_is_remarked_on_and_starts_with_seeds_drawn(ttt: Command, tmp_path: Path):
    (tmp_path / "data").mkdir()
    job = ("launcher=slurm", "launcher.dry_run=true", "device=cpu")
    done = ttt("run", "benchmark=resnet", "data.root=data", "data.global_batch=256", "runs=2", *job)
    assert done.returncode == 0, done.stderr
    assert "ttt: data.global_batch=256 is below 1632" in done.stderr
    frozen = tmp_path.glob("runs/resnet/*/seed_*/config.yaml")
    seeds = {config.load(path.read_text()).seed for path in frozen}
    assert len(seeds) == 2
    assert not seeds & {1, 2}
