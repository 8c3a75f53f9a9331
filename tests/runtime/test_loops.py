"""Tasks, pulses, hands and the schedule: nothing is forgotten, nothing runs twice at once, no clock stops them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

import apscheduler.schedulers.base as base
import pytest
from structlog.testing import capture_logs

from renderdrop.runtime import schedule as schedule_module
from renderdrop.runtime.clock import Clock
from renderdrop.runtime.hands import Hands
from renderdrop.runtime.pulse import Pulse
from renderdrop.runtime.schedule import Schedule
from renderdrop.runtime.tasks import Tasks

if TYPE_CHECKING:
    from tests.conftest import FakeClock

    Until = Callable[[Callable[[], bool]], Awaitable[None]]


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    made = Tasks()
    yield made
    await made.stop(0.0)


# tasks


async def test_work_that_dies_is_told_with_its_name_and_whoever_started_it_learns_why(tasks: Tasks) -> None:
    ends: list[BaseException | None] = []

    async def die() -> None:
        raise RuntimeError("unforeseen")

    async def live() -> None:
        pass

    with capture_logs() as logs:
        await asyncio.wait([tasks.start(die(), "dying", ends.append), tasks.start(live(), "living", ends.append)])
        await asyncio.sleep(0)
    assert {type(end) for end in ends} == {RuntimeError, type(None)}
    [told] = logs
    assert (told["event"], told["work"]) == ("unforeseen_error", "dying")


async def test_stopping_waits_for_what_ends_by_itself_and_cancels_the_rest() -> None:
    tasks = Tasks()
    go = asyncio.Event()
    done: list[str] = []

    async def quick() -> None:
        await go.wait()
        done.append("quick")

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            done.append("cancelled")

    tasks.start(quick(), "quick")
    tasks.start(slow(), "slow")
    await asyncio.sleep(0)
    go.set()
    assert await tasks.stop(0.1) == 1
    assert done == ["quick", "cancelled"]
    assert await tasks.stop(0.1) == 0


async def test_only_what_is_harmless_to_leave_is_abandoned() -> None:
    tasks = Tasks()
    polls = tasks.start(asyncio.Event().wait(), "poll a")  # type: ignore[arg-type]
    other = tasks.start(asyncio.Event().wait(), "submit b")  # type: ignore[arg-type]
    tasks.abandon("poll ")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert polls.cancelled()
    assert not other.done()
    await tasks.stop(0.0)


# pulse


async def test_a_round_never_runs_twice_at_once_and_a_nudge_meanwhile_gives_one_more(
    tasks: Tasks, until: Until
) -> None:
    running, most, rounds = 0, 0, 0
    gate = asyncio.Event()

    async def action() -> None:
        nonlocal running, most, rounds
        running += 1
        most = max(most, running)
        rounds += 1
        await gate.wait()
        running -= 1

    pulse = Pulse(tasks, action, "round")
    for _ in range(5):
        pulse.nudge()
    await until(lambda: running == 1)
    for _ in range(5):
        pulse.nudge()  # while it looks: it may have looked away already
    gate.set()
    await until(lambda: rounds == 2 and running == 0)
    for _ in range(5):
        await asyncio.sleep(0)
    assert (rounds, most) == (2, 1)
    pulse.nudge()
    await until(lambda: rounds == 3)


async def test_a_round_that_dies_does_not_end_the_pulse(tasks: Tasks, until: Until) -> None:
    rounds = 0

    async def action() -> None:
        nonlocal rounds
        rounds += 1
        raise RuntimeError("unforeseen")

    pulse = Pulse(tasks, action, "round")
    with capture_logs():
        for n in (1, 2):
            pulse.nudge()
            await until(lambda n=n: rounds == n)  # type: ignore[misc]
            await asyncio.sleep(0)
            await asyncio.sleep(0)


async def test_a_stopped_pulse_begins_no_round(tasks: Tasks) -> None:
    rounds: list[int] = []

    async def action() -> None:
        rounds.append(1)
        pulse.stopped = True
        pulse.nudge()

    pulse = Pulse(tasks, action, "round")
    pulse.nudge()
    pulse.nudge()
    for _ in range(5):
        await asyncio.sleep(0)
    assert rounds == [1]


# hands


async def test_hands_are_bounded_and_know_what_they_hold(tasks: Tasks, clock: FakeClock, until: Until) -> None:
    hands = Hands(2, tasks, clock, "work")
    gate = asyncio.Event()

    async def work() -> None:
        await gate.wait()

    assert (hands.free, hands.taken) == (2, 0)
    for job in ("a", "b"):
        hands.take(job, work())
    assert (hands.free, hands.taken) == (0, 2)
    assert hands.passed_over() == {"a", "b"}
    hands.limit = 1  # settings were read again
    assert hands.free == 0
    gate.set()
    await until(lambda: hands.taken == 0)
    assert (hands.free, hands.passed_over()) == (1, set())


async def test_a_job_whose_work_died_rests_and_then_is_tried_again(
    tasks: Tasks, clock: FakeClock, until: Until
) -> None:
    hands = Hands(2, tasks, clock, "work")

    async def die() -> None:
        raise RuntimeError("unforeseen")

    with capture_logs():
        hands.take("a", die())
        await until(lambda: hands.taken == 0)
    assert hands.passed_over() == {"a"}
    clock.run(31)
    assert hands.passed_over() == set()


async def test_a_rest_ends_by_itself_by_success_or_for_all_at_once(tasks: Tasks, clock: FakeClock) -> None:
    hands = Hands(2, tasks, clock, "work")
    for job, seconds in (("a", 1.0), ("b", 5.0), ("c", 9.0)):
        hands.rest(job, seconds)
    clock.run(2)
    assert hands.passed_over() == {"b", "c"}
    hands.forget("b")
    assert hands.passed_over() == {"c"}
    hands.wake_all()
    assert hands.passed_over() == set()


async def test_failures_are_counted_in_a_row(tasks: Tasks, clock: FakeClock) -> None:
    hands = Hands(2, tasks, clock, "work")
    assert [hands.failed("a"), hands.failed("a"), hands.failed("b")] == [1, 2, 1]
    hands.forget("a")
    assert hands.failed("a") == 1


async def test_a_free_hand_looks_for_more_where_there_was_more(tasks: Tasks, clock: FakeClock, until: Until) -> None:
    rounds = 0

    async def action() -> None:
        nonlocal rounds
        rounds += 1

    async def work() -> None:
        pass

    hands = Hands(2, tasks, clock, "work")
    hands.pulse = Pulse(tasks, action, "round")
    hands.more = True
    hands.take("a", work())
    await until(lambda: rounds == 1)


# schedule


class Shifted(Clock):
    """The machine's clocks, the wall's one set by so much."""

    def __init__(self) -> None:
        self.shift = timedelta()

    def now(self) -> datetime:
        return super().now() + self.shift


@pytest.fixture
def shifted(monkeypatch: pytest.MonkeyPatch) -> Shifted:
    """One clock for us and for APScheduler, which asks the wall clock itself."""
    clock = Shifted()

    class Wall(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + clock.shift

    monkeypatch.setattr(base, "datetime", Wall)
    monkeypatch.setattr(schedule_module, "_LOOK_EVERY", 0.05)
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    return clock


async def test_ticks_come_again_and_again_on_the_loop(shifted: Shifted, until: Until) -> None:
    schedule = Schedule(shifted)
    seen: list[asyncio.AbstractEventLoop] = []
    other: list[int] = []
    schedule.every(0.02, lambda: seen.append(asyncio.get_running_loop()), "tick")
    schedule.every(0.02, lambda: other.append(1), "other")
    schedule.start()
    await until(lambda: len(seen) >= 5 and len(other) >= 5)
    assert set(seen) == {asyncio.get_running_loop()}
    schedule.forget("other")
    schedule.forget("nobody")
    schedule.stop()
    count = len(seen)
    for _ in range(3):
        await asyncio.sleep(0.03)
    assert len(seen) == count


async def test_the_same_name_replaces_the_former_tick(shifted: Shifted, until: Until) -> None:
    schedule = Schedule(shifted)
    old: list[int] = []
    new: list[int] = []
    schedule.every(3600, lambda: old.append(1), "tick")
    schedule.start()
    schedule.every(0.02, lambda: new.append(1), "tick")
    await until(lambda: len(new) >= 3)
    schedule.stop()
    assert old == []


async def test_a_tick_that_dies_ticks_again(shifted: Shifted, until: Until, caplog: pytest.LogCaptureFixture) -> None:
    schedule = Schedule(shifted)
    seen: list[int] = []

    def tick() -> None:
        seen.append(1)
        raise RuntimeError("unforeseen")

    schedule.every(0.02, tick, "tick")
    schedule.start()
    await until(lambda: len(seen) >= 3)
    schedule.stop()


@pytest.mark.parametrize("hours", [-2, 2, 56 * 365 * 24])
async def test_a_wall_clock_that_is_set_does_not_stop_the_ticks(hours: int, shifted: Shifted, until: Until) -> None:
    schedule = Schedule(shifted)
    seen: list[int] = []
    schedule.every(0.25, lambda: seen.append(1), "tick")
    schedule.start()
    await until(lambda: len(seen) >= 2)
    with capture_logs() as logs:
        shifted.shift = timedelta(hours=hours)
        count = len(seen)
        await until(lambda: len(seen) >= count + 4)
    schedule.stop()
    assert [entry["event"] for entry in logs] == ["clock_jumped"]
    assert abs(logs[0]["seconds"] - hours * 3600) < 5
    # Made up for once, not seven thousand times.
    assert len(seen) - count < 12


async def test_a_clock_that_is_slewed_is_no_jump(shifted: Shifted, until: Until) -> None:
    schedule = Schedule(shifted)
    seen: list[int] = []
    schedule.every(0.02, lambda: seen.append(1), "tick")
    schedule.start()
    with capture_logs() as logs:
        shifted.shift = timedelta(seconds=-1)
        await until(lambda: len(seen) >= 5)
    schedule.stop()
    assert logs == []
