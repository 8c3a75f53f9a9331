"""Pictures of model routes, put where the platform can fetch them, and taken away when they are not needed any more.

Owns the order: the intent is in the ledger before an object exists, and the row goes only when the object has gone. So
nothing that was dropped on a share stays on the internet for having been forgotten. Addresses are signed and expire;
they are written nowhere.
"""

import asyncio
import io
from functools import partial

import structlog

from renderdrop.dispatch.upload import CHUNK, Upload
from renderdrop.ledger import moves, queries
from renderdrop.ledger.store import Ledger
from renderdrop.model.errors import StoreDown
from renderdrop.model.job import Job
from renderdrop.model.media import media_type
from renderdrop.model.names import clean, split_ext
from renderdrop.model.route import Publish, Route
from renderdrop.platform.store import Store

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
        await self._ledger.write(
            partial(moves.will_publish, job_id=job.id, route=route.name, key=key), point="to_publish"
        )
        await upload.digest()
        self._putting.add(key)
        try:
            await asyncio.to_thread(store.put, key, _Reader(upload), upload.size, media_type(upload.name))
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
            await self._ledger.write(partial(moves.unpublished, key=key), point="unpublished")
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
    """An open source as the store's client reads it, in a thread of its own; every look at the share goes its usual
    way, so that a share that hangs is not taken for a slow store."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self._loop = asyncio.get_running_loop()
        self._at = 0
        self._block, self._block_at = b"", 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._upload.size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        wanted = self._upload.size - self._at if size < 0 else size
        pieces = []
        while wanted > 0 and (piece := self._piece(wanted)):
            pieces.append(piece)
            wanted -= len(piece)
            self._at += len(piece)
        return b"".join(pieces)

    def _piece(self, most: int) -> bytes:
        """What comes next, out of the block at hand or the next one: the client asks for a few kilobytes at a time."""
        if not self._block_at <= self._at < self._block_at + len(self._block):
            read = self._upload.disk(self._upload.file.read, self._at, CHUNK)
            self._block = asyncio.run_coroutine_threadsafe(read, self._loop).result()
            self._block_at = self._at
        begin = self._at - self._block_at
        return self._block[begin : begin + most]
