"""The marker: how we know that a share is really there, and not an empty mount point (DESIGN 2).

Owns: `inbox/.renderdrop`, `outbox/.renderdrop/`, the marks on done and failed, and the making of the four folders. Each
may be a mount of its own, so that none vouches for another. What people look through stays clean: done and failed bear
an extended attribute, and a file like the inbox's only where the file system has none. Once a folder was seen, nothing
is ever made under it, and nothing said to be gone, while its mark is missing: an unmounted share would otherwise look
like one whose files are all gone, and results and sources would be written to the disk beneath it.
"""

import errno
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Final

from renderdrop.model.errors import ShareOffline
from renderdrop.share.beneath import FOLDER, held, open_beneath, open_root, stat_beneath
from renderdrop.share.make import Like, make_folders, sync_folder, write_all
from renderdrop.share.move import lstat, remove_missing_ok
from renderdrop.share.trouble import named, trouble

MARKER: Final = ".renderdrop"
"""In an inbox: a file; a folder counts too, for an inbox that is another route's outbox."""
STAGING: Final = ".renderdrop"
"""In an outbox: the folder in which results are put together."""

_ATTRIBUTE: Final = "user.renderdrop"
"""On done and failed."""
_NO_ATTRIBUTE: Final = frozenset({errno.ENODATA, errno.ENOTSUP, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EINVAL})
"""What file systems say that have none, or none of this name."""

_PROBE: Final = ".probe"
"""How the names of first looks into staging begin. Each has one of its own: routes may have one outbox in common."""
_PROBE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PROBE_LASTS: Final = 3600.0
"""Seconds after which a probe is no longer under way: a crash left it."""
_PROBE_BYTES: Final = 2**16
"""What a first look writes into staging: more than fits beside the names in a folder, so that it needs a free block."""

_TEXT: Final = b"""\
This file shows renderdrop that the share is mounted. Please leave it here.
Without it renderdrop leaves this folder alone and waits until it is back.
If the folder was made anew on purpose, an empty file of this name will do.
"""


@dataclass(frozen=True, slots=True)
class Folders:
    """The four folders of a route, absolute; each may be a link."""

    inbox: Path
    outbox: Path
    done: Path
    failed: Path

    @property
    def each(self) -> tuple[Path, Path, Path, Path]:
        """All four."""
        return self.inbox, self.outbox, self.done, self.failed


def prepare(folders: Folders, seen: bool, new: Collection[Path] = ()) -> None:
    """Makes the folders and markers that may be made; at the start and before work.

    `seen` False: the ledger never knew this share, so that missing folders are made, in a parent that exists (or
    anywhere below the inbox's parent), and marked. `seen` True: without its marker nothing is made; a missing outbox,
    done or failed is made again only right beside the inbox, where the marker vouches for the mount. Of a share that
    was seen, the folders in `new` were not yet (the settings named others, or an older version gave them no marker).
    Raises ShareOffline, saying which folder or marker is missing and what to do.
    """
    if not seen:
        _make(folders.inbox, folders, Like.of(_base(folders.inbox, folders)))
        _mark_by_file(folders.inbox, Like.of(folders.inbox))
    elif not _has(folders.inbox, MARKER, stat.S_IFREG, stat.S_IFDIR):
        raise _missing_marker(folders.inbox, "touch")
    like = Like.of(folders.inbox)
    for place in (folders.outbox, folders.done, folders.failed):
        if _is_there(place):
            if seen and place not in new and not _is_marked(place):
                raise _missing_marker(place, "mkdir" if place == folders.outbox else "touch")
        elif seen and place not in new and place.parent != folders.inbox.parent:
            raise ShareOffline(f"{place} is missing; is the share mounted? If it was removed, make the folder again")
        else:
            _make(place, folders, like)
        if place != folders.outbox:
            _mark(place, like)
    _make_staging(folders.outbox, like)
    if new or not seen:
        _put_on_disk(folders)


def online(folders: Folders) -> None:
    """The cheap look before each action: all markers are where they belong. Raises ShareOffline."""
    for place in folders.each:
        if not (_has(place, STAGING, stat.S_IFDIR) if place == folders.outbox else _is_marked(place)):
            raise _missing_marker(place, "mkdir" if place == folders.outbox else "touch")


def writable(outbox: Path) -> None:
    """Whether results can be put there at all: writes a little into staging, to the disk, and takes it away again.

    Asked before anything is rendered for the share and before a trouble counts as over: looking alone would not tell a
    full or read-only disk. Raises ShareOffline.
    """
    with trouble(named(outbox)), marked(outbox) as root, held(open_beneath(root, STAGING, FOLDER)) as staging:
        probe = f"{_PROBE}-{token_hex(8)}"
        fd = os.open(probe, _PROBE_FLAGS, 0o600, dir_fd=staging)
        try:
            with held(fd):
                write_all(fd, bytes(_PROBE_BYTES))
                os.fsync(fd)
                now = os.fstat(fd).st_mtime
        finally:
            remove_missing_ok(staging, probe)
        _tidy_probes(staging, now)


