"""Machines made up from four numbers, for the tests of who gets which CPUs."""

from ttt.machine.topology import Core, Topology


def machine(sockets, nodes, cores, smt=1):
    """So many sockets of so many NUMA nodes each, numbered as Linux numbers an x86 machine.

    The second SMT siblings come after all the first; distances are those of AMD's NPS modes.
    """
    total = sockets * nodes * cores
    return Topology(
        cores=tuple(
            Core(tuple(range(core, total * smt, total)), core // (nodes * cores), core // cores)
            for core in range(total)
        ),
        distances={
            a: {
                b: 10 if a == b else 12 if a // nodes == b // nodes else 32
                for b in range(sockets * nodes)
            }
            for a in range(sockets * nodes)
        },
    )


def everything(topology):
    return frozenset(cpu for core in topology.cores for cpu in core.cpus)
