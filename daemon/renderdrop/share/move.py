"""Giving a finished file its name without ever replacing one that exists, on one file system or from one to another.

Owns: the three ways to rename without replacing, the copy where renaming cannot reach, and unlinking only what has not
changed. It must never reach outside the two folders whose descriptors it is given. Everything can be repeated after a
crash at any step: at worst a hidden `.renderdrop-…` stays until then. Raises plain OSError; FileExistsError says that a
name is taken.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from typing import Final, Literal

from renderdrop.share import kernel
from renderdrop.share.beneath import held, open_beneath
from renderdrop.share.make import sync_folder, write_all
from renderdrop.share.scan import ABSENT
from renderdrop.share.signs import sign_of_life

Archived = Literal["moved", "changed", "gone"]

_BLOCK: Final = 1024 * 1024
_NO_SUCH_WAY: Final = frozenset(
    {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EIO}
)
"""How file systems say that they know no RENAME_NOREPLACE, or no hard links (EPERM on FAT, EIO or EACCES on some FUSE).
Where one of them is meant in earnest, the plain rename at the end says it again."""
COARSE: Final = 2_000_000_000
"""Nanoseconds by which a copied mtime may differ: FAT keeps times to two seconds."""

READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_LARGEFILE


def lstat(at: int, name: str) -> os.stat_result | None:
    """What lies under a bare name, never followed; None for nothing. Raises plain OSError."""
    try:
        return os.stat(name, dir_fd=at, follow_symlinks=False)
    except OSError as exc:
        if exc.errno in ABSENT:
            return None
        raise


def fresh(at: int, name: str) -> os.stat_result | None:
    """As `lstat`, but a regular file is opened for it: that is when NFS asks the server instead of its cache."""
    now = lstat(at, name)
    if now is not None and stat.S_ISREG(now.st_mode):
        try:
            with held(open_beneath(at, name, READ)) as fd:
                return os.fstat(fd)
        except OSError as exc:
            if exc.errno in ABSENT:
                return lstat(at, name)
            # Unreadable or held by someone: the first look stands.
    return now


def same(now: os.stat_result | None, size: int, mtime_ns: int, slack: int = 0) -> bool:
    """Whether that is a thing of this size and mtime, give or take `slack` nanoseconds."""
    return now is not None and now.st_size == size and abs(now.st_mtime_ns - mtime_ns) <= slack


def hidden(key: str) -> str:
    """The hidden name for a step on the way; the same key gives the same name, so that a repeat finds it."""
    return ".renderdrop-" + hashlib.blake2b(os.fsencode(key), digest_size=12).hexdigest()


def rename_new(src_at: int, src: str, dst_at: int, dst: str) -> None:
    """Renames, never replacing: FileExistsError when `dst` is taken; OSError(EXDEV) across file systems.

    When both names are one file already, the link of an interrupted (or an NFS server's forgotten) try is finished.
    """
    for way in (_by_flag, _by_link, _by_look):
        try:
            return way(src_at, src, dst_at, dst)
        except FileExistsError:
            if os.fstat(src_at).st_dev != os.fstat(dst_at).st_dev:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV)) from None  # one answer, whichever way was asked
            here, there = lstat(src_at, src), lstat(dst_at, dst)
            if here and there and os.path.samestat(here, there):
                return os.unlink(src, dir_fd=src_at)
            raise
        except OSError as exc:
            if way is _by_look or exc.errno not in _NO_SUCH_WAY:
                raise
    return None


def _by_flag(src_at: int, src: str, dst_at: int, dst: str) -> None:
    kernel.rename_noreplace(src_at, os.fsencode(src), dst_at, os.fsencode(dst))


def _by_link(src_at: int, src: str, dst_at: int, dst: str) -> None:
    os.link(src, dst, src_dir_fd=src_at, dst_dir_fd=dst_at, follow_symlinks=False)
    try:
        os.unlink(src, dir_fd=src_at)
    except OSError:
        os.unlink(dst, dir_fd=dst_at)
        raise


def _by_look(src_at: int, src: str, dst_at: int, dst: str) -> None:
    # Not safe against another writer in the same instant, but such file systems offer nothing better.
    if lstat(dst_at, dst) is not None:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), dst)
    os.rename(src, dst, src_dir_fd=src_at, dst_dir_fd=dst_at)


def copy_new(src_fd: int, dst_at: int, dst: str, temp: str, dress: Callable[[int], None]) -> bool:
    """Copies an open file to another file system: hidden, synced, compared, dressed, then named without replacing.

    `temp` is its hidden name on the way, the same for every try; `dress` sets group and bits; the mtime goes along.
    A `dst` that has the very same bytes and mtime is the copy of an interrupted try: done. FileExistsError for any
    other `dst`; False, and nothing is left, when the source changed under the copying.
    """
    before = os.fstat(src_fd)
    remove_missing_ok(dst_at, temp)  # of an interrupted try
    there = lstat(dst_at, dst)
    if there is not None:
        if same(there, before.st_size, before.st_mtime_ns, COARSE) and _equal(src_fd, dst_at, dst):
            sync_folder(dst_at)  # the try may have been interrupted before its own
            return True
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), dst)
    try:
        _copy(src_fd, before, dst_at, temp, dress)
        if not same(os.fstat(src_fd), before.st_size, before.st_mtime_ns):
            remove_missing_ok(dst_at, temp)
            return False
        rename_new(dst_at, temp, dst_at, dst)
    except BaseException:
        remove_missing_ok(dst_at, temp)
        raise
    sync_folder(dst_at)
    return True


def _copy(src_fd: int, before: os.stat_result, at: int, temp: str, dress: Callable[[int], None]) -> None:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_LARGEFILE
    with held(os.open(temp, flags, 0o600, dir_fd=at)) as fd:
        digest = _digest(src_fd, lambda block: write_all(fd, block))
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)  # compare what the disk holds, not what memory does
        if _digest(fd) != digest:
            raise OSError(errno.EIO, "what was written reads back differently")
        dress(fd)
        os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
        os.fsync(fd)


def unlink_unchanged(at: int, name: str, size: int, mtime_ns: int) -> Archived:
    """Unlinks a file only if it is still the one of this size and mtime ("moved" = it is not there any more).

    It is set aside under a hidden name first and looked at again there: a file that someone saved under the name in
    between is put back, never destroyed. A repeat after a crash finds what was set aside.
    """
    put_back(at, name, size, mtime_ns)
    now = fresh(at, name)
    if now is None:
        sync_folder(at)  # perhaps by ourselves, right before a crash
        return "gone"
    if not same(now, size, mtime_ns):
        return "changed"
    aside = _aside(name, size, mtime_ns)
    try:
        rename_new(at, name, at, aside)
        if not same(lstat(at, aside), size, mtime_ns):
            rename_new(at, aside, at, name)
            return "changed"
    except FileExistsError:
        return "changed"  # someone is saving faster than we look: let it be
    os.unlink(aside, dir_fd=at)
    sync_folder(at)
    return "moved"


def put_back(at: int, name: str, size: int, mtime_ns: int) -> None:
    """Undoes the setting aside of an `unlink_unchanged` that was interrupted; nearly always there is nothing to do."""
    aside = _aside(name, size, mtime_ns)
    if lstat(at, aside) is None:
        return
    try:
        rename_new(at, aside, at, name)
    except FileExistsError:
        # A newer file has the name. What was set aside was to be unlinked and nothing else, unless it changed since.
        if same(lstat(at, aside), size, mtime_ns):
            os.unlink(aside, dir_fd=at)


def _aside(name: str, size: int, mtime_ns: int) -> str:
    return hidden(f"{name}/{size}/{mtime_ns}")


def remove_missing_ok(at: int, name: str) -> None:
    """Unlinks a bare name, itself and never what it points to; nothing there is fine."""
    try:
        os.unlink(name, dir_fd=at)
    except FileNotFoundError:
        pass


def _digest(fd: int, also: Callable[[bytes], None] = lambda _: None) -> bytes:
    digest, offset = hashlib.blake2b(), 0
    while block := os.pread(fd, _BLOCK, offset):
        sign_of_life()
        digest.update(block)
        also(block)
        offset += len(block)
    return digest.digest()


def _equal(src_fd: int, at: int, name: str) -> bool:
    with held(open_beneath(at, name, READ)) as fd:
        return stat.S_ISREG(os.fstat(fd).st_mode) and _digest(fd) == _digest(src_fd)
