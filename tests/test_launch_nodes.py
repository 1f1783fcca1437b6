"""The nodes of a launch meet, or every one of them says why not, in time and by itself."""

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from conftest import command, environment
from ttt.errors import ConfigError, LaunchError
from ttt.launch import endpoint as places
from ttt.launch import nodes
from ttt.launch.endpoint import Endpoint, parse
from ttt.launch.nodes import Place, meet
from ttt.launch.torchrun import Torchrun

SECONDS = 1.0
TYPED = ["launcher=torchrun", "launcher.nodes=2", "seed=3"]


def free(host: str = "127.0.0.1") -> Endpoint:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return Endpoint(host, probe.getsockname()[1])


def gather(
    where: Endpoint, *typed: tuple[int, list[str]], seconds: float = SECONDS
) -> list[object]:
    """What each of the nodes gets from a meeting; the first is there before the others."""
    answers: dict[int, object] = {}

    def take_part(number: int, count: int, arguments: list[str]) -> None:
        try:
            answers[number] = meet(where, count, arguments, seconds)
        except (LaunchError, ConfigError) as error:
            answers[number] = error

    threads = []
    for number, (count, arguments) in enumerate(typed):
        threads.append(threading.Thread(target=take_part, args=(number, count, arguments)))
        threads[-1].start()
        time.sleep(0.2)
    for thread in threads:
        thread.join()
    return [answers[number] for number in range(len(typed))]


