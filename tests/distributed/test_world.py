import os
import time

import pytest
import torch

from ranks import on_ranks
from ttt.clock import Clock
from ttt.distributed.world import Solo, lost_peer


def talk(world):
    """Everything a world can do, on one rank."""
    buffers = [torch.tensor([float(world.rank), 4.0]), torch.tensor(world.rank)]
    world.average(buffers)
    torch.manual_seed(0)
    equal = torch.rand(1000)
    again = equal.clone()
    world.average([again])
    part = torch.full((world.rank, 2), world.rank)  # rank 0 has nothing
    return {
        "sum": world.sum([2**53 + world.rank, 1]),
        "least": world.minimum_later([world.rank, -world.rank])(),
        "gather": world.gather(f"rank {world.rank}"),
        "agree": world.agree({"verdict": world.rank}),
        "concat": world.concat(part).tolist(),
        "average": (buffers[0].tolist(), int(buffers[1])),
        "again": torch.equal(again, equal),
        "shard": (world.data.index, world.data.count),
        "nodes": world.nodes,
    }


def test_every_rank_hears_the_same():
    answers = on_ranks(3, talk)
    for rank, said in enumerate(answers):
        assert said["sum"] == [3 * 2**53 + 3, 3]  # exact where float64 is not
        assert said["least"] == [0, -2]
        assert said["gather"] == ["rank 0", "rank 1", "rank 2"]
        assert said["agree"] == {"verdict": 0}
        assert said["concat"] == [[1, 1], [2, 2], [2, 2]]
        assert said["average"] == ([1.0, 4.0], rank)  # integers are left alone
        assert said["again"]  # what is equal on all stays as it is, to the last bit
        assert said["shard"] == (rank, 3)
        assert said["nodes"] == 1


def test_a_world_of_one_agrees_with_itself():
    solo = talk(Solo(torch.device("cpu")))
    assert solo["sum"] == [2**53, 1]
    assert solo["least"] == [0, 0]
    assert solo["gather"] == ["rank 0"]
    assert solo["agree"] == {"verdict": 0}
    assert solo["average"] == ([0.0, 4.0], 0)
    assert solo["shard"] == (0, 1)


def leave_notes(world):
    """What a rank finds on the board after everybody has left something."""
    board = world.board()
    board.put(f"draft of {world.rank}")
    if world.rank != 1:
        board.put(f"note of {world.rank}")
    before = board.rung()
    world.barrier()
    if world.rank == 0:
        board.ring()
    world.barrier()
    return before, board.rung(), board.notes()


def test_notes_reach_everybody_apart_from_the_communication():
    notes = ["note of 0", "draft of 1", "note of 2"]
    assert on_ranks(3, leave_notes) == [(False, True, notes)] * 3
    assert Solo(torch.device("cpu")).board() is None


def wait_in_vain(world):
    """Rank 0 waits for rank 1, which takes its time. Both raise: such a world is not left alive."""
    world.barrier()
    world.expect_answers_within(0.5)
    if world.rank == 1:
        time.sleep(3)
        raise ValueError("rank 1 came")
    try:
        world.sum([1])
    except RuntimeError as error:
        raise ValueError(f"rank 0 gave up: {lost_peer(error)}") from error


def test_a_peer_that_does_not_answer_in_time_is_an_error():
    with pytest.raises(AssertionError, match="rank 0 gave up: True") as failure:
        on_ranks(2, wait_in_vain)
    assert "rank 1 came" in str(failure.value)


def lose(world):
    """Rank 1 goes in the middle of a span. Rank 0's device would wait for it for ever."""
    syncs, never = [], os.pipe()[0]
    clock = Clock(time.time, lambda: syncs.append(1) if not syncs else os.read(never, 1))
    world.barrier()
    if world.rank == 1:
        raise ValueError("rank 1 went")
    try:
        with clock.span("train"):
            world.sum([1])
    except RuntimeError as error:
        raise ValueError(f"rank 0 was told: {lost_peer(error)}") from error


def test_a_span_that_lost_a_peer_does_not_wait_for_the_device():
    with pytest.raises(AssertionError, match="rank 0 was told: True"):
        on_ranks(2, lose)


def first_of_node(world):
    return world.gather_nodes(f"rank {world.rank}")


def test_only_the_first_process_of_a_node_speaks_for_it():
    assert on_ranks(2, first_of_node) == [["rank 0"]] * 2


def swap(world):
    """Part i is i + rank rows of rank's number; from rank 0 nothing goes to rank 0."""
    parts = [torch.full((to + world.rank, 2), float(world.rank)) for to in range(world.size)]
    first = [piece.tolist() for piece in world.exchange(parts)]
    nothing = world.exchange([torch.empty(0, dtype=torch.int64)] * world.size)
    return first, [(len(piece), piece.dtype) for piece in nothing]


def test_pieces_of_any_length_go_where_they_belong():
    for rank, (pieces, nothing) in enumerate(on_ranks(3, swap)):
        assert pieces == [[[float(source)] * 2] * (rank + source) for source in range(3)]
        assert nothing == [(0, torch.int64)] * 3
    part = torch.arange(3)
    [kept] = Solo(torch.device("cpu")).exchange([part])
    assert kept.tolist() == part.tolist()
