"""Scripts and commands made of what people chose: words stay words, and nothing of them runs."""

import copy
import itertools
import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm_testbed import Cluster
from submissions import commit, launch
from ttt import config
from ttt.cli import package
from ttt.cli.run import freeze, problems
from ttt.errors import LaunchError, one_line
from ttt.launch import sbatch, slurm
from ttt.launch.job import Job
from ttt.schema.launcher import SlurmConfig
from ttt.submission import pasted, scripts, typed

DRY = ("launcher=slurm", "launcher.dry_run=true")
HOSTILE = "-x $(touch PWNED) `touch PWNED` \"; touch PWNED; ' && x # %j %% \\ \\' ${HOME} *"


def bash(text: str, folder: Path, *words: str) -> list[str]:
    """What a script prints, each word ended by a NUL."""
    done = subprocess.run(
        ["bash", "-c", text, *words], cwd=folder, capture_output=True, check=True, timeout=60
    )
    assert done.stderr == b""
    return done.stdout.decode().split("\0")[:-1]


def read_by_sbatch(line: str) -> list[str]:
    r"""The words of a #SBATCH line: a \ makes the next character plain, between quotes, too.

    `_get_next_opt` of SLURM's src/sbatch/opt.c; a test below asks a real one.
    """
    words, word, quote, escaped = [], "", "", False
    for each in line.removeprefix("#SBATCH "):
        if escaped:
            word, escaped = word + each, False
        elif each == "\\":
            escaped = True
        elif each == quote:
            quote = ""
        elif not quote and each in "'\"":
            quote = each
        elif not quote and each in " #":
            words, word = [*words, word], ""
            if each == "#":
                return [one for one in words if one]
        else:
            word += each
    assert not quote
    return [one for one in [*words, word] if one]


def parts(script: str) -> dict[str, list[str]]:
    found = re.findall(r"^# ttt:(\w+)\n(.*?)^# ttt:end\n", script, re.DOTALL | re.MULTILINE)
    return {name: text.splitlines() for name, text in found}


@pytest.fixture(scope="module")
def slurm_run() -> Any:
    config.register()
    return config.resolve(config.compose([*DRY, "data.prepare=null", "data.root=/nodes"]))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("empty")


def submitted(run: Any, folder: Path) -> str:
    """The script of a launch, which bash can read and which has left no file."""
    job = Job((Path(run.run_root).absolute() / "digits/launch/seed_1",), run.benchmark.id)
    asked = SlurmConfig(**{k: v for k, v in vars(run.launcher).items() if k != "_target_"})
    script = sbatch.render(sbatch.template(), asked, job, slurm.interpreter(asked))
    found = parts(script)
    options = [word for line in found["options"] for word in read_by_sbatch(line)]
    assert options == sbatch.options(asked, job)
    arrays = ("runs", "container", "more")
    shows = [f'printf "%s\\0" "${{#{name}[@]}}" "${{{name}[@]}}"' for name in arrays]
    told = bash("\n".join([*found["values"], *shows, 'printf "%s\\0" "$python"']), folder)
    launch_folder = job.runs[0].parent
    mounts = ",".join([f"{launch_folder}:{launch_folder}", *asked.container_mounts])
    image = f"--container-image={asked.container_image}"
    container = [image, f"--container-mounts={mounts}"] if asked.container_image is not None else []
    assert told == [
        *("1", str(job.runs[0])),
        *(str(len(container)), *container),
        *(str(len(asked.srun)), *asked.srun),
        slurm.interpreter(asked),
    ]
    subprocess.run(["bash", "-n"], input=script.encode(), check=True, capture_output=True)
    assert list(folder.iterdir()) == []
    return script


SIGNS = ["\n", "'", '"', "`", "$(touch PWNED)", "\\", "%j", " ", "#", "-", "x", ";", "# ttt:end"]
TEXT = st.text(min_size=1, max_size=40) | st.lists(st.sampled_from(SIGNS), min_size=1).map("".join)
FIELDS = ("partition", "account", "qos", "constraint", "python", "container_image")
LISTS = ("srun", "container_mounts")


