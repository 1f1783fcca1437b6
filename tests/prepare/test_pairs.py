"""Sentence pairs of one's own: files named one by one, held-out pairs, and what is told."""

import gzip
import json
from pathlib import Path

import pytest

from ttt.errors import ConfigError, DataError
from ttt.prepare import pairs
from ttt.special_tokens import EOS

WORDS = "zero one two three four five six seven eight nine".split()
COUNT = 300


def spelt(number: int) -> str:
    return " ".join(WORDS[int(digit)] for digit in str(number))


def numbers(count: int = COUNT) -> list[tuple[str, str]]:
    return [(spelt(number), " ".join(str(number))) for number in range(count)]


def tabs(path: Path, given: list[tuple[str, ...]]) -> Path:
    path.write_text("".join("\t".join(fields) + "\n" for fields in given), encoding="utf-8")
    return path


def sides(folder: Path, given: list[tuple[str, str]]) -> list[Path]:
    """Two files of the same name in two folders, as some corpora come."""
    paths = [folder / side / "text.txt" for side in ("from", "to")]
    for path, texts in zip(paths, zip(*given, strict=True), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(texts) + "\n")
    return paths


def manifest(out: Path) -> dict:
    return json.loads((out / "manifest.json").read_text())


def parts(out: Path) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    read = [
        (out / "text" / f"{part}.{side}").read_text().splitlines()
        for part in ("train", "eval")
        for side in ("source", "target")
    ]
    return list(zip(*read[:2], strict=True)), list(zip(*read[2:], strict=True))


def test_a_file_with_tabs_is_taken_apart_and_no_sentence_is_in_both_parts(tmp_path):
    given = [*numbers(), *numbers()[:50]]  # fifty come twice
    source = tabs(tmp_path / "numbers.tsv", [(*pair, "who said so") for pair in given])
    remarks = pairs.prepare(tmp_path / "a", train=[[source]], eval_pairs=20)
    train, held_out = parts(tmp_path / "a")
    assert sorted(train + held_out) == sorted(given)
    assert not {ours for ours, _ in train} & {ours for ours, _ in held_out}
    assert 20 <= len(held_out) <= 21  # one more if the last has a twin
    assert manifest(tmp_path / "a")["counts"] == {"train": len(train), "eval": len(held_out)}
    assert (tmp_path / "a" / "eval.trg.txt").read_text().splitlines() == [t for _, t in held_out]
    assert (
        remarks[0] == f"held out for the evaluation by --seed 0; the text of both parts is in"
        f" {tmp_path / 'a' / 'text'}"
    )
    pairs.prepare(tmp_path / "b", train=[[source]], eval_pairs=20)
    assert parts(tmp_path / "b") == (train, held_out)
    pairs.prepare(tmp_path / "c", train=[[source]], eval_pairs=20, seed=1)
    assert parts(tmp_path / "c") != (train, held_out)


def test_columns_are_chosen_and_sides_that_are_missing_left_out(tmp_path):
    given = [("1", *pair[::-1]) for pair in numbers(40)] + [("1", "", "nothing"), ("1", "7", "")]
    source = tabs(tmp_path / "numbers.tsv", given)
    pairs.prepare(tmp_path / "out", train=[[source]], columns=[3, 2])
    train, held_out = parts(tmp_path / "out")
    assert sorted(train + held_out) == sorted(numbers(40))
    assert len(held_out) == 4  # a tenth at most


def test_files_are_named_one_by_one(tmp_path):
    """Only what --train names is trained on, whatever lies beside it."""
    train = sides(tmp_path / "a", numbers(100))
    more = sides(tmp_path / "b", numbers(200)[100:])
    packed = tmp_path / "more.gz"
    packed.write_bytes(gzip.compress(more[0].read_bytes()))
    held_out = sides(tmp_path / "c", numbers(220)[200:])
    out = tmp_path / "out"
    pairs.prepare(
        out,
        train=[train, [packed, more[1]]],
        evaluation=held_out,
        source="words",
        target="digits",
        vocabulary=60,
    )
    told = manifest(out)
    assert told["counts"] == {"train": 200, "eval": 20}
    assert told["vocabulary"] == 60
    assert (told["source_language"], told["target_language"]) == ("words", "digits")
    assert len(told["sources"]) == 6  # each of them, though most have the same name
    assert not (out / "text").exists()
    pairs.prepare(
        out,
        (),
        lambda *_: pytest.fail("made again"),
        train=[train, [packed, more[1]]],
        evaluation=held_out,
        source="words",
        target="digits",
    )


def test_two_forms_may_be_mixed(tmp_path):
    source = tabs(tmp_path / "numbers.tsv", numbers(100))
    held_out = sides(tmp_path / "c", numbers(120)[100:])
    pairs.prepare(tmp_path / "out", train=[[source]], evaluation=held_out)
    assert parts(tmp_path / "out") == (numbers(100), numbers(120)[100:])


def test_a_vocabulary_is_as_large_as_the_text_has_tokens(tmp_path):
    source = tabs(tmp_path / "numbers.tsv", numbers(60))
    pairs.prepare(tmp_path / "out", train=[[source]])
    assert EOS < manifest(tmp_path / "out")["vocabulary"] < 500
    with pytest.raises(DataError, match=r"500 tokens cannot be learned .* --vocabulary N"):
        pairs.prepare(tmp_path / "other", train=[[source]], vocabulary=500)
    assert not (tmp_path / "other").exists()


def test_an_option_that_nothing_reads_is_refused(tmp_path):
    one, other = tmp_path / "a.de", tmp_path / "a.en"
    for file in (one, other, tmp_path / "b.de", tmp_path / "b.en"):
        file.write_text("word\n" * 60)
    with pytest.raises(ConfigError) as caught:
        pairs.prepare(
            tmp_path / "out",
            train=[[one, other]],
            evaluation=[tmp_path / "b.de", tmp_path / "b.en"],
            columns=[2, 1],
            eval_pairs=7,
        )
    columns, held_out = caught.value.problems
    assert columns.startswith("--columns 2 1 has no effect: no file holds both sides; allowed: ")
    assert held_out.startswith("--eval-pairs 7 has no effect: --eval names what is evaluated on; ")


def test_all_that_is_wrong_with_the_files_named_is_told_at_once(tmp_path):
    source = tabs(tmp_path / "numbers.tsv", numbers(60))
    with pytest.raises(ConfigError) as caught:
        pairs.prepare(
            tmp_path / "out",
            train=[[source] * 3, [tmp_path / "none.de"]],
            columns=[2, 2],
            max_length=0,
        )
    told = "\n".join(caught.value.problems)
    for said in (
        "3 files; allowed: two, source and target, or one with tabs",
        "none.de is not a file",
        "numbers.tsv is named twice",
        "--columns 2 2 are not two columns",
        "--max-length 0 is not allowed",
    ):
        assert said in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("one\t1\njust one\n", "line 2 has 1 columns; allowed: at least 2"),
        ("", "is empty"),
        ("one\t1\n" * 19, "--train has 19 pairs, too few to hold some out"),
    ],
)
def test_a_file_that_is_no_table_of_pairs_is_told(text, said, tmp_path):
    source = tmp_path / "numbers.tsv"
    source.write_text(text)
    with pytest.raises((ConfigError, DataError), match=said):
        pairs.prepare(tmp_path / "out", train=[[source]])
    assert not (tmp_path / "out").exists()
