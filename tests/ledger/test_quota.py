"""A day's tasks: what counts, since when, and that no clock gives any of them twice; and pauses by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Connection, insert

from renderdrop.ledger import engine, quota
from renderdrop.ledger.schema import submissions
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
