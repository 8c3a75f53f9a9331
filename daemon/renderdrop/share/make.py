"""Making folders and files that look like the inbox: its group and its permission bits (DESIGN 2).

Owns: everything that brings a folder into being on a share. It must never pass a link, and never make a root: a root
that is missing is a share that is not mounted.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from renderdrop.share.beneath import FOLDER, held, open_beneath, open_root, parts
from renderdrop.share.trouble import named, trouble

_NOT_SYNCABLE: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})
"""What file systems say that have no fsync for folders; they write names through anyway."""
_NOT_OURS: Final = frozenset({errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})
"""What a foreign owner, a foreign group or a mount with fixed owners says to chown and chmod: no harm done."""
_AT_MOST: Final = 10_000
_on_disk: Final[set[tuple[int, int]]] = set()
"""Folders (device, inode) whose names this process has put on disk. One that is merely there may have been made right
before a crash, and be gone with all that is in it after a power cut."""


@dataclass(frozen=True, slots=True)
class Like:
    """The group id and st_mode bits to imitate."""

    gid: int
    mode: int

    @classmethod
    def of(cls, inbox: Path) -> Self:
        """Those of a folder. Raises ShareOffline."""
        with trouble(named(inbox)):
            now = inbox.stat()
        return cls(now.st_gid, now.st_mode)

    def dress(self, fd: int, folder: bool = False) -> None:
        """Gives an open file (or folder: setgid stays) that group and those bits, where we are allowed to."""
        _allowed(os.fchown, fd, -1, self.gid)  # first: it may clear bits
        _allowed(os.fchmod, fd, self.mode & (0o2777 if folder else 0o666))


def dress_as(fd: int, original: os.stat_result) -> None:
    """Gives an open copy the owner, group and bits of its original, as far as we are allowed to."""
    if not _allowed(os.fchown, fd, original.st_uid, original.st_gid):
        _allowed(os.fchown, fd, -1, original.st_gid)
    _allowed(os.fchmod, fd, original.st_mode & 0o777)


def _allowed(change: Callable[..., None], *args: int) -> bool:
    try:
        change(*args)
    except OSError as exc:
        if exc.errno not in _NOT_OURS:
            raise
        return False
    return True


def make_folders(root: Path, rel: str, like: Like) -> None:
    """Makes `rel` and what is missing above it below `root`, on disk when it returns.

    Raises ShareOffline, also for a link or a file in the way, and when `root` itself is missing.
    """
    with trouble(named(root, rel)), held(open_root(root)) as root_fd:
        os.close(reach(root_fd, rel, like))


def reach(root_fd: int, rel: str, like: Like) -> int:
    """A descriptor for the folder `rel` below `root_fd`, made where it is missing; the way to it is on disk when it
    returns. Raises plain OSError."""
    try:
        fd = open_beneath(root_fd, rel, FOLDER)
    except FileNotFoundError:
        pass
    else:
        if rel == "" or _key(fd) in _on_disk:
            return fd
        os.close(fd)
    at = open_beneath(root_fd, "", FOLDER)
    try:
        for name in parts(rel):
            below = _reach_one(at, name, like)
            os.close(at)
            at = below
    except BaseException:
        os.close(at)
        raise
    return at


def _reach_one(at: int, name: str, like: Like) -> int:
    made = False
    try:
        fd = open_beneath(at, name, FOLDER)
    except FileNotFoundError:
        try:
            os.mkdir(name, like.mode & 0o777, dir_fd=at)
            made = True
        except FileExistsError:
            pass  # someone was faster; theirs will do
        fd = open_beneath(at, name, FOLDER)
    try:
        if made:
            like.dress(fd, folder=True)
        if made or _key(fd) not in _on_disk:
            sync_folder(at)
            if len(_on_disk) >= _AT_MOST:
                _on_disk.clear()
            _on_disk.add(_key(fd))
    except BaseException:
        os.close(fd)
        raise
    return fd


def _key(fd: int) -> tuple[int, int]:
    now = os.fstat(fd)
    return now.st_dev, now.st_ino


def sync_folder(fd: int) -> None:
    """Puts a folder's names on disk. Raises plain OSError."""
    try:
        os.fsync(fd)
    except OSError as exc:
        if exc.errno not in _NOT_SYNCABLE:
            raise


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Writes the whole of `data`; os.write may stop short. Raises plain OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
