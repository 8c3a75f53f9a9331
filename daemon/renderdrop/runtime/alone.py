"""One daemon a state directory: a lock that the kernel lets go of when the process ends, however it ends."""

import fcntl
import os
from pathlib import Path

from renderdrop.model.errors import LedgerBroken


def hold_alone(state_dir: Path) -> int:
    """Take the lock; returns its descriptor, to be kept open. Raises LedgerBroken when another daemon holds it."""
    path = state_dir / "renderdrop.lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LedgerBroken(f"the lock {path} cannot be made ({error.strerror}); check the folder's owner") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise LedgerBroken(
            f"another renderdrop (process {pid}) already works with {state_dir}; stop it, or give this one a "
            "daemon.state_dir of its own"
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd
