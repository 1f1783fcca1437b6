"""Any archive, table, folder or prepared set whatsoever: an error in words or a set, no third.

Nothing is written outside of --out, nothing is left over, and the bytes written have a bound.
"""

import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import tarfile
import tempfile
import zipfile
from contextlib import chdir, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import click_logs
import texts
import token_files
from ttt.data import bounds, corpus_looks, looks, records_looks, tokens_looks
from ttt.data.images import made_up_jpeg
from ttt.doctor import contents
from ttt.errors import TttError
from ttt.prepare import cifar10, criteo, imagenet, images, pairs, table, wmt
from ttt.skeleton import fitting

FEW = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
MOST = 4 << 20  # bytes that a set may have here
JPEG = made_up_jpeg(8, 8)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Limits that a test reaches in milliseconds."""
    monkeypatch.setattr(bounds, "GROWN", 1 << 18)
    monkeypatch.setattr(bounds, "RATIO", 2)
    monkeypatch.setattr(bounds, "LINE", 1 << 12)
    monkeypatch.setattr(cifar10, "COUNTS", {"train": 2, "test": 1})
    monkeypatch.setattr(cifar10, "TOTAL", 1 << 18)


def tried(prepare, make):
    """Prepare from what `make` puts into the folder `source`; look at all that is there after."""
    with tempfile.TemporaryDirectory() as name, chdir(name):
        os.makedirs("inside/source")
        os.chdir("inside")
        make(Path("source"))
        before = set(Path("..").resolve().rglob("*"))
        with suppress(TttError):
            prepare()
        new = set(Path("..").resolve().rglob("*")) - before
        out = Path("out").resolve()
        assert [path for path in new if path != out and out not in path.parents] == []
        assert sum(path.lstat().st_size for path in new if path.is_file()) < MOST
        os.chdir(name)


PARTS = ["train", "test", "Train", "cat", "dog", "a", "..", ".", "", "x.jpg", "X.jpg", "y.png", "/"]
PARTS += ["._x.jpg", "__MACOSX", "n\0.jpg", "e\x1b[2J.jpg", "é.jpg", "e\u0301.jpg"]
part = st.sampled_from([*PARTS, 300 * "l" + ".jpg"])
name = st.lists(part, min_size=1, max_size=5).map("/".join) | st.text(max_size=9)
content = st.sampled_from([b"", b"a", JPEG, bytes(1000), bytes(1 << 19)]) | st.binary(max_size=50)
kinds = st.sampled_from([tarfile.REGTYPE] * 6 + [bytes([kind]) for kind in b"123456SLKgx7"])


@st.composite
def tars(draw):
    """Any members, any kinds, a size that lies; packed or not."""
    written = io.BytesIO()
    for _ in range(draw(st.integers(0, 5))):
        member, inside = tarfile.TarInfo(draw(name)), draw(content)
        member.type, member.linkname = draw(kinds), "/etc/passwd"
        lie = st.just(len(inside)) | st.sampled_from([1, 1 << 20, 1 << 40])
        member.size = draw(lie) if draw(st.booleans()) else len(inside)
        with suppress(ValueError, UnicodeError):
            head = member.tobuf(draw(st.sampled_from([0, 1, 2])), errors="surrogateescape")
            written.write(head + inside + bytes(-len(inside) % 512))
    written.write(bytes(1024))
    return draw(st.sampled_from([bytes, gzip.compress, bz2.compress, lzma.compress]))(
        written.getvalue()
    )


@st.composite
def zips(draw):
    """Any members; the kind of a link; packed in any way."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for _ in range(draw(st.integers(0, 5))):
            info = zipfile.ZipInfo(draw(name).replace("\0", "0") or "a")
            info.compress_type = draw(st.sampled_from([0, 8, 12, 14]))
            info.external_attr = draw(st.sampled_from([0, 0o100644, 0o120777, 0o010644])) << 16
            with suppress(UnicodeError):
                archive.writestr(info, draw(content))
    return written.getvalue()


