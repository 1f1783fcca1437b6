"""The events of a made-up run, as a loop emits them."""

from ttt.events import Kind
from ttt.schema.logged import Spread
from ttt.schema.parallel import Mesh

CONFIG = {
    "benchmark": "digits",
    "division": "open",
    "seed": 3,
    "run": 0,
    "metric": "top1",
    "target": 0.97,
    "higher_is_better": True,
    "train_samples": 1437,
    "eval_samples": 360,
    "global_batch": 64,
    "micro_batch": 32,
    "accumulate": 1,
    "precision": "bf16",
    "disclosed": Spread(Mesh(2)).disclosed("bf16", 64, 1),
    "submission": {"org": "us", "platform": "laptop", "status": "research"},
    "mlperf": {"opt_name": "sgd"},
    "world_size": 2,
    "nodes": 1,
    "accelerators": 0,
    "accelerator_name": None,
}
NODE = {"host": "n1", "method": "fadvise", "before_bytes": 7_000_000, "after_bytes": 0}


def tell(log, time, *, status="success", quality=0.98):
    """The events of a run of two epochs, five seconds each."""
    log.emit(Kind.CACHE_CLEAR, nodes=[NODE])
    log.emit(Kind.INIT_START)
    log.emit(Kind.CONFIG, **CONFIG)
    time.sleep(2)
    log.emit(Kind.INIT_STOP)
    log.emit(Kind.RUN_START)
    for epoch, value in ((1, 0.9), (2, quality)):
        before = {"epoch": epoch - 1, "samples": (epoch - 1) * 1472}
        after = {"epoch": epoch, "samples": epoch * 1472}
        log.emit(Kind.BLOCK_START, 23 * (epoch - 1), **before, until=after)
        time.sleep(2)
        log.emit(Kind.PROGRESS, 23 * epoch - 10, **after, loss=float("nan"))
        time.sleep(2)
        log.emit(Kind.BLOCK_STOP, 23 * epoch, **after, since=before)
        log.emit(Kind.EVAL_START, 23 * epoch, **after)
        time.sleep(1)
        log.emit(Kind.EVAL_STOP, 23 * epoch, **after)
        log.emit(Kind.QUALITY, 23 * epoch, **after, value=value, metric="top1", target=0.97)
    log.emit(Kind.RUN_STOP, 46, **after, status=status, reason="top1 0.98 >= 0.97")
    measured = {"train_s": 8.0, "eval_s": 2.0, "samples_per_s": 368.0, "step_ms_p50": 170.0}
    log.emit(Kind.STATISTICS, 46, **after, **measured)
