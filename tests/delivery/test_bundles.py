"""Jobs of several files: they go to done/ or failed/ together, whatever interrupts it."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from renderdrop.delivery import file_away as file_away_module
from renderdrop.ledger import moves
from renderdrop.model.job import Job, Place
from renderdrop.model.lifecycle import State
from renderdrop.model.route import Input, Route
from renderdrop.share import move as move_module
from renderdrop.share.marker import MARKER, Folders, prepare
from renderdrop.share.publish import archive

if TYPE_CHECKING:
    from tests.delivery.conftest import House

STEM = ("sub/a.jpg", "sub/a.mp4", "sub/a_mask.png", "sub/a.mp4.job.toml")
FOLDER = ("shot/plate.png", "shot/sub/clip.mp4", "shot/sub/prompt.txt", "shot/job.toml")


def whole(*paths: str) -> dict[str, bytes]:
    """What those files hold: each its own path as it was dropped."""
    return {path: path.encode() for path in paths}


async def ends(house: House, job: Job) -> set[tuple[str, Place, str | None, bool]]:
    now = await house.books.see(job)
    return {(s.path, s.place, s.stored, s.filed) for s in now.sources}


async def test_the_files_of_a_bundle_go_to_done_each_under_its_own_name(house: House) -> None:
    [job] = await house.arrive(*STEM, bundle="sub/a")
    await house.rounds()
    assert house.files(house.route.done) == whole(*STEM)
    assert house.files(house.route.inbox) == house.files(house.route.failed) == {}
    assert set(house.files(house.route.outbox)) == {"sub/a.png", "sub/a.json"}
    assert await ends(house, job) == {(path, Place.DONE, path, True) for path in STEM}
    told = json.loads(house.files(house.route.outbox)["sub/a.json"])
    assert [s["path"] for s in told["sources"]] == list(STEM[:3])
    assert [t["name"] for t in told["tickets"]] == ["a.mp4.job.toml"]


TAKEN = [
    ("outbox", "sub/a.PNG"), ("outbox", "sub/a.json"), ("outbox", "sub/A.exr"), ("done", "sub/a.jpg"),
    ("done", "sub/A.MP4"), ("done", "sub/a_mask.png"), ("done", "sub/a.mp4.job.toml"),
]  # fmt: skip


@pytest.mark.parametrize(("place", "name"), TAKEN, ids=[f"{place}-{name}" for place, name in TAKEN])
async def test_where_any_of_the_names_is_taken_the_whole_job_gets_the_next_number(
    place: str, name: str, house: House
) -> None:
    root: Path = getattr(house.route, place)
    (root / "sub").mkdir()
    (root / name).write_bytes(b"somebody's")
    [job] = await house.arrive(*STEM, bundle="sub/a")
    await house.rounds()
    done = {"sub/a-2.jpg", "sub/a-2.mp4", "sub/a_mask-2.png", "sub/a-2.mp4.job.toml"}
    taken = {name} if place == "done" else set()
    assert set(house.files(house.route.done)) == done | taken
    assert set(house.files(house.route.outbox)) - {name} == {"sub/a-2.png", "sub/a-2.json"}
    assert (root / name).read_bytes() == b"somebody's"
    assert {s.stored for s in (await house.books.see(job)).sources} == done


async def test_a_name_taken_at_the_last_moment_leaves_what_has_moved_where_it_is(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the choice and the second rename somebody else puts a file there; then the power goes."""
    [job] = await house.arrive("a.jpg", "a.mp4", bundle="a")

    def late(inbox: Path, path: str, *rest: Any) -> Any:
        if path == "a.mp4" and not (house.route.done / "a.mp4").exists():
            (house.route.done / "a.mp4").write_bytes(b"somebody's")
        return archive(inbox, path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(file_away_module, "archive", late)
        await house.interrupted(0)
    found = house.files(house.route.done)
    assert found.pop("a.mp4") == b"somebody's"
    assert found == {"a.jpg": b"a.jpg", "a-2.mp4": b"a.mp4"}
    assert await ends(house, job) == {("a.jpg", Place.DONE, "a.jpg", True), ("a.mp4", Place.DONE, "a-2.mp4", True)}


@pytest.mark.parametrize(("after", "place"), [("keep", Place.INBOX), ("delete", Place.DELETED)])
async def test_all_the_files_of_a_bundle_are_kept_or_deleted(
    after: str, place: Place, route: Route, open_house: Callable[..., House]
) -> None:
    house = open_house(replace(route, after=after))  # type: ignore[arg-type]
    [job] = await house.arrive(*STEM, bundle="sub/a")
    [folder] = await house.arrive(*FOLDER, bundle="shot")
    await house.rounds(2)
    assert house.files(route.inbox) == (whole(*STEM, *FOLDER) if after == "keep" else {})
    assert house.files(route.done) == {}
    assert ("shot" in house.folders(route.inbox)) == (after == "keep")
    assert {s.place for j in (job, folder) for s in (await house.books.see(j)).sources} == {place}


async def test_a_file_that_was_replaced_stays_and_its_partners_are_put_away(house: House) -> None:
    for state, place in ((State.RENDERED, Place.DONE), (State.FAILED, Place.FAILED)):
        [job] = await house.arrive(f"{state}.jpg", f"{state}.mp4", bundle=f"{state}", states=[state])
        (house.route.inbox / f"{state}.mp4").write_bytes(b"a newer version")
        await house.rounds()
        found = {s.path: s.place for s in (await house.books.see(job)).sources}
        assert found == {f"{state}.jpg": place, f"{state}.mp4": Place.GONE}
        assert (house.route.inbox / f"{state}.mp4").read_bytes() == b"a newer version"
    assert set(house.files(house.route.failed)) == {
        "failed.jpg", "failed.jpg.error.txt", "failed.jpg.error.json",
    }  # fmt: skip


def told(*names: str) -> set[str]:
    return {f"{name}.error.{kind}" for name in names for kind in ("txt", "json")}


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED])
async def test_each_file_of_a_failed_bundle_has_its_own_two_notices_and_the_ticket_none(
    state: State, house: House
) -> None:
    [job] = await house.arrive(*STEM, bundle="sub/a", states=[state])
    await house.rounds()
    found = house.files(house.route.failed)
    assert set(found) == {*STEM, *told(*STEM[:3])}
    assert {path: found[path] for path in STEM} == whole(*STEM)
    for path in STEM[:3]:
        sentence = found[f"{path}.error.txt"].decode()
        assert sentence.startswith(path.removeprefix("sub/"))
        assert job.id in sentence
        assert "move its files back into the inbox" in sentence
        assert json.loads(found[f"{path}.error.json"])["job_id"] == job.id
    assert house.files(house.route.inbox) == house.files(house.route.outbox) == {}
    assert await ends(house, job) == {(path, Place.FAILED, path, True) for path in STEM}


