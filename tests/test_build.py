"""What becomes of a process while it builds a run."""

import gc
import time
from pathlib import Path

import pytest
import torch

from fakes import Recorder
from processes import TINY
from ttt import config
from ttt.build import build
from ttt.clock import Clock
from ttt.distributed.world import Solo
from ttt.events import EventLog
from ttt.learner import StandardLearner
from ttt.supervise.heartbeat import Heartbeat


def test_garbage_is_looked_for_again_before_the_warm_up(
    digits: Path, monkeypatch: pytest.MonkeyPatch
):
    """A worker starts without. Garbage of the warm-up may hold memory of the device."""
    config.register()
    run = config.resolve(config.compose([f"data.root={digits}", "seed=1", *TINY]), processes=1)
    found: list[bool] = []
    monkeypatch.setattr(StandardLearner, "warm_up", lambda *_: found.append(gc.isenabled()))
    log = EventLog(time.time, [Recorder()])
    gc.disable()
    try:
        parts = build(run, Solo(torch.device("cpu")), Clock(time.time), log, Heartbeat())
    finally:
        gc.enable()
    parts.data.close()
    assert found == [True]
    pixels, labels = parts.example
    assert (pixels.is_meta, labels.is_meta) == (True, True)  # to count FLOPs, without memory
    assert pixels.shape[1:] == (3, 8, 8)
