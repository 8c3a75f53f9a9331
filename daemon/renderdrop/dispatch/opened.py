"""All the files of one job, open at once: what is sent is what settled, all of it or nothing.

Owns that every source is held by a descriptor from the first byte to the last, tickets and texts too: a job whose
ticket was changed meanwhile is not the job that was accepted. Constants of the route are opened along with them.
"""

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from types import TracebackType
from typing import Self

from renderdrop.dispatch.upload import Upload
from renderdrop.model.errors import RouteDown, SourceChanged
from renderdrop.model.job import Constant, Job, Role, Source
from renderdrop.model.names import shown
from renderdrop.model.route import Route
from renderdrop.runtime.disk import Disk
from renderdrop.share.own import open_own
from renderdrop.share.source import SourceFile, open_source


class Opened:
    """A job's files: `sources` and `constants` are sent, the others are only held."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.sources: list[Upload] = []
        self.constants: list[Upload] = []
        self._others: list[tuple[Source, SourceFile]] = []
        self._paths: list[str] = []
        self._all = ExitStack()

    @classmethod
    def of(cls, disk: Disk, route: Route, job: Job, stopping: Callable[[], bool]) -> Self:
        """Open them, to be read by way of `disk`. Blocks.

        Raises SourceGone, SourceChanged, NotTakeable, ShareOffline, RouteDown."""
        opened = cls(disk)
        try:
            for source in job.sources:
                file = opened._all.enter_context(open_source(route.inbox, source.path))
                if (file.size, file.mtime_ns) != (source.size, source.mtime_ns):
                    raise SourceChanged(f"{shown(source.path.rpartition('/')[2])} is not the file that settled")
                if source.role is Role.FILE:
                    opened.sources.append(Upload(source.input, source.path.rpartition("/")[2], file, disk, stopping))
                    opened._paths.append(source.path)
                else:
                    opened._others.append((source, file))
            for name, path in route.constants.items():
                # The operator's own file, caught while it is saved anew: no reason to let the sources go.
                own = opened._all.enter_context(open_own(path))
                opened.constants.append(Upload(name, path.name, own, disk, stopping, RouteDown))
        except BaseException:
            opened._all.close()
            raise
        return opened

    @property
    def uploads(self) -> list[Upload]:
        """Every file that is sent."""
        return [*self.sources, *self.constants]

    def being_written(self) -> bool:
        """Whether a writer has any of the sources open. Blocks."""
        files = [*(u.file for u in self.sources), *(file for _, file in self._others)]
        return any(file.being_written() for file in files)

    async def check(self) -> None:
        """The last look at all of them. Raises SourceChanged, ShareOffline, RouteDown or Stopping."""
        for upload in self.uploads:
            await upload.check()
        for source, file in self._others:
            if not await self._disk(file.unchanged):
                raise SourceChanged(f"{shown(source.path.rpartition('/')[2])} was changed before its job was sent")

    async def digests(self) -> dict[str, str]:
        """SHA-256 by path, of the sources that were read; texts and tickets are small and read now."""
        found = {path: upload.sha256 for path, upload in zip(self._paths, self.sources, strict=True)}
        for source, file in self._others:
            data = await self._disk(file.read, 0, source.size)
            found[source.path] = hashlib.sha256(data).hexdigest()
        return found

    def constants_sent(self) -> tuple[Constant, ...]:
        """What the sidecar tells of the constants, once they were read."""
        return tuple(Constant(c.input, c.name, c.size, c.sha256) for c in self.constants)

    def close(self) -> None:
        """Once or more often."""
        self._all.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


@asynccontextmanager
async def opened(disk: Disk, route: Route, job: Job, stopping: Callable[[], bool]) -> AsyncIterator[Opened]:
    """A job's files, closed at the end, without waiting for a share that is silent. Raises what `Opened.of` does."""
    files = await disk(Opened.of, disk, route, job, stopping, late=Opened.close)
    try:
        yield files
    finally:
        await disk.close(files.close)
