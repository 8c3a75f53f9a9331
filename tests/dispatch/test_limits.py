"""What keeps jobs from being sent although all is well, through the whole of dispatch: not one more, and until when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from renderdrop.dispatch.choose import Situation
from renderdrop.dispatch.limits import Limits
from renderdrop.ledger import moves, quota
from renderdrop.model.errors import Refused, Unknown
from renderdrop.model.hours import hours
from renderdrop.model.lifecycle import State
from renderdrop.model.route import Route
from renderdrop.settings.keys import Dispatch

if TYPE_CHECKING:
    from tests.conftest import Books, FakeClock
    from tests.dispatch.conftest import Yard

SHANGHAI = ZoneInfo("Asia/Shanghai")
HOUR = 3600.0


@pytest.fixture(autouse=True)
def in_shanghai(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is 22:18 there."""
    monkeypatch.setattr(clock, "local", lambda at: at.astimezone(SHANGHAI))


def limited(yard: Yard, make_route: Callable[..., Route], **limits: Any) -> None:
    yard.use(make_route(**limits))


async def drop(yard: Yard, number: int, name: str = "") -> None:
    for n in range(number):
        await yard.picture(f"{name}{n}.png")


async def test_outside_the_hours_nothing_is_sent_and_the_log_tells_it_once(
    yard: Yard, make_route: Callable[..., Route], clock: FakeClock
) -> None:
    limited(yard, make_route, submit_between=(hours("23:00-01:00"),))
    await drop(yard, 2)
    with capture_logs() as logs:
        await yard.rounds(5)
        assert yard.asked == []
        clock.wall = datetime(2026, 11, 22, 23, 0, tzinfo=SHANGHAI)
        await yard.rounds(2)
        assert len(yard.asked) == 2
        clock.wall = datetime(2026, 11, 23, 1, 0, tzinfo=SHANGHAI)
        await drop(yard, 3, "late")
        await yard.rounds(3)
        assert len(yard.asked) == 2
    told = [(log["event"], log.get("reason", "")) for log in logs if log["event"] in ("route_closed", "route_opened")]
    until = "waiting until 23:00 (submit_between 23:00-01:00)"
    assert told == [("route_closed", until), ("route_opened", ""), ("route_closed", until)]


