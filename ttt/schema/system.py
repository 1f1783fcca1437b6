"""The machine, as a reader of the result sees it: MLPerf's systems file, a price, energy."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ttt.errors import fault
from ttt.schema.choices import Energy
from ttt.schema.rules import not_positive

# What MLCommons' system_desc_checker wants in a systems file, in its order.
FIELDS = (
    "submitter division status system_name number_of_nodes host_processors_per_node"
    " host_processor_model_name host_processor_core_count host_processor_vcpu_count"
    " host_processor_frequency host_processor_caches host_processor_interconnect"
    " host_memory_capacity host_storage_type host_storage_capacity host_networking"
    " host_networking_topology host_memory_configuration accelerators_per_node"
    " accelerator_model_name accelerator_host_interconnect accelerator_frequency"
    " accelerator_on-chip_memories accelerator_memory_configuration accelerator_memory_capacity"
    " accelerator_interconnect accelerator_interconnect_topology cooling hw_notes framework"
    " other_software_stack operating_system sw_notes"
).split()
# `submission_status` of MLPerf's log: the word that systems files have for it since 4.0.
STATUSES = {
    "onprem": "Available on-premise",
    "cloud": "Available cloud",
    "preview": "Preview",
    "research": "Research, Development, or Internal (RDI)",
}
# Fields that follow from settings a run has anyway.
_ELSEWHERE = {
    "submitter": "submission.org",
    "division": "benchmark.division",
    "status": "system.status",
    "number_of_nodes": "launcher.nodes",
}
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")  # MLCommons' repo_checker wants no blanks


@dataclass
class SystemConfig:
    """What kind of machine this is, and what an hour of it costs.

    Attributes:
        id: Name of the systems file and of its folder of results; null is made of what it has.
        status: Whether one can buy it, in the words of `STATUSES`; null follows
            `submission.status`.
        energy: Whether to read the counters of GPUs and CPUs.
        price_per_hour: Of one node, in any currency; null is unknown.
        peak_tflops: Dense peak of one accelerator, or of one node of CPUs, in the run's precision,
            in 10^12 FLOP/s; null: the data sheet's, if ttt knows it. Utilization is a share of it.
        memory_gb: Of one accelerator, in 10^9 bytes; null: the data sheet's, if ttt knows it.
            `ttt plan` asks whether a run fits.
        description: Fields of the systems file; null is what the machine says of itself.
    """

    id: str | None = None
    status: str | None = None
    energy: Energy = Energy.auto
    price_per_hour: float | None = None
    peak_tflops: float | None = None
    memory_gb: float | None = None
    description: dict[str, Any] = field(default_factory=dict)

    def availability(self, submission_status: str) -> str:
        """The status in the words of the systems file."""
        return self.status or STATUSES[submission_status]

    def problems(self, submission_status: str) -> Iterator[str]:
        """What is wrong with the system."""
        if self.id is not None and not _FILE_NAME.fullmatch(self.id):
            allowed = "a file name of letters, digits and _ . + -"
            yield fault("system.id", self.id, allowed=allowed, typed="dgx_h100_n8")
        if self.status is not None and self.status not in STATUSES.values():
            words = " | ".join(f'"{word}"' for word in STATUSES.values())
            typed = f"""'system.status="{STATUSES["cloud"]}"'"""
            yield fault("system.status", self.status, allowed=words, typed=typed)
        elif self.status is None and submission_status not in STATUSES:
            allowed, typed = ", ".join(STATUSES), "research"
            yield fault("submission.status", submission_status, allowed=allowed, typed=typed)
        yield from not_positive("system", self, "price_per_hour peak_tflops memory_gb")
        for name in self.description:
            if name in _ELSEWHERE:
                yield f"system.description.{name} is set by {_ELSEWHERE[name]}=..."
