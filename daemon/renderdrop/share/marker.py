"""The marker: how we know that a share is really there, and not an empty mount point (DESIGN 2).

Owns: `inbox/.renderdrop` and `outbox/.renderdrop/`, and the making of the four folders. Once a share was seen, nothing
is ever made under a root whose marker is missing: an unmounted share would otherwise look like one whose files are all
gone, and results would be written to the disk beneath it.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from renderdrop.model.errors import ShareOffline
from renderdrop.share.beneath import held, open_root, stat_beneath
from renderdrop.share.make import Like, make_folders, sync_folder, write_all
from renderdrop.share.trouble import named, trouble

MARKER: Final = ".renderdrop"
"""In an inbox: a file; a folder counts too, for an inbox that is another route's outbox."""
STAGING: Final = ".renderdrop"
"""In an outbox: the folder in which results are put together."""

_TEXT: Final = b"""\
This file shows renderdrop that the share is mounted. Please leave it here.
Without it renderdrop takes nothing from this folder and waits until it is back.
If the folder was made anew on purpose, an empty file of this name will do.
"""


@dataclass(frozen=True, slots=True)
class Folders:
    """The four folders of a route, absolute; each may be a link."""

    inbox: Path
    outbox: Path
    done: Path
    failed: Path


def prepare(folders: Folders, seen: bool) -> None:
    """Makes the folders and markers that may be made; at the start and before work.

    `seen` False: the ledger never knew this share, so that missing folders are made, in a parent that exists (or
    anywhere below the inbox's parent), and marked. `seen` True: without its marker nothing is made; a missing outbox,
    done or failed is made again only right beside the inbox, where the marker vouches for the mount.
    Raises ShareOffline, saying which folder or marker is missing and what to do.
    """
    if not seen:
        _make(folders.inbox, folders, Like.of(_base(folders.inbox, folders)))
        _mark(folders.inbox)
    elif not _has(folders.inbox, MARKER, stat.S_IFREG, stat.S_IFDIR):
        raise _missing_marker(folders.inbox, "touch")
    like = Like.of(folders.inbox)
    for place in (folders.outbox, folders.done, folders.failed):
        if _is_there(place):
            if place == folders.outbox and seen and not _has(place, STAGING, stat.S_IFREG, stat.S_IFDIR):
                raise _missing_marker(place, "mkdir")
        elif seen and place.parent != folders.inbox.parent:
            raise ShareOffline(f"{place} is missing; is the share mounted? If it was removed, make the folder again")
        else:
            _make(place, folders, like)
    _make_staging(folders.outbox, like)


def online(folders: Folders) -> None:
    """The cheap look before each action: both markers are where they belong. Raises ShareOffline."""
    if not _has(folders.inbox, MARKER, stat.S_IFREG, stat.S_IFDIR):
        raise _missing_marker(folders.inbox, "touch")
    if not _has(folders.outbox, STAGING, stat.S_IFDIR):
        raise _missing_marker(folders.outbox, "mkdir")


def _missing_marker(place: Path, command: str) -> ShareOffline:
    return ShareOffline(
        f"{place}: no {MARKER} marker in the {place.name}; is the share mounted? "
        f"If the folder was made anew on purpose, put the marker back with: {command} {place / MARKER}"
    )


def _has(place: Path, name: str, *kinds: int) -> bool:
    with trouble(named(place)):
        try:
            with held(open_root(place)) as fd:
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


def _mark(inbox: Path) -> None:
    with trouble(named(inbox)), held(open_root(inbox)) as fd:
        try:
            marker = os.open(MARKER, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=fd)
        except FileExistsError:
            marker = -1
        if marker >= 0:
            with held(marker):
                Like.of(inbox).dress(marker)
                write_all(marker, _TEXT)
                os.fsync(marker)
            sync_folder(fd)
    if not _has(inbox, MARKER, stat.S_IFREG, stat.S_IFDIR):
        raise ShareOffline(f"{inbox / MARKER} is neither a file nor a folder; remove it, and it is made anew")


def _make_staging(outbox: Path, like: Like) -> None:
    if _has(outbox, STAGING, stat.S_IFREG):
        # The outbox is another route's inbox, marked by a file; a folder marks it as well. Were we killed between this
        # and the making, the share would be offline and say how to put its marker back.
        with trouble(named(outbox)), held(open_root(outbox)) as fd:
            os.unlink(STAGING, dir_fd=fd)
    make_folders(outbox, STAGING, like)
