"""The guardian: it ends as the daemon ends, the daemon dies with it, and a daemon that hangs holds nobody up."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

GUARDED = """
import os, signal, sys, threading, time
from renderdrop.runtime import guardian
guardian.END_WITHIN = 1
guardian.guard()
assert guardian.is_guarded() and guardian.known_as() == os.getppid()
print(os.getpid(), flush=True)
"""


@contextmanager
def started(daemon: str) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    process = subprocess.Popen([sys.executable, "-c", GUARDED + daemon], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as out:
        yield process, int(out.readline())
        process.kill()
        process.wait()


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody waits for stays as a zombie."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while not gone(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("daemon", "code"),
    [
        ("sys.exit(0)", 0),
        ("sys.exit(78)", 78),
        ("guardian.leave(3)", 3),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    ],
)
def test_it_ends_as_the_daemon_ends(daemon: str, code: int) -> None:
    with started(daemon) as (process, _):
        assert process.wait(20) == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_handed_on(number: signal.Signals) -> None:
    told = f"signal.signal({number.value}, lambda *_: sys.exit(7))\nprint(1, flush=True)\nsignal.pause()"
    with started(told) as (process, _):
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(20) == 7


def test_when_the_guardian_is_killed_the_daemon_dies_with_it() -> None:
    with started("signal.pause()") as (process, daemon):
        process.kill()
        process.wait(20)
        wait_until_gone(daemon)


def test_a_daemon_that_does_not_end_is_killed() -> None:
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(1, flush=True)\nwhile True: time.sleep(60)"
    with started(deaf) as (process, daemon):
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == -signal.SIGKILL
        wait_until_gone(daemon)


def test_the_last_word_is_enough_although_the_daemon_cannot_die() -> None:
    # What hangs in the kernel is played by a process that has said its last word and goes on.
    undead = "os._exit = lambda code: time.sleep(60)\nguardian.leave(0)"
    with started(undead) as (process, daemon):
        assert process.wait(20) == 0
        os.kill(daemon, signal.SIGKILL)
