"""Has MLCommons' own tools judge a submission, each by its usual command line.

The exit codes of package_checker, system_desc_checker and repo_checker are 0 in any case
(repo_checker's own functions even return False for a good tree), so a verdict is a sentence in the
output. What a tool passes over in silence, as package_checker does a benchmark its ruleset does not
have, is no verdict either. May not know where a tree comes from.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import ttt
from ttt import foreign
from ttt.compliance import at_least, official_ids
from ttt.compliance.rulesets import ENGINE
from ttt.errors import one_line
from ttt.foreign import ForeignError
from ttt.submission import confined

_ROOT = Path(ttt.__file__).parent.parent
# Each is a line of the tool's own: names and values of a tree may hold the same words, but never
# begin a line (`ttt.submission.confined`).
_SUCCESS = {
    tool: re.compile(rf"^INFO(?: - |:root:) *{words}$", re.MULTILINE)
    for tool, words in {
        "package_checker": "PACKAGE CHECKER FOUND NO ERRORS, SUCCESS !",
        "system_desc_checker": "System description checker passed for .*",
        "repo_checker": r"ALL CHECKS PASSED\.",
        "rcp_checker": ".*, RCP test PASSED",
    }.items()
}
_SKIPPED = re.compile(r"Skipping benchmark: (.+)")
_MESSAGE = re.compile(r"^(?:ERROR - |WARNING - )\s*(.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict of a tool on a part of a submission.

    Attributes:
        tool: Its name.
        about: The part, from the submitter's folder on.
        passed: The verdict; None if the tool cannot judge this.
        lines: Its errors and warnings, or the reason why it cannot judge.
        arguments: How to repeat it, {} being the part; none if it was not run.
    """

    tool: str
    about: str
    passed: bool | None
    lines: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()

    def command(self, root: Path) -> str:
        """How to repeat this without ttt.

        Args:
            root: Where the submitter's folder is now.
        """
        place = str(root if self.about == "." else root / self.about)
        typed = [place if word == "{}" else word for word in self.arguments]
        return shlex.join(["python", "-m", f"mlperf_logging.{self.tool}", *typed])


def judge(root: Path, ruleset: str) -> list[Judgement]:
    """The verdict of every tool on every part it applies to.

    package_checker comes first: it leaves `scaling.json` in results that are scaled, without which
    MLCommons' summary of a tree shows another score.

    Args:
        root: The submitter's folder, with results and systems.
        ruleset: A training ruleset.
    """
    root = root.resolve()
    whole = _ask(root, ruleset, "package_checker", ".")
    described = sorted((root / "systems").glob("*.json"))
    folders = [each for each in sorted((root / "results").glob("*/*")) if each.is_dir()]
    tasks: list[Callable[[], Judgement]] = [
        partial(_ask, root, ruleset, "system_desc_checker", _about(file, root))
        for file in described
    ]
    tasks += [partial(_rcp, root, ruleset, folder) for folder in folders]
    tasks.append(partial(_repository, root, ruleset))
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each waits for a process of its own
        return [whole, *pool.map(lambda task: task(), tasks)]


def _about(path: Path, root: Path) -> str:
    return str(path.relative_to(root))


def _repository(root: Path, ruleset: str) -> Judgement:
    if not at_least(ruleset, "2.0.0"):
        return _cannot("repo_checker", ".", f"it has no ruleset before 2.0.0, as {ruleset}")
    return _ask(root, ruleset, "repo_checker", ".")


def _rcp(root: Path, ruleset: str, folder: Path) -> Judgement:
    """Reference convergence points: only the closed division is held to them."""
    tool, about, benchmark = "rcp_checker", _about(folder, root), folder.name
    points = ENGINE.parent / "rcp_checker" / f"training_{ruleset}" / f"rcps_{benchmark}.json"
    if _division(root, folder.parent.name) != "closed":
        return _cannot(tool, about, "only results of the closed division are held to it")
    if benchmark not in official_ids():
        return _cannot(tool, about, f"{benchmark} is no benchmark of MLPerf")
    if not points.is_file():
        return _cannot(tool, about, f"ruleset {ruleset} has no reference points of {benchmark}")
    return _ask(root, ruleset, tool, about)


def _division(root: Path, system: str) -> str | None:
    file = root / "systems" / f"{system}.json"
    try:
        division = foreign.mapping(file, inside=root).get("division")
    except ForeignError:
        return None  # system_desc_checker and package_checker report it
    return division if isinstance(division, str) else None


def _cannot(tool: str, about: str, why: str) -> Judgement:
    return Judgement(tool=tool, about=about, passed=None, lines=(why,))


def _ask(root: Path, ruleset: str, tool: str, about: str) -> Judgement:
    """Run a tool and read its verdict."""
    version = ("--rcp_version", ruleset) if tool == "rcp_checker" else ("training", ruleset)
    arguments = ("{}", *version)
    target = str(root / about)
    output = _run(tool, *[target if word == "{}" else word for word in arguments])
    lines = list(_lines(output, root))
    passed: bool | None = _SUCCESS[tool].search(output) is not None
    if passed and (skipped := sorted({*_SKIPPED.findall(output)})):
        passed = None
        lines.insert(0, f"ruleset {ruleset} has no {', '.join(skipped)}: not judged")
    return Judgement(tool=tool, about=about, passed=passed, lines=tuple(lines), arguments=arguments)


def _run(tool: str, *arguments: str) -> str:
    """Everything a tool prints; it runs in an empty folder, because it leaves files there.

    The tree may be another person's, so the tool is confined; PYTHONPATH leads to this ttt.
    """
    with tempfile.TemporaryDirectory(prefix="ttt-") as nowhere:
        command = [sys.executable, "-m", confined.__name__, tool, *arguments]
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            [*command, "--log_output", "log.txt"],
            cwd=nowhere,
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    return done.stdout


def _lines(output: str, root: Path) -> Iterator[str]:
    """Errors and warnings, each once, without the place of the tree; of a crash the last line."""
    text = output.replace(f"{root}{os.sep}", "").replace(str(root), root.name)
    messages = [match[1] for line in text.splitlines() if (match := _MESSAGE.match(line))]
    if "Traceback (most recent call last)" in text:
        messages.append(f"crashed: {text.rstrip().splitlines()[-1]}")
    yield from dict.fromkeys(map(one_line, messages))
