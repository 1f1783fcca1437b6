"""Prepared sentence pairs: the text itself, nothing lost in silence, and mistakes told in words."""

import gzip
import hashlib
import json
import sys
from collections import Counter

import numpy as np
import pytest
from sentencepiece import SentencePieceProcessor

from texts import EVAL, RECIPE, TRAIN, prepared, written
from ttt import config
from ttt.cli import data as command
from ttt.errors import DataError, MissingExtra
from ttt.prepare import dates, multi30k, text, wmt
from ttt.prepare.folder import silent
from ttt.prepare.parallel import Pair, sentences
from ttt.prepare.stages import resumable_folder
from ttt.special_tokens import BOS, EOS, PAD, UNK


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("text") / "set")


def tokens(root, name):
    flat = np.fromfile(
        root / f"{name}.bin", json.loads((root / "manifest.json").read_text())["dtype"]
    )
    return [ids.tolist() for ids in np.split(flat, np.load(root / f"{name}.npy")[1:-1])]


def test_what_is_written_is_the_text(root):
    model = SentencePieceProcessor(model_file=str(root / "spm.model"))
    for name, side in (
        ("train.src", "train.en"),
        ("train.trg", "train.de"),
        ("eval.src", "eval.en"),
    ):
        expected = (root / "text" / side).read_text("utf-8").splitlines()
        assert model.decode(tokens(root, name)) == expected
    assert (root / "eval.trg.txt").read_bytes() == (root / "text" / "eval.de").read_bytes()


def test_marks_have_the_ids_everybody_agrees_on(root):
    model = SentencePieceProcessor(model_file=str(root / "spm.model"))
    marks = (model.pad_id(), model.unk_id(), model.bos_id(), model.eos_id())
    assert marks == (PAD, UNK, BOS, EOS)
    assert model.vocab_size() == RECIPE.vocabulary


def test_the_manifest_describes_the_set(root):
    manifest = json.loads((root / "manifest.json").read_text())
    assert manifest["counts"] == {"train": TRAIN, "eval": EVAL}
    assert manifest["tokens"]["source"] == sum(map(len, tokens(root, "train.src")))
    for folder, names in ((root, manifest["files"]), (root / "text", manifest["sources"])):
        for name, expected in names.items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected
    assert {"spm.model", "train.src.bin", "train.trg.npy", "eval.trg.txt"} <= set(manifest["files"])
    assert not list(root.glob("stages.*"))


def test_the_same_text_gives_the_same_bytes(root, tmp_path):
    again = json.loads((prepared(tmp_path / "set") / "manifest.json").read_text())
    assert again == json.loads((root / "manifest.json").read_text())


def lines(path, *content):
    data = "".join(f"{line}\n" for line in content).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def test_empty_and_long_pairs_are_left_out_and_counted(tmp_path):
    corpus = written(tmp_path / "text")
    with corpus.train[0].source.open("a") as english, corpus.train[0].target.open("a") as german:
        english.write("\n" + "one two " * 60 + "\n" + "lonely\n")
        german.write("eins\n" + "eins\n" + "  \n")
    (tmp_path / "set").mkdir()
    text.build(tmp_path / "set", corpus, RECIPE, silent)
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert manifest["left_out"] == {"empty": 2, "too_long": 1}
    assert manifest["counts"] == {"train": TRAIN, "eval": EVAL}
    assert len(tokens(tmp_path / "set", "train.src")) == TRAIN


