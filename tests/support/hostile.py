"""Trees of results and run folders as somebody who means harm would make them."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

import compliance_logs
from submissions import SYSTEM, launch, log_of

SECRET = f"secret {os.urandom(8).hex()}"  # which stands in no file of ttt
TOKEN = ":::MLLOG "
_RAW = {"@DIGITS@": "9" * 5000, "@BEYOND@": "1e999", "@SURROGATE@": '"a\\ud800\\udc80b"'}

VALUES: list[Any] = [
    *_RAW,
    None,
    True,
    -1,
    0,
    10**30,
    10**400,
    float("nan"),
    float("-inf"),
    1e300,
    "",
    "\x1b]0;owned\x07\x1b[2J",
    "a\0b",
    "line\nbreak\r\u2028",
    "../../../../victim",
    "/etc/passwd",
    "${oc.env:HOME}",
    "9" * 400 + " GB",
    "x" * 5000,
    [],
    {},
    [[[]]],
    {"a": {"b": [1]}},
    ["--config-dir", "/"],
]
KINDS = ["pipe", "zero", "private", "folder", "loop", "sparse", "terminal"]
TEXTS = [
    b"",
    b"\0" * 3000,
    b"\xff\xfe\x80",
    b"{" * 2000,
    b"[" * 200_000,
    b'{"a":' * 900 + b"1" + b"}" * 900,
    b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 9)) for n in b"bcdefghi"),
    b"seed: 0x" + b"f" * 20_000,
    b"seed: 1" + b":1" * 20_000,
    b"!!python/object/apply:os.system [false]",
    b":::MLLOG " + b"[" * 30_000 + b"\n",
    b":::MLLOG {}" * 20 + b"\n" + b"x" * 2_000_000,
    b"process rank 1 with " * 20_000 + b"\n" + b"error: *** a b ON c CANCELLED AT " * 20_000,
    b"srun: error: " + b"1" * 100_000 + b"\nsrun: error: a: task " + b"1" * 100_000,
    (b"  time      : 1\n  host      : n\n  rank      : " + b"9" * 5000 + b" (x)\n") * 9
    + b"  exitcode  : 1\n",
]


def run_folders(folder: Path) -> Path:
    """Two runs of ttt, one of which died."""
    runs = launch(folder, runs=2, benchmark="digits")
    for run in runs.iterdir():
        (run / "manifest.json").write_text('{"counts": {"train": 1437, "eval": 360}}')
        (run / "rules.yaml").write_text("# training ruleset 6.1.0 of mlperf-logging\n")
        events = [
            ("config", 0, {"train_samples": 1437, "global_batch": 64}),
            ("run_start", 1, {}),
            ("block_start", 1, {"samples": 0, "epoch": 0}),
            ("progress", 2, {"samples": 64, "epoch": 0.1, "loss": 1.5}),
            ("block_stop", 3, {"samples": 1437, "epoch": 1}),
            ("quality", 4, {"value": 0.9, "target": 0.97, "samples": 1437, "epoch": 1}),
            ("resumed", 5, {"samples": 64, "epoch": 0.1, "started": 1}),
        ]
        lines = [json.dumps({"kind": k, "time": t, "step": 1, "data": d}) for k, t, d in events]
        (run / "events.jsonl").write_text("\n".join(lines) + "\n")
        logs = run / "logs"
        logs.mkdir()
        failure = {"rank": 0, "host": "n", "text": "it broke", "time": 1.0, "primary": False}
        (logs / "rank_0.failure.json").write_text(json.dumps(failure))
        for name in ("torchrun.log", "mpirun.log", "srun.log"):
            (logs / name).write_text("nothing\n")
    died = runs / "seed_2"
    (died / "summary.json").unlink()
    (died / "suspended").write_text("a node does not answer\n")
    return runs


def results(folder: Path) -> Path:
    """Somebody's results of an official benchmark, with power files and a scaling."""
    place = folder / "results" / "box" / "resnet"
    (place / "power" / "result_0").mkdir(parents=True)
    (folder / "systems").mkdir()
    (folder / "systems" / "box.json").write_text(json.dumps(SYSTEM))
    (folder / "benchmarks" / "resnet").mkdir(parents=True)
    (folder / "benchmarks" / "resnet" / "train.py").write_text("pass\n")
    for run in range(2):
        log = log_of("resnet", "closed", run, 10 * run)
        compliance_logs.write(place / f"result_{run}.txt", log)
    power = [
        compliance_logs.record(f"power_{what}", 300, minute)
        for what, minute in (("measurement_start", 1), ("reading", 2.9), ("measurement_stop", 3))
    ]
    compliance_logs.write(place / "power" / "result_0" / "node_0.txt", power)
    (place / "scaling.json").write_text('{"scaling_factor": 1.25}')
    (folder / "results" / "box" / "package_checker_params").write_text("")
    return folder


