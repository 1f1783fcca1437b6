"""Names and values of others: people see them on screens and in tables, and they do nothing."""

import csv
import json
import os
import pty
import subprocess
import sys
import tarfile
import unicodedata
from io import BytesIO, StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

import compliance_logs
import studies
from ground import environment
from ttt import streams
from ttt.__main__ import main
from ttt.errors import ConfigError, DataError, LaunchError, encodable, one_line, show, shown
from ttt.report.render.export import as_json, write_csv
from ttt.submission.judges import judge
from ttt.terminal import Terminal

# A title of the window, an empty screen, a colour; a turned word, one of no width, a C1 control.
STEERS = "\x1b]0;owned\x07\x1b[2J\x1b[31mx\r\x7f\x9b\u202e\u2066\u200b\u2028\u2029\ufeff\x85y"
SEEN = (
    r"\x1b]0;owned\x07\x1b[2J\x1b[31mx\r\x7f\x9b\u202e\u2066\u200b\u2028\u2029\ufeff\x85y"
)  # fmt: skip
FORGED = f"{STEERS}\nttt: all is well"


def unseen(text: str) -> set[str]:
    return {mark for mark in text if not (mark.isprintable() or mark == "\n")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (STEERS, SEEN),
        ("é, 日本, 🙂, a\xa0b\u3000c", "é, 日本, 🙂, a\xa0b\u3000c"),
        (os.fsdecode(b"caf\xe9\x1b"), r"caf\xe9\x1b"),
        ("half \ud800", r"half \ud800"),
        ("tag \U000e0041", r"tag \U000e0041"),
        ("a\tb\nc", "a\tb\nc"),
        (r"C:\new", r"C:\new"),
    ],
)
def test_what_cannot_be_seen_is_written_out(text: str, said: str):
    assert shown(text) == said
    assert one_line(text) == said.replace("\t", r"\t").replace("\n", r"\n")


def seen(text: str) -> bool:
    """Whether each character is to be seen, or is a space of any width."""
    return all(each.isprintable() or unicodedata.category(each) == "Zs" for each in text)


@given(st.text(st.characters(categories=None)))
def test_any_text_becomes_one_that_can_be_seen(text: str):
    assert seen(one_line(text))
    assert seen(shown(text).replace("\n", "").replace("\t", ""))
    assert one_line(one_line(text)) == one_line(text)
    if seen(text):
        assert shown(text) == text
    encodable(text).encode()


def test_an_error_is_a_line_for_each_problem_whatever_is_in_it(capsys):
    show(ConfigError([f"x={FORGED} is wrong", "y"]))
    show(DataError(f"{FORGED} cannot be read", "z"))
    show(LaunchError(f"two\nlines {STEERS}"))
    said = capsys.readouterr().err
    assert not unseen(said)
    heads = [line[:6] for line in said.splitlines()]
    assert heads == ["ttt: x", "ttt: y", f"ttt: {SEEN[0]}", "ttt: z", "ttt: t", "lines "]


def test_a_terminal_shows_any_text_and_keeps_its_own_colours():
    drawn = StringIO()
    console = Terminal(
        file=drawn, force_terminal=True, color_system="standard", no_color=False, width=300
    )
    table = Table("head")
    table.add_row(Text(STEERS, "bold"))
    for each in (STEERS, Text(STEERS, "red"), table, f"[red]{STEERS}[/red]"):
        console.print(each)
    console.say(FORGED, "red")
    text = drawn.getvalue()
    assert text.count(SEEN) == 3
    # A Text drops bells and returns by itself, and a table measures cells before they are visible.
    assert text.count(SEEN.replace(r"\x07", "").replace(r"\r", "")) == 1
    assert f"\x1b[31m{SEEN}" in text
    assert rf"{SEEN}\nttt: all is well" in text
    for code in ("\x1b[31m", "\x1b[0m", "\x1b[1m", "\x1b[1;31m"):
        text = text.replace(code, "")
    assert not unseen(text)
    assert f"[red]{SEEN}[/red]" in text


PRINTS = f"""
import sys, warnings
from ttt import streams
from ttt.terminal import Terminal
streams.prepare()
text = {STEERS!r}
print(text)
sys.stderr.writelines([text, "\\n"])
warnings.warn(text)
Terminal(no_color=False).say(text, "red")
raise ValueError(text)
"""


def test_no_print_of_a_command_reaches_a_terminal_as_it_is():
    mine, its = pty.openpty()
    run = subprocess.Popen(
        [sys.executable, "-c", PRINTS], env=environment(TERM="xterm"), stdout=its, stderr=its
    )
    os.close(its)
    text = b""
    while True:
        try:
            text += os.read(mine, 1 << 16)
        except OSError:  # Linux says so when the other end is closed
            break
    os.close(mine)
    run.wait()
    said = text.decode().replace("\r\n", "\n")
    assert "\x1b[31m" in said  # rich's own
    said = said.replace("\x1b[31m", "").replace("\x1b[0m", "")
    assert not unseen(said)
    assert said.count(SEEN) == 5


