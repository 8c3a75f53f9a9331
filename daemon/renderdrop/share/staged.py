"""A file that is growing in staging: appended to, hashed on the way, on disk when it is finished.

Owns only what lies below `outbox/.renderdrop/<job>/`. What was written survives closing, so that a broken
download can go on; bytes whose hash this process has not seen are thrown away rather than trusted. It must never write
into what it did not make: people can write there too, and may have put a link to a file of somebody else's.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from renderdrop.model.errors import NotTakeable, SourceChanged, SourceGone
from renderdrop.share.beneath import folder as folder_of
from renderdrop.share.beneath import open_beneath
from renderdrop.share.make import sync_folder, write_all
from renderdrop.share.move import lstat, rename_new
from renderdrop.share.publish import new_staged, staging_folder
from renderdrop.share.signs import sign_of_life
from renderdrop.share.source import SourceFile, open_source
from renderdrop.share.trouble import named, trouble

_GO_ON = os.O_RDWR | os.O_NONBLOCK | os.O_LARGEFILE


class StagedFile:
    """`path` lies directly in a folder from `publish.stage`. All methods raise ShareOffline; NoPlace for a file that is
    too large for its file system."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._fd = -1
        self._hash = hashlib.sha256()

    def open(self) -> None:
        """Open it, new or to go on with; what this object did not write itself is dropped."""
        with trouble(named(self.path.parents[2])), staging_folder(self.path) as at:
            if self.size > 0 and self._is_mine(lstat(at, self.path.name)):
                self._fd = open_beneath(at, self.path.name, _GO_ON)
                if self._is_mine(os.fstat(self._fd)):
                    return
                self.close()
            self._fd = new_staged(self.path, at)
            self._begin()

    def _is_mine(self, now: os.stat_result | None) -> bool:
        """Whether that is what was written so far, under this name alone: nobody's file that was linked here."""
        return now is not None and stat.S_ISREG(now.st_mode) and (now.st_nlink, now.st_size) == (1, self.size)

    def append(self, chunk: bytes) -> None:
        """Add bytes at the end."""
        with trouble(named(self.path.parents[2]), one_place=True), self._in_earnest():
            os.lseek(self._fd, self.size, os.SEEK_SET)
            write_all(self._fd, chunk)
        self._hash.update(chunk)
        self.size += len(chunk)

    def restart(self) -> None:
        """Begin with nothing again."""
        with trouble(named(self.path.parents[2])):
            os.ftruncate(self._fd, 0)
        self._begin()

    def _begin(self) -> None:
        self.size = 0
        self._hash = hashlib.sha256()

    def finish(self) -> str:
        """Bring it to the disk; returns its SHA-256."""
        with trouble(named(self.path.parents[2]), one_place=True), self._in_earnest():
            os.fsync(self._fd)
        with trouble(named(self.path.parents[2])), staging_folder(self.path) as at:
            sync_folder(at)
        return self._hash.hexdigest()

    @contextmanager
    def _in_earnest(self) -> Iterator[None]:
        """The system tells once that it lost something, with a sync or with any later write, and forgets what it could
        not write: what is there must not be built upon, and a second sync would be a lie."""
        try:
            yield
        except OSError:
            self.size = -1
            raise

    def close(self) -> None:
        """Once or more often; what was written stays."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


def has(path: Path, size: int) -> bool:
    """Whether a finished file of this size lies in staging. Raises ShareOffline."""
    with trouble(named(path.parents[2])):
        try:
            with staging_folder(path) as at:
                return os.stat(path.name, dir_fd=at, follow_symlinks=False).st_size == size
        except FileNotFoundError:
            return False


def published(root: Path, folder: str, name: str, size: int, sha256: str | None) -> bool:
    """Whether root/folder/name is the very file that was fetched. Raises ShareOffline."""
    rel = f"{folder}/{name}" if folder else name
    try:
        with open_source(root, rel) as file:
            return file.size == size and _digest(file) == sha256
    except (SourceGone, SourceChanged, NotTakeable):
        return False


def copy_published(root: Path, folder: str, name: str, staged: Path, size: int, sha256: str) -> bool:
    """Copy root/folder/name into staging, on disk when it returns; False, and nothing staged, where it is not the very
    file that was fetched. Raises ShareOffline."""
    rel = f"{folder}/{name}" if folder else name
    target = StagedFile(staged)
    try:
        with open_source(root, rel) as file:
            if file.size != size:
                return False
            target.open()
            target.restart()
            while chunk := file.read(target.size, 2**20):
                sign_of_life()
                target.append(chunk)
            if target.finish() == sha256:
                return True
            target.restart()
            return False
    except (SourceGone, SourceChanged, NotTakeable):
        return False
    finally:
        target.close()


def withdraw(root: Path, folder: str, name: str, staged: Path, size: int, sha256: str | None) -> None:
    """Take a published output back into staging, if it is ours and not there already; otherwise do nothing.

    Raises ShareOffline.
    """
    if has(staged, size) or not published(root, folder, name, size, sha256):
        return
    with trouble(named(root, folder)), folder_of(root, folder) as at, staging_folder(staged) as staging:
        rename_new(at, name, staging, staged.name)
        sync_folder(staging)
        sync_folder(at)


def _digest(file: SourceFile) -> str:
    found, offset = hashlib.sha256(), 0
    while chunk := file.read(offset, 2**20):
        sign_of_life()
        found.update(chunk)
        offset += len(chunk)
    return found.hexdigest()