def spoil(data: st.DataObject, tree: Path, private: Path) -> None:
    """Make one thing in a tree a trap.

    Args:
        data: Draws which and how.
        tree: Of one of the functions above.
        private: A file of the reader's own, with SECRET in it.
    """
    every = [each for each in sorted(tree.rglob("*")) if not each.is_symlink()]
    files = [each for each in every if each.is_file()]
    if not files:
        return
    how = data.draw(st.sampled_from(["value", "value", "value", "text", "kind", "folder"]))
    if how == "folder":
        if not (folders := [each for each in every if each.is_dir()]):
            return
        place = data.draw(st.sampled_from(folders))
        shutil.rmtree(place)
        put(data.draw(st.sampled_from(["file", "pipe", "home", "absent"])), place, private)
        return
    file = data.draw(st.sampled_from(files))
    if how == "kind":
        file.unlink()
        put(data.draw(st.sampled_from(KINDS)), file, private)
    elif how == "text" or not (texts := list(_structured(file))):
        file.write_bytes(data.draw(st.sampled_from(TEXTS)))
    else:
        place = data.draw(st.integers(0, len(texts) - 1))
        content = texts[place]
        if isinstance(content, dict | list):
            _change(data, content)
        head = TOKEN if file.suffix == ".txt" else ""
        lines = [head + json.dumps(each) for each in texts]
        for mark, raw in _RAW.items():
            lines = [line.replace(f'"{mark}"', raw) for line in lines]
        file.write_text("\n".join(lines) + "\n")


def _structured(file: Path) -> Iterator[Any]:
    """What a file holds, one thing or one in each line; nothing of one that was spoilt before."""
    if file.stat().st_size > 100_000:
        return
    text = file.read_text(errors="replace")
    lines = text.splitlines() if file.suffix in (".jsonl", ".txt") else [text]
    parse = yaml.safe_load if file.suffix == ".yaml" else json.loads
    for line in lines:
        try:
            yield parse(line.removeprefix(TOKEN))
        except (ValueError, yaml.YAMLError, RecursionError):
            return


def _change(data: st.DataObject, content: Any) -> None:
    """Put a value in an unexpected place."""
    places: list[tuple[Any, Any]] = []
    waiting = [content]
    while waiting:
        one = waiting.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one))
        for key in keys:
            places.append((one, key))
            if isinstance(one[key], dict | list):
                waiting.append(one[key])
    if places:
        one, key = places[data.draw(st.integers(0, len(places) - 1))]
        one[key] = data.draw(st.sampled_from(VALUES))


def put(kind: str, place: Path, private: Path) -> None:
    """Make something else of a path that is free."""
    match kind:
        case "pipe":
            os.mkfifo(place)
        case "zero":
            place.symlink_to("/dev/zero")
        case "terminal":
            place.symlink_to("/dev/tty")
        case "private":
            place.symlink_to(private)
        case "home":
            place.symlink_to(private.parent)
        case "folder":
            place.mkdir()
        case "file":
            place.write_text("")
        case "loop":
            place.symlink_to(place)
        case "sparse":
            with place.open("wb") as file:
                file.truncate(1 << 41)
