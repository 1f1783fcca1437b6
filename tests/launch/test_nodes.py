"""The nodes of a launch meet, or every one of them says why not, in time and by itself."""

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from ground import HUNG, command, environment
from processes import EASY
from ttt.errors import ConfigError, LaunchError
from ttt.launch import endpoint as places
from ttt.launch import guests, messages, nodes
from ttt.launch.endpoint import Endpoint, parse
from ttt.launch.messages import Place
from ttt.launch.nodes import meet
from ttt.launch.torchrun import Torchrun
from warm import Warm

SECONDS = 1.0
NOISE = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"[1]\n",
    b"null\n",
    b"{}\n",
    b"\xff\n",
    b"",
    b"[" * 60_000 + b"\n",
    b"x" * (1 << 17),
    b'{"nodes": "many"}\n',
    b'{"host": "x", "nodes": Infinity, "words": []}\n',
    b'{"host": "x", "nodes": NaN, "words": []}\n',
    b'{"host": "x", "nodes": 2.0, "words": []}\n',
    b'{"host": "x", "nodes": true, "words": []}\n',
    b'{"host": "x", "nodes": "2", "words": []}\n',
    b'{"host": "x", "nodes": -1, "words": []}\n',
    b'{"host": "x", "nodes": 1' + b"0" * 5000 + b', "words": []}\n',
    b'{"host": null, "nodes": 2, "words": []}\n',
    b'{"host": "' + b"x" * 300 + b'", "nodes": 2, "words": []}\n',
    b'{"host": "x", "nodes": 2, "words": {"a": 1}}\n',
    b'{"host": "x", "nodes": 2, "words": "seed=3"}\n',
    b'{"host": "x", "nodes": 2, "words": [1]}\n',
]
STRANGE_ANSWERS = [
    None,
    b"",
    b"SSH-2.0\r\n",
    b'{"go": 1}',
    b"{}\n",
    b"[" * 60_000 + b"\n",
    b'{"wait": 1}\n',
    b'{"refused": ["a"]}\n',
    b'{"wait": "n"}\n{}\n',
    b'{"wait": "n"}\n{"go": 1}\n',
    b'{"wait": "n"}\n{"go": {"rank": 1}}\n',
    b'{"wait": "n"}\n{"go": {"rank": true, "launch": "a"}}\n',
    b'{"wait": "n"}\n{"go": {"rank": 2, "launch": "a"}}\n',
    b'{"wait": "n"}\n{"go": {"rank": 1, "launch": "a b"}}\n',
    b'{"wait": "n"}\n{"ready": "x"}\n',
]
TYPED = ["launcher=torchrun", "launcher.nodes=2", "seed=3"]


def free(host: str = "127.0.0.1") -> Endpoint:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return Endpoint(host, probe.getsockname()[1])


def gather(
    where: Endpoint,
    *typed: tuple[int, list[str]],
    seconds: float = SECONDS,
    secrets: Sequence[str | None] = (),
) -> list[object]:
    """What each of the nodes gets from a meeting; the first is there before the others."""
    answers: dict[int, object] = {}

    def take_part(number: int, count: int, arguments: list[str]) -> None:
        try:
            secret = secrets[number] if secrets else None
            answers[number] = meet(where, count, arguments, seconds, secret)
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
    first, *others = gather(where, (3, TYPED), (3, own), (3, TYPED), seconds=60)
    assert isinstance(first, Place)
    assert first.rank == 0
    assert sorted(place.rank for place in others) == [1, 2]
    assert {place.launch for place in others} == {first.launch}
    again, _ = gather(where, (2, TYPED), (2, TYPED), seconds=60)
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
    assert r"n7\x1b[2J has launcher.nodes=9" in str(caught.value)
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
    first, wrong, right = gather(free(), (2, TYPED), (count, typed), (2, TYPED), seconds=60)
    assert isinstance(wrong, ConfigError)
    assert f"{here} {said.format(here)}; type it as there: ttt run" in str(wrong)
    assert isinstance(first, Place)
    assert isinstance(right, Place)


def test_the_node_that_waited_in_vain_tells_whom_it_sent_away():
    first, _ = gather(free(), (2, TYPED), (2, [*TYPED[:2], "seed=4"]))
    assert "was started with seed=4" in str(first)


