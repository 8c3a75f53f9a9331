"""Opening below a descriptor: no path, however it was made, leads out of the root (DESIGN 7).

Owns: the only way from a relative path to a descriptor. One call of openat2 where the kernel has it, else
component by component with O_NOFOLLOW; both refuse a link in any place, so that swapping a folder for a link
between look and open gains nothing. It must never join a path to a root's name and never create anything.
Raises plain OSError: ELOOP for a link in the way, EINVAL for a path that is not one below a root.
"""

import errno
import functools
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from renderdrop.share import kernel

FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY
"""Flags for a folder that will be listed or synced."""
PASSAGE: Final = os.O_PATH | os.O_DIRECTORY
"""Flags for a folder that is only passed through: needs no permission to read it."""

_RESOLVE: Final = kernel.RESOLVE_BENEATH | kernel.RESOLVE_NO_SYMLINKS | kernel.RESOLVE_NO_MAGICLINKS
_AGAIN: Final = 32
"""How often a lookup that a rename disturbed (EAGAIN) is tried; a file under a lease says EAGAIN for ever."""


def open_root(root: Path) -> int:
    """A descriptor for a configured folder; `root` itself may be a link, the operator chose it."""
    return os.open(root, FOLDER | os.O_CLOEXEC)


def open_beneath(root_fd: int, rel: str, flags: int) -> int:
    """A descriptor for `rel` below `root_fd` ("" = the root), with O_CLOEXEC and O_NOFOLLOW added to `flags`.

    Never creates: `flags` must not hold O_CREAT. With O_PATH a link in the last place is opened itself.
    """
    names = parts(rel)
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW
    if _kernel_resolves():
        try:
            return _in_one_call(root_fd, names, flags)
        except OSError as exc:
            # A deep tree may be longer than PATH_MAX; step by step there is no such limit.
            if exc.errno != errno.ENAMETOOLONG:
                raise
    return _step_by_step(root_fd, names, flags)


def stat_beneath(root_fd: int, rel: str) -> os.stat_result:
    """The lstat of `rel` below `root_fd`, with no link in any earlier place."""
    with held(open_beneath(root_fd, rel, os.O_PATH)) as fd:
        return os.fstat(fd)


def parts(rel: str) -> list[str]:
    """The names in a relative path, [] for the root. Raises OSError(EINVAL) for anything that is not one:
    absolute, with "." or "..", an empty name or NUL."""
    if rel == "":
        return []
    names = rel.split("/")
    if "\0" in rel or any(name in ("", ".", "..") for name in names):
        raise OSError(errno.EINVAL, "not a path below a folder", rel)
    try:
        os.fsencode(rel)
    except UnicodeEncodeError as exc:
        raise OSError(errno.EINVAL, "not a name that a file can have", rel) from exc
    return names


def split(rel: str) -> tuple[str, str]:
    """The folder part ("" = the root) and the last name of a relative path; OSError(EINVAL) as in `parts`."""
    if not parts(rel):
        raise OSError(errno.EINVAL, "the root itself has no name", rel)
    folder, _, name = rel.rpartition("/")
    return folder, name


def bare(name: str) -> str:
    """The name, when it is one and no path. Raises OSError(EINVAL)."""
    if parts(name) != [name]:
        raise OSError(errno.EINVAL, "not a bare name", name)
    return name


@contextmanager
def held(fd: int) -> Iterator[int]:
    """The descriptor, closed at the end."""
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def folder(root: Path, rel: str, flags: int = FOLDER) -> Iterator[int]:
    """A descriptor for the folder `rel` below `root`, closed at the end."""
    with held(open_root(root)) as root_fd, held(open_beneath(root_fd, rel, flags)) as fd:
        yield fd


@functools.cache
def _kernel_resolves() -> bool:
    """Whether openat2 is there: not before Linux 5.6 (ENOSYS), not under some container filters (EPERM)."""
    try:
        with held(kernel.openat2(-100, b".", os.O_PATH | os.O_CLOEXEC, _RESOLVE)):  # -100 is AT_FDCWD
            return True
    except OSError as exc:
        return exc.errno not in (errno.ENOSYS, errno.EPERM)


def _in_one_call(root_fd: int, names: list[str], flags: int) -> int:
    path = os.fsencode("/".join(names) or ".")
    if flags & os.O_DIRECTORY:
        flags &= ~os.O_NOFOLLOW  # it would hide the link behind ENOTDIR, and RESOLVE_NO_SYMLINKS says the same
    for _ in range(_AGAIN):
        try:
            return kernel.openat2(root_fd, path, flags, _RESOLVE)
        except OSError as exc:
            if exc.errno not in (errno.EAGAIN, errno.EINTR):
                raise
            last = exc
    raise last


def _step_by_step(root_fd: int, names: list[str], flags: int) -> int:
    at = os.open(".", PASSAGE, dir_fd=root_fd)
    try:
        for name in names[:-1]:
            below = _one_step(at, name, PASSAGE | os.O_NOFOLLOW)
            os.close(at)
            at = below
        return _one_step(at, names[-1] if names else ".", flags)
    finally:
        os.close(at)


def _one_step(at: int, name: str, flags: int) -> int:
    try:
        return os.open(name, flags, dir_fd=at)
    except NotADirectoryError:
        # O_DIRECTORY hides that it was a link; say ELOOP, as openat2 does.
        if stat.S_ISLNK(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name) from None
        raise
