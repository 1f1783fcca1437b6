"""The examination by ranks that meet as those of a run do. Needs torch.

They meet on the CPU, also where they will train on GPUs: gloo carries the facts, and NCCL, which
may be what is broken, is examined like any other part.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace

import torch

from ttt import config
from ttt.distributed import mpi
from ttt.distributed import world as dist_world
from ttt.doctor import checks, compute
from ttt.doctor.device import Guard
from ttt.doctor.examination import Context, Stage, examine
from ttt.doctor.findings import Finding, failure
from ttt.errors import TttError
from ttt.signals import obey

Report = Callable[[Iterable[Finding]], None]

# A rank that is stuck is a finding. Nothing here lets the others wait for longer than NCCL does,
# which is given a minute to connect (`ttt.distributed.bench`).
_ANSWER_SECONDS = 120.0


def meet(context: Context, text: str | None, report: Report) -> int | None:
    """Meet the other ranks and make all checks.

    Args:
        context: Of this rank, with the facts of the local stage.
        text: The message, see `ttt.doctor.__main__`; None elsewhere than on rank 0.
        report: Takes the findings as they are made, the same on every rank.

    Returns:
        The number of nodes; None if the ranks did not meet, or lost each other.
    """
    placement, met = context.placement, False
    try:
        with dist_world.join(placement, text, lambda _, __: torch.device("cpu")) as (world, shared):
            met = True
            world.expect_answers_within(_ANSWER_SECONDS)
            mpi.leave()  # MPI was needed to meet; from here on gloo carries everything
            joined = context.joined(json.loads(shared), world.gather)
            device = compute.choose(joined.run.device, world.local_rank)
            table = checks.WITHOUT_TORCH + checks.with_torch(world, device)
            report(examine(replace(joined, guard=Guard(device)), table))
            return world.nodes
    except Exception as error:
        obey()
        if not isinstance(error, TttError) and not dist_world.lost_peer(error):
            raise
        if not met:
            run = config.load(json.loads(text)["config"]) if text else context.run
            local = [one for one in checks.WITHOUT_TORCH if one.stage is Stage.local]
            report(examine(replace(context, run=run), local))
        if not placement or placement.rank == 0 or not dist_world.lost_peer(error):
            report([_lost(error, met)])  # else rank 0 reports it
        return None


def _lost(error: Exception, met: bool) -> Finding:
    sentence = str(error).partition("\n")[0]
    problem, _, advice = sentence.rpartition("; ")
    if met:
        # gloo says: [file:line] reason. Advice
        reason, _, _ = re.sub(r"^\[\S*\]\s*", "", sentence).partition(". ")
        advice = "look on the other nodes: one of the processes ended, or cannot be reached"
        return failure("ranks", f"another rank is gone or stuck: {reason}", advice)
    return failure("ranks", problem or sentence, advice if problem else None)
