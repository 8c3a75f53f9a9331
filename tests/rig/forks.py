"""The program as a process that need not import it first: most of a start is imports, and tests start it often.

A server process imports the program once and forks for each start; what runs in the fork is `renderdrop.__main__.main`
with the arguments, environment, folder and streams of its own, and it ends as an interpreter ends. Where the
environment concerns the interpreter or the loader (PYTHON…, LC_…, LD_…), a plain new process is started instead.
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import random
import selectors
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, Protocol

_MESSAGE: Final = 200_000
"""Bytes of a request at most: arguments and environment."""
_LATER: Final = ("PYTHONWARNINGS", "PYTHONUNBUFFERED")
"""What can be set in a running interpreter too."""
_EARLY: Final = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_")

PROGRAM: Final = (sys.executable, "-m", "renderdrop")
"""How a command begins that is the program."""
CODE: Final = (sys.executable, "-c")
"""How one begins that is the program with something of a test's own before it: code, which then calls its main."""
_LAZY: Final = (
    "alembic.command", "alembic.config", "anyio._backends._asyncio", "apscheduler.executors.asyncio",
    "importlib.resources.readers", "rich.live", "rich.table", "typer._adapters", "typer._click.decorators",
)  # fmt: skip
"""What the program imports at its first use."""


class Process(Protocol):
    """A started program, in the words of subprocess.Popen."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None:
        """Its exit code, if it has ended; negative for a signal."""

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired."""

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""

    def kill(self) -> None:
        """Send it SIGKILL."""


class Forked:
    """A fork of the server; `status` tells its pid and, once, its exit code."""

    def __init__(self, status: socket.socket) -> None:
        self._status = status
        self._status.settimeout(60)
        self.pid = int(self._status.recv(32))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, if it has ended; negative for a signal."""
        return self._ask(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired."""
        if (code := self._ask(timeout)) is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _ask(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            self._status.settimeout(timeout)
            try:
                self.returncode = int(self._status.recv(32) or -signal.SIGKILL)
            except (BlockingIOError, TimeoutError):
                return None
            self._status.close()
        return self.returncode

    def __del__(self) -> None:
        self._status.close()


def start(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None, stdout: IO[Any] | int,
    stderr: IO[Any] | int,
) -> Process:  # fmt: skip
    """Start a command with nothing on its standard input; forked, if it begins with PROGRAM or CODE."""
    code = argv[2] if tuple(argv[:2]) == CODE else ""
    if not (code or tuple(argv[: len(PROGRAM)]) == PROGRAM) or _needs_an_interpreter(env):
        return subprocess.Popen(argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
    asked = {"code": code, "argv": argv[len(PROGRAM) :], "env": dict(env), "cwd": str(cwd or Path.cwd())}
    request = json.dumps(asked).encode()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    out, err = (s if isinstance(s, int) else s.fileno() for s in (stdout, stderr))
    with theirs, open(os.devnull, "rb") as nothing:
        socket.send_fds(_server(), [request], [nothing.fileno(), out, err, theirs.fileno()])
    return Forked(ours)


def run(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None, timeout: float
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, with what it printed."""
    with _memory("out") as out, _memory("err") as err:
        process = start(argv, env=env, cwd=cwd, stdout=out, stderr=err)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout)
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(list(argv), code, out.read().decode(), err.read().decode())


def _memory(name: str) -> IO[bytes]:
    return open(os.memfd_create(name), "w+b")


def _needs_an_interpreter(env: Mapping[str, str]) -> bool:
    ours = {name: value for name, value in os.environ.items() if name.startswith(_EARLY)}
    theirs = {name: value for name, value in env.items() if name.startswith(_EARLY)}
    return any(ours.get(name) != theirs.get(name) for name in (ours.keys() | theirs.keys()) - set(_LATER))


_running: socket.socket | None = None


def _server() -> socket.socket:
    """The way to this process's server, started at the first call; it ends when this process does."""
    global _running
    if _running is None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        root = Path(__file__).parents[2]
        with theirs:
            server = subprocess.Popen(
                [sys.executable, "-m", "tests.rig.forks", str(theirs.fileno())], cwd=root, pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip
        atexit.register(server.wait, 20)
        atexit.register(ours.close)
        _running = ours
    return _running


def _serve(control: socket.socket) -> str:
    """Fork for each request and tell the ends, until nobody can ask any more. Returns in each fork: the code to run."""
    import renderdrop

    for module in pkgutil.walk_packages(renderdrop.__path__, "renderdrop."):
        if not module.name.startswith(("renderdrop.sandbox", "renderdrop.ledger.migrations", "renderdrop.__main__")):
            importlib.import_module(module.name)
    for name in _LAZY:
        importlib.import_module(name)
    gc.freeze()
    awake, wake = socket.socketpair()
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    children: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(awake, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is awake:
                    awake.recv(4096)
                    _reap(children)
                    continue
                asked, fds, _, _ = socket.recv_fds(control, _MESSAGE, 4)
                if not asked:
                    for pid in children:
                        os.kill(pid, signal.SIGKILL)
                    os._exit(0)
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for end in (control, awake, wake, *children.values()):
                        end.close()
                    return _become(json.loads(asked), fds)
                children[pid] = socket.socket(fileno=fds.pop())
                children[pid].send(str(pid).encode())
                for fd in fds:
                    os.close(fd)


def _reap(children: dict[int, socket.socket]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with children.pop(pid) as told:
            try:
                told.send(str(os.waitstatus_to_exitcode(status)).encode())
            except OSError:
                pass  # whoever started it is not interested any more


def _become(request: dict[str, Any], fds: Sequence[int]) -> str:
    for number, fd in enumerate(fds[:3]):
        os.dup2(fd, number)
    for fd in fds:
        os.close(fd)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    time.tzset()  # TZ is read once, and that was before the fork
    sys.argv = ["renderdrop", *request["argv"]]
    random.seed()
    if os.environ.get("PYTHONUNBUFFERED"):
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(write_through=True)  # type: ignore[union-attr]
    if os.environ.get("PYTHONWARNINGS") == "error":
        warnings.resetwarnings()
        warnings.simplefilter("error")
    return str(request["code"])


if __name__ == "__main__":
    before = _serve(socket.socket(fileno=int(sys.argv[1])))
    # From here on this is the program.
    from renderdrop.__main__ import main

    if before:
        exec(before, {"__name__": "__main__"})
    else:
        main()