@pytest.mark.parametrize("name", ["a.mp4", "a.JPG", "a.jpg.error.txt", "a.mp4.job.toml"])
async def test_in_failed_too_all_files_of_a_bundle_are_numbered_alike(name: str, house: House) -> None:
    (house.route.failed / "sub").mkdir()
    (house.route.failed / "sub" / name).write_bytes(b"somebody's")
    await house.arrive(*STEM, bundle="sub/a", states=[State.FAILED])
    await house.rounds()
    moved = ("sub/a-2.jpg", "sub/a-2.mp4", "sub/a_mask-2.png")
    found = set(house.files(house.route.failed))
    assert found == {f"sub/{name}", *moved, "sub/a-2.mp4.job.toml", *told(*moved)}


async def test_a_folder_goes_to_done_as_a_folder_with_all_that_is_in_it(house: House) -> None:
    [job] = await house.arrive(*FOLDER, bundle="shot", outputs=2)
    await house.rounds()
    assert house.files(house.route.done) == whole(*FOLDER)
    assert set(house.files(house.route.outbox)) == {"shot_1.png", "shot_2.png", "shot.json"}
    assert house.folders(house.route.inbox) == []
    assert await ends(house, job) == {(path, Place.DONE, path, True) for path in FOLDER}


async def test_a_folder_whose_name_is_taken_in_done_is_numbered_with_its_results(house: House) -> None:
    (house.route.done / "Shot").mkdir()
    await house.arrive(*FOLDER, bundle="shot")
    await house.rounds()
    assert set(house.files(house.route.done)) == {path.replace("shot/", "shot-2/") for path in FOLDER}
    assert set(house.files(house.route.outbox)) == {"shot-2.png", "shot-2.json"}
    assert house.folders(house.route.done) == ["Shot", "shot-2", "shot-2/sub"]


