"""The look at a ledger's file, beside daemons that begin or end in that very moment."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from renderdrop.ledger import engine
from renderdrop.ledger import look as look_module
from renderdrop.ledger.look import look

_OTHER_PROCESS = """
import fcntl, sys
with open(sys.argv[1], "r+b") as index:
    try:
        fcntl.lockf(index, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)
    except OSError:
        print("held")
"""
"""Byte 128 of a ledger's index: whoever reads or writes the ledger holds a lock on it, and who finds none empties the
index (sqlite.org/walformat.html)."""


def working(path: Path) -> sqlite3.Connection:
    """A daemon's connection, with something in the journal; closing it takes the journal away."""
    conn = sqlite3.connect(path, check_same_thread=False)
    conn.execute("PRAGMA journal_mode=WAL")
    with conn:
        conn.execute("INSERT INTO shares (inbox, seen_at) VALUES (x'2f61', 'now')")
    return conn


@pytest.mark.parametrize("moment", ["_refuse_cut_off", "_refuse_garbage", "_refuse_hole"])
@pytest.mark.parametrize("thorough", [False, True])
def test_a_daemon_that_ends_during_the_look_is_no_damage(
    thorough: bool, moment: str, ledger_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = working(ledger_file)
    real: Callable[..., None] = getattr(look_module, moment)

    def ends(*args: Any) -> None:
        daemon.close()
        real(*args)

    monkeypatch.setattr(look_module, moment, ends)
    assert look(ledger_file, thorough=thorough) == engine.HEAD


def test_a_daemon_that_ends_right_after_its_journal_was_seen_is_no_damage(
    ledger_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon, real = working(ledger_file), Path.exists

    def ends(path: Path) -> bool:
        there = real(path)
        if path.name.endswith("-wal"):
            daemon.close()
        return there

    monkeypatch.setattr(Path, "exists", ends)
    assert look(ledger_file) == engine.HEAD


def test_while_every_page_is_looked_at_no_other_process_can_empty_the_index(
    ledger_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, found = tmp_path / "killed", []
    killed.mkdir()
    with closing(working(ledger_file)):
        for end in ("", "-wal"):
            shutil.copy(f"{ledger_file}{end}", killed)
    real = look_module._refuse_damage

    def beside(conn: sqlite3.Connection, path: Path) -> None:
        ask = [sys.executable, "-c", _OTHER_PROCESS, f"{path}-shm"]
        found.append(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())
        real(conn, path)

    monkeypatch.setattr(look_module, "_refuse_damage", beside)
    assert look(killed / ledger_file.name, thorough=True) == engine.HEAD
    assert found == ["held"]
