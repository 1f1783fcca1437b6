"""A benchmark for a prepared data set: ttt's own parts, with settings that fit its manifest.

They are first guesses that reach something on a few cores in minutes; the files say what to turn.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ttt.errors import DataError
from ttt.prepare.folder import MANIFEST

# Samples in a batch, which divide among many numbers of processes.
_OF_IMAGES = (144, 72, 48, 24, 12, 6)
_OF_RECORDS = (1008, 504, 252, 84, 42, 12, 6)
_RESIDENT = 1 << 30  # bytes of decoded images that may be kept

Manifest = dict[str, Any]


def problems(root: Path) -> list[str]:
    """What keeps a folder from being such a set, a sentence each."""
    try:
        str(root).encode()
        kind(read(root))
    except UnicodeEncodeError:
        return ["--from DATA is a path that is not UTF-8, which no YAML file can hold; rename it"]
    except DataError as error:
        return [str(error)]
    return []


def read(root: Path) -> Manifest:
    """The manifest of a set.

    Raises:
        DataError: There is none.
    """
    try:
        manifest = json.loads((root / MANIFEST).read_bytes())
    except OSError as error:
        raise DataError(
            f"--from {root} holds no {MANIFEST} ({error.strerror}); allowed: what `ttt data"
            " images`, `ttt data pairs` or `ttt data table` made; --from DIR"
        ) from error
    except ValueError as error:
        raise DataError(f"{root / MANIFEST} is damaged; make the set again") from error
    return manifest if isinstance(manifest, dict) else {}


def kind(manifest: Manifest) -> str:
    """Which of the three a set is.

    Raises:
        DataError: None of them.
    """
    if "sizes" in manifest:
        return "images"
    if "source_language" in manifest:
        return "pairs"
    if "label" in manifest:
        return "table"
    raise DataError(
        "--from DATA is none of the sets of `ttt data images`, `ttt data pairs` and `ttt data"
        " table`; ttt's own sets have benchmarks: ttt run --help"
    )


def files(name: str, root: Path, target: float | None) -> dict[str, str]:
    """What to write, by path in the new folder.

    Args:
        name: Of the benchmark.
        root: The prepared set, as it is seen from where runs are typed.
        target: The quality to reach; None: a guess.
    """
    manifest = read(root)
    data, benchmark = {"images": _images, "pairs": _pairs, "table": _table}[kind(manifest)](
        manifest, target
    )
    where = json.dumps(str(root), ensure_ascii=False)
    return {
        f"data/{name}.yaml": data.replace("ROOT", where),
        f"benchmark/{name}.yaml": f"""\
# @package _global_
# ttt run --config-dir {name} benchmark={name}
# All settings of a run: ttt run --config-dir {name} benchmark={name} --cfg job
{benchmark.replace("NAME", name)}""",
    }


def _images(manifest: Manifest, target: float | None) -> tuple[str, str]:
    train, held_out = manifest["counts"]["train"], manifest["counts"]["test"]
    shorter, chance = manifest["sizes"]["shorter"], manifest["largest_class"]
    size = min(shorter[1], 64)
    batch = _batch(train, _OF_IMAGES)
    epochs = _epochs(1200 * batch, train)
    loader = "resident" if 3 * size * size * train < _RESIDENT else "dali"
    widths, stride = _widths(size)
    guess = round(chance + (1 - chance) / 2, 2) if target is None else target
    sides = f"{shorter[0]} to {shorter[2]}"
    data = f"""\
# Images in class folders, made by `ttt data images` of {manifest["source"]}.
defaults:
  - /schema/images@_here_
  - _self_
root: ROOT
format: {manifest.get("format", "folder")}
train_samples: {train}
eval_samples: {held_out}
classes: {len(manifest["classes"])}
size: {size} # side of what the model sees, in pixels; shorter sides are {sides}
mean: {manifest["mean"]} # of these images, by channel, 0 to 1
std: {manifest["std"]}
"""
    benchmark = f"""\
defaults:
  - override /data: NAME
  - override /model: resnet_small
  - override /optim: sgd
  - override /schedule: onecycle

benchmark:
  id: NAME
  summary: {train + held_out} images in {len(manifest["classes"])} classes
