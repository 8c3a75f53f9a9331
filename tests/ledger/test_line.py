"""Who could go next: the order within a route, who is left out, and that a long queue costs what a short one does."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Connection, event, insert

from renderdrop.ledger import engine, line, moves, queries, quota, spares
from renderdrop.ledger.schema import jobs, submissions
from renderdrop.model.job import Outcome, Place
from renderdrop.model.lifecycle import State
from renderdrop.model.route import Route
from renderdrop.model.wishes import NO_PIN, Pin, Wishes
from renderdrop.runtime.clock import written

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Books, FakeClock


async def in_line(
    books: Books, but: set[str] | None = None, limit: int = 10, routes: list[str] | None = None
) -> list[str]:
    def look(c: Connection) -> list[str]:
        found = line.in_line(c, routes=["portrait"] if routes is None else routes, but=but or set(), limit=limit)
        return [job.source.path for job in line.jobs_of(c, [one.id for one in found])]

    return await books.ledger.read(look)


async def test_each_priority_has_its_oldest_first(
    books: Books, clock: FakeClock, make_route: Callable[..., Route]
) -> None:
    for path, priority in (("plain", 0), ("urgent", 5), ("last", -1), ("urgent later", 5), ("urgent last", 5)):
        await books.job(path=path, route=make_route(priority=priority))
        clock.run(1)
    assert await in_line(books) == ["urgent", "urgent later", "urgent last", "plain", "last"]
    assert await in_line(books, limit=2) == ["urgent", "urgent later", "plain", "last"]


async def test_where_every_ticket_has_its_own_priority_the_oldest_is_found_all_the_same(
    books: Books, clock: FakeClock, make_route: Callable[..., Route]
) -> None:
    for n in range(30):
        await books.job(path=f"{n}", route=make_route(priority=n))
        clock.run(1)
    found = await in_line(books, limit=2)
    assert found == ["29", "28", "27", "26", "25", "24", "23", "22", "0", "1"]


async def test_jobs_in_hand_are_passed_over_without_shortening_the_list(books: Books) -> None:
    made = [await books.job(path=f"{n}.png") for n in range(6)]
    assert await in_line(books, but={made[0].id, made[2].id}, limit=3) == ["1.png", "3.png", "4.png"]


async def test_only_queued_jobs_of_the_routes_asked_for_are_in_line(
    books: Books, make_route: Callable[..., Route]
) -> None:
    for n, state in enumerate(State):
        await books.job(state, f"{n}.png")
    await books.job(path="other.png", route=make_route("dance"))
    await books.job(path="waits.png", waiting_for="input_video")
    assert await in_line(books) == ["0.png"]
    assert await in_line(books, routes=["dance"]) == ["other.png"]
    assert await in_line(books, routes=[]) == []


@pytest.mark.parametrize("place", [Place.DONE, Place.FAILED])
async def test_a_job_whose_source_is_away_waits_for_it_first(place: Place, books: Books) -> None:
    job = await books.job()
    await books.job(path="here.png")

    async def away(route: str) -> list[str]:
        return [job.source.path for job in await books.ledger.read(lambda c: queries.away(c, route))]

    await books.ledger.write(lambda c: moves.record_source(c, job.id, "a.png", place=place, stored="a.png"))
    assert await in_line(books) == ["here.png"]
    assert (await away("portrait"), await away("dance")) == (["a.png"], [])
    await books.ledger.write(lambda c: moves.record_source(c, job.id, "a.png", place=Place.INBOX, stored=None))
    assert await in_line(books) == ["a.png", "here.png"]
    assert await away("portrait") == []


async def test_what_is_paid_for_is_found_by_itself(books: Books, make_route: Callable[..., Route]) -> None:
    paid = await books.job(path="paid.png", paid=True, task_id="230")
    await books.job(path="no task.png", paid=True)
    await books.job(path="plain.png", task_id="231")
    await books.job(path="other.png", route=make_route("dance"), paid=True, task_id="232")
    await books.job(State.RENDERED, "rendered.png")

    async def ask(**given: Any) -> list[str]:
        wanted = {"routes": ["portrait"], "but": set(), "limit": 9, **given}
        return [job.source.path for job in await books.ledger.read(lambda c: line.paid_for(c, **wanted))]

    assert await ask() == ["paid.png"]
    assert await ask(but={paid.id}) == []
    assert await ask(routes=["portrait", "dance"], limit=1) == ["paid.png"]


def row(clock: FakeClock, n: int, **changes: Any) -> dict[str, Any]:
    at = written(clock.now() + timedelta(milliseconds=n))
    return {
        "id": f"{n:016}", "route": "portrait", "kind": "app", "state": State.QUEUED, "priority": 0, "workflow_id": "1",
        "params": {}, "created": at, "updated": at, "queued_at": at, "wishes": {}, **changes,
    }  # fmt: skip


def test_what_is_pinned_has_a_line_of_its_own(ledger_file: Path, clock: FakeClock) -> None:
    a, b, other = Pin(clusters=("GPU-A",)), Pin(clusters=("GPU-A", "GPU-B\u4e2d")), Pin("88")
    pins = [a, a, NO_PIN, b, a, other, NO_PIN, b]
    with engine.transaction(ledger_file) as conn:
        wishes = [Wishes(clusters=pin.clusters, workflow_id=pin.workflow_id, label="x").as_json() for pin in pins]
        conn.execute(insert(jobs), [row(clock, n, wishes=wish) for n, wish in enumerate(wishes)])
        conn.execute(insert(jobs), [row(clock, 99, state=State.DELIVERED, wishes={"workflow_id": "77"})])
    with engine.view(ledger_file) as conn:
        found = line.in_line(conn, routes=["portrait"], but=(), limit=9)
        assert {int(one.id): one.pin for one in found} == dict(enumerate(pins))
        few = line.in_line(conn, routes=["portrait"], but=(), limit=1, full={("portrait", a), ("other", NO_PIN)})
        assert sorted(int(one.id) for one in few) == [2, 3, 5]
        waiting = line.waiting(conn, ["portrait", "dance"], 2)
        assert waiting == {("portrait", pin): n for pin, n in ((NO_PIN, 2), (a, 2), (b, 2), (other, 1))}
        told = {int(job.id): job.pin for job in queries.unfinished(conn)}
        assert told == dict(enumerate(pins))


@pytest.mark.parametrize("priorities", [1, 30])
def test_thousands_that_are_pinned_to_a_full_cluster_cost_what_a_few_do(
    priorities: int, ledger_file: Path, clock: FakeClock
) -> None:
    """In steps of SQLite's machine, which no busy computer can spoil."""
    pinned = {"clusters": ["GPU-A"]}

    def steps(first: int, last: int) -> int:
        with engine.transaction(ledger_file) as conn:
            some = [row(clock, n, wishes=pinned, priority=n % priorities) for n in range(first, last)]
            conn.execute(insert(jobs), [*some, row(clock, 10**6 + first)])
        taken = 0

        def step() -> None:
            nonlocal taken
            taken += 1

        with engine.view(ledger_file) as conn:
            conn.connection.dbapi_connection.set_progress_handler(step, 10)  # type: ignore[union-attr]
            full = {("portrait", Pin(clusters=("GPU-A",)))}
            found = line.in_line(conn, routes=["portrait"], but=(), limit=1, full=full)
            assert [one.pin for one in found] == [NO_PIN]
            line.in_line(conn, routes=["portrait"], but=(), limit=4)
            line.waiting(conn, ["portrait"], 10)
        return taken

    few = steps(0, 300)
    assert steps(1000, 9000) <= few * 1.2 + 5