@settings(max_examples=60, deadline=None)
@given(
    texts=st.dictionaries(st.sampled_from(FIELDS), TEXT, min_size=1),
    lists=st.dictionaries(st.sampled_from(LISTS), st.lists(TEXT, max_size=3)),
    root=TEXT.filter(lambda text: "\0" not in text),
    benchmark=TEXT,
)
def test_any_text_is_refused_or_stays_one_word(
    slurm_run: Any, empty: Path, texts: dict, lists: dict, root: str, benchmark: str
):
    run = copy.deepcopy(slurm_run)
    if "container_image" not in texts:
        lists.pop("container_mounts", None)
    for name, value in (texts | lists).items():
        setattr(run.launcher, name, value)
    run.run_root, run.benchmark.id = f"/runs/{root}", benchmark
    given = [*texts.values(), *itertools.chain(*lists.values()), root, benchmark]
    known = problems(slurm_run)
    found = [each for each in problems(run) if each not in known]
    plain = all(one_line(text) == text for text in given)
    if not plain:
        assert any("is not one line of characters that can be seen" in each for each in found)
    elif "\\" in root:
        assert any("SLURM reads as a sign of its own" in each for each in found)
    else:
        assert not any("one line" in each for each in found)
        submitted(run, empty)


def test_a_hostile_script_holds_words_and_no_commands(slurm_run: Any, empty: Path):
    run = copy.deepcopy(slurm_run)
    run.run_root, run.benchmark.id = f"/runs/{HOSTILE}".replace("\\", ""), HOSTILE
    for name in FIELDS:
        setattr(run.launcher, name, HOSTILE)
    run.launcher.srun = run.launcher.container_mounts = [HOSTILE, HOSTILE]
    run.launcher.lines = ["--comment='$(touch PWNED) `touch PWNED`'"]
    submitted(run, empty)


@pytest.mark.parametrize(
    "typed",
    [
        'launcher.account="x\ntouch PWNED"',
        'launcher.partition="x\r"',
        "launcher.qos='a\x1b[2Jb'",
        "launcher.setup=['module load cuda','a\nb']",
        "launcher.lines=['--comment=x\ny']",
        "launcher.srun=['a\u2028b']",
        "launcher.container_image='a\nb'",
        "run_root='a\ntouch PWNED\n#'",
        "run_root='a\\\\b'",
        "benchmark.id='x\ntouch PWNED'",
        "launcher.lines=['--comment=\"x']",
    ],
)
def test_what_ends_a_line_is_refused_before_anything_is_written(typed: str, slurm_run: Any):
    run = config.resolve(config.compose([*DRY, "data.prepare=null", "data.root=/nodes", typed]))
    found = [each for each in problems(run) if each not in problems(slurm_run)]
    assert found
    assert all("allowed: " in each for each in found)
    assert any(typed.partition("=")[0] in each for each in found)


