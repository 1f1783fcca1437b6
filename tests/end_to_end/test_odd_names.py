"""File names are bytes: whatever they are, every message, record and report shows them."""

import json
import os
import shutil
from pathlib import Path

import pytest

from ground import Command
from processes import EASY
from ttt.errors import shown
from ttt.prepare import imagenet
from ttt.prepare.folder import content_hash


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plain, é, 日本", "plain, é, 日本"),
        (os.fsdecode(b"caf\xe9.png"), r"caf\xe9.png"),
        ("half a pair \ud800", r"half a pair \ud800"),
    ],
)
def test_any_text_can_be_shown(text: str, said: str):
    assert shown(text) == said


@pytest.fixture
def odd(digits: Path, tmp_path: Path) -> Path:
    """Digits in a folder whose name is Latin-1, one of the images unreadable and named so too."""
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/donn\xe9es"))
    shutil.copytree(digits, root)
    image = sorted((root / "train" / "3").iterdir())[0]
    image.rename(image.with_name(os.fsdecode(b"caf\xe9.png"))).write_bytes(b"broken")
    return root


@pytest.mark.parametrize("launcher", ["local", "torchrun"])
def test_an_unreadable_image_with_an_odd_name_is_named(launcher: str, ttt: Command, odd: Path):
    done = ttt("run", f'data.root="{odd}"', f"launcher={launcher}")
    assert done.returncode == 2
    assert "UnicodeEncodeError" not in done.stdout + done.stderr
    assert r"donn\xe9es/train/3/caf\xe9.png cannot be read: " in done.stderr
    assert done.stderr.count("cannot be read") == 1


def test_records_and_reports_show_a_replaced_image_with_an_odd_name(
    ttt: Command, odd: Path, tmp_path: Path
):
    done = ttt("run", f'data.root="{odd}"', "data.on_error=skip", "tracking=wandb", *EASY)
    assert done.returncode == 0, done.stderr
    assert "untracked" not in done.stdout
    [record] = tmp_path.glob("runs/*/*/*/events.jsonl")
    events = [json.loads(line) for line in record.read_text().splitlines()]
    [told] = [event["data"]["skipped"] for event in events if event["kind"] == "statistics"]
    assert len(told) == 1
    assert told[0].endswith(r"/donn\xe9es/train/3/caf\xe9.png")
    forms = ["--json", "r.json", "--csv", "r.csv", "--html", "r.html"]
    done = ttt("report", "runs", *forms)
    assert done.returncode == 0, done.stderr
    assert ttt("check", "runs").returncode == 0


def test_odd_names_are_packed_and_hashed(odd: Path, tmp_path: Path):
    (odd / "train" / "3" / os.fsdecode(b"caf\xe9.png")).unlink()
    source = sorted((odd / "train" / "3").iterdir())[0]
    source.rename(source.with_name(os.fsdecode(b"\xe9t\xe9.png")))
    (odd / "test").rename(odd / "val")
    assert content_hash(odd)
    imagenet.prepare(tmp_path / "packed", [odd], format="tfrecord", shards=1)
    content = (tmp_path / "packed" / "train" / "train-00000-of-00001.tfrecord").read_bytes()
    assert b"\xe9t\xe9.png" in content


def test_what_was_replaced_is_told_and_decoders_keep_off_the_terminal(
    ttt: Command, odd: Path, tmp_path: Path
):
    image = sorted((odd / "train" / "4").iterdir())[0]
    image.write_bytes(b"\xff\xd8\xff\xe0 cut")  # of which the JPEG parser says so
    done = ttt("run", f'data.root="{odd}"', "data.on_error=skip", *EASY)
    assert done.returncode == 0, done.stderr
    assert "data.on_error=skip replaced 2 unreadable samples: " in " ".join(done.stdout.split())
    assert "parser" not in done.stdout + done.stderr
    [log] = tmp_path.glob("runs/*/*/*/logs/rank_0.log")
    assert "parser" in log.read_text()
    done = ttt("report", "runs", "--html", "r.html", "--json", "r.json")
    said = "unreadable samples were replaced (data.on_error=skip): 2 in a run"
    assert said in " ".join(done.stdout.split())
    assert said in (tmp_path / "r.html").read_text()
    [result] = json.loads((tmp_path / "r.json").read_text())["results"]
    assert result["skipped_samples"] == [2]
    assert said in result["warnings"]
