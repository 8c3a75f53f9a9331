"""A share that hangs: whoever waits is told in time, nothing is repeated beside an old call, and all goes on after."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from renderdrop.model.errors import ShareOffline
from renderdrop.model.route import Route
from renderdrop.runtime.clock import Clock
from renderdrop.runtime.disk import Disk, Disks
from renderdrop.runtime.hands import Hands
from renderdrop.runtime.tasks import Tasks
from renderdrop.share.signs import sign_of_life


class Hanging:
    """A call that stays in the kernel until it is let go."""

    def __init__(self) -> None:
        self.begun, self.free, self.ended = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, result: str = "late") -> str:
        self.begun.set()
        assert self.free.wait(20)
        self.ended.set()
        return result


@pytest.fixture
async def disk() -> AsyncIterator[Disk]:
    made = Disk(patience=0.2)
    yield made
    made.end()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - what is waited for happens in threads
            await asyncio.sleep(0.01)


async def lost(disk: Disk) -> Hanging:
    hanging = Hanging()
    with pytest.raises(ShareOffline, match="does not answer"):
        await disk(hanging)
    assert disk.hangs
    return hanging


async def test_a_call_gives_back_what_its_work_does(disk: Disk) -> None:
    def fails() -> None:
        raise FileExistsError("a.png")

    assert await disk(divmod, 7, 2) == (3, 1)
    with pytest.raises(FileExistsError):
        await disk(fails)
    assert not disk.hangs
    assert not disk.silent


async def test_until_the_lost_call_is_back_nothing_more_is_asked(disk: Disk) -> None:
    hanging, asked = await lost(disk), list[int]()
    for _ in range(50):
        with pytest.raises(ShareOffline, match="does not answer"):
            await disk(asked.append, 1)
    assert asked == []
    hanging.free.set()
    await until(lambda: not disk.hangs)
    await disk(asked.append, 2)
    assert asked == [2]


async def test_other_shares_answer_meanwhile(disk: Disk) -> None:
    hanging, other = await lost(disk), Disk(patience=0.2)
    assert await other(str, 1) == "1"
    hanging.free.set()
    other.end()


async def test_what_is_opened_too_late_is_closed_before_anything_else_comes(disk: Disk) -> None:
    hanging, closed = Hanging(), list[str]()
    with pytest.raises(ShareOffline):
        await disk(hanging, "a file", late=closed.append)
    hanging.free.set()
    await until(lambda: not disk.hangs)
    assert closed == ["a file"]


async def test_what_cannot_be_closed_now_is_closed_when_the_share_answers(disk: Disk) -> None:
    hanging, closed = await lost(disk), list[int]()
    await disk.close(lambda: closed.append(1))
    assert closed == []
    hanging.free.set()
    await until(lambda: not disk.hangs)
    assert closed == [1]


async def test_a_closing_that_hangs_holds_nobody_up_and_counts_as_lost(disk: Disk) -> None:
    hanging = Hanging()
    await disk.close(hanging)
    assert disk.hangs
    hanging.free.set()
    await until(lambda: not disk.hangs)


async def test_a_closing_that_fails_is_nobodys_trouble(disk: Disk) -> None:
    def fails() -> None:
        raise OSError(5, "input/output error")

    await disk.close(fails)
    assert await disk(str, 1) == "1"


async def test_long_work_that_gives_signs_of_life_is_waited_for(disk: Disk) -> None:
    rest = threading.Event()

    def long() -> str:
        for _ in range(12):
            rest.wait(0.05)
            sign_of_life()
        return "whole"

    assert await disk(long) == "whole"


async def test_one_silent_call_that_moves_much_has_more_time_while_the_share_answers_others(disk: Disk) -> None:
    sync = Hanging()
    syncing = asyncio.ensure_future(disk(sync, size=10**9))
    await until(sync.begun.is_set)
    for _ in range(10):
        await asyncio.sleep(0.05)
        await disk(str, 1)
    assert not syncing.done()
    other = await lost(disk)
    with pytest.raises(ShareOffline):
        await syncing
    sync.free.set()
    other.free.set()
    await until(lambda: not disk.hangs)


async def test_what_has_not_begun_when_the_share_is_given_up_never_begins(disk: Disk) -> None:
    hanging, asked = [Hanging() for _ in range(16)], list[int]()
    calls = [asyncio.ensure_future(disk(one)) for one in hanging]
    await until(lambda: all(one.begun.is_set() for one in hanging))
    waiting = asyncio.ensure_future(disk(asked.append, 1))
    for call in (*calls, waiting):
        with pytest.raises(ShareOffline):
            await call
    for one in hanging:
        one.free.set()
    await until(lambda: not disk.hangs)
    assert await disk(str, 2) == "2"
    assert asked == []


async def test_the_result_of_a_call_that_was_cancelled_is_put_away(disk: Disk) -> None:
    hanging, closed = Hanging(), list[str]()
    call = asyncio.ensure_future(disk(hanging, "a file", late=closed.append))
    await until(hanging.begun.is_set)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    hanging.free.set()
    await until(lambda: closed == ["a file"])


async def test_in_a_hurry_nobody_waits_long(disk: Disk) -> None:
    patient, hanging = Disk(patience=3600), Hanging()
    call = asyncio.ensure_future(patient(hanging))
    await until(hanging.begun.is_set)
    patient.hurry()
    assert patient.patience < 5
    hanging.free.set()
    assert await call == "late"
    patient.end()
    with pytest.raises(ShareOffline):
        await patient(str, 1)


async def test_a_job_whose_share_is_silent_keeps_no_hand_busy() -> None:
    now, hanging, tasks = [100.0], Hanging(), Tasks()
    disk = Disk(clock=lambda: now[0])
    hands = Hands(1, tasks, Clock(), "test")

    async def work() -> None:
        await disk(hanging)

    hands.take("a", work(), disk)
    await until(hanging.begun.is_set)
    assert (hands.free, disk.silent) == (0, False)
    now[0] += 2.0
    assert (hands.free, disk.silent) == (1, True)
    assert hands.passed_over() == {"a"}
    hanging.free.set()
    await until(lambda: not hands.passed_over())
    disk.end()


async def test_each_route_has_a_share_of_its_own_and_moved_folders_another(route: Route, tmp_path: Path) -> None:
    from dataclasses import replace

    disks = Disks()
    assert disks.of(route) is disks.of(route)
    assert disks.of(replace(route, name="other")) is not disks.of(route)
    assert disks.of(replace(route, outbox=tmp_path / "elsewhere")) is not disks.of(route)
    disks.end()
