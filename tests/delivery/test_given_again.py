"""Results that are not downloaded: those of a job that had rendered the very same, and those inside an answer."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from renderdrop.delivery.fetch import Fetch
from renderdrop.ledger import moves
from renderdrop.model.job import Job, Output
from renderdrop.model.lifecycle import State
from renderdrop.model.route import Route
from renderdrop.platform.client import Client

if TYPE_CHECKING:
    from tests.delivery.conftest import House


async def pair(house: House) -> tuple[Job, Job]:
    """A delivered job and one that shares its results."""
    [first] = await house.arrive("sub/first.png", outputs=2)
    await house.rounds()
    first = await house.books.see(first)
    [second] = await house.arrive("again.png", states=[State.QUEUED])
    at = house.clock.text()
    await house.books.ledger.write(lambda c: moves.share_results(c, second.id, at, first, "f" * 64))
    house.fetch.fetched.clear()
    return first, second


def delivered(house: House, first: Job, second: Job) -> None:
    found = house.files(house.route.outbox)
    assert {name: data for name, data in found.items() if name.endswith(".png")} == {
        f"{name}_{o.position + 1}.png": house.rendered(o) for name in ("sub/first", "again") for o in first.outputs
    }
    told = json.loads(found["again.json"])
    assert (told["job_id"], told["status"], told["duplicate_of"]) == (second.id, "success", first.id)
    assert (told["task_id"], told["cluster"], told["submissions"]) == (None, None, [])
    assert [o["file"] for o in told["outputs"]] == ["again_1.png", "again_2.png"]
    assert [(o["sha256"], o["size"], o["media_type"]) for o in told["outputs"]] == [
        (o.sha256, o.size, o.media_type) for o in first.outputs
    ]
    assert house.files(house.route.done) == {"sub/first.png": b"sub/first.png", "again.png": b"again.png"}
    assert house.staged == []
    assert house.fetch.fetched == []


@pytest.mark.parametrize("at", range(25))
async def test_a_duplicate_is_given_the_earlier_results_under_its_own_name(at: int, house: House) -> None:
    first, second = await pair(house)
    await house.interrupted(at)
    delivered(house, first, second)
    assert (await house.books.see(second)).state is State.DELIVERED


@pytest.mark.parametrize("harm", ["gone", "altered", "a link"])
async def test_an_earlier_result_that_vanished_meanwhile_fails_the_duplicate_and_retry_renders_it(
    harm: str, house: House
) -> None:
    first, second = await pair(house)
    victim = house.route.outbox / "sub" / str(first.outputs[1].file)
    data = victim.read_bytes()
    victim.unlink()
    if harm == "altered":
        victim.write_bytes(data[::-1])
    elif harm == "a link":
        (house.route.outbox / "copy.png").write_bytes(data)
        victim.symlink_to("../copy.png")
    await house.rounds(2)
    now = await house.books.see(second)
    assert now.state is State.FAILED
    assert "first_2.png" in (now.error or "")
    assert "`retry` renders it" in (now.error or "")
    assert set(house.files(house.route.failed)) == {"again.png", "again.png.error.txt", "again.png.error.json"}
    assert not any("again" in name for name in house.files(house.route.outbox))
    assert house.staged == []
    at = house.clock.text()
    await house.books.ledger.write(lambda c: moves.retry(c, second.id, State.FAILED, at))
    now = await house.books.see(second)
    assert (now.state, now.duplicate_of, now.paid) == (State.QUEUED, None, False)


PNG = bytes(range(256)) * 40


@pytest.mark.parametrize("scheme", ["data:", "DATA:"])
async def test_a_result_inside_the_answer_becomes_a_file_and_leaves_the_ledger(
    scheme: str, house: House, route: Route, make_route: Callable[..., Route]
) -> None:
    client = Client("http://127.0.0.1:1", SecretStr("AI-x"))
    house.fetch = Fetch(client, house.clock)
    house.again()
    [job] = await house.arrive("a.png")
    encoded = base64.b64encode(PNG).decode()
    uris = [f"{scheme}image/jpeg;base64,{encoded}", f"{scheme}video/mp4;base64,{encoded}"]
    rows = [Output(n, "1", "Model", uri) for n, uri in enumerate(uris)]
    await house.books.ledger.write(lambda c: moves.set_results(c, job.id, rows, ()))
    await house.rounds()
    await client.close()
    found = house.files(route.outbox)
    assert {name: data for name, data in found.items() if name != "a.json"} == {"a_1.jpg": PNG, "a_2.mp4": PNG}
    assert encoded[:50] not in found["a.json"].decode()
    now = await house.books.see(job)
    assert now.state is State.DELIVERED
    assert [o.url for o in now.outputs] == [f"{scheme}image/jpeg;base64,…", f"{scheme}video/mp4;base64,…"]
    assert [(o.file, o.size, o.media_type) for o in now.outputs] == [
        ("a_1.jpg", len(PNG), "image/jpeg"), ("a_2.mp4", len(PNG), "video/mp4"),
    ]  # fmt: skip


async def test_a_result_inside_the_answer_that_cannot_be_read_fails_its_job(house: House) -> None:
    client = Client("http://127.0.0.1:1", SecretStr("AI-x"))
    house.fetch = Fetch(client, house.clock)
    house.again()
    [job] = await house.arrive("a.png")
    row = Output(0, "1", "Model", "data:image/png;base64,AAA*")
    await house.books.ledger.write(lambda c: moves.set_results(c, job.id, [row], ()))
    await house.rounds(2)
    await client.close()
    now = await house.books.see(job)
    assert now.state is State.FAILED
    assert "data: URI" in (now.error or "")
    assert house.staged == []
