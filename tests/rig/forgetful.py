"""A mounted disk that forgets, at a power cut, whatever was not synced (`memory_disk` says what that means).

Owns the mount and the process behind it (`forgetful_server`). A test drops files, arms the disk, and looks at it only
while it is not frozen: whoever touches a frozen mount waits for ever.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.rig.platform import DEADLINE

_ROOT: Final = Path(__file__).parents[2]


class Forgetful:
    """The disk at `mount`, an empty folder. Use it in `with`: at the end it is unmounted, and its process ended."""

    def __init__(self, mount: Path) -> None:
        self.mount = mount
        self._talk = threading.Lock()
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.rig.forgetful_server", str(mount)],
            cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + DEADLINE
        while not os.path.ismount(mount):
            if self._server.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise RuntimeError(f"{mount} could not be mounted")
            time.sleep(0.02)

    def arm(self, at: int, below: str = "/", *, after: bool = True) -> None:
        """Freeze at the `at`-th sync below a path from now on (0: only count): after it, or right before it."""
        self._order("arm", at=at, below=below, after=after)

    @property
    def frozen(self) -> bool:
        """Whether that sync came: nothing moves any more."""
        return bool(self._order("frozen"))

    def syncs(self) -> list[str]:
        """The syncs below the path since it was armed, in words."""
        found: list[str] = self._order("syncs")
        return found

    def refuse(self) -> None:
        """Answer all requests with EIO, so that whoever waits for one and was killed can die."""
        self._order("refuse")

    def cut(self, below: str | None = "/", *, names: bool = True) -> None:
        """The power goes below a path, and is there again: what was not synced is forgotten. `names` False: names
        happened to reach the disk, bytes did not. `below` None: nothing is forgotten."""
        self._order("cut", below=below, names=names)

    def settle(self, path: Path) -> None:
        """Save one file, or an empty folder, and the way to it: what people dropped has been there for long."""
        self._order("settle", path=f"/{path.relative_to(self.mount)}")

    def tree(self, *, saved: bool = False) -> dict[str, str]:
        """Every file's path below the mount and SHA-256: as it is now, or as a cut would leave it."""
        found: dict[str, str] = self._order("tree", saved=saved)
        return {path.lstrip("/"): sha256 for path, sha256 in found.items()}

    def close(self) -> None:
        """Unmount it; once or more often. Whoever still waits for it is answered first."""
        if self._server.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                self._order("refuse")
        subprocess.run(["umount", "-l", str(self.mount)], check=False, capture_output=True)
        for pipe in (self._server.stdin, self._server.stdout):
            assert pipe is not None
            pipe.close()
        try:
            self._server.wait(5.0)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()

    def _order(self, do: str, **given: Any) -> Any:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        with self._talk:
            self._server.stdin.write(json.dumps({"do": do, **given}) + "\n")
            self._server.stdin.flush()
            answer = self._server.stdout.readline()
        return json.loads(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
