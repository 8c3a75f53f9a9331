"""What is sent is what settled: all of a job's files or none, and the operator's own beside them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from renderdrop.dispatch.opened import Opened
from renderdrop.dispatch.upload import Stopping
from renderdrop.ledger import queries
from renderdrop.model.errors import Fault, RouteDown, ShareOffline, SourceChanged, SourceGone
from renderdrop.model.job import Constant, Place
from renderdrop.model.lifecycle import State
from renderdrop.runtime.disk import Disk
from renderdrop.share.source import SourceFile

if TYPE_CHECKING:
    from tests.dispatch.conftest import Yard

FILES = {"input_image": ("a.jpg", b"picture"), "input_video": ("a.mp4", b"video")}
REST: Any = {"text": ("a.txt", b"oil painting"), "ticket": ("a.mp4.job.toml", b"priority = 1")}


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def touch(path: Path) -> None:
    os.utime(path, ns=(7, 7))


def swap(path: Path) -> None:
    path.with_name("other").write_bytes(b"another one")
    os.replace(path.with_name("other"), path)


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


HARM: dict[str, Callable[[Path], None]] = {"grown": grow, "touched": touch, "swapped": swap, "gone": Path.unlink}
NAMES = ["a.jpg", "a.mp4", "a.txt", "a.mp4.job.toml"]


@pytest.fixture
def held(yard: Yard) -> Yard:
    """A route with a constant file of the operator's."""
    refs = yard.route.inbox.parent / "refs"
    refs.mkdir()
    (refs / "style 1.png").write_bytes(b"in oil")
    yard.use(replace(yard.route, constants={"style": refs / "style 1.png"}))
    return yard


async def test_every_source_and_constant_is_sent_under_its_own_name(held: Yard) -> None:
    job = await held.job(FILES, **REST)
    await held.rounds()
    [asked] = held.asked
    assert asked.files == {**FILES, "style": ("style 1.png", b"in oil")}
    now = await held.books.see(job)
    assert now.state is State.SUBMITTED
    assert now.sent.constants == (Constant("style", "style 1.png", 6, hashlib.sha256(b"in oil").hexdigest()),)
    assert all(source.sha256 is not None and len(source.sha256) == 64 for source in now.sources)
    assert len({source.sha256 for source in now.sources}) == 4


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("harm", HARM)
async def test_a_file_that_is_not_what_settled_ends_the_job_before_anything_is_sent(
    harm: str, name: str, held: Yard, still_open: Callable[[], set[str]]
) -> None:
    job = await held.job(FILES, **REST)
    HARM[harm](held.route.inbox / name)
    await held.rounds()
    now = await held.books.see(job)
    assert (now.state, held.asked, now.submissions) == (State.CANCELLED, [], ())
    assert {(source.place, source.filed) for source in now.sources} == {(Place.GONE, True)}
    assert await held.books.ledger.read(lambda c: queries.known_in_inbox(c, "portrait")) == {}
    assert still_open() == set()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("harm", ["grown", "touched"])
async def test_a_file_that_changes_while_the_request_is_under_way_keeps_it_from_becoming_whole(
    harm: str, name: str, held: Yard, still_open: Callable[[], set[str]]
) -> None:
    job = await held.job(FILES, **REST)
    held.meanwhile = lambda: HARM[harm](held.route.inbox / name)
    await held.rounds()
    now = await held.books.see(job)
    assert (now.state, held.asked) == (State.CANCELLED, [])
    assert [s.complete for s in now.submissions] == [False]
    assert {(source.place, source.filed) for source in now.sources} == {(Place.GONE, True)}
    assert still_open() == set()


async def test_a_link_in_a_sources_place_fails_the_job_and_is_not_followed(held: Yard) -> None:
    job = await held.job(FILES, **REST)
    link(held.route.inbox / "a.mp4")
    await held.rounds()
    now = await held.books.see(job)
    assert (now.state, held.asked) == (State.FAILED, [])
    assert "link" in (now.error or "")


