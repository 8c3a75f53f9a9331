"""The process behind `forgetful.Forgetful`: serves a `memory_disk.Disk` over FUSE, and listens on its standard input.

Owns the freezing: from the sync that was asked for on, every request is held, and nothing reaches the disk any more.
They are answered with EIO when they are let go, by when whoever asked is to be dead. Orders and answers are lines of
JSON. It knows nothing of what is tested.
"""

import errno
import json
import os
import stat
import sys
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from mfusepy import FUSE
from tests.rig.memory_disk import Disk, Inode

T = TypeVar("T")

_FROZEN_AT_MOST: Final = 120.0
"""Seconds: a test that was wrong enough to touch a frozen mount itself must not wait for ever."""
_NOREPLACE: Final = 1
_BLOCK: Final = 4096


class Operations:
    """FUSE's calls, one at a time. What is opened stays reachable by its handle when its name goes."""

    use_ns = True

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._calm = threading.Condition()
        self._open: dict[int, Inode] = {}
        self._handles = 0
        self._held = False
        self._refusing = False
        self._below, self._at, self._after = "", 0, True
        self.syncs: list[str] = []
        """What was synced since `arm`, in words."""

    # --- what the test orders -------------------------------------------------------------------------------------

    def order(self, do: str, **given: Any) -> Any:
        """One order, by its name."""
        with self._calm:
            return getattr(self, f"order_{do}")(**given)

    def order_arm(self, below: str, at: int, after: bool) -> None:
        """Freeze at the `at`-th sync of something below a path from now on: after it, or before it. 0 = never."""
        self._below, self._at, self._after, self.syncs = below, at, after, []

    def order_frozen(self) -> bool:
        return self._held

    def order_syncs(self) -> list[str]:
        return self.syncs

    def order_refuse(self) -> None:
        """Let go of what is held, and answer it and all that comes with EIO."""
        self._held, self._refusing = False, True
        self._calm.notify_all()

    def order_cut(self, below: str | None, names: bool) -> None:
        """The power goes below a path (None: nowhere, the program was merely killed), and is there again."""
        if below is not None:
            self._disk.cut(below, names=names)
        self._open.clear()
        self._held = self._refusing = False
        self._at = 0

    def order_settle(self, path: str) -> None:
        self._disk.settle(path)

    def order_tree(self, saved: bool) -> dict[str, str]:
        return self._disk.tree(saved=saved)

    # --- what the kernel asks -------------------------------------------------------------------------------------

    def _do(self, deed: Callable[[], T]) -> T:
        with self._calm:
            self._calm.wait_for(lambda: not self._held)
            if self._refusing:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return deed()

    def _inode(self, path: str | None, fh: int | None) -> Inode:
        if fh and fh in self._open:
            return self._open[fh]
        if path is None:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return self._disk.at(path)

    def _handle(self, inode: Inode) -> int:
        self._handles += 1
        self._open[self._handles] = inode
        return self._handles

    def _sync(self, path: str | None, fh: int, call: str, facts: bool) -> int:
        with self._calm:
            self._calm.wait_for(lambda: not self._held)
            if self._refusing:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            inode = self._inode(path, fh)
            where = self._disk.path_of(inode)
            counts = where.startswith(self._below)
            if counts:
                self.syncs.append(f"{call} {where}")
            here = counts and len(self.syncs) == self._at
            if not here or self._after:
                inode.save(facts=facts)
            if here:
                self._held = True
                if not self._calm.wait_for(lambda: not self._held, _FROZEN_AT_MOST):
                    self.order_refuse()
                if self._refusing:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
        return 0

    def fsync(self, path: str | None, datasync: int, fh: int) -> int:
        return self._sync(path, fh, "fdatasync" if datasync else "fsync", facts=not datasync)

    def fsyncdir(self, path: str | None, datasync: int, fh: int) -> int:
        return self._sync(path, fh, "fsync of the folder", facts=True)

    def getattr(self, path: str | None, fh: int | None = None) -> dict[str, int]:
        return self._do(lambda: _attributes(self._inode(path, fh)))

    def readdir(self, path: str | None, fh: int) -> list[tuple[str, dict[str, int], int]]:
        def deed() -> list[tuple[str, dict[str, int], int]]:
            inode = self._inode(path, fh)
            return [(name, _attributes(i), 0) for name, i in {".": inode, "..": inode, **inode.names}.items()]

        return self._do(deed)

    def opendir(self, path: str) -> int:
        return self._do(lambda: self._handle(self._disk.at(path)))

    def open(self, path: str, flags: int) -> int:
        def deed() -> int:
            inode = self._disk.at(path)
            if flags & os.O_TRUNC:
                del inode.data[:]
            return self._handle(inode)

        return self._do(deed)

    def create(self, path: str, mode: int, flags: int) -> int:
        return self._do(lambda: self._handle(self._make(path, stat.S_IFREG | stat.S_IMODE(mode))))

    def mkdir(self, path: str, mode: int) -> int:
        self._do(lambda: self._make(path, stat.S_IFDIR | stat.S_IMODE(mode)))
        return 0

    def _make(self, path: str, mode: int) -> Inode:
        inode = self._disk.new(mode)
        self._disk.put(path, inode)
        return inode

    def release(self, path: str | None, fh: int) -> int:
        with self._calm:
            self._open.pop(fh, None)
        return 0

    releasedir = release

    def flush(self, path: str | None, fh: int) -> int:
        return 0  # a close saves nothing

    def read(self, path: str | None, size: int, offset: int, fh: int) -> bytes:
        return self._do(lambda: bytes(self._inode(path, fh).data[offset : offset + size]))

    def write(self, path: str | None, data: bytes, offset: int, fh: int) -> int:
        def deed() -> int:
            inode = self._inode(path, fh)
            inode.data.extend(bytes(max(0, offset - len(inode.data))))
            inode.data[offset : offset + len(data)] = data
            inode.facts.mtime = self._disk.now()
            return len(data)

        return self._do(deed)

    def truncate(self, path: str | None, length: int, fh: int | None = None) -> int:
        def deed() -> None:
            inode = self._inode(path, fh)
            del inode.data[length:]
            inode.data.extend(bytes(length - len(inode.data)))
            inode.facts.mtime = self._disk.now()

        self._do(deed)
        return 0

    def unlink(self, path: str) -> int:
        self._do(lambda: self._disk.take(path))
        return 0

    def rmdir(self, path: str) -> int:
        def deed() -> None:
            if self._disk.at(path).names:
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
            self._disk.take(path)

        self._do(deed)
        return 0

    def rename(self, old: str, new: str, flags: int) -> int:
        if flags & ~_NOREPLACE:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._do(lambda: self._disk.rename(old, new, replace=not flags & _NOREPLACE))
        return 0

    def link(self, target: str, source: str) -> int:
        self._do(lambda: self._disk.put(target, self._disk.at(source)))
        return 0

    def chmod(self, path: str, mode: int) -> int:
        def deed() -> None:
            facts = self._disk.at(path).facts
            facts.mode = stat.S_IFMT(facts.mode) | stat.S_IMODE(mode)

        self._do(deed)
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        def deed() -> None:
            facts = self._disk.at(path).facts
            facts.uid = facts.uid if uid == -1 else uid
            facts.gid = facts.gid if gid == -1 else gid

        self._do(deed)
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        def deed() -> None:
            facts = self._disk.at(path).facts
            facts.atime, facts.mtime = times or (self._disk.now(), self._disk.now())

        self._do(deed)
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        plenty = dict.fromkeys(("f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree", "f_favail"), 2**20)
        return {"f_bsize": _BLOCK, "f_frsize": _BLOCK, "f_namemax": 255, **plenty}

    def init_with_config(self, connection: Any, config: Any) -> None:
        config.nullpath_ok = True  # what has no name any more is known by its handle


