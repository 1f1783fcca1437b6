"""Multi30k, captions of photographs, German to English: from raw text to tokens.

Elliott et al. 2016, "Multi30K: Multilingual English-German Image Descriptions": task 1, raw text,
github.com/multi30k/dataset. 29,000 pairs to train on; judged by the 1,000 of test_2016_flickr, as
papers report it. The set is free for research and education only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ttt.errors import DataError
from ttt.prepare.folder import Progress, is_prepared, silent, whole_folder
from ttt.prepare.parallel import Pair
from ttt.prepare.text import Corpus, Recipe, build

NEEDS = "train.de.gz train.en.gz test_2016_flickr.de.gz test_2016_flickr.en.gz, or their folder"
RECIPE = Recipe("de", "en", vocabulary=6000, max_length=64)
TRAIN, EVALUATION = "train", "test_2016_flickr"


def prepare(out: Path, sources: Sequence[Path] = (), progress: Progress = silent) -> None:
    """Write a prepared set to `out`; nothing if it is there.

    Args:
        out: The folder that becomes `data.root`.
        sources: The files, packed or not, among others or not; or one folder with them.
        progress: Called with (kB read, kB in all).

    Raises:
        DataError: A file is missing or unfit, or something else lies at `out`.
        MissingExtra: sentencepiece is not installed.
    """
    given = sorted(sources[0].iterdir()) if len(sources) == 1 and sources[0].is_dir() else sources
    by_name = {path.name.removesuffix(".gz"): path for path in given}
    names = [f"{part}.{language}" for part in (TRAIN, EVALUATION) for language in ("de", "en")]
    if missing := [name for name in names if name not in by_name]:
        raise DataError(f"--src lacks {', '.join(missing)} (or .gz); allowed: {NEEDS}; --src DIR")
    files = [by_name[name] for name in names]
    corpus = Corpus("Multi30k, task 1, raw", [Pair(*files[:2])], Pair(*files[2:]))
    if is_prepared(out, corpus.identity(RECIPE)):
        return
    with whole_folder(out) as folder:
        build(folder, corpus, RECIPE, progress)
