"""A small set of sentence pairs for tests: made by the real generator, prepared for real."""

from pathlib import Path

from ttt.data.text import ParallelText
from ttt.prepare.dates import sentence_pairs
from ttt.prepare.folder import silent
from ttt.prepare.parallel import Pair
from ttt.prepare.text import Corpus, Recipe, build

TRAIN, EVAL = 300, 41
RECIPE = Recipe("en", "de", vocabulary=150, max_length=64)


def written(folder: Path, train: int = TRAIN, evaluation: int = EVAL) -> Corpus:
    """Text files of both parts."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = sentence_pairs(train + evaluation)
    parts = {"train": pairs[:train], "eval": pairs[train:]}
    for part, chosen in parts.items():
        for side, language in enumerate(("en", "de")):
            lines = [pair[side] + "\n" for pair in chosen]
            (folder / f"{part}.{language}").write_text("".join(lines), encoding="utf-8")
    files = [Pair(folder / f"{part}.en", folder / f"{part}.de") for part in parts]
    return Corpus("test", files[:1], files[1])


def prepared(root: Path) -> Path:
    """A folder for `data.root`."""
    root.mkdir()
    build(root, written(root / "text"), RECIPE, silent)
    return root


def loader(world, root: Path, **settings) -> ParallelText:
    """The loader of such a set."""
    given = {
        "train_samples": TRAIN,
        "eval_samples": EVAL,
        "vocabulary": RECIPE.vocabulary,
        "max_length": RECIPE.max_length,
        "batch_by": "tokens",
        "global_batch": 512,
        "eval_batch": 8,
        "pieces": 1,
        "accumulate": 1,
    }
    return ParallelText(world=world, root=str(root), **given | settings)
