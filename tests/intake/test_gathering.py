"""Bundles, tickets, texts, matrices and chains in a real inbox: what belongs together is one job, whenever it came."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Connection
from structlog.testing import capture_logs

from renderdrop.intake.bring_back import bring_back
from renderdrop.ledger import moves
from renderdrop.model import sidecar
from renderdrop.model.errors import ShareOffline
from renderdrop.model.job import Job, Place, Role
from renderdrop.model.lifecycle import State
from renderdrop.model.route import Input, Route
from renderdrop.runtime.disk import Disks

if TYPE_CHECKING:
    from tests.conftest import Books
    from tests.intake.conftest import Watch, Watched

Make = Callable[..., Route]
SETTLE, WAIT = 2.0, 10.0
IMAGE, VIDEO = Input("input_image", "image"), Input("input_video", "video")
MASK = Input("mask", "image", "_mask", optional=True)


@pytest.fixture
def dance(watch: Watch, make_route: Make) -> Watched:
    return watch(make_route("dance", inputs=(IMAGE, VIDEO), bundle="stem", bundle_timeout=60.0))


@pytest.fixture
def masked(watch: Watch, make_route: Make) -> Watched:
    return watch(make_route("dance", inputs=(IMAGE, VIDEO, MASK), bundle="stem"), ticket_wait=WAIT)


@pytest.fixture
def folders(watch: Watch, make_route: Make) -> Watched:
    return watch(make_route("dance", inputs=(IMAGE, VIDEO, MASK), bundle="folder"))


@pytest.fixture
def ticketed(watch: Watch, make_route: Make) -> Watched:
    route = make_route(params={"prompt": "oil", "seed": 1}, params_allowed=("prompt", "seed"))
    return watch(route, ticket_wait=WAIT)


def parts(job: Job) -> dict[str, str]:
    return {s.path: s.input or s.role for s in job.sources}


# bundles by stem


@pytest.mark.parametrize("names", [("s/a.jpg", "s/a.mp4"), ("s/a.mp4", "s/A.JPG")])
async def test_partners_that_come_together_are_one_job(names: tuple[str, str], dance: Watched) -> None:
    for name in names:
        dance.drop(name)
    assert await dance.settle() == 1
    job = await dance.one()
    assert [s.input for s in job.sources] == ["input_image", "input_video"]
    assert (job.waiting_for, job.bundle, job.state) == (None, job.sources[0].path[:-4], State.QUEUED)
    assert dance.inbox.idle
    assert await dance.settle() == 0


async def test_a_partner_that_comes_hours_later_completes_the_job_that_waited(watch: Watch, make_route: Make) -> None:
    dance = watch(make_route("dance", inputs=(IMAGE, VIDEO), bundle="stem", bundle_timeout=0.0))
    dance.drop("a.mp4")
    with capture_logs() as logs:
        assert await dance.settle() == 0
        waiting = await dance.one()
        assert (waiting.waiting_for, parts(waiting)) == ("input_image", {"a.mp4": "input_video"})
        assert dance.inbox.idle
        for _ in range(5):
            dance.clock.run(7200)
            assert await dance.settle() == 0
    assert [e["event"] for e in logs] == ["bundle_waits"]
    dance.drop("a.png")
    assert await dance.settle() == 1
    job = await dance.one()
    assert (job.id, job.waiting_for, list(parts(job))) == (waiting.id, None, ["a.png", "a.mp4"])


async def test_what_never_came_is_named_after_the_timeout_and_not_before(dance: Watched) -> None:
    dance.drop("clip.jpg")
    assert await dance.settle() == 0
    assert await dance.look(50) == 0
    assert await dance.look(10) == 1
    job = await dance.one()
    assert (job.state, job.error) == (
        State.FAILED, "input_video is missing: no video with the name clip came within 60 s",
    )  # fmt: skip


async def test_a_bundle_that_waited_through_a_restart_has_waited_all_that_time(dance: Watched) -> None:
    dance.drop("clip.jpg")
    await dance.settle()
    [before] = await dance.all()
    dance.restart()
    dance.clock.run(40)
    assert await dance.settle() == 0
    assert await dance.look(20) == 1
    job = await dance.one()
    assert (job.id, job.state) == (before.id, State.FAILED)


async def test_a_clock_set_back_makes_a_bundle_wait_no_longer_than_anew(dance: Watched) -> None:
    dance.drop("clip.jpg")
    await dance.settle()
    dance.restart()
    dance.clock.wall = dance.clock.wall.replace(year=2020)
    assert await dance.settle() == 0
    assert await dance.look(60) == 1


@pytest.mark.parametrize("jump", [7200, -7200, -3 * 86400])
async def test_a_clock_that_is_set_while_a_bundle_waits_makes_it_wait_neither_longer_nor_shorter(
    dance: Watched, jump: int
) -> None:
    dance.drop("clip.jpg")
    await dance.settle()
    dance.clock.wall += timedelta(seconds=jump)
    dance.drop("clip_notes.jpg")  # another one that waits, and has the first looked at again
    dance.drop("clip.jpg", "another picture")
    assert await dance.settle() == 0
    assert await dance.look(40) == 0
    assert await dance.look(20) == 2


async def test_a_bundle_that_a_person_cancelled_waits_anew_when_it_is_tried_again(dance: Watched) -> None:
    path, route, ledger = dance.drop("clip.jpg"), dance.route, dance.books.ledger
    assert await dance.settle() == 0
    job = await dance.one()

    def cancelled_and_filed(c: Connection) -> None:
        assert moves.cancel(c, job.id, State.QUEUED, dance.clock.text(), "not wanted")
        moves.record_source(c, job.id, "clip.jpg", place=Place.FAILED, stored="clip.jpg", filed=True)

    await ledger.write(cancelled_and_filed)
    path.rename(route.failed / path.name)
    await dance.settle()
    dance.clock.run(300)
    assert await ledger.write(lambda c: moves.retry(c, job.id, State.CANCELLED, dance.clock.text()))
    assert await bring_back(route, ledger, dance.clock, Disks(), {route.name: route}) == 1
    assert await dance.settle() == 0
    assert await dance.look(40) == 0
    assert (await dance.one()).state is State.QUEUED
    assert await dance.look(20) == 1
    assert "came within 60 s" in ((await dance.one()).error or "")


async def test_a_partner_still_being_copied_is_not_missing(dance: Watched) -> None:
    dance.drop("clip.jpg")
    await dance.settle()
    film = dance.drop("clip.mp4", b"")
    await dance.inbox.glance(["clip.mp4"])
    for _ in range(100):
        with film.open("ab") as growing:
            growing.write(b"x")
        dance.clock.run(1)
        assert await dance.inbox.look() == 0
    assert await dance.settle() == 1
    assert (await dance.one()).state is State.QUEUED


async def test_two_pictures_of_one_stem_are_an_error_that_names_both(dance: Watched) -> None:
    for name in ("a.jpg", "a.png", "a.mp4"):
        dance.drop(name)
    assert await dance.settle() == 1
    job = await dance.one()
    assert (job.state, len(job.sources), job.bundle) == (State.FAILED, 3, "a")
    assert job.error == "two files are for input_image, a.jpg and a.png: keep one of them"


async def test_files_of_a_waiting_job_that_are_taken_away_end_it(dance: Watched) -> None:
    path = dance.drop("a.jpg")
    await dance.settle()
    path.unlink()
    await dance.settle()
    job = await dance.one()
    assert (job.state, job.source.place, job.source.filed) == (State.CANCELLED, Place.GONE, True)
    assert dance.inbox.idle


async def test_files_of_a_waiting_job_that_went_while_nobody_looked_end_it(dance: Watched) -> None:
    path = dance.drop("a.jpg")
    await dance.settle()
    path.unlink()
    dance.restart()
    await dance.settle()
    assert (await dance.one()).state is State.CANCELLED


async def test_one_of_several_files_taken_away_is_waited_for_again(watch: Watch, make_route: Make) -> None:
    watched = watch(make_route(inputs=(IMAGE, VIDEO, Input("sound", "audio")), bundle="stem", bundle_timeout=60.0))
    watched.drop("a.jpg")
    film = watched.drop("a.mp4")
    await watched.settle()
    film.unlink()
    await watched.settle()
    job = await watched.one()
    assert (job.state, job.waiting_for, parts(job)) == (State.QUEUED, "input_video, sound", {"a.jpg": "input_image"})


async def test_a_changed_file_of_a_waiting_job_is_waited_with_as_it_is_now(dance: Watched) -> None:
    path = dance.drop("a.jpg")
    await dance.settle()
    path.write_bytes(b"a larger picture")
    await dance.settle()
    dance.drop("a.mp4")
    assert await dance.settle() == 1
    job = await dance.one()
    assert (job.source.size, job.source.mtime_ns) == (16, path.stat().st_mtime_ns)


async def test_an_optional_partner_has_its_time_to_come(masked: Watched) -> None:
    for name in ("a.jpg", "a.mp4"):
        masked.drop(name)
    assert await masked.settle() == 0
    assert not masked.inbox.idle
    masked.drop("a_mask.png")
    assert await masked.settle() == 0
    assert await masked.look(WAIT) == 1
    assert [s.input for s in (await masked.one()).sources] == ["input_image", "input_video", "mask"]


async def test_an_optional_partner_that_does_not_come_is_done_without(masked: Watched) -> None:
    for name in ("a.jpg", "a.mp4"):
        masked.drop(name)
    assert await masked.settle(WAIT + SETTLE) == 1
    masked.drop("a_mask.png")
    await masked.settle(WAIT + SETTLE)
    first, late = await masked.all()
    assert late.state is State.FAILED
    assert f"a_mask.png came too late: job {first.id} has begun without it" in (late.error or "")


async def test_a_partner_without_a_byte_is_waited_for(masked: Watched) -> None:
    for name in ("a.jpg", "a.mp4"):
        masked.drop(name)
    mask = masked.drop("a_mask.png", b"")
    assert await masked.settle(3 * WAIT) == 0
    job = await masked.one()
    assert (job.waiting_for, len(job.sources)) == ("mask", 2)
    assert masked.inbox.idle
    mask.write_bytes(b"x")
    await masked.inbox.glance(["a_mask.png"])
    assert await masked.settle(3 * WAIT) == 1
    assert len((await masked.one()).sources) == 3


async def test_a_kept_file_belongs_to_a_new_partner_again(watch: Watch, make_route: Make, books: Books) -> None:
    dance = watch(make_route("dance", inputs=(IMAGE, VIDEO), bundle="stem", after="keep"))
    film = dance.drop("a.mp4", b"one")
    dance.drop("a.jpg")
    assert await dance.settle() == 1
    await _deliver_and_keep(books, await dance.one())
    assert await dance.settle() == 0
    film.write_bytes(b"another take")
    assert await dance.settle() == 1
    _, again = await dance.all()
    assert (again.state, again.waiting_for, list(parts(again))) == (State.QUEUED, None, ["a.jpg", "a.mp4"])


async def test_a_kept_file_that_another_now_disputes_is_left_where_it_is(
    watch: Watch, make_route: Make, books: Books
) -> None:
    dance = watch(make_route("dance", inputs=(IMAGE, VIDEO), bundle="stem", after="keep"))
    for name in ("a.jpg", "a.mp4"):
        dance.drop(name)
    await dance.settle()
    await _deliver_and_keep(books, await dance.one())
    dance.drop("a.png")
    assert await dance.settle() == 1
    _, failed = await dance.all()
    assert (failed.state, list(parts(failed))) == (State.FAILED, ["a.png"])


async def _deliver_and_keep(books: Books, job: Job) -> None:
    def deed(c: Any) -> None:
        assert moves.cancel(c, job.id, State.QUEUED, "2026-11-22T14:18:00.000Z", "over")
        for s in job.sources:
            moves.record_source(c, job.id, s.path, filed=True)

    await books.ledger.write(deed)


# bundles by folder


async def test_a_folder_is_one_job_when_all_that_is_below_it_has_settled(folders: Watched) -> None:
    folders.drop("shot1/a.jpg")
    folders.drop("shot1/deep/b.mp4")
    folders.drop("shot1/m_mask.png")
    folders.drop("shot1/job.toml", 'params.prompt = "ink"')
    assert await folders.settle() == 1
    job = await folders.one()
    assert (job.bundle, job.in_folder, job.params) == ("shot1", True, {"prompt": "ink"})
    assert parts(job) == {
        "shot1/a.jpg": "input_image", "shot1/deep/b.mp4": "input_video", "shot1/m_mask.png": "mask",
        "shot1/job.toml": "ticket",
    }  # fmt: skip


async def test_a_folder_in_which_something_still_grows_waits_as_a_whole(folders: Watched) -> None:
    folders.drop("shot1/a.jpg")
    folders.drop("shot1/b.mp4")
    growing = folders.drop("shot1/deep/m_mask.png")
    await folders.inbox.sweep()
    for n in range(20):
        folders.clock.run(1)
        growing.write_bytes(b"x" * (n + 2))
        assert await folders.inbox.look() == 0
    assert await folders.settle() == 1
    assert len((await folders.one()).sources) == 3


async def test_what_no_sweep_has_seen_yet_belongs_to_its_folder_too(folders: Watched) -> None:
    folders.drop("shot1/a.jpg")
    folders.drop("shot1/b.mp4")
    await folders.inbox.sweep()
    await folders.look(SETTLE - 0.5)
    folders.drop("shot1/deep/m_mask.png")
    assert await folders.look(SETTLE) == 0
    assert await folders.look(2 * SETTLE) == 1
    assert len((await folders.one()).sources) == 3


async def test_a_file_beside_the_folders_is_refused(folders: Watched) -> None:
    folders.drop("loose.jpg")
    assert await folders.settle() == 1
    job = await folders.one()
    assert (job.state, job.bundle) == (State.FAILED, None)
    assert "put it with its partners into a folder" in (job.error or "")


# tickets


async def test_a_file_waits_for_its_ticket_and_no_longer(ticketed: Watched) -> None:
    ticketed.drop("a.png")
    assert await ticketed.settle(WAIT - 0.5) == 0
    assert not ticketed.inbox.idle
    assert await ticketed.look(0.5) == 1
    assert (await ticketed.one()).params == {"prompt": "oil", "seed": 1}


@pytest.mark.parametrize("names", [("a.png", "a.png.job.toml"), ("a.png.job.toml", "A.PNG")])
async def test_a_ticket_within_its_time_counts_whichever_came_first(names: tuple[str, str], ticketed: Watched) -> None:
    data = {"a.png": "x", "A.PNG": "x", "a.png.job.toml": 'priority = 7\nparams.prompt = "猫"\nparams.seed = 9'}
    ticketed.drop(names[0], data[names[0]])
    await ticketed.settle(8)
    ticketed.drop(names[1], data[names[1]])
    assert await ticketed.settle() == 1
    job = await ticketed.one()
    assert (job.params, job.priority) == ({"prompt": "猫", "seed": 9}, 7)
    assert job.wishes.origins == {"prompt": "ticket", "seed": "ticket"}
    assert [s.role for s in job.sources] == [Role.FILE, Role.TICKET]


async def test_a_ticket_still_being_written_is_waited_for(ticketed: Watched) -> None:
    ticketed.drop("a.png")
    ticket = ticketed.drop("a.png.job.toml", "params.seed = 1")
    await ticketed.inbox.sweep()
    for n in range(30):
        ticket.write_text(f"params.seed = {n}" + " " * n)
        ticketed.clock.run(1)
        assert await ticketed.inbox.look() == 0
    assert await ticketed.settle() == 1
    assert (await ticketed.one()).params["seed"] == 29


async def test_a_ticket_without_a_byte_holds_up_nobody_for_long(ticketed: Watched) -> None:
    ticketed.drop("a.png")
    ticketed.drop("a.png.job.toml", b"")
    assert await ticketed.settle(WAIT + 3 * SETTLE) == 1
    assert [s.path for s in (await ticketed.one()).sources] == ["a.png"]


async def test_a_bad_ticket_fails_its_job_once_with_the_key_named_and_goes_with_its_file(ticketed: Watched) -> None:
    ticketed.drop("a.png")
    ticketed.drop("a.png.job.toml", "params.sede = 1")
    assert await ticketed.settle() == 1
    job = await ticketed.one()
    assert (job.state, list(parts(job))) == (State.FAILED, ["a.png", "a.png.job.toml"])
    assert job.error == "a.png.job.toml: sede may not be set here; allowed: prompt, seed"


@pytest.mark.parametrize("make", [lambda p, s: p.symlink_to(s), lambda p, s: os.mkfifo(p)], ids=["link", "pipe"])
async def test_a_ticket_that_is_no_file_is_never_read(make: Any, ticketed: Watched, tmp_path: Any) -> None:
    secret = tmp_path / "secret.toml"
    secret.write_text("params.seed = 1")
    ticketed.drop("a.png")
    make(ticketed.root / "a.png.job.toml", secret)
    assert await ticketed.settle(WAIT + SETTLE) == 1
    assert (await ticketed.one()).state is State.FAILED


async def test_a_ticket_whose_job_has_begun_says_so_at_once(ticketed: Watched) -> None:
    ticketed.drop("a.png")
    await ticketed.settle(WAIT)
    ticketed.drop("a.png.job.toml", "params.seed = 2")
    assert await ticketed.settle(WAIT + SETTLE) == 1
    job, late = await ticketed.all()
    assert (job.state, late.state, late.source.path) == (State.QUEUED, State.FAILED, "a.png.job.toml")
    assert f"came too late: job {job.id}" in (late.error or "")


async def test_a_ticket_whose_file_never_comes_is_told_of_and_holds_up_nobody(ticketed: Watched) -> None:
    ticketed.drop("clip.png.job.toml", "params.seed = 2")
    assert await ticketed.settle() == 0
    assert (ticketed.inbox.idle, await ticketed.all()) == (True, [])
    ticketed.clock.run(1800)
    assert await ticketed.look(SETTLE) == 1
    job = await ticketed.one()
    assert (job.state, job.source.role) == (State.FAILED, Role.FILE)
    assert (job.error or "").startswith("there is no clip.png for this ticket; a ticket is named like its file")


async def test_an_orphan_ticket_is_not_judged_before_its_file_is_there(ticketed: Watched) -> None:
    ticketed.drop("a.png.job.toml", "nonsense")
    assert await ticketed.settle(600) == 0
    ticketed.drop("a.png")
    assert await ticketed.settle() == 1
    job = await ticketed.one()
    assert (job.state, len(job.sources)) == (State.FAILED, 2)


async def test_a_batch_ticket_holds_for_all_below_it_and_stays_where_it_is(ticketed: Watched) -> None:
    ticketed.drop("_batch.job.toml", 'priority = 1\nparams.prompt = "far"')
    ticketed.drop("night/_batch.job.json", json.dumps({"params": {"prompt": "near"}}))
    ticketed.drop("night/deep/a.png")
    ticketed.drop("night/deep/a.png.job.toml", "params.seed = 3")
    ticketed.drop("b.png")
    assert await ticketed.settle(WAIT + SETTLE) == 2
    jobs = {job.source.path: job for job in await ticketed.all()}
    near, far = jobs["night/deep/a.png"], jobs["b.png"]
    assert (near.params, near.priority, list(parts(near))) == (
        {"prompt": "near", "seed": 3}, 1, ["night/deep/a.png", "night/deep/a.png.job.toml"],
    )  # fmt: skip
    assert near.wishes.origins == {"prompt": "batch", "seed": "ticket"}
    assert far.params == {"prompt": "far", "seed": 1}
    assert ticketed.inbox.idle
    assert await ticketed.settle() == 0


async def test_a_batch_ticket_that_no_sweep_has_seen_is_waited_for(ticketed: Watched) -> None:
    ticketed.drop("s/a.png")
    await ticketed.settle(WAIT - 1)
    ticketed.drop("s/_batch.job.toml", 'params.prompt = "ink"')
    assert await ticketed.look(2) == 0
    assert await ticketed.look(2 * SETTLE) == 1
    assert (await ticketed.one()).params["prompt"] == "ink"


async def test_a_batch_ticket_being_changed_holds_up_what_it_is_for_and_nothing_else(ticketed: Watched) -> None:
    ticketed.drop("s/_batch.job.toml", 'params.prompt = "one"')
    await ticketed.settle()
    ticketed.drop("s/a.png")
    ticketed.drop("b.png")
    await ticketed.settle(WAIT - 1)
    ticketed.drop("s/_batch.job.toml", 'params.prompt = "another"')
    await ticketed.inbox.glance(["s/_batch.job.toml"])
    assert await ticketed.look(1.5) == 1
    assert await ticketed.look(2 * SETTLE) == 1
    assert [(j.source.path, j.params["prompt"]) for j in await ticketed.all()] == [
        ("b.png", "oil"), ("s/a.png", "another"),
    ]  # fmt: skip


async def test_a_bad_batch_ticket_fails_what_it_is_for_and_names_itself(ticketed: Watched) -> None:
    ticketed.drop("s/_batch.job.toml", "params.seed = 'x'")
    ticketed.drop("s/a.png")
    ticketed.drop("b.png")
    assert await ticketed.settle(WAIT + SETTLE) == 2
    jobs = {job.source.path: job for job in await ticketed.all()}
    assert jobs["b.png"].state is State.QUEUED
    assert jobs["s/a.png"].error == (
        "s/_batch.job.toml: seed must be a whole number, as in the settings of this folder"
    )


# texts, links, matrices


async def test_a_dropped_text_becomes_a_parameter_and_goes_before_a_ticket(watch: Watch, make_route: Make) -> None:
    route = make_route(inputs=(IMAGE, Input("prompt", "text")), bundle="stem", params={}, params_allowed=("prompt",))
    watched = watch(route)
    watched.drop("a.png")
    watched.drop("a.txt", "油画，一只猫".encode("gbk"))
    watched.drop("a.job.toml", 'params.prompt = "ticket"')
    assert await watched.settle() == 1
    job = await watched.one()
    assert (job.params, job.wishes.origins) == ({"prompt": "油画，一只猫"}, {"prompt": "text"})
    assert [s.role for s in job.sources] == [Role.FILE, Role.TEXT, Role.TICKET]
    assert job.wishes.notes == ("a.txt was read as GBK; save it as UTF-8",)


async def test_a_text_that_cannot_be_read_fails_with_the_way_out(watch: Watch, make_route: Make) -> None:
    watched = watch(make_route(inputs=(Input("prompt", "text"),)))
    watched.drop("a.txt", b"\xff\xfe\xfa")
    assert await watched.settle() == 1
    assert (await watched.one()).error == "a.txt is not UTF-8 text; save it as UTF-8"


@pytest.fixture
def model(watch: Watch, make_route: Make) -> Watched:
    route = make_route(
        kind="model", clusters=(), inputs=(Input("prompt", "text"), Input("images", "image")), bundle="stem", params={},
        params_allowed=(),
    )  # fmt: skip
    return watch(route, ticket_wait=WAIT)


async def test_a_link_or_a_ticket_stands_for_pictures_that_are_public(model: Watched) -> None:
    model.drop("a.txt", "a cat")
    model.drop("a.url", "[InternetShortcut]\nURL=https://a.b/c.png")
    model.drop("b.txt", "a dog")
    model.drop("b.job.json", json.dumps({"params": {"images": ["https://a.b/d.png"]}}))
    assert await model.settle(WAIT + SETTLE) == 2
    jobs = {job.name: job for job in await model.all()}
    assert jobs["a"].params == {"prompt": "a cat", "images": "https://a.b/c.png"}
    assert jobs["b"].params == {"prompt": "a dog", "images": ["https://a.b/d.png"]}
    assert jobs["b"].wishes.origins == {"prompt": "text", "images": "ticket"}


async def test_a_ticket_alone_is_a_job_where_it_names_all_that_is_needed(watch: Watch, make_route: Make) -> None:
    route = make_route(
        kind="model", clusters=(), inputs=(Input("images", "image"),), params={"prompt": "oil"}, params_allowed=()
    )
    watched = watch(route, ticket_wait=WAIT)
    watched.drop("s/cat.png.job.toml", 'params.images = "https://a.b/c.png"')
    assert await watched.settle(WAIT + SETTLE) == 1
    job = await watched.one()
    assert (job.state, job.stem, job.folder, job.inputs) == (State.QUEUED, "cat", "s", ())
    assert job.params == {"prompt": "oil", "images": "https://a.b/c.png"}


async def test_a_text_that_a_ticket_gives_may_still_come_as_a_file(watch: Watch, make_route: Make) -> None:
    route = make_route(inputs=(IMAGE, Input("prompt", "text")), bundle="stem", params={}, params_allowed=("prompt",))
    watched = watch(route, ticket_wait=WAIT)
    watched.drop("_batch.job.toml", 'params.prompt = "for all"')
    for name in ("a.png", "b.png"):
        watched.drop(name)
    assert await watched.settle() == 0
    watched.drop("b.txt", "for b alone")
    assert await watched.settle(2 * WAIT) == 2
    assert {job.name: job.params["prompt"] for job in await watched.all()} == {"a": "for all", "b": "for b alone"}


async def test_a_matrix_makes_a_job_of_each_combination(watch: Watch, make_route: Make) -> None:
    watched = watch(make_route(matrix={"seed": (1, 2, 3)}, params_allowed=("seed",)))
    watched.drop("a.png")
    watched.drop("b.png")
    watched.drop("b.png.job.toml", "params.seed = 9")
    assert await watched.settle() == 4
    jobs = await watched.all()
    assert sorted((j.source.path, j.params["seed"], j.wishes.label) for j in jobs) == [
        ("a.png", 1, "seed-1"), ("a.png", 2, "seed-2"), ("a.png", 3, "seed-3"), ("b.png", 9, ""),
    ]  # fmt: skip
    assert len({j.arrival for j in jobs if j.source.path == "a.png"}) == 1


async def test_a_bad_ticket_fails_one_job_and_not_one_for_each_combination(watch: Watch, make_route: Make) -> None:
    watched = watch(make_route(matrix={"seed": (1, 2, 3)}))
    watched.drop("a.png")
    watched.drop("a.png.job.toml", "x")
    assert await watched.settle() == 1


# chains


def _sidecar(job: Job) -> bytes:
    return sidecar.write(job, success=True)


async def test_sidecars_of_ours_are_never_taken_wherever_they_lie(watch: Watch, make_route: Make, books: Books) -> None:
    watched = watch(make_route(inputs=(Input("x", "any"),)))
    job = await books.job(State.DELIVERED, "z.png")
    path = watched.drop("a.json", _sidecar(job))
    watched.drop("b.json", b'{"schema": "another"}')
    with capture_logs() as logs:
        assert await watched.settle() == 1
        assert await watched.settle() == 0
        assert watched.inbox.idle
    assert [e["event"] for e in logs] == ["job_queued"]
    path.write_bytes(b"{}")
    assert await watched.settle() == 1


async def test_a_file_of_another_routes_outbox_is_taken_when_it_is_delivered_and_knows_where_it_came_from(
    watch: Watch, make_route: Make, books: Books
) -> None:
    first = make_route("first")
    watched = watch(make_route("second", fed_by=("first",)))
    job = await books.job(State.RENDERED, "s/src.png", route=first, base="src")
    await books.ledger.write(lambda c: moves.record_output(c, job.id, 0, file="src.png", size=7))
    watched.drop("s/src.png", b"7 bytes")
    watched.drop("other.png")
    assert await watched.settle() == 1
    assert not watched.inbox.idle
    at = watched.clock.text()
    watched.drop("s/src.json", _sidecar(job))
    await books.ledger.write(lambda c: moves.move(c, job.id, State.RENDERED, State.DELIVERED, at, delivered_at=at))
    assert await watched.settle() == 1
    made = {j.source.path: j.derived_from for j in await watched.all() if j.route == "second"}
    assert made == {"s/src.png": "s/src.json", "other.png": None}
    assert watched.inbox.idle


async def test_another_file_of_the_same_name_did_not_come_from_there(
    watch: Watch, make_route: Make, books: Books
) -> None:
    watched = watch(make_route("second", fed_by=("first",)))
    job = await books.job(State.RENDERED, "src.png", route=make_route("first"), base="src")
    await books.ledger.write(lambda c: moves.record_output(c, job.id, 0, file="src.png", size=7))
    watched.drop("src.png", b"somebody's own")
    assert await watched.settle() == 1
    assert [j.derived_from for j in await watched.all() if j.route == "second"] == [None]


# trouble


async def test_a_share_that_goes_in_the_midst_loses_nothing(masked: Watched) -> None:
    for name in ("a.jpg", "a.mp4", "a_mask.png", "a.job.toml"):
        masked.drop(name, "priority = 1")
    await masked.settle(SETTLE - 0.5)
    away = masked.root.rename(masked.root.with_name("away"))
    masked.clock.run(SETTLE)
    with pytest.raises(ShareOffline):
        await masked.inbox.look()
    with pytest.raises(ShareOffline):
        await masked.inbox.sweep()
    away.rename(masked.root)
    assert await masked.settle() == 1
    assert len((await masked.one()).sources) == 4


async def test_a_file_that_changes_between_settling_and_its_job_settles_again(masked: Watched) -> None:
    path = masked.drop("a.jpg")
    masked.drop("a.mp4")
    await masked.settle()
    path.write_bytes(b"changed, and no event told of it")
    assert await masked.look(WAIT) == 0
    assert await masked.look(3 * SETTLE) == 1
    assert (await masked.one()).source.size == 32


async def test_hundreds_of_pairs_are_each_taken_once(dance: Watched) -> None:
    for n in range(250):
        dance.drop(f"{n:03}.jpg")
        dance.drop(f"{n:03}.mp4")
    assert await dance.settle() == 250
    assert {len(job.sources) for job in await dance.all()} == {2}
