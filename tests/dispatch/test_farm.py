"""The clusters as a daemon knows them: what it begins with and writes down, and a platform that has too many calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from renderdrop.dispatch.farm import Farm
from renderdrop.ledger import moves, seen
from renderdrop.ledger.seen import Figures, Status
from renderdrop.model.errors import Busy, Fault, LedgerBroken, Temporary
from renderdrop.model.job import Outcome
from renderdrop.model.lifecycle import State
from renderdrop.platform import clusters
from renderdrop.platform.client import Client
from renderdrop.platform.clusters import ClusterStatus
from renderdrop.runtime.budget import Budget
from renderdrop.runtime.tasks import Tasks

if TYPE_CHECKING:
    from tests.conftest import Books, FakeClock

ALLOWED = ("GPU-4090", "GPU-A800")


class Land:
    """A farm on a platform that tells `told` (or raises it)."""

    def __init__(self, books: Books, clock: FakeClock) -> None:
        self.books, self.clock = books, clock
        self.told: list[ClusterStatus] | Fault = [ClusterStatus("GPU-4090", "x", 2, 22)]
        self.tasks = Tasks()
        self.client = Client("http://127.0.0.1:1", SecretStr("AI-x"))
        self.again()

    def again(self) -> None:
        """The daemon starts."""
        self.budget = Budget(1000.0, self.clock.monotonic())
        self.farm = Farm(self.client, self.books.ledger, self.clock, self.budget, self.tasks, 10.0)

    async def active(self, _: Client, __: datetime) -> tuple[ClusterStatus, ...]:
        if isinstance(self.told, Fault):
            raise self.told
        return tuple(self.told)

    async def written(self) -> Status | None:
        """What the ledger has, once all is written."""
        async with asyncio.timeout(20):
            while running := set(self.tasks._running):
                await asyncio.wait(running)
        return await self.books.ledger.read(seen.last_seen)


@pytest.fixture
async def land(books: Books, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Land]:
    made = Land(books, clock)
    monkeypatch.setattr(clusters, "active", made.active)
    yield made
    await made.tasks.stop(0.0)
    await made.client.close()


async def test_what_a_choice_saw_is_written_down(land: Land) -> None:
    await land.farm.refresh()
    assert await land.written() is None  # nobody chose
    await land.farm.situation(ALLOWED)
    assert await land.written() == Status({"GPU-4090": Figures(2, 22)}, land.clock.text())


async def test_figures_are_written_when_they_change_or_after_a_minute_and_never_in_a_row(land: Land) -> None:
    at = []
    for n in range(40):
        # They change in the first ten looks only.
        land.told = [ClusterStatus("GPU-4090", "x", min(n, 10), 22)]
        await land.farm.situation(ALLOWED)
        status = await land.written()
        assert status is not None
        at.append(datetime.fromisoformat(status.at))
        land.clock.run(10)
    apart = [(b - a).total_seconds() for a, b in pairwise(at) if a != b]
    assert apart[:3] == [30, 30, 30]
    assert apart[4:] == [60] * len(apart[4:])
    assert len(apart) < 10


async def test_a_ceiling_that_cannot_be_told_now_is_the_last_one_even_after_a_restart(land: Land) -> None:
    await land.farm.situation(ALLOWED)
    await land.written()
    land.again()
    land.told = [ClusterStatus("GPU-4090", "x", 3, None), ClusterStatus("GPU-A800", "x", 0, None)]
    found = await land.farm.situation(ALLOWED)
    assert [(view.nodes, view.ceiling) for view in found.active.values()] == [(3, 22), (0, None)]


async def test_a_cluster_that_refused_is_left_alone_after_a_restart_too(land: Land) -> None:
    job = await land.books.job(State.SUBMITTING)
    number = job.submissions[-1].id
    at = land.clock.text()
    await land.books.ledger.write(lambda c: moves.end_submission(c, number, at, Outcome.REFUSED, "no"))
    land.clock.run(20)
    land.again()
    assert (await land.farm.situation(ALLOWED)).resting == {"GPU-4090"}
    land.clock.run(15)
    assert (await land.farm.situation(ALLOWED)).resting == set()


async def test_tasks_that_fail_while_it_runs_have_their_cluster_left_alone(land: Land) -> None:
    await land.farm.situation(ALLOWED)
    for n in range(3):
        await land.books.job(State.RENDERED, f"{n}.png", paid=False)
    land.clock.run(20)
    assert (await land.farm.situation(ALLOWED)).resting == {"GPU-4090"}


@pytest.mark.parametrize("restart", [True, False])
async def test_tasks_that_fail_after_the_clock_was_set_back_count_all_the_same(restart: bool, land: Land) -> None:
    await land.books.job(State.DELIVERED, "before.png")
    await land.farm.situation(ALLOWED)
    land.clock.wall -= timedelta(hours=3)
    if restart:
        land.again()
        await land.farm.situation(ALLOWED)
    for n in range(3):
        land.clock.run(5)
        await land.books.job(State.RENDERED, f"{n}.png", paid=False)
    assert (await land.farm.situation(ALLOWED)).resting == {"GPU-4090"}
    land.clock.run(61)
    assert (await land.farm.situation(ALLOWED)).resting == set()  # nor does one count twice
    land.clock.run(20)
    assert (await land.farm.situation(ALLOWED)).resting == set()


async def test_a_ledger_that_cannot_be_written_ends_nothing_here(land: Land, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise LedgerBroken("it is gone")

    monkeypatch.setattr(land.books.ledger, "write", broken)
    assert (await land.farm.situation(ALLOWED)).active
    assert await land.written() is None


async def test_writing_keeps_no_choice_waiting(land: Land, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, room = [], asyncio.Event()

    async def full(*_: object, point: str) -> None:
        asked.append(point)
        await room.wait()

    monkeypatch.setattr(land.books.ledger, "write", full)
    for n in range(9):
        land.told = [ClusterStatus("GPU-4090", "x", n, 22)]
        assert (await land.farm.situation(ALLOWED)).active["GPU-4090"].nodes == n
        await asyncio.sleep(0)
        land.clock.run(60)
    assert asked == ["clusters_seen"]
    room.set()


@pytest.mark.parametrize(("fault", "pace"), [(Busy("too many", 3.0), 500), (Temporary("a 502"), 1000)])
async def test_too_many_calls_halve_the_pace(land: Land, fault: Temporary, pace: float) -> None:
    land.told = fault
    with pytest.raises(Temporary):
        await land.farm.refresh()
    assert land.budget.pace == pytest.approx(pace, rel=0.01)
    assert land.budget.take(land.clock.monotonic()) is (pace == 1000)
