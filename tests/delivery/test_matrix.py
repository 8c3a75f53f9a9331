"""Several jobs of one arrival: each has its own results or notices, their source is put away once and by the last."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from renderdrop.delivery import file_away as file_away_module
from renderdrop.ledger import moves, queries
from renderdrop.model.errors import ShareOffline
from renderdrop.model.job import Job, Place
from renderdrop.model.lifecycle import State
from renderdrop.model.route import Route
from renderdrop.runtime.disk import Disk
from renderdrop.share.publish import publish

if TYPE_CHECKING:
    from tests.delivery.conftest import House

GOOD, BAD, HELD, GOING = State.RENDERED, State.FAILED, State.HELD, State.SUBMITTED


async def places(house: House, jobs: list[Job]) -> set[tuple[Place, str | None, bool]]:
    seen = [await house.books.see(job) for job in jobs]
    return {(s.place, s.stored, s.filed) for job in seen for s in job.sources}


def results(*seeds: int, name: str = "a") -> set[str]:
    return {f"{name}_seed-{n}.{ext}" for n in seeds for ext in ("png", "json")}


def told(*names: str) -> set[str]:
    return {f"{name}.error.{kind}" for name in names for kind in ("txt", "json")}


async def test_all_delivered_is_one_source_in_done_and_results_told_apart(house: House) -> None:
    jobs = await house.arrive("a.png", states=[GOOD] * 3)
    await house.rounds()
    assert set(house.files(house.route.outbox)) == results(1, 2, 3)
    assert house.files(house.route.done) == {"a.png": b"a.png"}
    assert house.files(house.route.inbox) == house.files(house.route.failed) == {}
    assert await places(house, jobs) == {(Place.DONE, "a.png", True)}
    for n in (1, 2, 3):
        sidecar = json.loads(house.files(house.route.outbox)[f"a_seed-{n}.json"])
        assert (sidecar["params"], sidecar["params_from"]) == ({"seed": n}, {"seed": "matrix"})


@pytest.mark.parametrize("last", [GOING, HELD])
async def test_the_source_stays_until_the_last_of_its_jobs_has_ended(last: State, house: House) -> None:
    jobs = await house.arrive("a.png", states=[GOOD, BAD, last])
    await house.rounds(2)
    assert set(house.files(house.route.outbox)) == results(1)
    assert house.files(house.route.inbox) == {"a.png": b"a.png"}
    assert house.files(house.route.failed) == house.files(house.route.done) == {}
    left = await house.books.ledger.read(queries.unfinished)
    # A held job waits for a person, and the others' source with it: `run --once` must not wait for either.
    assert {job.id for job in left} == ({jobs[2].id} if last is GOING else set())
    at = house.clock.text()
    await house.books.ledger.write(lambda c: moves.cancel(c, jobs[2].id, last, at, "not wanted"))
    await house.rounds(2)
    assert house.files(house.route.done) == {"a.png": b"a.png"}
    assert set(house.files(house.route.failed)) == told("a.png.seed-2", "a.png.seed-3")


async def test_where_some_failed_the_source_is_in_done_and_each_failure_told_by_itself(house: House) -> None:
    jobs = await house.arrive("sub/a.png", states=[BAD, GOOD, BAD])
    await house.rounds()
    assert house.files(house.route.done) == {"sub/a.png": b"sub/a.png"}
    assert set(house.files(house.route.outbox)) == results(2, name="sub/a")
    found = house.files(house.route.failed)
    assert set(found) == told("sub/a.png.seed-1", "sub/a.png.seed-3")
    for n in (1, 3):
        sentence = found[f"sub/a.png.seed-{n}.error.txt"].decode()
        assert f"seed-{n}" in sentence
        assert f"no face was found ({n})" in sentence
        assert f"renderdrop retry {jobs[n - 1].id}" in sentence
        assert json.loads(found[f"sub/a.png.seed-{n}.error.json"])["job_id"] == jobs[n - 1].id
    assert await places(house, jobs) == {(Place.DONE, "sub/a.png", True)}


async def test_where_all_failed_the_source_is_in_failed_with_the_notices_of_every_job(house: House) -> None:
    jobs = await house.arrive("a.png", states=[BAD] * 6)
    await house.rounds(2)
    found = house.files(house.route.failed)
    assert set(found) == {"a.png", *told("a.png", *(f"a.png.seed-{n}" for n in range(2, 7)))}
    assert {json.loads(data)["job_id"] for path, data in found.items() if path.endswith("json")} == {
        job.id for job in jobs
    }
    for path in found:
        if path.endswith("txt"):
            named = json.loads(found[path.replace("txt", "json")])["job_id"]
            assert named in found[path].decode()
    assert await places(house, jobs) == {(Place.FAILED, "a.png", True)}
    assert house.files(house.route.inbox) == house.files(house.route.done) == {}


async def test_the_notices_of_every_job_of_a_folder_stand_beside_it_once(house: House) -> None:
    await house.arrive("shot/a.png", "shot/b.mp4", bundle="shot", states=[BAD, BAD])
    await house.rounds(2)
    assert set(house.files(house.route.failed)) == {"shot/a.png", "shot/b.mp4", *told("shot", "shot.seed-2")}
    await house.arrive("take/a.png", "take/b.mp4", bundle="take", states=[GOOD, BAD])
    await house.rounds(2)
    assert set(house.files(house.route.done)) == {"take/a.png", "take/b.mp4"}
    assert {name for name in house.files(house.route.failed) if "take" in name} == told("take.seed-2")
    assert house.folders(house.route.inbox) == []


async def test_a_name_that_one_job_finds_taken_does_not_lose_the_source(house: House) -> None:
    for root, name in ((house.route.outbox, "a_seed-1.png"), (house.route.done, "a.png")):
        (root / name).write_bytes(b"somebody's")
    jobs = await house.arrive("a.png", states=[GOOD, GOOD])
    await house.rounds(2)
    assert house.files(house.route.done) == {"a.png": b"somebody's", "a-2.png": b"a.png"}
    assert set(house.files(house.route.outbox)) == {"a_seed-1.png"} | results(name="a") | {
        "a_seed-1-2.png", "a_seed-1-2.json", "a_seed-2-2.png", "a_seed-2-2.json",
    }  # fmt: skip
    assert await places(house, jobs) == {(Place.DONE, "a-2.png", True)}


async def test_jobs_that_chose_different_numbers_for_their_source_put_it_away_once(house: House) -> None:
    (house.route.outbox / "a_seed-1.png").write_bytes(b"somebody's")
    jobs = await house.arrive("a.png", states=[GOOD, GOOD])
    await house.rounds(2)
    [(name, data)] = house.files(house.route.done).items()
    assert data == b"a.png"
    assert await places(house, jobs) == {(Place.DONE, name, True)}


async def test_a_notice_that_is_taken_gives_the_part_another_name(house: House) -> None:
    (house.route.failed / "a.png.seed-2.error.txt").write_bytes(b"somebody's")
    await house.arrive("a.png", states=[GOOD, BAD])
    await house.rounds(2)
    found = house.files(house.route.failed)
    assert found.pop("a.png.seed-2.error.txt") == b"somebody's"
    assert len(found) == 2
    assert any("renderdrop retry" in data.decode() for data in found.values())


async def test_a_source_that_may_be_wanted_again_is_not_deleted(route: Route, open_house: Callable[..., House]) -> None:
    house = open_house(replace(route, after="delete"))
    jobs = await house.arrive("a.png", states=[GOOD, BAD])
    both = await house.arrive("b.png", states=[GOOD, GOOD])
    await house.rounds(2)
    assert house.files(route.done) == {"a.png": b"a.png"}
    assert set(house.files(route.failed)) == told("a.png.seed-2")
    assert await places(house, jobs) == {(Place.DONE, "a.png", True)}
    assert await places(house, both) == {(Place.DELETED, None, True)}
    assert house.files(route.inbox) == {}


async def test_a_source_that_is_kept_is_kept_by_all_of_its_jobs(route: Route, open_house: Callable[..., House]) -> None:
    house = open_house(replace(route, after="keep"))
    jobs = await house.arrive("a.png", states=[GOOD, BAD])
    await house.rounds(2)
    assert house.files(route.inbox) == {"a.png": b"a.png"}
    assert set(house.files(route.failed)) == told("a.png.seed-2")
    assert {place for place, _, _ in await places(house, jobs)} == {Place.INBOX}


async def test_a_source_that_somebody_took_is_gone_for_all_of_its_jobs(house: House) -> None:
    for states in ([GOOD, GOOD], [BAD, BAD]):
        jobs = await house.arrive("a.png", states=states)
        (house.route.inbox / "a.png").unlink()
        await house.rounds(2)
        assert {(place, filed) for place, _, filed in await places(house, jobs)} == {(Place.GONE, True)}
    assert house.files(house.route.failed) == house.files(house.route.done) == {}


async def test_jobs_of_one_source_are_filed_one_after_the_other(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way, most = 0, 0

    async def slowly(disk: Disk, deed: Callable[..., Any], *args: Any, **__: Any) -> Any:
        nonlocal under_way, most
        if deed is not file_away_module._archive:
            return deed(*args)
        under_way += 1
        most = max(most, under_way)
        for _ in range(20):
            await asyncio.sleep(0)
        under_way -= 1
        return deed(*args)

    monkeypatch.setattr(Disk, "__call__", slowly)
    await house.arrive("a.png", states=[BAD] * 4)
    await house.rounds(2)
    assert most == 1
    assert len(house.files(house.route.failed)) == 9


@pytest.mark.parametrize("notices", ["json", "txt"])
async def test_a_share_that_fails_between_move_and_notice_loses_no_notice(
    notices: str, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first job has moved the source and must wait; the second one goes on, and both are told in the end."""
    failures = [ShareOffline("full")]

    def full(root: Any, staged: Any, *rest: Any) -> Any:
        if staged.name == notices and failures:
            raise failures.pop()
        return publish(root, staged, *rest)

    monkeypatch.setattr(file_away_module, "publish", full)
    jobs = await house.arrive("a.png", states=[BAD, BAD])
    await house.rounds(4)
    found = house.files(house.route.failed)
    assert set(found) == {"a.png", *told("a.png", "a.png.seed-2")}
    for job, name in zip(jobs, ("a.png", "a.png.seed-2"), strict=True):
        assert job.id in found[f"{name}.error.txt"].decode()
        assert json.loads(found[f"{name}.error.json"])["job_id"] == job.id
    assert await places(house, jobs) == {(Place.FAILED, "a.png", True)}


