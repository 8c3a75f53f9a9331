"""The whole of dispatch on one route, as a daemon has it, in front of a platform that a test plays."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from pydantic import SecretStr

from renderdrop.dispatch.choose import ClusterView, Situation
from renderdrop.dispatch.dispatch import Dispatch
from renderdrop.dispatch.farm import Farm
from renderdrop.dispatch.graphs import Graphs
from renderdrop.dispatch.kinds import Kinds
from renderdrop.dispatch.publish import Publisher
from renderdrop.dispatch.rescue import Rescue
from renderdrop.dispatch.same import Same
from renderdrop.dispatch.submit import Submit
from renderdrop.ledger.adopt import adopt
from renderdrop.model.arrival import Arrival
from renderdrop.model.errors import Fault
from renderdrop.model.ids import job_id
from renderdrop.model.job import Job, Role, Source
from renderdrop.model.lifecycle import State
from renderdrop.model.route import Route
from renderdrop.model.wishes import Wishes
from renderdrop.platform import apps, models
from renderdrop.platform.client import Client
from renderdrop.runtime.budget import Budget
from renderdrop.runtime.disk import Disks
from renderdrop.runtime.hands import Hands
from renderdrop.runtime.tasks import Tasks
from renderdrop.runtime.troubles import Troubles

if TYPE_CHECKING:
    from tests.conftest import Books, FakeClock

BeforeLast = Callable[[], Awaitable[None]]


@dataclass
class Asked:
    """A request that reached the platform whole: for apps `files` by input (name, bytes), for models `body`."""

    workflow: str = ""
    cluster: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)


class AnyCluster:
    """A farm where there is always room; counts who asked."""

    every = 10.0

    def __init__(self) -> None:
        self.asked = 0
        self.resting: frozenset[str] = frozenset()
        self.left: list[str] = []
        self.blamed: list[str] = []
        self.wrong: str | None = None

    async def situation(self, allowed: tuple[str, ...]) -> Situation:
        self.asked += 1
        return Situation(allowed, {name: ClusterView(0, 10, 0) for name in allowed}, self.resting)

    async def refresh(self) -> None:
        self.asked += 1

    def leave_alone(self, cluster: str) -> None:
        self.blamed.append(cluster)

    def tried(self, cluster: str) -> None:
        pass

    def accepted(self, cluster: str) -> None:
        pass

    def left_behind(self, cluster: str, job: str) -> None:
        self.left.append(cluster)

    async def astray(self) -> str | None:
        return self.wrong


class Yard:
    """Dispatch on `route`, on a platform that accepts everything unless `answers` says otherwise."""

    def __init__(self, books: Books, clock: FakeClock, route: Route, base_url: str) -> None:
        self.books, self.clock = books, clock
        self.asked: list[Asked] = []
        self.answers: list[Fault | str] = []
        self.meanwhile: Callable[[], Any] = lambda: None
        """Happens while a request is on its way, before its last byte."""
        self.woken: list[str] = []
        self.tasks = Tasks()
        self.client = Client(base_url, SecretStr("AI-sandbox"))
        self.farm = AnyCluster()
        self._number = 5000
        self.again(route)

    def again(self, route: Route) -> None:
        """The daemon restarted, with this route."""
        self.route = route
        ledger, clock = self.books.ledger, self.clock
        self.troubles = Troubles(ledger, clock)
        self.hands, disks = Hands(4, self.tasks, clock, "submit"), Disks()
        self.publisher = Publisher(ledger)
        graphs = Graphs(disks)
        self.same = Same(ledger, graphs, disks)
        farm = cast(Farm, self.farm)
        kinds = Kinds(self.client, ledger, clock, graphs, self.publisher)
        self.submit = Submit(
            kinds, ledger, clock, self.troubles, farm, self.hands, lambda: self.woken.append("submitted"),
            lambda: self.woken.append("ended"),
        )  # fmt: skip
        self.rescue = Rescue(self.client, ledger, clock, Budget(1000, clock.at))
        self.dispatch = Dispatch(
            ledger, clock, self.troubles, farm, self.same, self.rescue, self.submit, self.hands, disks,
            lambda: self.woken.append("submitted"), lambda: self.woken.append("shared"),
            lambda: self.woken.append("ended"),
        )  # fmt: skip
        self.use(route)

    def use(self, route: Route) -> None:
        """Settings that were reloaded."""
        self.route = route
        self.dispatch.set_routes((route,))
        self.publisher.set_routes((route,))

    async def run_app(self, _: Client, request: apps.Request, before_last: BeforeLast, __: datetime) -> str:
        files = {}
        for part in request.files:
            files[part.name] = (part.filename, b"".join([chunk async for chunk in part.chunks()]))
        self.meanwhile()
        await before_last()
        return self._take(Asked(request.workflow_id, request.cluster, dict(request.params), files))

    async def run_model(
        self, _: Client, provider: str, model: str, type: str, params: Mapping[str, Any], before_last: BeforeLast,
        __: datetime,
    ) -> str:  # fmt: skip
        self.meanwhile()
        await before_last()
        return self._take(Asked(f"{provider}/{model}/{type}", "", dict(params)))

    def _take(self, asked: Asked) -> str:
        answer = self.answers.pop(0) if self.answers else str(230 + len(self.asked))
        if isinstance(answer, Fault):
            raise answer
        self.asked.append(asked)
        return answer

    def drop(self, path: str, data: bytes) -> Path:
        file = self.route.inbox / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return file

    async def job(
        self, files: Mapping[str, tuple[str, bytes]] | None = None, *, wishes: Wishes | None = None,
        text: tuple[str, bytes] | None = None, ticket: tuple[str, bytes] | None = None, priority: int | None = None,
    ) -> Job:  # fmt: skip
        """Dropped files (by input: path and content) as a queued job."""
        sources = []
        dropped = [(name, *file, Role.FILE) for name, file in (files or {}).items()]
        dropped += [("prompt", *text, Role.TEXT)] if text else []
        dropped += [("", *ticket, Role.TICKET)] if ticket else []
        for name, path, data, role in dropped:
            stat = self.drop(path, data).stat()
            sources.append(Source(name, path, stat.st_size, stat.st_mtime_ns, role=role))
        self._number += 1
        new = job_id(int(self.clock.now().timestamp() * 1000), self._number)
        at = self.clock.text()
        arrival = Arrival(((new, wishes or Wishes()),), tuple(sources), at, priority=priority)
        await self.books.ledger.write(lambda c: adopt(c, at, self.route, [arrival]))
        return await self.books.see(new)

    async def picture(self, path: str = "a.png", data: bytes = b"abc", wishes: Wishes | None = None) -> Job:
        return await self.job({"input_image": (path, data)}, wishes=wishes)

    async def rounds(self, count: int = 1, apart: float = 10.0) -> None:
        for _ in range(count):
            await self.dispatch.round()
            async with asyncio.timeout(20):
                while running := set(self.tasks._running):
                    await asyncio.wait(running)
                    await asyncio.sleep(0)
            await self.publisher.round()
            self.clock.run(apart)

    async def state(self, job: Job) -> State:
        return (await self.books.see(job)).state


def open_files() -> set[str]:
    """What this process has open below a test's folder."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            pass
    return {path for path in found if "/inbox/" in path or "/refs/" in path}


@pytest.fixture
def still_open() -> Callable[[], set[str]]:
    return open_files


@pytest.fixture
def new_yard(books: Books, clock: FakeClock) -> Callable[[Route, str], Yard]:
    """A yard that talks to a platform at this address."""

    def build(route: Route, base_url: str) -> Yard:
        return Yard(books, clock, route, base_url)

    return build


@pytest.fixture
async def yard(
    books: Books, clock: FakeClock, route: Route, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Yard]:  # fmt: skip
    made = Yard(books, clock, route, "http://127.0.0.1:1")
    monkeypatch.setattr(apps, "run", made.run_app)
    monkeypatch.setattr(models, "submit", made.run_model)
    yield made
    await made.tasks.stop(0.0)
    await made.client.close()
