"""What experiments are called: by what tells them apart, and by nothing else."""

from pathlib import Path

import pytest

import studies
from run_folders import finished
from ttt.report.analyze.grouping import group
from ttt.report.analyze.names import names, whereabouts
from ttt.report.read.find import find


def named(*runs):
    return names(group([run for each in runs for run in each]))


def test_a_name_says_only_what_differs():
    assert named(studies.runs("a"), studies.runs("b", accelerators=64)) == [
        "8 accelerators",
        "64 accelerators",
    ]
    mixed = named(studies.runs("a"), studies.runs("b", accelerator_name="MI300X"))
    assert mixed == ["8 x H100", "8 x MI300X"]
    box = {"system": "box"}
    batches = named(studies.runs("a", **box), studies.runs("b", global_batch=8192, **box))
    assert batches == ["8 accelerators, batch 4,096", "8 accelerators, batch 8,192"]


def test_submitter_then_system_then_settings():
    groups = [
        studies.runs("a"),
        studies.runs("b"),
        studies.runs("c", system="b", precision="bf16"),
        studies.runs("d", submitter="Beta"),
        studies.runs("e", accelerators=64),
    ]
    assert named(*groups) == [
        "8 accelerators, Acme, a",
        "8 accelerators, Acme, b",
        "8 accelerators, Acme, b, bf16",
        "8 accelerators, Beta",
        "64 accelerators",
    ]


def test_other_accelerators_are_named_whatever_their_number():
    """Else 64 of one kind are compared with 8 of another, and nobody sees it."""
    mixed = named(studies.runs("a", accelerators=64), studies.runs("b", accelerator_name="MI300X"))
    assert mixed == ["64 x H100", "8 x MI300X"]


def test_names_differ_whatever_the_runs_are():
    unknown = {"accelerators": None, "system": None, "submitter": None, "path": studies.NOWHERE}
    alike = named(studies.runs("a", **unknown), studies.runs("b", **unknown))
    assert alike == ["this experiment (1)", "this experiment (2)"]
    assert named(studies.runs("a", **unknown)) == ["this experiment"]


def test_processes_stand_in_for_accelerators():
    cpu = {"accelerators": 0, "accelerator_name": None}
    assert named(
        studies.runs("a", world_size=1, **cpu), studies.runs("b", world_size=2, **cpu)
    ) == ["1 process", "2 processes"]


def test_machines_of_processors_are_named_by_nodes_and_processors():
    def cpus(name, nodes, model):
        processors = {"host_processors_per_node": "2", "host_processor_model_name": model}
        alike = {"accelerators": 0, "accelerator_name": None, "system": "box"}
        return studies.runs(name, nodes=nodes, description=processors, **alike)

    assert named(cpus("a", 1, "Xeon"), cpus("b", 4, "Xeon")) == ["1 node", "4 nodes"]
    assert named(cpus("a", 4, "Xeon"), cpus("b", 4, "EPYC"), cpus("c", 1, "EPYC")) == [
        "4 nodes, 2 x Xeon each",
        "4 nodes, 2 x EPYC each",
        "1 node, 2 x EPYC",
    ]


def folder(path, **settings):
    """A run folder with these settings of its data."""
    made = finished(path, 1)
    told = "".join(f", {name}: {value}" for name, value in settings.items())
    config = (made / "config.yaml").read_text().replace("seed: 1}", f"seed: 1{told}}}")
    (made / "config.yaml").write_text(config)
    return made


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ({"loader": "dali"}, {"loader": "cached"}, ("data.loader=dali", "data.loader=cached")),
        ({"flip": "true"}, {"flip": "false"}, ("data.flip=true", "data.flip=false")),
        ({"area": "[0.9, 1.0]"}, {"area": "null"}, ("data.area=[0.9,1.0]", "data.area=null")),
        ({"loader": "dali"}, {}, ("data.loader=dali", "")),
        (
            {"_target_": "x.A", "loader": "a", "p": 1, "q": 1, "r": 1},
            {"_target_": "x.B", "loader": "b", "p": 2, "q": 2, "r": 2},
            (
                "data.loader=a, data.p=1, data.q=1",  # a class follows from what chose it
                "data.loader=b, data.p=2, data.q=2",
            ),
        ),
    ],
)
def test_settings_that_differ_are_told_as_one_would_type_them(tmp_path, one, other, said):
    made = [folder(tmp_path / "2026-11-26_1", **one), folder(tmp_path / "2026-11-26_2", **other)]
    told = names(group(find(made).runs))
    assert told == ["2 processes" + (f", {each}" if each else "") for each in said]


def test_what_most_have_is_said_of_none_but_the_others(tmp_path):
    settings = [("dali", "a"), ("cached", "a"), ("resident", "a"), ("dali", "b")]
    made = [
        folder(tmp_path / f"2026-11-26_{place}", loader=loader, root=root)
        for place, (loader, root) in enumerate(settings)
    ]
    assert names(group(find(made).runs)) == [
        "2 processes, data.loader=dali",
        "2 processes, data.loader=cached",
        "2 processes, data.loader=resident",
        "2 processes, data.loader=dali, data.root=b",
    ]


def test_who_has_only_what_most_have_is_still_named(tmp_path):
    settings = [("dali", "a"), ("cached", "a"), ("dali", "b")]
    made = [
        folder(tmp_path / f"2026-11-26_{place}", loader=loader, root=root)
        for place, (loader, root) in enumerate(settings)
    ]
    assert names(group(find(made).runs)) == [
        "2 processes, data.loader=dali",
        "2 processes, data.loader=cached",
        "2 processes, data.root=b",
    ]


def test_what_some_do_not_say_is_no_difference_while_there_is_another():
    box = {"system": "box"}
    early = studies.runs("a", ruleset=None, **box)
    told = studies.runs("b", **box)
    assert named(early, studies.runs("b", global_batch=8192, **box)) == [
        "8 accelerators, batch 4,096",
        "8 accelerators, batch 8,192",
    ]
    assert named(early, told) == ["8 accelerators", "8 accelerators, 4.0.0"]


def test_launches_of_the_same_experiment_are_counted(tmp_path):
    """Not named by a folder, which is when somebody pressed Enter: that is told once, below."""
    for launch in ("2026-11-26_1", "2026-11-26_2"):
        finished(tmp_path / launch, 1)
    found = group(find([tmp_path]).runs)
    assert names(found) == ["2 processes (1)", "2 processes (2)"]
    said = whereabouts("2 processes (2)", found[1])
    assert said is not None
    assert said.startswith(f"2 processes (2): {tmp_path}/2026-11-26_2/seed_1; ")
    assert whereabouts("2 processes", found[1]) is None


def test_one_model_and_many_side_by_side_are_called_as_mlperf_hpc_has_it():
    def place(kind, seed):
        return Path(f"results/eos/{kind}/deepcam/result_{seed}.txt")

    groups = [
        [
            studies.run(kind, seed, official=True, system="eos", path=place(kind, seed))
            for seed in (1, 2)
        ]
        for kind in ("strong", "weak")
    ]
    assert named(*groups) == ["8 accelerators, strong", "8 accelerators, weak"]


def test_text_from_a_log_cannot_steer():
    hostile = [studies.runs(name, system=f"{name}\x1b[2J") for name in "ab"]
    assert not any("\x1b" in name for name in named(*hostile))
