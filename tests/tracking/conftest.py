"""A tracker on a platform that answers what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from renderdrop.model.errors import Fault
from renderdrop.model.job import Job, Output, Remark
from renderdrop.model.lifecycle import State
from renderdrop.platform.client import Client
from renderdrop.platform.reports import Report, Status
from renderdrop.runtime.budget import Budget
from renderdrop.runtime.tasks import Tasks
from renderdrop.runtime.troubles import Troubles
from renderdrop.tracking import track
from renderdrop.tracking.track import Track

if TYPE_CHECKING:
    from tests.conftest import Books, FakeClock

OUT = Output(0, "9", "Save", "http://platform/a.png")


def report(
    status: Status = "running", progress: float | None = None, node: str | None = None,
    outputs: tuple[Output, ...] = (), remarks: tuple[Remark, ...] = (), strange: tuple[str, ...] = (),
) -> Report:  # fmt: skip
    return Report(status, progress, node, outputs, remarks, strange)


class Followed:
    """A tracker on a platform that answers what a test says, and a clock that a test lets run."""

    def __init__(self, books: Books, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.books = books
        self.clock = clock
        self.answer: Report | Fault | Callable[[str], Any] = report()
        self.asked: list[str] = []
        self.woken: list[str] = []
        self.tasks = Tasks()
        self.troubles = Troubles(books.ledger, clock)
        self.budget = Budget(1000, clock.at)
        client = Client("http://127.0.0.1:1", SecretStr("AI-x"))
        self.track = Track(
            client, books.ledger, clock, self.troubles, self.budget, self.tasks,
            lambda: self.woken.append("rendered"), lambda: self.woken.append("requeued"),
            lambda: self.woken.append("ended"),
        )  # fmt: skip
        self.track.set_routes((books.route,))
        monkeypatch.setattr(track, "ASK", dict.fromkeys(("app", "graph", "model"), self.ask))

    async def ask(self, _: Client, task: str, __: object) -> Report:
        self.asked.append(task)
        answer = self.answer
        if callable(answer):
            answer = await answer(task)
        if isinstance(answer, Fault):
            raise answer
        return answer

    async def look(self, answer: Report | Fault | None = None, after: float = 40.0) -> None:
        """Time passes, one look at everything that is due is made to its end."""
        if answer is not None:
            self.answer = answer
        self.clock.run(after)
        await self.track.tick()
        async with asyncio.timeout(10):
            while polls := set(self.tasks._running):  # of this tick
                await asyncio.wait(polls)
                await asyncio.sleep(0)

    async def job(self, *path: str, **changes: Any) -> Job:
        made = await self.books.job(State.SUBMITTED, *path, **changes)
        await self.track.take_up()
        return made


@pytest.fixture
async def followed(books: Books, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Followed]:
    made = Followed(books, clock, monkeypatch)
    yield made
    await made.tasks.stop(0.0)
