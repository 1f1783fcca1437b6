"""Criteo's days: the reference's steps written out plainly, resumed, refused by line."""

import csv
import gzip
import json
import random

import numpy as np
import pytest

from ttt import config
from ttt.data.records import width
from ttt.errors import DataError
from ttt.prepare import criteo, criteo_days, criteo_ids, criteo_lines
from ttt.prepare.criteo_lines import read_lines

MAX_ROWS = 50
ROWS = [min(rows, MAX_ROWS) for rows in criteo.ROWS]
WIDTH = width(13, criteo.HOTS)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Blocks and buckets so small that every stage goes round more than once."""
    monkeypatch.setattr(criteo_lines, "BLOCK", 2000)
    monkeypatch.setattr(criteo_ids, "_BLOCK", 300)
    monkeypatch.setattr(criteo_days, "BLOCK", 40)
    monkeypatch.setattr(criteo_days, "BUCKET", 30_000)


def line(draw):
    """A line in Criteo's format; words repeat, some fields are empty."""
    numbers = [draw.choice(["", "0", "-1", "7", str(draw.randrange(10**6))]) for _ in range(13)]
    words = [
        draw.choice(["", f"{draw.randrange(30) * 0x8000001:08x}", f"{draw.randrange(2**32):08x}"])
        for _ in range(26)
    ]
    return "\t".join([draw.choice("001"), *numbers, *words])


@pytest.fixture
def days(tmp_path):
    """Three days, the second packed, the third an odd number of lines without a last newline."""
    draw = random.Random(1)
    texts = ["\n".join(line(draw) for _ in range(count)) for count in (130, 141, 101)]
    paths = [tmp_path / name for name in ("day_0", "day_1.gz", "day_2")]
    paths[0].write_text(texts[0] + "\n")
    with gzip.open(paths[1], "wt") as file:
        file.write(texts[1] + "\n")
    paths[2].write_text(texts[2])
    return paths


def expected(paths):
    """Records of every day, by the reference's steps in their plainest form."""
    tables = []
    draw = np.random.RandomState(0)
    for rows, hot in zip(ROWS, criteo.HOTS, strict=True):
        further = draw.randint(0, rows, size=(rows, hot - 1))
        tables.append(np.concatenate([np.arange(rows)[:, None], further], axis=1))
    names = [{} for _ in ROWS]
    records = []
    for path in paths:
        with gzip.open(path, "rt") if path.suffix else path.open() as file:
            lines = list(csv.reader(file, delimiter="\t"))
        numbers = np.array([[int(field or "0") for field in fields[1:14]] for fields in lines])
        dense = np.log((numbers - (numbers.min() - 2)).astype(np.float32))
        words = [[int(field or "0", 16) for field in fields[14:]] for fields in lines]
        ids = [
            [names[i].setdefault(word, 2 + len(names[i])) % ROWS[i] for i, word in enumerate(row)]
            for row in words
        ]
        many = [np.concatenate([tables[i][one] for i, one in enumerate(row)]) for row in ids]
        labels = np.array([[int(fields[0])] for fields in lines])
        whole = [labels, dense.view(np.int32), np.array(many)]
        records.append(np.concatenate(whole, axis=1).astype(np.int32))
    return records


def stored(out, part):
    return np.fromfile(out / f"{part}.bin", np.int32).reshape(-1, WIDTH)


def in_some_order(records):
    return records[np.lexsort(records.T)]


def test_records_are_the_references(days, tmp_path):
    out, seen = tmp_path / "set", []
    criteo.prepare(out, days[::-1], lambda *now: seen.append(now), max_rows=MAX_ROWS)
    first, second, last = expected(days)
    np.testing.assert_array_equal(stored(out, "eval"), last[:51])  # the odd one is with these
    train, plain = stored(out, "train"), np.concatenate([first, second])
    np.testing.assert_array_equal(in_some_order(train), in_some_order(plain))
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["counts"] == {"train": 271, "eval": 51}
    assert (manifest["rows"], manifest["hots"]) == (ROWS, list(criteo.HOTS))
    assert sorted(path.name for path in out.iterdir()) == ["eval.bin", "manifest.json", "train.bin"]
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]


def test_the_training_days_are_mixed(days, tmp_path):
    criteo.prepare(tmp_path / "set", days, max_rows=MAX_ROWS)
    plain = np.concatenate(expected(days)[:2])
    place_of = {record.tobytes(): place for place, record in enumerate(plain)}
    places = [place_of[record.tobytes()] for record in stored(tmp_path / "set", "train")]
    assert abs(np.corrcoef(places, range(len(places)))[0, 1]) < 0.2
    assert np.mean(np.diff(places) == 1) < 0.05


