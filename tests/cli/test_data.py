"""What `ttt data` says in the end: a command that fits the set it made."""

import json

import pytest

from ttt.cli.data import _fits, differing
from ttt.schema.data.tokens import TokensDataConfig


@pytest.mark.parametrize(
    ("benchmark", "manifest", "typed"),
    [
        ("digits", {"counts": {"train": 1437, "test": 360}}, []),
        ("digits", {"counts": {"train": 7, "test": 360}}, ["data.train_samples=7"]),
        ("resnet", {"counts": {}, "format": "tfrecord"}, []),
        ("resnet", {"counts": {}, "format": "recordio"}, ["data.format=recordio"]),
        ("resnet", {"counts": {}}, ["data.format=folder"]),
        ("clicks", {"counts": {}, "rows": [1, 2]}, ["data.rows=[1,2]"]),
        ("transformer", {"counts": {"train": 4_500_000}}, ["data.train_samples=4500000"]),
        (
            "transformer",
            {"counts": {"eval": 20}},
            ["data.eval_samples=20", "benchmark.id=my_transformer", "benchmark.division=open"],
        ),
    ],
)
def test_what_differs_from_the_benchmark_is_what_to_type(tmp_path, benchmark, manifest, typed):
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert differing(benchmark, tmp_path) == typed


@pytest.mark.parametrize(
    ("asked", "there", "fits"), [(256, 1742, True), (1742, 1742, True), (1743, 1742, False)]
)
def test_a_benchmark_may_evaluate_on_fewer_sequences_than_there_are(asked, there, fits):
    assert _fits(TokensDataConfig(eval_samples=asked), "eval_samples", there) is fits
    assert _fits(TokensDataConfig(train_samples=asked), "train_samples", there) is (asked == there)
