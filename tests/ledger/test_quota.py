"""A day's tasks: what counts, since when, and that no clock gives any of them twice; and pauses by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, insert, select, update

from renderdrop.ledger import engine, quota
from renderdrop.ledger.schema import metadata, submissions
from renderdrop.model.job import Outcome
from renderdrop.model.lifecycle import State
from renderdrop.model.route import Route

if TYPE_CHECKING:
    from tests.conftest import Books

MIDNIGHT = "2026-11-22T00:00:00.000Z"


def send(c: Connection, job_id: str, number: int = 1, outcome: Outcome | None = Outcome.ACCEPTED, at: str = "") -> None:
    row = {"job_id": job_id, "at": at or "2026-11-22T10:00:00.000Z", "cluster": "G", "outcome": outcome}
    c.execute(insert(submissions), [row] * number)


async def test_what_cost_something_or_may_have_counts_by_route_and_in_all(
    books: Books, make_route: Callable[..., Route]
) -> None:
    mine, other = await books.job(), await books.job(path="b.png", route=make_route("dance"))

    def look(c: Connection) -> tuple[int | None, ...]:
        assert quota.used(c, "2026-11-22") is None
        quota.begin_day(c, "2026-11-22", MIDNIGHT)
        for outcome in (*Outcome, None):
            send(c, mine.id, outcome=outcome)
        send(c, other.id, 2)
        return (
            quota.used(c, "2026-11-22", "portrait"),
            quota.used(c, "2026-11-22", "dance"),
            quota.used(c, "2026-11-22"),
        )

    assert await books.ledger.write(look) == (3, 2, 5)  # accepted, unknown and open; not what was refused or not sent


async def test_a_ledger_that_knows_of_no_day_counts_from_midnight(books: Books) -> None:
    job = await books.job()

    def look(c: Connection) -> int | None:
        send(c, job.id, 4, at="2026-11-21T23:59:59.999Z")
        send(c, job.id, 3)
        quota.begin_day(c, "2026-11-22", MIDNIGHT)
        return quota.used(c, "2026-11-22")

    assert await books.ledger.write(look) == 3


Walk = list[tuple[str, int, int]]
"""The day that the clock shows, what is then found to be used of it, and how many more are sent."""

WALKS: dict[str, Walk] = {
    "a day after the other": [("11-22", 0, 5), ("11-22", 5, 2), ("11-23", 0, 5), ("11-30", 0, 1)],
    "set back, and right again": [("11-22", 0, 5), ("11-21", 5, 1), ("11-22", 6, 1), ("11-23", 0, 1)],
    "a machine that boots in 1970": [("11-22", 0, 5), ("01-01", 5, 0), ("11-22", 5, 2), ("11-23", 0, 0)],
    "booted in 1970 on the next day": [("11-22", 0, 5), ("01-01", 5, 0), ("11-23", 0, 0)],
    "ahead, and right again": [("11-22", 0, 5), ("12-24", 0, 3), ("11-22", 8, 0), ("11-23", 0, 1), ("11-24", 0, 0)],
    "a day comes that a clock had shown too early": [
        ("11-22", 0, 5), ("11-24", 0, 3), ("11-22", 8, 0), ("11-23", 0, 1), ("11-24", 0, 2), ("11-24", 2, 0),
    ],
    "to and fro about midnight": [("11-22", 0, 5), ("11-23", 0, 2), ("11-22", 7, 0), ("11-23", 2, 1), ("11-22", 8, 0)],
    "nothing is sent while it is ahead": [("11-22", 0, 5), ("12-24", 0, 0), ("11-22", 5, 0), ("11-23", 0, 0)],
}  # fmt: skip


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
async def test_no_clock_gives_a_day_twice_nor_takes_one_away(walk: Walk, books: Books) -> None:
    job = await books.job()

    def go(c: Connection) -> None:
        for date, used, more in walk:
            quota.begin_day(c, f"2026-{date}", MIDNIGHT)
            assert quota.used(c, f"2026-{date}") == used, date
            send(c, job.id, more) if more else None
            assert quota.used(c, f"2026-{date}") == used + more

    await books.ledger.write(go)


DEEDS = st.lists(
    st.sampled_from(["send mine", "send other", "answer", "answer last", "keep", "undone", "next day", "day before"]),
    max_size=40,
)


@given(deeds=DEEDS, outcomes=st.lists(st.sampled_from(list(Outcome)), min_size=40, max_size=40))
def test_what_was_counted_and_what_came_since_is_what_counting_all_of_it_gives(
    deeds: list[str], outcomes: list[Outcome]
) -> None:
    fresh, day, number, known = create_engine("sqlite://"), 22, 0, None
    with fresh.connect() as c:
        metadata.create_all(c)
        c.exec_driver_sql(
            "INSERT INTO jobs (id, route, kind, state, priority, attempts, workflow_id, params, paid, created, updated)"
            " VALUES ('mine', 'portrait', 'app', 'queued', 0, 0, '1', '{}', 0, '', ''),"
            " ('other', 'dance', 'app', 'queued', 0, 0, '1', '{}', 0, '', '')"
        )
        quota.begin_day(c, "2026-11-22", MIDNIGHT)
        for deed, outcome in zip(deeds, outcomes, strict=False):
            today = f"2026-11-{day}"
            opened = list(c.execute(select(submissions.c.id).where(submissions.c.outcome.is_(None))).scalars())
            if deed.startswith("send"):
                send(c, deed.removeprefix("send "), outcome=None if number % 3 else outcome)
                number += 1
            elif deed.startswith("answer") and opened:
                one = opened[-1 if "last" in deed else 0]
                c.execute(update(submissions).where(submissions.c.id == one).values(outcome=outcome))
            elif deed == "undone":  # a transaction that comes to nothing: its ids come again
                with c.begin_nested() as again:
                    send(c, "mine", 3)
                    found = quota.spent(c, today, known)
                    assert found is not None
                    assert found.used() == quota.used(c, today)
                    again.rollback()
            elif deed.endswith(("day", "before")):
                day += 1 if deed == "next day" else -1
                quota.begin_day(c, f"2026-11-{day}", MIDNIGHT)
            today = f"2026-11-{day}"
            found = quota.spent(c, today, known)
            assert found is not None
            for route in (None, "portrait", "dance"):
                assert found.used(route) == quota.used(c, today, route)
            known = found if deed == "keep" else known
    fresh.dispose()


async def test_a_day_of_many_thousands_is_counted_once(books: Books) -> None:
    """In steps of SQLite's machine, which no busy computer can spoil."""
    job = await books.job()

    def steps(c: Connection, known: quota.Spent | None) -> tuple[int, quota.Spent | None]:
        taken = 0

        def step() -> None:
            nonlocal taken
            taken += 1

        raw = c.connection.dbapi_connection
        raw.set_progress_handler(step, 10)  # type: ignore[union-attr]
        found = quota.spent(c, "2026-11-22", known)
        raw.set_progress_handler(None, 10)  # type: ignore[union-attr]
        return taken, found

    def look(c: Connection) -> None:
        quota.begin_day(c, "2026-11-22", MIDNIGHT)
        send(c, job.id, 5, None)
        few, known = steps(c, None)
        send(c, job.id, 20_000)
        _, known = steps(c, known)
        send(c, job.id, 5)
        many, known = steps(c, known)
        assert (many <= few * 3, known and known.used()) == (True, 20_010)

    await books.ledger.write(look)


