"""The files of a benchmark whose parts are all one's own: four of YAML, and a module."""

from __future__ import annotations

from importlib import resources

MODULE = "parts.py"


def files(name: str) -> dict[str, str]:
    """What to write, by path in the new folder.

    Args:
        name: Of the benchmark, the folder and the package that the module is in.
    """
    return {
        MODULE: resources.files(__package__).joinpath(MODULE).read_text("utf-8"),
        f"data/{name}.yaml": f"""\
# The data set: the class that reads it, and what it is called with.
_target_: {name}.parts.Data
root: data/{name} # where it is, seen from where `ttt run` is typed
prepare: {name}.parts # the module whose prepare(out) makes it where it is not there yet
train_samples: 8192
eval_samples: 2000
global_batch: 64 # samples per update, over all processes
eval_batch: 500
""",
        f"model/{name}.yaml": f"""\
# What is trained; further settings of your class go here.
_target_: {name}.parts.Model
width: 32
""",
        f"task/{name}.yaml": f"""\
# The loss, the prediction and the metric.
_target_: {name}.parts.Task
""",
        f"benchmark/{name}.yaml": f"""\
# @package _global_
# What is measured: ttt run --config-dir {name} benchmark={name}
# All settings of a run: ttt run --config-dir {name} benchmark={name} --cfg job
defaults:
  - override /data: {name}
  - override /model: {name}
  - override /task: {name}
  - override /optim: sgd # or adam, adagrad, lars
  - override /schedule: onecycle # or cosine, polynomial, constant, inverse_sqrt

benchmark:
  id: {name}
  summary: points in the plane, told apart by the signs of their coordinates
target:
  metric: top1 # the name of the task's metric
  threshold: 0.98 # the clock stops when this is reached
  eval_every_epochs: 1
  max_epochs: 20 # and the run is given up here
optim:
  lr: 0.2
schedule:
  epochs: 10 # where the learning rate has come down
  warmup_epochs: 1
mlperf: # what else the MLPerf-style log is to say
  opt_name: ${{optim.name}}
  opt_base_learning_rate: ${{optim.lr}}
""",
    }
