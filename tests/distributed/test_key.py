"""Ranks of a launch with a key accept no message without it, and the key stays with them."""

import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil
import pytest

from ground import PROJECT, Command, environment
from processes import ENDLESS, begin, end_all, until_training, workers
from ttt import config
from ttt.cli import counted
from ttt.distributed import agreement, key, rendezvous
from ttt.distributed.agreement import LostRankZero, Room, agree, ours
from ttt.distributed.rank import Placement, from_environment
from ttt.errors import LaunchError
from warm import Warm

OURS, OTHER = "our own secret, long enough", "the secret of somebody else"
ROOM, SAID = "meeting", {"rank": 1, "size": 2, "host": "b"}


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """No launcher's variables."""
    for name in ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", key.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(agreement, "_TELL_SECONDS", 0.0)  # the store outlives both ranks here


def test_a_key_leaves_the_environment_and_one_that_can_be_guessed_is_refused(
    monkeypatch: pytest.MonkeyPatch,
):
    assert key.take() is None
    monkeypatch.setenv(key.VARIABLE, OURS)
    assert key.take() == OURS
    assert key.VARIABLE not in os.environ
    monkeypatch.setenv(key.VARIABLE, "short")
    with pytest.raises(LaunchError, match="TTT_KEY has 5 characters; allowed: 16 or more; export"):
        key.take()
    first, second = key.variables(), key.variables()
    assert first != second
    assert len(first[key.VARIABLE]) == 64


@pytest.mark.parametrize("given", [None, 7, "", "\ud800", "é", key.proof(OTHER, "a", "b"), []])
def test_only_the_secret_proves_words(given: object):
    assert key.proves(OURS, key.proof(OURS, "a", "b"), "a", "b")
    assert not key.proves(OURS, key.proof(OURS, "ab", ""), "a", "b")
    assert not key.proves(OURS, given, "a", "b")
    assert key.proves(None, given, "a", "b") is (given == "")


def test_a_key_of_any_bytes_proves_words():
    odd = os.fsdecode(b"\xff" * 32)
    assert key.proves(odd, key.proof(odd, "a"), "a")
    assert not key.proves(odd, key.proof(OURS, "a"), "a")


Two = tuple[Any, Any]


def opened() -> Two:
    """The store of rank 0, and a connection of rank 1."""
    server = rendezvous.client("127.0.0.1", 0, 10, opens=True)
    return server, rendezvous.client("127.0.0.1", server.port, 10)


@pytest.fixture
def two() -> Two:
    return opened()


def answers(two: Two, secrets: tuple[str | None, str | None], forge: Any = None) -> list:
    """What two ranks with these secrets get from a meeting, and what they say of its failure.

    `forge` writes into the store in place of rank 0, which then comes too late.
    """
    got: list = [None, None]

    def take_part(rank: int) -> None:
        text = "the configuration" if rank == 0 else None
        try:
            place = Placement(rank, 2, rank, 2)
            got[rank] = rendezvous.meet(two[rank], place, text, 5, secrets[rank])
        except LaunchError as error:
            got[rank] = error

    threads = [threading.Thread(target=take_part, args=(rank,)) for rank in (1, 0)]
    threads[0].start()
    if forge:
        room = ours(two[0], ROOM)
        agreement.wait(room, ["came/1"], 30)
        forge(room)
        threads[0].join()
    threads[1].start()
    for thread in threads:
        thread.join()
    return got


@pytest.mark.parametrize("secret", [OURS, None])
def test_ranks_with_the_same_key_or_none_meet(two: Two, secret: str | None):
    assert answers(two, (secret, secret)) == ["the configuration"] * 2


@pytest.mark.parametrize("secrets", [(OURS, OTHER), (OURS, None), (None, OURS)])
def test_ranks_with_different_keys_refuse_each_other(
    two: Two, secrets: tuple[str | None, str | None]
):
    zero, one = answers(two, secrets)
    here = socket.gethostname()
    assert f"the name of rank 1 on {here} does not prove TTT_KEY, and is not used" in str(zero)
    assert "set the same TTT_KEY for every process, or for none" in str(zero)
    assert "the name of rank 0 does not prove TTT_KEY" in str(one)
    assert not isinstance(one, LostRankZero)  # it says it itself


