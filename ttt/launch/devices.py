"""How many GPUs a process started here would see, without loading torch."""

from ttt.machine.visible_gpus import count as visible_gpus

ON_A_CPU = 2  # processes on a node without GPUs, where no setting gives a number


def device_problems(device: str) -> list[str]:
    """What is wrong with asking for this device here."""
    if device == "cuda" and not visible_gpus():
        return ["device=cuda and no GPU is visible; allowed: device=cpu, or device=auto"]
    return []


def processes_per_node(device: str) -> int:
    """Processes where no setting gives a number: one for each visible GPU."""
    return (0 if device == "cpu" else visible_gpus()) or ON_A_CPU


def starting_problems(device: str, *, procs: int, nodes: int) -> list[str]:
    """What is wrong with starting so many processes on so many nodes, of which this is one."""
    found = device_problems(device)
    for name, value in (("procs", procs), ("nodes", nodes)):
        if value < 1:
            found.append(
                f"launcher.{name}={value} is not allowed; allowed: above 0; launcher.{name}=1"
            )
    seen = 0 if device == "cpu" else visible_gpus()
    if 0 < seen < procs:
        found.append(
            f"launcher.procs={procs} is more than the {seen} visible GPUs; launcher.procs={seen},"
            " or device=cpu"
        )
    return found