@pytest.mark.parametrize("length", [20, 12])
def test_no_longer_sentence_is_trained_on(tmp_path, length):
    corpus = written(tmp_path / "text")
    (tmp_path / "set").mkdir()
    recipe = text.Recipe("en", "de", vocabulary=150, max_length=length)
    text.build(tmp_path / "set", corpus, recipe, silent)
    sides = [tokens(tmp_path / "set", f"train.{side}") for side in ("src", "trg")]
    longest = max(len(ids) + 1 for side in sides for ids in side)
    assert longest == length
    left_out = json.loads((tmp_path / "set" / "manifest.json").read_text())["left_out"]
    assert left_out["too_long"] == TRAIN - len(sides[0]) > 0
    assert len(tokens(tmp_path / "set", "eval.src")) == EVAL  # none of these is left out


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_both_languages_must_have_as_many_lines(tmp_path, ending):
    pair = Pair(
        lines(tmp_path / f"a.en{ending}", *"abcde"), lines(tmp_path / f"a.de{ending}", *"abc")
    )
    with pytest.raises(DataError, match=r"a\.en.* has 5 lines and .*a\.de.* has 3"):
        list(sentences(pair))
    with pytest.raises(DataError, match=r"a\.de.* has 3 lines and .*a\.en.* has 5"):
        list(sentences(Pair(*reversed(pair))))


def test_only_a_newline_ends_a_line(tmp_path):
    pair = Pair(
        lines(tmp_path / "a.en", "one\u2028two\x0cthree\r"), lines(tmp_path / "a.de", "eins")
    )
    assert list(sentences(pair)) == [("one\u2028two\x0cthree", "eins")]


def test_bad_encoding_is_told_with_its_place(tmp_path):
    (tmp_path / "a.en").write_bytes(b"good\ngood\nna\xefve\n")
    pair = Pair(tmp_path / "a.en", lines(tmp_path / "a.de", *"abc"))
    with pytest.raises(DataError, match=r"a\.en, line 3: byte 0xef is not UTF-8"):
        list(sentences(pair))


def test_empty_damaged_and_absent_files_are_told(tmp_path):
    empty = Pair(lines(tmp_path / "a.en"), lines(tmp_path / "a.de"))
    with pytest.raises(DataError, match=r"a\.en and .*a\.de are empty"):
        list(sentences(empty))
    whole = lines(tmp_path / "b.en.gz", *(str(i) for i in range(9999)))
    whole.write_bytes(whole.read_bytes()[:-500])
    with pytest.raises(DataError, match=r"b\.en\.gz cannot be unpacked after line \d+"):
        list(sentences(Pair(whole, whole)))
    whole.write_bytes(b"no gzip")
    with pytest.raises(DataError, match=r"b\.en\.gz cannot be unpacked after line 0"):
        list(sentences(Pair(whole, whole)))
    with pytest.raises(DataError, match=r"c\.en is not a file"):
        list(sentences(Pair(tmp_path / "c.en", tmp_path / "c.de")))


def test_too_many_tokens_are_refused_with_a_way_out(tmp_path):
    corpus = written(tmp_path / "text")
    with pytest.raises(DataError, match=r"9000 tokens cannot be learned.*--vocabulary N"):
        text.build(tmp_path, corpus, text.Recipe("en", "de", 9000, 64), silent)


def sources(folder):
    written(folder, 200, 20)
    for path in sorted(folder.iterdir()):
        path.rename(
            path.with_name(path.name.replace("train", "news").replace("eval", "newstest2014"))
        )
    return sorted(folder.iterdir())


OPTIONS = {"vocabulary": 150}


def test_wmt_puts_files_together_by_name(tmp_path):
    files = sources(tmp_path / "text")
    lines(tmp_path / "text" / "more.en.gz", "one hundred", "two hundred")
    lines(tmp_path / "text" / "more.de.gz", "einhundert", "zweihundert")
    wmt.prepare(tmp_path / "set", [*files, *(tmp_path / "text").glob("more*")], **OPTIONS)
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert manifest["counts"] == {"train": 202, "eval": 20}
    assert sorted(manifest["train"]) == [["more.en.gz", "more.de.gz"], ["news.en", "news.de"]]
    assert manifest["eval"] == ["newstest2014.en", "newstest2014.de"]
    reverse = tmp_path / "reverse"
    wmt.prepare(reverse, files, source="de", target="en", **OPTIONS)
    german = SentencePieceProcessor(model_file=str(reverse / "spm.model"))
    first = (tmp_path / "text" / "news.de").read_text("utf-8").splitlines()[0]
    assert german.decode(tokens(reverse, "train.src")[0]) == first