@st.composite
def damaged(draw, source):
    """The same with some bytes changed, or cut short."""
    whole = bytearray(draw(source))
    for _ in range(draw(st.integers(0, 3))):
        if whole:
            whole[draw(st.integers(0, len(whole) - 1))] = draw(st.integers(0, 255))
    return bytes(whole[: draw(st.integers(0, len(whole)))] if draw(st.booleans()) else whole)


archives = tars() | zips() | damaged(tars()) | damaged(zips()) | st.binary(max_size=2000)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@given(archives)
@FEW
def test_any_archive(whole):
    def make(source):
        (source / "a").write_bytes(whole)

    tried(lambda: cifar10.prepare(Path("out"), [Path("source/a")]), make)
    tried(lambda: images.prepare(Path("out"), [Path("source/a")]), make)


def planted(entries):
    """What makes a folder of files, links, pipes and folders."""

    def make(source):
        for name, kind, inside in entries:
            path = source / name.replace("\0", "").lstrip("/").replace("..", "")
            above = path.parent.absolute()
            if above.resolve() != above or os.path.lexists(path):
                continue  # the test itself writes through no link, and to no pipe
            with suppress(OSError, ValueError):
                above.mkdir(parents=True, exist_ok=True)
                if kind == "file":
                    path.write_bytes(inside)
                elif kind == "pipe":
                    os.mkfifo(path)
                elif kind == "folder":
                    path.mkdir()
                else:
                    path.symlink_to(kind)

    return make


kind = st.sampled_from(
    ["file"] * 6 + ["pipe", "folder", ".", "..", "/dev/zero", "nowhere", "/proc"]
)
place = st.tuples(
    st.sampled_from(["train", "val", "test", ""]), st.sampled_from(["a", "b", "b/c", ""]), name
).map("/".join)
entries = st.lists(st.tuples(place, kind, content), max_size=8)


@given(entries, st.sampled_from(["folder", "tfrecord", "webdataset", "recordio"]))
@FEW
def test_any_folder_of_images(entries, form):
    make = planted(
        [*entries, *((f"{p}/{c}/0.jpg", "file", JPEG) for p in ("train", "val") for c in "ab")]
    )
    tried(lambda: images.prepare(Path("out"), [Path("source")], format=form), make)
    tried(lambda: imagenet.prepare(Path("out"), [Path("source")], format=form, shards=2), make)


cell = st.sampled_from(["1", "2.5", "yes", "no", "", "NA", "inf", "1e999", '"', '"a', "2013-01-01"])
row = st.lists(cell | st.text(max_size=5), min_size=1, max_size=4).map(",".join)
lines = st.lists(row | st.just(5000 * "a") | st.just(5000 * ","), max_size=9).map("\n".join)
text = lines.map(lambda lines: lines.encode("utf-8", "replace")) | st.binary(max_size=300)
packed = st.sampled_from([("", bytes), (".gz", gzip.compress)])


