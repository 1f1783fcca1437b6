"""Programs of Python that begin with their libraries imported; else each takes seconds for it.

`Warm` is `subprocess.Popen` for `python -m ttt` and the like. The program is forked from a server:
a process that has imported torch and what else they need, and has done nothing more. Such programs
start each other likewise, each its own child: `ttt run` its torchrun, torchrun its workers. Each
begins as a new one does: with ttt's modules as they are imported, with its variables, signals, open
files and streams, and with what /proc shows of its command line and its variables.

A test of what happens while libraries load, or of an option of the interpreter, needs a real one.
"""

import atexit
import contextlib
import ctypes
import faulthandler
import fcntl
import gc
import importlib
import io
import json
import logging
import multiprocessing.util
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import reduction
from pathlib import Path
from typing import Any

PROGRAMS = ("ttt", "ttt.worker", "torch.distributed.run")
# What these import sooner or later, and what torch imports with the first optimizer.
LIBRARIES = (
    *("torch", "torch._dynamo", "torch.distributed.run", "torch.distributed.elastic.agent.server"),
    *("torch.distributed.elastic.rendezvous.c10d_rendezvous_backend", "torch.nn.parallel"),
    *("hydra", "rich.console", "rich.progress", "rich.table", "scipy.stats", "sacrebleu.metrics"),
    *("nvidia.dali.fn", "nvidia.dali.plugin.pytorch", "sentencepiece", "zeus.device.cpu"),
    *("ttt.worker", "ttt.cli.run", "ttt.cli.closing", "ttt.data.dali", "ttt.optim.sgd"),
)
# Read by the interpreter as it starts, or by a library as it loads: a program with another value
# than the server's starts afresh.
EARLY = ("PYTHONHASHSEED", "PYTHONWARNINGS", "PYTHONIOENCODING", "PYTHONUTF8", "LANG", "LC_ALL")
ADDRESS = "WARM_SERVER"
_ROOM = 1 << 15  # bytes for the longest command line, and for all variables
_SET_MM, _ARG_END, _ENV_END = 35, 9, 11  # linux/prctl.h
_ARGUMENTS, _VARIABLES = 45, 47  # their fields of /proc/self/stat, after the name; see proc(5)
_PASSIVE = {"OMP_WAIT_POLICY": "passive"}  # as ttt's launchers have it for workers
_really_execute = subprocess.Popen._execute_child  # type: ignore[attr-defined]
_really_replace = os.execv
_held: list[object] = []  # a parent's streams: what is left in their buffers is not for us to write


@dataclass(frozen=True)
class Program:
    """What a new process is to become.

    Attributes:
        words: Its command line.
        variables: All of its environment.
        folder: Where it runs.
        session: Whether it gets a session of its own.
        bound: Whether it dies with the process that asked for it.
        cores: Where it may run; empty for where its parent may.
        umask: None for its parent's.
        ignored: Signals.
    """

    words: list[str]
    variables: dict[str, str]
    folder: str
    session: bool
    bound: bool = False
    cores: Sequence[int] = ()
    umask: int | None = None
    ignored: Sequence[int] = ()


