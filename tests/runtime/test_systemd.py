"""Words to systemd: the right datagrams to the right socket, and silence without one."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from renderdrop.runtime import systemd


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(5)
        channel.bind(address)
        yield channel


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    # A socket's path may hold 107 bytes, which pytest's folders can exceed.
    monkeypatch.chdir(tmp_path)
    with listening("n") as channel:
        yield channel


def test_each_call_says_what_systemd_expects(manager: socket.socket, tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    environ = {"NOTIFY_SOCKET": f"/proc/self/fd/{fd}/n"}
    try:
        assert systemd.ready("3 routes", environ)
        assert manager.recv(4096) == b"READY=1\nSTATUS=3 routes"
        assert systemd.stopping(environ=environ)
        assert manager.recv(4096) == b"STOPPING=1"
        assert systemd.reloading(environ)
        assert manager.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert systemd.status("12 wait", environ)
        assert manager.recv(4096) == b"STATUS=12 wait"
        assert systemd.alive(environ)
        assert manager.recv(4096) == b"WATCHDOG=1"
    finally:
        os.close(fd)


def test_an_abstract_socket_works_too() -> None:
    name = f"renderdrop-test-{os.getpid()}-{os.urandom(4).hex()}"
    with listening("\0" + name) as channel:
        assert systemd.ready(environ={"NOTIFY_SOCKET": "@" + name})
        assert channel.recv(4096) == b"READY=1"


def test_a_status_cannot_smuggle_in_another_assignment() -> None:
    name = f"renderdrop-test-{os.getpid()}-{os.urandom(4).hex()}"
    with listening("\0" + name) as channel:
        systemd.status("a\nMAINPID=1\udcff", environ={"NOTIFY_SOCKET": "@" + name})
        assert channel.recv(4096) == b"STATUS=a\\nMAINPID=1\\udcff"


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234", "/nowhere/notify", "@" + "x" * 200, "/a\0b"])
def test_without_a_manager_nothing_happens(address: str) -> None:
    assert systemd.ready(environ={"NOTIFY_SOCKET": address}) is False


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "42"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "41"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_signs_of_life_come_at_half_the_time_that_is_granted(environ: dict[str, str], expected: float | None) -> None:
    assert systemd.watchdog_interval(environ, pid=42) == expected
