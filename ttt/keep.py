"""Writes the weights of a run and its prediction of every evaluation sample, for other tools.

Off the clock, after RUN_STOP, and by one more look at the evaluation set, so that nothing is stored
while the clock runs. Files are in the order of the samples, for any number of processes:

    weights.safetensors      what a single process would have as the model's state dict
    predictions.csv          a line for each sample: its id, and the numbers its task keeps
    NAME.txt                 text that its task keeps, as hypotheses: a line for each sample

Rank 0 writes, and gets what others have in parts: neither a table that is spread over processes nor
all predictions have to fit into its memory.
"""

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ttt.distributed.agreement import LostRankZero
from ttt.distributed.weights import Weight, whole
from ttt.errors import ESCAPE, ConfigError, TttError, encodable
from ttt.events import Kind
from ttt.loop import Parts
from ttt.protocols import Column
from ttt.run_folder import RunFolder
from ttt.schema.choices import Keep

_SAMPLES_AT_ONCE = 65_536  # gathered from all processes
# The format's names of the types (github.com/huggingface/safetensors, "Format").
_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass(frozen=True, slots=True)
class Kept:
    """What was written.

    Attributes:
        files: Where, below the run folder.
        quality: The metric over the predictions that are written; None if they are not.
        problem: Why a file could not be written; the same on all processes.
    """

    files: tuple[str, ...]
    quality: float | None
    problem: str | None


def demand(wanted: Sequence[Keep], parts: Parts) -> None:
    """Refuse before the run what `keep` could not write after it.

    Raises:
        ConfigError: A part of a user's own lacks a method, or the format a type of number.
    """
    found = []
    if Keep.predictions in wanted:
        asked = ((parts.task, "kept"), (parts.data, "eval_ids"), (parts.data, "names"))
        found += [
            f"keep=[predictions] needs {type(part).__name__}.{name}(), which is missing; see"
            " ttt/protocols.py, or leave predictions out of keep"
            for part, name in asked
            if not hasattr(part, name)
        ]
    if Keep.weights in wanted:
        types = {str(each.dtype) for each in _weights(parts) if each.dtype not in _DTYPES}
        found += [
            f"keep=[weights] cannot write {name}; allowed:"
            f" {', '.join(str(known) for known in _DTYPES)}; leave weights out of keep"
            for name in sorted(types)
        ]
        found += [
            f"keep=[weights] cannot write a weight called {each.name!a}, which the format cannot"
            " name; rename it, or leave weights out of keep"
            for each in _weights(parts)
            if each.name == "__metadata__" or not _is_text(each.name)
        ]
    if found:
        raise ConfigError(found)


def _is_text(name: str) -> bool:
    """Whether UTF-8 can have it: half of a surrogate pair is no character."""
    return encodable(name) == name


def leave(wanted: Sequence[Keep], parts: Parts, folder: Path) -> None:
    """Write what is wanted and print what was written; the run has its result by now.

    Raises:
        TttError: A file cannot be written.
    """
    kept = keep(wanted, parts, folder)
    parts.log.emit(Kind.KEPT, parts.learner.steps, files=kept.files, quality=kept.quality)
    if kept.problem:
        sentence = f"{kept.problem}; the run itself is complete, in {folder}"
        raise TttError(sentence) if parts.world.rank == 0 else LostRankZero(sentence)


def keep(wanted: Sequence[Keep], parts: Parts, folder: Path) -> Kept:
    """Write what is wanted; all processes call this together, after the clock has stopped.

    Args:
        wanted: What to write.
        parts: The run, as it is at its end.
        folder: The run folder; only rank 0 needs to see it.
    """
    written: list[str] = []
    quality = None
    problem = None
    with parts.learner.eval_mode() as model:
        files: list[tuple[str, Iterator[bytes]]] = []
        if Keep.weights in wanted:
            files.append(("weights.safetensors", _safetensors(_weights(parts))))
        if Keep.predictions in wanted:
            table, quality = _predict(model, parts)
            files += _predictions(table, parts)
        for name, content in files:
            problem = problem or _write(RunFolder(folder).kept / name, content, parts)
            written += [] if problem else [f"{RunFolder(folder).kept.name}/{name}"]
    return Kept(tuple(written), quality, problem)


def _weights(parts: Parts) -> list[Weight]:
    """The weights in the order of the file, which the format wants aligned: wide types first."""
    found = whole(parts.learner.model, parts.world)
    return sorted(found, key=lambda each: -each.dtype.itemsize)


