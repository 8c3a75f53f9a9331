"""What a disk holds now, and what of it would still be there if the power went: in memory, as strictly as POSIX allows.

Owns the model, and nothing of FUSE. Each file has its bytes and those that an fsync or fdatasync has saved; each folder
has its names and those that an fsync of *that folder* has saved. So, at a cut:

- a file's bytes, size, owner, bits and times are as at its last fsync (fdatasync saves neither owner nor bits nor
  times); one that was never synced is empty, if its name is there at all;
- a name that was made, renamed, linked or removed is as at the last fsync of its folder; after a rename between two
  folders of which one was synced, it is there twice or nowhere;
- nothing is saved by anything else: no journal keeps an order, no time passes, no sync of one file helps another.

No real file system forgets as much. What survives here survives on every one that keeps POSIX's promises.
"""

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Facts:
    """Owner, bits and times (nanoseconds) of an inode."""

    mode: int
    uid: int = 0
    gid: int = 0
    atime: int = 0
    mtime: int = 0

    def copy(self) -> "Facts":
        return Facts(self.mode, self.uid, self.gid, self.atime, self.mtime)


@dataclass(slots=True, eq=False)
class Inode:
    """A file or a folder; `saved_…` is what a cut leaves of it."""

    number: int
    facts: Facts
    saved_facts: Facts
    data: bytearray = field(default_factory=bytearray)
    saved_data: bytes = b""
    names: dict[str, "Inode"] = field(default_factory=dict)
    saved_names: dict[str, "Inode"] = field(default_factory=dict)

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.facts.mode)

    def save(self, *, facts: bool = True) -> None:
        """What fsync does, or (`facts` False) fdatasync."""
        self.saved_data, self.saved_names = bytes(self.data), dict(self.names)
        if facts:
            self.saved_facts = self.facts.copy()

    def forget(self, *, names: bool) -> None:
        """What a cut does; `names` False: the names happened to be written all the same."""
        self.data = bytearray(self.saved_data)
        self.facts = self.saved_facts.copy()
        if names:
            self.names = dict(self.saved_names)
        else:
            self.saved_names = dict(self.names)


class Disk:
    """The tree. Paths are absolute; "/" is the root. Raises plain OSError. Whoever calls holds a lock."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self.now = clock
        self._last = 0
        self.root = self.new(stat.S_IFDIR | 0o755)

    def new(self, mode: int) -> Inode:
        """An inode that no name leads to yet."""
        self._last += 1
        now = self.now()
        facts = Facts(mode, atime=now, mtime=now)
        return Inode(self._last, facts, facts.copy())

    def at(self, path: str) -> Inode:
        """What lies there."""
        found = self.root
        for name in [name for name in path.split("/") if name]:
            if name not in found.names:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            found = found.names[name]
        return found

    def above(self, path: str) -> tuple[Inode, str]:
        """The folder in which a path's last name stands, and that name."""
        folder, _, name = path.rpartition("/")
        return self.at(folder), name

    def put(self, path: str, inode: Inode) -> None:
        """Give it a name that is free."""
        folder, name = self.above(path)
        if name in folder.names:
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
        folder.names[name] = inode
        folder.facts.mtime = self.now()

    def take(self, path: str) -> Inode:
        """Take a name away."""
        folder, name = self.above(path)
        if name not in folder.names:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        folder.facts.mtime = self.now()
        return folder.names.pop(name)

    def rename(self, old: str, new: str, *, replace: bool) -> None:
        """One name for another."""
        folder, name = self.above(new)
        there = folder.names.get(name)
        if there is not None and not replace:
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
        if there is not None and there is self.at(old):
            return  # two names of one file: rename(2) does nothing
        if there is not None and there.names:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        folder.names[name] = self.take(old)
        folder.facts.mtime = self.now()

    def settle(self, path: str) -> None:
        """Save one file and the way to it, and nothing else that its folders hold."""
        folder = self.root
        for name in [name for name in path.split("/") if name]:
            folder.saved_names[name] = folder.names[name]
            folder = folder.names[name]
        folder.save()

    def cut(self, below: str, *, names: bool) -> None:
        """Forget what was not saved of what lies at and below a path; `names` False: only bytes are forgotten."""
        top = self.at(below)
        top.forget(names=names)
        for inode in self._below(top):
            inode.forget(names=names)

    def tree(self, *, saved: bool) -> dict[str, str]:
        """Every file's path and the SHA-256 of its bytes: as they are, or as they would be after a cut."""
        files = ((path, inode) for path, inode in self._walk(saved) if not inode.is_folder)
        return {path: hashlib.sha256(i.saved_data if saved else i.data).hexdigest() for path, i in files}

    def path_of(self, inode: Inode) -> str:
        """A path that leads to it now; "" when none does."""
        return next((path for path, found in self._walk(saved=False) if found is inode), "")

    def _walk(self, saved: bool) -> Iterator[tuple[str, Inode]]:
        ahead = [("/", self.root)]
        while ahead:
            path, inode = ahead.pop()
            yield path, inode
            names = inode.saved_names if saved else inode.names
            ahead += [(f"{path.rstrip('/')}/{name}", below) for name, below in names.items()]

    def _below(self, top: Inode) -> Iterator[Inode]:
        # A folder is given out before its names are read: a cut changes them on the way.
        ahead, seen = [top], set[int]()
        while ahead:
            inode = ahead.pop()
            if inode.number not in seen:
                seen.add(inode.number)
                yield inode
                ahead += inode.names.values()
