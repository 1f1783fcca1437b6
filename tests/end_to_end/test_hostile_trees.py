"""Report, check and package answer on any tree of others, and do no harm."""

import io
import itertools
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hostile
from ttt.cli import check, package, report
from ttt.errors import NOT_COMPLIANT, OK, USAGE
from ttt.report.read.find import find
from ttt.report.render.tracking import _directory, _logged, _lost, _recorded
from ttt.sinks.series import frozen, machine

pytestmark = pytest.mark.timeout(200)  # what waits or runs wild is ended, and fails

Main = Callable[[Sequence[str]], int]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A sound tree of each kind."""
    folder = tmp_path_factory.mktemp("sound")
    made = {
        "runs": hostile.run_folders(folder / "runs"),
        "results": hostile.results(folder / "tree"),
    }
    return made


def spoilt(sound: dict[str, Path], data: st.DataObject, folder: Path) -> tuple[Path, Path]:
    """A copy of one of them with some traps, in a new folder beside private files."""
    (folder / "home").mkdir()
    private = folder / "home" / "id_ed25519.json"
    secret = {"system_name": hostile.SECRET, "text": hostile.SECRET, "time": 1}
    private.write_text(json.dumps(secret))
    tree = folder / "theirs"
    shutil.copytree(sound[data.draw(st.sampled_from(sorted(sound)))], tree)
    for _ in range(data.draw(st.integers(1, 3))):
        hostile.spoil(data, tree, private)
    return tree, private


def answer(main: Main, *words: object) -> tuple[int, str]:
    """The exit code of a command and what it printed; it raises nothing."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = main(list(map(str, words)))
    assert "Traceback" not in said.getvalue()
    said.getvalue().encode()
    return code, said.getvalue()


OF_A_RUN = [
    "config.yaml",
    "summary.json",
    "system.json",
    "events.jsonl",
    "suspended",
    "logs/rank_0.failure.json",
    "logs/srun.log",
    "logs/mpirun.log",
]


def trapped(sound: dict[str, Path], theirs: Path) -> Iterator[Path]:
    """Files that are to be traps, each in a copy of a run of its own: the first of one, and so on.

    Each file comes as often as there are texts and kinds of files to put in its place.
    """
    each = len(hostile.TEXTS) + len(hostile.KINDS)
    for number, name in enumerate(name for name in OF_A_RUN for _ in range(each)):
        run = theirs / f"launch_{number}" / "seed_2"
        shutil.copytree(sound["runs"] / "seed_2", run)
        (run / "result_1.txt").unlink()
        (run / "suspended").unlink()
        (run / name).unlink(missing_ok=True)
        yield run / name


def test_one_bad_file_does_not_stop_the_report_on_the_others(sound, tmp_path):
    """Every text and every kind of file in the place of each file of a run, in one report."""
    (tmp_path / "home").mkdir()
    private, theirs = tmp_path / "home" / "id_ed25519", tmp_path / "theirs"
    private.write_text(hostile.SECRET)
    places = list(trapped(sound, theirs))
    for place, trap in zip(places, itertools.cycle([*hostile.TEXTS, *hostile.KINDS]), strict=False):
        if isinstance(trap, bytes):
            place.write_bytes(trap)
        else:
            hostile.put(trap, place, private)
    good = theirs / "launch" / "seed_1"
    shutil.copytree(sound["runs"] / "seed_1", good)
    out = tmp_path / "report.json"
    code, said = answer(report.main, theirs, "--json", out)
    assert code == OK
    content = json.loads(out.read_text())
    assert hostile.SECRET not in said + out.read_text()
    reported = {path for result in content["results"] for path in result["paths"]}
    reported |= {one["path"] for one in content["attempts"]}
    refused = {one["path"]: one["reason"] for one in content["rejected"]}
    assert str(good) in reported
    runs = [each for each in theirs.glob("*/seed_2") if not (each / "config.yaml").is_dir()]
    assert {*reported, *refused} == {str(good), *map(str, runs)}  # without one it is no run
    assert {why.split()[0] for why in refused.values()} == {"config.yaml", "system.json"}


def examples(number: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return settings(
        max_examples=number,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@examples(50)
@given(data=st.data())
def test_a_check_answers_whatever_it_is_given(sound, data):
    with tempfile.TemporaryDirectory() as name:
        tree, _ = spoilt(sound, data, Path(name))
        out = Path(name) / "check.json"
        code, said = answer(check.main, tree, "--json", out)
        assert code in (OK, USAGE, NOT_COMPLIANT)
        assert hostile.SECRET not in said + (out.read_text() if out.exists() else "")
        assert {each.name for each in Path(name).iterdir()} <= {"home", "theirs", "check.json"}


@examples(50)
@given(data=st.data())
def test_a_report_answers_whatever_it_is_given(sound, data):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tree, _ = spoilt(sound, data, folder)
        written = [folder / "r.json", folder / "r.csv"]
        code, said = answer(report.main, tree, "--json", written[0], "--csv", written[1])
        assert code in (OK, USAGE)
        for file in written:
            said += file.read_text("utf-8") if file.exists() else ""
        assert hostile.SECRET not in said
        assert {each.name for each in folder.iterdir()} <= {"home", "theirs", "r.json", "r.csv"}


@examples(8)
@given(data=st.data())
def test_a_page_is_written_whatever_it_is_of(sound, data):
    with tempfile.TemporaryDirectory() as name:
        tree, _ = spoilt(sound, data, Path(name))
        code, said = answer(report.main, tree, "--html", Path(name) / "page.html")
        assert code in (OK, USAGE)
        if code == OK:
            said += (Path(name) / "page.html").read_text("utf-8")
        assert hostile.SECRET not in said


@examples(50)
@given(data=st.data())
def test_what_a_tracker_is_shown_are_numbers_and_the_configuration(sound, data):
    with tempfile.TemporaryDirectory() as name:
        tree, _ = spoilt(sound, data, Path(name))
        for run in find([tree]).runs:
            for rows in (_recorded(run), _logged(run)):
                for row in rows:
                    assert {type(value) for value in row.values()} <= {int, float, str}
            shown = repr((frozen(run.path), machine(run.path), _lost(run.path), run.description))
            assert isinstance(_directory(run.path), Path)
            assert hostile.SECRET not in shown


@examples(12)
@given(data=st.data())
def test_a_package_of_anything_is_built_or_refused_and_holds_nothing_private(
    sound, data, monkeypatch
):
    monkeypatch.setattr(package, "judge", lambda *_: [])  # MLCommons' tools take seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tree, _ = spoilt(sound, data, folder)
        words = ("--out", folder / "out", "--submitter", "somebody", "--unofficial")
        code, said = answer(package.main, tree, *words)
        assert code in (OK, USAGE, NOT_COMPLIANT)
        assert hostile.SECRET not in said
        allowed = {"home", "theirs", "out"} if code == OK or "kept" in said else {"home", "theirs"}
        assert {each.name for each in folder.iterdir()} <= allowed
        assert [each.name for each in (folder / "home").iterdir()] == ["id_ed25519.json"]
        for file in (folder / "out").rglob("*"):
            assert not file.is_symlink()
            if file.is_file():
                assert hostile.SECRET.encode() not in file.read_bytes()
