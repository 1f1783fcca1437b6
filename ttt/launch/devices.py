"""How many GPUs a process started here would see, without loading torch."""

from ttt.errors import fault
from ttt.machine.visible_gpus import count as visible_gpus

ON_A_CPU = 2  # processes on a node without GPUs, where no setting gives a number


def device_problems(device: str) -> list[str]:
    """What is wrong with asking for this device here."""
    if device == "cuda" and not visible_gpus():
        allowed = "device=cpu, or device=auto"
        return [fault("device", device, "and no GPU is visible", allowed=allowed)]
    return []


def processes_per_node(device: str) -> int:
    """Processes where no setting gives a number: one for each visible GPU."""
    return (0 if device == "cpu" else visible_gpus()) or ON_A_CPU


def starting_problems(device: str, *, procs: int, nodes: int) -> list[str]:
    """What is wrong with starting so many processes on so many nodes, of which this is one."""
    found = device_problems(device)
    for name, value in (("procs", procs), ("nodes", nodes)):
        if value < 1:
            found.append(fault(f"launcher.{name}", value, allowed="above 0", typed="1"))
    seen = 0 if device == "cpu" else visible_gpus()
    if 0 < seen < procs:
        why, typed = (
            f"is more than the {seen} visible GPUs",
            f"launcher.procs={seen}, or device=cpu",
        )
        found.append(fault("launcher.procs", procs, why, typed=typed))
    return found
