import json
import os
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compliance_logs import ours, resnet, text, write
from run_folders import finished
from ttt.errors import ConfigError
from ttt.report.analyze.grouping import group
from ttt.report.read import find as finder
from ttt.report.read.find import find
from ttt.report.run import Found


def _logs(folder, count, log=None):
    folder.mkdir(parents=True)
    return [write(folder / f"result_{number}.txt", log or resnet()) for number in range(count)]


def _names(found):
    return [run.path.name for run in found.runs]


def test_run_folders_and_logs_of_others_in_the_order_of_the_paths(tmp_path):
    logs = _logs(tmp_path / "them" / "v4.0" / "A" / "results" / "big" / "resnet", 11)
    mine = finished(tmp_path / "us", 3)
    write(mine / "result_0.txt", ours())
    found = find([mine, tmp_path])
    assert [run.path for run in found.runs] == [mine, *logs]
    assert [run.source for run in found.runs[:2]] == ["run folder", "MLPerf log"]
    assert found.rejected == ()


def test_a_log_in_a_run_folder_stands_for_the_folder(tmp_path):
    mine = finished(tmp_path, 3)
    log = write(mine / "result_0.txt", ours())
    assert [run.path for run in find([log, mine, tmp_path]).runs] == [mine]


def test_a_file_is_taken_whatever_its_name_but_searched_by_it(tmp_path):
    log = write(tmp_path / "my.log", resnet())
    assert _names(find([log])) == ["my.log"]
    assert find([tmp_path]) == Found((), ())


def test_each_log_once_even_by_other_names(tmp_path):
    [log] = _logs(tmp_path / "a", 1)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "result_9.txt").symlink_to(log)
    assert len(find([tmp_path / "b", tmp_path, log]).runs) == 1


def test_what_cannot_be_read_is_told_and_the_rest_read(tmp_path):
    [good] = _logs(tmp_path / "good", 1)
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "result_0.txt").mkdir()
    (bad / "result_1.txt").touch()
    (bad / "result_2.txt").symlink_to(bad / "absent")
    (bad / "result_3.txt").symlink_to(bad / "result_3.txt")
    os.mkfifo(bad / "result_4.txt")
    (bad / "loop").symlink_to(tmp_path)
    found = find([tmp_path / "absent", tmp_path])
    assert [run.path for run in found.runs] == [good]
    assert [(each.path.name, each.reason) for each in found.rejected] == [
        ("absent", "does not exist"),
        ("result_1.txt", "the file is empty"),
        ("result_2.txt", "cannot be read: No such file or directory"),
        ("result_3.txt", "cannot be read: Too many levels of symbolic links"),
        ("result_4.txt", "is neither a file nor a folder"),
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_what_is_forbidden_is_told(tmp_path):
    [log] = _logs(tmp_path / "a", 1)
    (tmp_path / "closed").mkdir(mode=0)
    log.chmod(0)
    reasons = [each.reason for each in find([tmp_path]).rejected]
    assert all("Permission denied" in reason for reason in reasons)
    assert len(reasons) == 2


def test_a_ruleset_can_be_asked_for(tmp_path):
    _logs(tmp_path / "a", 1)
    assert find([tmp_path], ruleset="3.1.0").runs[0].ruleset == "3.1.0"
    with pytest.raises(ConfigError, match=r"'9\.9\.9' is not in the installed"):
        find([tmp_path], ruleset="9.9.9")


def test_several_processes_find_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(finder, "_MANY", 4)
    monkeypatch.setattr(finder, "_CHUNK", 2)
    _logs(tmp_path / "a", 5)
    (tmp_path / "a" / "result_2.txt").write_text("nothing")
    finished(tmp_path / "b", 1)
    before = threading.active_count()
    several = find([tmp_path], jobs=2)
    assert several == find([tmp_path], jobs=1)
    assert (len(several.runs), len(several.rejected)) == (5, 1)
    assert threading.active_count() == before


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=9),
    st.just("__huge__"),
    st.lists(st.none(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
FIELDS = ("key", "value", "metadata", "time_ms")


@st.composite
def mutated(draw, lines: list[str]) -> bytes:
    """A log with a few things done to it that happen to logs, or that somebody may try."""
    lines = list(lines)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["drop", "double", "cut", "join", "field", "meta"])):
            case "drop" if len(lines) > 1:
                del lines[place]
            case "double":
                lines.insert(draw(st.integers(0, len(lines))), lines[place])
            case "cut":
                lines[place] = lines[place][: draw(st.integers(0, len(lines[place])))]
            case "join":
                lines[place : place + 2] = ["".join(lines[place : place + 2])]
            case ("field" | "meta") as where:
                lines[place] = _with(draw, lines[place], where)
    content = bytearray("\n".join(lines).encode())
    for _ in range(draw(st.integers(0, 3))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content)


def _with(draw, line, where):
    head, token, body = line.partition(":::MLLOG ")
    try:
        fields = json.loads(body)
        at = fields["metadata"] if where == "meta" else fields
        names = sorted(at) if where == "meta" else FIELDS
        at[draw(st.sampled_from(names))] = draw(ODD)
    except (ValueError, TypeError, KeyError):
        return line
    huge = draw(st.sampled_from(["1e999", "9" * 400, "NaN", "-Infinity"]))
    return head + token + json.dumps(fields).replace('"__huge__"', huge)


def _survives(folder, content):
    path = folder / "result_0.txt"
    path.write_bytes(content)
    found = find([folder])
    assert len(found.runs) + len(found.rejected) == 1
    for each in group(found.runs):
        assert all(time is None or time > 0 for time in each.times)
    for run in found.runs:
        assert all(block.seconds >= 0 for block in run.blocks)
        assert run.samples is None or run.samples == run.samples  # never NaN


quick = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@quick
@given(content=st.one_of(mutated(text(resnet()).splitlines()), mutated(text(ours()).splitlines())))
def test_no_damage_to_a_log_makes_it_raise(tmp_path, content):
    _survives(tmp_path, content)


@settings(quick, max_examples=40)
@given(data=st.data())
def test_no_damage_to_a_published_log_makes_it_raise(shared, tmp_path, data):
    published = shared / "mlperf_results/v0.7/NVIDIA/results/dgxa100_ngc20.06_pytorch"
    content = (published / "transformer" / "result_0.txt").read_text("latin-1")
    lines = [line for line in content.splitlines() if "MLLOG" in line]
    _survives(tmp_path, data.draw(mutated(lines)))
