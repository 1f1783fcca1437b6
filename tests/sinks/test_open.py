"""Which sinks a run has, and who tracks it."""

import io

import pytest

from fakes import FakeTime
from ground import PROJECT
from tests.sinks.test_sinks import CONFIG
from ttt import config
from ttt.errors import ConfigError, LaunchError
from ttt.events import Event, EventLog, Kind
from ttt.schema.run import RunConfig
from ttt.sinks.jsonl import JsonLines
from ttt.sinks.open import open_sinks
from ttt.sinks.wandb import Wandb
from ttt.terminal import Terminal

OLD = "mode: online, project: ours, timeout_seconds: 5.0"  # before trackers had a `_target_`


@pytest.fixture
def opened(tmp_path):
    """Opens the sinks of a run with this node `tracking`; they are closed at the end."""
    open_ones = []

    def open_them(tracking: str, recalled: list[Event] | None = None):
        run_config = config.load(f"tracking: {tracking}")
        terminal = Terminal(file=io.StringIO())
        open_ones[:] = open_sinks(run_config, tmp_path, terminal, recalled or [])
        return open_ones

    yield open_them
    EventLog(FakeTime(), open_ones).close()


def names(sinks) -> list[str]:
    return [type(sink).__name__ for sink in sinks]


ALWAYS = ["JsonLines", "MlperfLog", "Summary", "Console"]


@pytest.mark.parametrize("tracking", ["null", "{}", "{mode: offline}", f"{{name: none, {OLD}}}"])
def test_the_record_is_first_and_nothing_tracks_a_run_unasked(opened, tracking):
    assert names(opened(tracking)) == ALWAYS


@pytest.mark.parametrize("tracker", ["_target_: ttt.sinks.wandb.Wandb", "name: wandb"])
def test_a_run_frozen_before_trackers_had_a_target_is_tracked_alike(opened, tracker):
    record, tracker, *others = opened(f"{{{tracker}, {OLD}}}")
    assert names([record, *others]) == ALWAYS
    assert isinstance(tracker, Wandb)
    assert tracker._mode == "online"
    assert (tracker._tracking.project, tracker._tracking.timeout_seconds) == ("ours", 5.0)
    again = config.freeze(config.load(f"tracking: {{name: wandb, {OLD}}}"))
    assert "_target_: ttt.sinks.wandb.Wandb" in again
    assert "name: wandb" not in again


def test_a_tracker_of_ones_own_gets_all_events_and_the_result(opened, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(PROJECT / "tests" / "outside")
    own = "{_target_: outside_parts.KindsFile, name: kinds.txt}"
    time, past = FakeTime(), [Event(Kind.CONFIG, 0.0, 0, CONFIG)]
    for recalled in ([], past):
        sinks = opened(own, recalled)
        log = EventLog(time, sinks)
        log.emit(Kind.INIT_START)
        log.close()
        sinks.clear()
    text = (tmp_path / "kinds.txt").read_text()
    assert text.split() == ["new", "init_start", "None", "resumed", "init_start", "None"]


def test_a_tracker_of_ones_own_that_cannot_be_made_is_a_sentence(opened, monkeypatch):
    monkeypatch.syspath_prepend(PROJECT / "tests" / "outside")
    own = "{_target_: outside_parts.KindsFile, name: no/such/folder}"
    with pytest.raises(ConfigError) as error:
        opened(own)
    [told] = error.value.problems
    assert "tracking._target_=outside_parts.KindsFile cannot be made: FileNotFoundError: " in told
    assert "line " in told
    assert told.endswith("or type tracking=none")


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("os.system", "nothing of os is a part of a run"),
        ("ttt.worker.main", "it is not in ttt.sinks"),
        ("ttt.sinks.series.Series", "it makes no object with write and close"),
        ("nowhere.Tracker", "cannot be used"),
    ],
)
def test_what_is_no_tracker_is_refused(opened, target, why):
    with pytest.raises(ConfigError, match=why):
        opened(f"{{_target_: {target}}}")


def test_a_record_that_another_process_writes_stops_it_before_its_tracker(
    opened, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(PROJECT / "tests" / "outside")
    record = JsonLines(tmp_path / "events.jsonl")
    with pytest.raises(LaunchError, match="is written by another process"):
        opened("{_target_: outside_parts.KindsFile, name: kinds.txt}")
    assert not (tmp_path / "kinds.txt").exists()
    record.close()


def test_the_schema_says_nothing_of_a_tracker_of_ones_own():
    run_config = RunConfig(tracking=config.load("tracking: {_target_: mine.T, x: -1}").tracking)
    assert config.foreign(run_config) == []