@pytest.mark.parametrize("state", [State.RENDERED, State.FAILED])
async def test_litter_goes_along_and_what_came_late_keeps_its_folder(state: State, house: House) -> None:
    await house.arrive(*FOLDER, bundle="shot", states=[state])
    litter = {"shot/Thumbs.db": b"t", "shot/sub/.DS_Store": b"d", "shot/sub/@eaDir/clip.mp4/SYNO": b"s"}
    for path, data in litter.items():
        house.drop(path, data)
    (house.route.inbox / "shot/empty").mkdir()
    house.drop("shot/sub/late.png", b"late")
    await house.rounds()
    root = house.route.done if state is State.RENDERED else house.route.failed
    found = {path: data for path, data in house.files(root).items() if path.startswith("shot/")}
    assert found == whole(*FOLDER) | litter
    assert house.files(house.route.inbox) == {"shot/sub/late.png": b"late"}
    assert house.folders(house.route.inbox) == ["shot", "shot/sub"]


async def test_the_notices_of_a_folder_stand_beside_it_once(house: House) -> None:
    (house.route.failed / "shot.error.txt").write_bytes(b"somebody's")
    [job] = await house.arrive(*FOLDER, bundle="shot", states=[State.FAILED])
    await house.rounds()
    found = house.files(house.route.failed)
    assert found.pop("shot.error.txt") == b"somebody's"
    assert set(found) == {*(path.replace("shot/", "shot-2/") for path in FOLDER), *told("shot-2")}
    sentence = found["shot-2.error.txt"].decode()
    assert sentence.startswith("shot could not be rendered")
    assert "move the folder back into the inbox" in sentence
    assert {s.told for s in (await house.books.see(job)).sources} == {"shot-2", None}
    assert house.folders(house.route.inbox) == []


