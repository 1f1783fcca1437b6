"""How a result was made, for benchmarks/<benchmark>/implementations/<system>: what others repeat.

Written from what every run folder has kept: the frozen configuration, the command, the commit and
the versions. What was not kept is not guessed. A reviewer wants the source of all that decides a
result, a README with the commands, and the scripts that set up, prepare and run: "Source code
requirements" in submission_rules.adoc (mlcommons/policies).
"""

import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ttt import redact
from ttt.errors import ConfigError, one_line
from ttt.report.read.systems import whole
from ttt.run_folder import CONFIG, RunFolder
from ttt.submission import dataset, pasted, scripts, source, typed, verify_dataset
from ttt.submission.entry import Entry
from ttt.submission.plan import Result

README = "README.md"


def write(result: Result, folder: Path, config_dir: Path | None = None) -> None:
    """Write the implementation of one result into a new folder.

    Args:
        result: Runs of ttt; of other runs only their origin is known.
        folder: benchmarks/<benchmark>/implementations/<system>.
        config_dir: A copy of what was given to the runs as --config-dir; None for none.

    Raises:
        ConfigError: What was typed cannot be part of a script.
    """
    folder.mkdir(parents=True)
    if not all(entry.ours for entry in result.entries):
        (folder / README).write_text(_of_others(result))
        return
    first = result.entries[0]
    origin = source.write(first.environment, folder / scripts.SOURCE)
    configs = [entry.config for entry in result.entries]
    for entry in result.entries:
        if wrong := [*pasted.in_configuration(entry.config)]:
            raise ConfigError([f"{RunFolder(entry.path).config}: {each}" for each in wrong])
    for name, content in _files(result, configs, folder / scripts.SOURCE).items():
        (folder / name).write_text(content)
    shutil.copyfile(verify_dataset.__file__, folder / scripts.VERIFY)
    for number, entry in enumerate(result.entries):
        if entry.frozen is not None:
            text = typed.relative(entry.frozen, entry.config)
            (folder / f"config_{number}.yaml").write_text(text)
    own = _copy_own(configs[0], config_dir, folder)
    (folder / README).write_text(_readme(result, origin, own))
    rules = RunFolder(first.path).rules
    if rules.is_file():
        shutil.copyfile(rules, folder / rules.name)


def _files(result: Result, configs: Sequence[Mapping[str, Any]], tree: Path) -> dict[str, str]:
    first, config = result.entries[0], configs[0]
    python, packages = (first.environment.get(name) for name in ("python", "packages"))
    found = {
        scripts.SETUP: scripts.setup(configs, python, packages or {}),
        scripts.INIT: scripts.init_datasets(config, dataset.preparation(config)),
        scripts.RUN: scripts.run_and_time(configs, _nodes(first)),
        scripts.EXPECTED: json.dumps(dataset.expected(config, first.path), indent=2) + "\n",
        scripts.CONSTRAINTS: _constraints(result, tree / scripts.CONSTRAINTS),
    }
    if first.frozen is not None:
        found[CONFIG] = typed.relative(first.frozen, config)
    return found


def _nodes(entry: Entry) -> int:
    return whole(entry.description.get("number_of_nodes")) or 1


def _constraints(result: Result, tested: Path) -> str:
    """The versions of the runs; if ttt was tested with them, those of all other packages, too.

    What one version needs can contradict what was tested with another: pip would install nothing.
    """
    packages = _agreed(entry.environment.get("packages") for entry in result.entries)
    # Of "2.13.0+cpu" no index but its maker's own knows what follows the plus.
    used = {
        name.lower(): f"{name}=={str(version).partition('+')[0]}"
        for name, version in packages.items()
        if version and name != "ttt"
    }
    lines = tested.read_text().splitlines() if tested.is_file() else []
    known = {line.partition("==")[0].lower(): line for line in lines if "==" in line}
    same = used.keys() <= known.keys() and all(known[name] == used[name] for name in used)
    versions = known if same else used
    return "".join(f"{line}\n" for line in sorted(versions.values(), key=str.lower))


