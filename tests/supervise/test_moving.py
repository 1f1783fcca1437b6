"""What may change of a run that goes on, and what is said of it."""

import pytest

from ttt import config
from ttt.errors import ConfigError
from ttt.events import Event, Kind
from ttt.supervise.moving import moved

BEGUN = [Event(Kind.RUN_START, 1.0)]


def frozen(*typed: str, processes: int = 2) -> str:
    config.register()
    composed = config.compose(["benchmark=topics", *typed])
    return config.freeze(config.resolve(composed, processes=processes))


FSDP = frozen("parallel=fsdp", "parallel.reshard=false")


def sizes(text: str) -> tuple[int, ...]:
    run = config.load(text)
    parallel = run.parallel
    return run.processes, parallel.replicate, parallel.shard, parallel.tensor


@pytest.mark.parametrize(
    ("words", "now", "processes", "expected"),
    [
        (["parallel=tp"], "tensor=2", [2, 2], (2, 1, 1, -1)),
        (["processes=1"], "1 process", [2, 1], (1, 1, -1, 1)),
        (["processes=4"], "shard=4", [2, 4], (4, 1, -1, 1)),
        (
            ["processes=4", "parallel=tp_fsdp"],
            "shard=2 tensor=2",
            [2, 4],
            (4, 1, -1, 2),
        ),
        (["parallel.shard=1", "parallel.replicate=2"], "replicate=2", [2, 2], (2, 2, 1, 1)),
    ],
)
def test_a_run_goes_on_in_other_parts(words, now, processes, expected):
    text, other = moved(FSDP, BEGUN, words)
    assert sizes(text) == expected
    assert other is not None
    assert (other["now"], other["before"], other["processes"]) == (now, "shard=2", processes)
    assert not config.load(text).parallel.reshard  # what is not named stays


def test_the_record_says_how_it_went_on_to_those_that_come_later():
    _, other = moved(FSDP, BEGUN, ["parallel=tp"])
    record = [*BEGUN, Event(Kind.RESUMED, 2.0, 7, {"moved": other})]
    text, again = moved(FSDP, record, [])
    assert (sizes(text), again) == ((2, 1, 1, -1), None)
    text, again = moved(FSDP, record, ["processes=1"])
    assert again is not None
    assert (again["now"], again["before"]) == ("1 process", "tensor=2")


def test_nothing_is_said_where_nothing_changes():
    assert moved(FSDP, BEGUN, []) == (FSDP, None)
    assert moved(FSDP, BEGUN, ["parallel=fsdp"])[1] is None


def test_what_is_done_beside_the_mesh_is_said_too():
    _, other = moved(FSDP, BEGUN, ["parallel.reshard=true"])
    assert other is not None
    said = (other["now"], other["before"])
    assert said == ("parallel.reshard=true", "parallel.reshard=false")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["optim.lr=3"], "optim.lr=3 cannot change while a run goes on; allowed: parallel=NAME"),
        (["tp"], "tp cannot change"),
        (["parallel=ep"], "parallel=ep is not allowed; allowed: ddp, fsdp, hsdp, tp, tp_fsdp"),
        (["processes=0"], "processes=0 is not allowed"),
        (["processes=x"], "processes=x: "),
        (["parallel=tp", "processes=4"], "parallel.tensor=4 does not divide model.kv_heads=2"),
        (["parallel.shard=3"], "parallel.shard=3 is not of 2 processes"),
        (
            ["processes=3"],
            "processes=3 cannot be: data.global_batch=32 does not divide among 3 processes x"
            " accumulate=1, and a run that goes on keeps its batch; processes=2",
        ),
    ],
)
def test_what_may_not_be_is_refused_before_anything_is_touched(words, sentence):
    with pytest.raises(ConfigError) as refused:
        moved(FSDP, BEGUN, words)
    assert any(each.startswith(sentence) for each in refused.value.problems), refused.value


def test_a_run_that_has_not_begun_is_what_was_typed():
    with pytest.raises(ConfigError, match="this one has not begun"):
        moved(FSDP, [], ["parallel=tp"])


def test_a_model_without_a_plan_is_not_cut():
    with pytest.raises(ConfigError, match="has no plan"):
        moved(frozen("benchmark=digits"), BEGUN, ["parallel=tp"])
