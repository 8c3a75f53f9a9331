"""An inbox with a real ledger and real files: what is taken, when, and what becomes of what must not be."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest
from structlog.testing import capture_logs

from renderdrop.ledger import line, moves
from renderdrop.model import sidecar
from renderdrop.model.errors import ShareOffline
from renderdrop.model.job import Place
from renderdrop.model.lifecycle import State
from renderdrop.model.notice import sentence
from renderdrop.model.route import Input, Route

if TYPE_CHECKING:
    from tests.intake.conftest import Watch, Watched

SETTLE = 2.0
MakeRoute: TypeAlias = "Callable[..., Route]"


async def test_what_lies_there_settles_and_becomes_a_job_each(watched: Watched) -> None:
    names = ["a.png", "sub/deep/肖像.JPG", "UPPER.PNG", os.fsdecode(b"caf\xe9.png"), "two\nlines.png"]
    for name in names:
        watched.drop(name)
    assert await watched.settle() == len(names)
    assert await watched.jobs() == dict.fromkeys(names, State.QUEUED)
    assert watched.inbox.idle
    for job in await watched.books.all():
        now = (watched.root / job.source.path).stat()
        assert (job.source.size, job.source.mtime_ns) == (now.st_size, now.st_mtime_ns)
        assert job.times.seen is not None
        assert job.times.queued is not None
        assert job.times.seen < job.times.queued
    assert await watched.settle() == 0


async def test_nothing_is_taken_before_its_time(watched: Watched) -> None:
    watched.drop("a.png")
    assert await watched.settle(SETTLE - 0.25) == 0
    assert not watched.inbox.idle
    assert watched.inbox.waiting == 1
    watched.clock.run(0.25)
    assert await watched.inbox.look() == 1


async def test_a_file_still_growing_is_not_taken(watched: Watched) -> None:
    path = watched.drop("a.png", b"")
    await watched.inbox.sweep()
    for n in range(40):
        with path.open("ab") as growing:
            growing.write(b"x")
        os.utime(path, ns=(n, n))
        watched.clock.run(0.25)
        assert await watched.inbox.look() == 0
    assert await watched.settle() == 1
    [job] = await watched.books.all()
    assert job.source.size == 40


async def test_a_file_allocated_whole_and_then_filled_is_not_taken_early(watched: Watched) -> None:
    path = watched.drop("a.mp4.png", b"\0" * 1000)
    await watched.inbox.sweep()
    with path.open("r+b") as filling:
        for n in range(12):
            filling.write(b"x")
            filling.flush()
            os.utime(path, ns=(n, n))
            watched.clock.run(1.5)
            assert await watched.inbox.look() == 0
    assert await watched.settle() == 1


async def test_a_file_that_a_program_has_open_for_writing_waits(watched: Watched) -> None:
    path = watched.drop("a.png")
    with capture_logs() as logs, path.open("r+b"):
        assert await watched.settle() == 0
    assert [e["event"] for e in logs] == ["file_still_written"]  # once
    assert await watched.settle() == 1


async def test_an_empty_file_waits_for_its_bytes_without_being_work(watched: Watched) -> None:
    path = watched.drop("a.png", b"")
    with capture_logs() as logs:
        assert await watched.settle() == 0
    assert [e["event"] for e in logs] == ["file_empty"]
    assert watched.inbox.idle
    path.write_bytes(b"x")
    await watched.inbox.glance(["a.png"])
    assert await watched.settle() == 1


async def test_what_is_ignored_is_never_seen(watch: Watch, route: Route) -> None:
    watched = watch(route, ignore=("**/*.psd", "raw/**"))
    for name in (
        ".hidden.png",
        "a.png.part",
        "~$a.png",
        "@eaDir/a.png",
        "sub/.x/b.png",
        "a.psd",
        "sub/B.PSD",
        "raw/a.png",
        "Thumbs.db",
    ):
        watched.drop(name)
    assert await watched.settle() == 0
    await watched.inbox.glance([".hidden.png", "raw/a.png", "@eaDir/a.png"])
    assert (watched.inbox.waiting, await watched.jobs()) == (0, {})


async def test_what_must_not_be_sent_fails_at_once_and_says_why(watched: Watched, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"not for the platform")
    (watched.root / "link.png").symlink_to(secret)
    os.mkfifo(watched.root / "pipe.png")
    with socket.socket(socket.AF_UNIX) as made:
        at = os.open(watched.root, os.O_RDONLY)
        made.bind(f"/proc/self/fd/{at}/s.png")
        os.close(at)
        watched.drop("notes.txt")
        with capture_logs() as logs:
            assert await watched.settle() == 4
    errors = {job.source.path: job.error for job in await watched.books.all()}
    assert set((await watched.jobs()).values()) == {State.FAILED}
    for name, words in (
        ("link.png", "symbolic link"),
        ("pipe.png", "named pipe"),
        ("s.png", "socket"),
        ("notes.txt", "an image"),
    ):
        assert words in (errors[name] or "")
    assert [e["event"] for e in logs] == ["job_failed"] * 4


async def test_nothing_behind_a_linked_folder_is_taken(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.png").write_bytes(b"x")
    (watched.root / "sub").symlink_to(tmp_path / "outside")
    await watched.inbox.glance(["sub/a.png"])
    await watched.settle()
    assert "sub/a.png" not in await watched.jobs()
    assert await watched.jobs() == {"sub": State.FAILED}


async def test_an_open_job_owns_its_file_and_a_kept_one_is_remembered(watched: Watched) -> None:
    path = watched.drop("a.png")
    assert await watched.settle() == 1
    path.write_bytes(b"changed while it waits")
    assert await watched.settle() == 0
    [job] = await watched.books.all()
    now = path.stat()
    await watched.books.ledger.write(lambda c: moves.cancel(c, job.id, State.QUEUED, watched.clock.text(), "done"))
    await watched.books.ledger.write(
        lambda c: moves.record_source(c, job.id, "a.png", size=now.st_size, mtime_ns=now.st_mtime_ns, filed=True)
    )
    assert await watched.settle() == 0
    os.utime(path, ns=(7, 7))
    assert await watched.settle() == 1


async def test_hints_find_what_no_sweep_has_seen_and_bring_a_look_forward(watched: Watched) -> None:
    await watched.inbox.sweep()
    watched.drop("a.png")
    await watched.inbox.glance(["a.png", "gone.png", "sub", ""])
    assert watched.inbox.waiting == 1
    await watched.inbox.glance(["a.png"])
    for _ in range(9):
        watched.clock.run(0.25)
        await watched.inbox.look()
    assert await watched.jobs() == {"a.png": State.QUEUED}
    await watched.inbox.glance(["a.png"])  # a job's already
    assert watched.inbox.waiting == 0


async def test_a_file_that_is_taken_away_again_is_forgotten(watched: Watched) -> None:
    one, other = watched.drop("a.png"), watched.drop("b.png")
    await watched.inbox.sweep()
    one.unlink()
    watched.clock.run(SETTLE)
    await watched.inbox.look()
    other.unlink()
    await watched.inbox.sweep()
    assert (watched.inbox.waiting, await watched.jobs()) == (0, {})
    assert watched.inbox.idle


async def test_a_source_back_from_failed_is_a_fresh_try_and_its_notices_are_taken_away(
    watched: Watched, route: Route
) -> None:
    failed = await watched.books.job(State.FAILED)
    await watched.books.ledger.write(
        lambda c: moves.record_source(
            c, failed.id, "a.png", place=Place.FAILED, stored="a-2.png", told="a-2.png", filed=True
        )
    )
    for name in ("a-2.png.error.txt", "other.png.error.txt"):
        (route.failed / name).write_text(sentence(failed, failed.source))
    (route.failed / "a-2.png.error.json").write_bytes(sidecar.write(failed, success=False))
    watched.drop("a.png")
    assert await watched.settle() == 1
    assert [p.name for p in route.failed.glob("[!.]*")] == ["other.png.error.txt"]


async def test_notices_stay_while_the_failed_source_is_still_there(watched: Watched, route: Route) -> None:
    failed = await watched.books.job(State.FAILED)
    await watched.books.ledger.write(
        lambda c: moves.record_source(
            c, failed.id, "a.png", place=Place.FAILED, stored="a.png", told="a.png", filed=True
        )
    )
    for name in ("a.png", "a.png.error.txt"):
        (route.failed / name).write_text(sentence(failed, failed.source))
    (route.failed / "a.png.error.json").write_bytes(sidecar.write(failed, success=False))
    watched.drop("a.png", b"another of the same name")
    assert await watched.settle() == 1
    assert len(list(route.failed.glob("[!.]*"))) == 3


async def test_an_inbox_that_cannot_be_reached_says_so_and_loses_nothing(watched: Watched) -> None:
    watched.drop("a.png")
    await watched.inbox.sweep()
    away = watched.root.rename(watched.root.with_name("away"))
    for deed in (watched.inbox.sweep, lambda: watched.inbox.glance(["b.png"])):
        with pytest.raises(ShareOffline):
            await deed()
    watched.clock.run(SETTLE)
    with pytest.raises(ShareOffline):
        await watched.inbox.look()
    assert watched.inbox.waiting == 1
    away.rename(watched.root)
    assert await watched.settle() == 1


async def test_hundreds_at_once_are_each_taken_once(watched: Watched) -> None:
    for n in range(450):
        watched.drop(f"{n:03}.png")
    assert await watched.settle() == 450
    assert len(await watched.jobs()) == 450


async def test_an_inbox_that_was_never_swept_is_not_idle(watched: Watched) -> None:
    assert not watched.inbox.idle
    await watched.inbox.sweep()
    assert watched.inbox.idle


async def test_notices_that_came_back_with_their_file_are_no_work_and_go(watch: Watch, make_route: MakeRoute) -> None:
    watched = watch(make_route(inputs=(Input("file", "any"),)))
    failed = await watched.books.job(State.FAILED, "b.png", route=watched.route)
    watched.drop("a.png")
    watched.drop("b.png.error.txt", sentence(failed, failed.source))
    watched.drop("b.png.error.json", sidecar.write(failed, success=False))
    watched.drop("notes.error.txt", "what the compiler said\nJob done.\n")
    assert await watched.settle() == 2
    assert {"a.png", "notes.error.txt"} < (await watched.jobs()).keys()
    assert sorted(path.name for path in watched.root.iterdir() if not path.name.startswith(".")) == [
        "a.png",
        "notes.error.txt",
    ]


async def test_what_looks_like_a_notice_and_is_none_of_this_ledgers_is_never_removed(
    watch: Watch, make_route: MakeRoute
) -> None:
    watched = watch(make_route(inputs=(Input("file", "any"),)))
    failed = await watched.books.job(State.FAILED, "b.png", route=watched.route)
    text, told = sentence(failed, failed.source), sidecar.write(failed, success=False)
    watched.drop("longer.error.txt", f"my own words\n{text}")
    watched.drop("foreign.error.txt", text.replace(failed.id, "0" * 16))
    watched.drop("foreign.error.json", told.replace(failed.id.encode(), b"0" * 16))
    watched.drop("more.error.json", told.replace(b"{", b'{"mine": 1,', 1))
    watched.drop("brief.error.json", f'{{"schema": "renderdrop/sidecar/1", "job_id": "{failed.id}"}}')
    before = {path.name: path.read_bytes() for path in watched.root.iterdir() if not path.name.startswith(".")}
    assert await watched.settle() == 1
    assert (await watched.jobs()).keys() == {"b.png", "longer.error.txt"}
    assert {path.name: path.read_bytes() for path in watched.root.iterdir() if path.name in before} == before


async def test_a_sidecar_of_ours_is_left_alone_where_it_lies(watch: Watch, make_route: MakeRoute) -> None:
    watched = watch(make_route(inputs=(Input("file", "any"),)))
    done = await watched.books.job(State.DELIVERED, "b.png", route=watched.route)
    path = watched.drop("b.json", sidecar.write(done, success=True))
    assert await watched.settle() == 0
    assert path.exists()
    assert watched.inbox.idle


async def test_what_settles_at_one_moment_waits_in_the_order_that_people_list_it_in(watched: Watched) -> None:
    """120 frames within a millisecond are more than one commit takes, and f10 comes after f9."""
    names = [f"f{n}.png" for n in range(1, 121)]
    for name in reversed(names):
        watched.drop(name)
    assert await watched.settle() == len(names)
    books, route = watched.books, watched.route.name
    waiting = await books.ledger.read(lambda c: line.in_line(c, routes=[route], but=set(), limit=len(names)))
    assert len({job.queued_at for job in waiting}) == 1
    by_id = {job.id: job.source.path for job in await books.all()}
    assert [by_id[job.id] for job in waiting] == names
    assert list(by_id.values()) == names, "`jobs` lists the newest first, so these the other way round"
