"""Optimizer state in parts while every process has the whole model: ZeRO, stage 1.

Each process updates some of the parameters, and all get the new values (Rajbhandari et al. 2019,
arXiv:1910.02054, section 5.1). Parameters are not cut, so that any optimizer fits whose update of a
parameter depends on that parameter alone.

Why not torch's ZeroRedundancyOptimizer: it makes its optimizer from a class and settings, and ours
come made, with groups; and it collects the state of all processes on one to save it.
"""

import torch
from torch import Tensor, nn

from ttt.distributed.axis import gather_into
from ttt.protocols import World


class Zero1:
    """Lets a process keep the optimizer state of its share of the parameters alone.

    Args:
        optimizer: Of all trained parameters, before its first update; some are taken from it.
        world: The processes; each has all weights and the same gradients.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, world: World) -> None:
        self._rank = world.rank
        every = [one for group in optimizer.param_groups for one in group["params"]]
        self._shares = divided(every, world.size)
        mine = set(self._shares[world.rank])
        for group in optimizer.param_groups:
            group["params"] = [one for one in group["params"] if one in mine]
        optimizer.param_groups = [group for group in optimizer.param_groups if group["params"]]
        for one in list(optimizer.state):
            if one not in mine:
                del optimizer.state[one]
        optimizer.register_step_post_hook(lambda *_: self._exchange())

    @torch.no_grad()
    def _exchange(self) -> None:
        """Give the others what this process updated, and forget gradients it has no use for."""
        for dtype in sorted({one.dtype for share in self._shares for one in share}, key=str):
            shares = [[one for one in share if one.dtype == dtype] for share in self._shares]
            room = max(sum(one.numel() for one in share) for share in shares)
            device = next(one.device for share in shares for one in share)
            own = torch.zeros(room, dtype=dtype, device=device)
            own[: sum(one.numel() for one in shares[self._rank])] = flat(shares[self._rank], own)
            every = own.new_empty(room * len(shares))
            gather_into(every, own)
            for share, values in zip(shares, every.split(room), strict=True):
                sizes = [one.numel() for one in share]
                parts = values[: sum(sizes)].split(sizes)
                for one, part in zip(share, parts, strict=True):
                    one.copy_(part.view_as(one))
        for number, share in enumerate(self._shares):
            for one in share if number != self._rank else ():
                one.grad = None


def flat(tensors: list[nn.Parameter], like: Tensor) -> Tensor:
    """All values, one after the other; none have the type of `like`."""
    return torch.cat([like[:0], *(one.detach().flatten() for one in tensors)])


def divided(weights: list[nn.Parameter], count: int) -> list[list[nn.Parameter]]:
    """Parameters in lists of about as many values each; alike on every process.

    The largest come first, each to the list that has least.
    """
    lists: list[list[nn.Parameter]] = [[] for _ in range(count)]
    loads = [0] * count
    for place in sorted(range(len(weights)), key=lambda place: (-weights[place].numel(), place)):
        least = loads.index(min(loads))
        lists[least].append(weights[place])
        loads[least] += weights[place].numel()
    return lists
