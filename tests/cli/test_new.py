"""`ttt new`: names that may be used, files that fit, and a skeleton that runs as it is."""

import json
import subprocess
from pathlib import Path

import pytest

from ground import PROJECT, command, environment
from ttt import config
from ttt.__main__ import main
from ttt.cli.data import following, taken
from ttt.skeleton import fitting, naming


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_new_benchmark_reaches_its_target_as_it_is(here: Path, capsys):
    assert main(["new", "quarters"]) == 0
    [line] = [one for one in capsys.readouterr().out.splitlines() if one.startswith("next:")]
    typed = line.removeprefix("next:").split()
    assert typed == "ttt run --config-dir quarters benchmark=quarters".split()
    done = subprocess.run(
        command(*typed[1:], "launcher=torchrun", "launcher.procs=2"),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [summary] = here.glob("runs/quarters/*/seed_1/summary.json")
    told = json.loads(summary.read_text())
    assert told["status"] == "success"
    assert told["world_size"] == 2
    assert told["time_to_train_s"] < 60
    assert (here / "quarters" / "parts.py").read_bytes() == (
        PROJECT / "ttt" / "skeleton" / "parts.py"
    ).read_bytes()


def test_a_run_typed_elsewhere_says_where_its_parts_are_looked_for(here: Path, monkeypatch, capsys):
    assert main(["new", "quarters"]) == 0
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert main(["run", "--config-dir", "../quarters", "benchmark=quarters"]) == 2
    told = capsys.readouterr().err
    assert "data.prepare=quarters.parts cannot make it: No module named 'quarters'" in told
    assert f"finds from {here / 'elsewhere'}" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("My photos!", "my_photos"),
        ("3d", "my_3d"),
        ("Null!", "my_null"),
        ("~", "my"),
        ("1e3", "my_1e3"),
        ("a/b", "a_b"),
        ("../up", "up"),
        ("x" * 51, "x" * 40),
        ("", "my"),
        ("größe", "gr_e"),
    ],
)
def test_a_name_that_none_can_have_is_refused_with_one_near_to_it(name, instead, here, capsys):
    assert main(["new", name]) == 2
    assert capsys.readouterr().err.endswith(f"; ttt new {instead}\n")
    assert naming.problems(instead, here, ()) == []
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    "name",
    [
        *("digits", "resnet50", "torchrun", "wmt", "pairs", "json", "torch"),
        *("class", "null", "true", "false", "yes", "off", "inf", "nan"),
    ],
)
def test_a_name_that_means_something_already_is_refused(name, here, capsys):
    assert main(["new", name]) == 2
    assert capsys.readouterr().err.endswith(f"ttt new my_{name}\n")
    assert not list(here.iterdir())


def test_nothing_is_overwritten(here: Path, capsys):
    (here / "a").mkdir()
    (here / "a" / "thesis.tex").write_text("years of work")
    (here / "b").symlink_to("nowhere")
    (here / "c.py").write_text("import this")
    before = contents(here)
    for name in "abc":
        assert main(["new", name]) == 2
        assert f"ttt new my_{name}" in capsys.readouterr().err
    assert contents(here) == before


def test_a_benchmark_written_twice_is_offered_a_free_name(here: Path, capsys):
    for folder in ("my_photos", "my_photos_2"):
        (here / folder).mkdir()
    assert main(["new", "my_photos"]) == 2
    assert capsys.readouterr().err.endswith("type another name: ttt new my_photos_3\n")


IMAGES = {
    "source": "photos",
    "format": "folder",
    "counts": {"train": 800, "test": 200},
    "classes": ["cat", "dog"],
    "largest_class": 0.7,
    "sizes": {"shorter": [300, 480, 2000], "longer": [400, 640, 3000]},
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.2, 0.2],
}
PAIRS = {
    "counts": {"train": 29_000, "eval": 1000},
    "source_language": "de",
    "vocabulary": 5960,
    "max_length": 64,
    "tokens": {"source": 400_000, "target": 380_000},
}
TABLE = {
    "counts": {"train": 20_000, "eval": 5000},
    "label": {"column": "late", "positive": "yes"},
    "dense": 2,
    "rows": [4, 13],
    "hots": [1, 1],
    "features": {"dense": ["humid: in %", "pressure"], "ids": ["origin", "month # of year"]},
}
TOKENS = {
    "counts": {"train": 5000, "eval": 500},
    "sequence_length": 64,
    "vocabulary": 256,
}


def set_of(here: Path, manifest: dict) -> Path:
    folder = here / "data" / "my set: one"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder.relative_to(here)


@pytest.mark.parametrize("name", ["format", "max_length"])
def test_a_value_of_a_manifest_is_no_line_of_a_benchmark(name: str, here: Path, capsys):
    manifest = PAIRS if name == "max_length" else IMAGES
    root = set_of(here, manifest | {name: "folder\nloader: {_target_: os.system}"})
    assert main(["new", "mine", "--from", str(root)]) == 2
    assert "manifest.json is damaged" in capsys.readouterr().err
    assert not (here / "mine").exists()


