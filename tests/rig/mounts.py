"""Real mounts for the proofs that need root: small disks in memory, and folders that are bound and lazily unmounted."""

import errno
import os
import subprocess
import time
from pathlib import Path
from typing import Final, Self

_BLOCK: Final = 4096
_TRIES: Final = 250
"""Of a remount that finds somebody writing, a fiftieth of a second apart."""


class Mounts:
    """What is mounted for a test, and taken away after it, the last first."""

    def __init__(self) -> None:
        self._points: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for point in reversed(self._points):
            subprocess.run(["umount", "-l", point], check=False, stderr=subprocess.DEVNULL)

    def disk(self, point: Path, size: int) -> Path:
        """A disk in memory of so many bytes."""
        return self._mount(point, "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs")

    def bind(self, real: Path, point: Path) -> Path:
        """The folder `real` seen at `point` as well; what is mounted below it is not."""
        return self._mount(point, "--bind", str(real))

    def remount(self, point: Path, *, read_only: bool) -> None:
        """Allow or forbid writing through this mount. It is not forbidden while somebody writes: tried again."""
        left = _TRIES
        while True:
            try:
                run("mount", "-o", f"remount,bind,{'ro' if read_only else 'rw'}", point)
            except subprocess.CalledProcessError:
                left -= 1
                if not left:
                    raise
                time.sleep(0.02)
            else:
                return

    def vanish(self, point: Path) -> None:
        """Gone at once, although files are open: the folder beneath is what everybody sees from now on."""
        run("umount", "-l", point)
        self._points.remove(point)

    def _mount(self, point: Path, *how: str) -> Path:
        point.mkdir(parents=True, exist_ok=True)
        run("mount", *how, point)
        self._points.append(point)
        return point


class Ballast:
    """A file that fills its disk to the last block, and more of it whenever a block comes free."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def fill(self) -> None:
        """Take every block that is free now."""
        with self._path.open("ab", buffering=0) as file:
            for size in (2**20, 2**16, _BLOCK):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def shed(self) -> None:
        """Give it all back."""
        self._path.unlink(missing_ok=True)


def run(*command: str | os.PathLike[str]) -> None:
    """A command that must not fail."""
    subprocess.run(command, check=True, capture_output=True)
