"""What a run's processes divide, and what they tell of it, is arithmetic on the mesh."""

import pytest

from ttt import config
from ttt.schema.data.clicks import ClickDataConfig
from ttt.schema.data.text import TextDataConfig
from ttt.schema.derived import micro_batch
from ttt.schema.parallel import Mesh, ParallelConfig

EIGHT = Mesh(replicate=2, shard=2, tensor=2)
EVERY = [Mesh(), Mesh(8), Mesh(1, 8), Mesh(1, 1, 8), Mesh(4, 1, 2), EIGHT]


def test_a_run_has_one_data_shard_a_process():
    assert Mesh.of(6) == Mesh(6, 1, 1)
    assert Mesh.of(0) == Mesh()  # not known yet


@pytest.mark.parametrize("mesh", EVERY)
def test_its_sides_multiply(mesh):
    assert mesh.processes == mesh.replicate * mesh.shard * mesh.tensor
    assert mesh.data_shards == mesh.replicate * mesh.shard


@pytest.mark.parametrize("mesh", EVERY)
def test_each_data_shard_is_once_among_the_replicas_of_a_rank(mesh):
    lists = mesh.replicas()
    assert sorted(rank for ranks in lists for rank in ranks) == list(range(mesh.processes))
    for ranks in lists:
        assert [mesh.data_shard(rank) for rank in ranks] == list(range(mesh.data_shards))


