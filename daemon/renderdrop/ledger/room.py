"""What a full disk does to the ledger: nothing new is begun, what runs is written down on a little that was kept back.

Owns the reserve, a file of no content that is given up in that moment, and the word when there is room again. A task
that the platform has accepted must not be forgotten for want of a few kilobytes. It never touches the ledger itself.
"""

import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from renderdrop.ledger.failpoints import Point

NEW_WORK: Final[frozenset[Point | None]] = frozenset({"adopted", "submitting", "left_behind", "clusters_seen"})
"""Commits that begin something, or that nothing hangs upon: while the disk is full they wait for room, whatever is left
of the reserve."""
LAST_BYTE: Final[Point] = "complete"
"""The commit in the middle of a request. It cannot wait: the platform would hang up on a request that is not whole."""
AGAIN: Final = 1.0
"""Seconds between two looks whether there is room."""
TOLD_AGAIN: Final[frozenset[Point | None]] = frozenset({"trouble", "trouble_over", "start", "recovered", "lags"})
"""Commits of which nothing is lost when they cannot be made: the next start finds out for itself."""
_SOON: Final = 60.0
"""Seconds within which a disk that had room again must not be full again, or more room is waited for."""
_MOST: Final = 2**27
_SHARE: Final = 8
"""Bytes of room that are waited for at most, which is more than any one step of a job writes, but never more than one
part in so many of the whole disk."""
_RESERVE: Final = 2**20
"""Bytes. A step of a job costs some 20 KiB of journal until it is written back and its place is used again: enough for
every step of dozens of jobs."""
_LITTLE: Final = 2**17
"""Bytes: opening a ledger takes the shared index of its journal (32 KiB) and a few pages."""
_FULL: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
"""What SQLite says where a file, or the shared index of its journal, cannot grow."""


class Room:
    """The disk that the ledger in this folder lies on. For the writer's thread."""

    def __init__(self, folder: Path) -> None:
        self.full = False
        self._reserve = folder / "ledger.reserve"
        self._looked = 0.0
        self._wanted = 2 * _RESERVE
        self._back_at = float("-inf")

    def keep_back(self) -> bool:
        """Lay the reserve aside, where that leaves as much again; whether it is there now."""
        try:
            if self._reserve.exists() and self._reserve.stat().st_blocks * 512 >= _RESERVE:
                return True
            if self._free()[0] < 2 * _RESERVE:
                return False
            fd = os.open(self._reserve, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, _RESERVE)
            finally:
                os.close(fd)
        except OSError:
            self.give_up()
            return False
        return True

    def run_out(self) -> None:
        """The disk is full: the reserve is given up."""
        self._looked = time.monotonic()
        if not self.full:
            # Twice the reserve at first: with less it would be full again at once.
            again = self._looked - self._back_at < _SOON
            self._wanted = min(4 * self._wanted, _MOST) if again else 2 * _RESERVE
        self.full = True
        self.give_up()

    def is_back(self) -> bool:
        """Whether there is room again, and the reserve with it; a look every AGAIN seconds at most."""
        if time.monotonic() - self._looked < AGAIN:
            return False
        self._looked = time.monotonic()
        free, whole = self._free()
        self.full = free < min(self._wanted, max(2 * _RESERVE, whole // _SHARE)) or not self.keep_back()
        if not self.full:
            self._back_at = self._looked
        return not self.full

    def is_cramped(self) -> bool:
        """Whether so little is free that no ledger can be opened."""
        return self._free()[0] < _LITTLE

    def _free(self) -> tuple[int, int]:
        """Bytes that are free, and of the whole disk."""
        try:
            now = os.statvfs(self._reserve.parent)
        except OSError:
            return sys.maxsize, sys.maxsize  # what it cannot say, the next write does
        return now.f_bavail * now.f_frsize, now.f_blocks * now.f_frsize

    def give_up(self) -> None:
        """Let the reserve go."""
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