def _tidy_probes(staging: int, now: float) -> None:
    """Takes away those that are old by the share's own clock, which says that it is `now`."""
    for name in os.listdir(staging):
        if name.startswith(_PROBE):
            found = lstat(staging, name)
            if found is not None and stat.S_ISREG(found.st_mode) and found.st_mtime < now - _PROBE_LASTS:
                remove_missing_ok(staging, name)


@contextmanager
def marked(place: Path) -> Iterator[int]:
    """A descriptor of a configured folder that bears its marker, closed at the end: whatever is mounted or unmounted
    over its name meanwhile, what is done through it is done on the share. Raises ShareOffline."""
    with trouble(named(place)):
        fd = open_root(place)
    with held(fd):
        with trouble(named(place)):
            vouched = _vouched(fd)
        if not vouched:
            raise _missing_marker(place, "touch")
        yield fd


def _missing_marker(place: Path, command: str) -> ShareOffline:
    return ShareOffline(
        f"{place}: no {MARKER} marker in the {place.name}; is the share mounted? "
        f"If the folder was made anew on purpose, put the marker back with: {command} {place / MARKER}"
    )


def _has(place: Path, name: str, *kinds: int) -> bool:
    with trouble(named(place)):
        try:
            with held(open_root(place)) as fd:
                return _bears(fd, name, *kinds)
        except FileNotFoundError:
            return False


def _is_marked(place: Path) -> bool:
    with trouble(named(place)):
        try:
            with held(open_root(place)) as fd:
                return _vouched(fd)
        except FileNotFoundError:
            return False


def _vouched(fd: int) -> bool:
    """Whether a folder bears a mark of either kind."""
    if _bears(fd, MARKER, stat.S_IFREG, stat.S_IFDIR):
        return True
    try:
        return bool(os.getxattr(fd, _ATTRIBUTE))
    except OSError as exc:
        if exc.errno not in _NO_ATTRIBUTE:
            raise
        return False


def _bears(fd: int, name: str, *kinds: int) -> bool:
    try:
        return stat.S_IFMT(stat_beneath(fd, name).st_mode) in kinds
    except FileNotFoundError:
        return False


def _is_there(place: Path) -> bool:
    with trouble(named(place)):
        try:
            os.close(open_root(place))
        except FileNotFoundError:
            return False
    return True


def _base(place: Path, folders: Folders) -> Path:
    """The existing folder in which `place` may be made. Raises ShareOffline when there is none."""
    if _is_there(place):
        return place
    base = place.parent
    home = folders.inbox.parent
    while not _is_there(base):
        # Below the inbox's parent the way may be made, elsewhere it may be a mount that is not there.
        if base == home or home == Path(home.anchor) or not base.is_relative_to(home):
            raise ShareOffline(f"{base} is missing; is the share mounted? If it is to be new, make that folder first")
        base = base.parent
    return base


def _make(place: Path, folders: Folders, like: Like) -> None:
    base = _base(place, folders)
    make_folders(base, place.relative_to(base).as_posix() if place != base else "", like)


def _mark(place: Path, like: Like) -> None:
    with trouble(named(place)), held(open_root(place)) as fd:
        if _vouched(fd):
            return
        try:
            os.setxattr(fd, _ATTRIBUTE, b"1")
            sync_folder(fd)
        except OSError:
            pass  # whatever the reason, making a file tells it better
    if not _is_marked(place):
        _mark_by_file(place, like)


def _mark_by_file(place: Path, like: Like) -> None:
    if _has(place, MARKER, stat.S_IFREG, stat.S_IFDIR):
        return
    with trouble(named(place)), held(open_root(place)) as fd:
        try:
            marker = os.open(MARKER, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=fd)
        except FileExistsError:
            marker = -1
        if marker >= 0:
            with held(marker):
                like.dress(marker)
                write_all(marker, _TEXT)
                os.fsync(marker)
            sync_folder(fd)
    if not _has(place, MARKER, stat.S_IFREG, stat.S_IFDIR):
        raise ShareOffline(f"{place / MARKER} is neither a file nor a folder; remove it, and it is made anew")


def _put_on_disk(folders: Folders) -> None:
    """What is merely there may have been made right before a crash. The ledger is about to count on it: a marker that
    a power cut took away later would keep the share offline for good."""
    for place in folders.each:
        with trouble(named(place)), held(open_root(place)) as fd:
            sync_folder(fd)
    for above in {place.parent for place in folders.each}:
        try:
            with held(open_root(above)) as fd:
                sync_folder(fd)
        except OSError:
            pass  # closed to us: then we did not make anything in it either


def _make_staging(outbox: Path, like: Like) -> None:
    if _has(outbox, STAGING, stat.S_IFREG):
        # The outbox is another route's inbox, marked by a file; a folder marks it as well. Were we killed between this
        # and the making, the share would be offline and say how to put its marker back.
        with trouble(named(outbox)), held(open_root(outbox)) as fd:
            try:
                os.unlink(STAGING, dir_fd=fd)
            except (FileNotFoundError, IsADirectoryError):
                pass  # another route with this outbox was faster
    make_folders(outbox, STAGING, like)
