"""Under a service manager: it is told when the daemon is ready, alive, reloading and stopping."""

import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rig.daemon import Daemon


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What systemd would hear."""
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"{short}/notify")
        heard.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", f"{short}/notify")
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        yield heard


def hear(notices: socket.socket, wanted: str) -> None:
    while wanted not in notices.recv(4096).decode().splitlines():
        pass


def test_the_service_manager_is_told_of_every_turn(daemon: Daemon, notices: socket.socket) -> None:
    daemon.start()
    hear(notices, "READY=1")
    hear(notices, "WATCHDOG=1")
    daemon.signal(signal.SIGHUP)
    hear(notices, "RELOADING=1")
    hear(notices, "READY=1")
    daemon.signal(signal.SIGTERM)
    hear(notices, "STOPPING=1")
    assert daemon.ended(15.0) == 0


def test_the_token_may_come_as_a_credential(daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "token").write_text("AI-sandbox\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    monkeypatch.setattr(daemon, "_environ", lambda: dict(os.environ))
    monkeypatch.delenv("RENDERDROP_TOKEN", raising=False)
    data = daemon.share.drop("a.png")
    assert daemon.once() == 0
    assert daemon.share.sidecar("a.png")["sources"][0]["size"] == len(data)
