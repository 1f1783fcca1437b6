"""Which packages are installed, by their metadata. Imports none of them.

DALI has a package for each major version of CUDA, all with the module `nvidia.dali`: this is the
only file that knows their names.
"""

import runpy
from collections.abc import Mapping
from importlib import metadata, util
from pathlib import Path

DALI = {13: "nvidia-dali-cuda130", 12: "nvidia-dali-cuda120", 11: "nvidia-dali-cuda110"}
_DALI_EXTRAS = {13: "dali-cuda13", 12: "dali"}  # pyproject.toml; torch left CUDA 11 after 2.7
_UNKNOWN_CUDA = 12  # a torch without CUDA runs with any of them


def version(package: str) -> str | None:
    """Version of an installed package; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def dali() -> dict[str, str]:
    """Names and versions of the DALI packages; two overwrite each other's files."""
    found = {name: version(name) for name in DALI.values()}
    return {name: known for name, known in found.items() if known is not None}


def dali_for(cuda: str | None) -> tuple[str, str]:
    """The DALI package to install, and the extra of ttt that brings it.

    Args:
        cuda: Version of CUDA that torch was built for, as in torch.version.cuda; None for a torch
            without CUDA, or no torch.
    """
    built = _UNKNOWN_CUDA if cuda is None else major(cuda)
    fitting = min(max(built, min(_DALI_EXTRAS)), max(_DALI_EXTRAS))
    return DALI[fitting], _DALI_EXTRAS[fitting]


def dali_fits(package: str, cuda: str | None) -> bool:
    """Whether a DALI package is the right one for a torch built for this version of CUDA."""
    return cuda is None or package in (DALI.get(major(cuda)), dali_for(cuda)[0])


def dali_extra(packages: Mapping[str, object]) -> str:
    """The extra of ttt that brings the DALI among these packages; the default one if none does.

    Args:
        packages: Versions by name; None for what is not installed.
    """
    known = (extra for cuda, extra in _DALI_EXTRAS.items() if packages.get(DALI[cuda]))
    return next(known, _DALI_EXTRAS[_UNKNOWN_CUDA])


def torch_cuda() -> str | None:
    """Version of CUDA that the installed torch was built for; None without CUDA, or without torch.

    The build of torch writes this file (tools/generate_torch_version.py); it imports only typing.
    """
    torch = util.find_spec("torch")
    if torch is None or torch.origin is None:
        return None
    try:
        known = runpy.run_path(str(Path(torch.origin).with_name("version.py")))
    except OSError:
        return None
    cuda = known.get("cuda")
    return cuda if isinstance(cuda, str) else None


def major(cuda: str) -> int:
    """The major version, as 12 of "12.8"."""
    return int(cuda.split(".", maxsplit=1)[0])
