"""The meter on a GPU: a stream with a clock of its own, and a host that runs ahead of it."""

import itertools
import time

import pytest
import torch

from fakes import FakeTime
from ttt.telemetry.timing import BlockTimes, Meter

CUDA = torch.device("cuda", 0)


class FakeStream:
    """A device that works through a queue while the host's time goes on."""

    def __init__(self, host: FakeTime) -> None:
        self.host = host
        self.idle_at = host()  # when all that is queued is done
        self.events = 0

    def work(self, seconds: float) -> None:
        """Queue work; the host does not wait."""
        self.idle_at = max(self.idle_at, self.host()) + seconds

    def wait_until(self, moment: float) -> None:
        """Queue a wait for another stream, as for the event after a decoder's work."""
        self.idle_at = max(self.idle_at, self.host(), moment)

    def synchronize(self) -> None:
        self.host.seconds = max(self.host(), self.idle_at)


@pytest.fixture
def host():
    return FakeTime()


@pytest.fixture
def stream(host, monkeypatch):
    made = FakeStream(host)

    class Event:
        def __init__(self, enable_timing: bool = False) -> None:
            assert enable_timing
            self.time = None
            made.events += 1

        def record(self) -> None:
            made.wait_until(host())
            self.time = made.idle_at

        def query(self) -> bool:
            return self.time <= host()

        def elapsed_time(self, end: "Event") -> float:
            if not (self.query() and end.query()):
                raise RuntimeError("Both events must be completed before calculating elapsed time.")
            return 1000 * (end.time - self.time)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    return made


def train(meter, stream, batches, steps, *, step_s):
    """A block as the loop makes it; the host queues a step in no time."""
    meter.mark()
    for batch in itertools.islice(batches, steps):
        assert batch is not None
        stream.work(step_s)
        meter.mark()
    stream.synchronize()
    meter.collect()


def test_a_host_that_is_blocked_while_the_device_works_does_not_wait_for_data(host, stream):
    def full_queue():
        while True:
            yield "batch"
            host.sleep(1.5)  # for room in the queue: the batches are there

    meter = Meter(CUDA)
    train(meter, stream, meter.waiting(full_queue()), 10, step_s=2.0)
    assert meter.wait_seconds == 0
    assert meter.blocks == [BlockTimes(10, 20.0, 0.0)]


def test_a_slow_loader_is_waited_for_as_long_as_the_device_has_no_work(host, stream):
    def slow():
        while True:
            host.sleep(3.0)
            yield "batch"

    meter = Meter(CUDA)
    train(meter, stream, meter.waiting(slow()), 4, step_s=1.0)
    # 3 s for the first batch, then 2 s each: the loader works during the step before
    assert meter.wait_seconds == pytest.approx(3 + 3 * 2)
    assert meter.step_milliseconds()["p50"] == pytest.approx(3000)
    assert meter.blocks == [BlockTimes(4, 13.0, meter.wait_seconds)]


def test_a_decoder_on_the_device_is_waited_for_though_the_host_is_not_blocked(host, stream):
    begun = host()

    def decoded():
        for number in itertools.count(1):
            stream.wait_until(begun + 3.0 * number)  # the host is far ahead: all queued at once
            yield "batch"

    meter = Meter(CUDA)
    train(meter, stream, meter.waiting(decoded()), 4, step_s=1.0)
    assert meter.wait_seconds == pytest.approx(3 + 3 * 2)
    assert meter.blocks[0].seconds == pytest.approx(13)


def test_what_ranks_do_between_two_steps_is_no_wait_for_data(host, stream):
    meter = Meter(CUDA)
    batches = meter.waiting(itertools.repeat("batch"))
    meter.mark()
    for _ in range(3):
        next(batches)
        stream.work(1.0)
        meter.mark()
        stream.synchronize()  # as for a checkpoint
        host.sleep(5.0)
    meter.collect()
    assert meter.wait_seconds == 0


def test_every_block_has_its_own_waits_and_a_run_that_goes_on_forgets_none(host, stream):
    def slow():
        while True:
            host.sleep(2.0)
            yield "batch"

    meter = Meter(CUDA)
    meter.resume(100.0)
    batches = meter.waiting(slow())
    train(meter, stream, batches, 1, step_s=1.0)
    host.sleep(50.0)  # an evaluation
    train(meter, stream, batches, 2, step_s=1.0)
    assert meter.wait_seconds == pytest.approx(100 + 2 + 3)
    assert meter.blocks == [BlockTimes(1, 3.0, 2.0), BlockTimes(2, 5.0, 3.0)]


def test_within_a_block_the_waits_are_known_as_far_as_the_device_is(host, stream):
    def slow():
        while True:
            host.sleep(2.0)
            yield "batch"

    meter = Meter(CUDA)
    meter.mark()
    batches = meter.waiting(slow())
    next(batches)
    stream.work(10.0)
    meter.mark()
    next(batches)
    assert meter.wait_seconds == pytest.approx(2)  # the device is still in the first step
    stream.synchronize()
    assert meter.wait_seconds == pytest.approx(2)


def test_a_long_block_makes_no_more_events_than_a_short_one(host, stream):
    def steps(count):
        batches = meter.waiting(itertools.repeat("batch"))
        meter.mark()
        for _ in range(count):
            next(batches)
            stream.work(0.001)
            host.sleep(0.001)
            meter.mark()
        stream.synchronize()
        meter.collect()

    meter = Meter(CUDA)
    steps(100)
    made = stream.events
    steps(10_000)
    assert stream.events == made
    assert meter.blocks[1].steps == 10_000
    assert meter.blocks[1].seconds == pytest.approx(10)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpu_waits_for_a_slow_loader_and_not_for_a_full_queue():
    def loader(seconds):
        while True:
            time.sleep(seconds)
            yield "batch"

    def measured(loader_s, cycles):
        meter = Meter(CUDA)
        batches = meter.waiting(loader(loader_s))
        meter.mark()
        for _ in range(8):
            next(batches)
            torch.cuda._sleep(cycles)
            meter.mark()
        torch.cuda.synchronize()
        meter.collect()
        return meter.blocks[0]

    torch.cuda._sleep(1)
    torch.cuda.synchronize()
    starved = measured(0.05, 1000)
    assert starved.steps == 8
    assert starved.wait_s == pytest.approx(starved.seconds, rel=0.05)
    busy = measured(0.001, 100_000_000)  # about 50 ms a step: the host is far ahead
    assert busy.wait_s < 0.1 * busy.seconds
