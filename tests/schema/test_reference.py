"""The page of all settings is what the schema says now."""

import re
from dataclasses import fields, is_dataclass

import pytest

from ground import PROJECT
from ttt import config
from ttt.schema import reference
from ttt.schema.nodes import SCHEMAS

PAGE = (PROJECT / "docs" / "configuration.md").read_text()


def rows(text):
    """Setting: type, default, allowed, meaning; of settings that several parts have the last."""
    found = re.findall(r"^\| `([\w.]+)` \| (.*) \|$", text, re.MULTILINE)
    return {name: rest.split(" | ") for name, rest in found}


def test_the_page_is_up_to_date():
    assert reference.page() == PAGE, "python -m ttt.schema.reference > docs/configuration.md"


def test_every_setting_is_explained():
    told = rows(PAGE)
    assert [name for name, cells in told.items() if not cells[3].strip()] == []
    config.register()
    named = {
        field.name
        for schema in SCHEMAS.values()
        for field in fields(schema)
        if field.name != "_target_" and not is_dataclass(field.type)
    }
    parts = {"data", "model", "task", "optim", "schedule", "launcher", "tracking"}
    assert named - {name.rpartition(".")[2] for name in told} == parts


@pytest.mark.parametrize(
    ("setting", "cells"),
    [
        ("accumulate", ["whole number", "`1`", "above 0"]),
        ("precision", ["word", "`fp32`", "fp32, tf32, bf16, fp16"]),
        ("data.cache_mb", ["number, or null", "`null`", "above 0"]),
        ("model.dense", ["whole number, or null", "as `data.dense`", "any"]),
        ("optim.lr_decay", ["number", "`0`", "0 or more"]),
        ("launcher.lines", ["list of texts", "`[]`", "any"]),
        ("task.lowercase", ["true, false", "`false`", "any"]),
    ],
)
def test_a_row_says_type_default_and_what_is_allowed(setting, cells):
    assert rows(PAGE)[setting][:3] == cells