async def test_a_constant_that_is_missing_pauses_the_route_and_burns_nothing(held: Yard) -> None:
    [path] = held.route.constants.values()
    path.rename(path.with_name("away"))
    jobs = [await held.job({"input_image": (f"{n}.png", b"x")}) for n in range(3)]
    await held.rounds(3)
    trouble = held.troubles.of("route", "portrait")
    assert trouble is not None
    assert "style 1.png" in trouble.sentence
    for job in jobs:
        now = await held.books.see(job)
        assert (now.state, now.attempts, now.submissions, now.source.place) == (State.QUEUED, 0, (), Place.INBOX)
    path.with_name("away").rename(path)
    await held.rounds(4, apart=200)
    assert held.troubles.of("route", "portrait") is None
    assert len(held.asked) == 3


async def test_a_constant_that_is_saved_anew_meanwhile_makes_the_route_wait_and_lets_no_source_go(held: Yard) -> None:
    [path] = held.route.constants.values()
    job = await held.job(FILES)
    held.meanwhile = lambda: grow(path)
    await held.rounds()
    now = await held.books.see(job)
    assert (now.state, now.attempts, held.asked) == (State.QUEUED, 0, [])
    assert {source.place for source in now.sources} == {Place.INBOX}
    held.meanwhile = lambda: None
    await held.rounds(2, apart=200)
    assert held.asked[0].files["style"] == ("style 1.png", b"in oilmore")


@pytest.mark.parametrize(
    ("harm", "fault"),
    [("a.mp4", SourceGone), ("a.txt", SourceChanged), ("constant", RouteDown), ("folder", RouteDown)],
)
async def test_files_that_cannot_all_be_opened_leave_none_open(
    harm: str, fault: type[Fault], held: Yard, still_open: Callable[[], set[str]]
) -> None:
    job = await held.job(FILES, **REST)
    [path] = held.route.constants.values()
    if harm == "a.mp4":
        (held.route.inbox / harm).unlink()
    elif harm == "a.txt":
        grow(held.route.inbox / harm)
    else:
        path.unlink()
    if harm == "folder":
        path.mkdir()
    with pytest.raises(fault):
        Opened.of(Disk(), held.route, job, lambda: False)
    assert still_open() == set()


async def test_closing_twice_is_as_good_as_once(held: Yard, still_open: Callable[[], set[str]]) -> None:
    job = await held.job(FILES, **REST)
    with Opened.of(Disk(), held.route, job, lambda: False) as files:
        assert len(still_open()) == 5
        assert files.being_written() is False
        files.close()
    assert still_open() == set()


@pytest.mark.parametrize("name", NAMES)
async def test_a_writer_of_any_source_postpones_the_job(name: str, held: Yard) -> None:
    job = await held.job(FILES, **REST)
    with (held.route.inbox / name).open("ab"):
        await held.rounds()
        assert (await held.state(job), held.asked) == (State.QUEUED, [])
    await held.rounds()
    assert await held.state(job) is State.SUBMITTED


async def test_stopping_abandons_every_file(held: Yard, still_open: Callable[[], set[str]]) -> None:
    job = await held.job(FILES, **REST)
    with Opened.of(Disk(), held.route, job, lambda: True) as files, pytest.raises(Stopping):
        await files.check()
    assert still_open() == set()


async def test_no_trouble_of_the_share_after_the_acceptance_loses_the_task(
    held: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text was small and read when its job was made; the share goes away in the instant of the answer."""
    job = await held.job(FILES, **REST)
    read = SourceFile.read
    gone: list[int] = []

    def reading(file: SourceFile, offset: int, count: int) -> bytes:
        if gone:
            raise ShareOffline("the share is gone")
        return read(file, offset, count)

    monkeypatch.setattr(SourceFile, "read", reading)
    take = held._take

    def last(asked: Any) -> str:
        gone.append(1)
        return take(asked)

    monkeypatch.setattr(held, "_take", last)
    await held.rounds()
    now = await held.books.see(job)
    assert (now.state, now.task_id) == (State.SUBMITTED, "230")
    assert all(source.sha256 for source in now.sources)