def test_strangers_at_the_port_are_no_nodes():
    where = free()
    answers: list[bytes] = []

    def knock() -> None:
        time.sleep(0.2)
        for words in NOISE:
            with socket.create_connection((where.host, where.port)) as stranger:
                # Closed by the other side already: the kernel says so in one of several ways
                # (a reset, a broken pipe, ENOTCONN, which is no ConnectionError).
                with contextlib.suppress(OSError):
                    stranger.sendall(words)
                    stranger.shutdown(socket.SHUT_WR)
                with contextlib.suppress(OSError):
                    answers.append(stranger.recv(1))

    thread = threading.Thread(target=knock)
    thread.start()
    with pytest.raises(LaunchError, match=r"1 of 2 nodes came .*: \S+; 127\.0\.0\.1 leads"):
        meet(where, 2, TYPED, SECONDS)
    thread.join()
    assert set(answers) == {b""}


KEY, OTHER = "the key of this launch", "the key of a stranger"


def test_nodes_with_the_same_key_meet():
    first, other = gather(free(), (2, TYPED), (2, TYPED), seconds=5, secrets=(KEY, KEY))
    assert first == Place(0, other.launch)
    assert other.rank == 1


@pytest.mark.parametrize("secrets", [(KEY, OTHER), (KEY, None), (None, KEY)])
def test_nodes_with_different_keys_refuse_each_other(secrets):
    first, other = gather(free(), (2, TYPED), (2, TYPED), seconds=2, secrets=secrets)
    assert f"{socket.gethostname()} does not prove TTT_KEY, and its messages are not" in str(first)
    assert isinstance(other, LaunchError | ConfigError)
    assert "does not prove TTT_KEY" in str(other)
    assert "set the same TTT_KEY on every node, or on none" in str(other)


def test_the_right_node_is_let_in_after_one_without_the_key():
    secrets = (KEY, OTHER, KEY)
    first, wrong, right = gather(
        free(), (2, TYPED), (2, TYPED), (2, TYPED), seconds=5, secrets=secrets
    )
    assert "does not prove TTT_KEY" in str(wrong)
    assert first == Place(0, right.launch)


@pytest.mark.parametrize("given", [{}, {"proof": 1}, {"proof": ""}, {"proof": "0" * 64}])
def test_a_stranger_sends_no_node_away_that_has_a_key(given):
    said = messages.encode({"refused": "go home"} | given)
    with foreign(said) as where, pytest.raises(LaunchError) as caught:
        meet(where, 2, TYPED, SECONDS, KEY)
    assert f"what answers at {where} does not prove TTT_KEY" in str(caught.value)
    assert "go home" not in str(caught.value)


def test_a_message_is_proved_for_one_side_of_one_connection():
    said = messages.sealed({"ready": 3}, KEY, "host", "n")
    assert messages.unsealed(said, KEY, "host", "n") == {"ready": 3}
    assert messages.unsealed(said, KEY, "node", "n") is None
    assert messages.unsealed(said, KEY, "host", "m") is None
    assert messages.unsealed(said | {"ready": 4}, KEY, "host", "n") is None
    assert messages.unsealed(said, None, "host", "n") is None


@pytest.fixture
def waiting() -> Iterator[tuple[Endpoint, list[object]]]:
    """A first node that waits for one more, and what it gets once this test is over."""
    where, got = free(), []
    thread = threading.Thread(target=lambda: got.extend(gather(where, (2, TYPED), seconds=60)))
    thread.start()
    while True:  # until it listens; the stranger leaves at once
        with contextlib.suppress(OSError), socket.create_connection((where.host, where.port)):
            break
        time.sleep(0.01)
    yield where, got
    thread.join()


def second(where: Endpoint) -> object:
    """What a node that comes now gets."""
    return gather(where, (2, TYPED), seconds=60)[0]


def join(where: Endpoint) -> socket.socket:
    """A node that was let in."""
    guest = socket.create_connection((where.host, where.port), 60)
    guest.sendall(messages.encode({"host": "n7", "nodes": 2, "words": sorted(TYPED)}))
    answer = guest.makefile().readline()
    assert "wait" in answer, answer
    return guest


