"""One daemon a state directory: a lock that the kernel lets go of when the process ends, however it ends."""

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from renderdrop.model.errors import LedgerBroken

_LOOK_EVERY: Final = 0.05


def hold_alone(state_dir: Path, patience: float = 0.0, known_as: int | None = None) -> int:
    """Take the lock; returns its descriptor, to be kept open. Raises LedgerBroken when another daemon holds it, and
    holds it for longer than `patience`, seconds: one that was killed a moment ago may still be dying.

    `known_as`: the process to name to others, if not this one."""
    path = state_dir / "renderdrop.lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LedgerBroken(f"the lock {path} cannot be made ({error.strerror}); check the folder's owner") from error
    if not _taken(fd, time.monotonic() + patience):
        pid = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise LedgerBroken(
            f"another renderdrop (process {pid}) already works with {state_dir}; stop it, or give this one a "
            "daemon.state_dir of its own"
        )
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{known_as or os.getpid()}\n".encode(), 0)
    return fd


def let_go(lock: int) -> None:
    """Give the lock up now: a thread that hangs in the kernel would keep its descriptor, and so the lock."""
    fcntl.flock(lock, fcntl.LOCK_UN)
    os.close(lock)


def _taken(fd: int, until: float) -> bool:
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(_LOOK_EVERY)
