"""The pages on data of one's own are true: their commands are run, on small made-up data."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from ground import PROJECT, command, environment
from ttt import config
from ttt.__main__ import main


def blocks(page: str) -> list[str]:
    """The commands of a page, a line each."""
    text = (PROJECT / "docs" / page).read_text()
    return [
        line
        for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    ]


def settings(page: str) -> list[dict[str, Any]]:
    """What each row of a page's tables sets, by name."""
    text = (PROJECT / "docs" / page).read_text()
    cells = re.findall(r"^\| (`[a-z]+\..*?) \|", text, re.MULTILINE)
    rows = [re.findall(r"([\w.]+)=([^\s`]+)", cell) for cell in cells]
    assert len(rows) >= 5
    return [{name: yaml.safe_load(value) for name, value in row} for row in rows]


def photographs(here: Path) -> None:
    """Two kinds of pictures, bright above and bright below, of two sizes."""
    random = np.random.RandomState(0)
    for number in range(160):
        pixels = random.randint(0, 100, (36 + number % 2, 40, 3)).astype(np.uint8)
        half = slice(0, 18) if number % 2 else slice(18, None)
        pixels[half] += 120
        path = here / "photos" / ("dawn" if number % 2 else "dusk") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def sentences(here: Path) -> None:
    """Numbers in words, and in figures."""
    words = "zero one two three four five six seven eight nine".split()
    numbers = [f"{place * 7919 % 10_000:04d}" for place in range(2100)]
    for begin, chosen in (("", numbers[:2000]), ("held_out_", numbers[2000:])):
        spelt = [" ".join(words[int(digit)] for digit in number) for number in chosen]
        (here / f"{begin}words.txt").write_text("\n".join(spelt) + "\n")
        (here / f"{begin}figures.txt").write_text("\n".join(map(" ".join, chosen)) + "\n")


def sales(here: Path) -> None:
    """Tea is bought in the north, the rest where it is cheap; half of the ratings are missing."""
    random = np.random.RandomState(0)
    lines = ["when,shop,item,price,rating,bought"]
    for place in range(3000):
        shop, item = ("north", "south")[random.randint(2)], ("tea", "bread")[random.randint(2)]
        price = random.uniform(1, 5)
        wanted = shop == "north" if item == "tea" else price < 3
        rating = "" if random.randint(2) else str(random.randint(1, 6))
        lines.append(
            f"2024-03-{1 + place // 100:02d}T08:{place % 60:02d}:00,{shop},{item},{price:.2f},"
            f"{rating},{'yes' if wanted != (random.randint(10) == 0) else 'no'}"
        )
    (here / "sales.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("page", "made", "name"),
    [
        ("own_images.md", photographs, "my_photos"),
        ("own_text.md", sentences, "my_figures"),
        ("own_tables.md", sales, "my_sales"),
    ],
)
def test_from_raw_files_to_a_target(page, made, name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    made(tmp_path)
    lines = blocks(page)
    assert [line.split()[1] for line in lines if "--eval " not in line] == [
        "data",
        "new",
        "run",
        "report",
    ]
    for line in lines:
        program, *typed = shlex.split(line)
        assert program == "ttt"
        if typed[0] == "run":
            done = subprocess.run(
                command(*typed), env=environment(), capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
        else:
            assert main(typed) == 0, capsys.readouterr()
    [summary] = tmp_path.glob(f"runs/{name}/*/seed_1/summary.json")
    told = json.loads(summary.read_text())
    assert told["status"] == "success"
    assert told["quality"] >= told["target"]
    assert told["compliance"]["passed"]
    assert name in capsys.readouterr().out  # the report
    config.register()
    composed = config.compose([f"benchmark={name}"], name)
    for row in settings(page):
        changed = config.changed(composed, row)
        assert {key: config.settings(changed)[key] for key in row} == row
        assert config.resolve(changed).problems(1) == [], row


def test_the_readme_leads_to_each_page():
    text = (PROJECT / "README.md").read_text()
    for page in ("own_images", "own_text", "own_tables"):
        assert f"(docs/{page}.md)" in text
    assert all(line in text for line in blocks("own_images.md")[:3])  # which are run above


@pytest.mark.parametrize("page", ["own_images.md", "own_text.md", "own_tables.md"])
def test_options_and_settings_that_a_page_names_are_there(page, capsys):
    text = (PROJECT / "docs" / page).read_text()
    name = {"own_images.md": "images", "own_text.md": "pairs", "own_tables.md": "table"}[page]
    assert main(["data", name, "--help"]) == 0
    known = capsys.readouterr().out
    rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    options = {word for row in rows for word in re.findall(r"--[a-z-]+", row)}
    assert options or name == "table"
    assert all(option in known for option in options)
