"""Fetching a job's outputs into staging, whole and on disk.

Owns the transfers under way, so that a broken one goes on where it stopped as long as this process lives.
It never writes anywhere but below the outbox's `.renderdrop/<job>/`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from renderdrop.model.errors import PlatformDown, Temporary
from renderdrop.model.job import Output
from renderdrop.platform.client import Client, origin
from renderdrop.platform.results import Transfer
from renderdrop.runtime.clock import Clock
from renderdrop.share.staged import StagedFile


@dataclass(frozen=True, slots=True)
class Fetched:
    """What arrived: bytes, hash and the media type that the server named."""

    size: int
    sha256: str
    media_type: str | None


class _Staging:
    """The sink of a transfer: the disk and the hash are waited for in a thread."""

    def __init__(self, file: StagedFile, stopping: Callable[[], bool]) -> None:
        self._file = file
        self._stopping = stopping

    @property
    def size(self) -> int:
        return self._file.size

    async def write(self, chunk: bytes) -> None:
        if self._stopping():
            raise Temporary("the daemon is ending; the download is made after the next start")
        await asyncio.to_thread(self._file.append, chunk)

    async def restart(self) -> None:
        await asyncio.to_thread(self._file.restart)


class Fetch:
    """Downloads. Keeps what is needed to go on with a broken one, by its place in staging."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._begun: dict[Path, tuple[Transfer, StagedFile]] = {}
        self.stopped = False

    async def output(self, output: Output, path: Path, cap: int) -> Fetched:
        """Fetch one output to `path`. Raises Temporary, PlatformDown, Undeliverable or ShareOffline."""
        if path not in self._begun or self._begun[path][0].url != output.url:
            self._begun[path] = (Transfer(output.url, cap), StagedFile(path))
        transfer, file = self._begun[path]
        await asyncio.to_thread(file.open)
        try:
            await transfer.pull(self._client, _Staging(file, lambda: self.stopped), self._clock.now())
            sha256 = await asyncio.to_thread(file.finish)
        except PlatformDown as fault:
            if origin(output.url) != origin(self._client.base_url):
                raise Temporary(f"the host that has the output: {fault.sentence}") from fault
            raise
        finally:
            await asyncio.to_thread(file.close)
        del self._begun[path]
        return Fetched(file.size, sha256, transfer.media_type)

    def forget(self, folder: Path) -> None:
        """The job's downloads are over, however they ended."""
        self._begun = {path: begun for path, begun in self._begun.items() if path.parent != folder}
