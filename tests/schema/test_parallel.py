"""What a run's processes divide, and what they tell of it, is arithmetic on the mesh."""

import pytest

from ttt import config
from ttt.schema.data.clicks import ClickDataConfig
from ttt.schema.data.text import TextDataConfig
from ttt.schema.derived import micro_batch
from ttt.schema.parallel import Mesh

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
