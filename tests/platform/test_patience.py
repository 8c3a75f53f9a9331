"""How long a call waits, what a broken line says of a request, and ends that were not told: against a raw server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from renderdrop.model.errors import Busy, Fault, Temporary, Unknown
from renderdrop.platform import apps
from renderdrop.platform import client as client_module
from renderdrop.platform.answers import Nonsense, Unsent
from renderdrop.platform.client import Client
from renderdrop.platform.multipart import FilePart
from renderdrop.platform.results import Transfer

if TYPE_CHECKING:
    from tests.platform.conftest import Serve, Wire

    Talking = Callable[[str], AbstractAsyncContextManager[Client]]

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ACCEPTED = b'{"code": 0, "msg": "success", "data": {"task_id": 230}}'
DATA = bytes(range(256)) * 8


async def submit(client: Client, size: int = 5, before_last: Callable[[], object] = lambda: None) -> str | Fault:
    """The task's id, or what was raised. `before_last` returns what is awaited before the last byte, or nothing."""

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, size, 2**18):
            yield b"x" * min(2**18, size - at)

    async def last() -> None:
        waited = before_last()
        if asyncio.iscoroutine(waited):
            await waited

    part = FilePart("input_image", "a.png", "image/png", size, chunks)
    try:
        async with asyncio.timeout(20):
            return await apps.run(client, apps.Request("1234", "7", "GPU-4090", {}, [part]), last, NOW)
    except Fault as fault:
        return fault


@pytest.mark.parametrize("end", ["reset", "close", "429 and close", "502 and close"])
async def test_a_small_request_whose_line_broke_before_its_last_byte_is_not_unknown(
    end: str, serve: Serve, talking: Talking
) -> None:
    over = asyncio.Event()

    async def script(wire: Wire) -> None:
        if end == "429 and close":
            await wire.answer(429, b"", Retry_After="1")
        if end == "502 and close":
            await wire.answer(502, b"<html>")
        if end == "reset":
            wire.reset()
        else:
            await wire.reader.read(2**16)  # what is left unread would turn the close into a reset
            wire.writer.close()
        over.set()

    async def until_then() -> None:
        await over.wait()
        await asyncio.sleep(0.05)  # the other end's kernel has told ours by now

    async with talking((await serve(script)).url) as client:
        fault = await submit(client, before_last=until_then)
    assert type(fault) is {"429 and close": Busy, "502 and close": Nonsense}.get(end, Unsent)


async def test_an_upload_has_time_as_long_as_it_moves(
    serve: Serve, talking: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("CALL_DEADLINE", 0.1), ("WRITE", 0.5), ("ANSWER", 1.0)):
        monkeypatch.setattr(client_module, name, seconds)

    async def script(wire: Wire) -> None:
        left = int(wire.seen.headers["content-length"])
        while left > 0:  # 2.5 s for all of it at least, more than all deadlines together
            left -= len(await wire.reader.read(2**18)) or left
            await asyncio.sleep(0.01)
        await wire.answer(200, ACCEPTED)

    async with talking((await serve(script)).url) as client:
        assert await submit(client, 64 * 2**20) == "230"


async def test_an_upload_that_moves_no_more_is_given_up_and_is_not_unknown(
    serve: Serve, talking: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "WRITE", 0.3)
    done = asyncio.Event()

    async def script(wire: Wire) -> None:
        await done.wait()

    async with talking((await serve(script)).url) as client:
        fault = await submit(client, 24 * 2**20)
        done.set()
    assert isinstance(fault, Temporary)


async def test_what_the_source_takes_does_not_count_against_the_platform(
    serve: Serve, talking: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CALL_DEADLINE", "ANSWER", "WRITE"):
        monkeypatch.setattr(client_module, name, 0.2)

    async def script(wire: Wire) -> None:
        await wire.body()
        await wire.answer(200, ACCEPTED)

    async with talking((await serve(script)).url) as client:
        assert await submit(client, before_last=lambda: asyncio.sleep(0.8)) == "230"


@pytest.mark.parametrize("what", ["head", "body"])
async def test_a_drip_of_an_answer_to_a_submission_ends_however_large_the_upload_was(
    what: str, serve: Serve, talking: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "ANSWER", 0.4)

    async def script(wire: Wire) -> None:
        await wire.body()
        wire.writer.write(b"HTTP/1.1 200 OK\r\n" + (b"Content-Length: 999\r\n\r\n" if what == "body" else b"X-Slow: "))
        while not wire.writer.is_closing():
            wire.writer.write(b" ")
            await wire.writer.drain()
            await asyncio.sleep(0.02)

    async with talking((await serve(script)).url) as client:
        assert type(await submit(client, 4 * 2**20)) is Unknown


@pytest.mark.parametrize("drips", [True, False])
async def test_a_long_answer_has_the_time_that_its_bytes_take_and_a_drip_has_no_more_than_a_short_one(
    drips: bool, serve: Serve, talking: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "CALL_DEADLINE", 0.5)

    async def script(wire: Wire) -> None:
        await wire.answer(200, b"", 20 * 2**16)
        for _ in range(20):
            wire.writer.write(b" " if drips else b" " * 2**16)  # whole, it takes a second: 1.3 MB a second
            await wire.writer.drain()
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)

    async with talking((await serve(script)).url) as client:
        if drips:
            with pytest.raises(Temporary, match="did not answer"):
                await client.get("/", 48 * 2**20)
        else:
            assert len((await client.get("/", 48 * 2**20)).body) == 20 * 2**16


