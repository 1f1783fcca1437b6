"""Sets of tokens: text that ttt has, Shakespeare's, and text of a user's own by any tokenizer."""

import gzip
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import tokenizers

import token_files
from ttt.cli.data import tokens_in
from ttt.data.megatron import open_indexed
from ttt.errors import ConfigError, DataError, MissingExtra
from ttt.prepare import shakespeare, tokens, topics
from ttt.prepare.tokenizing import opened

LINES = ["The cat sat.", "", "Grüße, and a longer line of words.", "The end"]


def read(prefix):
    """Every document as a list of ids."""
    files = open_indexed(prefix)
    return [files.read(i, 0, int(n)).tolist() for i, n in enumerate(files.lengths)]


def text(prefix):
    return [bytes(document).decode() for document in read(prefix)]


@pytest.fixture(scope="module")
def help_set(tmp_path_factory):
    out = tmp_path_factory.mktemp("topics") / "set"
    topics.prepare(out)
    return out


def test_topics_are_cut_to_a_size_of_their_own(help_set):
    manifest = json.loads((help_set / "manifest.json").read_text())
    assert manifest["counts"] == topics.COUNTS == {"train": 5000, "eval": 512}
    assert manifest["tokens"] == {"train": 320_001, "eval": 32_769}
    assert manifest["source"].startswith("pydoc_data.topics of Python 3.")
    assert open_indexed(help_set / "train").tokens.dtype == np.uint16
    before = (help_set / "manifest.json").stat().st_mtime_ns
    topics.prepare(help_set)
    assert (help_set / "manifest.json").stat().st_mtime_ns == before


def test_no_paragraph_of_topics_is_in_both_parts(help_set):
    parts = [
        {
            " ".join(one.split())
            for document in text(help_set / part)
            for one in document.split("\n\n")
        }
        for part in ("train", "eval")
    ]
    assert len(parts[1]) > 50
    assert parts[0] & parts[1] <= {""}


def test_a_python_with_less_text(monkeypatch, tmp_path):
    monkeypatch.setattr("pydoc_data.topics.topics", {"if": "A short text.\n\n" * 9})
    with pytest.raises(DataError, match="bytes too short"):
        topics.prepare(tmp_path / "set")
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(DataError, match="has no pydoc_data"):
        topics.prepare(tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_shakespeare_is_divided_as_nanogpt_does(tmp_path, shared):
    source = shared / "data" / "tinyshakespeare" / "input.txt"
    shakespeare.prepare(tmp_path / "set", [source])
    whole = source.read_text()
    assert text(tmp_path / "set" / "train") == [whole[:1_003_854]]
    assert text(tmp_path / "set" / "eval") == [whole[1_003_854:]]
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert (manifest["counts"], manifest["vocabulary"]) == (shakespeare.COUNTS, 256)
    shakespeare.prepare(tmp_path / "set", [])  # there already: the file is not needed


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (["a.txt"], "a.txt has 4 bytes with the SHA-256"),
        (["b.txt"], "cannot be read"),
        ([], "0 files"),
    ],
)
def test_another_file_is_not_shakespeare(tmp_path, sources, said):
    (tmp_path / "a.txt").write_text("Hark")
    with pytest.raises(DataError, match=said):
        shakespeare.prepare(tmp_path / "set", [tmp_path / name for name in sources])


@pytest.fixture
def files(tmp_path):
    """Texts in all forms."""
    (tmp_path / "a.txt").write_text("\n".join(LINES) + "\n")
    with gzip.open(tmp_path / "b.txt.gz", "wt") as packed:
        packed.write("packed text")
    records = [{"text": one, "more": 1} for one in LINES]
    (tmp_path / "c.jsonl").write_text("\n\n".join(map(json.dumps, records)))
    return tmp_path


def made(folder, train=("a.txt",), evaluation=("b.txt.gz",), **other):
    paths = [[folder / name for name in names] for names in (train, evaluation)]
    out = folder / "set"
    return out, tokens.prepare(out, train=paths[0], evaluation=paths[1], length=4, **other)


def test_bytes_of_files(files):
    out, told = made(files, train=("a.txt", "c.jsonl"))
    kept = [line for line in LINES if line]
    assert text(out / "train") == ["\n".join(LINES) + "\n", *kept]
    assert text(out / "eval") == ["packed text"]
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["counts"]["eval"] == (len("packed text") - 1) // 4 == 2
    assert (manifest["vocabulary"], manifest["tokenizer"]) == (256, "bytes")
    assert "eval has 1 document and 11 tokens, 2 sequences of 4" in told
    assert made(files, train=("a.txt", "c.jsonl")) == (out, [])
    with pytest.raises(DataError, match="holds another set"):
        made(files)


