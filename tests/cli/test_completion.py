"""The Tab key, in real shells where they are; and what it is told, without one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ttt.__main__ as ttt_main
from ground import PROJECT, environment
from shells import Shell
from ttt.cli.candidates import Answer, Kind, candidates
from ttt.cli.completion import answered, paths, split

BREAKS = " \t\n\"'><=;|&(:"


def found(*words: str) -> list[str]:
    answer = candidates(words)
    assert answer.kind is Kind.words
    return list(answer.words)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the command, files of one's own and a name that shells must quote."""
    place = tmp_path_factory.mktemp("place")
    (place / "ttt").write_text(f'#!/bin/sh\nexec {sys.executable} -m ttt "$@"\n')
    (place / "ttt").chmod(0o755)
    for folder in ("own/benchmark", "own/data", "sp ace/inner"):
        (place / folder).mkdir(parents=True)
    (place / "own/benchmark/zigzag.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /data: crumbs\n"
    )
    (place / "own/data/crumbs.yaml").write_text("root: x\nsweetness: 3\n")
    return place


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_tab_in_a_real_shell(name: str, place: Path):
    if shutil.which(name) is None:
        reason = f"there is no {name} here"
        (pytest.fail if os.environ.get("TTT_REQUIRE_SHELLS") else pytest.skip)(reason)
    variables = environment(PATH=f"{place}{os.pathsep}{os.environ['PATH']}")
    lines = {
        "ttt rep": "ttt report ",
        "ttt run benchmark=cif": "ttt run benchmark=cifar10 ",
        "ttt run benchmark=cifar10 data.gl": "ttt run benchmark=cifar10 data.global_batch=",
        "X=1 ttt run launcher=sl": "X=1 ttt run launcher=slurm ",
        "ttt run 'benchmark=ci": "ttt run 'benchmark=cifar10' ",
        "ttt run --config-dir ~/own benchmark=zi": "ttt run --config-dir ~/own benchmark=zigzag ",
        "ttt report --html=sp": r"ttt report --html=sp\ ace/",
        "ttt doctor data.root=~/sp": r"ttt doctor data.root=~/sp\ ace/",
        "ttt run --config-dir nowhere data.gl": "ttt run --config-dir nowhere data.global_batch=",
        "ttt nonsense x": "ttt nonsense x",
    }
    with Shell(name, place, variables) as shell:
        assert {line: shell.tab(line) for line in lines} == lines


def test_bash_needs_no_equality_sign_among_its_breaks(place: Path):
    if shutil.which("bash") is None:
        pytest.skip("there is no bash here")
    variables = environment(PATH=f"{place}{os.pathsep}{os.environ['PATH']}")
    with Shell("bash", place, variables) as shell:
        shell.type("COMP_WORDBREAKS=${COMP_WORDBREAKS//[=:]}\n")
        assert shell.tab("ttt run benchmark=cif") == "ttt run benchmark=cifar10 "
        assert shell.tab("ttt run data.root=ow") == "ttt run data.root=own"