async def test_a_download_whose_headers_drip_ends(
    serve: Serve, talking: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "HEADERS", 0.3)

    async def script(wire: Wire) -> None:
        wire.writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not wire.writer.is_closing():
            wire.writer.write(b"x")
            await wire.writer.drain()
            await asyncio.sleep(0.02)

    raw = await serve(script)
    async with talking(raw.url) as client:
        with pytest.raises(Temporary, match="did not begin"):
            await Transfer(raw.url, 10**6).pull(client, _Kept(), NOW)


ODD_WAITS = ["-5", "1e9", "soon", "", "Sun, 99 Nov 2026 99:99:99 GMT", f"Mon, 01 Jan 2026 00:00:00 +{'9' * 30}"]


@pytest.mark.parametrize("value", ODD_WAITS)
async def test_a_503_that_asks_to_come_back_is_busy_even_where_its_wait_cannot_be_read(
    value: str, serve: Serve, talking: Talking
) -> None:
    async def script(wire: Wire) -> None:
        await wire.body()
        await wire.answer(503, b"<html>", Retry_After=value)

    async with talking((await serve(script)).url) as client:
        fault = await submit(client)
    assert isinstance(fault, Busy)
    assert fault.retry_after is None


@pytest.mark.parametrize("value", [f'"{"x" * 201}"', '"a\\u0000b"', '"\\ud800"', '"two\\nlines"'])
async def test_an_id_that_cannot_be_one_leaves_it_unknown_whether_the_task_runs(
    value: str, serve: Serve, talking: Talking
) -> None:
    async def script(wire: Wire) -> None:
        await wire.body()
        await wire.answer(200, f'{{"code": 0, "data": {{"task_id": {value}}}}}'.encode())

    async with talking((await serve(script)).url) as client:
        assert type(await submit(client)) is Unknown


async def test_cookies_are_not_kept(serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        await wire.answer(200, b"{}", Set_Cookie=f"a{len(raw.seen)}=1; Path=/", Connection="keep-alive")

    raw = await serve(script)
    async with talking(raw.url) as client:
        for _ in range(3):
            await client.get("/")
    assert len(raw.seen) == 3
    assert not any("cookie" in seen.headers for seen in raw.seen)


class _Kept:
    """A sink in memory."""

    def __init__(self) -> None:
        self.data = b""

    @property
    def size(self) -> int:
        return len(self.data)

    async def write(self, chunk: bytes) -> None:
        self.data += chunk

    async def restart(self) -> None:
        self.data = b""


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_body_that_ends_with_its_connection_is_believed_when_the_next_look_ends_at_the_same_place(
    ranges: bool, serve: Serve, talking: Talking
) -> None:
    async def script(wire: Wire) -> None:
        etag = b'ETag: "1"\r\n' if ranges else b""
        if ranges and (asked := wire.seen.headers.get("range")):
            first = int(asked[6:-1])
            if first == len(DATA):
                await wire.answer(416, b"", Content_Range=f"bytes */{len(DATA)}")
            else:
                span = f"bytes {first}-{len(DATA) - 1}/{len(DATA)}"
                await wire.answer(206, DATA[first:], Content_Range=span, ETag='"1"')
            return
        body = DATA[:700] if len(raw.seen) == 1 else DATA
        wire.writer.write(b"HTTP/1.0 200 OK\r\n" + etag + b"\r\n" + body)
        await wire.writer.drain()

    raw = await serve(script)
    sink, transfer, faults = _Kept(), Transfer(raw.url, 10**6), 0
    async with talking(raw.url) as client:
        for _ in range(5):
            try:
                await transfer.pull(client, sink, NOW)
                break
            except Temporary:
                faults += 1
    assert sink.data == DATA
    assert faults == (1 if ranges else 2)


async def test_a_length_beside_chunks_does_not_count(serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"
        wire.writer.write(head + f"{len(DATA):x}\r\n".encode() + DATA + b"\r\n0\r\n\r\n")
        await wire.writer.drain()

    raw = await serve(script)
    sink = _Kept()
    async with talking(raw.url) as client:
        await Transfer(raw.url, 10**6).pull(client, sink, NOW)
    assert sink.data == DATA
