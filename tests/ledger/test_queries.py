"""What the stages are told: who is next, who is away, which names and paths are spoken for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from renderdrop.ledger import line, moves, queries
from renderdrop.ledger.adopt import adopt
from renderdrop.ledger.queries import Known
from renderdrop.model.arrival import Arrival
from renderdrop.model.job import Job, Place, Source
from renderdrop.model.lifecycle import ENDS, IN_MOTION, OPEN, State
from renderdrop.model.route import Route
from renderdrop.model.wishes import Wishes

if TYPE_CHECKING:
    from tests.conftest import Books, FakeClock

AT = "2026-11-22T14:18:00.000Z"


def _paths(jobs: list[Job]) -> list[str]:
    return [job.source.path for job in jobs]


async def test_rendered_jobs_come_in_the_order_in_which_they_were_finished(books: Books, clock: FakeClock) -> None:
    second = await books.job(State.RENDERED, "b.png", finished_at="2026-11-22T15:00:00.000Z")
    await books.job(State.RENDERED, "a.png", finished_at="2026-11-22T16:00:00.000Z")
    await books.job(State.SUBMITTED, "c.png")
    found = await books.ledger.read(lambda c: queries.rendered(c, routes=["portrait"], but=set(), limit=9))
    assert _paths(found) == ["b.png", "a.png"]
    found = await books.ledger.read(lambda c: queries.rendered(c, routes=["portrait"], but={second.id}, limit=9))
    assert _paths(found) == ["a.png"]


async def test_what_is_with_the_platform_is_told_with_its_task(books: Books) -> None:
    job = await books.job(State.SUBMITTED, task="77", status="running", progress=5.0, node="K")
    await books.job(State.SUBMITTING, "b.png")
    [known] = await books.ledger.read(queries.submitted)
    assert known[:7] == (job.id, "portrait", "app", "77", "running", 5.0, "K")
    assert (known.workflow_id, known.cluster, known.submitted_at) == ("1234", "GPU-4090", job.times.submitted)
    assert _paths(await books.ledger.read(queries.submitting)) == ["b.png"]


async def test_our_tasks_are_counted_by_cluster(books: Books) -> None:
    await books.job(State.SUBMITTING, "a.png")
    await books.job(State.SUBMITTED, "b.png", status="running")
    await books.job(State.SUBMITTED, "c.png", cluster="GPU-A800")
    await books.job(State.RENDERED, "d.png")
    found = await books.ledger.read(queries.on_clusters)
    assert sorted(found) == [("GPU-4090", "", 1), ("GPU-4090", "running", 1), ("GPU-A800", "", 1)]


async def test_an_inbox_knows_the_paths_of_open_jobs_and_of_sources_that_still_lie_there(books: Books) -> None:
    for n, state in enumerate(State):
        job = await books.job(state, f"{state}.png", size=n, mtime_ns=n)
        if state is State.CANCELLED:
            await books.ledger.write(lambda c, i=job.id: moves.record_source(c, i, "cancelled.png", place=Place.GONE))  # type: ignore[misc]
    known = await books.ledger.read(lambda c: queries.known_in_inbox(c, "portrait"))
    assert {path: there.open for path, there in known.items()} == {
        f"{state}.png": state in OPEN for state in State if state is not State.CANCELLED
    }
    asked = await books.ledger.read(lambda c: queries.known_paths(c, "portrait", ["queued.png", "cancelled.png", "x"]))
    assert asked == {"queued.png": known["queued.png"]}
    assert await books.ledger.read(lambda c: queries.known_in_inbox(c, "dance")) == {}


async def test_of_several_jobs_of_one_path_the_open_one_counts_and_else_the_latest(books: Books) -> None:
    await books.job(State.DELIVERED, mtime_ns=1)
    await books.job(State.DELIVERED, mtime_ns=2)
    assert await books.ledger.read(lambda c: queries.known_in_inbox(c, "portrait")) == {"a.png": Known(3, 2, False)}
    await books.job(State.QUEUED, mtime_ns=3)
    assert await books.ledger.read(lambda c: queries.known_in_inbox(c, "portrait")) == {"a.png": Known(3, 3, True)}


async def test_many_paths_can_be_asked_after_at_once(books: Books) -> None:
    await books.job(path="1199.png")
    paths = [f"{n}.png" for n in range(1200)]
    assert list(await books.ledger.read(lambda c: queries.known_paths(c, "portrait", paths))) == ["1199.png"]


async def test_a_base_is_reserved_from_its_choice_until_it_is_delivered(books: Books) -> None:
    mine = await books.job(State.RENDERED, "sub/a.png", base="a")
    await books.job(State.RENDERED, "sub/b.png", base="b")
    await books.job(State.RENDERED, "c.png", base="c")
    await books.job(State.RENDERED, "sub/d.png")
    await books.job(State.DELIVERED, "sub/e.png", base="e")
    assert await books.ledger.read(lambda c: queries.reserved_bases(c, "portrait", "sub", mine.id)) == ["b"]
    assert await books.ledger.read(lambda c: queries.reserved_bases(c, "portrait", "", mine.id)) == ["c"]
    assert await books.ledger.read(lambda c: queries.reserved_bases(c, "dance", "sub", "")) == []


async def test_a_place_in_the_archive_is_reserved_until_the_source_is_filed(books: Books) -> None:
    states = {
        State.RENDERED: Place.DONE,
        State.DELIVERED: Place.DONE,
        State.FAILED: Place.FAILED,
        State.CANCELLED: Place.FAILED,
    }
    for state in states:
        job = await books.job(state, f"{state}.png")
        await books.ledger.write(
            partial(moves.record_source, job_id=job.id, path=f"{state}.png", stored=f"s/{state}.png")
        )
    filed = await books.job(State.FAILED, "filed.png")
    await books.ledger.write(lambda c: moves.record_source(c, filed.id, "filed.png", stored="filed.png", filed=True))
    for place in (Place.DONE, Place.FAILED):
        found = await books.ledger.read(lambda c, p=place: queries.reserved_stores(c, "portrait", p, ""))  # type: ignore[misc]
        assert sorted(found) == sorted(f"s/{state}.png" for state in states if states[state] is place)
    assert filed.id


async def test_ended_jobs_are_filed_until_nothing_is_left(books: Books) -> None:
    for state in State:
        await books.job(state, f"{state}.png")
    found = await books.ledger.read(lambda c: queries.to_file(c, routes=["portrait"], but=set(), limit=9))
    assert {job.state for job in found} == ENDS
    gone = found[0]
    await books.ledger.write(lambda c: moves.record_source(c, gone.id, gone.source.path, filed=True))
    found = await books.ledger.read(lambda c: queries.to_file(c, routes=["portrait"], but=set(), limit=9))
    assert {job.state for job in found} == ENDS - {gone.state}
    assert await books.ledger.read(lambda c: queries.to_file(c, routes=[], but=set(), limit=9)) == []


async def test_the_daemon_has_work_until_all_is_ended_and_filed_and_held_jobs_are_a_persons(books: Books) -> None:
    for state in State:
        await books.job(state, f"{state}.png")
    left = await books.ledger.read(queries.unfinished)
    assert {job.state for job in left} == IN_MOTION | ENDS
    for job in await books.all():
        await books.ledger.write(lambda c, j=job: moves.record_source(c, j.id, j.source.path, filed=True))  # type: ignore[misc]
    assert {job.state for job in await books.ledger.read(queries.unfinished)} == IN_MOTION


async def test_only_jobs_that_are_over_have_staging_to_spare(books: Books) -> None:
    ids = []
    for state in State:
        job = await books.job(state, f"{state}.png")
        ids.append(job.id)
    assert await books.ledger.read(lambda c: queries.over(c, ids)) == []
    for job in await books.all():
        await books.ledger.write(lambda c, j=job: moves.record_source(c, j.id, j.source.path, filed=True))  # type: ignore[misc]
    over = await books.ledger.read(lambda c: queries.over(c, [*ids, "stranger"]))
    assert {(await books.see(i)).state for i in over} == ENDS


async def test_people_see_the_newest_first_and_as_much_as_they_ask_for(
    books: Books, clock: FakeClock, make_route: Callable[..., Route]
) -> None:
    for n in range(3):
        await books.job(State.FAILED if n == 1 else State.QUEUED, f"{n}.png")
        clock.run(1)
    await books.job(path="x.png", route=make_route("dance"))
    assert _paths(await books.ledger.read(queries.listed)) == ["x.png", "2.png", "1.png", "0.png"]
    assert _paths(await books.ledger.read(lambda c: queries.listed(c, states=[State.FAILED]))) == ["1.png"]
    assert _paths(await books.ledger.read(lambda c: queries.listed(c, route="portrait", limit=2))) == ["2.png", "1.png"]
    assert await books.ledger.read(queries.counts) == {State.QUEUED: 3, State.FAILED: 1}


async def test_hundreds_of_jobs_come_with_all_that_hangs_on_them(books: Books) -> None:
    def many(c: Connection) -> None:
        for n in range(600):
            files = (Source("input_image", f"{n}.png", 1, 1),)
            adopt(c, AT, books.route, [Arrival(((f"job{n:05}", Wishes()),), files, AT)])

    await books.ledger.write(many)
    found = await books.ledger.read(queries.listed)
    assert len({job.source.path for job in found}) == 600


async def test_an_id_may_be_typed_in_part(books: Books) -> None:
    one, two = await books.job(path="a"), await books.job(path="b")
    assert await books.ledger.read(lambda c: queries.matching(c, one.id[:10].upper())) == sorted([one.id, two.id])
    assert await books.ledger.read(lambda c: queries.matching(c, one.id)) == [one.id]
    for typed in ("%", "_", "0_", "nothing"):
        assert await books.ledger.read(lambda c, t=typed: queries.matching(c, t)) == []  # type: ignore[misc]


async def test_a_path_tells_its_jobs_the_newest_first(books: Books) -> None:
    old = await books.job(State.DELIVERED, mtime_ns=1)
    new = await books.job(State.QUEUED, mtime_ns=2)
    assert [j.id for j in await books.ledger.read(lambda c: queries.at_path(c, "portrait", "a.png"))] == [
        new.id,
        old.id,
    ]
    assert await books.ledger.read(lambda c: queries.at_path(c, "portrait", "b.png")) == []


async def test_what_ended_since_is_counted_whatever_the_clock_was_set_to(books: Books, clock: FakeClock) -> None:
    assert await books.ledger.read(queries.mark) == 0
    await books.job(State.FAILED, "old.png")
    since = await books.ledger.read(queries.mark)
    clock.run(-3 * 86400)
    for state in State:
        await books.job(state, f"{state}.png")
    found = await books.ledger.read(lambda c: queries.ended_since(c, since))
    assert found == dict.fromkeys([State.DELIVERED, State.FAILED, State.CANCELLED, State.HELD], 1)


async def test_a_job_that_does_not_exist_is_none(books: Books) -> None:
    assert await books.ledger.read(lambda c: queries.job(c, "nobody")) is None
    assert await books.ledger.read(queries.seen_folders) == frozenset[Path]()


async def test_a_file_that_an_ended_job_has_left_for_good_is_known_by_path_and_by_bundle(books: Books) -> None:
    kept = await books.job(State.DELIVERED, "sub/a.png", bundle="sub/a")
    unfiled = await books.job(State.DELIVERED, "b.png", bundle="b")
    again = await books.job(State.DELIVERED, "c.png", bundle="c")
    for job in (kept, again):
        await books.ledger.write(lambda c, j=job: moves.record_source(c, j.id, j.source.path, filed=True))  # type: ignore[misc]
    await books.job(State.QUEUED, "c.png", size=4)

    async def ask(**names: list[str]) -> dict[str, tuple[int, int]]:
        return await books.ledger.read(lambda c: queries.kept(c, "portrait", **names))

    assert await ask(paths=["sub/a.png", unfiled.source.path, "c.png"]) == {"sub/a.png": (3, 5)}
    assert await ask(bundles=["sub/a", "b", "c", "nobody"]) == {"sub/a.png": (3, 5)}
    assert await ask() == {}


async def test_what_an_open_job_has_begun_with_is_known_by_path_and_by_bundle(books: Books) -> None:
    jobs = [await books.job(state, f"{state}.png", bundle=str(state)) for state in State]
    waits = await books.job(path="w.png", bundle="w", waiting_for="input_video")
    begun = await books.ledger.read(
        lambda c: queries.begun(c, "portrait", paths=[*(j.source.path for j in jobs), waits.source.path])
    )
    assert begun == {j.source.path: j.id for j in jobs if j.state in OPEN}
    by_bundle = await books.ledger.read(lambda c: queries.begun(c, "portrait", bundles=[*map(str, State), "w"]))
    assert by_bundle == {j.bundle: j.id for j in jobs if j.state in OPEN}


async def test_jobs_that_wait_for_partners_are_told_and_never_sent_nor_do_they_own_their_files(books: Books) -> None:
    def in_line(c: Connection) -> list[line.InLine]:
        return line.in_line(c, routes=["portrait"], but=(), limit=9)

    waits = await books.job(path="a.png", waiting_for="input_video")
    other = await books.job(path="b.png")
    assert _paths(await books.ledger.read(lambda c: queries.incomplete(c, "portrait"))) == ["a.png"]
    assert [j.id for j in await books.ledger.read(in_line)] == [other.id]
    assert set(await books.ledger.read(lambda c: queries.known_in_inbox(c, "portrait"))) == {"b.png"}
    told = {job.id: job.waits for job in await books.ledger.read(queries.unfinished)}
    assert told == {waits.id: True, other.id: False}


async def test_the_maker_of_a_file_is_the_last_job_that_gave_it_in_that_folder(
    books: Books, make_route: Callable[..., Route]
) -> None:
    for n, (path, route) in enumerate(
        [("sub/a.png", "portrait"), ("a.png", "portrait"), ("a.png", "other"), ("sub/c.png", "portrait")]
    ):
        job = await books.job(State.DELIVERED, path, route=make_route(route), base="a", size=n)
        await books.ledger.write(lambda c, j=job: moves.record_output(c, j.id, 0, file="a.png"))  # type: ignore[misc]

    async def maker(folder: str, file: str = "a.png") -> str | None:
        found = await books.ledger.read(lambda c: queries.maker_of(c, ["portrait"], folder, file))
        return None if found is None else f"{found.source.path} {found.source.size}"

    assert await maker("") == "a.png 1"
    assert await maker("sub") in ("sub/a.png 0", "sub/c.png 3")
    assert await maker("elsewhere") is None
    assert await maker("", "b.png") is None
    books.clock.run(-3 * 86400)
    job = await books.job(State.DELIVERED, "a.png", base="a", size=4)
    await books.ledger.write(lambda c: moves.record_output(c, job.id, 0, file="a.png"))
    assert await maker("") == "a.png 4"