def test_processes_that_hold_a_model_together_are_neighbours():
    assert [EIGHT.data_shard(rank) for rank in range(8)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert EIGHT.replicas() == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_a_batch_is_divided_among_data_shards():
    assert EIGHT.micro_batch(96, 3) == 8
    assert not list(EIGHT.indivisible(12, 100, 1))  # eight processes would not divide it
    [sentence] = EIGHT.indivisible(10, 100, 1)
    assert sentence == (
        "data.global_batch=10 does not divide among 4 data shards x accumulate=1; allowed:"
        " multiples of 4; data.global_batch=8"
    )


def test_where_every_process_is_a_data_shard_it_says_processes():
    [sentence] = Mesh.of(8).indivisible(12, 100, 2)
    assert sentence == (
        "data.global_batch=12 does not divide among 8 processes x accumulate=2; allowed:"
        " multiples of 16; data.global_batch=16"
    )


def test_the_advice_fits_into_the_training_set():
    [sentence] = Mesh.of(8).indivisible(9, 10, 2)
    assert sentence.endswith("; accumulate=1")
    [sentence] = Mesh.of(2).indivisible(12, 11, 1)
    assert "more than the whole training set" in sentence
    assert sentence.endswith("; data.global_batch=10")
    assert not list(Mesh.of(2).indivisible(12, 0, 1))  # not counted yet


def test_every_kind_of_data_asks_the_mesh():
    clicks = ClickDataConfig(global_batch=12, train_samples=100, dense=1, rows=[2], hots=[1])
    assert not list(clicks.problems(EIGHT, 1))
    assert "8 processes" in next(clicks.problems(Mesh(8), 1))
    words = TextDataConfig(global_batch=4 * 64, max_length=64)
    assert not list(words.problems(EIGHT, 1))
    assert "8 processes" in next(words.problems(Mesh(8), 1))


def test_the_log_discloses_the_mesh():
    assert EIGHT.disclosed(96, 3) == {
        "tensor_parallelism": 2,
        "pipeline_parallelism": 1,
        "context_parallelism": 1,
        "expert_parallelism": 1,
        "micro_batch_size": 8,
    }


@pytest.mark.parametrize(("processes", "expected"), [(0, 96), (1, 96), (8, 12)])
def test_a_configuration_derives_its_micro_batch_from_the_mesh(processes, expected):
    assert micro_batch(96, processes, 1) == expected


def test_a_whole_run_is_checked_on_its_mesh():
    config.register()
    run = config.resolve(config.compose(["data.global_batch=12", "data.root=nowhere"]))
    assert not [one for one in run.problems(4) if "does not divide" in one]
    [sentence] = [one for one in run.problems(8) if "does not divide" in one]
    assert "8 processes x accumulate=1" in sentence


@pytest.mark.parametrize(
    ("typed", "processes", "mesh"),
    [
        ([], 4, Mesh(replicate=4)),
        (["parallel=fsdp"], 4, Mesh(shard=4)),
        (["parallel=hsdp", "parallel.shard=2"], 4, Mesh(replicate=2, shard=2)),
        (["parallel=tp"], 4, Mesh(tensor=4)),
        (["parallel=tp_fsdp"], 4, Mesh(shard=2, tensor=2)),
        (["parallel.replicate=2", "parallel.shard=2", "parallel.tensor=-1"], 8, EIGHT),
        (["parallel=tp"], 0, Mesh()),  # processes are not known yet
    ],
)
def test_a_name_of_a_mode_is_three_sizes(typed, processes, mesh):
    config.register()
    parallel = config.resolve(config.compose(typed)).parallel
    assert parallel.mesh(processes) == mesh
    assert not list(parallel.problems(processes, "fp32"))


@pytest.mark.parametrize(
    ("settings", "processes", "sentence"),
    [
        (
            {"tensor": 4},
            6,
            "parallel.tensor=4 is not of 6 processes: parallel.replicate=-1 parallel.shard=1"
            " parallel.tensor=4 does not divide them; allowed: 1, 2, 3, 6; parallel.tensor=3",
        ),
        (
            {"replicate": 2, "shard": 2},
            6,
            "parallel.replicate=2 is not of 6 processes: parallel.replicate=2 parallel.shard=2"
            " parallel.tensor=1 makes 4 processes; allowed: 3; parallel.replicate=3",
        ),
        (
            {"shard": 0},
            4,
            "parallel.shard=0 is not allowed; allowed: 1 and up, or -1 for the rest;"
            " parallel.shard=1",
        ),
        (
            {"shard": -1},
            4,
            "parallel.replicate and parallel.shard are -1; allowed: one of them, which takes the"
            " rest; parallel.replicate=1",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_one_sentence(settings, processes, sentence):
    assert list(ParallelConfig(**settings).problems(processes, "fp32")) == [sentence]


def test_sizes_that_no_number_mends_name_the_processes_they_need():
    [sentence] = ParallelConfig(replicate=2, shard=2).problems(5, "fp32")
    assert "allowed: another number of processes, as 4" in sentence


def test_fp16_is_refused_where_gradients_are_in_parts():
    assert not list(ParallelConfig().problems(4, "fp16"))
    [sentence] = ParallelConfig(replicate=1, shard=-1).problems(4, "fp16")
    assert sentence.startswith("precision=fp16 scales losses by whole gradients")
    assert not list(ParallelConfig(replicate=1, shard=-1).problems(1, "fp16"))
    assert list(ParallelConfig(zero1=True).problems(2, "fp16"))


def test_only_whole_copies_divide_the_optimizers_state():
    assert not list(ParallelConfig(zero1=True).problems(4, "fp32"))
    [sentence] = ParallelConfig(shard=2, zero1=True).problems(4, "fp32")
    assert sentence == (
        "parallel.zero1=true divides the state of whole copies, and this model is in parts;"
        " allowed: false; parallel.zero1=false"
    )


@pytest.mark.parametrize(
    ("typed", "processes", "sentence"),
    [
        (
            [],
            2,
            "parallel.tensor=2 cannot be of ResNetSmall, which has no plan for it; allowed: 1;"
            " parallel.tensor=1",
        ),
        (
            ["benchmark=topics", "model.heads=3", "model.kv_heads=3", "model.width=66"],
            2,
            "parallel.tensor=2 does not divide model.heads=3; allowed: 1; parallel.tensor=1",
        ),
        (
            ["benchmark=topics"],
            8,
            "parallel.tensor=8 does not divide model.heads=4; allowed: 1, 2; parallel.tensor=2",
        ),
    ],
)
def test_what_of_a_model_does_not_divide_is_refused_before_a_process_starts(
    typed, processes, sentence
):
    config.register()
    run = config.resolve(config.compose([*typed, "parallel=tp", "data.root=nowhere"]))
    assert sentence in run.problems(processes)