def signed(secret: str | None):
    """A stranger who knows how ttt speaks, with a secret of his own or none."""

    def forge(room: Any) -> None:
        evil = {"text": "his own configuration", "to": [heard(room, "came/1")]}
        text, nonce = json.dumps(evil), "n"
        proof = key.proof(secret, "ttt//0/meeting", "verdict", nonce, text)
        room.set("verdict", json.dumps([text, nonce, proof]))

    return forge


def heard(room: Any, name: str) -> str:
    """The random number of a word."""
    return json.loads(room.get(name))[1]


def as_before(room: Any) -> None:
    """A stranger who speaks as ttt did before there was a key."""
    room.set("config", "his own configuration")
    room.set("verdict", "{}")


def noise(room: Any) -> None:
    room.set("verdict", "[" * 100_000)


@pytest.mark.parametrize("forge", [signed(None), signed(OTHER), as_before, noise])
def test_who_writes_first_into_the_store_is_not_obeyed(two: Two, forge):
    _, one = answers(two, (OURS, OURS), forge)
    assert isinstance(one, LaunchError)
    assert "the name of rank 0 does not prove TTT_KEY, and is not used" in str(one)


@pytest.mark.parametrize(
    "said", [{}, {"error": 1, "code": 2}, {"error": "x"}, {"to": 7, "text": "x"}, {"to": []}]
)
def test_without_a_key_too_a_verdict_that_is_none_ends_a_rank_with_a_sentence(two: Two, said: Any):
    forge = lambda room: room.set("verdict", json.dumps([json.dumps(said), "n", ""]))  # noqa: E731
    _, one = answers(two, (None, None), forge)
    assert isinstance(one, LaunchError)
    assert "the name of rank 0 does not prove TTT_KEY, and is not used" in str(one)


def test_words_of_an_earlier_launch_with_the_same_key_do_not_count(two: Two):
    assert answers(two, (OURS, OURS)) == ["the configuration"] * 2
    kept = ours(two[0], ROOM).get("verdict")
    _, one = answers(opened(), (OURS, OURS), lambda room: room.set("verdict", kept))
    assert "the name of rank 0 does not prove TTT_KEY" in str(one)


@pytest.mark.parametrize(
    "came",
    [
        "[",
        "{}",
        json.dumps(["[1]", "n", ""]),
        json.dumps([json.dumps(SAID | {"host": "\x1b[2J"}), "n", ""]),
        json.dumps([json.dumps(SAID | {"rank": "1"}), "n", ""]),
        json.dumps([json.dumps(SAID), ["n"], ""]),
        json.dumps([json.dumps(SAID), "n", 5]),
    ],
)
@pytest.mark.parametrize("secret", [OURS, None])
def test_whatever_a_stranger_says_of_himself_rank_0_ends_with_a_sentence(
    two: Two, came: str, secret: str | None
):
    room = ours(two[1], ROOM)
    room.add("number", 1)
    room.set("came/1", came)
    with pytest.raises(LaunchError, match=r"^the message in the name of \S+.* is not used"):
        rendezvous.meet(two[0], Placement(0, 2), "text", 5, secret)


@pytest.mark.parametrize("secret", [OTHER, None])
def test_the_devices_of_strangers_do_not_count(two: Two, secret: str | None):
    Room(two[1], "agreement", secret).say("report/1", {"rank": 1})
    with pytest.raises(LaunchError, match="the name of rank 1 does not prove TTT_KEY"):
        agree(two[0], Placement(0, 2), {}, pytest.fail, 5, OURS)


def test_a_verdict_of_a_stranger_on_devices_does_not_count(two: Two):
    Room(two[0], "agreement", OTHER).say("verdict", {"error": "give up", "code": 0, "to": []})
    with pytest.raises(LaunchError, match="the name of rank 0 does not prove TTT_KEY"):
        agree(two[1], Placement(1, 2), {}, pytest.fail, 5, OURS)


EVIL = """
from pathlib import Path
import os
Path(os.environ["MARK"] + os.environ["RANK"]).touch()
from ttt.tasks.image import ImageClassification as Task
"""


