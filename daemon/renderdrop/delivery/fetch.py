"""Fetching a job's outputs into staging, whole and on disk.

Owns the transfers under way, so that a broken one goes on where it stopped as long as this process lives.
It never writes anywhere but below the outbox's `.renderdrop/<job>/`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from renderdrop.model.errors import PlatformDown, Temporary
from renderdrop.model.job import Output
from renderdrop.platform.client import Client, origin
from renderdrop.platform.results import CHUNK, Transfer
from renderdrop.runtime.clock import Clock
from renderdrop.runtime.disk import Disk
from renderdrop.share.staged import StagedFile


@dataclass(frozen=True, slots=True)
class Fetched:
    """What arrived: bytes, hash and the media type that the server named."""

    size: int
    sha256: str
    media_type: str | None


class _Staging:
    """The sink of a transfer: the disk and the hash are waited for in a thread."""

    def __init__(self, file: StagedFile, disk: Disk, stopping: Callable[[], bool]) -> None:
        self._disk = disk
        self._file = file
        self._stopping = stopping

    @property
    def size(self) -> int:
        return self._file.size

    async def write(self, chunk: bytes) -> None:
        if self._stopping():
            raise Temporary("the daemon is ending; the download is made after the next start")
        await self._disk(self._file.append, chunk)

    async def restart(self) -> None:
        await self._disk(self._file.restart)


class Fetch:
    """Downloads. Keeps what is needed to go on with a broken one, by its place in staging."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._begun: dict[Path, tuple[Transfer, StagedFile]] = {}
        self._most: dict[Path, int] = {}
        self.stopped = False

    async def output(self, disk: Disk, output: Output, path: Path, cap: int) -> Fetched:
        """Fetch one output to `path`, on `disk`. Raises Temporary, PlatformDown, Undeliverable or ShareOffline."""
        if path not in self._begun or self._begun[path][0].url != output.url:
            self._begun[path] = (Transfer(output.url, cap), StagedFile(path))
        transfer, file = self._begun[path]
        try:
            await disk(file.open)
            await transfer.pull(self._client, _Staging(file, disk, lambda: self.stopped), self._clock.now())
            sha256 = await disk(file.finish, size=file.size)
        except PlatformDown as fault:
            if origin(output.url) != origin(self._client.base_url):
                raise Temporary(f"the host that has the output: {fault.sentence}") from fault
            raise
        finally:
            await disk.close(file.close)
        del self._begun[path]
        return Fetched(file.size, sha256, transfer.media_type)

    def has_gained(self, folder: Path) -> bool:
        """Whether a broken download into this folder holds a chunk more than ever before when this was asked: a line
        that breaks again and again may still bring all of it."""
        held = {path: file.size for path, (_, file) in self._begun.items() if path.parent == folder}
        gained = {path: size for path, size in held.items() if size >= self._most.get(path, 0) + CHUNK}
        self._most |= gained
        return bool(gained)

    def forget(self, folder: Path) -> None:
        """The job's downloads are over, however they ended."""
        self._most = {path: size for path, size in self._most.items() if path.parent != folder}
        self._begun = {path: begun for path, begun in self._begun.items() if path.parent != folder}