def test_what_to_type_next_fits_the_set_that_was_made(tmp_path, capsys):
    files = map(str, sources(tmp_path / "text"))
    out = tmp_path / "set"
    command.main(["wmt", "--out", str(out), "--vocabulary", "150", "--src", *files])
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("next:")]
    typed = line.split("ttt run ")[1].split()
    assert typed[:2] == ["benchmark=transformer", f"data.root={out}"]
    run = config.resolve(config.compose(typed))
    assert (run.data.train_samples, run.data.eval_samples) == (200, 20)
    assert run.data.vocabulary == 150


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["a.en", "a.de", "b.en"], {}, r"b\.en and no b\.de"),
        (["a.en", "a.fr"], {}, r"a\.fr is in neither language.*--from CODE --to CODE"),
        (["a.en", "a.de", "b.en", "b.de"], {}, r"has a, b, of which --eval newstest2014"),
        (["a.en", "a.de"], {"evaluation": "a"}, r"--eval a is to be judged by and the others"),
        ([], {}, r"--src has nothing"),
    ],
)
def test_wmt_says_which_file_is_missing(tmp_path, names, options, message):
    files = [lines(tmp_path / name, "a") for name in names]
    with pytest.raises(DataError, match=message):
        wmt.prepare(tmp_path / "set", files, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def counting(calls, name, work):
    def called(*given):
        calls[name] += 1
        return work(*given)

    return called


def test_an_interrupted_preparation_goes_on_where_it_was(tmp_path, monkeypatch):
    files = sources(tmp_path / "text")
    begun = Counter()
    for name in ("_survey", "_learn", "_train_set", "_eval_set"):
        monkeypatch.setattr(text, name, counting(begun, name, getattr(text, name)))
    fitting = text._eval_set

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(text, "_eval_set", interrupted)
    with pytest.raises(KeyboardInterrupt):
        wmt.prepare(tmp_path / "set", files, **OPTIONS)
    assert not (tmp_path / "set").exists()
    monkeypatch.setattr(text, "_eval_set", fitting)
    shown = []
    wmt.prepare(tmp_path / "set", files, lambda *progress: shown.append(progress), **OPTIONS)
    assert begun == {"_survey": 1, "_learn": 1, "_train_set": 1, "_eval_set": 1}
    assert shown == sorted(shown)
    assert shown[-1][0] == shown[-1][1] > 0
    wmt.prepare(tmp_path / "other", files, **OPTIONS)
    whole, resumed = (
        json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("other", "set")
    )
    assert whole == resumed


def test_what_was_left_by_other_options_is_not_used(tmp_path, monkeypatch):
    files = sources(tmp_path / "text")
    fitting = text._train_set

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(text, "_train_set", interrupted)
    with pytest.raises(KeyboardInterrupt):
        wmt.prepare(tmp_path / "set", files, vocabulary=120)
    monkeypatch.setattr(text, "_train_set", fitting)
    wmt.prepare(tmp_path / "set", files, vocabulary=150)
    model = SentencePieceProcessor(model_file=str(tmp_path / "set" / "spm.model"))
    assert model.vocab_size() == 150


def test_a_finished_set_is_left_alone_and_another_is_not_overwritten(tmp_path):
    files = sources(tmp_path / "text")
    wmt.prepare(tmp_path / "set", files, **OPTIONS)
    for path in files:
        path.unlink()
    wmt.prepare(tmp_path / "set", files, **OPTIONS)  # its sources are not needed
    with pytest.raises(DataError, match=r"holds another set \(max_length 64, not 20\).*--out DIR"):
        wmt.prepare(tmp_path / "set", files, max_length=20, **OPTIONS)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="--out DIR"):
        wmt.prepare(tmp_path / "thesis", files, **OPTIONS)