MIXES = {
    "all good": [GOOD, GOOD],
    "one bad": [BAD, GOOD],
    "all bad": [BAD, BAD],
    "folder": [BAD, BAD],
}


@pytest.mark.parametrize("at", range(1, 31))
@pytest.mark.parametrize("mix", MIXES)
async def test_jobs_of_one_source_interrupted_at_any_step_are_put_away_once(mix: str, at: int, house: House) -> None:
    states = MIXES[mix]
    paths, bundle, name = (["shot/a.png", "shot/b.mp4"], "shot", "shot") if mix == "folder" else (["a.png"], None, "")
    name = name or "a.png"
    jobs = await house.arrive(*paths, bundle=bundle, states=states)
    await house.interrupted(at)
    await house.rounds()
    assert house.files(house.route.inbox) == {}
    assert house.folders(house.route.inbox) == []
    assert house.staged == []
    place = house.route.done if GOOD in states else house.route.failed
    found = house.files(place)
    assert {path: found.pop(path) for path in paths} == {path: path.encode() for path in paths}
    notices = found if place == house.route.failed else house.files(house.route.failed)
    good = [n for n, state in enumerate(states, 1) if state is GOOD]
    assert set(house.files(house.route.outbox)) == results(*good)
    bad = [job for job, state in zip(jobs, states, strict=True) if state is BAD]
    named = {path: json.loads(data)["job_id"] for path, data in notices.items() if path.endswith(".json")}
    assert sorted(named.values()) == [job.id for job in bad]
    assert {path.replace(".json", ".txt") for path in named} | named.keys() == notices.keys()
    for path, job in named.items():
        assert job in notices[path.replace(".json", ".txt")].decode()
        assert path.startswith(name)
    wanted = Place.DONE if GOOD in states else Place.FAILED
    assert {(where, filed) for where, _, filed in await places(house, jobs)} == {(wanted, True)}
    assert {stored for _, stored, _ in await places(house, jobs)} <= {*paths}


async def test_the_interruptions_of_several_jobs_reach_every_step(house: House) -> None:
    for n, states in enumerate(MIXES.values()):
        await house.arrive(f"{n}.png", states=states)
        assert 12 < (await house.interrupted(0)).steps <= 50