def test_a_folder_with_an_end_of_line_above_is_none_for_a_script(
    slurm_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    above = tmp_path / "a\ntouch PWNED\n"
    above.mkdir()
    monkeypatch.chdir(above)
    [found] = problems(slurm_run)
    assert "/a\ntouch" in found  # the sentence has the beginning of a long value
    assert "is not one line of characters" in found


def test_a_typed_word_ends_no_comment_of_the_frozen_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    config.register()
    word = "submission.org='x\nlauncher: {_target_: os.system}\n#'"
    [folder] = freeze(config.compose([*DRY, "seed=1", word]), 1, 1, ["ttt", "run", word]).runs
    file = folder / "config.yaml"
    head, *rest = file.read_text().splitlines()
    assert head.startswith("# ttt run ")
    assert r"x\nlauncher: {_target_: os.system}\n#" in head
    assert "os.system" not in yaml.safe_load("\n".join(rest))["launcher"]["_target_"]


def test_more_words_than_a_command_may_have_are_a_sentence(tmp_path: Path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/sh\necho 1\n")
    (tmp_path / "bin" / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.defpath}")
    folder = tmp_path / "launch"
    folder.mkdir()
    with pytest.raises(LaunchError, match="sbatch cannot be started: Argument list too long"):
        slurm.submit(folder, [f"--comment={'x' * (1 << 20)}"])
    assert not folder.exists()


def test_sbatch_reads_what_was_given(cluster: Cluster, tmp_path: Path):
    job = Job((Path('/tmp/it\'s "here" $(id) `id` #1 100%/launch/seed_1'),), HOSTILE)
    asked = SlurmConfig(account="it's \\ 'x' \"y\" # $(id)", lines=["--comment='a  b' --hold"])
    script = tmp_path / "job.sbatch"
    script.write_text(sbatch.render(sbatch.template(), asked, job, "python3"))
    done = cluster.run("sbatch", "--parsable", str(script))
    number = done.stdout.strip()
    assert number, done.stderr
    told = cluster.run("scontrol", "--oneliner", "show", "job", number).stdout
    cluster.run("scancel", number)
    for said in (
        f"JobName=ttt-{HOSTILE} UserId=",
        f"Account={asked.account} QOS=",
        f'StdOut=/tmp/it\'s "here" $(id) `id` #1 100%%/launch/slurm-{number}.out',
    ):
        assert said in told
    assert not Path("PWNED").exists()


def changed(folder: Path, **changes: Any) -> Path:
    for file in folder.glob("seed_*/environment.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return folder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"packages": {"x\n--index-url=http://evil": "1"}}, "is not the name of a package"),
        ({"packages": {"-r /etc/passwd": "1"}}, "is not the name of a package"),
        ({"packages": {"x @ http://evil/x.whl": "1"}}, "is not the name of a package"),
        ({"packages": {"torch": "1\n--extra-index-url http://evil"}}, "has the version"),
        ({"packages": {"torch": "@ http://evil/x.whl"}}, "has the version"),
        ({"packages": {"torch": 2}}, "has the version 2"),
        ({"python": "3.11\nrm -rf ~"}, "Python has the version"),
        ({"ttt": "[x](javascript:y)"}, "ttt has the version"),
        ({"git": {"commit": "--upload-pack=x"}}, "git has the commit"),
        ({"git": {"commit": "HEAD"}}, "git has the commit"),
    ],
)
def test_names_and_versions_of_others_are_of_their_form_or_not_packaged(
    changes: dict, said: str, tmp_path: Path, capsys
):
    runs = changed(launch(tmp_path / "runs", 1), **changes)
    out = tmp_path / "out"
    typed = [str(runs), "--out", str(out), "--submitter", "somebody", "--unofficial"]
    assert package.main(typed) == 2
    assert said in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == [tmp_path / "runs"]


def test_true_names_and_versions_are_of_their_form():
    packages = {"nvidia-dali-cuda120": "1.50.0", "certifi": "2024.02.02", "torch": "2.13.0+cu129"}
    packages |= {"Jinja2": "3.1.6", "a.b_c": "1!2.0rc1.post3.dev4", "ttt": None}
    git = {"commit": commit(), "dirty": False}
    said = {"packages": packages, "python": "3.13.0rc2+", "ttt": "0.1.0.dev3+g1a2b", "git": git}
    assert list(pasted.in_environment(said)) == []
    assert list(pasted.in_environment({"git": None, "packages": None})) == []


def test_a_typed_word_with_an_end_of_line_is_in_no_script(tmp_path: Path, capsys):
    runs = launch(tmp_path / "runs", 1)
    [file] = runs.glob("seed_*/config.yaml")
    frozen = yaml.safe_load(file.read_text())
    frozen["command"] = ["ttt", "run", "a=x\ntouch PWNED"]
    file.write_text(yaml.safe_dump(frozen))
    out = tmp_path / "out"
    typed = [str(runs), "--out", str(out), "--submitter", "somebody", "--unofficial"]
    assert package.main(typed) == 2
    assert r"command=a=x\ntouch PWNED is not one line" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == [tmp_path / "runs"]


WORDS = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=30)


@settings(max_examples=40, deadline=None)
@given(root=WORDS, words=st.lists(WORDS), data=WORDS)
def test_scripts_of_a_package_run_nothing_of_what_was_typed(
    empty: Path, root: str, words: list[str], data: str
):
    typed_words = [HOSTILE, f"/abs={HOSTILE}", f"a=/{root}", f"$(id)=/{root}", *words]
    frozen = {
        "command": ["ttt", "run", *typed_words],
        "data": {"root": f"{HOSTILE}{data}"},
        "launcher": {"_target_": "ttt.launch.torchrun.Torchrun"},
    }
    text = scripts.run_and_time([frozen], 1).replace('. "', "")
    subprocess.run(["sh", "-n"], input=text.encode(), check=True, capture_output=True)
    line = typed.command_line(frozen, 1)
    set_up = 'ttt() { printf "%s\\0" "$@"; }; DATADIR=data; RUNS=runs; here=here; A=/a\n'
    told = bash(f"{set_up}{line}", empty)
    kept = ["a=/a" if word == f"a=/{root}" and root else word for word in typed_words]
    taken = [word for word in kept if not word.startswith(("data.root=", "run_root="))]
    assert told == ["run", *taken, "data.root=data", "run_root=runs"]
    told = bash(f"{line_of(text, 'DATADIR=')}\nprintf '%s\\0' \"$DATADIR\"", empty)
    assert told == [f"{HOSTILE}{data}"]
    prepared = scripts.init_datasets(frozen, (f"ttt data {shlex.quote(data)}", root))
    subprocess.run(["sh", "-n"], input=prepared.encode(), check=True, capture_output=True)
    assert list(empty.iterdir()) == []


def line_of(text: str, begin: str) -> str:
    [line] = [each for each in text.splitlines() if each.startswith(begin)]
    return line
