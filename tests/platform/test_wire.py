"""The wire, against a server that misbehaves on purpose: where the token goes, what each end of a submission is."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from renderdrop.model.errors import Busy, Fault, PlatformDown, Refused, SourceChanged, Temporary, Undeliverable, Unknown
from renderdrop.model.mask import Mask
from renderdrop.platform import apps, clusters
from renderdrop.platform import client as client_module
from renderdrop.platform.answers import Nonsense, OwnError
from renderdrop.platform.client import Client, origin
from renderdrop.platform.multipart import FilePart

if TYPE_CHECKING:
    from tests.platform.conftest import Serve, Wire

    Talking = Callable[[str], AbstractAsyncContextManager[Client]]

NOW = datetime(2026, 11, 22, tzinfo=UTC)
BEARER = "Bearer AI-0123456789abcdef"
ACCEPTED = json.dumps({"code": 0, "msg": "success", "data": {"task_id": 230}}).encode()
PENDING = json.dumps({"code": 0, "msg": "success", "data": {"status": "pending"}}).encode()
HTML = b"<html>502 Bad Gateway</html>"
BIG = 24 * 2**20
"""More than the buffers of a loopback connection hold: the client feels what happens at the other end."""


def request(size: int = 5, breaks_at: int | None = None) -> apps.Request:
    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, size, 2**18):
            if breaks_at is not None and at >= breaks_at:
                raise SourceChanged("it changed")
            yield b"x" * min(2**18, size - at)

    part = FilePart("input_image", "a.png", "image/png", size, chunks)
    return apps.Request("1234", "7", "GPU-4090", {"prompt": "oil"}, [part])


async def nothing() -> None:
    pass


async def outcome(client: Client, what: apps.Request) -> str | Fault:
    """The task's id, or what was raised."""
    try:
        async with asyncio.timeout(20):
            return await apps.run(client, what, nothing, NOW)
    except Fault as fault:
        return fault


