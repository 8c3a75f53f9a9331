"""Whoever waits for NAME.json at the end of a chain learns that a link of it failed."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from renderdrop.delivery import chain as chain_module
from renderdrop.ledger import moves
from renderdrop.model.errors import ShareOffline
from renderdrop.model.lifecycle import State
from renderdrop.model.route import Route
from renderdrop.runtime.disk import SLOW
from renderdrop.share.marker import Folders, prepare

if TYPE_CHECKING:
    from tests.delivery.conftest import House


@pytest.fixture
def chained(make_route: Callable[..., Route], open_house: Callable[..., House]) -> House:
    """Three links: first → middle → last; and a route that is by itself."""
    last = make_route("last", fed_by=("middle",))
    middle = make_route("middle", outbox=last.inbox, feeds="last", fed_by=("first",))
    first = make_route("first", outbox=middle.inbox, feeds="middle")
    routes = (first, middle, last, make_route("alone"))
    for route in (last, middle, first, routes[3]):
        route.inbox.parent.mkdir()
        prepare(Folders(route.inbox, route.outbox, route.done, route.failed), seen=False)
    return open_house(*routes)


def told(house: House) -> dict[str, str]:
    """The sidecars that say "fail" at the end, and whose they are."""
    found = {path: json.loads(data) for path, data in house.files(house.routes[2].outbox).items()}
    return {path: told["job_id"] for path, told in found.items() if told["status"] == "fail"}


async def test_a_failed_link_is_told_in_the_last_outbox(chained: House) -> None:
    [job] = await chained.arrive("sub/a.png", states=[State.FAILED])
    await chained.rounds()
    assert told(chained) == {"sub/a.json": job.id}
    sidecar = json.loads(chained.files(chained.routes[2].outbox)["sub/a.json"])
    assert sidecar["route"] == "first"
    assert 'the route "first" of the chain failed: no face was found' in sidecar["errors"][0]["message"]
    assert chained.files(chained.routes[1].inbox) == {}  # nothing that the next link would take
    assert set(chained.files(chained.route.failed)) == {
        "sub/a.png", "sub/a.png.error.txt", "sub/a.png.error.json",
    }  # fmt: skip
    assert (await chained.books.see(job)).base == "a"


async def test_a_cancelled_link_is_told_too_and_each_job_of_a_matrix_by_itself(chained: House) -> None:
    jobs = await chained.arrive("a.png", states=[State.CANCELLED, State.FAILED])
    await chained.rounds(2)
    assert told(chained) == {"a_seed-1.json": jobs[0].id, "a_seed-2.json": jobs[1].id}


async def test_the_last_link_and_a_route_by_itself_publish_no_sidecar_of_a_failure(chained: House) -> None:
    for route in chained.routes[2:]:
        house_of = chained.route
        chained.route = route
        await chained.arrive("a.png", states=[State.FAILED])
        chained.route = house_of
    await chained.rounds()
    assert [chained.files(route.outbox) for route in chained.routes] == [{}] * 4


@pytest.mark.parametrize("name", ["a.json", "A.PNG", "a.mp4"])
async def test_a_taken_name_at_the_end_gives_the_next_one(name: str, chained: House) -> None:
    (chained.routes[2].outbox / name).write_bytes(b'{"status": "theirs"}')
    [job] = await chained.arrive("a.png", states=[State.FAILED])
    await chained.rounds()
    assert set(chained.files(chained.routes[2].outbox)) == {name, "a-2.json"}
    assert (await chained.books.see(job)).base == "a-2"


@pytest.mark.parametrize("at", range(1, 25))
async def test_a_failed_link_interrupted_at_any_step_is_told_once(at: int, chained: House) -> None:
    [job] = await chained.arrive("sub/a.png", states=[State.FAILED])
    await chained.interrupted(at)
    assert told(chained) == {"sub/a.json": job.id}
    assert set(chained.files(chained.route.failed)) == {
        "sub/a.png", "sub/a.png.error.txt", "sub/a.png.error.json",
    }  # fmt: skip
    assert chained.staged == []
    assert (await chained.books.see(job)).source.filed


async def test_the_interruptions_of_a_chain_reach_every_step(chained: House) -> None:
    await chained.arrive("sub/a.png", states=[State.FAILED])
    assert 15 < (await chained.interrupted(0)).steps <= 24


async def test_while_the_end_of_the_chain_is_offline_nothing_is_lost(chained: House) -> None:
    marker = chained.routes[2].inbox / ".renderdrop"
    marker.rename(marker.with_name("away"))
    [job] = await chained.arrive("a.png", states=[State.FAILED])
    await chained.rounds(4)
    assert not (await chained.books.see(job)).source.filed
    assert chained.files(chained.route.failed)["a.png"] == b"a.png"
    assert chained.file_away.stuck == {job.id}
    marker.with_name("away").rename(marker)
    chained.clock.run(600)
    await chained.rounds(2)
    assert told(chained) == {"a.json": job.id}
    assert (await chained.books.see(job)).source.filed
    assert set(chained.files(chained.route.failed)) == {"a.png", "a.png.error.txt", "a.png.error.json"}


async def test_a_chain_ends_where_the_settings_end_it(chained: House, open_house: Callable[..., House]) -> None:
    """The next route was taken out of the settings: the chain is as long as what is left of it."""
    house = open_house(chained.route, chained.routes[3])
    [job] = await house.arrive("a.png", states=[State.FAILED])
    await house.rounds()
    assert (await house.books.see(job)).source.filed
    assert house.files(chained.route.outbox) == {}


async def test_a_link_that_is_tried_again_and_rendered_takes_its_notice_back(chained: House) -> None:
    [job] = await chained.arrive("a.png", states=[State.FAILED])
    await chained.rounds()
    at = chained.clock.text()
    await chained.books.ledger.write(lambda c: moves.retry(c, job.id, State.FAILED, at))
    await chained.books.ledger.write(lambda c: chained.bring(c, job.id, State.RENDERED))
    await chained.rounds()
    now = await chained.books.see(job)
    assert (now.state, now.base) == (State.DELIVERED, "a")
    assert told(chained) == {}
    assert set(chained.files(chained.route.outbox)) == {"a.png", "a.json"}


async def test_a_notice_at_the_end_that_is_somebody_elses_by_now_stays(chained: House) -> None:
    [job] = await chained.arrive("a.png", states=[State.FAILED])
    await chained.rounds()
    theirs = chained.routes[2].outbox / "a.json"
    theirs.write_bytes(b"{}")
    at = chained.clock.text()
    await chained.books.ledger.write(lambda c: moves.retry(c, job.id, State.FAILED, at))
    await chained.books.ledger.write(lambda c: chained.bring(c, job.id, State.RENDERED))
    await chained.rounds()
    assert (await chained.books.see(job)).state is State.DELIVERED
    assert theirs.read_bytes() == b"{}"


async def test_a_notice_at_the_end_to_which_somebody_has_added_is_theirs_and_stays(chained: House) -> None:
    [job] = await chained.arrive("a.png", states=[State.FAILED])
    await chained.rounds()
    notice = chained.routes[2].outbox / "a.json"
    theirs = notice.read_bytes().replace(b'"status": "fail",', b'"status": "fail",\n  "note": "asked Bo",', 1)
    notice.write_bytes(theirs)
    at = chained.clock.text()
    await chained.books.ledger.write(lambda c: moves.retry(c, job.id, State.FAILED, at))
    await chained.books.ledger.write(lambda c: chained.bring(c, job.id, State.RENDERED))
    await chained.rounds()
    assert (await chained.books.see(job)).state is State.DELIVERED
    assert notice.read_bytes() == theirs


async def test_the_notice_of_thousands_of_files_is_taken_back_too(chained: House) -> None:
    [job] = await chained.arrive("a.png", states=[State.FAILED])
    await chained.rounds()
    notice = chained.routes[2].outbox / "a.json"
    whole = json.loads(notice.read_bytes())
    whole["sources"] *= 2**21 // len(json.dumps(whole["sources"]))
    notice.write_text(json.dumps(whole, ensure_ascii=False, indent=2) + "\n")
    assert notice.stat().st_size > 2**20
    await chained.deliver._chain.take_back(chained.route, await chained.books.see(job))
    assert not notice.exists()


async def test_a_chain_through_a_folder_bundle_is_told_under_the_folders_name(
    chained: House, open_house: Callable[..., House]
) -> None:
    house = open_house(replace(chained.route, bundle="folder"), *chained.routes[1:])
    [job] = await house.arrive("shot/a.png", "shot/b.mp4", bundle="shot", states=[State.FAILED])
    await house.rounds()
    assert told(house) == {"shot.json": job.id}


async def test_an_end_that_cannot_be_reached_is_not_the_trouble_of_the_link_that_was_rendered(
    chained: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    [job] = await chained.arrive("a.png", states=[State.FAILED])
    await chained.rounds()
    at = chained.clock.text()
    await chained.books.ledger.write(lambda c: moves.retry(c, job.id, State.FAILED, at))
    await chained.books.ledger.write(lambda c: chained.bring(c, job.id, State.RENDERED))

    def gone(*_: object) -> None:
        raise ShareOffline("the end's outbox is gone")

    monkeypatch.setattr(chain_module, "take_told", gone)
    await chained.rounds()
    assert (await chained.books.see(job)).state is State.DELIVERED
    assert set(chained.files(chained.route.outbox)) == {"a.png", "a.json"}
    assert chained.troubles.of("share", "first") is None
    assert chained.troubles.of("share", "last") is not None


async def test_an_end_that_is_silent_holds_no_hand_of_the_routes_before_it(chained: House) -> None:
    """As `Hands` counts: what waits for a silent share, its own or the end's, keeps nobody else waiting."""
    await chained.rounds()  # tidied
    let_go = threading.Event()
    end = chained.deliver._on(chained.routes[2])
    hanging = asyncio.ensure_future(end(let_go.wait))
    for n in range(4):
        await chained.arrive(f"{n}.png", states=[State.FAILED])
    end.clock = lambda: time.monotonic() + SLOW + 1
    await chained.file_away.round()
    assert chained.file_away._hands.free == 4
    let_go.set()
    await hanging
    end.clock = time.monotonic
    await chained.calm()
    assert len(told(chained)) == 4