def test_two_preparations_at_once_are_refused(tmp_path):
    with (
        resumable_folder(tmp_path / "set") as folder,
        pytest.raises(DataError, match=r"another process is preparing .*set.*--out DIR"),
        resumable_folder(tmp_path / "set"),
    ):
        pass
    assert not folder.exists()
    assert (tmp_path / "set").is_dir()


def test_the_command_takes_the_options(tmp_path, capsys):
    files = [str(path) for path in sources(tmp_path / "text")]
    given = ["wmt", "--out", str(tmp_path / "set"), "--vocabulary", "160", "--max-length", "30"]
    assert command.main([*given, "--from", "de", "--to", "en", "--src", *files]) == 0
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert (manifest["vocabulary"], manifest["max_length"]) == (160, 30)
    assert manifest["source_language"] == "de"
    assert f"benchmark=transformer data.root={tmp_path / 'set'}" in capsys.readouterr().out


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(dates, "COUNTS", {"train": 300, "eval": 40})
    monkeypatch.setattr(dates, "RECIPE", text.Recipe("en", "de", 200, 64))


def test_dates_are_the_same_every_time_and_no_sentence_is_in_both_parts(few, tmp_path):
    dates.prepare(tmp_path / "a" / "set")
    dates.prepare(tmp_path / "b")
    first, second = (
        json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("a/set", "b")
    )
    assert first == second
    assert first["counts"] == {"train": 300, "eval": 40}
    assert "CLDR of Babel" in first["source"]
    train, evaluation = (
        set((tmp_path / "b" / "text" / f"{part}.en").read_text("utf-8").splitlines())
        for part in ("train", "eval")
    )
    assert len(train) == 300
    assert len(evaluation) == 40
    assert not train & evaluation
    dates.prepare(tmp_path / "b", (), lambda *_: pytest.fail("prepared again"))


def test_dates_say_the_same_in_both_languages():
    pairs = dict(dates.sentence_pairs(3000))
    for english, german in pairs.items():
        digits = [Counter(c for c in side if c.isdigit()) for side in (english, german)]
        if "PM" not in english and "AM" not in english and not english[:3].istitle():
            assert digits[0] == digits[1]
    month = {"January": "Januar", "March": "März", "October": "Oktober"}
    for name, expected in month.items():
        found = [german for english, german in pairs.items() if name in english]
        assert found
        assert all(expected in german for german in found)
    assert not any("\xa0" in text or "\u202f" in text for pair in pairs.items() for text in pair)


@pytest.mark.parametrize("package", ["babel", "num2words", "sentencepiece"])
def test_a_missing_extra_says_what_to_install(package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"{package}.*pip install 'time-to-train\[text\]'"):
        dates.prepare(tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_multi30k_from_its_files(shared, tmp_path):
    multi30k.prepare(tmp_path / "set", [shared / "data" / "multi30k"])
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert manifest["counts"] == {"train": 29_000, "eval": 1000}
    assert manifest["left_out"] == {"empty": 0, "too_long": 0}
    assert (manifest["source_language"], manifest["target_language"]) == ("de", "en")
    packed = (shared / "data" / "multi30k" / "test_2016_flickr.en.gz").read_bytes()
    assert (tmp_path / "set" / "eval.trg.txt").read_bytes() == gzip.decompress(packed)


def test_multi30k_says_which_file_is_missing(tmp_path):
    files = [lines(tmp_path / name, "a") for name in ("train.de.gz", "train.en", "val.de")]
    message = r"lacks test_2016_flickr\.de, test_2016_flickr\.en \(or \.gz\)"
    for given in (files, [tmp_path]):
        with pytest.raises(DataError, match=message):
            multi30k.prepare(tmp_path / "set", given)
