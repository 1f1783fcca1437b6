import pytest

from fakes import FakeTime, Recorder
from ttt.events import EventLog, Kind


class Broken(Recorder):
    def write(self, event):
        raise OSError("no space left")

    def close(self):
        raise OSError("no space left")


def test_an_event_is_stamped_once_and_reaches_every_sink():
    time = FakeTime(5)
    first, second = Recorder(), Recorder()
    log = EventLog(time, [first, second])
    event = log.emit(Kind.QUALITY, 7, value=0.5)
    assert first.events == second.events == [event]
    assert (event.time, event.step, event.data) == (5, 7, {"value": 0.5})
    assert log.emit(Kind.RUN_STOP, time=3).time == 3


def test_a_sink_that_fails_is_dropped_and_the_record_says_so():
    record = Recorder()
    log = EventLog(FakeTime(), [record, Broken()])
    log.emit(Kind.RUN_START)
    log.emit(Kind.RUN_STOP)
    assert record.kinds() == [Kind.RUN_START, Kind.WARNING, Kind.RUN_STOP]
    assert "Broken stopped: OSError: no space left" in record.events[1].data["message"]


class Odd(Recorder):
    """A tracker of a user's own with a mistake in it."""

    def write(self, event):
        raise KeyError("api_key=canary")

    def close(self):
        raise ValueError("api_key=canary")


def test_a_mistake_in_a_tracker_is_a_sentence_with_its_place(caplog):
    record = Recorder()
    log = EventLog(FakeTime(), [record, Odd()])
    log.emit(Kind.RUN_START)
    message = record.events[1].data["message"]
    assert message.startswith("Odd stopped: KeyError: 'api_key=[redacted]")
    assert f"({__file__}, line " in message
    assert caplog.text == ""  # no traceback: the record and the screen have the sentence
    EventLog(FakeTime(), [record, Odd()]).close()
    [line] = caplog.text.splitlines()
    assert "Odd did not close: ValueError: api_key=[redacted]" in line


def test_a_mistake_in_a_sink_of_ttt_keeps_its_traceback(caplog, monkeypatch):
    monkeypatch.setattr(Odd, "__module__", "ttt.sinks.console")
    EventLog(FakeTime(), [Recorder(), Odd()]).emit(Kind.RUN_START)
    assert "Traceback" in caplog.text


def test_a_record_that_cannot_be_written_ends_the_run():
    log = EventLog(FakeTime(), [Broken(), Recorder()])
    with pytest.raises(OSError, match="no space left"):
        log.emit(Kind.RUN_START)


def test_closing_closes_all_even_if_one_will_not():
    record, other = Recorder(), Recorder()
    EventLog(FakeTime(), [record, Broken(), other]).close()
    assert record.closed
    assert other.closed


def test_without_sinks_events_still_tell_the_time():
    assert EventLog(FakeTime(9)).emit(Kind.RUN_START).time == 9
