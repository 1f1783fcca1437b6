"""Writes the reference of all settings: `python -m ttt.schema.reference > docs/configuration.md`.

Nothing is imported that needs torch. A setting means what the comment beside it says, or else the
docstring of its schema, of the class or function that it is for, or of its type.
"""

import ast
import importlib.util
import inspect
import io
import re
import tokenize
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ttt import shipped
from ttt.schema.closed import word
from ttt.schema.nodes import SCHEMAS
from ttt.schema.run import RunConfig

_HEAD = """# Configuration

All settings of a run. Type them as `NAME=VALUE` after `ttt run`, or write them into a YAML file
([a benchmark of your own](new_benchmark.md)). `ttt run benchmark=NAME --cfg job` shows what a
benchmark sets. `null` means that there is no value. Do not edit this page:
`python -m ttt.schema.reference > docs/configuration.md` writes it from `ttt/schema`.
"""
_KINDS = {int: "whole number", float: "number", bool: "true, false", str: "text", Any: "anything"}
_PARTS = ("data", "model", "task", "optim", "schedule", "launcher", "tracking")
_TABLE = "| setting | type | default | allowed | meaning |\n|---|---|---|---|---|"
_ENTRY = re.compile(r"    (\w+): (.*)")


def page() -> str:
    """The whole page, in Markdown."""
    lines = [_HEAD, "## A run\n", *_table("", RunConfig())]
    for field in fields(RunConfig):
        node = getattr(RunConfig(), field.name)
        if is_dataclass(node) and field.name not in _PARTS:
            lines += [f"\n## {field.name}\n", _summary(type(node)), "", *_table(field.name, node)]
    for group in _PARTS:
        lines.append(f"\n## {group}\n\nChosen by `{group}=NAME`.")
        for schema, names in _choices(group).items():
            node = SCHEMAS[schema]()
            chosen = ", ".join(f"`{group}={name}`" for name in names)
            lines += [f"\n### {group}: {schema}\n", f"{_summary(type(node))} {chosen}.", ""]
            table = _table(group, node)
            lines += table if len(table) > 1 else ["It has no settings."]
    return "\n".join(lines) + "\n"


def _choices(group: str) -> dict[str, list[str]]:
    """The files of a group of conf/ by the schema that they build on."""
    found: dict[str, list[str]] = {}
    for path in sorted((shipped.conf() / group).glob("*.yaml")):
        for schema in re.findall(r"/schema/(\w+)@_here_", path.read_text("utf-8")):
            found.setdefault(schema, []).append(path.stem)
    return {schema: found[schema] for schema in SCHEMAS if schema in found}


def _table(group: str, node: Any) -> list[str]:
    """A row for every setting of a node."""
    kinds, meanings = typing.get_type_hints(type(node)), _meanings(type(node))
    rows = [_TABLE]
    for field in fields(node):
        kind = kinds[field.name]
        if field.name == "_target_" or is_dataclass(kind) or (not group and field.name in _PARTS):
            continue
        name = f"{group}.{field.name}" if group else field.name
        allowed = _allowed(group, type(node), field.name) or "any"
        meaning = meanings.get(field.name, "")
        if isinstance(enum := _plain(kind), type) and issubclass(enum, Enum):
            allowed, meaning = ", ".join(enum.__members__), meaning or _summary(enum)
        cells = (f"`{name}`", _kind(kind), _default(field), allowed, _sentence(meaning))
        rows.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return rows


def _sentence(text: str) -> str:
    """A comment as a sentence."""
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else ""


def _plain(kind: Any) -> Any:
    """A type without None, or what a list is of."""
    if found := [one for one in typing.get_args(kind) if one is not type(None)]:
        return found[0]
    return kind


def _kind(kind: Any) -> str:
    """A type in words."""
    if typing.get_origin(kind) is list:
        [of] = typing.get_args(kind)
        return f"list of {_kind(of)}s" if of in (int, float, str) else "list of words"
    if typing.get_origin(kind) is dict:
        return "NAME: VALUE"
    if type(None) in typing.get_args(kind):
        return f"{_kind(_plain(kind))}, or null"
    return _KINDS.get(kind, "word")


