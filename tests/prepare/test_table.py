"""Records of one's own: what a column is, what becomes of missing values, and what is told."""

import bz2
import gzip
import json
import lzma
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ttt.data.records import width
from ttt.errors import ConfigError, DataError
from ttt.prepare import table
from ttt.prepare.columns import Column, read

HEADER = "id,when,shop,price,size,flag,same,note,bought"
ROWS = 40


def line(i: int) -> str:
    """Row i: prices 0 to 117, a size that is known for every second row, three shops."""
    size = "" if i % 2 else str(i)
    return (
        f"{1000 + i},2024-01-{1 + i // 2:02d}T0{i % 10}:00:00Z,shop {i % 3},{3 * i}.0,{size},"
        f"{i % 2},x,text {i},{'yes' if i % 4 == 0 else 'no'}"
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "sales.csv"
    path.write_text("\n".join([HEADER, *map(line, range(ROWS))]) + "\n\n")
    return path


def manifest(out: Path) -> dict:
    return json.loads((out / "manifest.json").read_text())


def parts(out: Path) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Labels, dense features and ids of both parts."""
    told, found = manifest(out), {}
    words = width(told["dense"], told["hots"])
    for part, count in told["counts"].items():
        records = np.fromfile(out / f"{part}.bin", "<i4").reshape(count, words)
        labels, dense, ids = np.split(records, [1, 1 + told["dense"]], axis=1)
        found[part] = labels[:, 0], dense.copy().view("<f4"), ids
    return found


def test_what_a_column_is_follows_from_its_values(source, tmp_path):
    remarks = table.prepare(tmp_path / "out", [source], label="bought")
    told = manifest(tmp_path / "out")
    assert told["features"] == {
        "dense": ["price", "size", "size is missing", "flag"],
        "ids": ["shop"],
    }
    assert told["left_out"]["columns"] == {
        "id": "it numbers the rows",
        "when": "it is a time; --time splits by it",
        "same": "it is the same in every row",
        "note": "it is another text in every row",
    }
    assert told["label"] == {"column": "bought", "positive": "yes"}
    assert told["counts"] == {"train": 32, "eval": 8}
    assert "left out: same, it is the same in every row" in remarks


def test_a_split_by_time_puts_the_latest_into_the_evaluation(source, tmp_path):
    lines = source.read_text().splitlines()
    source.write_text("\n".join([lines[0], *reversed(lines[1:41])]))
    table.prepare(tmp_path / "out", [source], label="bought", time="when", categorical=["flag"])
    found = parts(tmp_path / "out")
    told = manifest(tmp_path / "out")
    labels, dense, ids = found["train"]
    price, size, missing = dense.T[:3]
    assert labels.tolist() == [int(i % 4 == 0) for i in range(31, -1, -1)]
    assert (np.diff(price) < 0).all()
    assert price.mean() == pytest.approx(0, abs=1e-6)
    assert price.std() == pytest.approx(1, abs=1e-6)
    assert missing.tolist() == [i % 2 for i in range(31, -1, -1)]
    assert (size[missing == 1] == 0).all()  # the mean of what is known
    assert told["features"]["ids"] == ["shop", "flag"]
    assert told["rows"] == [4, 3]  # and an id for what training does not know
    assert ids[:, 0].tolist() == [1 + i % 3 for i in range(31, -1, -1)]
    assert found["eval"][1][:, 0].min() > price.max()


def test_rows_of_one_moment_stay_together(tmp_path):
    path = tmp_path / "days.csv"
    path.write_text("day,a,y\n" + "".join(f"{i // 5},{i % 7},{i % 2}\n" for i in range(20)))
    table.prepare(tmp_path / "out", [path], label="y", time="day", eval_share=0.4)
    assert manifest(tmp_path / "out")["counts"] == {"train": 10, "eval": 10}


def test_a_time_that_leaves_one_kind_in_a_part_is_told(tmp_path):
    path = tmp_path / "days.csv"
    path.write_text("day,a,y\n" + "".join(f"{i},{i % 7},{i > 15:d}\n" for i in range(20)))
    with pytest.raises(ConfigError, match="of 4 rows to evaluate on, y says yes in 4") as caught:
        table.prepare(tmp_path / "out", [path], label="y", time="day")
    assert "of 16 rows to train on, y says yes in 0" in str(caught.value)


def test_rows_drawn_by_chance_are_the_same_for_a_seed(source, tmp_path):
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        table.prepare(tmp_path / name, [source], label="bought", seed=seed)
        found.append((tmp_path / name / "eval.bin").read_bytes())
    assert found[0] == found[1] != found[2]


def packed(source: Path, kind: str) -> Path:
    path = source.with_name(f"{source.name}.{kind}")
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(source, "sales.csv")
            archive.writestr("README.txt", "about")
    else:
        compress = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[kind]
        path.write_bytes(compress(source.read_bytes()))
    return path


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zip"])
def test_a_packed_table_is_the_same(kind, source, tmp_path):
    plain, unpacked = (read([path], None) for path in (source, packed(source, kind)))
    assert list(plain) == list(unpacked) == HEADER.split(",")
    assert all(plain[name].codes == unpacked[name].codes for name in plain)
    damaged = packed(source, kind)
    damaged.write_bytes(damaged.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"sales.csv.* cannot be read"):
        read([damaged], None)


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_other_delimiters_are_seen_and_parts_joined(mark, source, tmp_path):
    lines = source.read_text().replace(",", mark).splitlines()[:41]
    halves = [tmp_path / "1.csv", tmp_path / "2.csv"]
    halves[0].write_text("\n".join(lines[:20]))
    halves[1].write_text("\n".join([lines[0], *lines[20:]]))
    whole, joined = read([source], None), read(halves, None)
    assert all(whole[name].codes == joined[name].codes for name in whole)
    halves[1].write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="have different columns"):
        read(halves, None)


@pytest.mark.parametrize(
    ("values", "options", "positive"),
    [
        ("0 1", {}, "1"),
        ("-1 1", {}, "1"),
        ("2.0 10.0", {}, "10.0"),
        ("True False", {}, "True"),
        ("N Y", {}, "Y"),
        ("good bad", {"positive": "good"}, "good"),
        ("1 2 3", {"above": 2}, "above 2"),
        ("1 2 3", {"positive": "2"}, "2"),
    ],
)
def test_which_value_says_yes(values, options, positive, tmp_path):
    given = (values.split() * 30)[:60]
    path = tmp_path / "t.csv"
    path.write_text("a,y\n" + "".join(f"{i % 7},{value}\n" for i, value in enumerate(given)))
    table.prepare(tmp_path / "out", [path], label="y", **options)
    assert manifest(tmp_path / "out")["label"]["positive"] == positive
    yes = sum(int(labels.sum()) for labels, _, _ in parts(tmp_path / "out").values())
    right = positive.removeprefix("above ") if "above" not in options else "3"
    assert yes == given.count(right)


def test_rows_without_a_label_are_left_out_and_told(source, tmp_path):
    source.write_text(source.read_text().replace(",yes\n", ",NULL\n", 2))
    remarks = table.prepare(tmp_path / "out", [source], label="bought")
    assert sum(manifest(tmp_path / "out")["counts"].values()) == ROWS - 2
    assert "left out: 2 rows without a label or time" in remarks


def test_a_table_of_one_kind_of_columns_fits_the_loader(tmp_path):
    for name, fields in (("words", "ab"), ("numbers", "12")):
        path = tmp_path / f"{name}.csv"
        path.write_text("a,y\n" + "".join(f"{fields[i % 2]},{i % 3 == 0:d}\n" for i in range(60)))
        table.prepare(tmp_path / name, [path], label="y")
        told = manifest(tmp_path / name)
        assert told["dense"] == len(told["rows"]) == 1
    assert manifest(tmp_path / "words")["features"] == {"dense": ["nothing"], "ids": ["a"]}
    assert manifest(tmp_path / "numbers")["features"] == {"dense": ["a"], "ids": ["nothing"]}


def test_one_wrong_number_does_not_decide_all_others(tmp_path):
    path = tmp_path / "t.csv"
    values = [str(i % 5) for i in range(400)]
    values[7] = "1e30"
    path.write_text("a,y\n" + "".join(f"{v},{i % 2}\n" for i, v in enumerate(values)))
    table.prepare(tmp_path / "out", [path], label="y")
    for _, dense, _ in parts(tmp_path / "out").values():
        assert np.isfinite(dense).all()
        assert np.abs(dense).max() <= 10


DECIMALS = [f"{i * 0.37:.3f}" for i in range(300)]


def prepared(tmp_path, values, **options):
    """What is said of a table with these values of x and a good column, and its manifest."""
    path = tmp_path / "t.csv"
    labels = ("yes", "no", "yes ", " no")
    rows = (f"{value},{i % 7},{labels[i % 4]}\n" for i, value in enumerate(values))
    path.write_text("x,good,y\n" + "".join(rows))
    told = table.prepare(tmp_path / "out", [path], label="y", **options)
    return "\n".join(told), manifest(tmp_path / "out")


@pytest.mark.parametrize("odd", ["inf", "1e400", "NAN", "-"])
def test_one_odd_value_among_numbers_is_named(odd, tmp_path):
    values = [*DECIMALS[:5], odd, *DECIMALS[6:]]
    said, told = prepared(tmp_path, values)
    why = f"{odd!r} in row 6 below the header is no finite number; 299 others are"
    assert f"left out: x, {why}; to take what is none as missing, type --numeric x" in said
    assert told["left_out"]["columns"]["x"].startswith(why)


def test_odd_values_are_missing_where_numeric_says_so(tmp_path):
    values = [*DECIMALS[:5], "-", "-", *DECIMALS[7:]]
    (tmp_path / "a").mkdir()
    said, told = prepared(tmp_path / "a", values)
    assert told["features"]["ids"] == ["x"]
    why = "'-' in row 6 below the header is no finite number (the first of 2 such rows)"
    assert f"x: taken as categories: {why}; 298 others are" in said
    (tmp_path / "b").mkdir()
    said, told = prepared(tmp_path / "b", values, numeric=["x"])
    assert told["features"]["dense"][0] == "x"
    assert told["left_out"]["columns"] == {}
    assert f"x: {why}; 298 others are; taken as missing" in said
    dense = np.concatenate([part[1][:, 0] for part in parts(tmp_path / "b" / "out").values()])
    assert len(np.unique(dense)) == 299  # and 0 where it is not known


@pytest.mark.parametrize("large", ["1e38", "1e300"])
def test_numbers_that_scaling_makes_one_are_told(large, tmp_path):
    said, _ = prepared(tmp_path, [large if i % 100 < 3 else DECIMALS[i] for i in range(300)])
    assert "x: of its 292 different numbers, " in said
    assert "--leave-out x" in said


def test_numbers_that_stay_apart_need_no_remark(tmp_path):
    said, _ = prepared(tmp_path, DECIMALS)
    assert "x: " not in said


def test_numbers_that_differ_only_beyond_64_bits(tmp_path):
    said, _ = prepared(tmp_path, [str(10**25 + i) for i in range(300)])
    assert "left out: x, its 300 different numbers are one at 64 bits" in said


def test_all_that_is_wrong_with_the_columns_named_is_told_at_once(source, tmp_path):
    with pytest.raises(ConfigError) as caught:
        table.prepare(
            tmp_path / "out",
            [source],
            label="bougth",
            numeric=["price", "shop"],
            leave_out=["price"],
        )
    assert caught.value.problems == (
        f"--label bougth: there is no such column, but {HEADER.replace(',', ', ')}; --label bought",
        "price is named by --numeric and by --leave-out; name it once",
    )
    with pytest.raises(ConfigError) as caught:
        table.prepare(tmp_path / "out", [source], label="bought", numeric=["shop"], time="note")
    assert [one.split(";")[0] for one in caught.value.problems] == [
        "--numeric shop: 'shop 0' is no number",
        "--time note: not all values are numbers, or times as 2013-01-31T23:59:00",
    ]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "--label is not given; allowed: one of id, when"),
        ({"label": "shop"}, "3 different values .* type --positive VALUE$"),
        ({"label": "price"}, "40 different values .* type --positive VALUE or --above X"),
        ({"label": "shop", "positive": "shop 9"}, "is no value of shop; --positive shop"),
        ({"label": "shop", "above": 1.0}, "--above 1 needs numbers"),
        ({"label": "price", "above": 999.0}, "says yes in 0; each kind is needed twice"),
        ({"label": "bought", "eval_share": 0.0}, "--eval-share 0 is no share"),
        ({"label": "bought", "delimiter": "--"}, "is not one character"),
        ({"label": "flag", "positive": "1", "above": 0.0}, "type one of them"),
        ({"label": "bought", "leave_out": HEADER.split(",")[1:8]}, "no column is left"),
    ],
)
def test_what_does_not_fit_the_table_is_told(options, said, source, tmp_path):
    with pytest.raises(ConfigError, match=said):
        table.prepare(tmp_path / "out", [source], **options)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has 1 columns|has 0 columns"),
        ("a,b,a\n1,2,3\n", "several columns a"),
        ("a,b\n1,2\n1,2,3\n", "line 3 has 3 fields; allowed: as many as the header, 2"),
        ("a,b\n1,\xe9\n", "is not UTF-8"),
        ("a,b\n" + "1,2\n" * 500 + "1,\xe9\n" + "1,2\n" * 3000, "line 502: byte 0xe9 is not"),
        ("a,b\n" + '1,"x\ny"\n' * 9 + "1,\xe9\n", "line 20: byte 0xe9 is not UTF-8"),
        ("a,b\n", "t.csv has no rows below the header; allowed: 4 at least"),
        ("a,b\n1,2\n", "t.csv has one row below the header; allowed: 4 at least"),
        ('a,b\n1,2\n1,"' + "x" * 140_000, "line 3: a field has more than 131072 .* sed -n 3p"),
    ],
)
def test_what_is_no_table_is_told(text, said, tmp_path):
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=said):
        read([tmp_path / "t.csv"], None)


def test_the_same_is_left_alone_and_another_is_refused(source, tmp_path):
    table.prepare(tmp_path / "out", [source], label="bought")
    table.prepare(tmp_path / "out", [source], lambda *_: pytest.fail("again"), label="bought")
    with pytest.raises(DataError, match="--out DIR"):
        table.prepare(tmp_path / "out", [source], label="bought", seed=2)


def test_numbers_are_what_people_write():
    column = Column("x")
    for text in ("1", " 2.5", "-3e2", "NA"):
        column.append(text)
    np.testing.assert_array_equal(column.numbers, [1, 2.5, -300, np.nan])
    for text in ("1_000", "inf", "0x10", "1,5"):
        odd = Column("x")
        odd.append(text)
        assert odd.numbers is None, text
