"""What the documents promise is there."""

import ast
import re

from conftest import PROJECT
from ttt.__main__ import COMMANDS


def test_links_lead_somewhere():
    text = (PROJECT / "README.md").read_text()
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    targets += re.findall(r"src=\"([^\"]+)\"", text)
    assert targets
    for target in targets:
        assert (PROJECT / target).exists(), target


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
