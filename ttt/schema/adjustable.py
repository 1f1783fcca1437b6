"""What a run of an official benchmark may choose; all else is the benchmark's definition.

Data only. A setting that stands in none of these tables is fixed, so one that is added to ttt
tomorrow is fixed until it has a reason not to be. A name stands for all settings below it.
The rules are MLCommons' training_rules.adoc (mlcommons/training_policies); sections by name. Tables
of earlier rounds: as of July 2020 for v0.7, in the section "Deprecated benchmarks hyperparameters"
for v4.0 and v5.0.
"""

from collections.abc import Iterable, Mapping

# Settings of how a machine does it, which do not decide what is learned; why.
MACHINE: Mapping[str, str] = {
    "accumulate": "gradients of a batch add up to the same; logged",
    "benchmark.division": "what is claimed, and what these tables are about",
    "benchmark.summary": "a line of help",
    "binding": "which cores a process uses",
    "channels_last": "how tensors lie in memory",
    "checkpoint_every_seconds": "what is written beside; on the clock",
    "clear_cache": 'how, not whether: "Data State at Start of Run"',
    "command": "what was typed",
    "compile": 'equivalent graphs are allowed: "Graph Execution"',
    "data.cache_mb": "decoded images that are kept; the same pixels",
    "data.eval_batch": "every evaluation sample counts once, in a batch of any size",
    "data.first_label": "how shards count classes; belongs to data.format",
    "data.format": "all formats give the same batches",
    "data.hw_decoder_load": "who decodes an image",
    "data.largest": "memory that is reserved",
    "data.loader": "who decodes an image",
    "data.prefetch": "batches made ahead",
    "data.root": "where the data set is",
    "data.threads": "who decodes an image",
    "device": "what computes",
    "keep": "files that are written after the run",
    "launcher": "who starts the processes",
    "model.initial": 'where the reference\'s checkpoint is; read before the clock: "Run Results"',
    "model.memory_gb": "where tables are; the model is the same",
    "model.sharding": "where tables are; the model is the same",
    "parallel": "which process has which part of the model; the updates are the same, and logged",
    "precision": 'fp32, tf32, bf16 and fp16 are pre-approved: "Numerical formats"',
    "processes": "how many there are",
    "run": "which of several runs",
    "run_root": "where run folders go",
    "runs": "how many",
    "seed": 'drawn from an allowed source: "Random numbers"',
    "submission": "who submits",
    "system": "what the machine is called, has and costs",
    "target.check_every_steps": "how often processes look for a limit",
    "target.max_epochs": "when to give up",
    "target.max_seconds": "when to give up",
    "timeout": "when a process counts as stuck",
    "tracking": "who watches",
}

_TEXT = {
    "data.max_length": 'any: "Data Representation", and max_sequence_length where it is listed',
    "data.pieces": 'batching is free where the order is random: "Training Data Order"',
    "data.train_samples": "what data.max_length leaves of the set; its manifest.json decides",
}
# Hyperparameters that the table of the section "Hyperparameters" lets a closed run choose: the
# table's name and constraint. What of these is bound by more than its type is in `closed.RULES`,
# or in the official checker's files.
TUNABLE: Mapping[str, Mapping[str, str]] = {
    "resnet": {  # v4.0, lars and sgd
        "data.global_batch": "global_batch_size, arbitrary",
        "optim.lr": "(lars|sgd)_opt_base_learning_rate, arbitrary; sgd: 0.001 * k",
        "optim.momentum": "(lars|sgd)_opt_momentum, 0.9; lars from a batch of 32k on: arbitrary",
        "optim.weight_decay": "(lars|sgd)_opt_weight_decay, 0.0001 * 2^N",
        "schedule.epochs": "(lars|sgd)_opt_learning_rate_decay_steps, unconstrained",
        "schedule.warmup_epochs": "learning_rate_warmup_epochs, arbitrary; sgd: integer",
        "target.first_eval_epochs": 'offset 0, 1, 2 or 3: "Quality measure"',
        "task.label_smoothing": "label smoothing, 0 or 0.1",
    },
    "transformer": {  # v0.7, adam
        **_TEXT,
        "data.global_batch": "global_batch_size, arbitrary",
        "optim.beta_1": "opt_adam_beta_1, arbitrary",
        "optim.beta_2": "opt_adam_beta_2, arbitrary",
        "optim.lr": "opt_base_learning_rate, arbitrary",
        "schedule.warmup_steps": "opt_learning_rate_warmup_steps, arbitrary",
    },
    "gnmt": {  # v0.7, adam
        **_TEXT,
        "data.global_batch": "global_batch_size, unconstrained",
        "optim.lr": "opt_base_learning_rate, unconstrained",
        "schedule.decay_interval": "opt_learning_rate_decay_interval, unconstrained",
        "schedule.remain_steps": "opt_learning_rate_remain_steps, unconstrained",
        "schedule.warmup_steps": "opt_learning_rate_warmup_steps, unconstrained",
    },
    "bert": {  # v5.0, lamb
        "data.global_batch": "global_batch_size, unconstrained",
        "data.mixed": 'the order is random: "Training Data Order"',
        "optim.beta_1": "opt_lamb_beta_1, unconstrained",
        "optim.beta_2": "opt_lamb_beta_2, unconstrained",
        "optim.epsilon": "opt_epsilon, unconstrained",
        "optim.lr": "opt_base_learning_rate, unconstrained",
        "optim.weight_decay": "opt_lamb_weight_decay_rate, unconstrained",
        "schedule.start_warmup_step": "start_warmup_step, unconstrained",
        "schedule.training_steps": "opt_learning_rate_training_steps, unconstrained",
        "schedule.warmup_steps": "num_warmup_steps, opt_learning_rate_warmup_steps, unconstrained",
    },
    "dlrm_dcnv2": {  # v6.0, adagrad
        "data.global_batch": "global_batch_size, unconstrained",
        "optim.lr": "opt_base_learning_rate, unconstrained",
    },
    "llama31_8b": {  # v6.0, adamw
        "data.global_batch": "global_batch_size, up to the largest convergence point",
        "data.planned_steps": 'random in either case: "Training Data Order"',
        "data.train_samples": "what the files hold; the loader refuses another number",
        "optim.lr": "opt_base_learning_rate, unconstrained",
        "schedule.warmup_steps": "opt_learning_rate_warmup_steps, unconstrained",
    },
}

