"""Delivery and filing as a daemon has them, and a power that goes at any of their steps."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from sqlalchemy import Connection
from structlog.testing import capture_logs

from renderdrop.delivery import chain as chain_module
from renderdrop.delivery import deliver as deliver_module
from renderdrop.delivery import file_away as file_away_module
from renderdrop.delivery.deliver import Deliver
from renderdrop.delivery.fetch import Fetch, Fetched
from renderdrop.delivery.file_away import FileAway
from renderdrop.ledger import moves
from renderdrop.ledger.adopt import adopt
from renderdrop.ledger.failpoints import Point
from renderdrop.ledger.store import Ledger
from renderdrop.model.arrival import Arrival
from renderdrop.model.errors import Fault
from renderdrop.model.ids import job_id
from renderdrop.model.job import Job, Outcome, Output, Role, Source
from renderdrop.model.lifecycle import State
from renderdrop.model.route import Route
from renderdrop.model.wishes import MATRIX, Wishes, label
from renderdrop.runtime.disk import Disk, Disks
from renderdrop.runtime.hands import Hands
from renderdrop.runtime.tasks import Tasks
from renderdrop.runtime.troubles import Troubles

if TYPE_CHECKING:
    from tests.conftest import Books, FakeClock

SOURCE = b"someone's work"
LONG_AGO = 1_600_000_000_000_000_000
STEPS = (
    "online", "stage", "publish", "write_staged", "unstage", "names_in", "has", "published", "owner", "withdraw",
    "archive", "remove", "take_told", "clear_folder", "copy_published",
)  # fmt: skip
"""Everything that touches the share; the ledger's commits are steps too."""


class Crash(RuntimeError):
    """The power went."""