async def test_what_is_with_the_platform_or_about_to_be_is_in_flight(
    books: Books, make_route: Callable[..., Route]
) -> None:
    for state in State:
        await books.job(state, f"{state}.png")
    assert await books.ledger.read(lambda c: quota.in_flight(c, "portrait")) == 2
    assert await books.ledger.read(lambda c: quota.in_flight(c, "dance")) == 0


def test_a_pause_is_kept_with_its_reason_until_it_is_taken_back(ledger_file: Path) -> None:
    def do(deed: Callable[..., Any], *given: Any) -> Any:
        with engine.transaction(ledger_file) as conn:
            return deed(conn, *given)

    assert do(quota.pause, "portrait", "2026-11-22T10:00:00.000Z", "no paper")
    assert not do(quota.pause, "portrait", "2026-11-23T10:00:00.000Z", None)
    assert do(quota.paused) == {"portrait": ("portrait", "2026-11-22T10:00:00.000Z", "no paper")}
    assert not do(quota.pause, "portrait", "2026-11-23T10:00:00.000Z", "no ink")
    assert do(quota.paused)["portrait"].reason == "no ink"
    assert do(quota.pause, "dance", "2026-11-23T10:00:00.000Z", None)
    assert do(quota.resume, "portrait")
    assert not do(quota.resume, "portrait")
    assert list(do(quota.paused)) == ["dance"]
