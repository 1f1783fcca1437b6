"""What holds for the shares of any ranks on any machine."""

from itertools import combinations, permutations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from affinity_machines import everything, machine
from ttt.machine.affinity import plan
from ttt.machine.topology import Core, Topology


@st.composite
def questions(draw):
    """A machine, what may be used of it, how many ranks, and where their GPUs are."""
    size = [draw(st.integers(1, most)) for most in (2, 4, 6, 2)]
    made = machine(*size)
    allowed = draw(st.frozensets(st.sampled_from(sorted(everything(made))), min_size=1))
    if draw(st.booleans()):
        allowed = everything(made)
    ranks = draw(st.integers(1, 10))
    nodes = st.one_of(st.none(), st.integers(0, size[0] * size[1] - 1))
    return made, allowed, ranks, draw(st.lists(nodes, max_size=ranks))


def cores_of(made, cpus):
    return [core for core in made.cores if not cpus.isdisjoint(core.cpus)]


@settings(deadline=None)
@given(questions())
def test_shares_are_disjoint_allowed_and_never_empty(question):
    made, allowed, ranks, gpus = question
    shares = plan(made, allowed, ranks, gpus)
    assert len(shares) == ranks
    assert all(share.cpus and share.cpus <= allowed for share in shares)
    if len(allowed) >= ranks:
        assert all(a.cpus.isdisjoint(b.cpus) for a, b in combinations(shares, 2))
    else:
        assert all(share.cpus == allowed for share in shares)


@settings(deadline=None)
@given(questions())
@example(
    (
        Topology(cores=tuple(Core((cpu, cpu + 6), 0, cpu // 3) for cpu in range(6))),
        frozenset(range(8)),
        7,
        [],
    )
)
def test_cores_stay_whole_where_there_are_enough(question):
    made, allowed, ranks, gpus = question
    shares = plan(made, allowed, ranks, gpus)
    if len(cores_of(made, allowed)) < ranks:
        assert all(share.threads == 1 for share in shares)
        return
    for share in shares:
        mine = cores_of(made, share.cpus)
        assert share.cpus == allowed & frozenset(cpu for core in mine for cpu in core.cpus)
        assert share.threads == len(mine)
        assert share.numa == tuple(sorted({core.node for core in mine}))


@settings(deadline=None)
@given(questions())
def test_nothing_is_left_out_without_gpus(question):
    made, allowed, ranks, _ = question
    shares = plan(made, allowed, ranks)
    assert frozenset().union(*(share.cpus for share in shares)) == allowed


@settings(deadline=None)
@given(questions())
def test_shares_of_one_node_differ_by_at_most_a_core(question):
    made, allowed, ranks, gpus = question
    here = frozenset(cpu for core in made.cores if core.node == 0 for cpu in core.cpus) & allowed
    sizes = [share.threads for share in plan(made, here, ranks, gpus)] if here else [0]
    assert max(sizes) - min(sizes) <= 1


@settings(deadline=None)
@given(questions())
def test_shares_of_one_socket_differ_by_at_most_a_core(question):
    made, allowed, ranks, gpus = question
    shares = plan(made, allowed, ranks, gpus)
    socket = {core.node: core.socket for core in made.cores}
    sizes = {}
    for share in shares:
        sizes.setdefault(tuple({socket[node] for node in share.numa}), []).append(share.threads)
    assert all(max(of) - min(of) <= 1 for of in sizes.values())


@settings(deadline=None)
@given(questions())
def test_a_rank_has_cores_of_its_gpus_node_where_there_are_enough(question):
    made, _, ranks, gpus = question
    shares = plan(made, everything(made), ranks, gpus)
    for share, gpu in zip(shares, gpus, strict=False):
        if gpu is not None and sum(core.node == gpu for core in made.cores) >= ranks:
            assert gpu in share.numa


@settings(deadline=None)
@given(questions(), st.randoms(use_true_random=False))
def test_the_order_in_which_a_machine_is_told_changes_nothing(question, random):
    made, allowed, ranks, gpus = question
    shuffled = Topology(tuple(random.sample(made.cores, len(made.cores))), made.distances)
    assert plan(shuffled, allowed, ranks, gpus) == plan(made, allowed, ranks, gpus)


def test_which_rank_has_which_gpu_changes_only_who_gets_what():
    made = machine(2, 2, 6, smt=2)
    expected = {0: (4, (0, 1)), 1: (4, (1,)), 2: (6, (2,)), 3: (6, (3,))}
    for gpus in permutations([0, 0, 1, 2, 3]):
        shares = plan(made, everything(made), 5, gpus)
        assert [share.threads for share in shares] == [expected[gpu][0] for gpu in gpus]
        assert [share.numa for share in shares] == [expected[gpu][1] for gpu in gpus]