@contextlib.contextmanager
def foreign(reply: bytes | None) -> Iterator[Endpoint]:
    """Another program that has a port, and answers whatever comes with this, or not at all."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                guest = server.accept()[0]
                if reply is not None:
                    guest.sendall(reply)
                    guest.close()
                else:
                    held.append(guest)

        held: list[socket.socket] = []
        threading.Thread(target=serve, daemon=True).start()
        yield Endpoint("127.0.0.1", server.getsockname()[1])
        for guest in held:
            guest.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_all_nodes_get_a_number_and_the_name_of_their_launch(host: str):
    where = Endpoint(host, free().port)
    own = [*TYPED, "launcher.procs=4", "run_root=/scratch/b"]
    first, *others = gather(where, (3, TYPED), (3, own), (3, TYPED), seconds=10)
    assert isinstance(first, Place)
    assert first.rank == 0
    assert sorted(place.rank for place in others) == [1, 2]
    assert {place.launch for place in others} == {first.launch}
    again, _ = gather(where, (2, TYPED), (2, TYPED), seconds=10)
    assert again.launch != first.launch  # two launches at one endpoint do not mix


def test_who_came_and_who_did_not_is_told_to_all_that_came():
    first, other = gather(free(), (3, TYPED), (3, TYPED))
    assert "2 of 3 nodes came to 127.0.0.1:" in str(first)
    assert f"within 1 s: {socket.gethostname()}, {socket.gethostname()};" in str(first)
    assert "127.0.0.1 leads every machine to itself" in str(first)
    assert "ttt run launcher=torchrun launcher.nodes=2 seed=3" in str(first)
    assert isinstance(first, LaunchError)
    assert isinstance(other, LaunchError)
    assert str(other) == str(first)


def test_a_node_that_is_gone_again_did_not_come():
    where = free()

    def leave() -> None:
        time.sleep(0.2)
        with socket.create_connection((where.host, where.port)) as guest:
            guest.sendall(b'{"host": "n7", "nodes": 3, "words": []}\n')
            assert b"wait" in guest.recv(1000)
            time.sleep(0.1)

    thread = threading.Thread(target=leave)
    thread.start()
    with pytest.raises(LaunchError, match="1 of 3 nodes came"):
        meet(where, 3, [], SECONDS)
    thread.join()


def test_what_a_stranger_sends_does_not_steer_the_terminal():
    where = free()

    def knock() -> None:
        time.sleep(0.2)
        with socket.create_connection((where.host, where.port)) as guest:
            guest.sendall(b'{"host": "n7\\u001b[2J", "nodes": 9, "words": []}\n')
            assert b"refused" in guest.recv(1000)

    thread = threading.Thread(target=knock)
    thread.start()
    with pytest.raises(LaunchError) as caught:
        meet(where, 2, [], SECONDS)
    assert "n7?[2J has launcher.nodes=9" in str(caught.value)
    thread.join()


@pytest.mark.parametrize(
    ("count", "typed", "said"),
    [
        (2, [*TYPED[:2], "seed=4"], "was started with seed=4, and {} with seed=3"),
        (2, [*TYPED, "precision=bf16"], "was started with precision=bf16, and {} with less"),
        (3, TYPED, "has launcher.nodes=3, and {} 2"),
    ],
)
def test_a_node_of_another_launch_is_sent_away_and_the_right_one_let_in(count, typed, said):
    here = socket.gethostname()
    first, wrong, right = gather(free(), (2, TYPED), (count, typed), (2, TYPED), seconds=5)
    assert isinstance(wrong, ConfigError)
    assert f"{here} {said.format(here)}; type it as there: ttt run" in str(wrong)
    assert isinstance(first, Place)
    assert isinstance(right, Place)


def test_the_node_that_waited_in_vain_tells_whom_it_sent_away():
    first, _ = gather(free(), (2, TYPED), (2, [*TYPED[:2], "seed=4"]))
    assert "was started with seed=4" in str(first)


def test_strangers_at_the_port_are_no_nodes():
    where = free()

    def knock() -> None:
        time.sleep(0.2)
        for words in (b"GET / HTTP/1.1\r\n\r\n", b"[1]\n", b'{"nodes": "many"}\n', b"\xff\n", b""):
            with socket.create_connection((where.host, where.port)) as stranger:
                stranger.sendall(words)
                stranger.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionResetError):
                    assert stranger.recv(1) == b""

    thread = threading.Thread(target=knock)
    thread.start()
    with pytest.raises(LaunchError, match="1 of 2 nodes came"):
        meet(where, 2, TYPED, SECONDS)
    thread.join()


@pytest.mark.parametrize("reply", [b"", b"SSH-2.0\r\n", b'{"go": 1}', None])
def test_another_program_at_the_port_is_told_with_another_port(reply, monkeypatch):
    monkeypatch.setattr(nodes, "_ANSWER_SECONDS", 0.3)
    with foreign(reply) as where, pytest.raises(LaunchError) as caught:
        meet(where, 2, TYPED, SECONDS)
    assert f"port {where.port} of 127.0.0.1 is in use by something else" in str(caught.value)
    assert f"launcher.rdzv_endpoint=127.0.0.1:{where.port + 1}" in str(caught.value)


def test_a_machine_where_nobody_listens_is_named_in_time(monkeypatch):
    monkeypatch.setattr(nodes, "is_mine", lambda *_: False)
    where, began = free(), time.monotonic()
    with pytest.raises(LaunchError, match=f"no `ttt run` answered at {where} within 1 s") as caught:
        meet(where, 2, TYPED, SECONDS)
    assert time.monotonic() - began < SECONDS + 1
    assert "Connection refused" in str(caught.value)
    assert "type the same `ttt run` on 127.0.0.1" in str(caught.value)


def test_a_first_node_that_ends_while_others_wait_is_told(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            guest = server.accept()[0]
            guest.recv(1000)
            guest.sendall(b'{"wait": "n1"}\n')
            guest.close()

        threading.Thread(target=serve, daemon=True).start()
        where = Endpoint("127.0.0.1", server.getsockname()[1])
        with pytest.raises(LaunchError, match="ended before all 2 nodes were there"):
            meet(where, 2, TYPED, SECONDS)


@pytest.mark.parametrize(
    ("typed", "known"),
    [
        ("node1:29500", Endpoint("node1", 29500)),
        ("10.0.0.1:1", Endpoint("10.0.0.1", 1)),
        ("[::1]:65535", Endpoint("::1", 65535)),
        ("[fd00:0::2]:29500", Endpoint("fd00::2", 29500)),
        ("[fe80::1%eth0]:29500", None),  # torchrun does not take it; other nodes name it otherwise
        ("::1:29500", None),
        ("[10.0.0.1]:29500", None),
        ("[node1]:29500", None),
        ("[:::]:29500", None),
        ("0.0.0.0:29500", None),
        ("[::]:29500", None),
        ("224.0.0.1:29500", None),
        ("node1:0", None),
        ("node1:65536", None),
        ("node1:295000", None),
        ("node1:", None),
        ("node1:²", None),
        ("node 1:29500", None),
        (":29500", None),
        ("node1", None),
        ("", None),
        (None, None),
    ],
)
def test_an_endpoint_is_what_torchrun_takes(typed: str | None, known: Endpoint | None):
    torchrun = pytest.importorskip("torch.distributed.elastic.rendezvous.utils")

    assert parse(typed) == known
    found = Torchrun(procs=1, nodes=2, rdzv_endpoint=typed, device="cpu").problems()
    if known:
        assert found == []
        assert torchrun.parse_rendezvous_endpoint(str(known), -1) == (known.host, known.port)
    else:
        assert f"launcher.rdzv_endpoint={typed} is no place where nodes can meet" in found[0]


def test_a_name_that_no_resolver_knows_or_answers_for_is_refused(monkeypatch):
    where = Endpoint("nowhere.invalid", 29500)
    with pytest.raises(ConfigError, match=r"nowhere\.invalid:29500 names no machine"):
        meet(where, 2, TYPED, SECONDS)
    with pytest.raises(ConfigError, match="names no machine"):
        meet(Endpoint("x" * 64, 29500), 2, TYPED, SECONDS)
    monkeypatch.setattr(places, "_ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(1))
    with pytest.raises(ConfigError, match=r"no answer from the resolver within 0\.1 s"):
        meet(where, 2, TYPED, SECONDS)


def test_a_second_node_that_never_comes_ends_the_first(tmp_path: Path):
    where = free()
    typed = ["run", "launcher=torchrun", "launcher.nodes=2", "timeout.join_seconds=2"]
    began = time.monotonic()
    process = subprocess.Popen(
        command(*typed, f"launcher.rdzv_endpoint={where}"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode == 5, err
    assert out == f"waiting for 1 more of 2 nodes at {where}\n"
    assert err.startswith(f"ttt: 1 of 2 nodes came to {where} within 2 s: {socket.gethostname()};")
    assert err.count("\n") == 1
    assert time.monotonic() - began < 30  # of which most is Python's start on a busy machine
    assert not [one for one in psutil.process_iter(["cmdline"]) if str(where) in str(one.info)]


def test_one_node_needs_no_name_of_its_own(tmp_path: Path, digits: Path):
    """torchrun makes its workers look for each other at the host's own name, and wait for ever."""
    nameless = ["unshare", "--uts", "sh", "-c", 'hostname nowhere.invalid && exec "$@"', "sh"]
    if subprocess.run([*nameless, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not give a process another host name")
    typed = ["run", "launcher=torchrun", "launcher.procs=2", f"data.root={digits}"]
    done = subprocess.run(
        [*nameless, *command(*typed, "target.threshold=0.1", "target.max_epochs=1")],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
