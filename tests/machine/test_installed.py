import sys
import tomllib

import pytest
import torch

from ground import PROJECT
from ttt.machine import installed


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of packages that comes before all others."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    return tmp_path


def put(site, name, version):
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n")


def test_what_is_installed_is_known_by_its_metadata(site):
    assert installed.version("torch") is None
    put(site, "torch", "2.11.0")
    assert installed.version("torch") == "2.11.0"


def test_dali_is_known_by_the_name_of_its_package(site):
    assert installed.dali() == {}
    put(site, "nvidia-dali-cuda130", "2.4.0")
    assert installed.dali() == {"nvidia-dali-cuda130": "2.4.0"}
    put(site, "nvidia-dali-cuda110", "1.50.0")
    assert installed.dali() == {"nvidia-dali-cuda130": "2.4.0", "nvidia-dali-cuda110": "1.50.0"}


@pytest.mark.parametrize(
    ("cuda", "package", "extra"),
    [
        ("13.0", "nvidia-dali-cuda130", "dali-cuda13"),
        ("14.1", "nvidia-dali-cuda130", "dali-cuda13"),
        ("12.8", "nvidia-dali-cuda120", "dali"),
        (None, "nvidia-dali-cuda120", "dali"),
        ("11.8", "nvidia-dali-cuda120", "dali"),
    ],
)
def test_the_dali_to_install_is_that_of_torchs_cuda(cuda, package, extra):
    assert installed.dali_for(cuda) == (package, extra)
    assert installed.dali_extra({package: "2.4.0"}) == extra
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    [needed] = project["optional-dependencies"][extra]
    assert needed.startswith(f"{package}>=")


def test_the_cuda_of_torch_is_known_without_importing_it(site):
    assert installed.torch_cuda() is None
    (site / "torch").mkdir()
    (site / "torch" / "__init__.py").write_text("raise AssertionError('imported')")
    sys_torch = sys.modules.pop("torch")
    try:
        assert installed.torch_cuda() is None  # a torch of another build, without the file
        (site / "torch" / "version.py").write_text("cuda: str = '13.0'\n")
        assert installed.torch_cuda() == "13.0"
        (site / "torch" / "version.py").write_text("cuda = None\n")
        assert installed.torch_cuda() is None
    finally:
        sys.modules["torch"] = sys_torch


def test_the_cuda_of_torch_is_what_torch_says():
    assert installed.torch_cuda() == torch.version.cuda