@pytest.fixture(scope="module")
def trap(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of names that make a file `hit` where a shell takes them for code."""
    trap = tmp_path_factory.mktemp("trap")
    shutil.copy(place / "ttt", trap)
    for folder in ("own/benchmark", "own/data"):
        (trap / folder).mkdir(parents=True)
    for name in ("zz$(touch hit)", "yy;touch hit", "xx\ntouch hit", "plain-1.5"):
        (trap / f"own/benchmark/{name}.yaml").write_text("# @package _global_\n")
    (trap / "own/data/keys.yaml").write_text('root: x\n"q;touch hit;": 1\n"w\\nv": 1\n')
    for name in ("f$(touch hit)", "g;touch hit", "h'$(touch hit)'", "k`touch hit`", "n\ntouch hit"):
        (trap / name).mkdir()
        (trap / name / "inner").mkdir()
    os.mkdir(os.fsencode(trap) + b"/u\xff")
    return trap


@pytest.mark.parametrize("breaks", ["$COMP_WORDBREAKS", "${COMP_WORDBREAKS//[=:]}"])
def test_no_name_runs_as_code_at_enter_in_bash(breaks: str, trap: Path):
    if shutil.which("bash") is None:
        pytest.skip("there is no bash here")
    run = "ttt run --config-dir own "
    starts = [
        *(f"{run}benchmark={start}" for start in ("zz", "yy", "'zz$(touch hit)',pl")),
        f"{run}data=keys data.q",
        *(f"ttt run data.root={start}" for start in "fghkn"),
        *(f'ttt run "data.root={start}' for start in "fkn"),
        "ttt run 'data.root=h",
        'ttt run data.root="f',
        'ttt report "f',
        r"ttt run data.root=f\$\(touch\ hit\)/i",
        r'ttt run "data.root=f\$(touch hit)/i',
    ]
    variables = environment(PATH=f"{trap}{os.pathsep}{os.environ['PATH']}")
    with Shell("bash", trap, variables) as shell:
        shell.type(f'COMP_WORDBREAKS="{breaks}"\n')
        lines = [shell.tab(line) for line in starts]
        assert shell.tab(f"{run}benchmark=pl") == f"{run}benchmark=plain-1.5 "
    for line in lines:
        for end in ("", "'", '"'):  # a person closes the quote that is open
            subprocess.run(["bash", "-c", f"ttt() {{ :; }}\n{line}{end}"], cwd=trap, check=False)
            assert not (trap / "hit").exists(), line


def test_only_names_of_one_line_are_offered(trap: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(trap)
    own = ["ttt", "run", "--config-dir", "own"]
    assert not [each for each in answered("zsh", [*own, "benchmark="]) if "hit" in each]
    told = answered("fish", [*own, "data=keys", "data."])
    assert "data.q;touch hit;=\t1" in told  # these shells quote what they put on the line
    assert not [each for each in told if each.startswith(("data.w", "v"))]
    assert answered("bash", ["ttt report n", BREAKS]) == ["paths"]
    assert answered("bash", ["ttt report u", BREAKS]) == ["paths"]
    assert answered("bash", ["ttt report f", BREAKS]) == ["paths", "f$(touch hit)"]
    assert answered("bash", ["ttt run 'data.root=f", BREAKS]) == ["open", "data.root=f$(touch hit)"]
    assert answered("bash", ['ttt run "data.root=h', BREAKS]) == ["open"]


def test_commands_and_what_they_take():
    assert found("") == list(ttt_main.COMMANDS)
    assert found("pa") == ["package"]
    assert found("nonsense", "") == []
    assert found("report", "--fig") == ["--figures"]
    assert found("package", "--division", "") == ["closed", "open"]
    assert found("package", "--division=o") == ["--division=open"]
    assert found("report", "x", "--price", "") == []
    assert {"digits", "images"} <= set(found("data", ""))
    assert "--src" in found("data", "cifar10", "--")
    assert found("completion", "z") == ["zsh"]
    assert found("run", "--shell") == []
    assert found("run", "--info", "defaults-") == ["defaults-tree"]


@pytest.mark.parametrize(
    ("words", "kind", "lead"),
    [
        (["check", ""], Kind.files, ""),
        (["report", "--figures", "x"], Kind.folders, ""),
        (["report", "--json=x"], Kind.files, "--json="),
        (["data", "cifar10", "--src", "a", "b"], Kind.files, ""),
        (["run", "--config-dir", ""], Kind.folders, ""),
        (["doctor", "--json", ""], Kind.files, ""),
        (["run", "data.root=a"], Kind.files, "data.root="),
    ],
)
def test_paths_are_the_shells_business(words: list[str], kind: Kind, lead: str):
    assert candidates(words) == Answer(kind, lead=lead)


def test_settings_are_those_of_the_choices_on_the_line(place: Path):
    assert found("run", "data.gl") == ["data.global_batch="]
    assert found("run", "benchmark=multi30k", "data.vo") == ["data.vocabulary="]
    assert found("run", "data.vo") == []
    assert found("run", "launcher=slurm", "launcher.part") == ["launcher.partition="]
    assert found("doctor", "benchmark=digts", "data.gl") == ["data.global_batch="]
    assert found("run", "sys") == ["system=", "system."]
    assert found("run", "system.desc") == ["system.description."]
    everything = found("run", "")
    assert {"benchmark=", "data=", "data.", "seed=", "target."} <= set(everything)
    assert not {"closed=", "processes=", "command="} & set(everything)
    assert not any("._" in each for each in found("run", "data."))
    own = ["run", "--config-dir", str(place / "own")]
    assert found(*own, "benchmark=zigzag", "data.sw") == ["data.sweetness="]
    assert found(*own, "data=cru") == ["data=crumbs"]
    assert candidates([*own, "benchmark=zigzag", "data.sw"]).words["data.sweetness="] == "3"


def test_values_are_those_that_a_setting_may_have():
    assert found("run", "precision=") == [
        f"precision={each}" for each in ("fp32", "tf32", "bf16", "fp16")
    ]
    assert found("run", "compile=t") == ["compile=true"]
    assert found("run", "seed=") == []
    assert found("run", "nonsense.x=") == []
    assert found("run", "-m", "benchmark=digits,cl") == [
        "benchmark=digits,clicks",
        "benchmark=digits,clothing10",
    ]


@pytest.mark.parametrize(
    ("line", "words", "kept", "quote"),
    [
        ("ttt run ", ["ttt", "run", ""], 0, ""),
        ("ttt run benchmark=ci", ["ttt", "run", "benchmark=ci"], 10, ""),
        ("ttt run 'a b=c", ["ttt", "run", "a b=c"], 0, "'"),
        ('ttt run x="a b', ["ttt", "run", "x=a b"], 2, '"'),
        (r"ttt a\ b\=c:d", ["ttt", "a b=c:d"], 6, ""),
        ('ttt "" "', ["ttt", "", ""], 0, '"'),
        (r'ttt "a\"b', ["ttt", 'a"b'], 0, '"'),
    ],
)
def test_a_line_is_read_as_bash_does(line: str, words: list[str], kept: int, quote: str):
    assert split(line, BREAKS) == (words, kept, quote)


def test_paths_are_listed_as_typed(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(place)
    monkeypatch.setenv("HOME", str(place))
    (place / ".hidden").touch()
    assert list(paths("", only_folders=False)) == ["own", "sp ace", "ttt"]
    assert list(paths("~/o", only_folders=True)) == ["~/own"]
    assert list(paths("sp ace/", only_folders=True)) == ["sp ace/inner"]
    assert list(paths(".h", only_folders=False)) == [".hidden"]


def test_a_person_does_not_wait_for_what_is_not_needed():
    code = (
        "import sys; from ttt.cli.candidates import candidates; c = candidates;"
        "c(['run', 'benchmark=']); assert 'hydra' not in sys.modules;"
        "c(['run', 'data.']); c(['doctor', '--']); c(['data', '']);"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=environment(), cwd=PROJECT)


def test_half_a_line_is_answered_with_silence(capfd: pytest.CaptureFixture[str]):
    assert ttt_main.main(["completion", "bash", "--"]) == 0
    assert ttt_main.main(["completion", "zsh", "--", "ttt", "run", "--config-dir", "\0", "x="]) == 0
    assert capfd.readouterr().err == ""