@pytest.mark.parametrize("count", [3, 200])
def test_strangers_that_say_nothing_keep_no_node_waiting(count: int, waiting, monkeypatch):
    where, got = waiting
    monkeypatch.setattr(guests, "ANSWER_SECONDS", HUNG)  # no guest is sent away for silence
    with contextlib.ExitStack() as stack:
        for number in range(count):
            silent = socket.create_connection((where.host, where.port))
            stack.enter_context(silent)
            with contextlib.suppress(ConnectionError):  # of very many the first are let go
                silent.sendall(b"{" * (number % 2))
        assert isinstance(place := second(where), Place), place
    while not got:
        time.sleep(0.01)
    assert got[0] == Place(0, place.launch)


def test_a_stranger_that_says_nothing_is_let_go(waiting, monkeypatch):
    monkeypatch.setattr(guests, "ANSWER_SECONDS", 0.2)
    with socket.create_connection((waiting[0].host, waiting[0].port), 60) as silent:
        silent.sendall(b"{")
        assert silent.recv(1) == b""
    assert isinstance(second(waiting[0]), Place)


@pytest.mark.parametrize("leaves", [True, False])
def test_a_node_that_is_gone_or_hangs_when_the_last_one_comes_is_not_counted(
    leaves: bool, waiting, monkeypatch
):
    """A process that was killed sent its request before; a dead machine does not even leave."""
    monkeypatch.setattr(guests, "ANSWER_SECONDS", 0.3)
    where, got = waiting
    with join(where) as gone:
        if leaves:
            gone.close()
        time.sleep(0.5)
        assert not got  # it did not start alone
        assert isinstance(place := second(where), Place), place
    while not got:
        time.sleep(0.01)
    assert got[0] == Place(0, place.launch)


def test_a_node_too_many_is_sent_away_and_takes_the_place_of_one_that_hangs(waiting, monkeypatch):
    monkeypatch.setattr(guests, "ANSWER_SECONDS", 0.5)
    where, got = waiting
    with join(where):  # it does not answer the check
        first, other = gather(where, (2, TYPED), (2, TYPED), seconds=60)
    assert isinstance(first, Place)
    assert f"the launch at {where} has all of its nodes" in str(other)
    while not got:
        time.sleep(0.01)
    assert got[0] == Place(0, first.launch)


def test_words_that_no_terminal_shows_are_the_same_on_two_nodes():
    typed = [*TYPED, "data.root=/data/a\u00a0b"]
    first, other = gather(free(), (2, typed), (2, typed), seconds=60)
    assert isinstance(first, Place)
    assert isinstance(other, Place)


@pytest.mark.parametrize("reply", STRANGE_ANSWERS)
def test_another_program_at_the_port_is_told_with_another_port(reply, monkeypatch):
    monkeypatch.setattr(nodes, "ANSWER_SECONDS", 0.3)
    with foreign(reply) as where, pytest.raises(LaunchError) as caught:
        meet(where, 2, TYPED, SECONDS)
    assert f"port {where.port} of 127.0.0.1 is in use by something else" in str(caught.value)
    assert f"launcher.rdzv_endpoint=127.0.0.1:{where.port + 1}" in str(caught.value)


def test_a_machine_where_nobody_listens_is_named_in_time(monkeypatch):
    monkeypatch.setattr(nodes, "is_mine", lambda *_: False)
    where = free()
    with pytest.raises(LaunchError, match=f"no `ttt run` answered at {where} within 1 s") as caught:
        meet(where, 2, TYPED, SECONDS)
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
    process = Warm(
        command(*typed, f"launcher.rdzv_endpoint={where}"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = process.communicate(timeout=HUNG)
    assert process.returncode == 5, err
    assert out == f"waiting for 1 more of 2 nodes at {where}\n"
    assert err.startswith(f"ttt: 1 of 2 nodes came to {where} within 2 s: {socket.gethostname()};")
    assert err.count("\n") == 1
    assert not [one for one in psutil.process_iter(["cmdline"]) if str(where) in str(one.info)]


def test_one_node_needs_no_name_of_its_own(tmp_path: Path, digits: Path):
    """torchrun makes its workers look for each other at the host's own name, and wait for ever."""
    nameless = ["unshare", "--uts", "sh", "-c", 'hostname nowhere.invalid && exec "$@"', "sh"]
    if subprocess.run([*nameless, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not give a process another host name")
    typed = ["run", "launcher=torchrun", "launcher.procs=2", f"data.root={digits}"]
    done = subprocess.run(
        [*nameless, *command(*typed, *EASY)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
