"""Where tables go: every row has a place, none has too many, and what does not fit is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttt.distributed.sharding_plan import plan
from ttt.errors import ConfigError

# mlcommons/training, recommendation_v2/torchrec_dlrm/README.MD
CRITEO = [40_000_000, 39_060, 17_295, 7_424, 20_265, 3, 7_122, 1_543, 63, 40_000_000, 3_067_956]
CRITEO += [405_282, 10, 2_209, 11_938, 155, 4, 976, 14, 40_000_000, 40_000_000, 40_000_000]
CRITEO += [590_152, 12_973, 108, 36]
HOTS = [3, 2, 1, 2, 6, 1, 1, 1, 1, 7, 3, 8, 1, 6, 9, 5, 1, 1, 1, 12, 100, 27, 10, 3, 1, 1]
BIG = {0, 9, 19, 20, 21}
GB = 10**9


def criteo(mode="auto", size=8, memory=None):
    return plan(mode, CRITEO, HOTS, dim=128, row_bytes=128 * 8, size=size, memory=memory)


@given(
    st.sampled_from(["auto", "table", "row"]),
    st.lists(st.tuples(st.integers(1, 100_000), st.integers(1, 9)), min_size=1, max_size=12),
    st.integers(1, 9),
)
def test_every_row_has_one_place(mode, tables, size):
    rows, hots = zip(*tables, strict=True)
    chosen = plan(mode, rows, hots, dim=32, row_bytes=256, size=size, memory=None)
    places = [(t, row) for t in chosen.replicated for row in (0, rows[t])]
    for rank in range(size):
        assert [piece.table for piece in chosen.pieces(rank)] == chosen.tables(rank)
        for table, first, count in chosen.pieces(rank):
            assert count >= 0
            places += [(table, first), (table, first + count)] if count else []
    for table, count in enumerate(rows):
        edges = sorted(row for t, row in places if t == table)
        assert edges[0] == 0
        assert edges[-1] == count
        assert edges[1:-1:2] == edges[2:-1:2]  # each piece begins where the one before ends
    assert chosen.sharded == (len(chosen.replicated) < len(rows))
    assert mode == "auto" or not chosen.replicated


def test_the_real_tables_on_eight_devices():
    chosen = criteo()
    assert set(chosen.cut) == BIG
    assert {t for t, count in enumerate(CRITEO) if count <= 2048} == set(chosen.replicated)
    loads = [chosen.bytes(rank) for rank in range(8)]
    assert sum(CRITEO) * 1024 / 8 <= max(loads) < 1.15 * sum(CRITEO) * 1024 / 8
    # Nobody else has the largest of the others; the second largest have one process each.
    assert len({chosen.owners[t] for t in (10, 11, 22)}) == 3


def test_few_devices_keep_tables_whole_until_memory_is_short():
    assert set(criteo(size=2).owners) >= BIG - {0}
    roomy, tight = (criteo(size=2, memory=memory * GB) for memory in (200, 110))
    assert not roomy.cut
    assert tight.cut
    assert set(tight.cut) <= BIG
    assert max(tight.bytes(rank) for rank in range(2)) <= 110 * GB


@pytest.mark.parametrize(
    ("mode", "size", "words"),
    [
        ("auto", 2, "at least 3 processes"),
        ("table", 4, "model.sharding=auto"),
        ("row", 2, "model.sharding=auto"),
        ("auto", 1, "at least 3 processes"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_remedy(mode, size, words):
    with pytest.raises(ConfigError, match=f"209 GB in all, and 80 GB are there.*{words}"):
        criteo(mode, size, memory=80 * GB)


def test_the_plan_is_a_table_to_read():
    lines = str(criteo()).splitlines()
    assert lines[0].split() == ["table", "rows", "MB", "where"]
    assert lines[1].split(maxsplit=3) == ["0", "40,000,000", "40,960.0", "rows over 8 processes"]
    assert lines[6].split(maxsplit=3) == ["5", "3", "0.0", "every process"]
    assert lines[11].split()[-2] == "process"
    assert len(lines) == 1 + 26 + 8