@pytest.mark.parametrize("column", ["a\n_target_: x", "a\x1b[2Jb", "a\u2028b"])
def test_a_name_of_a_column_stays_in_its_comment(column: str, here: Path):
    features = {"dense": [column, "b"], "ids": ["c", "d"]}
    root = set_of(here, TABLE | {"features": features})
    assert main(["new", "mine", "--from", str(root)]) == 0
    text = "".join(each.read_text() for each in Path("mine").rglob("*.yaml"))
    assert text.replace("\n", "").isprintable()
    assert not [line for line in text.splitlines() if line.lstrip().startswith("_target_: x")]


@pytest.mark.parametrize("train", [2, 800, 3_000_000])
@pytest.mark.parametrize("manifest", [IMAGES, PAIRS, TABLE, TOKENS])
def test_a_benchmark_for_a_set_composes_and_nothing_is_wrong_with_it(manifest, train, here):
    counts = manifest["counts"] | {"train": train}
    root = set_of(here, manifest | {"counts": counts})
    assert main(["new", "mine", "--from", str(root)]) == 0
    config.register()
    composed = config.compose(["benchmark=mine"], "mine")
    counted = {"train_samples": train, "eval_samples": 200, "classes": 2}
    counted |= {name: manifest.get(name) for name in ("vocabulary", "max_length")}
    counted |= {name: manifest.get(name) for name in ("dense", "rows", "hots")}
    assert all(composed.data.get(name) is None for name in counted)
    assert composed.data.get("sequence_length") == manifest.get("sequence_length")
    run = config.resolve(
        config.changed(composed, {f"data.{name}": value for name, value in counted.items()})
    )
    assert run.problems(1) == []
    assert run.problems(2) == [] or train == 2
    assert run.data.root == str(root)
    assert run.data.train_samples == train
    assert run.benchmark.id == "mine"
    for name in ("mean", "std"):
        assert getattr(run.data, name, None) == manifest.get(name)


def test_a_target_may_be_typed(here: Path, capsys):
    root = set_of(here, TABLE)
    assert main(["new", "mine", "--from", str(root), "--target", "0.83"]) == 0
    config.register()
    assert config.compose(["benchmark=mine"], "mine").target.threshold == 0.83
    assert main(["new", "other", "--target", "0.83"]) == 2
    assert "--target needs --from DATA" in capsys.readouterr().err
    assert main(["new", "other", "--from", str(root), "--target", "83"]) == 2
    assert "--target 83 is no fraction" in capsys.readouterr().err
    (here / root / "manifest.json").write_text(json.dumps(TOKENS))
    assert main(["new", "nats", "--from", str(root), "--target", "1.9"]) == 0
    assert config.compose(["benchmark=nats"], "nats").target.threshold == 1.9
    assert main(["new", "other", "--from", str(root), "--target", "83"]) == 2
    assert "--target 83 is no log perplexity" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("manifest", "best"), [(IMAGES, 1), (PAIRS, 1), (TABLE, 1), (TOKENS, 0.01)]
)
def test_a_target_that_is_a_guess_is_called_one(manifest, best, here: Path, capsys):
    """A person would else take it for the quality that such a model reaches."""
    root = set_of(here, manifest)
    assert main(["new", "mine", "--from", str(root)]) == 0
    words = f"The target is a guess. A run with target.threshold={best} shows what this model"
    assert words in capsys.readouterr().out.replace("\n", " ")
    assert f"  # {words}" in Path("mine/benchmark/mine.yaml").read_text()
    config.register()
    composed = config.compose(["benchmark=mine", f"target.threshold={best}"], "mine")
    assert [*config.resolve(composed).target.problems()] == []
    assert main(["new", "chosen", "--from", str(root), "--target", "0.6"]) == 0
    assert "guess" not in capsys.readouterr().out
    text = Path("chosen/benchmark/chosen.yaml").read_text()
    assert "  # The target was chosen by --target.\n  threshold: 0.6" in text


def test_what_is_no_set_of_ones_own_is_told_with_a_wrong_name_at_once(here: Path, capsys):
    for manifest in (None, {}, {"counts": {"train": 1437, "test": 360}, "sha256": ""}):
        folder = here / f"set{id(manifest)}"
        folder.mkdir()
        if manifest is not None:
            (folder / "manifest.json").write_text(json.dumps(manifest))
        assert main(["new", "no name", "--from", str(folder)]) == 2
        told = capsys.readouterr().err.splitlines()
        assert len(told) == 2
        assert "ttt data images" in told[1]
    (folder / "manifest.json").write_text('{"counts":')
    assert main(["new", "mine", "--from", str(folder)]) == 2
    assert "is damaged" in capsys.readouterr().err


def test_the_line_that_ttt_data_ends_with_can_be_typed(here: Path):
    (here / "photos").mkdir()  # where the images came from
    first, second = following(None, Path("data/photos"))
    assert first == "next:  ttt new my_photos --from data/photos"
    assert second.split() == "ttt run --config-dir my_photos benchmark=my_photos".split()
    (here / "my_photos").mkdir()
    assert following(None, Path("data/photos"))[0].endswith("new my_photos_2 --from data/photos")
    assert following(None, Path("my set"))[0] == "next:  ttt new my_set --from 'my set'"


def test_images_get_a_network_for_their_size():
    for size in (1, 8, 28, 32, 64, 224):
        widths, stride = fitting._widths(size)
        side = -(-size // stride)
        for _ in widths[1:]:
            side = -(-side // 2)
        assert side <= 4 or len(widths) == 5
        assert len(widths) >= 2
    assert taken() >= {"digits", "images", "adam"}
