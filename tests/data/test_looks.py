"""What is wrong with a data set is told before a run, all of it at once, for every kind of set."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import click_logs
import texts
from ground import Command
from tests.data.test_images import EVAL, TRAIN, settings, write_set
from ttt import config
from ttt.__main__ import main
from ttt.cli.looked import doubts
from ttt.cli.looked import faults as told
from ttt.cli.run import make_launcher
from ttt.data import corpus_looks, looks, records_looks
from ttt.data.images import made_up_jpeg
from ttt.distributed.rank import Placement
from ttt.doctor import contents
from ttt.doctor.findings import Level, Observation
from ttt.errors import USAGE
from ttt.prepare import imagenet


def data_of(schema, root, **changes):
    """The settings of a set as `ttt run` has them."""
    config.register()
    typed = [f"{name}={json.dumps(value)}" for name, value in changes.items()]
    return config.data(config.compose([f"data={schema}", f"data.root={root}", *typed]))


def images(root, **changes):
    node = settings(root) | {"format": "folder", "train_dir": "train", "eval_dir": "test"}
    return SimpleNamespace(looks="ttt.data.looks", first_label=None, **(node | changes))


@pytest.fixture
def folder(tmp_path):
    return write_set(tmp_path / "set")


def test_a_sound_folder_has_no_faults(folder):
    assert told(images(folder)) == []
    assert told(images(folder, train_samples=None, eval_samples=None, classes=None)) == []
    assert looks.examined(images(folder)).read == TRAIN + EVAL


def test_classes_are_named_where_their_number_or_names_differ(folder):
    (folder / "test" / "class_2").rename(folder / "test" / "Class_2")
    count, names = looks.faults(images(folder, classes=4))
    assert "in 3 class folders (class_0, class_1, class_2), but data.classes=4" in count
    assert "(only in train: class_2; only in test: Class_2)" in names


def test_a_folder_that_is_called_otherwise_is_found_by_the_names_there_are(folder):
    (folder / "test").rename(folder / "validation")
    [sentence] = looks.faults(images(folder))
    assert "it holds train, validation; type data.eval_dir=NAME" in sentence


def broken(folder, count):
    """Break some images in as many ways; where they lie."""
    paths = sorted((folder / "train").glob("*/*.png"))[:count]
    for number, path in enumerate(paths):
        path.write_bytes([b"", b"GIF89a", path.read_bytes()[:-20]][number % 3])
    return paths


def test_one_unreadable_image_is_told_with_its_path(folder):
    [path] = broken(folder, 1)
    [sentence] = told(images(folder))
    assert sentence == (
        f"{path} cannot be read: the file is empty; replace or remove it, or type"
        " data.on_error=skip to go on without it and count it"
    )


def test_many_unreadable_images_are_one_sentence(folder):
    paths = broken(folder, 7)
    [sentence] = told(images(folder))
    assert sentence.startswith(f"7 of {TRAIN + EVAL} image files cannot be read: {paths[0]} (the")
    assert "(by its first bytes it is a GIF; JPEG, PNG" in sentence
    assert "(it is truncated) and 4 more, which `ttt doctor` lists; replace" in sentence


def test_what_a_run_would_skip_is_left_to_it(folder):
    broken(folder, 2)
    assert told(images(folder, on_error="skip")) == []
    assert len(looks.examined(images(folder, on_error="skip")).bad) == 2


def test_more_images_than_are_quickly_read_are_left_to_the_doctor(folder, monkeypatch):
    broken(folder, 2)
    monkeypatch.setattr(looks, "_QUICK", TRAIN + EVAL - 1)
    assert looks.examined(images(folder), quick=True) is None
    assert len(looks.examined(images(folder)).bad) == 2


def test_the_ranks_of_a_node_share_the_files_and_the_doctor_lists_the_bad_ones(folder):
    paths = broken(folder, 23)
    run = SimpleNamespace(data=images(folder))
    found = [
        Observation(rank, "n1", contents.look(run, "ttt.data.looks", Placement(rank, 3, rank, 3)))
        for rank in range(3)
    ]
    assert sum(one.facts.read for one in found) == TRAIN + EVAL
    [finding] = contents.judge(found)
    assert finding.level is Level.failure
    first, *rows, last = finding.text.split("\n")
    assert first == f"23 of {TRAIN + EVAL} image files cannot be read:"
    assert {row.partition(": ")[0] for row in rows} <= set(map(str, paths))
    assert (len(rows), last) == (20, "and 3 more")
    assert "data.on_error=skip" in finding.advice
    run.data.on_error = "skip"
    skipped = Observation(0, "n1", contents.look(run, "ttt.data.looks", Placement()))
    assert [one.level for one in contents.judge([skipped])] == [Level.warning]


def test_the_doctor_tells_what_a_run_would_be_refused_for(folder):
    run = SimpleNamespace(data=images(folder, train_samples=7))
    [fault, rest] = contents.judge(
        [Observation(0, "n1", contents.look(run, "ttt.data.looks", Placement()))]
    )
    assert (fault.level, fault.name) == (Level.failure, "data set")
    assert fault.advice == f"complete the set, or type data.train_samples={TRAIN}"
    assert (rest.level, rest.text) == (
        Level.ok,
        f"{TRAIN + EVAL} image files examined, all of them can be read",
    )


FORMATS = ("tfrecord", "webdataset", "recordio")


def test_a_format_without_indexes_names_the_command_that_made_the_set(folder):
    for manifest, name in (
        ("{}", "imagenet"),
        ('{"sizes": {}}', "images"),
        ("damaged", "imagenet"),
    ):
        (folder / "manifest.json").write_text(manifest)
        said = told(images(folder, format="tfrecord"))
        assert len(said) == 2
        assert all(f"as `ttt data {name} --format tfrecord` or" in one for one in said)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = write_set(tmp_path_factory.mktemp("source") / "set")
    (root / "test").rename(root / "val")
    return root


def shards(source, root, kind, **changes):
    imagenet.prepare(root, [source], format=kind, shards=3, in_order=True)
    return images(root, format=kind, **({"eval_dir": "val"} | changes))


@pytest.mark.parametrize("kind", FORMATS)
def test_shards_are_checked_against_their_indexes_all_at_once(source, tmp_path, kind):
    data = shards(source, tmp_path / "set", kind)
    assert told(data) == []
    data.eval_samples = 5
    one, two, three = sorted((tmp_path / "set" / "train").glob("*.idx"))
    one.write_text("nothing\n")
    two.write_text("")
    next(path for path in three.parent.glob(f"{three.stem}.*") if path != three).unlink()
    wrong = told(data)
    assert ["is no index of" in wrong[0], "it is empty" in wrong[1]] == [True, True]
    assert "has neither" in wrong[2]
    assert f"data.eval_samples={EVAL}" in wrong[3]
    assert len(wrong) == 4


@pytest.mark.parametrize("kind", FORMATS)
def test_the_records_at_both_ends_of_a_shard_are_read(source, tmp_path, kind):
    data = shards(source, tmp_path / "set", kind)
    path = sorted(p for p in (tmp_path / "set" / "train").iterdir() if p.suffix != ".idx")[1]
    content = bytearray(path.read_bytes())
    content[:2000] = bytes(2000)
    path.write_bytes(content)
    [sentence] = told(data)
    assert f"{path}, the record at byte " in sentence
    assert "data.on_error=skip" in sentence
    data.on_error = "skip"
    assert told(data) == []


@pytest.mark.parametrize("kind", FORMATS)
def test_classes_out_of_range_are_told_whatever_is_skipped(source, tmp_path, kind):
    [sentence] = told(shards(source, tmp_path / "set", kind, classes=2, on_error="skip"))
    assert "data.classes=2" in sentence


def test_a_tfrecord_file_that_goes_on_after_its_index_is_another(source, tmp_path):
    data = shards(source, tmp_path / "set", "tfrecord")
    index = min((tmp_path / "set" / "train").glob("*.idx"))
    index.write_text("".join(index.read_text().splitlines(keepends=True)[:-1]))
    [sentence] = told(data)
    assert f"{index} goes to byte " in sentence


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    return texts.prepared(tmp_path_factory.mktemp("text") / "set")


def changed(root, **changes):
    path = root / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))


def fewer_lines(root):
    path = root / "eval.trg.txt"
    path.write_bytes(b"\n".join(path.read_bytes().split(b"\n")[1:]))


def fewer_translations(root):
    bounds = np.load(root / "train.trg.npy")
    np.save(root / "train.trg.npy", np.delete(bounds, 5))


def strange_token(root):
    tokens = np.fromfile(root / "train.src.bin", "uint16")
    tokens[17] = 9999
    tokens.tofile(root / "train.src.bin")


TEXT = [
    (
        lambda root: changed(root, vocabulary=99),
        {},
        ["says vocabulary=99, but data.voc", "spm.model has 150", "cannot be read"],
    ),
    (lambda root: changed(root, dtype="float8"), {}, ["dtype=float8"]),
    (lambda root: changed(root, counts={"train": 3}), {}, ["not that of a set of sentence pairs"]),
    (lambda root: (root / "manifest.json").write_text("{"), {}, ["manifest.json is damaged"]),
    (lambda root: (root / "manifest.json").write_text("[]"), {}, ["holds no mapping"]),
    (lambda root: (root / "spm.model").unlink(), {}, ["spm.model is missing"]),
    (lambda root: (root / "spm.model").write_bytes(b"no"), {}, ["is no model of sentencepiece"]),
    (lambda root: (root / "train.src.npy").write_bytes(b"no"), {}, ["train.src.npy is damaged"]),
    (fewer_lines, {}, ["eval.trg.txt has 40 lines and manifest.json says 41"]),
    (fewer_translations, {}, ["train.trg.npy counts 299 sentences and manifest.json says 300"]),
    (strange_token, {}, ["train.src.bin cannot be read: it holds the token 9999"]),
    (lambda root: (root / "eval.trg.txt").write_bytes(b"\xff\n"), {}, ["is not UTF-8"]),
    (
        lambda root: (root / "eval.src.bin").write_bytes(b""),
        {"train_samples": 5},
        ["type data.train_samples=300", "eval.src.bin has 0 bytes"],
    ),
]


@pytest.mark.parametrize(("damage", "settings", "said"), TEXT, ids=range(len(TEXT)))
def test_sentence_pairs_that_do_not_go_together_are_told(
    sentences, tmp_path, damage, settings, said
):
    root = shutil.copytree(sentences, tmp_path / "set")
    node = {"train_samples": 300, "eval_samples": 41, "vocabulary": 150, "max_length": 64}
    data = SimpleNamespace(looks="ttt.data.corpus_looks", root=str(root), **(node | settings))
    assert told(SimpleNamespace(**vars(data) | {"train_samples": None})) == []
    damage(root)
    wrong = told(data)
    assert len(wrong) == len(said), wrong
    for sentence, words in zip(wrong, said, strict=True):
        assert words in sentence


def test_the_doctor_reads_all_tokens(sentences):
    data = SimpleNamespace(root=str(sentences))
    parts = [corpus_looks.examined(data, part, 2) for part in (0, 1)]
    size = sum(path.stat().st_size for path in sentences.glob("*.bin"))
    assert sum(part.read for part in parts) == size // 2


def clicks(root, **changes):
    return data_of("clicks", root, **{f"data.{name}": value for name, value in changes.items()})


def overwritten(root, place, column, value):
    words = np.memmap(root / "train.bin", "<i4", mode="r+").reshape(50, -1)
    words[place, column] = value
    words.flush()


CLICKS = [
    (lambda root: (root / "train.bin").unlink(), ["train.bin is missing"]),
    (lambda root: (root / "eval.bin").write_bytes(b"abc"), ["eval.bin has 3 bytes"]),
    (lambda root: changed(root, rows=[3, 4]), ["has 2 rows and 3 hots"]),
    (lambda root: changed(root, rows="many"), ["rows and hots, a list of numbers"]),
    (lambda root: (root / "manifest.json").write_text("{"), ["is damaged"]),
    (lambda root: overwritten(root, 7, 0, 2), ["record 7, cannot be read: its label is 2"]),
    (lambda root: overwritten(root, 8, 1, 0x7FC00000), ["record 8, cannot be read: a dense feat"]),
    (lambda root: overwritten(root, 9, 4, 7), ["record 9, cannot be read: id 7 of feature 1"]),
    (lambda root: overwritten(root, 3, 3, -1), ["id -1 of feature 0 is none; allowed: 0 to 49"]),
]


@pytest.mark.parametrize(("damage", "said"), CLICKS, ids=range(len(CLICKS)))
def test_click_records_that_cannot_be_are_told(tmp_path, damage, said):
    root = click_logs.write(tmp_path / "set", 50, 20)
    nothing = dict.fromkeys(("train_samples", "eval_samples", "dense", "rows", "hots"))
    assert told(clicks(root, **nothing)) == []
    damage(root)
    wrong = told(clicks(root, **nothing))
    assert len(wrong) == len(said), wrong
    for sentence, words in zip(wrong, said, strict=True):
        assert words in sentence


def test_every_setting_that_differs_is_in_one_sentence(tmp_path):
    root = click_logs.write(tmp_path / "set", 50, 20)
    [sentence] = told(
        clicks(root, dense=3, rows=[1, 2, 3], train_samples=50, eval_samples=20, hots=[1, 1, 3])
    )
    assert "says dense=2 and rows=[50,7,20], but data.dense=3 and data.rows=[1,2,3]" in sentence
    assert sentence.endswith("type data.dense=2 data.rows=[50,7,20]")


def test_a_large_log_is_looked_at_in_some_places(tmp_path, monkeypatch):
    root = click_logs.write(tmp_path / "set", 1000, 100)
    monkeypatch.setattr(records_looks, "_BLOCK", 10)
    overwritten_at = np.memmap(root / "train.bin", "<i4", mode="r+").reshape(1000, -1)
    overwritten_at[995, 0] = 9
    overwritten_at.flush()
    data = SimpleNamespace(root=str(root))
    quick = records_looks.examined(data, quick=True)
    assert (quick.read, len(quick.bad)) == (40, 1)
    parts = [records_looks.examined(data, part, 4) for part in range(4)]
    assert sum(part.read for part in parts) == 640 + 100  # of the smaller one all
    assert [len(part.bad) for part in parts].count(1) == 1


def test_litter_makes_no_two_nodes_differ(folder):
    from ttt.doctor.storage import _fingerprint

    before = _fingerprint(folder)
    for hidden in (folder / "__MACOSX", folder / "train" / ".ipynb_checkpoints"):
        hidden.mkdir()
    assert _fingerprint(folder) == before


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model.classes=5"], "model.classes=5 is less than data.classes=10"),
        (["benchmark=dates", "model.vocabulary=9"], "model.vocabulary=700"),
        (["benchmark=topics", "model.vocabulary=null"], "allowed: 256 or more; model.vocabulary="),
        (
            ["benchmark=topics", "model.sequence_length=16"],
            "model.sequence_length=16 is less than data.sequence_length=64, the tokens of a sample",
        ),
        (["benchmark=topics", "target.higher_is_better=true"], "allowed: false; target.higher_is_"),
        (["target.higher_is_better=false"], "target.higher_is_better=false is not so of top1"),
        (["benchmark=clicks", "model.dense=3"], "model.dense=3 is not data.dense=4"),
        (["benchmark=clicks", "model.rows=[1,2]"], "model.rows=[300,200,24,8,40]"),
    ],
)
def test_a_model_that_does_not_suit_the_data_is_a_problem(overrides, said):
    config.register()
    [sentence] = config.resolve(config.compose(overrides)).problems(1)
    assert said in sentence


def test_the_doctor_as_it_is_typed(ttt: Command, digits: Path, tmp_path: Path):
    root = shutil.copytree(digits, tmp_path / "set")
    bad = min((root / "train" / "3").iterdir())
    bad.write_bytes(made_up_jpeg(8, 8)[:-2])
    done = ttt("doctor", "data.root=set", "data.classes=null", "--json", "r.json")
    assert done.returncode == 5, done.stdout + done.stderr
    found = {one["name"]: one for one in json.loads((tmp_path / "r.json").read_text())["findings"]}
    assert found["data files"]["data"]["read"] == 1797
    assert found["data files"]["text"] == (
        f"1 of 1,797 image files cannot be read:\nset/train/3/{bad.name}: it is truncated"
    )
    assert "failure data files" in done.stdout


def test_class_folders_without_parts_are_split_or_the_folder_above_is_meant(folder):
    [sentence] = told(images(folder / "train"))
    assert sentence.endswith(f"in them; data.root={folder}")
    alone = folder.rename(folder.with_name("my set")) / "train"
    shutil.rmtree(alone.with_name("test"))
    [sentence] = told(images(alone))
    assert "(class_0, class_1, class_2)" in sentence
    assert sentence.endswith(f"split it: ttt data images --src '{alone}' --out DIR")


def test_where_processes_run_elsewhere_faults_are_remarks(folder):
    """The folder that a login node sees under this name may be another one."""
    config.register()
    typed = [f"data.root={folder}", "data.train_samples=7"]
    run = config.resolve(config.compose([*typed, "launcher=slurm"]))
    assert doubts(run, make_launcher(run))[0].startswith(
        f"as seen from here, {folder}/train holds {TRAIN} images"
    )
    local = config.resolve(config.compose(typed))
    assert doubts(local, make_launcher(local)) == []


def test_a_set_that_ttt_makes_is_compared_before_a_process_starts(tmp_path, capsys):
    root = tmp_path / "digits"
    typed = ["benchmark=digits", f"data.root={root}", "data.classes=7", f"run_root={tmp_path}/runs"]
    assert main(["run", *typed]) == USAGE
    assert "; complete the set, or type data.classes=10" in capsys.readouterr().err
    assert root.is_dir()
    assert not (tmp_path / "runs").exists()