async def test_a_submission_is_one_request_with_everything_in_it(serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        await wire.body()
        await wire.answer(200, ACCEPTED)

    raw = await serve(script)
    async with talking(raw.url + "/") as client:
        assert await outcome(client, request()) == "230"
    [seen] = raw.seen
    assert seen.line == "POST /openapi/v1/workflow/apps/run HTTP/1.1"
    assert seen.headers["authorization"] == BEARER
    assert seen.headers["accept-encoding"] == "identity"
    assert "transfer-encoding" not in seen.headers
    for name in ("workflow_id", "cluster_name", "version_id", "prompt", "input_image"):
        assert f'name="{name}"'.encode() in seen.body


ENDS: list[tuple[int, bytes, dict[str, str], type[Fault]]] = [
    (502, HTML, {}, Unknown),
    (504, b"", {}, Unknown),
    (200, HTML, {"Content_Type": "text/html"}, Unknown),
    (200, ACCEPTED[:-5], {}, Unknown),
    (200, b'{"code": 0, "msg": "success", "data": {}}', {}, Unknown),
    (408, b"", {}, Unknown),
    (200, '{"code": 40001, "msg": "余额不足"}'.encode(), {}, Refused),
    (400, '{"code": 40001, "msg": "余额不足"}'.encode(), {}, Refused),
    (404, HTML, {}, Refused),
    (500, '{"code": 50000, "msg": "内部错误"}'.encode(), {}, OwnError),
    (429, b"", {"Retry_After": "3"}, Busy),
    (503, HTML, {"Retry_After": "3"}, Busy),
    (401, b"", {}, PlatformDown),
    (403, HTML, {}, PlatformDown),
    (307, b"", {"Location": "/elsewhere"}, PlatformDown),
]


@pytest.mark.parametrize(
    ("status", "body", "headers", "kind"), ENDS, ids=[f"{e[0]}-{e[1][:12]!r}-{e[3].__name__}" for e in ENDS]
)
async def test_what_an_answer_after_the_whole_body_is_called(
    status: int, body: bytes, headers: dict[str, str], kind: type[Fault], serve: Serve, talking: Talking
) -> None:
    async def script(wire: Wire) -> None:
        await wire.body()
        await wire.answer(status, body, **headers)

    raw = await serve(script)
    async with talking(raw.url) as client:
        assert type(await outcome(client, request())) is kind
    assert len(raw.seen) == 1


async def test_a_refusals_message_comes_through_unchanged(serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        await wire.body()
        await wire.answer(200, '{"code": 40001, "msg": "余额不足\\n请充值"}'.encode())

    async with talking((await serve(script)).url) as client:
        fault = await outcome(client, request())
    assert isinstance(fault, Refused)
    assert fault.message == "余额不足\n请充值"


@pytest.mark.parametrize("end", ["reset", "close", "half an answer"])
async def test_an_answer_that_is_lost_after_the_whole_body_is_unknown(end: str, serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        await wire.body()
        if end == "reset":
            wire.reset()
        elif end == "half an answer":
            await wire.answer(200, ACCEPTED[:20], len(ACCEPTED))

    async with talking((await serve(script)).url) as client:
        assert type(await outcome(client, request(BIG if end == "reset" else 5))) is Unknown


async def test_an_answer_that_never_comes_is_unknown(
    serve: Serve, talking: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "ANSWER", 0.3)
    asked = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.body()
        await asked.wait()

    async with talking((await serve(script)).url) as client:
        fault = await outcome(client, request())
        asked.set()
    assert type(fault) is Unknown


@pytest.mark.parametrize("end", ["reset", "close", "502"])
async def test_an_end_before_the_whole_body_was_sent_is_temporary_and_never_unknown(
    end: str, serve: Serve, talking: Talking
) -> None:
    async def script(wire: Wire) -> None:
        await wire.reader.readexactly(1000)
        if end == "502":
            await wire.answer(502, HTML, Connection="close")
        if end != "close":
            wire.reset()

    async with talking((await serve(script)).url) as client:
        fault = await outcome(client, request(BIG))
    assert isinstance(fault, Temporary), repr(fault)


async def test_a_file_that_changed_abandons_the_request_before_it_is_whole(serve: Serve, talking: Talking) -> None:
    got = asyncio.Event()
    length = 0

    async def script(wire: Wire) -> None:
        nonlocal length
        try:
            await wire.body()
        except asyncio.IncompleteReadError as cut:
            length = len(cut.partial)
            got.set()

    raw = await serve(script)
    async with talking(raw.url) as client:
        fault = await outcome(client, request(2**20, breaks_at=2**19))
        assert isinstance(fault, SourceChanged)
        async with asyncio.timeout(10):
            await got.wait()
    assert length < int(raw.seen[0].headers["content-length"])


async def test_nobody_there_is_the_platforms_fault_and_not_the_jobs(serve: Serve, talking: Talking) -> None:
    for url in ("http://127.0.0.1:1", "http://no-such-host.invalid"):
        async with talking(url) as client:
            assert type(await outcome(client, request())) is PlatformDown
            with pytest.raises(PlatformDown):
                await client.get("/")


async def test_a_poll_that_breaks_is_temporary(serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        wire.reset()

    async with talking((await serve(script)).url) as client:
        with pytest.raises(Temporary):
            await apps.ask(client, "230", NOW)


async def test_a_drip_of_an_answer_ends_at_the_deadline(
    serve: Serve, talking: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "CALL_DEADLINE", 0.2)

    async def script(wire: Wire) -> None:
        await wire.answer(200, b"", 10**6)
        while not wire.writer.is_closing():
            wire.writer.write(b" ")
            await wire.writer.drain()
            await asyncio.sleep(0.02)

    async with talking((await serve(script)).url) as client:
        with pytest.raises(Temporary, match="did not answer"):
            await client.get("/")


async def test_an_endless_answer_is_cut_off_at_the_cap(serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        await wire.answer(200, b"", 10**9)
        while not wire.writer.is_closing():
            wire.writer.write(b" " * 2**18)
            await wire.writer.drain()

    async with talking((await serve(script)).url) as client:
        with pytest.raises(Nonsense, match="longer than"):
            await client.get("/")


async def test_after_every_trouble_the_next_call_works(serve: Serve, talking: Talking) -> None:
    turn = 0

    async def script(wire: Wire) -> None:
        nonlocal turn
        turn += 1
        if turn % 2:
            wire.reset()
        else:
            await wire.answer(200, PENDING)

    async with talking((await serve(script)).url) as client:
        for _ in range(client_module.CALLS + 2):
            with pytest.raises(Temporary):
                await apps.ask(client, "230", NOW)
            assert (await apps.ask(client, "230", NOW)).status == "pending"


async def test_a_tasks_id_cannot_lead_the_poll_elsewhere(serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        await wire.answer(200, PENDING)

    raw = await serve(script)
    async with talking(raw.url) as client:
        await apps.ask(client, "230/../../../x?y#z", NOW)
    assert raw.seen[0].line == "GET /openapi/v1/workflow/apps/task/230%2F..%2F..%2F..%2Fx%3Fy%23z HTTP/1.1"


async def test_the_clusters_are_asked_for_where_the_page_says(serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        await wire.answer(200, b'{"code": 0, "data": [{"name": "A", "curr_nodes": 1, "max_nodes": 2}]}')

    raw = await serve(script)
    async with talking(raw.url) as client:
        assert [c.name for c in await clusters.active(client, NOW)] == ["A"]
    assert raw.seen[0].line == "GET /openapi/v1/workflow/cluster/all_active_clusters_status HTTP/1.1"


async def test_a_redirect_is_never_followed_by_a_call(serve: Serve, talking: Talking) -> None:
    async def elsewhere(wire: Wire) -> None:
        await wire.answer(200, PENDING)

    other = await serve(elsewhere)

    async def script(wire: Wire) -> None:
        await wire.answer(302, Location=f"{other.url}/openapi")

    raw = await serve(script)
    async with talking(raw.url) as client:
        with pytest.raises(PlatformDown, match="base_url"):
            await apps.ask(client, "230", NOW)
    assert (len(raw.seen), len(other.seen)) == (1, 0)


async def test_the_token_goes_to_its_own_origin_and_to_no_other(serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        await wire.answer(200, b"x")

    ours, other = await serve(script), await serve(script)
    port = ours.url.rpartition(":")[2]
    async with talking(ours.url) as client:
        for url in (
            f"{ours.url}/api/view", f"{other.url}/api/view", f"http://localhost:{port}/api/view",
            f"http://{ours.url.removeprefix('http://')}@{other.url.removeprefix('http://')}/x",
        ):  # fmt: skip
            try:
                async with client.stream(url, {}) as response:
                    await response.aread()
            except Fault:
                pass  # no name for the second address: nothing was sent
    assert [s.headers.get("authorization") == BEARER for s in ours.seen] == [True, False][: len(ours.seen)]
    assert BEARER not in [s.headers.get("authorization") for s in other.seen]
    assert len(other.seen) == 2


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://art.huya.info", "https://art.huya.info:443/x", True),
        ("http://a", "http://A:80", True),
        ("https://a", "http://a", False),
        ("https://a", "https://a:8443", False),
        ("https://a", "https://a.evil", False),
        ("https://a", "https://a@evil", False),
        ("https://a", "https://evil/https://a", False),
        ("https://a", "//a", False),
        ("https://a", "", False),
        ("https://a", "https://evil#@a", False),
        ("https://a", "https://evil?@a", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(one: str, other: str, same: bool) -> None:
    assert (origin(one) == origin(other)) == same


@pytest.mark.parametrize(
    "url", ["http://[", "http://a:99999", "http://a:b", "http://[::1", "http://\x00", "http://a b/"]
)
async def test_a_url_that_cannot_be_read_is_undeliverable_and_no_crash(url: str, talking: Talking) -> None:
    async with talking("http://127.0.0.1:1") as client:
        with pytest.raises((Undeliverable, PlatformDown)):
            async with client.stream(url, {}):
                pass


async def test_a_new_token_counts_from_the_next_request_on(serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        await wire.answer(200, b"{}")

    raw = await serve(script)
    async with talking(raw.url) as client:
        await client.get("/")
        client.use_token(SecretStr("AI-new"))
        await client.get("/")
    assert [s.headers["authorization"] for s in raw.seen] == [BEARER, "Bearer AI-new"]


async def test_no_fault_holds_the_token(serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        wire.reset()

    async with talking((await serve(script)).url) as client:
        for broken in (client.get("/"), apps.ask(client, "230", NOW)):
            with pytest.raises(Fault) as caught:
                await broken
            error: BaseException | None = caught.value
            while error is not None:
                assert "AI-0123" not in f"{error!r} {error}"
                error = error.__cause__
    assert "AI-0123" not in repr(vars(client))


@pytest.mark.parametrize(("size", "beside"), [(100, False), (2**20, True)])
async def test_a_long_answer_is_searched_for_the_token_beside_the_loop(
    size: int, beside: bool, serve: Serve, talking: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, searched = threading.get_ident(), []

    class Watched(Mask):
        def body(self, data: bytes) -> bytes:
            searched.append((len(data), threading.get_ident() == here))
            return super().body(data)

    monkeypatch.setattr(client_module, "Mask", Watched)

    async def script(wire: Wire) -> None:
        await wire.answer(200, BEARER.removeprefix("Bearer ").replace("-", "%2d").encode().ljust(size, b"x"))

    async with talking((await serve(script)).url) as client:
        answer = await client.get("/")
    assert answer.body == b"[token]".ljust(size - 14, b"x")
    assert (size, not beside) in searched
    assert (size, beside) not in searched


async def test_proxies_of_the_environment_are_not_used(
    serve: Serve, talking: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(wire: Wire) -> None:
        await wire.answer(200, b"{}")

    raw, proxy = await serve(script), await serve(script)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    async with talking(raw.url) as client:
        await client.get("/")
    assert (len(raw.seen), len(proxy.seen)) == (1, 0)


async def test_a_submission_never_goes_over_a_connection_that_may_be_dying(serve: Serve, talking: Talking) -> None:
    connections = set()

    async def script(wire: Wire) -> None:
        connections.add(wire.writer.get_extra_info("peername"))
        await wire.body()
        await wire.answer(200, ACCEPTED, Connection="keep-alive")
        await wire.reader.read()  # the server keeps it open; we must not come back on it

    raw = await serve(script)
    async with talking(raw.url) as client:
        for _ in range(2):
            await apps.run(client, request(), nothing, NOW)
    assert len(connections) == 2
