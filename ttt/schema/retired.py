"""Settings that earlier versions froze into config.yaml, and that their classes no longer take."""

from collections.abc import Mapping
from typing import Any

_OF = {"ttt.data.text.ParallelText": ("seed",)}  # `train` gives it


def dropped(run: Mapping[str, Any]) -> dict[str, Any]:
    """A frozen configuration without them."""
    return {
        name: {key: value for key, value in part.items() if key not in _retired(part)}
        if isinstance(part, Mapping)
        else part
        for name, part in run.items()
    }


def _retired(part: Mapping[str, Any]) -> tuple[str, ...]:
    return _OF.get(str(part.get("_target_")), ())