def _safetensors(weights: Sequence[Weight]) -> Iterator[bytes]:
    """The content of a safetensors file.

    The format's own library writes from memory only, and of a spread table no process has it all.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for each in weights:
        begin, end = end, end + each.dtype.itemsize * int(np.prod(each.shape, dtype=np.int64))
        header[each.name] = {
            "dtype": _DTYPES[each.dtype],
            "shape": list(each.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for each in weights:
        for part in each.parts():
            yield part.contiguous().flatten().view(torch.uint8).numpy().tobytes()


@dataclass(frozen=True, slots=True)
class _Table:
    """What this process predicted.

    Attributes:
        ids: Samples, ascending, int64 [N].
        columns: What the task keeps of each, [N]; none where there was no batch.
        texts: Which of all columns hold text, the same on all processes, in the task's order.
    """

    ids: npt.NDArray[np.int64]
    columns: dict[str, npt.NDArray[Any]]
    texts: dict[str, bool]


def _predict(model: nn.Module, parts: Parts) -> tuple[_Table, float]:
    """Look at every evaluation sample once more; what is kept of it, and the quality it amounts to.

    The quality is the run's where the run ended with an evaluation: the weights are the same.
    """
    task, data, shard = parts.task, parts.data, parts.world.data
    metric = task.metric()
    ids: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
    batches: list[dict[str, npt.NDArray[Any]]] = []
    own = zip(data.eval(shard), data.eval_ids(shard), strict=True)
    for (batch, samples), counts in parts.learner.in_step(own, (parts.spare, None)):
        parts.heartbeat.beat("predicting", parts.learner.steps)
        prediction = task.predict(model, batch)
        if not counts:
            continue
        metric.update(prediction, batch)
        batches.append({n: _array(c) for n, c in task.kept(prediction, batch).items()})
        ids.append(samples)
    mine = np.concatenate(ids)
    order = np.argsort(mine)
    columns = {
        name: np.concatenate([batch[name] for batch in batches])[order]
        for name in (batches[0] if batches else ())
    }
    kinds = {name: column.dtype == np.object_ for name, column in columns.items()}
    texts = next((each for each in parts.world.replicas.gather(kinds) if each), {})
    quality, _ = metric.compute(parts.world)
    return _Table(mine[order], columns, texts), quality


def _array(column: Column) -> npt.NDArray[Any]:
    return column if isinstance(column, np.ndarray) else np.array(column, dtype=np.object_)


def _predictions(table: _Table, parts: Parts) -> list[tuple[str, Iterator[bytes]]]:
    """The files of predictions: one of all numbers, and one of each text."""
    numbers = [name for name, is_text in table.texts.items() if not is_text]
    files = [
        (f"{name}.txt", _lines(table, name, parts)) for name, text in table.texts.items() if text
    ]
    return [("predictions.csv", _csv(table, numbers, parts)), *files] if numbers else files


def _csv(table: _Table, names: Sequence[str], parts: Parts) -> Iterator[bytes]:
    """Lines of id and numbers; each number in the fewest digits that identify it in its type."""
    yield _csv_lines([("id", *names)])
    for ids, columns in _in_order(table, names, parts):
        written_as = (column.astype(np.str_).tolist() for column in columns)
        yield _csv_lines(zip(map(encodable, parts.data.names(ids)), *written_as, strict=True))


def _csv_lines(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _lines(table: _Table, name: str, parts: Parts) -> Iterator[bytes]:
    """A text of each sample on a line of its own: what would begin another is a space there."""
    ends = str.maketrans("\r\n", "  ")
    for _, [texts] in _in_order(table, [name], parts):
        yield "".join(f"{text.translate(ends)}\n" for text in texts).encode("utf-8", ESCAPE)


def _in_order(
    table: _Table, names: Sequence[str], parts: Parts
) -> Iterator[tuple[npt.NDArray[np.int64], list[npt.NDArray[Any]]]]:
    """Ids and columns of all processes in the order of ids; on rank 0, some samples at a time."""
    for first in range(0, parts.data.eval_samples, _SAMPLES_AT_ONCE):
        here = slice(*np.searchsorted(table.ids, [first, first + _SAMPLES_AT_ONCE]))
        columns = [table.columns[name][here] for name in names if name in table.columns]
        gathered = parts.world.replicas.gather([table.ids[here], *columns])
        if parts.world.rank == 0:
            having = [each for each in gathered if len(each[0])]
            ids, *joined = (np.concatenate(column) for column in zip(*having, strict=True))
            order = np.argsort(ids)
            yield ids[order], [column[order] for column in joined]


def _write(path: Path, content: Iterator[bytes], parts: Parts) -> str | None:
    """Write a file on rank 0, whole or not at all; all processes go through its content.

    Returns:
        Why it could not be written, the same on all processes.
    """
    draft = path.with_name(f"{path.name}.draft")
    problem = None
    stream: io.BufferedWriter | None = None
    try:
        if parts.world.rank == 0:
            path.parent.mkdir(exist_ok=True)
            stream = draft.open("wb")
    except OSError as error:
        problem = error
    for part in content:  # to the end, also after an error here: peers take part in it
        parts.heartbeat.beat("keeping", parts.learner.steps)
        try:
            if stream and not problem:
                stream.write(part)
        except OSError as error:
            problem = error
    try:
        if stream:
            stream.close()
            if not problem:
                os.replace(draft, path)
    except OSError as error:
        problem = error
    if problem:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return parts.world.agree(
        None if problem is None else f"{path} cannot be written: {problem.strerror}"
    )