def _copy_own(config: Mapping[str, Any], config_dir: Path | None, folder: Path) -> str:
    """A user's own configuration beside the scripts; a sentence about it, "" if there is none.

    The command of another person's run may name any folder, so only one is copied that the packager
    has named.
    """
    if typed.config_dir(typed.command(config)) is None:
        return ""
    here = f"`{typed.CONFIG_DIR}/` is the configuration that was given by `--config-dir`"
    if config_dir is None:
        return f"{here}: it is not here, since `ttt package` was not given it by `--config-dir`."
    shutil.copytree(
        config_dir,
        folder / typed.CONFIG_DIR,
        ignore=_not_configuration,
        copy_function=_copy_public,
    )
    return f"{here}; classes that it names must be importable in the folder you type in."


def _copy_public(source: str, copy: str) -> None:
    """Copy a file of a user's own configuration without its secrets."""
    text = Path(source).read_text("utf-8")
    plain = redact.code(text) if source.endswith(".py") else typed.public(text)
    Path(copy).write_text(plain, encoding="utf-8")


def _not_configuration(folder: str, names: list[str]) -> list[str]:
    """The names that are not published: files that are no configuration, and all links."""
    kept = (".yaml", ".yml", ".py")
    return [
        name
        for name in names
        if name[0] == "."
        or name == "__pycache__"
        or Path(folder, name).is_symlink()
        or not (name.endswith(kept) or Path(folder, name).is_dir())
    ]


def _agreed(values: Iterable[dict[str, Any] | None]) -> dict[str, Any]:
    """What is the same in all runs, nothing if it is not."""
    found = [value or {} for value in values]
    return found[0] if all(value == found[0] for value in found) else {}


def _readme(result: Result, origin: str, own: str) -> str:
    """What to do to get these results again, and what each came from."""
    environment = result.entries[0].environment
    table = [
        f"| result_{number}.txt | {_shown(entry.seed)} | {_shown(entry.processes)} |"
        f" config_{number}.yaml |"
        for number, entry in enumerate(result.entries)
    ]
    commit = (environment.get("git") or {}).get("commit")
    lines = [
        f"# {result.benchmark} on {result.system}",
        "",
        f"Trained and timed by ttt {_shown(environment.get('ttt'))}, commit {_shown(commit)}, with"
        f" Python {_shown(environment.get('python'))}.",
        "",
        origin,
        *([own] if own else []),
        "",
        "## To reproduce",
        "",
        f"Read `{scripts.RUN}` before you run it: settings can name classes, which it then runs.",
        "",
        "In any folder, HERE being this one:",
        "",
        "```sh",
        f"sh HERE/{scripts.SETUP}            # once: installs source/ into .venv",
        f"sh HERE/{scripts.INIT}    # once: prepares and verifies the data set; --help lists more",
        f"sh HERE/{scripts.RUN}     # trains, and leaves result_<i>.txt under runs/",
        "```",
        "",
        "`DATADIR`, `RUNS` and `VENV` name other folders than those. In a container instead:"
        " `docker build -t ttt HERE/source`.",
        "",
        f"- `{scripts.RUN}`: the command that was typed, with all its settings",
        f"- `{CONFIG}`, which the logs name: the whole configuration of `result_0.txt`, as the run"
        " froze it before it began; `config_<i>.yaml` those of all. Paths of the machine are made"
        " relative.",
        f"- `{scripts.CONSTRAINTS}`: the versions of the runs; if ttt was tested with them, those"
        " of all other packages, too",
        f"- `{scripts.EXPECTED}`: what `{scripts.VERIFY}` compares a data set with",
        "",
        "| result | seed | processes | configuration |",
        "|---|---|---|---|",
        *table,
        "",
    ]
    return "\n".join(lines)


def _of_others(result: Result) -> str:
    return (
        f"# {result.benchmark} on {result.system}\n\nThese results were packaged from a tree of"
        " results without its folder of implementations; see the submitter's own repository.\n"
    )


def _shown(value: object) -> str:
    """A value in Markdown, with the characters escaped that Markdown would interpret."""
    text = "unknown" if value is None else one_line(str(value))
    return re.sub(r"[\\`*_\[\]<>|#!]", r"\\\g<0>", text)
