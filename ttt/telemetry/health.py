"""Is the loss still a number? Answered without making the training step wait."""

import torch
from torch import Tensor

from ttt.watcher import NEVER


class LossWatch:
    """Remembers, on the device, the latest loss and the first step whose loss was not finite.

    On a GPU the two numbers reach the host by an asynchronous copy. Each look starts one and sees
    what the last one brought, so a look costs no synchronisation and is one look late.
    """

    def __init__(self, device: torch.device) -> None:
        self._bad = torch.full((), NEVER, dtype=torch.int64, device=device)
        self._loss = torch.zeros((), device=device)
        self._arrived: tuple[int, float | None] = (NEVER, None)
        self._landing: tuple[Tensor, Tensor] | None = None
        self._copied = torch.cuda.Event() if device.type == "cuda" else None

    def see(self, loss: Tensor, step: int) -> None:
        """Take in the loss of a step, a scalar on the device, without waiting for it."""
        self._loss = loss.detach()
        self._bad = torch.where(torch.isfinite(self._loss), self._bad, self._bad.clamp(max=step))

    def look(self, *, wait: bool = False) -> tuple[int, float | None]:
        """The first bad step (NEVER if none) and a recent loss (None before the first)."""
        if self._copied is None:
            self._arrived = int(self._bad), float(self._loss)
            return self._arrived
        if self._landing is None or wait:
            self._send()
        if wait:
            self._copied.synchronize()
        if self._copied.query() and self._landing is not None:
            bad, loss = self._landing
            self._arrived = int(bad), float(loss)
            self._send()
        return self._arrived

    def _send(self) -> None:
        assert self._copied is not None
        self._landing = (
            torch.empty((), dtype=torch.int64, pin_memory=True).copy_(self._bad, non_blocking=True),
            torch.empty((), pin_memory=True).copy_(self._loss, non_blocking=True),
        )
        self._copied.record()
