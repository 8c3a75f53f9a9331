"""The two system calls that Python does not offer: openat2 and renameat2.

Owns: their calling convention. It must not decide anything: every failure is a plain OSError with the
kernel's errno (ENOSYS too), and what to do then is said where the call is made.
"""

import ctypes
import errno
import os
import struct
from typing import Any, Final

RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08

_SYS_OPENAT2: Final = 437
"""The same number on every architecture: the call is younger than the common table (Linux 5.6)."""
_RENAME_NOREPLACE: Final = 1

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_renameat2: Final[Any] = getattr(_libc, "renameat2", None)  # not in every C library


def openat2(dir_fd: int, path: bytes, flags: int, resolve: int) -> int:
    """A descriptor for `path` (no NUL in it) below `dir_fd`. Raises OSError."""
    how = struct.pack("=QQQ", flags, 0, resolve)
    fd: int = _libc.syscall(
        ctypes.c_long(_SYS_OPENAT2),
        ctypes.c_int(dir_fd),
        ctypes.c_char_p(path),
        ctypes.c_char_p(how),
        ctypes.c_size_t(len(how)),
    )
    if fd < 0:
        raise _failure(path)
    return fd


def rename_noreplace(src_fd: int, src: bytes, dst_fd: int, dst: bytes) -> None:
    """renameat2 with RENAME_NOREPLACE. Raises OSError; EINVAL means that the file system does not know the flag."""
    if _renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    done: int = _renameat2(
        ctypes.c_int(src_fd),
        ctypes.c_char_p(src),
        ctypes.c_int(dst_fd),
        ctypes.c_char_p(dst),
        ctypes.c_uint(_RENAME_NOREPLACE),
    )
    if done != 0:
        raise _failure(dst)


def _failure(path: bytes) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), os.fsdecode(path))
