"""Who holds the others up is found out from what ranks say of themselves."""

import faulthandler
import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from ttt.supervise.hang import Note, Stuck, diagnose
from ttt.supervise.heartbeat import Heartbeat, Watchdog


@pytest.fixture(autouse=True)
def ends(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """After how many seconds this process would have been ended, even if all its threads hang."""
    asked: list[float] = []

    def later(seconds, *, exit, file):
        assert exit
        asked.append(seconds)

    monkeypatch.setattr(faulthandler, "dump_traceback_later", later)
    return asked


def note(rank, beats=10, *, place="step (ttt/learner.py:70)", waits=True, alarmed=True):
    host = f"n{rank // 2}"
    return Note(rank, host, "training", 5, beats, place, waits, alarmed)


def test_a_rank_that_does_not_answer_is_the_one():
    notes = [note(0), note(1), replace(note(2, 9), alarmed=False), note(3)]
    stuck = diagnose(notes, 1, 4, 30.0)
    assert (stuck.rank, stuck.host, stuck.teller) == (2, "n1", 0)
    assert "no sign of life for 30 s" in stuck.text
    assert "last seen training at step 5" in stuck.text


def test_all_ranks_that_do_not_answer_are_named():
    stuck = diagnose([None, note(1), None], 1, 3, 30.0)
    assert (stuck.rank, stuck.teller) == (0, 1)
    assert stuck.host == "unknown host"
    assert "so do ranks [2]" in stuck.text


def test_the_rank_with_the_fewest_beats_is_waited_for():
    late = note(1, 9, place="loss (mine/task.py:3)")
    stuck = diagnose([note(0), late, note(2)], 0, 3, 30.0)
    assert stuck.rank == 1
    assert "in loss (mine/task.py:3)" in stuck.text


def test_of_equals_the_one_outside_of_torch_is_waited_for():
    busy = note(2, place="loss (mine/task.py:3)", waits=False)
    stuck = diagnose([note(0), note(1), busy], 0, 3, 30.0)
    assert stuck.rank == 2


def test_when_all_wait_for_each_other_it_is_the_network():
    stuck = diagnose([note(0), note(1)], 0, 2, 30.0)
    assert "messages between them do not arrive" in stuck.text


def test_without_the_board_it_is_rank_0_that_is_gone():
    stuck = diagnose([], 3, 4, 30.0)
    assert (stuck.rank, stuck.teller) == (0, 3)
    assert "rank 0 does not answer" in stuck.text


class FakeBoard:
    """A board in this process, on which another rank has left its note long ago."""

    rank, size = 0, 2

    def __init__(self, other: Note, *, broken: bool = False) -> None:
        self.kept = {1: json.dumps({name: getattr(other, name) for name in Note.__slots__})}
        self.alarm = self.broken = broken
        self.ended: int | None = None

    def put(self, text: str) -> None:
        if self.broken:
            raise RuntimeError("the store is gone")
        self.kept[0] = text

    def notes(self) -> list[str | None]:
        return [self.kept.get(rank) for rank in range(self.size)]

    def ring(self) -> None:
        self.put("")

    def rung(self) -> bool:
        return self.alarm

    def lost(self) -> int | None:
        return self.ended


def watch(
    heartbeat: Heartbeat,
    board: FakeBoard,
    patience: float | None,
    seconds: float,
    has_work: Callable[[], bool] | None = None,
) -> list[Stuck]:
    """What a watchdog finds within some seconds."""
    found: list[Stuck] = []
    over = threading.Event()

    def tell(stuck: Stuck) -> None:
        found.append(stuck)
        over.set()

    dog = Watchdog(heartbeat, board, lambda: patience, tell, has_work)
    dog._period = 0.02
    dog.start()
    over.wait(seconds)
    dog.stop()
    return found


def test_the_watchdog_speaks_when_no_beat_comes():
    heartbeat = Heartbeat("training", 7, 3)
    [stuck] = watch(heartbeat, FakeBoard(note(1, 2, alarmed=False)), 0.1, 10)
    assert stuck.rank == 1


def test_it_keeps_quiet_while_beats_come_and_where_any_wait_is_allowed():
    heartbeat, board = Heartbeat(), FakeBoard(note(1))
    ends = time.monotonic() + 4
    beating = threading.Thread(target=lambda: _beat_until(heartbeat, ends))
    beating.start()
    assert watch(heartbeat, board, 2, 3) == []
    beating.join()
    assert watch(heartbeat, board, None, 0.2) == []


def _beat_until(heartbeat: Heartbeat, moment: float) -> None:
    while time.monotonic() < moment:
        heartbeat.beat("training", 1)
        time.sleep(0.01)


def test_it_listens_to_the_alarm_of_another_rank():
    board = FakeBoard(note(1, 2, place="sleep (x.py:1)"))
    board.alarm = True
    [stuck] = watch(Heartbeat("training", 7, 3), board, 1000, 10)
    assert stuck.rank == 1
    mine = Note(**json.loads(board.kept[0]))
    assert mine.alarmed
    assert "threading.py" in mine.place  # where the main thread waits


def test_a_lost_board_is_rank_0_that_is_gone():
    [stuck] = watch(Heartbeat(), FakeBoard(note(1), broken=True), 0.1, 10)
    assert "rank 0 does not answer" in stuck.text


def test_a_process_that_has_ended_is_found_at_once(ends):
    board = FakeBoard(note(1, 2, alarmed=False))
    board.ended = 1
    [stuck] = watch(Heartbeat("training", 7, 3), board, 1000, 10)
    assert (stuck.rank, stuck.host, stuck.gone, stuck.ended) == (1, "n0", True, True)
    assert stuck.text == "has ended, last seen training at step 5, and the others wait for it"
    assert len(ends) == 1


def test_a_main_thread_that_ends_by_itself_may_take_its_time():
    board = FakeBoard(note(1))
    board.ended = 1
    assert watch(Heartbeat("training", 7, 3, leaving=True), board, 1000, 0.3) == []


@pytest.mark.parametrize(("busy", "waits"), [(None, False), (False, False), (True, True)])
def test_a_rank_whose_gpu_has_work_may_wait_for_another(busy, waits):
    """The line it is at does not say: `int(tensor)` is a call of C, and so is a sleep."""
    board = FakeBoard(note(1, 3))
    has_work = None if busy is None else lambda: busy
    stood = threading.Event()
    thread = threading.Thread(target=stood.wait)
    thread.start()
    heartbeat = Heartbeat("training", 7, 3)
    found: list[Stuck] = []
    dog = Watchdog(heartbeat, board, lambda: 0.0, found.append, has_work)
    dog._period, dog._main = 0.02, thread.ident  # in threading.py, not in torch
    dog.start()
    dog.join()
    stood.set()
    thread.join()
    assert Note(**json.loads(board.kept[0])).waits is waits
    [stuck] = found
    assert ("messages between them" in stuck.text) is waits  # else rank 0 is named alone
    assert waits or stuck.text.startswith("is stuck")


def test_a_gpu_that_does_not_answer_counts_as_one_with_work():
    def broken() -> bool:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    board = FakeBoard(note(1, 3))
    watch(Heartbeat("training", 7, 3), board, 0.1, 10, broken)
    assert Note(**json.loads(board.kept[0])).waits


def test_whatever_fails_in_an_alarm_the_process_ends(monkeypatch, ends):
    board = FakeBoard(note(1, 2))
    board.kept[1] = '{"of another": "program"}'
    monkeypatch.setattr(sys, "stderr", None)
    [stuck] = watch(Heartbeat("training", 7, 3), board, 0.1, 10)
    assert "rank 0 does not answer" in stuck.text
    [seconds] = ends
    assert seconds < 15