def _default(field: Field[Any]) -> str:
    """A default as it is typed; of another setting's value that setting's name."""
    value = field.default
    if value is MISSING:
        assert field.default_factory is not MISSING
        value = field.default_factory()
    if isinstance(value, str) and (other := re.fullmatch(r"\$\{([\w.]+)\}", value)):
        return f"as `{other[1]}`"
    if isinstance(value, Enum):
        value = value.name
    return f"`{word(value)}`" if value not in ("", {}) else "none"


def _allowed(group: str, schema: type, name: str) -> str | None:
    """What the message about a wrong value says is allowed; None if there is no such message."""
    for wrong in (-1, [-1], "?"):
        node = schema()
        if isinstance(getattr(node, name), bool | Enum | Mapping):
            return None
        for field in fields(node):
            if str(getattr(node, field.name)).startswith("${"):
                setattr(node, field.name, 1)
        setattr(node, name, wrong)
        full = f"{group}.{name}" if group else name
        for sentence in _problems(group, node):
            found = re.match(rf"{re.escape(full)}=.*?allowed: (.+?)(?:;|$)", sentence)
            if found:
                return re.sub(r"(\w+\.\w+)=[\d.]+", r"`\1`", found[1])
    return None


def _problems(group: str, node: Any) -> Iterator[str]:
    """What is wrong with one part of a run of which nothing else is known."""
    run = RunConfig(**{group: node}) if group else node
    try:
        yield from run.problems(1)
        if group == "launcher" and hasattr(node, "problems"):
            yield from node.problems()
    except (TypeError, AttributeError):  # the value is of another type than the setting
        return


def _meanings(schema: type) -> dict[str, str]:
    """What each setting of a schema means."""
    found: dict[str, str] = {}
    target = getattr(schema, "_target_", "")
    see = re.search(r"see `(ttt[\w.]+\.[A-Z]\w+)`", schema.__doc__ or "")
    for other in (see[1] if see else "", target):
        found |= _documented(other) if other.startswith("ttt.") and "$" not in other else {}
    for one in reversed(schema.__mro__):
        if is_dataclass(one):
            found |= _entries(one.__doc__ or "") | _comments(one)
    return found


def _comments(schema: type) -> dict[str, str]:
    """The comment beside each field of a class."""
    source = inspect.getsource(schema)
    comments = {
        token.start[0]: [part.strip() for part in token.string.split("#")]
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    [tree] = ast.parse(source).body
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {}
    for field in tree.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            parts = comments.get(field.end_lineno or 0, [])
            texts = [one for one in parts if one and not one.startswith(("type:", "noqa"))]
            found |= {field.target.id: texts[0]} if texts else {}
    return found


def _documented(name: str) -> dict[str, str]:
    """What the docstring of a class or function says of each argument; it is not imported."""
    module, _, thing = name.rpartition(".")
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text("utf-8"))
    known = {one.name: one for one in tree.body if isinstance(one, ast.ClassDef | ast.FunctionDef)}

    def read(one: ast.ClassDef | ast.FunctionDef) -> dict[str, str]:
        above = [known[base.id] for base in getattr(one, "bases", []) if _known(base, known)]
        inherited = [read(base) for base in above]
        entries = _entries(ast.get_docstring(one) or "")
        return {name: text for each in [*inherited, entries] for name, text in each.items()}

    return read(known[thing])


def _known(base: ast.expr, known: Mapping[str, Any]) -> bool:
    return isinstance(base, ast.Name) and base.id in known


def _entries(docstring: str) -> dict[str, str]:
    """The entries below "Args:" or "Attributes:" of a docstring."""
    found: dict[str, str] = {}
    name = None
    for line in inspect.cleandoc(docstring).splitlines():
        if entry := _ENTRY.fullmatch(line):
            name = entry[1]
            found[name] = entry[2]
        elif name and line.startswith(" " * 8):
            found[name] += f" {line.strip()}"
        else:
            name = None
    return found


def _summary(thing: type) -> str:
    """The first sentence of a docstring."""
    return inspect.cleandoc(thing.__doc__ or "").partition("\n\n")[0].replace("\n", " ")


if __name__ == "__main__":
    print(page(), end="")
