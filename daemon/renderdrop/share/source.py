"""A source, opened: the one door through which the daemon reads what people dropped.

Owns: that only a regular file beneath the inbox is ever read, that opening never blocks, and that reading, comparing
and asking for a writer go through one descriptor, so that a file swapped in between changes nothing. Never writes.
"""

import errno
import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from renderdrop.model.errors import NotTakeable, ShareOffline, SourceChanged, SourceGone
from renderdrop.model.names import shown
from renderdrop.share.beneath import held, open_beneath, open_root, stat_beneath
from renderdrop.share.scan import kind_of
from renderdrop.share.signs import sign_of_life
from renderdrop.share.trouble import named, sentence, trouble

_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_LARGEFILE

_WORDS: Final = {
    "link": "is a symbolic link, and links are not followed; drop the file itself",
    "fifo": "is a named pipe; drop an ordinary file",
    "socket": "is a socket; drop an ordinary file",
    "device": "is a device; drop an ordinary file",
    None: "is a folder; drop an ordinary file",
}


class SourceFile:
    """An open source; `size` in bytes and `mtime_ns` are those at opening. Close it, or use it in `with`."""

    def __init__(self, fd: int, what: str) -> None:
        """Takes over `fd`, a regular file's descriptor; `what` names it in sentences."""
        self._fd = fd
        self._what = what
        now = os.fstat(fd)
        self.size = now.st_size
        self.mtime_ns = now.st_mtime_ns
        self._ctime_ns = now.st_ctime_ns

    def read(self, offset: int, count: int) -> bytes:
        """At most `count` bytes from `offset`; b"" at the end. Raises ShareOffline."""
        with trouble(self._what):
            return os.pread(self._fd, count, offset)

    def unchanged(self) -> bool:
        """Whether the file still has the size and mtime of its opening. Raises ShareOffline."""
        with trouble(self._what):
            now = os.fstat(self._fd)
        return (now.st_size, now.st_mtime_ns) == (self.size, self.mtime_ns)

    def touched(self) -> bool:
        """Whether anything was done to it since its opening, or since this was last asked. Size and mtime can be set
        back by whoever wrote; this time cannot, but a mere change of its permissions moves it too. Raises ShareOffline.
        """
        with trouble(self._what):
            before, self._ctime_ns = self._ctime_ns, os.fstat(self._fd).st_ctime_ns
        return before != self._ctime_ns

    def being_written(self) -> bool:
        """Whether a writer surely has it open; False also where the system cannot tell (network, foreign owner)."""
        try:
            # A lease that someone's open breaks is told by SIGIO, which kills; SIGURG is ignored by default.
            fcntl.fcntl(self._fd, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(self._fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(self._fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError as exc:
            return exc.errno == errno.EAGAIN
        return False

    def close(self) -> None:
        """Once or more often."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def open_source(root: Path, rel: str) -> SourceFile:
    """Opens the source `rel` in the inbox `root`.

    Raises NotTakeable (not a regular file, a link on the way, or closed to us), SourceGone, SourceChanged (another
    program holds it for itself and has to let go first), ShareOffline for everything else.
    """
    sign_of_life()
    try:
        root_fd = open_root(root)
    except OSError as exc:
        raise ShareOffline(sentence(named(root), exc)) from exc
    with held(root_fd):
        # Looked at before it is opened: merely opening a device can do something to it.
        with _told(root, rel):
            _must_be_file(rel, stat_beneath(root_fd, rel).st_mode)
        with _told(root, rel, seen=True):
            fd = open_beneath(root_fd, rel, _FLAGS)
            try:
                _must_be_file(rel, os.fstat(fd).st_mode)
                return SourceFile(fd, named(root, rel))
            except BaseException:
                os.close(fd)
                raise


def _must_be_file(rel: str, mode: int) -> None:
    kind = kind_of(mode)
    if kind != "file":
        raise NotTakeable(f"{shown(rel)} {_WORDS[kind]}")


@contextmanager
def _told(root: Path, rel: str, seen: bool = False) -> Iterator[None]:
    name = shown(rel)
    try:
        yield
    except OSError as exc:
        match exc.errno:
            case errno.ENOENT | errno.ENOTDIR | errno.ENAMETOOLONG:
                raise SourceGone(f"{name} is not in the inbox any more") from exc
            case errno.EINVAL:
                raise NotTakeable(f"{name} is not the name of a file in the inbox") from exc
            case errno.ELOOP:
                raise NotTakeable(f"{name} lies behind a symbolic link, and links are not followed") from exc
            case errno.ENXIO:
                raise NotTakeable(f"{name} {_WORDS['socket']}") from exc
            case errno.EACCES | errno.EPERM if seen:
                # The way is open, this one file is closed: no reason to stop its share, and its owner can be told.
                raise NotTakeable(f"{name} cannot be read (permission denied); let its group read it") from exc
            case errno.EAGAIN:
                raise SourceChanged(f"{name} is still held by another program; it is taken when that lets go") from exc
            case _:
                raise ShareOffline(sentence(named(root, rel), exc)) from exc
