"""Jobs that a ticket pins to clusters of their own: they wait for these, and keep nobody else waiting."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs
from tests.dispatch.conftest import AnyCluster

from renderdrop.dispatch.choose import ClusterView, Situation
from renderdrop.dispatch.expected import LONGEST_HOLD
from renderdrop.ledger import queries
from renderdrop.model.lifecycle import State
from renderdrop.model.wishes import Wishes

if TYPE_CHECKING:
    from tests.conftest import Books
    from tests.dispatch.conftest import Yard

    from renderdrop.model.job import Job

FULL, FREE = "GPU-4090", "GPU-A800"
PINNED = Wishes(clusters=(FULL,))


class Farm(AnyCluster):
    """One cluster has a single instance, the other one any number; `gone` are not active."""

    fresh = True
    age = 0.0
    gone: frozenset[str] = frozenset()

    async def situation(self, allowed: tuple[str, ...]) -> Situation:
        views = {FULL: ClusterView(1, 1, 4), FREE: ClusterView(1, 50, 0)}
        return Situation(allowed, {name: view for name, view in views.items() if name not in self.gone})


@pytest.fixture
async def farm(yard: Yard, books: Books) -> Farm:
    """The yard learns, and one of the clusters has enough of ours."""
    made = yard.farm = Farm()
    yard.again(yard.route)
    yard.dispatch.places.learns = True
    await books.job(State.SUBMITTED, "runs.png", status="running", started_at=yard.clock.text())
    for n in range(3):
        await books.job(State.SUBMITTED, f"waits{n}.png", status="pending")
    return made


async def some(yard: Yard, number: int, name: str, wishes: Wishes = PINNED) -> list[Job]:
    return [await yard.picture(f"{name}{n}.png", wishes=wishes) for n in range(number)]


async def submitted(yard: Yard, jobs: list[Job]) -> int:
    return [await yard.state(job) for job in jobs].count(State.SUBMITTED)


async def test_what_is_pinned_to_a_full_cluster_keeps_nobody_behind_it_waiting(yard: Yard, farm: Farm) -> None:
    pinned = await some(yard, 30, "pinned")
    free = await some(yard, 6, "free", Wishes())
    other = await some(yard, 2, "other", Wishes(clusters=(FREE,)))
    await yard.rounds(2)
    assert await submitted(yard, [*free, *other]) == 8
    assert {asked.cluster for asked in yard.asked} == {FREE}
    assert await submitted(yard, pinned) == 0


async def test_no_file_is_opened_for_what_has_no_place(yard: Yard, farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = await some(yard, 3, "pinned")
    with monkeypatch.context() as nothing:
        nothing.setattr(yard.hands, "take", lambda *_: pytest.fail("taken up"))
        await yard.rounds(5)
    assert await submitted(yard, pinned) == 0


async def test_what_is_pinned_to_a_full_cluster_does_not_wait_for_ever(yard: Yard, farm: Farm) -> None:
    pinned = await some(yard, 3, "pinned")
    await yard.rounds(int(LONGEST_HOLD / 30), apart=30.0)
    await some(yard, 1, "free", Wishes())  # what goes elsewhere does not begin its wait anew
    await yard.rounds()
    assert (await submitted(yard, pinned), yard.asked[-1].cluster) == (0, FREE)
    await yard.rounds(3)
    assert (await submitted(yard, pinned), yard.asked[-1].cluster) == (1, FULL)
    await yard.rounds(int(LONGEST_HOLD / 30) + 2, apart=30.0)
    assert await submitted(yard, pinned) == 2


async def test_a_wait_that_nobody_waits_any_more_is_forgotten(yard: Yard, farm: Farm) -> None:
    [first] = await some(yard, 1, "first")
    await yard.rounds(2)
    (yard.route.inbox / "first0.png").unlink()
    yard.dispatch.places.learns = False
    await yard.rounds()
    assert await yard.state(first) is State.CANCELLED
    yard.dispatch.places.learns = True
    await some(yard, 1, "free", Wishes())
    await yard.rounds()
    yard.clock.run(LONGEST_HOLD)
    later = await some(yard, 1, "later")
    await yard.rounds(3)
    assert await submitted(yard, later) == 0


@pytest.mark.parametrize("learns", [True, False])
async def test_what_is_pinned_to_a_cluster_that_is_gone_does_not_pause_its_route(
    learns: bool, yard: Yard, farm: Farm
) -> None:
    yard.dispatch.places.learns = learns
    farm.gone = frozenset({FULL})
    pinned = await some(yard, 6, "pinned")
    free = await some(yard, 6, "free", Wishes())
    with capture_logs() as logs:
        await yard.rounds(5, apart=2.0)
    assert (await submitted(yard, pinned), await submitted(yard, free)) == (0, 6)
    assert yard.troubles.of("route", "portrait") is None
    reasons = {log["reason"] for log in logs if log["event"] == "job_waits_for_cluster"}
    assert reasons == {"none of its own clusters (GPU-4090) is active on the platform now; it waits until one is back"}
    left = await yard.books.ledger.read(queries.unfinished)
    stuck = {job.id for job in left if yard.dispatch.is_stuck(job)}
    assert stuck == {job.id for job in pinned}  # so that `run --once` ends
    farm.gone = frozenset()
    yard.dispatch.places.learns = False
    await yard.rounds(3)
    assert await submitted(yard, pinned) == 6


async def test_where_none_of_a_routes_clusters_is_there_its_route_is_paused_as_ever(yard: Yard, farm: Farm) -> None:
    farm.gone = frozenset({FULL, FREE})
    await some(yard, 1, "pinned")
    await yard.rounds()
    assert yard.troubles.of("route", "portrait") is not None


async def test_a_pin_that_the_route_does_not_allow_any_more_is_none(yard: Yard, farm: Farm) -> None:
    jobs = await some(yard, 2, "pinned")
    yard.use(replace(yard.route, clusters=(FREE,)))
    await yard.rounds(2)
    assert await submitted(yard, jobs) == 2
