"""Looking at a share: what lies in an inbox, and how given paths stand now.

Owns: the walk of the sweep, over descriptors and without following a link. It must never open a file (looking at a pipe
or a device must not wake it), and never say "gone" of something that merely cannot be seen.
"""

import errno
import os
import stat
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from renderdrop.share.beneath import FOLDER, PASSAGE, held, open_beneath, open_root, split
from renderdrop.share.ignore import Ignore
from renderdrop.share.signs import sign_of_life
from renderdrop.share.trouble import named, reason, trouble

_DEEPEST: Final = 1000
"""Folders below each other. The way to each is walked anew: a tree without end would hold up its whole share."""

Kind = Literal["file", "link", "fifo", "socket", "device"]

ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""What a path says that is no longer there: removed, or a file or a link now stands in its folder's place."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that is not a folder: `path` below the root, `size` in bytes, `mtime_ns` by its server's clock."""

    path: str
    kind: Kind
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Scan:
    """All that is not ignored, by path, and the folders that could not be read (path, why): of what lies
    in those nothing is known, so it is not gone either."""

    entries: list[Entry]
    unreadable: list[tuple[str, str]]


def kind_of(mode: int) -> Kind | None:
    """The kind by st_mode; None for a folder."""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISLNK(mode):
        return "link"
    if stat.S_ISFIFO(mode):
        return "fifo"
    if stat.S_ISSOCK(mode):
        return "socket"
    return None if stat.S_ISDIR(mode) else "device"


def scan(root: Path, ignore: Ignore, below: str = "") -> Scan:
    """Everything in `root`, or in its folder `below` alone, however deep; a folder that vanishes on the way is skipped.

    Raises ShareOffline when the root cannot be read.
    """
    found = Scan([], [])
    with trouble(named(root)), held(open_root(root)) as root_fd:
        if below and ignore.path(below, is_folder=True):
            return found
        ahead = [below]
        while ahead:
            rel = ahead.pop()
            if rel.count("/") >= _DEEPEST:
                found.unreadable.append((rel, f"more than {_DEEPEST:,} folders lie one in the other"))
                continue
            try:
                with held(open_beneath(root_fd, rel, FOLDER)) as fd:
                    ahead += _list(fd, rel, ignore, found)
            except OSError as exc:
                if rel == "":
                    raise
                if exc.errno not in ABSENT:
                    found.unreadable.append((rel, reason(exc)))
    found.entries.sort(key=lambda entry: entry.path)
    return found


def _list(fd: int, rel: str, ignore: Ignore, found: Scan) -> list[str]:
    """Adds one folder's entries to `found`; returns its sub-folders."""
    folders: list[str] = []
    hidden: OSError | None = None
    with os.scandir(fd) as listing:
        for item in listing:
            sign_of_life()
            path = f"{rel}/{item.name}" if rel else item.name
            try:
                is_folder = item.is_dir(follow_symlinks=False)
                if ignore.here(path, is_folder):
                    continue
                if is_folder:
                    folders.append(path)
                    continue
                entry = _entry(path, item.stat(follow_symlinks=False))
            except OSError as exc:
                hidden = hidden if exc.errno in ABSENT else exc
                continue
            if entry is not None:
                found.entries.append(entry)
    if hidden is not None:
        found.unreadable.append((rel, reason(hidden)))
    return folders


def look(root: Path, rels: Iterable[str]) -> dict[str, Entry | None]:
    """How each path stands now; None = gone (or a folder now). One opening a folder, however many paths are in it.

    Raises ShareOffline when the root or a folder on the way cannot be read: "gone" would be a guess.
    """
    grouped: dict[str, list[tuple[str, str]]] = defaultdict(list)
    seen: dict[str, Entry | None] = {}
    with trouble(named(root)):
        for rel in rels:
            seen[rel] = None
            try:
                above, name = split(rel)
            except OSError:
                continue  # nothing can lie at what is no path below a folder
            grouped[above].append((rel, name))
        with held(open_root(root)) as root_fd:
            for above, inside in grouped.items():
                with trouble(named(root, above)):
                    try:
                        with held(open_beneath(root_fd, above, PASSAGE)) as fd:
                            seen.update((rel, _look(fd, rel, name)) for rel, name in inside)
                    except OSError as exc:
                        if exc.errno not in ABSENT:
                            raise
    return seen


def _look(fd: int, rel: str, name: str) -> Entry | None:
    sign_of_life()
    try:
        return _entry(rel, os.stat(name, dir_fd=fd, follow_symlinks=False))
    except OSError as exc:
        # A name longer than the file system takes cannot be that of a file.
        if exc.errno in ABSENT or exc.errno == errno.ENAMETOOLONG:
            return None
        raise


def _entry(path: str, now: os.stat_result) -> Entry | None:
    kind = kind_of(now.st_mode)
    return Entry(path, kind, now.st_size, now.st_mtime_ns) if kind else None
