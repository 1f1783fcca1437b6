import bz2
import gzip
import lzma
import os
import signal
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compliance_logs import find, official_says, ours, record, resnet, text, write
from ttt.compliance import check_file, write_rules
from ttt.report.read.folders import ruleset_of
from ttt.report.read.record import history, last_sign


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\0\0\0" * 99, "binary"),
        (b"epoch 1 loss 3\n", "no :::MLLOG record"),
        (text(ours()).encode()[:-30], "cut off"),
        (b":::MLLOG 3\n", "no JSON object"),
        (b':::MLLOG {"key": "seed", "value": 1, "time_ms": 1}\n', "no metadata"),
        (b":::MLLOG " + b"[" * 20_000, "nested too deeply"),
        (b":::MLLOG " + b" " * 2_000_000, "line 1 has 2000009 characters"),
        (text([record("seed") | {"time_ms": "noon"}]).encode(), "time_ms is 'noon'"),
        (text([record("submission_benchmark", ["digits"])]).encode(), "submission_org"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_log_fails_with_a_sentence(tmp_path, content, named):
    path = tmp_path / "result_0.txt"
    path.write_bytes(content)
    verdict = check_file(path)
    assert not verdict.passed
    assert any(named in problem for problem in verdict.problems), verdict.problems


GOOD = text(ours()).encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(GOOD), ["packed by gzip", "zcat", "> result_0.clean.txt"]),
        (bz2.compress(GOOD), ["packed by bzip2", "bzcat"]),
        (lzma.compress(GOOD), ["packed by xz", "xzcat"]),
        (GOOD.decode().encode("utf-16"), ["UTF-16 text", "iconv -f UTF-16 -t UTF-8"]),
        (GOOD.replace(b"}}\n", b"}}\x1b[0m\n", 1), ["line 1: ", "colour codes", "sed 's/"]),
        (GOOD.replace(b"}}\n", b"}} epoch 1\n", 1), ["line 1: ", "'epoch 1'", "line of its own"]),
    ],
)
def test_what_a_log_became_on_its_way_is_told_with_what_to_type(tmp_path, content, said):
    assert check_file(write(tmp_path / "good", ours())).passed
    path = tmp_path / "result_0.txt"
    path.write_bytes(content)
    verdict = check_file(path)
    assert not verdict.passed
    for words in said:
        assert words in verdict.problems[0]


def test_records_glued_on_one_line_are_told_and_the_verdict_is_the_engines(tmp_path):
    path = write(tmp_path / "result_0.txt", resnet())
    path.write_text(path.read_text().replace("}}\n", "}}", 2))
    verdict = check_file(path, "4.0.0")
    assert verdict.passed == official_says(path, "4.0.0", "training_4.0.0/common.yaml")
    assert not verdict.passed
    assert "line 1 has 3 records, and the checker sees only the last" in verdict.warnings[0]


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    """Whoever opens one that nobody writes to waits for ever."""
    for name in ("result_0.txt", "summary.json", "config.yaml", "rules.yaml", "events.jsonl"):
        os.mkfifo(tmp_path / name)
    with alarm(10):
        verdict = check_file(tmp_path / "result_0.txt")
        assert ruleset_of(tmp_path) is None
        assert history(tmp_path / "events.jsonl").stopped is None
        assert last_sign(tmp_path / "events.jsonl")["status"] == "died"
    assert verdict.problems == ("the file cannot be read: it is not a regular file",)
    assert not verdict.passed


@contextmanager
def alarm(seconds):
    """Fail what takes longer."""

    def ring(*_):
        pytest.fail("it waits for a pipe")  # no OSError, which readers expect

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", ["absent.txt", "."])
def test_what_cannot_be_read_fails_with_a_sentence(tmp_path, name):
    verdict = check_file(tmp_path / name)
    assert not verdict.passed
    assert "cannot be read" in verdict.problems[0]


def test_a_division_cannot_lead_to_rules_outside_the_package(tmp_path):
    (tmp_path / "evil_common.yaml").write_text("- BEGIN:\n    CODE: open('owned', 'w')\n")
    log = resnet()
    up = "../" * 30 + str(tmp_path).lstrip("/")
    find(log, "submission_division")["value"] = f"{up}/evil"
    verdict = check_file(write(tmp_path / "log", log))
    assert not verdict.passed
    assert any("there are no rules" in problem for problem in verdict.problems)


def test_a_value_of_the_wrong_type_leaves_nothing_behind(tmp_path):
    log = resnet()
    find(log, "eval_accuracy")["value"] = None
    verdict = check_file(write(tmp_path / "bad", log))
    assert any("cannot judge a value" in problem for problem in verdict.problems)
    assert check_file(write(tmp_path / "good", resnet())).passed


ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2**70),
    st.floats(),
    st.sampled_from(["", "x", "closed", "resnet", "digits", "\x1b[31m\n", "../x", "10" * 3000]),
    st.just([]),
    st.just({"BBOX": 1}),
)


@st.composite
def mutated(draw):
    """A good log, spoilt: as records, as lines, or as bytes."""
    log = draw(st.sampled_from([ours, resnet]))()
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(log) - 1))
        match draw(st.sampled_from(["value", "metadata", "field", "drop", "double", "move"])):
            case "value":
                log[place] = log[place] | {"value": draw(ODD_VALUES)}
            case "metadata":
                log[place] = log[place] | {"metadata": draw(st.one_of(ODD_VALUES, st.just({})))}
            case "field":
                name = draw(st.sampled_from(["key", "value", "metadata", "time_ms"]))
                log[place] = {key: log[place][key] for key in log[place] if key != name}
            case "drop":
                del log[place]
            case "double":
                log.insert(draw(st.integers(0, len(log))), log[place])
            case "move":
                log.insert(draw(st.integers(0, len(log))), log.pop(place))
    data = bytearray(text(log), "utf-8")
    for _ in range(draw(st.integers(0, 2))):
        data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(data[: draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))])


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=mutated())
def test_any_damage_gets_the_engines_own_verdict(tmp_path, content):
    path = tmp_path / "result_0.txt"
    path.write_bytes(content)
    verdict = check_file(path)
    assert verdict.passed is (not verdict.problems)
    for line in (*verdict.problems, *verdict.warnings):
        assert line.isprintable()
        assert len(line) <= 400
    if verdict.ruleset is not None:
        config = f"training_{verdict.ruleset}/common.yaml"
        if verdict.benchmark is not None and not verdict.official:
            config = str(tmp_path / "rules.yaml")
            write_rules(config)
        assert verdict.passed is bool(official_says(path, verdict.ruleset, config))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=300), prefix=st.sampled_from([b"", b":::MLLOG ", b":::MLLOG {"]))
def test_no_bytes_make_it_raise(tmp_path, content, prefix):
    path = tmp_path / "result_0.txt"
    path.write_bytes(prefix + content)
    assert not check_file(path).passed
