"""What a full disk does to the ledger: nothing new is begun, what runs is written down on a little that was kept back.

Owns the reserve, a file of no content that is given up in that moment, and the word when there is room again. A task
that the platform has accepted must not be forgotten for want of a few kilobytes. It never touches the ledger itself.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from renderdrop.ledger.failpoints import Point

NEW_WORK: Final[frozenset[Point | None]] = frozenset({"adopted", "submitting"})
"""Commits that begin something: while the disk is full they wait for room, whatever is left of the reserve."""
LAST_BYTE: Final[Point] = "complete"
"""The commit in the middle of a request. It cannot wait: the platform would hang up on a request that is not whole."""
AGAIN: Final = 1.0
"""Seconds between two looks whether there is room."""
_RESERVE: Final = 2**20
"""Bytes. A step of a job costs some 20 KiB of journal until it is written back and its place is used again: enough for
every step of dozens of jobs."""
_FULL: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
"""What SQLite says where a file, or the shared index of its journal, cannot grow."""


class Room:
    """The disk that the ledger in this folder lies on. For the writer's thread."""

    def __init__(self, folder: Path) -> None:
        self.full = False
        self._reserve = folder / "ledger.reserve"
        self._looked = 0.0

    def keep_back(self) -> bool:
        """Lay the reserve aside; whether it is there now."""
        try:
            fd = os.open(self._reserve, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, _RESERVE)
            finally:
                os.close(fd)
        except OSError:
            self._drop()
            return False
        return True

    def run_out(self) -> None:
        """The disk is full: the reserve is given up."""
        self.full = True
        self._looked = time.monotonic()
        self._drop()

    def is_back(self) -> bool:
        """Whether there is room again, and the reserve with it; a look every AGAIN seconds at most."""
        if time.monotonic() - self._looked < AGAIN:
            return False
        self._looked = time.monotonic()
        now = os.statvfs(self._reserve.parent)
        # Twice the reserve: it would be full again at once.
        self.full = now.f_bavail * now.f_frsize < 2 * _RESERVE or not self.keep_back()
        return not self.full

    def _drop(self) -> None:
        try:
            self._reserve.unlink(missing_ok=True)
        except OSError:
            pass


def is_full(error: BaseException) -> bool:
    """Whether that is the disk's being full, or what came of it: SQLite undoes a transaction by itself, and who then
    undoes a part of it meets another error."""
    return any(getattr(cause, "sqlite_errorcode", None) in _FULL for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(orig := getattr(error, "orig", None), BaseException):
            yield orig
        error = error.__cause__ or error.__context__