@pytest.fixture
def elsewhere(route: Route) -> Iterator[Route]:
    """The same route with done/ and failed/ on another file system."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == route.inbox.stat().st_dev:
        memory = Path(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(dir=memory) as found:
        (Path(found) / "done").mkdir()
        (Path(found) / "failed").mkdir()
        for name in ("done", "failed"):
            (Path(found) / name / MARKER).touch()
        yield replace(route, done=Path(found) / "done", failed=Path(found) / "failed")


@pytest.mark.parametrize("at", [0, 12, 16, 17, 18, 19, 20])
async def test_across_file_systems_a_folder_is_carried_file_by_file(
    at: int, elsewhere: Route, open_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = move_module._by_flag

    def other_disk(src_at: int, src: str, dst_at: int, dst: str) -> None:
        here, there = (os.readlink(f"/proc/self/fd/{fd}") for fd in (src_at, dst_at))
        if ("/inbox" in here) != ("/inbox" in there):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(src_at, src, dst_at, dst)

    monkeypatch.setattr(move_module, "_by_flag", other_disk)
    house = open_house(elsewhere)
    [job] = await house.arrive(*FOLDER, bundle="shot")
    await house.interrupted(at)
    assert house.files(elsewhere.done) == whole(*FOLDER)
    assert house.files(elsewhere.inbox) == {}
    assert house.folders(elsewhere.inbox) == []
    assert {s.place for s in (await house.books.see(job)).sources} == {Place.DONE}


KINDS = {"stem": (STEM, "sub/a"), "folder": (FOLDER, "shot")}


@pytest.mark.parametrize("at", range(1, 23))
@pytest.mark.parametrize("kind", KINDS)
async def test_a_bundle_interrupted_at_any_step_is_put_away_once(kind: str, at: int, house: House) -> None:
    paths, bundle = KINDS[kind]
    [job] = await house.arrive(*paths, bundle=bundle)
    await house.interrupted(at)
    assert house.files(house.route.done) == whole(*paths)
    assert set(house.files(house.route.outbox)) == {f"{bundle}.png", f"{bundle}.json"}
    assert house.files(house.route.inbox) == house.files(house.route.failed) == {}
    assert house.staged == []
    assert await ends(house, job) == {(path, Place.DONE, path, True) for path in paths}


@pytest.mark.parametrize("at", range(1, 23))
@pytest.mark.parametrize("kind", KINDS)
async def test_a_failed_bundle_interrupted_at_any_step_is_told_once(kind: str, at: int, house: House) -> None:
    paths, bundle = KINDS[kind]
    [job] = await house.arrive(*paths, bundle=bundle, states=[State.FAILED])
    await house.interrupted(at)
    found = house.files(house.route.failed)
    notices = told(*STEM[:3]) if kind == "stem" else told("shot")
    assert set(found) == {*paths, *notices}
    assert {path: found[path] for path in paths} == whole(*paths)
    assert house.files(house.route.inbox) == house.files(house.route.done) == house.files(house.route.outbox) == {}
    assert house.staged == []
    assert await ends(house, job) == {(path, Place.FAILED, path, True) for path in paths}


async def test_the_interruptions_of_bundles_reach_every_step(house: House) -> None:
    for (paths, bundle), state in ((k, s) for k in KINDS.values() for s in (State.RENDERED, State.FAILED)):
        await house.arrive(*paths, bundle=bundle, states=[state])
        assert 12 < (await house.interrupted(0)).steps <= 22
        for place in (house.route.outbox, house.route.done, house.route.failed):
            for path in house.files(place):
                (place / path).unlink()


async def test_a_retried_bundle_that_is_rendered_takes_back_its_numbers(house: House) -> None:
    """Delivered with numbers, run again: nothing of the first delivery is touched."""
    [job] = await house.arrive("a.jpg", "a.mp4", bundle="a")
    await house.rounds()
    first = house.files(house.route.outbox) | house.files(house.route.done)
    await house.books.ledger.write(lambda c: moves.retry(c, job.id, State.DELIVERED, house.clock.text()))
    for path in ("a.jpg", "a.mp4"):
        os.rename(house.route.done / path, house.route.inbox / path)

    def back(c: Any) -> None:
        for path in ("a.jpg", "a.mp4"):
            moves.record_source(c, job.id, path, place=Place.INBOX, stored=None)
        house.bring(c, job.id, State.RENDERED, 2)

    await house.books.ledger.write(back)
    await house.rounds()
    assert set(house.files(house.route.outbox)) == {"a.png", "a.json", "a-2.png", "a-2.json"}
    assert house.files(house.route.done) == {"a-2.jpg": b"a.jpg", "a-2.mp4": b"a.mp4"}
    assert {name: data for name, data in house.files(house.route.outbox).items() if name in first} == {
        name: first[name] for name in ("a.png", "a.json")
    }


async def test_a_route_of_folders_gives_results_their_folders_name(
    make_route: Callable[..., Route], open_house: Callable[..., House]
) -> None:
    made = make_route("dance", inputs=(Input("plate", "image"), Input("clip", "video")), bundle="folder")
    made.inbox.parent.mkdir()
    prepare(Folders(made.inbox, made.outbox, made.done, made.failed), seen=False)
    house = open_house(replace(made, output_name="{route}_{stem}"))
    await house.arrive("shot.v2/a.png", "shot.v2/b.mp4", bundle="shot.v2")
    await house.rounds()
    assert set(house.files(made.outbox)) == {"dance_shot.v2.png", "dance_shot.v2.json"}
    assert set(house.files(made.done)) == {"shot.v2/a.png", "shot.v2/b.mp4"}