# What the open division sets free besides: model and training method, how training data are
# preprocessed and ordered ("Open Division", "Preprocessing During the Run", "Training Data Order",
# "Model", "Hyperparameters", "Loss function"). MLCommons would allow other training data and
# another end of the run as well ("Data State at Start of Run", "Quality measure"). ttt gives the
# time to the benchmark's target on the benchmark's data, and lends official names to nothing else.
OPEN: Mapping[str, str] = {
    "clip_norm": "training method",
    "data.area": "preprocessing of training data",
    "data.augment": "preprocessing of training data",
    "data.batch_by": "order of training data",
    "data.flip": "preprocessing of training data",
    "data.global_batch": "training method",
    "data.on_error": "training data; an image that cannot be judged counts as wrong",
    "data.pad": "preprocessing of training data",
    "data.planned_steps": "order of training data",
    "data.ratio": "preprocessing of training data",
    "data.shuffle": "order of training data",
    "mlperf": "says what was chosen",
    "model": "another model",
    "optim": "training method",
    "schedule": "training method",
    "target.eval_every_epochs": "how often is the closed division's rule",
    "target.eval_every_samples": "how often is the closed division's rule",
    "target.first_eval_epochs": "how often is the closed division's rule",
    "target.first_eval_samples": "how often is the closed division's rule",
    "task.beam": "model",
    "task.coverage_penalty": "model",
    "task.extra_length": "model",
    "task.label_smoothing": "loss",
    "task.length_penalty": "model",
}

# The section that fixes a setting; the longest name that fits.
SECTIONS: Mapping[str, str] = {
    "": "Closed Division",
    "clear_cache": "Data State at Start of Run",
    "clip_norm": "Hyperparameters",
    "data": "Training and Test Sets",
    "data.area": "Preprocessing During the Run",
    "data.augment": "Preprocessing During the Run",
    "data.batch_by": "Training Data Order",
    "data.eval_resize": "Preprocessing During the Run",
    "data.flip": "Preprocessing During the Run",
    "data.global_batch": "Reference Convergence Points",
    "data.mean": "Preprocessing During the Run",
    "data.on_error": "Training Data Order",
    "data.pad": "Preprocessing During the Run",
    "data.planned_steps": "Training Data Order",
    "data.ratio": "Preprocessing During the Run",
    "data.sequence_length": "Data Representation",
    "data.shuffle": "Training Data Order",
    "data.size": "Data Representation",
    "data.std": "Preprocessing During the Run",
    "mlperf": "Hyperparameters",
    "model": "Model",
    "model.initial": "Pre-training is not allowed",  # "start from the weights provided"
    "optim": "Hyperparameters",
    "schedule": "Hyperparameters",
    "seed": "Random numbers",
    "target": "Quality measure",
    "task": "Quality measure",
    "task.label_smoothing": "Hyperparameters",
}


def covered(setting: str, names: Iterable[str]) -> bool:
    """Whether a setting is one of these names, or below one."""
    return any(setting == name or setting.startswith(f"{name}.") for name in names)


def adjustable(benchmark: str, division: str) -> frozenset[str]:
    """The names that a run of an official benchmark may set as it likes."""
    names = {*MACHINE, *TUNABLE[benchmark]}
    return frozenset(names | set(OPEN) if division == "open" else names)


def rule(setting: str) -> str:
    """Where the rules fix this setting, as "training_rules.adoc, SECTION"."""
    fitting = [name for name in SECTIONS if not name or covered(setting, [name])]
    return f'training_rules.adoc, "{SECTIONS[max(fitting, key=len)]}"'
