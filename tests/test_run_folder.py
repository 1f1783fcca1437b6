"""Files of a run have their names in one place."""

import ast
from collections.abc import Iterator
from pathlib import Path

import ttt
from ttt import run_folder
from ttt.run_folder import LaunchFolder, Logs, RunFolder

# Names that are words, too: events, settings, phases and threads are called so. As part of a path
# they count all the same.
WORDS = {"checkpoint", "kept", "logs", "owner", "power", "suspended", "wandb"}
# Files that are called as those of a run, and are none.
ELSEWHERE = {
    "data/manifest.py": {"manifest.json"},  # of a data set; a run has a copy
    "submission/verify_dataset.py": {"manifest.json"},  # the same; runs alone, without ttt
    "distributed/checkpoint.py": {"rank_"},  # what lies in the checkpoint is that module's own
}
PATHS = {"Path", "glob", "rglob", "joinpath", "with_name"}


def texts(tree: ast.AST) -> Iterator[ast.Constant]:
    """Every text that is not a docstring."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            body[0].value = ast.Constant(None)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node


def parts_of_paths(tree: ast.AST) -> Iterator[str]:
    """Every text that is put behind a `/`, or handed to what makes or finds paths."""
    for node in ast.walk(tree):
        inside: list[ast.expr] = []
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            inside = [node.right]
        if isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", None))
            inside = node.args if called in PATHS else []
        for one in inside:
            yield from (text.value for text in texts(one) if isinstance(text.value, str))


KNOWN = {str(text.value) for text in texts(ast.parse(Path(run_folder.__file__).read_text()))} - {
    ".txt",
    ".log",
}


def names(file: Path) -> set[str]:
    """What a module spells of the names of a run's files."""
    content = file.read_text()
    if not any(name in content for name in KNOWN):
        return set()
    tree = ast.parse(content)
    spelled = {word for text in texts(tree) for word in str(text.value).split("/")}
    in_paths = {word for text in parts_of_paths(tree) for word in text.split("/")}
    return spelled & KNOWN - WORDS | in_paths & KNOWN


def test_no_other_module_spells_a_file_of_a_run():
    package = Path(ttt.__file__).parent
    found = {
        name: spelled - ELSEWHERE.get(name, set())
        for file in package.rglob("*.py")
        if (name := str(file.relative_to(package))) != "run_folder.py" and (spelled := names(file))
    }
    assert {name: left for name, left in found.items() if left} == {}


def test_what_is_excused_is_there():
    package = Path(ttt.__file__).parent
    assert all(names(package / name) >= excused for name, excused in ELSEWHERE.items())


def test_a_spelling_is_found(tmp_path: Path):
    file = tmp_path / "module.py"
    lines = [
        '"""Writes summary.json."""',
        'kind, where = "power", f"{folder}/events.jsonl"',
        'path = folder / "logs" / f"rank_{rank}.log"',
        'log = folder.glob("result_*.txt")',
    ]
    file.write_text("\n".join(lines))
    assert names(file) == {"events.jsonl", "logs", "rank_", "result_*.txt"}


def test_names_are_those_that_users_rely_on(tmp_path: Path):
    folder = LaunchFolder(tmp_path).run(3)
    run, logs = RunFolder(folder), Logs(RunFolder(folder).logs)
    assert folder.name == "seed_3"
    files = [run.config, run.environment, run.events, run.result(1), run.summary, run.system]
    assert [file.name for file in files] == [
        "config.yaml",
        "environment.json",
        "events.jsonl",
        "result_1.txt",
        "summary.json",
        "system.json",
    ]
    inside = [logs.rank(1), logs.failure(1), logs.flight_record(1), run.power_log(2)]
    assert [str(file.relative_to(folder)) for file in inside] == [
        "logs/rank_1.log",
        "logs/rank_1.failure.json",
        "logs/rank_1.nccl_trace",
        "power/node_2.txt",
    ]


def test_a_configuration_alone_makes_no_run(tmp_path: Path):
    assert run_folder.is_run(tmp_path, ["summary.json"])
    assert run_folder.is_run(tmp_path, ["config.yaml", "events.jsonl"])
    assert run_folder.is_run(tmp_path / "seed_1", ["config.yaml"])
    assert not run_folder.is_run(tmp_path, ["config.yaml", "logs"])
    assert not run_folder.is_run(tmp_path / "seed_1", ["events.jsonl"])
