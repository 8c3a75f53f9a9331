"""How settled files become jobs: a file feeds one at a time, and a bundle that waited is the one that is completed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from renderdrop.ledger import adopt as adopting
from renderdrop.ledger import line, moves, queries
from renderdrop.ledger.adopt import adopt
from renderdrop.model.arrival import Adopted, Arrival, Earlier
from renderdrop.model.job import Job, Place, Role, Source
from renderdrop.model.lifecycle import State
from renderdrop.model.route import Route
from renderdrop.model.wishes import MATRIX, TICKET, Wishes

if TYPE_CHECKING:
    from tests.conftest import Books

AT = "2026-11-22T14:18:00.000Z"
LATER = "2026-11-22T15:00:00.000Z"
PLAIN = Wishes()


def file(path: str = "a.png", size: int = 3, mtime_ns: int = 5, given: str = "input_image") -> Source:
    return Source(given, path, size, mtime_ns)


def arrival(job: str, *files: Source, refusal: str | None = None, waiting_for: str | None = None) -> Arrival:
    return Arrival(((job, PLAIN),), files or (file(),), AT, refusal=refusal, waiting_for=waiting_for)


async def adopted(books: Books, *arrivals: Arrival, route: Route | None = None, at: str = AT) -> list[Adopted | None]:
    return await books.ledger.write(lambda c: adopt(c, at, route or books.route, arrivals))


async def test_a_settled_file_becomes_a_queued_job_of_its_route(books: Books) -> None:
    assert await adopted(books, arrival("j1", file("sub/猫.png"))) == [Adopted(("j1",), AT)]
    job = await books.see("j1")
    assert (job.state, job.route, job.workflow_id, job.params) == (State.QUEUED, "portrait", "1234", {"prompt": "oil"})
    assert (job.source.path, job.source.size, job.source.mtime_ns, job.folder) == ("sub/猫.png", 3, 5, "sub")
    assert (job.times.seen, job.times.queued, job.times.submitted) == (AT, AT, None)
    assert (job.arrival, job.bundle, job.waiting_for) == ("j1", None, None)
    [step] = await books.ledger.read(lambda c: queries.steps(c, "j1"))
    assert (step.frm, step.to) == (None, State.QUEUED)


async def test_a_path_is_adopted_once_however_often_it_is_told(books: Books) -> None:
    assert await adopted(books, arrival("j1"), arrival("j2")) == [Adopted(("j1",), AT), None]
    assert await adopted(books, arrival("j3"), arrival("j4", file(size=99))) == [None, None]


@pytest.mark.parametrize("state", sorted(set(State) - {State.DELIVERED, State.FAILED, State.CANCELLED}))
async def test_an_open_job_owns_its_path_whatever_lies_there(state: State, books: Books) -> None:
    await books.job(state)
    assert await adopted(books, arrival("new", file(size=99, mtime_ns=99))) == [None]
    assert await adopted(books, arrival("new", file("b.mp4"), file(size=99))) == [None]


async def test_the_same_path_of_another_route_is_another_file(books: Books, make_route: Callable[..., Route]) -> None:
    await books.job()
    assert await adopted(books, arrival("new"), route=make_route("dance")) != [None]


async def test_a_kept_source_is_remembered_until_it_changes(books: Books) -> None:
    job = await books.job(State.DELIVERED)
    await books.ledger.write(lambda c: moves.record_source(c, job.id, "a.png", place=Place.INBOX, filed=True))
    assert await adopted(books, arrival("n1")) == [None]
    assert await adopted(books, arrival("n2", file(mtime_ns=6))) == [Adopted(("n2",), AT)]


async def test_a_kept_source_with_a_new_partner_is_a_new_job(books: Books) -> None:
    job = await books.job(State.DELIVERED)
    await books.ledger.write(lambda c: moves.record_source(c, job.id, "a.png", place=Place.INBOX, filed=True))
    assert await adopted(books, arrival("new", file(), file("a.mp4"))) == [Adopted(("new",), AT)]
    assert [s.path for s in (await books.see("new")).sources] == ["a.png", "a.mp4"]


@pytest.mark.parametrize(("size", "mtime_ns"), [(4, 5), (3, 6)])
async def test_a_file_of_another_size_or_mtime_is_a_new_job(size: int, mtime_ns: int, books: Books) -> None:
    await books.job(State.DELIVERED)
    assert await adopted(books, arrival("new", file(size=size, mtime_ns=mtime_ns))) == [Adopted(("new",), AT)]


@pytest.mark.parametrize("place", [Place.DONE, Place.DELETED, Place.GONE])
async def test_the_very_same_file_dropped_again_after_it_was_put_away_is_a_new_job(place: Place, books: Books) -> None:
    job = await books.job(State.DELIVERED)
    await books.ledger.write(lambda c: moves.record_source(c, job.id, "a.png", place=place, filed=True))
    assert await adopted(books, arrival("new")) == [Adopted(("new",), AT)]


async def test_a_source_that_comes_back_from_failed_brings_its_former_notices(books: Books) -> None:
    job = await books.job(State.FAILED, base="a")
    await books.ledger.write(
        lambda c: moves.record_source(
            c, job.id, "a.png", place=Place.FAILED, stored="s/a.png", told="s", filed=True
        )
    )  # fmt: skip
    assert await adopted(books, arrival("new")) == [Adopted(("new",), AT, (Earlier(job.id, "s/a.png", "s", "a"),))]


async def test_what_must_not_be_sent_fails_at_once_and_says_why(books: Books) -> None:
    await adopted(books, arrival("j1", refusal="no picture"))
    job = await books.see("j1")
    assert (job.state, job.error) == (State.FAILED, "no picture")
    assert await books.history(job) == [(None, State.QUEUED), (State.QUEUED, State.FAILED)]
    # A mere retry must not send it: its files are to be judged again.
    await books.ledger.write(lambda c: moves.retry(c, "j1", State.FAILED, LATER))
    assert (await books.see("j1")).waiting_for is not None
    assert await books.ledger.read(lambda c: line.in_line(c, routes=["portrait"], but=(), limit=9)) == []


async def test_all_that_came_with_it_is_remembered(books: Books) -> None:
    wishes = Wishes({"prompt": "猫", "seed": 7}, {"prompt": TICKET, "seed": TICKET}, ("GPU-A800",), version_id="9")
    files = (file("s/a.png"), Source("", "s/a.png.job.toml", 1, 2, role=Role.TICKET))
    made = Arrival((("j1", wishes),), files, AT, 5, "s/a", derived_from="s/z.json")
    await adopted(books, made)
    job = await books.see("j1")
    assert (job.params, job.priority, job.version_id) == ({"prompt": "猫", "seed": 7}, 5, "9")
    assert (job.wishes, job.bundle, job.derived_from) == (wishes, "s/a", "s/z.json")
    assert [s.role for s in job.sources] == [Role.FILE, Role.TICKET]


async def test_a_matrix_makes_several_jobs_of_the_same_files(books: Books) -> None:
    each = tuple((f"j{n}", Wishes({"seed": n}, {"seed": MATRIX}, label=f"seed-{n}")) for n in (1, 2, 3))
    assert await adopted(books, Arrival(each, (file(),), AT)) == [Adopted(("j1", "j2", "j3"), AT)]
    jobs = await books.ledger.read(lambda c: queries.siblings(c, "j1"))
    assert [(j.id, j.params["seed"], j.wishes.label, j.source.path) for j in jobs] == [
        (f"j{n}", n, f"seed-{n}", "a.png") for n in (1, 2, 3)
    ]
    assert await adopted(books, arrival("new")) == [None]


async def waits(books: Books, *files: Source, job: str = "w", waiting_for: str = "input_video") -> Job:
    [became] = await adopted(books, arrival(job, *files, waiting_for=waiting_for))
    assert became is not None
    return await books.see(became.jobs[0])


async def test_a_job_that_waits_for_partners_is_the_one_that_they_complete(books: Books) -> None:
    waiting = await waits(books)
    assert (waiting.state, waiting.waiting_for) == (State.QUEUED, "input_video")
    [became] = await adopted(books, arrival("new", file(), file("a.mp4", given="input_video")), at=LATER)
    assert became == Adopted(("w",), AT)
    [job] = await books.all()
    assert (job.id, job.waiting_for, job.updated) == ("w", None, LATER)
    assert [(s.input, s.path) for s in job.sources] == [("input_image", "a.png"), ("input_video", "a.mp4")]


async def test_a_job_that_waited_becomes_the_first_of_a_matrix(books: Books) -> None:
    await waits(books)
    both = (file(), file("a.mp4"))
    made = Arrival(
        (("n1", Wishes({"seed": 1}, {"seed": MATRIX})), ("n2", Wishes({"seed": 2}, {"seed": MATRIX}))), both, AT
    )
    assert await adopted(books, made, at=LATER) == [Adopted(("w", "n2"), AT)]
    jobs = await books.ledger.read(lambda c: queries.siblings(c, "w"))
    assert [(j.id, j.params["seed"], len(j.sources)) for j in jobs] == [("n2", 2, 2), ("w", 1, 2)]


async def test_two_jobs_that_waited_for_each_other_become_one(books: Books) -> None:
    await waits(books, file("a.png"), job="one")
    await waits(books, file("a.mp4"), job="two")
    [became] = await adopted(books, arrival("new", file("a.mp4"), file("a.png")))
    assert became is not None
    assert became.jobs == ("one",)
    states = {job.id: job.state for job in await books.all()}
    assert states == {"one": State.QUEUED, "two": State.CANCELLED}


async def test_a_bundle_whose_partners_never_came_fails_as_the_job_that_waited(books: Books) -> None:
    await waits(books)
    await adopted(books, arrival("new", refusal="input_video is missing"))
    [job] = await books.all()
    assert (job.id, job.state, job.error) == ("w", State.FAILED, "input_video is missing")


async def test_a_changed_file_of_a_job_that_waits_is_still_its_file(books: Books) -> None:
    await waits(books)
    await waits(books, file(size=8, mtime_ns=9), job="new")
    [job] = await books.all()
    assert (job.id, job.source.size, job.source.mtime_ns) == ("w", 8, 9)


async def test_a_job_that_was_disbanded_leaves_its_files_to_whoever_comes(books: Books) -> None:
    await waits(books)
    assert await books.ledger.write(lambda c: adopting.disband(c, "w", LATER, "taken away"))
    job = await books.see("w")
    assert (job.state, job.error, job.source.place, job.source.filed) == (
        State.CANCELLED, "taken away", Place.GONE, True,
    )  # fmt: skip
    assert await books.ledger.read(lambda c: queries.to_file(c, routes=["portrait"], but=(), limit=9)) == []
    assert await adopted(books, arrival("new")) == [Adopted(("new",), AT)]


async def test_only_a_job_that_has_not_been_sent_is_disbanded(books: Books) -> None:
    job = await books.job(State.SUBMITTED)
    assert not await books.ledger.write(lambda c: adopting.disband(c, job.id, LATER, "taken away"))
    assert (await books.see(job)).source.place is Place.INBOX


async def test_a_rerun_has_its_sources_where_they_were_found(books: Books) -> None:
    job = await books.job(State.DELIVERED)
    again = replace(
        job, id="again", arrival="again", wishes=Wishes({"seed": 1}, {"seed": "rerun"}, whole=True),
        sources=(replace(job.source, place=Place.DONE, stored="a.png"),),
    )  # fmt: skip
    await books.ledger.write(lambda c: adopting.insert_rerun(c, LATER, again))
    made = await books.see("again")
    assert (made.state, made.wishes.whole, made.source.place, made.source.stored) == (
        State.QUEUED, True, Place.DONE, "a.png",
    )  # fmt: skip
    assert [j.id for j in await books.ledger.read(lambda c: queries.away(c, "portrait"))] == ["again"]


async def test_a_batch_sees_what_the_arrivals_before_it_in_the_same_batch_have_become(books: Books) -> None:
    await adopted(books, arrival("w", file("a.png"), file("b.png"), waiting_for="input_video"))
    took, other, same = await adopted(
        books, arrival("n1", file("a.png")), arrival("n2", file("b.png")), arrival("n3", file("a.png")), at=LATER
    )
    assert (took, other, same) == (Adopted(("w",), AT), Adopted(("n2",), LATER), None)
    assert {job.id: [s.path for s in job.sources] for job in await books.all()} == {"w": ["a.png"], "n2": ["b.png"]}


async def test_a_refused_file_of_a_batch_fails_and_its_neighbours_go_on(books: Books) -> None:
    await adopted(
        books, arrival("j1"), arrival("j2", file("b.exe"), refusal="no picture"), arrival("j3", file("c.png"))
    )
    assert {job.id: job.state for job in await books.all()} == {
        "j1": State.QUEUED, "j2": State.FAILED, "j3": State.QUEUED,
    }  # fmt: skip
    assert await books.history(await books.see("j2")) == [(None, State.QUEUED), (State.QUEUED, State.FAILED)]


async def test_a_job_of_more_files_than_a_query_may_name_is_adopted(books: Books) -> None:
    many = [file(f"huge/{n}.png") for n in range(40_000)]
    assert await adopted(books, arrival("j1", *many, refusal="too many")) == [Adopted(("j1",), AT)]
    assert len((await books.see("j1")).sources) == 40_000