class Power:
    """Goes at the n-th step, before or after it was done; counts the steps when it is never to go."""

    def __init__(self, at: int, after: bool) -> None:
        self.at, self.after, self.steps = at, after, 0

    def step(self) -> bool:
        """Off is off: nothing more happens until the restart."""
        self.steps += 1
        if 0 < self.at < self.steps:
            raise Crash
        return self.steps == self.at

    def around(self, deed: Callable[..., Any]) -> Callable[..., Any]:
        def done(*args: Any, **more: Any) -> Any:
            now = self.step()
            if now and not self.after:
                raise Crash
            result = deed(*args, **more)
            if now:
                raise Crash
            return result

        return done

    def writing(self, write: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def done(ledger: Ledger, deed: Callable[[Connection], Any], *, point: Point) -> Any:
            now = self.step()
            if now and not self.after:
                raise Crash
            result = await write(ledger, deed, point=point)
            if now:
                raise Crash
            return result

        return done

    def cut(self, patch: pytest.MonkeyPatch) -> None:
        for module in (deliver_module, file_away_module, chain_module):
            for name in STEPS:
                if hasattr(module, name):
                    patch.setattr(module, name, self.around(getattr(module, name)))
        patch.setattr(Ledger, "write", self.writing(Ledger.write))


class Fetching:
    """Stands in for the download: writes the staged file as the real one does."""

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.gains = False
        self.fetched: list[int] = []
        self.stopped = False

    async def output(self, disk: Disk, output: Output, path: Path, cap: int) -> Fetched:
        if self.fault is not None:
            raise self.fault
        self.fetched.append(output.position)
        data = House.rendered(output)
        await asyncio.to_thread(path.write_bytes, data)
        return Fetched(len(data), hashlib.sha256(data).hexdigest(), "image/png")

    def has_gained(self, folder: Path) -> bool:
        return self.gains

    def forget(self, folder: Path) -> None:
        pass


class House:
    """The two stages on some routes (`route` is the first), as a daemon has them; `again` is that daemon restarted."""

    SOURCE = SOURCE
    LONG_AGO = LONG_AGO

    def __init__(self, books: Books, clock: FakeClock, *routes: Route) -> None:
        self.books, self.clock, self.route, self.routes = books, clock, routes[0], routes
        self.fetch: Any = Fetching()
        self.tasks = Tasks()
        self.ended: list[int] = []
        self._arrived = 0
        self.again()

    def again(self) -> None:
        self.troubles = Troubles(self.books.ledger, self.clock)
        hands, disks = Hands(4, self.tasks, self.clock, "deliver"), Disks()
        self.deliver = Deliver(
            self.books.ledger, self.clock, self.troubles, cast(Fetch, self.fetch), hands, disks,
            lambda: self.ended.append(1),
        )  # fmt: skip
        filing = Hands(4, self.tasks, self.clock, "file")
        self.file_away = FileAway(self.books.ledger, self.clock, self.troubles, filing, disks)
        for stage in (self.deliver, self.file_away):
            stage.set_routes(self.routes)

    async def calm(self) -> None:
        """Until nothing is under way any more."""
        async with asyncio.timeout(20):
            while running := set(self.tasks._running):
                await asyncio.wait(running)
                await asyncio.sleep(0)

    async def rounds(self, count: int = 1) -> None:
        for _ in range(count):
            for stage in (self.deliver, self.file_away):
                self.tasks.start(stage.round(), "round")  # as a pulse does
                await self.calm()
            self.clock.run(60)

    async def interrupted(self, at: int, after: bool = True) -> Power:
        """One round in which the power goes after that step, or before it; then a restart, and as many rounds as it
        takes."""
        power = Power(at, after)
        with pytest.MonkeyPatch.context() as patch, capture_logs():
            power.cut(patch)
            await self.rounds()
        self.again()
        await self.rounds(3)
        return power

    async def job(
        self, state: State = State.RENDERED, path: str = "sub/肖像.png", outputs: int = 2, **changes: Any
    ) -> Job:
        self.drop(path)
        return await self.books.job(
            state, path, size=len(SOURCE), mtime_ns=LONG_AGO, route=self.route, outputs=outputs, **changes
        )

    def drop(self, path: str, data: bytes = SOURCE) -> Path:
        """A file in the inbox."""
        source = self.route.inbox / path
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_bytes(data)
        os.utime(source, ns=(LONG_AGO, LONG_AGO))
        return source

    async def arrive(
        self, *paths: str, bundle: str | None = None, states: Sequence[State] = (State.RENDERED,), outputs: int = 1
    ) -> list[Job]:
        """One arrival: its files dropped, and for each state a job (a matrix's, labelled seed-1, …, where several).
        Each file holds its own path, so that none can be mistaken for another."""
        at = self.clock.text()
        self._arrived += 1
        now = int(self.clock.now().timestamp() * 1000)
        ids = [job_id(now, self._arrived * 1000 + n) for n in range(len(states))]
        wishes = [Wishes().over({"seed": n}, MATRIX).with_(label=label({"seed": n})) for n in range(1, len(ids) + 1)]
        if len(ids) == 1:
            wishes = [Wishes()]
        sources: list[Source] = []
        for path in paths:
            self.drop(path, path.encode())
            role = Role.TICKET if "job.toml" in path else Role.TEXT if path.endswith(".txt") else Role.FILE
            sources.append(Source(f"in{len(sources)}", path, len(path.encode()), LONG_AGO, role=role))
        arrival = Arrival(tuple(zip(ids, wishes, strict=True)), tuple(sources), at, bundle=bundle)

        def make(c: Connection) -> None:
            assert adopt(c, at, self.route, [arrival])[0]
            for n, (new, state) in enumerate(zip(ids, states, strict=True), 1):
                self.bring(c, new, state, n, outputs)

        await self.books.ledger.write(make)
        return [await self.books.see(new) for new in ids]

    def bring(self, c: Connection, new: str, state: State, n: int = 1, outputs: int = 1) -> None:
        """A queued job to this state, by the moves that bring it there in earnest."""
        at = self.clock.text()
        if state is State.QUEUED:
            return
        if state in (State.FAILED, State.HELD):
            assert moves.move(c, new, State.QUEUED, state, at, "why", error=f"no face was found ({n})")
            return
        if state is State.CANCELLED:
            assert moves.cancel(c, new, State.QUEUED, at, "cancelled by a person")
            return
        number = moves.begin_submission(
            c, new, at, cluster="GPU-4090", note="", workflow_id="1234", version_id=None, params={"seed": n}, priority=0
        )
        assert number is not None
        moves.complete_body(c, number)
        moves.end_submission(c, number, at, Outcome.ACCEPTED, task_id=f"{230 + n}")
        assert moves.move(c, new, State.SUBMITTING, State.SUBMITTED, at, task_id=f"{230 + n}", submitted_at=at)
        if state is State.SUBMITTED:
            return
        rows = [Output(i, str(9 + i), "Save Image", f"http://platform/{n}-{i}.png") for i in range(outputs)]
        moves.set_results(c, new, rows, ())
        assert moves.move(c, new, State.SUBMITTED, State.RENDERED, at, paid=True, finished_at=at)

    @staticmethod
    def rendered(output: Output) -> bytes:
        return f"rendered {output.position} of {output.url}".encode()

    @staticmethod
    def files(root: Path) -> dict[str, bytes]:
        return {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in sorted(root.rglob("*"))
            if path.is_file() and path.name != ".renderdrop"
        }

    @staticmethod
    def folders(root: Path) -> list[str]:
        """Folders below a root, the daemon's own left out."""
        found = (path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_dir())
        return [path for path in found if not path.startswith(".renderdrop")]

    @property
    def staged(self) -> list[str]:
        """What lies in the staging of every route."""
        return [path.name for route in self.routes for path in (route.outbox / ".renderdrop").iterdir()]


@pytest.fixture
def open_house(books: Books, clock: FakeClock) -> Callable[..., House]:
    """A house on these routes, whose folders are there."""

    def build(*routes: Route) -> House:
        return House(books, clock, *routes)

    return build


@pytest.fixture
async def house(books: Books, clock: FakeClock, route: Route) -> AsyncIterator[House]:
    made = House(books, clock, route)
    yield made
    await made.tasks.stop(0.0)
