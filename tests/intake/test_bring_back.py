"""A retried job's files come back into the inbox together, under one number where a name is taken."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Connection

from renderdrop.intake.bring_back import _came as bring_back_one
from renderdrop.intake.bring_back import bring_back, renamed
from renderdrop.ledger import moves, queries
from renderdrop.ledger.adopt import adopt
from renderdrop.ledger.line import in_line
from renderdrop.model import sidecar
from renderdrop.model.arrival import Arrival
from renderdrop.model.job import Job, Place, Role, Source
from renderdrop.model.lifecycle import State
from renderdrop.model.notice import sentence
from renderdrop.model.route import Input, Route
from renderdrop.model.wishes import Wishes
from renderdrop.runtime.disk import Disks

if TYPE_CHECKING:
    from tests.conftest import Books
    from tests.intake.conftest import Watch, Watched

Make = Callable[..., Route]
AT = "2026-11-22T14:18:00.000Z"


@pytest.fixture
def dance(watch: Watch, make_route: Make) -> Watched:
    inputs = (Input("input_image", "image"), Input("input_video", "video"), Input("mask", "image", "_mask", True))
    return watch(make_route("dance", inputs=inputs, bundle="stem"))


async def failed(
    watched: Watched, *paths: str, bundle: str | None = None, refusal: str | None = None, ids: tuple[str, ...] = ("j1",)
) -> Job:
    """Jobs of these files, ended and filed in failed/ as filing away leaves them."""
    route, books = watched.route, watched.books
    files = []
    for path in paths:
        (route.failed / path).parent.mkdir(parents=True, exist_ok=True)
        (route.failed / path).write_bytes(path.encode())
        now = (route.failed / path).stat()
        role = Role.TICKET if path.endswith(".job.toml") else Role.FILE
        files.append(Source("input_image", path, now.st_size, now.st_mtime_ns, role=role))

    def deed(c: Connection) -> None:
        made = tuple((i, Wishes()) for i in (ids if refusal is None else ids[:1]))
        [became] = adopt(c, AT, route, [Arrival(made, tuple(files), AT, bundle=bundle, refusal=refusal)])
        assert became is not None
        for job_id in became.jobs:
            if refusal is None:
                assert moves.move(c, job_id, State.QUEUED, State.FAILED, AT, "why", error="why")
            for f in files:
                told = None if f.role is Role.TICKET else f.path
                moves.record_source(c, job_id, f.path, place=Place.FAILED, stored=f.path, told=told, filed=True)

    await books.ledger.write(deed)
    job = await books.see(ids[0])
    for path in paths:
        (route.failed / f"{path}.error.txt").write_text(sentence(job, job.source))
        (route.failed / f"{path}.error.json").write_bytes(sidecar.write(job, success=False))
    return job


async def retried(watched: Watched, *ids: str) -> None:
    for job_id in ids:
        assert await watched.books.ledger.write(lambda c, j=job_id: moves.retry(c, j, State.FAILED, AT))  # type: ignore[misc]
    routes = {watched.route.name: watched.route}
    assert await bring_back(watched.route, watched.books.ledger, watched.clock, Disks(), routes) == len(ids)


def files_in(root: Path) -> list[str]:
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("[!.]*") if p.is_file())


async def test_files_of_all_roles_come_back_and_their_notices_go(dance: Watched) -> None:
    await failed(dance, "s/a.jpg", "s/a.mp4", "s/a.job.toml", bundle="s/a")
    await retried(dance, "j1")
    assert files_in(dance.root) == ["s/a.job.toml", "s/a.jpg", "s/a.mp4"]
    assert files_in(dance.route.failed) == ["s/a.job.toml.error.json", "s/a.job.toml.error.txt"]
    job = await dance.one()
    assert {(s.place, s.stored, s.told) for s in job.sources} == {(Place.INBOX, None, None)}
    assert job.state is State.QUEUED
    assert await dance.settle() == 0  # they are the open job's


async def test_what_merely_bears_a_notices_name_is_somebodys_and_stays(dance: Watched, tmp_path: Path) -> None:
    await failed(dance, "a.jpg", "a.mp4", "b.jpg", "b.mp4", bundle="a")
    told, theirs = dance.route.failed, tmp_path / "theirs"
    theirs.write_text("not ours")
    with (told / "a.jpg.error.txt").open("a") as notice:
        notice.write("Mended it, try again. Bo\n")
    (told / "a.jpg.error.json").write_text('{"schema": "renderdrop/sidecar/1", "job_id": "j1", "status": "fail"}')
    for name, bring in (("a.mp4.error.txt", os.symlink), ("a.mp4.error.json", os.link)):
        (told / name).unlink()
        bring(theirs, told / name)
    (told / "b.jpg.error.txt").write_bytes((told / "b.mp4.error.txt").read_bytes().replace(b"Job j1", b"Job j2"))
    (told / "b.mp4.error.txt").unlink()
    os.mkfifo(told / "b.mp4.error.txt")
    await retried(dance, "j1")
    assert sorted(os.listdir(told)) == [
        "a.jpg.error.json", "a.jpg.error.txt", "a.mp4.error.json", "a.mp4.error.txt", "b.jpg.error.txt",
        "b.mp4.error.txt",
    ]  # fmt: skip
    assert theirs.read_text() == "not ours"


@pytest.mark.parametrize(
    ("paths", "bundle", "taken", "back"),
    [
        (("a.jpg",), None, "a.jpg", ["a-2.jpg"]),
        (("a.jpg", "a.jpg.job.toml"), None, "a.jpg.job.toml", ["a-2.jpg", "a-2.jpg.job.toml"]),
        (("a.jpg", "a.mp4", "A_mask.png"), "a", "a.mp4", ["A-2_mask.png", "a-2.jpg", "a-2.mp4"]),
        (("s/x.jpg", "s/deep/y.mp4"), "s", "s/other.png", ["s-2/deep/y.mp4", "s-2/x.jpg"]),
    ],
)
async def test_where_one_name_is_taken_all_get_the_same_number(
    paths: tuple[str, ...], bundle: str | None, taken: str, back: list[str], dance: Watched
) -> None:
    await failed(dance, *paths, bundle=bundle)
    dance.drop(taken, b"somebody else's")
    await retried(dance, "j1")
    assert sorted(p for p in files_in(dance.root) if p != taken) == back
    job = await dance.one()
    assert sorted(s.path for s in job.sources) == back
    assert job.bundle == (None if bundle is None else f"{bundle}-2")
    assert (dance.root / taken).read_bytes() == b"somebody else's"


async def test_a_job_that_was_refused_is_judged_afresh_with_its_files(dance: Watched) -> None:
    await failed(dance, "a.jpg", "a.mp4", "a.job.toml", bundle="a", refusal="a.job.toml: sede may not be set here")
    (dance.route.failed / "a.job.toml").unlink()  # whoever retried took the bad ticket away

    def without_ticket(c: Connection) -> None:
        moves.record_source(c, "j1", "a.job.toml", place=Place.GONE, stored=None)

    await dance.books.ledger.write(without_ticket)
    await retried(dance, "j1")
    assert (await dance.one()).waiting_for is not None
    assert await dance.settle() == 1
    job = await dance.one()
    assert (job.id, job.waiting_for, [s.path for s in job.sources]) == ("j1", None, ["a.jpg", "a.mp4"])


async def test_two_jobs_of_the_same_files_share_the_way_back(dance: Watched) -> None:
    await failed(dance, "a.jpg", "a.mp4", bundle="a", ids=("j1", "j2"))
    await retried(dance, "j1", "j2")
    for job in await dance.all():
        assert job.state is State.QUEUED
        assert {s.place for s in job.sources} == {Place.INBOX}


async def test_a_job_one_of_whose_files_is_gone_cannot_run_and_moves_nothing(dance: Watched) -> None:
    await failed(dance, "a.jpg", "a.mp4", bundle="a")
    (dance.route.failed / "a.mp4").unlink()
    await retried(dance, "j1")
    job = await dance.one()
    assert (job.state, files_in(dance.root)) == (State.CANCELLED, [])
    assert "not where the job left it" in (job.error or "")
    assert [(s.place, s.filed) for s in job.sources] == [(Place.FAILED, True), (Place.GONE, True)]
    assert (dance.route.failed / "a.jpg").exists()


async def test_a_paid_job_goes_on_without_a_file_that_is_gone(dance: Watched) -> None:
    job = await failed(dance, "a.jpg", "a.mp4", bundle="a")
    await dance.books.ledger.write(lambda c: moves.change(c, job.id, State.FAILED, AT, paid=True))
    (dance.route.failed / "a.mp4").unlink()
    await retried(dance, "j1")
    job = await dance.one()
    assert (job.state, [s.place for s in job.sources]) == (State.QUEUED, [Place.INBOX, Place.GONE])


async def test_a_paid_job_without_its_file_is_not_forgotten_while_its_notices_are_still_there(dance: Watched) -> None:
    job = await failed(dance, "a.jpg", "a.mp4", bundle="a")
    await dance.books.ledger.write(lambda c: moves.change(c, job.id, State.FAILED, AT, paid=True))
    (dance.route.failed / "a.mp4").unlink()
    await dance.books.ledger.write(lambda c: moves.retry(c, "j1", State.FAILED, AT))
    job = await dance.one()

    def came(c: Connection) -> None:  # and the daemon was killed before the notices went
        for source in job.sources:
            bring_back_one(c, job, source, "gone" if source.path == "a.mp4" else "moved")

    await dance.books.ledger.write(came)
    assert [j.id for j in await dance.books.ledger.read(lambda c: queries.away(c, "dance"))] == ["j1"]
    await bring_back(dance.route, dance.books.ledger, dance.clock, Disks(), {"dance": dance.route})
    ready = await dance.books.ledger.read(lambda c: in_line(c, routes=["dance"], but=(), limit=9))
    assert [j.id for j in ready] == ["j1"]


async def test_what_the_folder_takes_no_more_fails_where_it_is(watch: Watch, make_route: Make) -> None:
    watched = watch(make_route())
    await failed(watched, "a.mp4")
    await retried(watched, "j1")
    job = await watched.one()
    assert (job.state, job.source.place, files_in(watched.root)) == (
        State.FAILED, Place.FAILED, [],
    )  # fmt: skip
    assert "takes an image" in (job.error or "")


async def test_a_way_back_that_was_cut_off_is_gone_on_with(dance: Watched) -> None:
    await failed(dance, "a.jpg", "a.mp4", bundle="a")
    (dance.route.failed / "a.jpg").rename(dance.root / "a.jpg")  # moved, and the power went before it was written
    await retried(dance, "j1")
    assert files_in(dance.root) == ["a.jpg", "a.mp4"]
    assert (await dance.one()).state is State.QUEUED
    assert await dance.books.ledger.read(lambda c: queries.away(c, "dance")) == []


async def test_names_are_numbered_so_that_partners_stay_partners_however_long_they_are(books: Books) -> None:
    job, long = await books.job(), "x" * 252
    there = replace(job, bundle=long, sources=(replace(job.source, path=f"{long}.ab"),))
    assert renamed(there, 1) == ({f"{long}.ab": f"{long}.ab"}, long)
    names, bundle = renamed(there, 12)
    assert names == {f"{long}.ab": f"{'x' * 249}-12.ab"}
    assert bundle == f"{long}-12"[-255:]


async def test_a_file_that_bears_a_returning_folders_name_has_taken_it(dance: Watched) -> None:
    await failed(dance, "s/x.jpg", "s/deep/y.mp4", bundle="s")
    dance.drop("s", b"somebody else's")
    await retried(dance, "j1")
    assert files_in(dance.root) == ["s", "s-2/deep/y.mp4", "s-2/x.jpg"]
    assert (await dance.one()).bundle == "s-2"
    assert (dance.root / "s").read_bytes() == b"somebody else's"


async def test_what_has_no_place_in_the_inbox_stays_where_it_is_and_the_others_come_back(dance: Watched) -> None:
    """A file stands where a folder above them was: that is their job's trouble, and not the share's."""
    paths = ("sub/s/x.jpg", "sub/s/y.mp4"), ("sub/c.jpg", "sub/c.mp4"), ("b.jpg", "b.mp4")
    for job_id, files, bundle in zip(("j1", "j2", "j3"), paths, ("sub/s", "sub/c", "b"), strict=True):
        await failed(dance, *files, bundle=bundle, ids=(job_id,))
    dance.drop("sub", b"somebody else's")
    await retried(dance, "j1", "j2", "j3")
    assert files_in(dance.root) == ["b.jpg", "b.mp4", "sub"]
    for job_id in ("j1", "j2"):
        job = await dance.books.see(job_id)
        assert (job.state, {(s.place, s.filed) for s in job.sources}) == (State.FAILED, {(Place.FAILED, True)})
        assert "has a file where a folder belongs; move that file away; then `retry`" in (job.error or "")
    (dance.root / "sub").unlink()
    await retried(dance, "j1", "j2")
    assert files_in(dance.root) == ["b.jpg", "b.mp4", *sorted([*paths[0], *paths[1]])]