def test_lines_and_ends(files):
    out, _ = made(files, by_line=True, append_eod="end")
    assert read(out / "train") == [[*line.encode(), 256] for line in LINES if line]
    assert json.loads((out / "manifest.json").read_text())["vocabulary"] == 257


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A small model of either library."""
    folder = tmp_path_factory.mktemp("models")
    model = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=60, special_tokens=["<unk>", "<end>"], show_progress=False
    )
    model.train_from_iterator(LINES, trainer)
    model.post_processor = tokenizers.processors.TemplateProcessing(
        single="<end> $A", special_tokens=[("<end>", 1)]
    )
    model.enable_truncation(3)
    model.enable_padding(length=30)
    model.save(str(folder / "tokenizer.json"))
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES * 20), model_writer=written, vocab_size=28, minloglevel=2
    )
    (folder / "spm.model").write_bytes(written.getvalue())
    return folder


def test_a_model_of_tokenizers(files, models):
    path = models / "tokenizer.json"
    out, _ = made(files, train=("c.jsonl",), tokenizer=path, append_eod="<end>")
    model = tokenizers.Tokenizer.from_file(str(path))
    model.no_truncation()
    model.no_padding()
    kept = [line for line in LINES if line]
    wanted = [[*model.encode(one, add_special_tokens=False).ids, 1] for one in kept]
    assert read(out / "train") == wanted
    lengths = [len(one) for one in wanted]
    assert max(lengths) > 4  # nothing was cut
    assert max(lengths) < 30  # nor filled up
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["vocabulary"] == model.get_vocab_size()


def test_a_model_of_sentencepiece(files, models):
    out, _ = made(files, by_line=True, tokenizer=models / "spm.model")
    model = sentencepiece.SentencePieceProcessor(model_file=str(models / "spm.model"))
    assert read(out / "train") == [model.encode(line) for line in LINES if line]
    assert json.loads((out / "manifest.json").read_text())["vocabulary"] == 28


@pytest.mark.parametrize("name", ["tokenizer.json", "spm.model"])
def test_an_end_that_is_no_token(files, models, name):
    with pytest.raises(DataError, match=f"--append-eod <stop> is no token of .*{name}"):
        made(files, tokenizer=models / name, append_eod="<stop>")
    assert not (files / "set").exists()


def test_a_missing_library_says_what_to_install(models, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtra, match=r"tokenizers.*pip install 'time-to-train\[text\]'"):
        opened(models / "tokenizer.json")


@pytest.mark.parametrize("content", [b"", b"{", b'{"model": 3}', b"\x00\xff no model"])
def test_a_file_that_is_no_model(tmp_path, content):
    (tmp_path / "model").write_bytes(content)
    with pytest.raises(DataError, match=r"model is (no model of tokens|empty)"):
        opened(tmp_path / "model")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "line 1 is no JSON"),
        ('{"text": "a"}\n[1]', "line 2 has no text .*none, it is no mapping"),
        ('{"txt": "a", "id": 3}', 'no text "text"; its names: txt, id; --json-key NAME'),
        ('{"text": 7}', "has no text"),
        ("[" * 100_000, "line 1 is no JSON"),
        ("", "the files to train hold no text"),
        ('{"text": ""}', "the files to train hold no text"),
    ],
)
def test_records_that_are_none(files, content, said):
    (files / "d.jsonl").write_text(content)
    with pytest.raises(DataError, match=said):
        made(files, train=("d.jsonl",))
    assert not (files / "set").exists()


def test_what_is_asked_for_wrongly(files):
    with pytest.raises(ConfigError) as error:
        made(files, train=("a.txt", "none.txt"), evaluation=("a.txt",), tokenizer=Path("no"))
    assert [problem.split(";")[0] for problem in error.value.problems] == [
        f"{files / 'none.txt'} is not a file",
        f"{files / 'a.txt'} is named twice",
        "--tokenizer no is not a file",
    ]


def test_a_large_vocabulary_is_written_in_32_bits(files, models, monkeypatch):
    monkeypatch.setattr("ttt.data.megatron.SMALL", 28)
    out, _ = made(files, tokenizer=models / "spm.model")
    assert open_indexed(out / "train").tokens.dtype == np.int32


def test_the_sequences_of_files_are_counted(tmp_path):
    token_files.write(tmp_path / "set", [[1] * 1000, [2] * 25])
    for name in ("set", "set.bin", "set.idx"):
        found = tokens_in(tmp_path / name, 8)
        assert found == "2 documents, 1,025 tokens, 128 sequences of 8: data.train_samples=128"
    with pytest.raises(ConfigError, match="--length 0"):
        tokens_in(tmp_path / "set", 0)
    with pytest.raises(DataError, match="is missing"):
        tokens_in(tmp_path / "other", 8)


def test_a_file_whose_prefix_ends_as_its_files_do(tmp_path):
    token_files.write(tmp_path / "set.bin", [[1] * 9])  # set.bin.bin and set.bin.idx
    found = tokens_in(tmp_path / "set.bin", 8)
    assert found == "1 document, 9 tokens, 1 sequence of 8: data.train_samples=1"


@pytest.mark.parametrize(
    ("tokens_there", "said"),
    [
        (9, "9 tokens: --length 9 and the token after it are more; allowed: up to 8; --length 8"),
        (1, "allowed: up to 0; the path of files with more tokens"),
    ],
)
def test_a_sequence_longer_than_all_tokens_is_refused(tmp_path, tokens_there, said):
    token_files.write(tmp_path / "set", [[1] * tokens_there])
    with pytest.raises(ConfigError, match=said):
        tokens_in(tmp_path / "set", 9)


def test_an_option_that_no_file_has_a_use_for_is_refused(files):
    with pytest.raises(ConfigError, match=r"--json-key body has no effect: no file has records"):
        made(files, json_key="body")
    with pytest.raises(ConfigError, match=r"--by-line has no effect: every file has records"):
        made(files, train=("c.jsonl",), evaluation=(), by_line=True)
    assert not (files / "set").exists()
    made(files, train=("c.jsonl",), json_key="text", by_line=True)  # each has one use
