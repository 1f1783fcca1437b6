"""No package that ttt installs is of an open version: constraints.txt has it, and nothing else."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution, version
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ground import PROJECT
from ttt.machine.installed import DALI

# torch's CUDA build asks for these, its CPU build does not: the first by exact version itself.
CUDA_OF_TORCH = ("cuda-", "nvidia-", "triton")
ONLY_TO_BUILD = {"editables"}  # what hatchling asks for when it builds a ttt that can be edited
# DALI for CUDA 13 overwrites the files of DALI for CUDA 12, so no environment has both, and this
# test reads requirements from what is installed. CONTRIBUTING.md says how to list these.
ELSEWHERE = "dali-cuda13"
ONLY_ELSEWHERE = set(
    "nvidia-dali-cuda130 nvidia-libnvcomp-cu13 nvidia-nvimgcodec-cu13 nvidia-nvjpeg"
    " nvidia-nvjpeg2k-cu13 nvidia-nvtiff-cu13".split()
)


def requirements(name: str, extra: str) -> Iterator[Requirement]:
    """What a distribution asks for on this machine, with one of its extras or none of them ("")."""
    for text in distribution(name).requires or []:
        found = Requirement(text)
        if found.marker is None or found.marker.evaluate({"extra": extra}):
            yield found


def closure(name: str, extras: set[str]) -> set[str]:
    """Names of all that is installed for the sake of a distribution with these extras."""
    open_ones, seen = [(name, extra) for extra in ("", *extras)], set()
    while open_ones:
        if (asked := open_ones.pop()) not in seen:
            seen.add(asked)
            for found in requirements(*asked):
                needed = canonicalize_name(found.name)
                if asked[0] != "torch" or not needed.startswith(CUDA_OF_TORCH):
                    open_ones += [(needed, extra) for extra in ("", *found.extras)]
    return {needed for needed, _ in seen}


@pytest.fixture(scope="module")
def pins() -> dict[str, Requirement]:
    lines = (PROJECT / "constraints.txt").read_text().splitlines()
    listed = [Requirement(line) for line in lines if not line.startswith("#")]
    found = {canonicalize_name(pin.name): pin for pin in listed}
    assert len(found) == len(listed), "constraints.txt names a package twice"
    return found


@pytest.fixture(scope="module")
def installed() -> set[str]:
    """Everything that pyproject.toml leads to, with all extras that fit together."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert [Requirement(text).name for text in extras.pop(ELSEWHERE)] == [DALI[13]]
    groups = [project["dependencies"], *extras.values()]
    return {
        name
        for found in map(Requirement, chain(*groups))
        for name in closure(canonicalize_name(found.name), found.extras)
    }


def test_every_pin_is_one_version(pins: dict[str, Requirement]):
    for pin in pins.values():
        [only] = pin.specifier
        assert (only.operator, "*" in only.version) == ("==", False), str(pin)
        assert (pin.url, pin.marker, pin.extras) == (None, None, set()), str(pin)


def test_everything_that_is_installed_is_pinned_and_nothing_else(
    pins: dict[str, Requirement], installed: set[str]
):
    build = tomllib.loads((PROJECT / "pyproject.toml").read_text())["build-system"]["requires"]
    built_with = {canonicalize_name(Requirement(text).name) for text in build}
    assert built_with <= set(pins)
    assert sorted(installed - set(pins)) == [], "not in constraints.txt"
    rest = set(pins) - installed - built_with - ONLY_TO_BUILD
    assert rest == ONLY_ELSEWHERE, "not needed any more"


def test_dali_and_its_libraries_have_one_version_for_each_cuda(pins: dict[str, Requirement]):
    twelve = {
        name.replace("cu12", "cu13").replace(DALI[12], DALI[13]): pin.specifier
        for name, pin in pins.items()
        if (name.startswith("nvidia-") and "cu12" in name) or name == DALI[12]
    }
    twelve["nvidia-nvjpeg"] = pins["nvidia-nvjpeg"].specifier  # numbered as CUDA itself
    del twelve["nvidia-nvjpeg-cu13"]
    assert twelve == {name: pins[name].specifier for name in ONLY_ELSEWHERE}


@pytest.mark.skipif(
    Path(sys.prefix).resolve() != (PROJECT / ".venv").resolve(),
    reason="not the environment that make builds",
)
def test_the_environment_of_make_has_the_pinned_versions(
    pins: dict[str, Requirement], installed: set[str]
):
    for name in sorted(installed):
        assert pins[name].specifier.contains(version(name), prereleases=True), name


def test_what_pip_builds_from_source_is_built_with_pinned_packages():
    """-c does not reach the environment of a build; PIP_BUILD_CONSTRAINT is its name since 25.3."""
    text = (PROJECT / "Makefile").read_text()
    assert "PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt" in text


def test_the_image_keeps_what_it_has_and_gets_the_rest_pinned(tmp_path: Path):
    """Docker is not there; what decides in the Dockerfile is awk, which is."""
    dockerfile = (PROJECT / "Dockerfile").read_text()
    [program] = re.findall(r"awk -F .*? /tmp/image\.txt constraints\.txt", dockerfile, re.DOTALL)
    compiled = [
        "NumPy==2.1.0",
        "nvidia-dali-cuda130==2.1.0",
        "torch==2.13.0a0+9186a08b2c.nv26.7.59513937",
        "triton==3.7.1+gitf797708c.nv26.7",
    ]
    image = tmp_path / "image.txt"
    image.write_text("\n".join([*compiled, "PyYAML==6.0.1", "typing.extensions==4.15.0", ""]))
    done = subprocess.run(
        program.replace("/tmp/image.txt", str(image)),
        shell=True,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    given, pinned = done.stdout.splitlines(), (PROJECT / "constraints.txt").read_text().splitlines()
    assert given[: len(compiled)] == compiled  # pip can bring no other
    left_out = [line.partition("==")[0] for line in pinned if line not in given]
    present = ["numpy", "PyYAML", "torch", "typing_extensions", "nvidia-dali-cuda130"]
    assert left_out == present
    assert set(given) - set(compiled) <= set(pinned)


def test_the_image_is_built_without_its_own_constraints_and_without_torch_or_dali():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    dockerfile = (PROJECT / "Dockerfile").read_text()
    assert "export PIP_CONSTRAINT=/tmp/constraints.txt PIP_BUILD_CONSTRAINT=" in dockerfile
    assert "${PIP_CONSTRAINT" not in dockerfile
    [extras] = re.findall(r"pip install .*'\.\[(.*)\]'", dockerfile)
    for extra in extras.split(","):
        for text in project["optional-dependencies"][extra]:
            found = Requirement(text)
            needed = closure(canonicalize_name(found.name), found.extras)
            assert not [name for name in needed if name.startswith(("torch", "nvidia-dali"))]


def test_the_container_runs_without_root():
    instructions = (PROJECT / "Dockerfile").read_text().splitlines()
    users = [line for line in instructions if line.startswith("USER ")]
    assert re.fullmatch(r"USER [1-9]\d*:[1-9]\d*", users[-1])
