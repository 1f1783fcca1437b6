"""scaling.json beside the logs of a result: what its score is multiplied with.

The review committee writes it (MLCommons training_rules.adoc, "Score scaling"). So do MLCommons'
package_checker and result_summarizer wherever they run; nothing in the file shows its author.
"""

import os
from pathlib import Path

from ttt import foreign
from ttt.foreign import ForeignError
from ttt.report.run import LARGEST

NAME = "scaling.json"
_MOST = 10.0  # no published score was changed as much


def scaling_of(folder: Path) -> tuple[float | None, str | None]:
    """The factor in a folder, and why there is none although there is a file.

    Args:
        folder: Where the logs are.
    """
    file = folder / NAME
    if not os.path.lexists(file):
        return None, None
    try:
        factor = foreign.mapping(file, inside=folder).get("scaling_factor")
    except ForeignError as error:
        return None, error.sentence
    if not isinstance(factor, int | float) or isinstance(factor, bool):
        return None, f"{NAME} holds no number as scaling_factor"
    if not 0 < factor <= _MOST:
        shown = f"{factor:g}" if abs(factor) < LARGEST else "beyond any number"
        return None, f"{NAME}: scaling_factor is {shown}; allowed: more than 0, at most {_MOST:g}"
    return float(factor), None