@given(text | text.map(lambda text: b"a,b,l\n" + 9 * b"1,x,0\n2,y,1\n" + text), packed)
@FEW
def test_any_table(content, packed):
    suffix, pack = packed

    def make(source):
        (source / f"a.csv{suffix}").write_bytes(pack(content))
        with zipfile.ZipFile(source / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.csv", content)

    def prepare(name):
        return partial(table.prepare, Path("out"), [Path("source", name)], label="l")

    tried(prepare(f"a.csv{suffix}"), make)
    tried(prepare("a.zip"), make)


@given(damaged(text), damaged(text), packed)
@settings(FEW, max_examples=10)  # each learns tokens
def test_any_text(ours, theirs, packed):
    suffix, pack = packed

    def make(source):
        for name in ("t.en", "newstest2014.en", "day_0"):
            (source / f"{name}{suffix}").write_bytes(pack(ours))
        for name in ("t.de", "newstest2014.de", "day_1"):
            (source / f"{name}{suffix}").write_bytes(pack(theirs))

    names = ("t.en", "t.de", "newstest2014.en", "newstest2014.de")
    files = [Path(f"source/{name}{suffix}") for name in names]
    days = [Path(f"source/day_{day}{suffix}") for day in (0, 1)]
    tried(lambda: wmt.prepare(Path("out"), files), make)
    tried(lambda: criteo.prepare(Path("out"), days), make)
    tried(lambda: pairs.prepare(Path("out"), train=[[files[0]]]), make)


numbers = st.integers() | st.sampled_from([0, -1, 2**31, 2**63, 10**30, 1e999, float("nan")])
value = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=5) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
KEYS = ["counts", "dense", "rows", "hots", "vocabulary", "dtype", "max_length", "classes", "sizes"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A sound set of every kind, the module that looks at it, and its settings."""
    home = tmp_path_factory.mktemp("prepared")
    sets = {"pairs": (texts.prepared(home / "pairs"), corpus_looks, {"vocabulary": None})}
    sets["pairs"][2]["max_length"] = None
    shutil.rmtree(home / "pairs" / "text")
    sets["clicks"] = (click_logs.write(home / "clicks", 8, 4), records_looks, {})
    sets["clicks"][2].update(dense=None, rows=None, hots=None)
    (home / "tokens").mkdir()
    for part in ("train", "eval"):
        token_files.write(home / "tokens" / part, token_files.documents(9))
    (home / "tokens" / "manifest.json").write_text('{"vocabulary": 60000}')
    kept = {"train": "train", "eval": "eval", "sequence_length": 8, "vocabulary": None}
    sets["tokens"] = (home / "tokens", tokens_looks, kept)
    for part in ("train", "val"):
        for label in "ab":
            (home / "images" / part / label).mkdir(parents=True)
            (home / "images" / part / label / "0.jpg").write_bytes(JPEG)
    named = {"train_dir": "train", "eval_dir": "val", "first_label": 0, "classes": None}
    named["on_error"] = "error"
    for form in ("tfrecord", "webdataset", "recordio"):
        imagenet.prepare(home / form, [home / "images"], format=form, shards=1)
        sets[form] = (home / form, looks, named | {"format": form})
    sets["images"] = (home / "images", looks, named | {"format": "folder"})
    return sets


def changed(root, file, data):
    """One thing about one file is made otherwise."""
    way = data.draw(st.sampled_from(["bytes", "cut", "grown", "pipe", "link", "gone", "other"]))
    whole = file.read_bytes()
    if way in ("bytes", "cut", "other"):
        strategy = st.binary(max_size=99) if way == "other" else damaged(st.just(whole))
        file.write_bytes(data.draw(strategy))
        return
    if way == "grown":
        os.truncate(file, 1 << 40)
        return
    file.unlink()
    if way == "pipe":
        os.mkfifo(file)
    elif way == "link":
        file.symlink_to(data.draw(st.sampled_from(["/dev/zero", ".", "nowhere", "/etc/passwd"])))


@pytest.mark.filterwarnings("ignore:.*input contained no data")
@pytest.mark.parametrize(
    "name", ["pairs", "clicks", "tokens", "images", "tfrecord", "webdataset", "recordio"]
)
@given(data=st.data())
@FEW
def test_any_prepared_set(name, prepared, data):
    sound, module, more = prepared[name]
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(shutil.copytree(sound, Path(temporary) / "set"))
        manifest = root / "manifest.json"
        if manifest.is_file() and data.draw(st.booleans()):
            said = json.loads(manifest.read_text())
            for key in data.draw(st.lists(st.sampled_from(KEYS), max_size=3)):
                said[key] = data.draw(value)
            manifest.write_text(json.dumps(said))
        files = sorted(path for path in root.rglob("*") if path.is_file())
        for file in data.draw(st.lists(st.sampled_from(files), max_size=2, unique=True)):
            changed(root, file, data)
        counts = {"train_samples": None, "eval_samples": None}
        settings = SimpleNamespace(root=str(root), **counts, **more)
        assert all(isinstance(sentence, str) for sentence in module.faults(settings))
        with suppress(TttError):
            module.counts(settings)
        run, place = SimpleNamespace(data=settings), SimpleNamespace(local_rank=0, local_size=1)
        assert contents.look(run, module.__name__, place) is not None
        fitting.problems(root, None)
