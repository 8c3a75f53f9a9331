"""What makes work wait: told once, probed ever more rarely, and struck out when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from renderdrop.ledger import queries
from renderdrop.ledger.store import Ledger
from renderdrop.runtime.troubles import PLATFORM, Reach, Troubles

if TYPE_CHECKING:
    from tests.conftest import FakeClock


@pytest.fixture
def changes() -> list[int]:
    return []


@pytest.fixture
def troubles(ledger: Ledger, clock: FakeClock, changes: list[int]) -> Troubles:
    return Troubles(ledger, clock, lambda: changes.append(1))


async def rows(ledger: Ledger) -> list[tuple[str, str, str]]:
    return [(t.reach, t.subject, t.sentence) for t in await ledger.read(queries.present_troubles)]


async def test_a_trouble_is_told_once_however_many_run_into_it(
    troubles: Troubles, ledger: Ledger, clock: FakeClock, changes: list[int]
) -> None:
    with capture_logs() as logs:
        for _ in range(50):
            await troubles.tell("share", "a", "it is full")
        for _ in range(5):  # probes that find it lasts
            clock.run(60)
            await troubles.tell("share", "a", "it is full")
    assert [(e["event"], e["route"], e["reason"]) for e in logs] == [("share_waits", "a", "it is full")]
    assert await rows(ledger) == [("share", "a", "it is full")]
    assert len(changes) == 1
    trouble = troubles.of("share", "a")
    assert trouble is not None
    assert trouble.since == (await ledger.read(queries.present_troubles))[0].since


async def test_a_trouble_that_changes_its_face_is_told_again_in_the_same_row(
    troubles: Troubles, ledger: Ledger, clock: FakeClock
) -> None:
    await troubles.tell("share", "a", "it is full")
    clock.run(60)
    with capture_logs() as logs:
        await troubles.tell("share", "a", "it is gone")
    assert [e["reason"] for e in logs] == ["it is gone"]
    assert await rows(ledger) == [("share", "a", "it is gone")]


async def test_the_end_is_told_once_and_the_row_is_struck_out(
    troubles: Troubles, ledger: Ledger, changes: list[int]
) -> None:
    await troubles.tell("platform", PLATFORM, "401")
    await troubles.tell("route", "a", "refused")
    with capture_logs() as logs:
        for _ in range(3):
            await troubles.end("platform", PLATFORM)
        await troubles.end("share", "never")
    assert [(e["event"], e["was"]) for e in logs] == [("platform_goes_on", "401")]
    assert await rows(ledger) == [("route", "a", "refused")]
    assert troubles.platform is None
    assert troubles.of("route", "a") is not None
    assert len(changes) == 3


@pytest.mark.parametrize(("reach", "first", "longest"), [("platform", 3, 30), ("share", 3, 10)])
async def test_the_pauses_between_probes_grow_to_a_bound(
    reach: Reach, first: float, longest: float, troubles: Troubles, clock: FakeClock
) -> None:
    pauses = []
    for _ in range(9):
        await troubles.tell(reach, "x", "down")
        assert not troubles.probe_due(reach, "x")
        begun = clock.at
        while not troubles.probe_due(reach, "x"):
            clock.run(0.05)
        pauses.append(clock.at - begun)
    assert pauses == sorted(pauses)
    assert 0.5 <= pauses[0] <= first
    assert pauses[0] < pauses[-1] <= longest


async def test_a_paused_route_is_tried_every_few_minutes_because_a_try_costs_a_submission(
    troubles: Troubles, clock: FakeClock
) -> None:
    for _ in range(6):
        await troubles.tell("route", "a", "refused")
        clock.run(59)
        assert not troubles.probe_due("route", "a")
        clock.run(241)
        assert troubles.probe_due("route", "a")


async def test_whoever_knows_better_names_the_pause(troubles: Troubles, clock: FakeClock) -> None:
    await troubles.tell("platform", PLATFORM, "busy", pause=77)
    clock.run(76)
    assert not troubles.probe_due("platform", PLATFORM)
    clock.run(1)
    assert troubles.probe_due("platform", PLATFORM)


async def test_what_is_not_in_trouble_is_not_probed(troubles: Troubles) -> None:
    assert not troubles.probe_due("platform", PLATFORM)
    assert troubles.of("share", "a") is None


async def test_a_trouble_that_comes_back_soon_goes_on_with_its_long_pauses(
    troubles: Troubles, clock: FakeClock
) -> None:
    async def pause_after(quiet: float) -> float:
        await troubles.end("platform", PLATFORM)
        clock.run(quiet)
        await troubles.tell("platform", PLATFORM, "502")
        trouble = troubles.platform
        assert trouble is not None
        return trouble.probe_at - clock.at

    first = await pause_after(0)
    again = await pause_after(1)
    assert again > first
    assert await pause_after(3600) == pytest.approx(first)


async def test_a_reload_makes_every_probe_due(troubles: Troubles) -> None:
    await troubles.tell("route", "a", "refused")
    await troubles.tell("share", "b", "full")
    troubles.probe_now()
    assert troubles.probe_due("route", "a")
    assert troubles.probe_due("share", "b")


async def test_what_stands_in_a_routes_way_is_the_platform_or_its_own_share(troubles: Troubles) -> None:
    await troubles.tell("route", "a", "refused")  # delivery goes on
    assert not troubles.stands_in_the_way("a")
    await troubles.tell("share", "a", "full")
    assert troubles.stands_in_the_way("a")
    assert not troubles.stands_in_the_way("b")
    await troubles.tell("platform", PLATFORM, "down")
    assert troubles.stands_in_the_way("b")