@pytest.mark.parametrize("his", [OTHER, ""])
def test_a_stranger_as_rank_0_runs_no_code_on_a_rank_with_a_key(
    tmp_path: Path, digits: Path, his: str
):
    """He has the port first, and is a whole rank 0, with a run folder and a class of his own."""
    (tmp_path / "evil.py").write_text(EVIL)
    run = tmp_path / "run"
    (run / "logs").mkdir(parents=True)
    config.register()
    typed = [f"data.root={digits}", "clear_cache=off", "task._target_=evil.Task", "seed=1"]
    composed = counted.fill(config.compose([*typed, "target.max_epochs=1"]))
    settled = config.resolve(composed, processes=2)
    (run / "config.yaml").write_text(config.freeze(settled))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    place = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    place |= {"MASTER_PORT": port, "MARK": f"{tmp_path}/mark_", "PYTHONSAFEPATH": "1"}

    def begin(rank: str, folder: str, secret: str) -> subprocess.Popen[str]:
        return Warm(
            [sys.executable, "-m", "ttt.worker", folder],
            env=environment(**place, RANK=rank, LOCAL_RANK=rank, TTT_KEY=secret),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    pair = [begin("0", str(run), his), begin("1", "-", OURS)]
    said = [process.communicate(timeout=200)[0] for process in pair]
    assert [process.returncode for process in pair] == [5, 5], said
    assert "the name of rank 0 does not prove TTT_KEY, and is not used" in said[1]
    assert f"the name of rank 1 on {socket.gethostname()} does not prove TTT_KEY" in said[0]
    assert ("TTT_KEY is not set" in said[0]) == (his == "")
    assert [one.count("Traceback") for one in said] == [0, 0]
    assert list(tmp_path.glob("mark_*")) == []


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_short_key_is_refused_before_anything_is_made(ttt: Command, tmp_path: Path, rank: str):
    place = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    place |= {"MASTER_PORT": "1", "RANK": rank, "LOCAL_RANK": rank, "TTT_KEY": "short"}
    done = ttt("run", **place)
    assert done.returncode == 5
    said = "TTT_KEY has 5 characters; allowed: 16 or more; export TTT_KEY=$(openssl rand -hex 32)"
    assert done.stderr == f"ttt: {said}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(params=["torchrun", "mpi"])
def running(
    request: pytest.FixtureRequest, tmp_path: Path, digits: Path
) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A run of two processes that ttt has started, once it trains; what it says, when it ends."""
    if request.param == "mpi":
        pytest.importorskip("mpi4py")
    typed = (f"launcher={request.param}", "launcher.procs=2", f"data.root={digits}", *ENDLESS)
    process = begin(tmp_path, *typed)
    yield until_training(tmp_path, process), process
    assert end_all(tmp_path) == []


def test_one_node_listens_for_itself_alone_and_keeps_its_key(running):
    folder, process = running
    root = folder.parents[3]
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    ranks = [one for one in workers(root) if "ttt.worker" in one.cmdline()[1:4] and _placed(one)]
    assert len(ranks) == 2
    [secret] = {one.environ()[key.VARIABLE] for one in ranks}
    assert len(secret) == 64
    commands = [" ".join(one.cmdline()) for one in psutil.process_iter() if one in family]
    assert len(commands) >= 4
    assert not any(secret in words for words in commands)
    # Open MPI's mpirun listens everywhere, and no option changes that; the ranks do not.
    ours = [one for one in family if one.name() not in ("mpirun", "prterun", "orterun")]
    open_at = {
        (one.pid, each.laddr.ip)
        for one in ours
        for each in one.net_connections()
        if each.status == psutil.CONN_LISTEN or each.type == socket.SOCK_DGRAM
    }
    assert {one for one, _ in open_at} >= {rank.pid for rank in ranks}
    assert [ip for _, ip in open_at if not ip_address(ip).is_loopback] == []
    process.terminate()
    out, errors = process.communicate(timeout=100)
    assert secret not in out + errors
    assert key.VARIABLE not in out + errors  # nor a warning that it is not set
    files = [path for path in root.rglob("*") if path.is_file()]
    assert folder / "environment.json" in files
    assert [path for path in files if secret.encode() in path.read_bytes()] == []


def _placed(process: psutil.Process) -> bool:
    """Whether a launcher has given this process a rank."""
    return from_environment(process.environ()) is not None


def test_a_program_that_a_rank_starts_does_not_get_the_key(tmp_path: Path):
    script = tmp_path / "rank.py"
    script.write_text(
        textwrap.dedent("""
        import subprocess, sys, torch
        from ttt.distributed.world import join
        with join(None, "text", lambda *_: torch.device("cpu")):
            pass
        print(subprocess.run(["env"], capture_output=True, text=True, check=True).stdout)
        """)
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        env=environment(TTT_KEY=OURS),
        capture_output=True,
        text=True,
        check=True,
        cwd=PROJECT,
    )
    assert "PATH=" in done.stdout
    assert key.VARIABLE not in done.stdout
