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

from conftest import PROJECT
from ttt.installed import DALI

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


def test_the_image_keeps_what_it_has_and_gets_the_rest_pinned():
    """Docker is not there; what decides in the Dockerfile is awk, which is."""
    dockerfile = (PROJECT / "Dockerfile").read_text()
    [program] = re.findall(r"awk -F .*? - constraints\.txt", dockerfile, re.DOTALL)
    has = "torch==2.9.0a0+50eac811a6.nv25.9\nNumPy==1.26.4\ntyping.extensions==4.15.0\n"
    done = subprocess.run(
        program, shell=True, cwd=PROJECT, input=has, capture_output=True, text=True, check=True
    )
    pinned = (PROJECT / "constraints.txt").read_text().splitlines()
    left_out = [line for line in pinned if line not in done.stdout.splitlines()]
    assert [line.partition("==")[0] for line in left_out] == ["numpy", "torch", "typing_extensions"]


def test_the_container_runs_without_root():
    instructions = (PROJECT / "Dockerfile").read_text().splitlines()
    users = [line for line in instructions if line.startswith("USER ")]
    assert re.fullmatch(r"USER [1-9]\d*:[1-9]\d*", users[-1])
