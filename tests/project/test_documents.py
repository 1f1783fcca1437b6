"""What the documents promise is there."""

import ast
import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from ground import PROJECT
from ttt.__main__ import COMMANDS
from ttt.distributed.rendezvous import _EACH_ITS_OWN
from ttt.measurements import NAMES, Rank
from ttt.sinks.summary import Summary

DOCUMENTS = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *(PROJECT / "docs").glob("*.md")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_lead_somewhere(document):
    text = document.read_text()
    targets = re.findall(r"\]\((?!https?:)([^)]+)\)", text)
    targets += re.findall(r"src=\"([^\"]+)\"", text)
    for target in targets:
        path, _, heading = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in titles]
            assert heading in anchors, target


def test_the_readme_fits_on_three_screens_and_leads_to_every_document():
    text = (PROJECT / "README.md").read_text()
    assert text.count("\n") <= 150
    for document in (PROJECT / "docs").glob("*.md"):
        assert f"docs/{document.name}" in text, document.name


def test_the_readme_names_five_files_to_read_in_order():
    text = (PROJECT / "README.md").read_text()
    section = text[text.index("## Read it") :]
    numbers = re.findall(r"^(\d)\. \[`", section, re.MULTILINE)
    assert numbers == ["1", "2", "3", "4", "5"]


def test_every_command_has_its_module():
    for command in COMMANDS:
        assert (PROJECT / "ttt" / "cli" / f"{command}.py").is_file()


def test_a_function_fits_on_a_screen_and_a_file_in_the_head():
    for path in (PROJECT / "ttt").rglob("*.py"):
        text = path.read_text()
        assert text.count("\n") <= 350, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 60, f"{path}:{node.name}"


def test_every_torchrun_line_over_several_nodes_makes_one_world_of_them():
    """Without a backend every node is node 0, and torchrun waits for ten minutes."""
    torchrun = pytest.importorskip("torch.distributed.run")
    documents = [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")]
    lines = re.findall(r"^torchrun .*--nnodes.*$", "\n".join(map(Path.read_text, documents)), re.M)
    lines += re.findall(r"torchrun --nnodes .*\.\.\.", _EACH_ITS_OWN)
    assert len(lines) >= 2
    for line in lines:
        words = shlex.split(line.replace("NODES", "2").replace("PROCESSES", "8"), comments=True)
        said, _, program = torchrun.config_from_args(torchrun.parse_args(words[1:]))
        assert (said.rdzv_backend, said.rdzv_endpoint) == ("c10d", "HOST:29500"), line
        assert (said.min_nodes, said.nproc_per_node) == (2, 8), line
        assert program[:4] == ["-u", "-m", "ttt", "run"], line


def test_each_key_of_a_summary_is_explained():
    text = (PROJECT / "docs" / "run_folder.md").read_text()
    known = set(re.findall(r"`(\w+)`", text))
    keys = {*NAMES, *(each.name for each in fields(Rank)), *Summary().result()["compliance"]}
    assert (keys | set(Summary().result())) - known == set()