@pytest.mark.parametrize("after", [1, 4, 20, 40, 55])
def test_interrupted_it_goes_on_and_ends_the_same(days, tmp_path, after):
    criteo.prepare(tmp_path / "whole", days, max_rows=MAX_ROWS)

    def interrupt(done, total):
        calls.append(done)
        if len(calls) == after:
            raise KeyboardInterrupt

    calls: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        criteo.prepare(tmp_path / "set", days, interrupt, max_rows=MAX_ROWS)
    assert not (tmp_path / "set").exists()
    criteo.prepare(tmp_path / "set", days, max_rows=MAX_ROWS)
    for name in ("train.bin", "eval.bin", "manifest.json"):
        whole, resumed = ((tmp_path / folder / name).read_bytes() for folder in ("whole", "set"))
        assert whole == resumed


def test_what_is_there_is_left_alone_and_nothing_else_is(days, tmp_path):
    out = tmp_path / "set"
    criteo.prepare(out, days, max_rows=MAX_ROWS)
    criteo.prepare(out, days, lambda *_: pytest.fail("prepared again"), max_rows=MAX_ROWS)
    with pytest.raises(DataError, match="--out DIR"):
        criteo.prepare(out, days, max_rows=MAX_ROWS + 1)


def test_numbers_are_given_in_the_order_of_appearance():
    numbering, names, draw = criteo_ids.Numbering(), {}, np.random.RandomState(3)
    for size in (1, 5, 400, 0, 30, 2000, 1000):
        words = draw.randint(0, 2**32, size=size, dtype=np.uint32) >> draw.randint(16, 30)
        plain = [names.setdefault(word, 2 + len(names)) for word in words.tolist()]
        assert numbering(words).tolist() == plain
    assert numbering.known == len(names)


GOOD = ["0", *["1"] * 13, *["0000000a"] * 26]


def fields(place, value):
    return "\t".join([*GOOD[:place], value, *GOOD[place + 1 :]])


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("\t".join(GOOD[:-1]), "39 fields"),
        ("\t".join([*GOOD, ""]), "41 fields"),
        ("", "1 fields"),
        (fields(0, "2"), "'2'; allowed: a label"),
        (fields(0, "-1"), "'-1'; allowed: a label"),
        (fields(5, "1x"), "'1x'; allowed: an integer"),
        (fields(5, "-"), "'-'; allowed: an integer"),
        (fields(5, "a"), "'a'; allowed: an integer"),
        (fields(5, "2147483648"), "'2147483648'; allowed: an integer"),
        (fields(5, "99999999999"), "'99999999999'; allowed: an integer"),
        (fields(20, "0000000g"), "'0000000g'; allowed: a hexadecimal"),
        (fields(20, "-000000a"), "'-000000a'; allowed: a hexadecimal"),
        (fields(20, "00000000a"), "'00000000a'; allowed: a hexadecimal"),
    ],
)
def test_a_broken_line_is_named(broken, said, tmp_path):
    path = tmp_path / "day_0"
    path.write_text("\n".join(["\t".join(GOOD)] * 40 + [broken] + ["\t".join(GOOD)] * 3) + "\n")
    with pytest.raises(DataError, match=f"{path} line 41 has {said}"):
        list(read_lines(path, lambda size: None))


def test_every_value_a_field_can_have_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(criteo_lines, "BLOCK", 1 << 18)
    values = ["", "-2147483648", "2147483647", "-0", "007"]
    rows = [fields(13, value) for value in values] + [fields(39, "FfFfffff"), fields(39, "1")]
    (tmp_path / "day_0").write_text("\n".join(rows) + "\n")
    [lines] = read_lines(tmp_path / "day_0", lambda size: None)
    assert lines.numbers[:5, 12].tolist() == [0, -(2**31), 2**31 - 1, 0, 7]
    assert lines.categories[5:, 25].tolist() == [2**32 - 1, 1]


def test_a_damaged_archive_is_refused(days, tmp_path):
    days[1].write_bytes(days[1].read_bytes()[:-200])
    with pytest.raises(DataError, match=f"{days[1]} cannot be read"):
        criteo.prepare(tmp_path / "set", days, max_rows=MAX_ROWS)


@pytest.mark.parametrize("chosen", [[], [0], [0, 2], [1, 2], [0, 0]])
def test_days_must_be_complete(chosen, days, tmp_path):
    with pytest.raises(DataError, match="at least two"):
        criteo.prepare(tmp_path / "set", [days[i] for i in chosen])


def test_a_file_that_is_no_day_is_refused(tmp_path):
    (tmp_path / "train.txt").touch()
    with pytest.raises(DataError, match=r"train\.txt is no file of a day"):
        criteo.prepare(tmp_path / "set", [tmp_path / "train.txt"])


def test_the_benchmark_is_configured_as_prepared():
    config.register()
    run = config.compose(["benchmark=dlrm_dcnv2"])
    assert (list(run.data.rows), list(run.data.hots)) == (list(criteo.ROWS), list(criteo.HOTS))
    assert (sum(criteo.HOTS), run.data.dense) == (214, criteo.DENSE)
    # FLOOR(4195197692 / (65536 * 20)) = 3200 updates (training_rules.adoc, "Quality measure")
    assert run.target.eval_every_samples == 3200 * 65536
    assert run.data.eval_samples == -(-178_274_637 // 2)  # of day 23
