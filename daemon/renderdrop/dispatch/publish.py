"""Pictures of model routes, put where the platform can fetch them, and taken away when they are not needed any more.

Owns the order: the intent is in the ledger before an object exists, and the row goes only when the object has gone. So
nothing that was dropped on a share stays on the internet for having been forgotten. Addresses are signed and expire;
they are written nowhere.
"""

import asyncio
import io
from functools import partial

import structlog

from renderdrop.dispatch.upload import Upload
from renderdrop.ledger import moves, queries
from renderdrop.ledger.store import Ledger
from renderdrop.model.errors import StoreDown
from renderdrop.model.job import Job
from renderdrop.model.media import media_type
from renderdrop.model.names import clean, split_ext
from renderdrop.model.route import Publish, Route
from renderdrop.platform.store import Store
from renderdrop.share.source import SourceFile

log = structlog.get_logger()


class Publisher:
    """The stores of all routes."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._routes: dict[str, Route] = {}
        self._stores: dict[Publish, Store] = {}
        self._troubled: set[str] = set()
        self._putting: set[str] = set()
        """Keys of objects on their way: their rows stay, even if their jobs end before they exist."""
        self.stopped = False

    def set_routes(self, routes: tuple[Route, ...]) -> None:
        """The routes whose objects are removed from now on."""
        self._routes = {route.name: route for route in routes}
        self._troubled.clear()

    async def publish(self, route: Route, job: Job, number: int, upload: Upload) -> str:
        """Put a file on the route's store; returns the address under which anybody may fetch it for a while.

        Raises RouteDown, SourceChanged, ShareOffline or Stopping.
        """
        assert route.publish is not None  # `Kinds.ready` has looked
        store = self._store(route.publish)
        key = f"{route.publish.prefix}{job.id}/{number}-{clean(upload.input, 'input')}{split_ext(upload.filename)[1]}"
        await self._ledger.write(partial(moves.will_publish, job_id=job.id, route=route.name, key=key))
        await upload.digest()
        self._putting.add(key)
        try:
            await asyncio.to_thread(store.put, key, _Reader(upload.file), upload.size, media_type(upload.name))
        finally:
            self._putting.discard(key)
        await upload.check()
        return await asyncio.to_thread(store.url, key, route.publish.expires)

    async def round(self) -> None:
        """Remove what no task needs any more."""
        if self.stopped:
            return
        for name, key in await self._ledger.read(queries.to_unpublish):
            if key in self._putting:
                continue
            route = self._routes.get(name)
            if route is None or route.publish is None:
                if name not in self._troubled:
                    log.warning("unpublish_waits", route=name, reason="the route or its `publish` is not set any more")
                    self._troubled.add(name)
                continue
            try:
                await asyncio.to_thread(self._store(route.publish).remove, key)
            except StoreDown as fault:
                if name not in self._troubled:
                    log.warning("unpublish_waits", route=name, reason=fault.sentence)
                    self._troubled.add(name)
                continue
            self._troubled.discard(name)
            await self._ledger.write(partial(moves.unpublished, key=key))
            log.info("unpublished", route=name, key=key)

    async def work_left(self) -> bool:
        """Whether objects are left that can be removed now."""
        left = await self._ledger.read(queries.to_unpublish)
        return any(name not in self._troubled for name, _ in left)

    def _store(self, publish: Publish) -> Store:
        if publish not in self._stores:
            self._stores[publish] = Store(publish.bucket, publish.endpoint, publish.region, publish.addressing)
        return self._stores[publish]


class _Reader(io.RawIOBase):
    """An open source as the store's client reads it. Lives in its thread alone."""

    def __init__(self, file: SourceFile) -> None:
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(self._at, self._file.size - self._at if size < 0 else size)
        self._at += len(data)
        return data