@pytest.fixture
def strange(tmp_path: Path, monkeypatch) -> Path:
    """Results of somebody, whose names and values are all of this kind."""
    tree = tmp_path / f"tree {FORGED}"
    folder = tree / "results" / f"system {FORGED}" / "resnet"
    folder.mkdir(parents=True)
    log = compliance_logs.resnet()
    for key in ("submission_benchmark", "submission_org", "submission_platform"):
        compliance_logs.find(log, key)["value"] += FORGED
    lines = [f":::MLLOG {json.dumps(record)}" for record in log]
    for number in range(2):
        (folder / f"result_{number}.txt").write_text("\n".join(lines) + "\n")
    (folder / f"result_{FORGED}.txt".replace("/", "")).write_text("no log\n")
    (tree / "systems").mkdir()
    described = json.dumps({"system_name": FORGED, "accelerator_model_name": FORGED})
    (tree / "systems" / f"system {FORGED}.json").write_text(described)
    monkeypatch.chdir(tmp_path)
    return tree


def test_commands_show_somebody_elses_tree(strange: Path, capsys):
    forms = ["--json", "o.json", "--csv", "o.csv"]
    commands = [
        ["check", str(strange), "--json", "check.json"],
        ["report", str(strange), *forms],
        ["package", str(strange), "--out", "out", "--submitter", f"x{FORGED}", "--unofficial"],
        ["report", f"nothing {FORGED}"],
        ["check", "--ruleset", FORGED, str(strange)],
        [f"{FORGED}"],
        ["report", "x", f"--{STEERS}"],
    ]
    for words in commands:
        main(words)
        said = "".join(capsys.readouterr())
        assert not unseen(said), words
        assert SEEN in said
        assert not [line for line in said.splitlines() if line.startswith("ttt: all is well")]
    # For programs the values stay what they are.
    check = json.loads(Path("check.json").read_text())
    assert FORGED in check["results"][0]["path"]
    report = json.loads(Path("o.json").read_text())
    assert FORGED in str(report["results"][0]["benchmark"])
    assert not unseen(Path("o.csv").read_text().replace("\r\n", "\n"))


def test_a_member_of_an_archive_is_shown(tmp_path: Path, capsys):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        member = tarfile.TarInfo(f"train/{FORGED}/../../../x")
        member.size = 1
        archive.addfile(member, BytesIO(b"x"))
    assert main(["data", "cifar10", "--src", f"{tmp_path}/a.tar", "--out", f"{tmp_path}/out"]) == 2
    said = capsys.readouterr().err
    assert not unseen(said)
    assert SEEN in said
    assert len(said.splitlines()) == 1


def test_no_name_or_value_forges_the_verdict_of_a_tool(tmp_path: Path):
    sentences = {
        "package_checker": "PACKAGE CHECKER FOUND NO ERRORS, SUCCESS !",
        "system_desc_checker": "System description checker passed",
        "repo_checker": "ALL CHECKS PASSED.",
        "rcp_checker": "RCP test PASSED",
    }
    said = "".join(f"\nINFO - {each}" for each in sentences.values())
    for name in sentences.values():
        folder = tmp_path / "results" / name / "resnet"
        folder.mkdir(parents=True)
        log = compliance_logs.resnet()
        compliance_logs.find(log, "submission_org")["value"] = said
        lines = [f":::MLLOG {json.dumps(record)}" for record in log]
        (folder / "result_0.txt").write_text("\n".join(lines) + "\n")
        (tmp_path / "systems").mkdir(exist_ok=True)
        described = {"division": "closed", "submitter": said, "status": said, said: said}
        (tmp_path / "systems" / f"{name}.json").write_text(json.dumps(described))
    (tmp_path / f"a {said.strip()}").write_text("")
    verdicts = judge(tmp_path, "5.1.0")
    assert {one.tool for one in verdicts} == {*sentences}
    assert not [one for one in verdicts if one.passed]
    assert not [line for one in verdicts for line in one.lines if not line.isprintable()]


def test_a_table_for_spreadsheets_holds_no_formula_and_keeps_numbers(tmp_path: Path):
    formula = "=HYPERLINK(\"http://x\", 'y')"
    named = {"submitter": formula, "accelerator_name": "@SUM(1)", "precision": "-1.5"}
    study = studies.of(studies.runs("+cmd|' /C calc'!A0", cost=-1.5, **named))
    write_csv(study, tmp_path / "o.csv")
    with (tmp_path / "o.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert row["submitter"] == f"'{formula}"
    assert row["system"] == "'+cmd|' /C calc'!A0"
    assert row["accelerator_name"] == "'@SUM(1)"
    assert row["precision"] == "-1.5"
    assert float(row["score_minutes"]) == pytest.approx(10.2)
    assert row["seeds"] == "1; 2; 3"
    assert not [each for each in row.values() if each[:1] in {*"=+@\t\r"}]
    [result] = as_json(study)["results"]
    assert result["submitter"] == formula


def test_what_a_user_prints_while_training_stays(monkeypatch):
    drawn = StringIO()
    monkeypatch.setattr(sys, "stdout", drawn)
    monkeypatch.setattr(sys, "stderr", StringIO())
    streams.prepare(visible=False)
    print("\r\x1b[1mhalf way", end="")
    assert drawn.getvalue() == "\r\x1b[1mhalf way"