async def test_hours_that_end_while_a_job_is_made_ready_count(
    yard: Yard, make_route: Callable[..., Route], clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(yard, make_route, submit_between=(hours("22:00-22:30"),))
    job = await yard.picture()
    look = yard.farm.situation

    async def slow(allowed: tuple[str, ...]) -> Situation:
        clock.run(HOUR)
        return await look(allowed)

    monkeypatch.setattr(yard.farm, "situation", slow)
    await yard.rounds(3)
    assert (await yard.state(job), yard.asked) == (State.QUEUED, [])


async def test_a_day_has_so_many_tasks_and_not_one_more_and_the_next_has_as_many(
    yard: Yard, make_route: Callable[..., Route], clock: FakeClock
) -> None:
    limited(yard, make_route, max_tasks_per_day=3)
    await drop(yard, 8)
    with capture_logs() as logs:
        await yard.rounds(6)
    assert len(yard.asked) == 3
    [why] = [log["reason"] for log in logs if log["event"] == "route_closed"]
    assert why == "today's 3 tasks are used up (max_tasks_per_day); goes on at 00:00"
    yard.again(yard.route)
    await yard.rounds(3)
    assert len(yard.asked) == 3
    clock.wall = datetime(2026, 11, 23, 0, 0, tzinfo=SHANGHAI)
    await yard.rounds(6)
    assert len(yard.asked) == 6


async def test_where_the_next_day_begins_outside_the_hours_it_says_when_they_open(
    yard: Yard, make_route: Callable[..., Route]
) -> None:
    limited(yard, make_route, max_tasks_per_day=1, submit_between=(hours("22:00-23:30"), hours("06:00-07:00")))
    await drop(yard, 2)
    with capture_logs() as logs:
        await yard.rounds(3)
    [why] = [log["reason"] for log in logs if log["event"] == "route_closed"]
    assert why == "today's 1 task is used up (max_tasks_per_day); goes on at 06:00"


async def test_what_was_refused_is_no_task_and_what_lost_its_answer_may_be_one(
    yard: Yard, make_route: Callable[..., Route]
) -> None:
    limited(yard, make_route, max_tasks_per_day=3, on_unknown_submit="hold")
    yard.answers = [Refused("no"), Unknown("silence"), "230", "231", "232", "233"]
    yard.hands.limit = 1
    await drop(yard, 6)
    await yard.rounds(12)
    assert len(yard.asked) == 2


async def test_the_budget_counts_all_routes(yard: Yard) -> None:
    yard.dispatch.set_limits(Limits(a_day=2))
    await drop(yard, 5)
    with capture_logs() as logs:
        await yard.rounds(5)
    assert len(yard.asked) == 2
    [why] = [log["reason"] for log in logs if log["event"] == "route_closed"]
    assert why == "today's 2 tasks of all routes are used up (max_tasks_per_day); goes on at 00:00"
    yard.dispatch.set_limits(Limits(a_day=4))
    await yard.rounds(5)
    assert len(yard.asked) == 4
    yard.dispatch.set_limits(Limits())
    await yard.rounds(5)
    assert len(yard.asked) == 5


def test_limits_are_what_the_settings_say() -> None:
    assert Limits.of(Dispatch(aging=60.0, max_tasks_per_day=5)) == Limits(60.0, 5)
    assert Limits.of(Dispatch()) == Limits()


async def test_two_daemons_share_a_days_tasks(
    yard: Yard, new_yard: Callable[[Route, str], Yard], make_route: Callable[..., Route]
) -> None:
    limited(yard, make_route, max_tasks_per_day=5)
    other = new_yard(yard.route, "http://127.0.0.1:1")
    other.asked = yard.asked  # one platform
    await drop(yard, 30)
    for _ in range(6):
        await asyncio.gather(yard.rounds(), other.rounds())
    assert len(yard.asked) == 5
    await other.tasks.stop(0.0)
    await other.client.close()


async def test_no_more_are_in_flight_than_the_route_may_have(
    yard: Yard, make_route: Callable[..., Route], books: Books, clock: FakeClock
) -> None:
    limited(yard, make_route, max_in_flight=2)
    await drop(yard, 5)
    with capture_logs() as logs:
        await yard.rounds(4)
        assert len(yard.asked) == 2
        done = next(job for job in await books.all() if job.state is State.SUBMITTED)
        await books.ledger.write(lambda c: moves.move(c, done.id, State.SUBMITTED, State.FAILED, clock.text()))
        await yard.rounds(4)
    assert len(yard.asked) == 3
    assert not [log for log in logs if log["event"] == "route_closed"]  # that comes and goes with every task


async def test_a_paused_route_sends_nothing_but_what_is_paid_for_goes_on(yard: Yard, books: Books) -> None:
    at = "2026-11-22T10:00:00.000Z"
    await books.ledger.write(lambda c: quota.pause(c, "portrait", at, "no paper"))
    paid = await books.job(path="paid.png", paid=True, task_id="77")
    job = await yard.picture()
    with capture_logs() as logs:
        await yard.rounds(3)
        assert (await yard.state(job), await yard.state(paid)) == (State.QUEUED, State.SUBMITTED)
        yard.again(yard.route)
        await yard.rounds(2)
        assert yard.asked == []
        await books.ledger.write(lambda c: quota.resume(c, "portrait"))
        await yard.rounds(2)
    assert await yard.state(job) is State.SUBMITTED
    why = {log["reason"] for log in logs if log["event"] == "route_closed"}
    assert why == {"paused by hand since 2026-11-22 18:00: no paper"}


async def test_a_pause_that_comes_while_a_job_is_made_ready_counts(
    yard: Yard, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, look = await yard.picture(), yard.farm.situation

    async def meanwhile(allowed: tuple[str, ...]) -> Situation:
        await books.ledger.write(lambda c: quota.pause(c, "portrait", "2026-11-22T10:00:00.000Z", ""))
        return await look(allowed)

    monkeypatch.setattr(yard.farm, "situation", meanwhile)
    await yard.rounds(3)
    assert (await yard.state(job), yard.asked) == (State.QUEUED, [])
