import pytest

from fakes import FakeTime
from ttt.clock import Clock, steady_wall_clock


def test_spans_add_up_and_wait_for_the_device_at_both_ends():
    time, syncs = FakeTime(), []

    def sync():
        syncs.append(time())
        time.sleep(3)  # the device still works on what was queued

    clock = Clock(time, sync)
    for _ in range(2):
        with clock.span("train"):
            time.sleep(10)
    assert clock.total("train") == 2 * (10 + 3)
    assert len(syncs) == 4
    assert clock.total("eval") == 0


def test_a_span_that_raises_still_counts():
    time = FakeTime()
    clock = Clock(time)

    def fail():
        with clock.span("eval"):
            time.sleep(4)
            raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        fail()
    assert clock.total("eval") == 4


def test_after_an_exception_nothing_waits_for_the_device():
    time, syncs = FakeTime(), []
    clock = Clock(time, lambda: syncs.append(time()))

    def lose_a_peer():
        with clock.span("train"):
            time.sleep(4)
            raise ConnectionError("closed by peer")

    with pytest.raises(ConnectionError):
        lose_a_peer()
    assert syncs == [1000]  # at the beginning
    assert clock.total("train") == 4
    assert clock.totals == {"train": 4}  # and the span is closed


def test_the_run_stops_where_it_is_told_not_where_time_is():
    time = FakeTime(100)
    clock = Clock(time)
    assert clock.elapsed == 0
    clock.start(101)
    time.seconds = 106
    assert clock.running
    assert clock.elapsed == 5
    clock.stop(104)
    time.sleep(1000)
    assert clock.elapsed == 3
    assert not clock.running


def test_it_can_neither_be_paused_nor_started_again():
    clock = Clock(FakeTime())
    with pytest.raises(RuntimeError, match="not running"):
        clock.stop(1)
    clock.start(0)
    clock.stop(1)
    with pytest.raises(RuntimeError, match="not running"):
        clock.stop(2)
    with pytest.raises(RuntimeError, match="may not be started again"):
        clock.start(3)


def test_a_stepped_system_clock_does_not_reach_a_run(monkeypatch):
    now = steady_wall_clock()
    before = now()
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert now() >= before