class _Fuse(FUSE):  # type: ignore[misc]
    """With the flags of a rename, and with the handle of a truncated file, which the binding leaves out."""

    def rename_fuse_3(self, old: bytes, new: bytes, flags: int) -> int:
        return int(self.operations.rename(os.fsdecode(old), os.fsdecode(new), flags))

    def truncate_fuse_3(self, path: bytes | None, length: int, fip: Any) -> int:
        fh = fip.contents.fh if fip else None
        return int(self.operations.truncate(None if path is None else os.fsdecode(path), length, fh))


def _attributes(inode: Inode) -> dict[str, int]:
    facts = inode.facts
    return {
        "st_mode": facts.mode, "st_nlink": 2 if inode.is_folder else 1, "st_ino": inode.number, "st_uid": facts.uid,
        "st_gid": facts.gid, "st_size": len(inode.data), "st_blocks": -(-len(inode.data) // 512),
        "st_atime": facts.atime, "st_mtime": facts.mtime, "st_ctime": facts.mtime,
    }  # fmt: skip


def _listen(operations: Operations) -> None:
    for line in sys.stdin:
        order = json.loads(line)
        sys.stdout.write(json.dumps(operations.order(**order)) + "\n")
        sys.stdout.flush()


def main(mount: str) -> None:
    """Serve until unmounted. Nothing is cached by the kernel beyond an open file: a cut must be seen at once."""
    operations = Operations(Disk())
    threading.Thread(target=_listen, args=(operations,), daemon=True).start()
    _Fuse(
        operations, mount, foreground=True, fsname="forgetful", max_idle_threads=10, hard_remove=True, use_ino=True,
        entry_timeout=0.0, attr_timeout=0.0, negative_timeout=0.0, ac_attr_timeout=0.0,
    )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1])