def test_no_look_at_a_long_queue_sorts_it_or_goes_through_it(ledger_file: Path, clock: FakeClock) -> None:
    """A check of how SQLite goes about it, which no busy machine can spoil."""

    def one(n: int) -> dict[str, Any]:
        state = State.QUEUED if n % 3 else State.DELIVERED
        wishes = {"clusters": ["GPU-A"]} if n % 7 == 0 else {}
        return row(clock, n, route=f"route {n % 5}", state=state, priority=n % 4, wishes=wishes)

    with engine.transaction(ledger_file) as conn:
        conn.execute(insert(jobs), [one(n) for n in range(100_000)])
        quota.begin_day(conn, "2026-11-22", "2026-11-21T16:00:00.000Z")
    asked: list[tuple[str, Any]] = []
    with engine.view(ledger_file) as conn:
        event.listen(conn, "before_cursor_execute", lambda _, __, text, given, *___: asked.append((text, given)))
        routes = [f"route {n}" for n in range(5)]
        found = line.in_line(conn, routes=routes, but={f"{n:016}" for n in range(9)}, limit=4)
        assert len(found) == 5 * 4 * 4 * 2
        line.waiting(conn, routes, 1000)
        line.paid_for(conn, routes=routes, but=set(), limit=4)
        line.lagging(conn, routes=["route 1"], but={"1"})
        spares.left_behind(conn)
        quota.in_flight(conn, "route 1")
        quota.used(conn, "2026-11-22", "route 1")
        quota.used(conn, "2026-11-22")
        plans = [
            step[-1]
            for text, given in list(asked)
            for step in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", given)
        ]
    allowed = (
        r"SEARCH jobs USING (COVERING )?INDEX jobs_(in_line|by_age|in_flight|lagging) \(route=\?.*", r"SCAN days",
        r"SCAN spares.*",  # a handful at any time
        r"CO-ROUTINE anon_1", r"SCAN anon_1", r"USE TEMP B-TREE FOR GROUP BY",  # of what is counted
        r"SEARCH submissions",  # the last one
        r"SCAN jobs USING INDEX jobs_paid_for", r"SEARCH jobs USING INDEX sqlite_autoindex_jobs_1 \(id=\?\)",
        r"SEARCH submissions USING INTEGER PRIMARY KEY \(rowid>\?\)", "CORRELATED SCALAR SUBQUERY .*",
        r"SEARCH (sources|submissions) USING INDEX ix_(sources|submissions)_job_id \(job_id=\?\)",  # of one job
    )  # fmt: skip
    assert [step for step in plans if not any(re.fullmatch(form, step) for form in allowed)] == []


async def test_a_job_that_has_lost_an_answer_is_not_the_one_to_be_sent_once_more(
    books: Books, clock: FakeClock
) -> None:
    lost = await books.job(State.SUBMITTED, "lost.png", status="pending", lags_since=clock.text())
    unknown = {"job_id": lost.id, "at": clock.text(), "cluster": "GPU-A800", "outcome": Outcome.UNKNOWN}
    await books.ledger.write(lambda c: c.execute(insert(submissions).values(**unknown)))
    assert await books.ledger.read(lambda c: line.lagging(c, routes=["portrait"], but=())) is None
    clock.run(1)
    late = await books.job(State.SUBMITTED, "late.png", status="pending", lags_since=clock.text())
    found = await books.ledger.read(lambda c: line.lagging(c, routes=["portrait"], but=()))
    assert found is not None
    assert found.id == late.id