class Warm(subprocess.Popen[Any]):
    """`subprocess.Popen` of `[sys.executable, "-m", MODULE, ...]`, with its libraries imported.

    Without a server, and for any other program, it is `subprocess.Popen` itself.
    """

    _line: socket.socket | None = None

    def _execute_child(
        self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, *others: Any
    ) -> None:
        _, cwd, env, _, _, _, *pipes = others[:12]
        program = _program(args, cwd, env, session=others[17], umask=others[16])
        if program is None or preexec_fn or ADDRESS not in os.environ:
            _really_execute(self, args, executable, preexec_fn, close_fds, *others)
            return
        request = json.dumps(asdict(program)).encode()
        line = self._line = socket.socket(socket.AF_UNIX)
        line.connect(os.environ[ADDRESS])
        line.sendall(struct.pack("q", len(request)) + request)
        reduction.sendfds(line, _streams(pipes))
        self.pid = struct.unpack("q", line.recv(8))[0]
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _internal_poll(self, *given: Any, **names: Any) -> int | None:
        if self._line is None:
            return super()._internal_poll(*given, **names)  # type: ignore[misc, no-any-return]
        if self.returncode is None and select.select([self._line], [], [], 0)[0]:
            self._hear(self._line)
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self._line is None:
            return super()._wait(timeout)  # type: ignore[misc, no-any-return]
        if self.returncode is None:
            if not select.select([self._line], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self._hear(self._line)
        return self.returncode

    def _hear(self, line: socket.socket) -> None:
        answer = line.recv(8)
        line.close()
        assert answer, "the server of warm programs is gone"
        self.returncode = os.waitstatus_to_exitcode(struct.unpack("q", answer)[0])


def completed(words: Sequence[str], **given: Any) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` returns of a warm program, its output and errors captured as text."""
    with Warm(
        list(words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **given
    ) as process:
        out, errors = process.communicate(timeout=240)
    return subprocess.CompletedProcess(process.args, process.returncode, out, errors)


@contextlib.contextmanager
def server() -> Iterator[None]:
    """Serve this process and those that it starts; libraries are imported at the first request."""
    with tempfile.TemporaryDirectory(prefix="warm-") as folder:
        address = f"{folder}/socket"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(address)
            listening.listen(64)
            process = subprocess.Popen(
                [sys.executable, "-B", __file__, str(listening.fileno()), "-" * _ROOM],
                # As tests have it; read when libgomp loads, so that only one main thread could ask
                # for another number. Threads that wait would else spin.
                env=os.environ | {"ROOM": "-" * _ROOM, "OMP_NUM_THREADS": "1"} | _PASSIVE,
                pass_fds=[listening.fileno()],
                stdin=subprocess.DEVNULL,
            )
        os.environ[ADDRESS] = address
        try:
            yield
        finally:
            del os.environ[ADDRESS]
            process.kill()
            process.wait()


def interpreter(folder: Path) -> Path:
    """Make a program that srun or mpirun starts as if it were this interpreter."""
    client = Path(__file__).with_name("warm_client.py").read_text()
    asked = (sys.executable, os.environ[ADDRESS], PROGRAMS)
    path = folder / "python"
    path.write_text(f"#!{sys.executable} -IS\n{client}\n\nsys.exit(main(*{asked!r}))\n")
    path.chmod(0o755)
    return path


def _serve(listening: socket.socket) -> None:
    """Start programs, and say of each how it ended."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: with the tests
    running: dict[int, socket.socket] = {}
    bound: dict[socket.socket, int] = {}
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    select.select([listening], [], [])
    _prepare()
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    while True:
        ready, _, _ = select.select([listening, woken, *bound], [], [])
        for line in bound.keys() & set(ready):  # who asked has nothing to say: it is gone
            os.kill(bound.pop(line), signal.SIGKILL)
        if woken in ready:
            os.read(woken, 4096)
            for pid in list(running):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    with running.pop(pid) as line, contextlib.suppress(BrokenPipeError):
                        bound.pop(line, None)
                        line.sendall(struct.pack("q", status))
        if listening in ready:
            line, _ = listening.accept()
            [size] = struct.unpack("q", line.recv(8, socket.MSG_WAITALL))
            program = Program(**json.loads(line.recv(size, socket.MSG_WAITALL)))
            streams = reduction.recvfds(line, 3)
            pid = _fork(program, streams)
            for stream in streams:
                os.close(stream)
            with contextlib.suppress(BrokenPipeError):
                line.sendall(struct.pack("q", pid))
            running[pid] = line
            if program.bound:
                bound[line] = pid


def _prepare() -> None:
    """Import what takes time, and let programs start each other as this process starts them."""
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):  # then no program needs it
            importlib.import_module(name)
    subprocess.Popen._execute_child = _execute_child  # type: ignore[attr-defined]
    os.execv = _replace
    _name_methods_cheaply()
    gc.collect()
    gc.freeze()


def _name_methods_cheaply() -> None:
    """Let torchrun know the name of a method without the source text of all above it.

    It asks `inspect.stack()` 18 times in a start. In a process with so many modules these take
    three seconds of a slow core; the frame itself says the same.
    """
    module: Any = sys.modules["torch.distributed.elastic.rendezvous.dynamic_rendezvous"]
    assert callable(module.get_method_name)
    module.get_method_name = lambda depth=2: sys._getframe(depth).f_code.co_name


def _execute_child(
    self: Any,
    args: Any,
    executable: Any,
    preexec_fn: Callable[[], None] | None,
    close_fds: bool,
    *others: Any,
) -> None:
    """In place of that of `subprocess.Popen`, in programs that began warm."""
    _, cwd, env, _, _, _, *pipes = others[:12]
    program = _program(args, cwd, env, session=others[17], umask=others[16])
    if program is None:
        _really_execute(self, args, executable, preexec_fn, close_fds, *others)
        return
    self.pid = _fork(program, _streams(pipes), preexec_fn)
    self._child_created = True
    self._close_pipe_fds(*pipes)


def _replace(path: Any, words: Any) -> Any:
    """In place of `os.execv`, in programs that began warm: a process of one thread can forget."""
    program = _program(words, None, None, session=False, umask=-1)
    if path != sys.executable or program is None or len(os.listdir("/proc/self/task")) > 1:
        _really_replace(path, words)
    else:
        try:
            _become(program, (0, 1, 2), None)
        finally:
            os._exit(255)


def _program(
    words: Any, folder: Any, variables: Any, *, session: bool, umask: int
) -> Program | None:
    """What can begin warm; None for another program."""
    given = dict(os.environ if variables is None else variables)
    plain = [word for word in words if word != "-u"] if isinstance(words, list | tuple) else []
    known = plain[:2] == [sys.executable, "-m"] and len(plain) > 2 and plain[2] in PROGRAMS
    if not known or any(given.get(name) != os.environ.get(name) for name in EARLY):
        return None
    mask = None if umask < 0 else umask
    return Program(
        list(map(str, words)), given, os.path.abspath(folder or "."), session, umask=mask
    )


def _streams(pipes: Sequence[int]) -> list[int]:
    """Standard input, output and error; -1 is for the parent's own."""
    ends = (pipes[0], pipes[3], pipes[5])
    return [number if end == -1 else end for number, end in enumerate(ends)]


def _fork(program: Program, streams: Sequence[int], first: Callable[[], None] | None = None) -> int:
    """A child that becomes the program; its number."""
    pid = os.fork()
    if pid:
        return pid
    try:
        _become(program, streams, first)
    finally:
        os._exit(255)


def _become(program: Program, streams: Sequence[int], first: Callable[[], None] | None) -> None:
    """Be the program, and end with it. The order is that of a child of `subprocess.Popen`."""
    copies = [fcntl.fcntl(stream, fcntl.F_DUPFD, 10) for stream in streams]
    for number, copy in enumerate(copies):
        os.dup2(copy, number)
    os.chdir(program.folder)
    if program.session:
        os.setsid()
    if program.cores:
        os.sched_setaffinity(0, program.cores)
    if program.umask is not None:
        os.umask(program.umask)
    if first:
        first()
    os.closerange(3, max(map(int, os.listdir("/proc/self/fd"))) + 1)
    _forget()
    for number in program.ignored:
        signal.signal(number, signal.SIG_IGN)
    os.environ.clear()
    os.environ.update(program.variables)
    time.tzset()
    _show(program)
    _open_streams(unbuffered="-u" in program.words or "PYTHONUNBUFFERED" in os.environ)
    _run([word for word in program.words if word != "-u"][2:])


def _forget() -> None:
    """Leave behind what the parent is and knows."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) not in (signal.SIG_IGN, signal.SIG_DFL, None):
            signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    faulthandler.disable()
    sys.excepthook, sys.unraisablehook = sys.__excepthook__, sys.__unraisablehook__
    threading.excepthook = threading.__excepthook__
    atexit._clear()
    atexit.register(logging.shutdown)
    atexit.register(multiprocessing.util._exit_function)  # type: ignore[attr-defined]
    tempfile.tempdir = None
    logging.root.handlers.clear()
    gc.enable()
    hydra = sys.modules["hydra.core.global_hydra"].GlobalHydra.instance()
    hydra.clear()
    sys.modules["numpy"].random.seed()
    if _held:  # the parent is a program itself, whose modules have been used
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if name.partition(".")[0] == "ttt" or (file and not file.startswith(_INSTALLED)):
                del sys.modules[name]


_INSTALLED = (f"{sys.prefix}/", f"{sys.base_prefix}/", os.path.abspath(__file__))


def _show(program: Program) -> None:
    """Let /proc show the command line and the variables, which lie where the server's were."""
    fields = _held[0] if _held else None
    if fields is None:
        with open("/proc/self/stat") as file:
            fields = list(map(int, file.read().rpartition(")")[2].split()[1:]))
        _held.append(fields)
    variables = [f"{name}={value}" for name, value in program.variables.items()]
    for field, end, words in (
        (_ARGUMENTS, _ARG_END, program.words),
        (_VARIABLES, _ENV_END, variables),
    ):
        begin, room = fields[field - 1], fields[field] - fields[field - 1]
        text = b"".join(os.fsencode(word) + b"\0" for word in words)[: room - 1]
        ctypes.memset(begin, 0, room)
        ctypes.memmove(begin, text, len(text))
        # Only root may; to others there is an empty rest.
        ctypes.CDLL(None).prctl(_SET_MM, end, ctypes.c_ulong(begin + len(text)), 0, 0)


def _open_streams(*, unbuffered: bool) -> None:
    """Standard streams as the interpreter opens them."""
    _held.append((sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__))
    encoding = sys.__stdin__.encoding if sys.__stdin__ else "utf-8"
    sys.stdin = sys.__stdin__ = open(0, encoding=encoding, closefd=False)  # noqa: SIM115
    for number, name, errors in ((1, "stdout", None), (2, "stderr", "backslashreplace")):
        raw = open(number, "wb", buffering=0 if unbuffered else -1, closefd=False)  # noqa: SIM115
        lines = number == 2 or os.isatty(number)
        stream = io.TextIOWrapper(
            raw, encoding, errors, line_buffering=lines, write_through=unbuffered
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _run(words: list[str]) -> None:
    """As `python -m` does it, to the end."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))))
    given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    here = [] if os.environ.get("PYTHONSAFEPATH") else [os.getcwd()]
    sys.path[:] = [*here, *given, *_PATH]
    importlib.invalidate_caches()
    sys.modules["__main__"] = types.ModuleType("__main__")
    sys.modules.pop(words[0], None) if words[0] != "ttt" else None
    sys.argv = words
    code = 0
    try:
        runpy._run_module_as_main(words[0])  # type: ignore[attr-defined]
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if end.code is not None and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    with contextlib.suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if code == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code & 255)


if __name__ == "__main__":
    # Not what only this script needs to find.
    _PATH = sys.path[1:]
    sys.path[:] = _PATH
    _serve(socket.socket(fileno=int(sys.argv[1])))
