"""How far a point of a sweep is from the ideal, and which cause took how much. Pure."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Efficiency:
    """Shares of the ideal, against the smallest point of a sweep, which has 1 everywhere.

    Attributes:
        throughput: Samples a second for each worker while training; over all the time on the clock
            where `overhead` is unknown.
        statistical: Epochs of the smallest point over epochs of this one.
        overhead: What is left: evaluation, start-up, the cold first block. None where two
            witnesses do not agree on how fast it trained.
        time_to_train: The product: speed-up over growth.
    """

    throughput: float | None = None
    statistical: float | None = None
    overhead: float | None = None
    time_to_train: float | None = None

    @property
    def factors(self) -> dict[str, float]:
        """Those that are known of the three whose product it is."""
        named = {name: getattr(self, name) for name in ("throughput", "statistical", "overhead")}
        return {name: part for name, part in named.items() if part is not None}

    @property
    def losses(self) -> dict[str, float]:
        """The share of the ideal that each cause took, which add up to 1 - efficiency.

        The causes multiply: their logarithms add up, and share out what is lost. A factor above 1
        made up for others and takes nothing. With a factor unknown nothing can be shared out.
        """
        if self.time_to_train is None or self.time_to_train >= 1:
            return {}
        lost = 1 - self.time_to_train
        logs = {name: max(0.0, -math.log(part)) for name, part in self.factors.items()}
        total = sum(logs.values())
        if len(logs) < 3 or not total:
            return {"unknown": lost}
        return {name: lost * log / total for name, log in logs.items() if log}
