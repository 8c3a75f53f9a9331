"""Jobs of model routes: pictures lent out by address for as long as their task needs them, and not a moment longer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer
from sqlalchemy import text
from structlog.testing import capture_logs

from renderdrop.dispatch import publish as publish_module
from renderdrop.ledger import moves
from renderdrop.model import sidecar
from renderdrop.model.errors import Refused, StoreDown, Unknown
from renderdrop.model.job import Job, Place
from renderdrop.model.lifecycle import State
from renderdrop.model.route import Input, Model, Publish, Route
from renderdrop.model.wishes import TEXT, Wishes
from renderdrop.platform import models
from renderdrop.sandbox import Sandbox, SandboxOptions

if TYPE_CHECKING:
    from tests.dispatch.conftest import Yard

SIGNED = "https://store.example/pictures/{key}?X-Amz-Signature=s1gned"


class Shelf:
    """Stands in for the object store."""

    down = False

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.puts: list[str] = []
        self.removed: list[str] = []
        self.lent: list[float] = []
        self.before: Callable[[str], None] = lambda key: None
        self.types: list[str] = []

    def put(self, key: str, body: Any, size: int, media_type: str) -> None:
        self.before(key)
        if self.down:
            raise StoreDown('the object store (bucket "pictures") cannot be used: it is down')
        data = body.read()
        assert len(data) == size
        self.objects[key] = data
        self.puts.append(key)
        self.types.append(media_type)

    def url(self, key: str, expires_seconds: float) -> str:
        self.lent.append(expires_seconds)
        return SIGNED.format(key=key)

    def remove(self, key: str) -> None:
        if self.down:
            raise StoreDown('the object store (bucket "pictures") cannot be used: it is down')
        self.objects.pop(key, None)
        self.removed.append(key)


LENT = Publish("pictures", "https://store.example", "renderdrop/", 3600.0)


def model_route(route: Route, *inputs: Input, publish: Publish | None = LENT) -> Route:
    return replace(
        route, kind="model", model=Model("google", "gemini", "image2image"), workflow_id="google/gemini", clusters=(),
        inputs=inputs or (Input("images", "image"), Input("prompt", "text", optional=True)), publish=publish,
    )  # fmt: skip


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    made = Shelf()
    monkeypatch.setattr(publish_module, "Store", lambda *_: made)
    return made


@pytest.fixture
def gallery(yard: Yard, shelf: Shelf) -> Yard:
    yard.use(model_route(yard.route))
    return yard


async def rows(yard: Yard) -> list[str]:
    def all_of(c: Any) -> list[str]:
        return [str(row.key) for row in c.execute(text("SELECT key FROM published ORDER BY id"))]

    return await yard.books.ledger.read(all_of)


async def job(yard: Yard, name: str = "a.png") -> Job:
    return await yard.job({"images": (name, b"abc")})


async def finish(yard: Yard, done: Job) -> None:
    at = yard.clock.text()
    await yard.books.ledger.write(
        lambda c: moves.move(c, done.id, State.SUBMITTED, State.RENDERED, at, paid=True, finished_at=at)
    )


async def test_a_picture_is_lent_out_and_its_address_sent(gallery: Yard, shelf: Shelf) -> None:
    wishes = Wishes().over({"prompt": "in oil"}, TEXT)
    made = await gallery.job({"images": ("肖像.JPG", b"abc")}, text=("肖像.txt", b"in oil"), wishes=wishes)
    await gallery.rounds()
    [asked], [key] = gallery.asked, shelf.puts
    assert asked.workflow == "google/gemini/image2image"
    assert asked.params == {"prompt": "in oil", "images": [SIGNED.format(key=key)]}
    assert key.startswith(f"renderdrop/{made.id}/")
    assert key.endswith(".JPG")
    assert "肖像" not in key
    assert (shelf.objects, shelf.lent, shelf.types) == ({key: b"abc"}, [3600.0], ["image/jpeg"])
    now = await gallery.books.see(made)
    assert (now.state, now.task_id, now.cluster or None) == (State.SUBMITTED, "230", None)
    assert gallery.farm.asked == 0


async def test_an_input_whose_name_is_singular_gets_the_bare_address(gallery: Yard, shelf: Shelf) -> None:
    gallery.use(model_route(gallery.route, Input("image", "image")))
    await gallery.job({"image": ("a.png", b"abc")})
    await gallery.rounds()
    assert gallery.asked[0].params["image"] == SIGNED.format(key=shelf.puts[0])


async def test_an_address_that_was_dropped_is_sent_as_it_is_and_nothing_published(gallery: Yard, shelf: Shelf) -> None:
    wishes = Wishes().over({"images": "https://public.example/a.png"}, TEXT)
    await gallery.job(text=("a.url", b"[InternetShortcut]"), wishes=wishes)
    await gallery.rounds()
    assert gallery.asked[0].params["images"] == ["https://public.example/a.png"]
    assert shelf.puts == []


async def test_the_address_is_written_nowhere(gallery: Yard, shelf: Shelf) -> None:
    with capture_logs() as logs:
        made = await job(gallery)
        await gallery.rounds()
        await finish(gallery, made)
        await gallery.rounds()
    found = await gallery.books.ledger.read(
        lambda c: "\n".join(c.connection.driver_connection.iterdump())  # type: ignore[union-attr]
    )
    told = sidecar.write(await gallery.books.see(made), success=True).decode()
    for secret in ("s1gned", "store.example", "X-Amz"):
        assert secret not in found
        assert secret not in told
        assert secret not in str(logs)


async def test_the_intent_is_in_the_ledger_before_there_is_an_object(gallery: Yard, shelf: Shelf) -> None:
    seen: list[list[str]] = []
    loop = asyncio.get_running_loop()

    def look(_: str) -> None:
        seen.append(asyncio.run_coroutine_threadsafe(rows(gallery), loop).result(10))

    shelf.before = look
    await job(gallery)
    await gallery.rounds()
    assert seen == [shelf.puts]


@pytest.mark.parametrize("end", [State.RENDERED, State.FAILED, State.CANCELLED])
async def test_the_object_goes_when_the_task_is_over_and_not_before(end: State, gallery: Yard, shelf: Shelf) -> None:
    made = await job(gallery)
    await gallery.rounds(3)
    assert len(shelf.objects) == 1
    at = gallery.clock.text()
    await gallery.books.ledger.write(lambda c: moves.move(c, made.id, State.SUBMITTED, State.HELD, at, error="silent"))
    await gallery.rounds(3)
    assert (len(shelf.objects), await gallery.publisher.work_left()) == (1, False)  # its task may still want to look
    if end is State.CANCELLED:
        await gallery.books.ledger.write(lambda c: moves.cancel(c, made.id, State.HELD, at, "not wanted"))
    else:
        await gallery.books.ledger.write(lambda c: moves.move(c, made.id, State.HELD, State.SUBMITTED, at))
        await gallery.books.ledger.write(lambda c: moves.move(c, made.id, State.SUBMITTED, end, at))
    assert await gallery.publisher.work_left()
    await gallery.rounds()
    assert (shelf.objects, await rows(gallery), await gallery.publisher.work_left()) == ({}, [], False)


@pytest.mark.parametrize("when", ["before the put", "after the put", "after the removal"])
async def test_a_crash_at_any_point_leaves_no_object_for_good(
    when: str, gallery: Yard, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await job(gallery)
    if when == "after the removal":
        await gallery.rounds()
        await finish(gallery, made)
        shelf.objects.clear()  # it was removed, and the power went before the row was struck out
    else:

        def crash(*_: object) -> None:
            raise RuntimeError("the power went")

        if when == "after the put":
            monkeypatch.setattr(shelf, "url", crash)
        else:
            shelf.before = crash
        with capture_logs():
            await gallery.rounds()
        assert await gallery.state(made) is State.QUEUED
        assert len(shelf.removed) == 1  # sorted out by the very round that followed
    gallery.again(gallery.route)
    await gallery.publisher.round()
    assert (shelf.objects, await rows(gallery)) == ({}, [])


async def test_an_object_that_is_still_on_its_way_when_its_job_is_cancelled_is_removed_too(
    gallery: Yard, shelf: Shelf
) -> None:
    made = await job(gallery)
    loop, at, go = asyncio.get_running_loop(), gallery.clock.text(), threading.Event()

    def slowly(_: str) -> None:
        async def meanwhile() -> None:
            await gallery.books.ledger.write(lambda c: moves.cancel(c, made.id, State.SUBMITTING, at, "not wanted"))
            await gallery.publisher.round()

        asyncio.run_coroutine_threadsafe(meanwhile(), loop).result(10)
        go.set()

    shelf.before = slowly
    await gallery.rounds(2)
    assert go.is_set()
    assert await gallery.state(made) is State.CANCELLED
    assert (len(shelf.puts), shelf.objects, await rows(gallery)) == (1, {}, [])


async def test_each_try_has_an_object_of_its_own(gallery: Yard, shelf: Shelf) -> None:
    gallery.answers = [Refused("busy"), Unknown("silence"), "230"]
    await job(gallery)
    await gallery.rounds(4, apart=60)
    assert len(gallery.asked) == 1
    assert len(set(shelf.puts)) == 3
    assert list(shelf.objects) == shelf.puts[-1:]
    assert await rows(gallery) == shelf.puts[-1:]


async def test_a_store_that_is_down_makes_the_route_wait_and_burns_nothing(gallery: Yard, shelf: Shelf) -> None:
    shelf.down = True
    jobs = [await job(gallery, f"{n}.png") for n in range(3)]
    with capture_logs() as logs:
        await gallery.rounds(5)
    trouble = gallery.troubles.of("route", "portrait")
    assert trouble is not None
    assert "the object store" in trouble.sentence
    seen = [await gallery.books.see(each) for each in jobs]
    assert [(each.state, each.attempts, each.source.place) for each in seen] == [(State.QUEUED, 0, Place.INBOX)] * 3
    assert gallery.asked == []
    assert len([entry for entry in logs if entry["event"] == "unpublish_waits"]) == 1
    assert not await gallery.publisher.work_left()  # nothing that `run --once` could wait for
    shelf.down = False
    await gallery.rounds(5, apart=200)
    assert gallery.troubles.of("route", "portrait") is None
    assert len(gallery.asked) == 3
    assert len(shelf.objects) == 3
    assert sorted(await rows(gallery)) == sorted(shelf.objects)


async def test_a_picture_on_a_route_without_publish_makes_the_route_wait_with_a_sentence(gallery: Yard) -> None:
    gallery.use(model_route(gallery.route, publish=None))
    made = await job(gallery)
    await gallery.rounds(2)
    trouble = gallery.troubles.of("route", "portrait")
    assert trouble is not None
    assert "publish" in trouble.sentence
    now = await gallery.books.see(made)
    assert (now.state, now.attempts, gallery.asked) == (State.QUEUED, 0, [])


async def test_a_picture_that_changes_while_it_is_published_is_not_sent_and_taken_back(
    gallery: Yard, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await job(gallery)

    def anyway(key: str, *_: object) -> None:
        (gallery.route.inbox / "a.png").write_bytes(b"a newer version")
        shelf.objects[key] = b"half"

    monkeypatch.setattr(shelf, "put", anyway)
    await gallery.rounds(2)
    assert (await gallery.state(made), gallery.asked) == (State.CANCELLED, [])
    assert (shelf.objects, await rows(gallery)) == ({}, [])


async def test_objects_of_a_route_that_publishes_no_more_are_told_once_and_kept_in_mind(
    gallery: Yard, shelf: Shelf
) -> None:
    made = await job(gallery)
    await gallery.rounds()
    await finish(gallery, made)
    published = gallery.route
    gallery.use(replace(published, publish=None))
    with capture_logs() as logs:
        await gallery.rounds(3)
    assert [entry["event"] for entry in logs] == ["unpublish_waits"]
    assert len(await rows(gallery)) == 1
    gallery.use(published)
    await gallery.rounds()
    assert (shelf.objects, await rows(gallery)) == ({}, [])


async def test_the_picture_of_a_duplicate_is_not_published(gallery: Yard, shelf: Shelf) -> None:
    gallery.use(replace(gallery.route, duplicates="skip"))
    await job(gallery, "a.png")
    await gallery.rounds()
    await job(gallery, "b.png")
    await gallery.rounds(2)
    assert len(shelf.puts) == 1


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


async def test_with_a_real_store_the_platform_fetches_the_picture_and_then_it_is_gone(
    endpoint: str, yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_yard: Callable[..., Yard]
) -> None:
    monkeypatch.undo()  # the real calls, against the real stand-ins
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL",
                 "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE7")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")

    def bucket() -> list[str]:
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        try:
            client.create_bucket(Bucket="lent-pictures")
            return [row["Key"] for row in client.list_objects_v2(Bucket="lent-pictures").get("Contents", [])]
        finally:
            client.close()

    assert await asyncio.to_thread(bucket) == []
    lent = Publish("lent-pictures", endpoint, "renderdrop/", 3600.0, addressing="path")
    route = replace(
        model_route(yard.route, Input("images", "image"), publish=lent), params={"prompt": "in oil"},
        model=Model("google", "gemini-3-pro-image-preview", "image2image"),
    )  # fmt: skip
    options = SandboxOptions(folder=tmp_path / "sandbox", render_seconds=(0.01, 0.02), fetch_images=False)
    async with Sandbox(options) as sandbox:
        there = new_yard(route, sandbox.base_url)
        made = await there.job({"images": ("猫 1.png", b"\x89PNG picture")})
        await there.rounds()
        assert await there.state(made) is State.SUBMITTED
        [task] = sandbox.ledger()["tasks"]
        [url] = task["parameters"]["images"]
        async with httpx.AsyncClient(trust_env=False) as anybody:
            assert (await anybody.get(url)).content == b"\x89PNG picture"
            report = await models.ask(there.client, str(230), there.clock.now())
            assert report.status in ("pending", "running", "success")
            assert await asyncio.to_thread(bucket) == await rows(there)
            await finish(there, made)
            await there.rounds()
            assert (await anybody.get(url)).status_code == 404
        assert await asyncio.to_thread(bucket) == await rows(there) == []
        await there.tasks.stop(0.0)
        await there.client.close()
