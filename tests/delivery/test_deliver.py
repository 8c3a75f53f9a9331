"""Delivery and filing, taken up again after an interruption at every one of their steps."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from structlog.testing import capture_logs

from renderdrop.delivery import deliver as deliver_module
from renderdrop.delivery import file_away as file_away_module
from renderdrop.delivery.deliver import Deliver
from renderdrop.ledger import moves, queries
from renderdrop.model.errors import Fault, NoPlace, PlatformDown, ShareOffline, Temporary, Undeliverable
from renderdrop.model.job import Job, Level, Output, Place, Remark
from renderdrop.model.lifecycle import State
from renderdrop.model.route import Route
from renderdrop.model.sidecar import sidecar_schema
from renderdrop.platform.results import Missing
from renderdrop.share.publish import publish

if TYPE_CHECKING:
    from tests.delivery.conftest import House


def whole_delivery(house: House, job: Job, base: str = "sub/肖像") -> None:
    """Every output once, one sidecar that is right, nothing else and nothing in staging; the source in done/."""
    found = house.files(house.route.outbox)
    told = json.loads(found.pop(f"{base}.json"))
    jsonschema.validate(told, sidecar_schema())
    assert (told["job_id"], told["status"], told["times"]["delivered"] is not None) == (job.id, "success", True)
    assert found == {f"{base}_{o.position + 1}.png": house.rendered(o) for o in job.outputs}
    for row, output in zip(told["outputs"], job.outputs, strict=True):
        data = house.rendered(output)
        assert (row["file"], row["size"], row["sha256"]) == (
            f"{Path(base).name}_{output.position + 1}.png", len(data), hashlib.sha256(data).hexdigest(),
        )  # fmt: skip
    assert house.files(house.route.done) == {f"{base}.png": house.SOURCE}
    assert house.files(house.route.inbox) == {}
    assert house.files(house.route.failed) == {}
    assert list((house.route.outbox / ".renderdrop").iterdir()) == []


async def test_a_rendered_job_is_delivered_whole_and_its_source_put_away(house: House) -> None:
    job = await house.job()
    await house.rounds()
    whole_delivery(house, job)
    now = await house.books.see(job)
    assert (now.state, now.source.place, now.source.stored, now.source.filed) == (
        State.DELIVERED, Place.DONE, "sub/肖像.png", True,
    )  # fmt: skip
    assert now.times.delivered is not None
    assert (house.fetch.fetched, house.ended) == ([0, 1], [1])


async def test_what_stands_in_the_way_in_done_does_not_keep_the_result_back(house: House) -> None:
    in_the_way = house.route.done / "sub"
    in_the_way.write_bytes(b"theirs")
    job = await house.job()
    await house.rounds()
    assert "sub/肖像.json" in house.files(house.route.outbox)
    now = await house.books.see(job)
    assert (now.state, now.source.place, now.source.filed) == (State.DELIVERED, Place.INBOX, False)
    assert "its source stays in the inbox" in (now.error or "")
    assert in_the_way.read_bytes() == b"theirs"
    in_the_way.unlink()
    await house.rounds(4)
    whole_delivery(house, job)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 31))
async def test_a_delivery_interrupted_at_any_step_is_made_once(at: int, after: bool, house: House) -> None:
    job = await house.job()
    await house.interrupted(at, after)
    whole_delivery(house, job)
    now = await house.books.see(job)
    assert (now.state, now.source.place, now.source.filed) == (State.DELIVERED, Place.DONE, True)
    assert [step for step in await house.books.history(job) if step[1] is State.DELIVERED] == [
        (State.RENDERED, State.DELIVERED)
    ]


async def test_the_interruptions_reach_every_step(house: House) -> None:
    await house.job()
    assert 15 < (await house.interrupted(0, False)).steps <= 30


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 16))
async def test_a_failure_interrupted_at_any_step_is_told_once(at: int, after: bool, house: House) -> None:
    job = await house.job(State.FAILED)
    await house.interrupted(at, after)
    found = house.files(house.route.failed)
    assert set(found) == {"sub/肖像.png", "sub/肖像.png.error.txt", "sub/肖像.png.error.json"}
    assert found["sub/肖像.png"] == house.SOURCE
    told = json.loads(found["sub/肖像.png.error.json"])
    jsonschema.validate(told, sidecar_schema())
    assert (told["job_id"], told["status"]) == (job.id, "fail")
    assert house.files(house.route.inbox) == house.files(house.route.outbox) == house.files(house.route.done) == {}
    assert list((house.route.outbox / ".renderdrop").iterdir()) == []
    now = await house.books.see(job)
    assert (now.state, now.source.place, now.source.filed) == (State.FAILED, Place.FAILED, True)


async def test_the_interruptions_of_a_failure_reach_every_step(house: House) -> None:
    await house.job(State.FAILED)
    assert 6 < (await house.interrupted(0, False)).steps <= 15


async def test_a_name_taken_between_the_choice_and_the_rename_gives_all_files_the_next_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await house.job()
    calls = 0

    def late(*args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            (house.route.outbox / "sub/肖像_2.png").write_bytes(b"somebody's")
        publish(*args)

    monkeypatch.setattr(deliver_module, "publish", late)
    await house.rounds()
    found = house.files(house.route.outbox)
    assert found.pop("sub/肖像_2.png") == b"somebody's"
    assert set(found) == {"sub/肖像-2_1.png", "sub/肖像-2_2.png", "sub/肖像-2.json"}
    assert json.loads(found["sub/肖像-2.json"])["job_id"] == job.id
    assert house.fetch.fetched == [0, 1]  # nothing was fetched twice for it


async def test_what_lies_in_the_outbox_and_in_done_is_never_overwritten(house: House) -> None:
    for root, name in ((house.route.outbox, "a.PNG"), (house.route.done, "A-2.png")):
        (root / name).write_bytes(b"somebody's")
    await house.job(path="a.png", outputs=1)
    await house.rounds()
    assert set(house.files(house.route.outbox)) == {"a.PNG", "a-3.png", "a-3.json"}
    assert house.files(house.route.done) == {"A-2.png": b"somebody's", "a-3.png": house.SOURCE}


async def test_many_jobs_of_one_name_are_delivered_side_by_side(house: House) -> None:
    (house.route.outbox / "sub").mkdir()
    for folder in ("sub", "other"):
        await house.job(path=f"{folder}/a.png", outputs=1)
        await house.job(path=f"{folder}/A.PNG", outputs=1)
    await house.rounds(2)
    assert len(house.files(house.route.outbox)) == 8
    assert len(house.files(house.route.done)) == 4
    assert {name.casefold() for name in house.files(house.route.outbox)} == {
        f"{folder}/{name}" for folder in ("sub", "other") for name in ("a.png", "a.json", "a-2.png", "a-2.json")
    }


@pytest.mark.parametrize(("after", "place", "left"), [("keep", Place.INBOX, ["a.png"]), ("delete", Place.DELETED, [])])
async def test_a_route_may_keep_or_delete_its_sources(
    after: str,
    place: Place,
    left: list[str],
    open_house: Callable[..., House],
    make_route: Callable[..., Route],
    route: Route,
) -> None:
    house = open_house(make_route(after=after))
    job = await house.job(path="a.png", outputs=1)
    await house.rounds(2)
    now = await house.books.see(job)
    assert (now.state, now.source.place, now.source.filed) == (State.DELIVERED, place, True)
    assert house.files(route.inbox) == dict.fromkeys(left, house.SOURCE)
    assert house.files(route.done) == {}
    assert set(house.files(route.outbox)) == {"a.png", "a.json"}


async def test_a_source_that_somebody_replaced_stays_where_it_is(house: House) -> None:
    job = await house.job(path="a.png", outputs=1)
    (house.route.inbox / "a.png").write_bytes(b"a newer version")
    await house.rounds()
    now = await house.books.see(job)
    assert (now.state, now.source.place, now.source.filed) == (State.DELIVERED, Place.GONE, True)
    assert house.files(house.route.inbox) == {"a.png": b"a newer version"}
    assert house.files(house.route.done) == {}


async def test_a_source_that_somebody_took_away_is_no_trouble(house: House) -> None:
    for state in (State.RENDERED, State.FAILED):
        job = await house.job(state, f"{state}.png", outputs=1)
        (house.route.inbox / f"{state}.png").unlink()
        await house.rounds()
        now = await house.books.see(job)
        assert (now.source.place, now.source.filed) == (Place.GONE, True)
    assert house.files(house.route.failed) == {}


FAULTS: list[tuple[Fault, int, State]] = [
    (Temporary("cut"), 5, State.RENDERED),
    (Temporary("cut"), 40, State.HELD),
    (Missing("404"), 2, State.RENDERED),
    (Missing("404"), 6, State.FAILED),
    (Undeliverable("too large"), 1, State.FAILED),
    (PlatformDown("401"), 40, State.RENDERED),
    (ShareOffline("full"), 40, State.RENDERED),
]


@pytest.mark.parametrize(("fault", "rounds", "state"), FAULTS, ids=[f"{type(f[0]).__name__}-{f[1]}" for f in FAULTS])
async def test_what_a_fault_of_the_download_does(fault: Fault, rounds: int, state: State, house: House) -> None:
    job = await house.job(path="a.png", outputs=1)
    house.fetch.fault = fault
    for _ in range(rounds):
        await house.deliver.round()
        await house.calm()
        house.clock.run(60)
        for reach, subject in (("platform", "platform"), ("share", "portrait")):
            await house.troubles.end(reach, subject)  # type: ignore[arg-type]
    now = await house.books.see(job)
    assert (now.state, now.paid, now.task_id) == (state, True, "230")
    if state is not State.RENDERED:
        assert fault.sentence in (now.error or "")
    assert house.files(house.route.outbox) == {}
    assert house.files(house.route.inbox) == {"a.png": house.SOURCE}


async def test_a_line_that_breaks_often_but_brings_something_needs_no_person(house: House) -> None:
    job = await house.job(path="a.png", outputs=1)
    house.fetch.fault, house.fetch.gains = Temporary("cut"), True
    for _ in range(100):
        await house.deliver.round()
        await house.calm()
        house.clock.run(60)
    assert (await house.books.see(job)).state is State.RENDERED


async def test_nothing_is_made_on_a_share_that_is_not_mounted(house: House) -> None:
    job = await house.job(path="a.png", outputs=1)
    failed = await house.job(State.FAILED, "b.png")
    (house.route.inbox / ".renderdrop").unlink()
    await house.rounds()
    assert (await house.books.see(job)).state is State.RENDERED
    assert not (await house.books.see(failed)).source.filed
    assert house.troubles.of("share", "portrait") is not None
    assert house.fetch.fetched == []
    for root in (house.route.outbox, house.route.done, house.route.failed):
        assert house.files(root) == {}
    (house.route.inbox / ".renderdrop").touch()
    await house.troubles.end("share", "portrait")
    await house.rounds(2)
    assert set(house.files(house.route.outbox)) == {"a.png", "a.json"}
    assert set(house.files(house.route.failed)) == {"b.png", "b.png.error.txt", "b.png.error.json"}


async def test_warnings_and_errors_beside_media_are_in_the_sidecar(house: House) -> None:
    job = await house.job(path="a.png", outputs=1)
    outputs = [Output(0, "9", "Save", "http://platform/x.mp4")]
    notes = [Remark(Level.WARNING, "cropped", "5", "F"), Remark(Level.ERROR, "no face", "5", "F")]
    await house.books.ledger.write(lambda c: moves.set_results(c, job.id, outputs, notes))
    await house.rounds()
    told = json.loads(house.files(house.route.outbox)["a.json"])
    assert told["warnings"] == ["cropped"]
    assert [e["message"] for e in told["errors"]] == ["no face"]
    assert told["outputs"][0]["file"] == "a.mp4"


async def test_a_name_that_is_no_utf_8_keeps_its_bytes(house: House) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    await house.job(path=name, outputs=1)
    await house.rounds()
    assert {os.fsencode(n) for n in os.listdir(house.route.outbox)} - {b".renderdrop"} == {
        b"caf\xe9.png",
        b"caf\xe9.json",
    }
    assert sorted(os.listdir(os.fsencode(house.route.done))) == [b"caf\xe9.png"]


async def test_what_a_crash_left_in_staging_is_removed_when_its_job_is_over_and_no_other(house: House) -> None:
    over = await house.job(State.CANCELLED, "a.png")
    await house.books.ledger.write(lambda c: moves.record_source(c, over.id, "a.png", filed=True))
    waits = await house.job(State.SUBMITTED, "b.png")
    staging = house.route.outbox / ".renderdrop"
    for name in (over.id, waits.id, "another-daemons"):
        (staging / name).mkdir()
        (staging / name / "output-0").write_bytes(b"half")
    await house.rounds()
    assert sorted(p.name for p in staging.iterdir()) == sorted([waits.id, "another-daemons"])


async def test_a_source_that_cannot_be_filed_is_tried_again_and_known_as_stuck(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await house.job(path="a.png", outputs=1)

    def closed(*_: object) -> str:
        raise ShareOffline("done is closed")

    with monkeypatch.context() as patch:
        patch.setattr(file_away_module, "archive", closed)
        await house.rounds(4)
    now = await house.books.see(job)
    assert (now.state, now.source.filed) == (State.DELIVERED, False)
    assert house.file_away.stuck == {job.id}
    house.clock.run(600)
    await house.rounds(2)
    assert (await house.books.see(job)).source.filed
    assert house.file_away.stuck == set()


async def test_a_job_that_is_wanted_again_while_its_source_is_put_away_is_not_forgotten(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await house.job(State.FAILED, path="a.png")
    really: Callable[..., Any] = vars(file_away_module)["archive"]

    def meanwhile(*how: Any) -> Any:
        outcome = really(*how)
        retried = house.books.ledger.write(lambda c: moves.retry(c, job.id, State.FAILED, house.clock.text()))
        assert asyncio.run_coroutine_threadsafe(retried, loop).result(10)
        return outcome

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(file_away_module, "archive", meanwhile)
    await house.rounds()
    now = await house.books.see(job)
    assert (now.state, now.source.place) == (State.QUEUED, Place.FAILED)
    wanted = await house.books.ledger.read(lambda c: queries.away(c, house.route.name))
    assert [j.id for j in wanted] == [job.id]


def refuses_the_second(root: Path, staged: Path, folder: str, name: str, *more: Any) -> None:
    """Publishes every output but the second, whose name the outbox cannot hold."""
    if name.endswith("_2.png"):
        raise NoPlace("outbox/sub cannot hold this name")
    publish(root, staged, folder, name, *more)


async def test_a_job_held_because_one_name_is_refused_leaves_nothing_of_it_in_sight(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await house.job()

    with monkeypatch.context() as patch:
        patch.setattr(deliver_module, "publish", refuses_the_second)
        await house.rounds(10)
    now = await house.books.see(job)
    assert (now.state, now.base) == (State.HELD, None)
    assert "cannot hold this name" in (now.error or "")
    assert [path for path in house.files(house.route.outbox) if not path.startswith(".renderdrop/")] == []
    at = house.clock.text()
    await house.books.ledger.write(lambda c: moves.move(c, job.id, State.HELD, State.SUBMITTED, at))
    await house.books.ledger.write(lambda c: moves.move(c, job.id, State.SUBMITTED, State.RENDERED, at))
    await house.rounds(2)
    whole_delivery(house, await house.books.see(job))
    assert house.fetch.fetched == [0, 1]


async def test_a_share_that_goes_while_a_held_jobs_results_are_taken_back_is_told_as_such(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await house.job()

    def gone(*_: Any) -> None:
        raise ShareOffline("the outbox is gone")

    monkeypatch.setattr(deliver_module, "publish", refuses_the_second)
    with monkeypatch.context() as patch:
        patch.setattr(deliver_module, "withdraw", gone)
        await house.rounds(10)
    assert (await house.books.see(job)).state is State.RENDERED
    trouble = house.troubles.of("share", "portrait")
    assert trouble is not None
    assert trouble.sentence == "the outbox is gone"
    await house.troubles.end("share", "portrait")
    await house.rounds(2)
    assert (await house.books.see(job)).state is State.HELD


async def test_a_sidecar_of_any_length_is_known_as_ours_after_a_crash(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "x" * 5_000_000
    job = await house.job(path="a.png", outputs=1)
    outputs = [Output(0, "9", "Save", "http://platform/x.png")]
    notes = [Remark(Level.WARNING, long, "5", "F")]
    await house.books.ledger.write(lambda c: moves.set_results(c, job.id, outputs, notes))

    async def dies(*_: Any) -> None:
        raise RuntimeError("the power went")

    with monkeypatch.context() as patch, capture_logs():
        patch.setattr(Deliver, "_finish", dies)  # right after the sidecar was published
        await house.rounds()
    assert "a.json" in house.files(house.route.outbox)
    house.again()
    await house.rounds(2)
    assert set(house.files(house.route.outbox)) == {"a.png", "a.json"}
    assert (await house.books.see(job)).state is State.DELIVERED