channels_last: true # faster on a CPU, and what tensor cores want
target:
  metric: top1
  threshold: {guess} # always naming the most frequent class gives {chance:.3f}
  eval_every_epochs: {max(1, epochs // 8) if epochs > 2 else 0.5}
  max_epochs: {2 * epochs}
data:
  global_batch: {batch} # images per update, over all processes
  eval_batch: 500
  augment: pad_crop # shifts by up to pad pixels
  pad: {max(1, size // 16)}
  flip: false # true mirrors half of the images: right for photographs, wrong for letters
  loader: {loader} # resident decodes once and keeps; dali decodes in every epoch
model:
  widths: {widths}
  blocks: {[0] * (len(widths) - 2) + [1, 0]}
  stem_stride: {stride}
task:
  label_smoothing: 0.1
optim:
  lr: {0.2 * (batch / 144) ** 0.5:.2g}
  weight_decay: 2.0e-3
schedule:
  epochs: {epochs} # where the learning rate has come down
  warmup_epochs: {epochs / 5:g}
  end_lr: 0.01 # a run that misses keeps learning
{_LOGGED}"""
    return data, benchmark


def _pairs(manifest: Manifest, target: float | None) -> tuple[str, str]:
    train, held_out = manifest["counts"]["train"], manifest["counts"]["eval"]
    tokens = manifest["tokens"]["target"] + train  # with end marks
    batch = 800 if tokens < 5_000_000 else 3200
    epochs = max(6, _epochs(3000 * batch, tokens))
    data = f"""\
# Sentence pairs, made by `ttt data pairs`.
defaults:
  - /schema/text@_here_
  - _self_
root: ROOT
train_samples: {train}
eval_samples: {held_out}
vocabulary: {manifest["vocabulary"]}
max_length: {manifest["max_length"]} # tokens of the longest sentence trained on
"""
    benchmark = f"""\
defaults:
  - override /data: NAME
  - override /task: translation
  - override /model: transformer
  - override /optim: adam
  - override /schedule: inverse_sqrt

benchmark:
  id: NAME
  summary: {train + held_out} sentence pairs
target:
  metric: bleu
  threshold: {0.2 if target is None else target} # a fraction: 0.2 is what papers call 20
  eval_every_epochs: {0.5 if tokens / batch > 100 else 2}
  max_epochs: {epochs}
data:
  global_batch: {batch} # target tokens per update, over all processes
  eval_batch: 100
model:
  encoder_layers: 2
  decoder_layers: 2
  width: 128
  heads: 4
  feedforward: 256
  dropout: 0.1
  attention_dropout: 0.0
  relu_dropout: 0.0
task:
  label_smoothing: 0.1
  beam: 4 # 1 evaluates faster and a little worse
optim:
  lr: 3.0e-3 # peak
  beta_2: 0.98
  epsilon: 1.0e-9
schedule:
  warmup_steps: 400
mlperf: # what else the MLPerf-style log is to say
  opt_name: ${{optim.name}}
  opt_base_learning_rate: ${{optim.lr}}
  opt_learning_rate_warmup_steps: ${{schedule.warmup_steps}}
"""
    return data, benchmark


def _table(manifest: Manifest, target: float | None) -> tuple[str, str]:
    train, held_out = manifest["counts"]["train"], manifest["counts"]["eval"]
    batch = _batch(train, _OF_RECORDS)
    epochs = _epochs(1500 * batch, train)
    data = f"""\
# Records with a label, {manifest["label"]["column"]}, made by `ttt data table`.
defaults:
  - /schema/clicks@_here_
  - _self_
root: ROOT
train_samples: {train}
eval_samples: {held_out}
dense: {manifest["dense"]} # {", ".join(manifest["features"]["dense"])}
rows: {manifest["rows"]} # {", ".join(manifest["features"]["ids"])}
hots: {manifest["hots"]}
"""
    benchmark = f"""\
defaults:
  - override /data: NAME
  - override /task: recommendation
  - override /model: dlrm_dcnv2
  - override /optim: adagrad
  - override /schedule: constant

benchmark:
  id: NAME
  summary: {train + held_out} records
target:
  metric: auc
  threshold: {0.75 if target is None else target} # 0.5 is chance
  eval_every_epochs: {1 if epochs > 4 else 0.25}
  max_epochs: {epochs}
data:
  global_batch: {batch} # records per update, over all processes
model:
  dim: 16
  bottom: [32, 16]
  cross_layers: 2
  cross_rank: 16
  top: [64, 1]
optim:
  lr: 0.01
{_LOGGED}"""
    return data, benchmark


_LOGGED = """\
mlperf: # what else the MLPerf-style log is to say
  opt_name: ${optim.name}
  opt_base_learning_rate: ${optim.lr}
"""


def _batch(samples: int, sizes: Sequence[int]) -> int:
    """The largest batch that leaves some updates in an epoch."""
    fitting = [batch for batch in sizes if batch <= samples // 20]
    return fitting[0] if fitting else max(1, min(samples, sizes[-1]))


def _epochs(samples: int, in_one: int) -> int:
    """How many make so many samples, or tokens; from 1 to 60."""
    return min(60, max(1, round(samples / in_one)))


def _widths(size: int) -> tuple[list[int], int]:
    """Channels of the stages for images of this side, and the stride of the first one."""
    stride = 2 if size >= 32 else 1
    side, widths = -(-size // stride), [32]
    while side > 3 and len(widths) < 5:
        side, widths = -(-side // 2), [*widths, min(2 * widths[-1], 192)]
    return (widths if len(widths) > 1 else [32, 64]), stride
