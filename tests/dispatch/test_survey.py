"""What the ledger knows behind a choice: the command line sees what the daemon sees."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection

from renderdrop.dispatch import survey
from renderdrop.dispatch.choose import Choice, ClusterView, Situation
from renderdrop.dispatch.expected import expect
from renderdrop.dispatch.farm import Farm
from renderdrop.dispatch.learned import Learned
from renderdrop.dispatch.outlook import Outlook
from renderdrop.dispatch.survey import AT_LEAST, REMEMBERED, TOLD_EVERY
from renderdrop.ledger import seen
from renderdrop.ledger.seen import Figures, Status
from renderdrop.model.lifecycle import State
from renderdrop.platform import clusters
from renderdrop.platform.client import Client
from renderdrop.platform.clusters import ClusterStatus
from renderdrop.runtime.budget import Budget
from renderdrop.runtime.tasks import Tasks

if TYPE_CHECKING:
    from tests.conftest import Books, FakeClock

    from renderdrop.model.route import Route


@pytest.fixture
async def farm(books: Books, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Farm]:
    async def active(_: Client, __: datetime) -> tuple[ClusterStatus, ...]:
        return ClusterStatus("GPU-4090", "x", 2, 22), ClusterStatus("GPU-A800", "x", 8, None)

    monkeypatch.setattr(clusters, "active", active)
    client, tasks = Client("http://127.0.0.1:1", SecretStr("AI-x")), Tasks()
    yield Farm(client, books.ledger, clock, Budget(1000.0, clock.monotonic()), tasks, 10.0)
    await tasks.stop(20.0)
    await client.close()


async def some_work(books: Books, clock: FakeClock) -> None:
    """Tasks that ended, that run, that wait and that are being sent; jobs that wait; a refusal."""
    for n in range(5):
        at = clock.text()
        clock.run(25 + n)
        started = clock.text()
        clock.run(40 + 3 * n)
        await books.job(State.RENDERED, f"ended {n}.png", submitted_at=at, started_at=started)
        await books.job(State.RENDERED, f"other {n}.png", workflow_id="88", cluster="GPU-A800", submitted_at=at)
    await books.job(State.SUBMITTED, "runs.png", status="running", started_at=clock.text())
    clock.run(7)
    await books.job(State.SUBMITTED, "waits.png", status="pending")
    await books.job(State.SUBMITTING, "sent.png", cluster="GPU-A800")
    for n in range(9):
        await books.job(State.QUEUED, f"queued {n}.png")


async def test_the_command_line_sees_what_the_daemon_sees(
    books: Books, clock: FakeClock, route: Route, farm: Farm
) -> None:
    await some_work(books, clock)
    found = await Outlook(books.ledger, clock, farm).situation(route.clusters, route.workflow_id, [route])
    assert found.last == "GPU-4090"
    status = Status({"GPU-4090": Figures(2, 22), "GPU-A800": Figures(8, None)}, clock.text())
    await books.ledger.write(lambda c: seen.see(c, status))
    now = clock.now()
    known = await books.ledger.read(lambda c: survey.survey(c, [route], [route], now))
    assert known.situation(route.clusters, route.workflow_id) == found
    choice = expect(found)
    assert isinstance(choice, Choice)
    assert choice.reason


async def test_what_was_seen_is_younger_than_it_looks_by_the_time_between_two_writes(
    books: Books, clock: FakeClock, route: Route
) -> None:
    status = Status({"GPU-4090": Figures(2, 22)}, clock.text())
    await books.ledger.write(lambda c: seen.see(c, status))
    for passed, age in ((TOLD_EVERY, 0.0), (100.0, 100.0), (-900.0, 0.0)):
        clock.run(passed)
        look = partial(survey.survey, routes=[route], sending=[route], now=clock.now())
        known = await books.ledger.read(look)
        assert known.age == pytest.approx(age)


async def test_nothing_is_seen_before_a_daemon_saw_it(books: Books, clock: FakeClock, route: Route) -> None:
    now = clock.now()
    known = await books.ledger.read(lambda c: survey.survey(c, [route], [route], now))
    assert known.status is None
    assert expect(known.situation(route.clusters, route.workflow_id)) is None


async def test_what_waits_in_routes_that_may_not_send_is_not_counted(
    books: Books, clock: FakeClock, route: Route, make_route: Callable[..., Route]
) -> None:
    other, model = make_route("other", workflow_id="88"), make_route("model", clusters=())
    for n, of in enumerate((route, other, other, model)):
        await books.job(State.QUEUED, f"{n}.png", route=of)
    routes, now = [route, other, model], clock.now().timestamp()
    assert (await books.ledger.read(lambda c: survey.look(c, routes, now))).queue == {
        ("1234", route.clusters): 1, ("88", other.clusters): 2,
    }  # fmt: skip
    assert (await books.ledger.read(lambda c: survey.look(c, [route], now))).queue == {("1234", route.clusters): 1}


def test_what_may_not_go_to_any_of_the_jobs_clusters_is_no_reason_to_use_a_slow_one() -> None:
    farm = {name: ClusterView(1, 1, 0) for name in ("fast", "slow", "far")}
    ours = survey.Ours({}, {("w", ("fast", "slow")): 1, ("v", ("far",)): 1000, ("u", ("slow", "far")): 5}, ())
    found = ours.within(Situation(("fast", "slow"), farm), "w", Learned(), age=0.0, last=None)
    assert found.queue == {"w": 1, "u": 5}


async def test_a_rare_workflow_is_known_however_much_of_others_ran_since(
    books: Books, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = clock.text()
    clock.run(200)
    rare = [await books.job(State.RENDERED, f"r{n}.png", workflow_id="88", started_at=at) for n in range(2)]
    clock.run(1)
    job = await books.job(State.RENDERED, "busy.png")

    def many(c: Connection) -> None:
        columns = ", ".join(column for column in _columns(c) if column != "id")
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200) "
        later = columns.replace("finished_at", "'2027-01-01T00:00:00.000Z'")
        c.exec_driver_sql(
            f"INSERT INTO jobs (id, {columns}) {numbers}SELECT 'x' || i, {later} FROM jobs, n WHERE id = '{job.id}'"
        )

    await books.ledger.write(many)
    now = clock.now().timestamp()
    ours = await books.ledger.read(lambda c: survey.look(c, [], now))
    learned = await books.ledger.read(lambda c: survey.taught(c, {"88", "1234"}, ours))
    assert learned.run("88", "GPU-4090").runs == len(rare)
    assert learned.run("1234", "GPU-4090").runs == REMEMBERED > AT_LEAST
    assert (await books.ledger.read(lambda c: survey.taught(c, {"1234"}, ours))).run("88", "GPU-4090").runs == 0


def _columns(c: Connection) -> list[str]:
    return [row[1] for row in c.exec_driver_sql("PRAGMA table_info(jobs)")]


async def test_a_look_costs_the_same_however_many_wait(
    books: Books, clock: FakeClock, route: Route, make_route: Callable[..., Route]
) -> None:
    routes = [route, make_route("other", workflow_id="88")]

    async def statements() -> int:
        seen_there = 0

        def look(c: Connection) -> Situation:
            nonlocal seen_there
            from sqlalchemy import event

            def count(*_: object) -> None:
                nonlocal seen_there
                seen_there += 1

            event.listen(c, "before_cursor_execute", count)
            known = survey.survey(c, routes, routes, clock.now())
            return known.situation(route.clusters, route.workflow_id)

        found = await books.ledger.read(look)
        assert found.queue["1234"] > 0
        return seen_there

    await books.job(State.QUEUED)
    few = await statements()
    for n in range(30):
        await books.job(State.QUEUED, f"{n}.png")
    assert await statements() == few
    assert few < 16
