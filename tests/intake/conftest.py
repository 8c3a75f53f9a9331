"""An inbox with real files whose clock runs when a test says so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from renderdrop.intake.inbox import Inbox
from renderdrop.model.job import Job
from renderdrop.model.lifecycle import State
from renderdrop.model.route import Route
from renderdrop.runtime.disk import Disks
from renderdrop.share.ignore import Ignore
from renderdrop.share.marker import Folders, prepare

if TYPE_CHECKING:
    from tests.conftest import Books, FakeClock

SETTLE = 2.0


class Watched:
    """An inbox and what a test does to it."""

    def __init__(
        self, books: Books, clock: FakeClock, route: Route, ignore: Sequence[str] = (), ticket_wait: float = 0.0
    ) -> None:  # fmt: skip
        self.books, self.clock, self.route, self.root = books, clock, route, route.inbox
        self.ignore, self.ticket_wait = ignore, ticket_wait
        self.restart()

    def restart(self) -> None:
        """A new process knows nothing but the ledger and the folder."""
        self.inbox = Inbox(
            self.route, self.books.ledger, self.clock, Disks(), Ignore(self.ignore), SETTLE, leases=True,
            ticket_wait=self.ticket_wait, routes={self.route.name: self.route},
        )  # fmt: skip

    def drop(self, name: str, data: bytes | str = b"picture") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    async def settle(self, seconds: float = 3 * SETTLE) -> int:
        """Sweep, then look every quarter of a second for so long; returns the number of new jobs."""
        await self.inbox.sweep()
        return await self.look(seconds)

    async def look(self, seconds: float) -> int:
        """Look every quarter of a second for so long."""
        taken = 0
        for _ in range(int(seconds * 4)):
            self.clock.run(0.25)
            taken += await self.inbox.look()
        return taken

    async def all(self) -> list[Job]:
        return await self.books.all()

    async def one(self) -> Job:
        [job] = await self.books.all()
        return job

    async def jobs(self) -> dict[str, State]:
        return {job.source.path: job.state for job in await self.books.all()}


class Watch(Protocol):
    """Makes an inbox for a route."""

    def __call__(self, route: Route, **more: Any) -> Watched: ...


@pytest.fixture
def watch(books: Books, clock: FakeClock) -> Watch:
    def make(route: Route, **more: Any) -> Watched:
        for folder in (route.inbox, route.outbox, route.done, route.failed):
            folder.mkdir(parents=True, exist_ok=True)
        prepare(Folders(route.inbox, route.outbox, route.done, route.failed), seen=False)
        return Watched(books, clock, route, **more)

    return make


@pytest.fixture
def watched(watch: Watch, route: Route) -> Watched:
    return watch(route)
