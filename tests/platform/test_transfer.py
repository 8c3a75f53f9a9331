"""Fetching a file from a server that cuts, lies, redirects and sends too much: whole and right, or not at all."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from renderdrop.model.errors import Busy, Fault, PlatformDown, Temporary, Undeliverable
from renderdrop.platform import results
from renderdrop.platform.answers import Nonsense
from renderdrop.platform.client import Client
from renderdrop.platform.results import CHUNK, Missing, Transfer

if TYPE_CHECKING:
    from tests.platform.conftest import Serve, Wire

    Talking = Callable[[str], AbstractAsyncContextManager[Client]]

NOW = datetime(2026, 11, 22, tzinfo=UTC)
DATA = bytes(range(256)) * 8
NEW = DATA[::-1]
CAP = 10**6


class Kept:
    """A sink in memory."""

    def __init__(self) -> None:
        self.data = b""
        self.restarts = 0
        self.writes: list[int] = []

    @property
    def size(self) -> int:
        return len(self.data)

    async def write(self, chunk: bytes) -> None:
        self.data += chunk
        self.writes.append(len(chunk))

    async def restart(self) -> None:
        self.data = b""
        self.restarts += 1


async def pull(client: Client, transfer: Transfer, sink: Kept) -> None:
    async with asyncio.timeout(20):
        await transfer.pull(client, sink, NOW)


async def test_a_file_comes_whole_with_its_type(serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        await wire.answer(200, DATA, Content_Type="Image/PNG; x=1")

    raw = await serve(script)
    async with talking(raw.url) as client:
        transfer, sink = Transfer(raw.url + "/a.png", CAP), Kept()
        await pull(client, transfer, sink)
    assert sink.data == DATA
    assert transfer.media_type == "image/png"
    assert raw.seen[0].headers["accept-encoding"] == "identity"
    assert "range" not in raw.seen[0].headers


async def test_the_disk_is_visited_once_a_mebibyte(serve: Serve, talking: Talking) -> None:
    body = b"x" * (3 * CHUNK + 5)

    async def script(wire: Wire) -> None:
        await wire.answer(200, body)

    raw = await serve(script)
    async with talking(raw.url) as client:
        sink = Kept()
        await pull(client, Transfer(raw.url, 10 * CHUNK), sink)
    assert sink.data == body
    assert len(sink.writes) <= 4
    assert max(sink.writes) < 2 * CHUNK


def resuming(
    first: dict[str, str], later: Callable[[Wire, int], tuple[int, bytes, dict[str, str]]]
) -> Callable[[Wire], object]:
    """A script: the first answer is cut half way, what follows is `later`'s."""

    async def script(wire: Wire) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", wire.seen.headers.get("range", ""))
        if asked is None and not getattr(script, "cut", False):
            script.cut = True  # type: ignore[attr-defined]
            await wire.answer(200, DATA[:1000], len(DATA), **first)
            return
        status, body, headers = later(wire, int(asked[1]) if asked else 0)
        await wire.answer(status, body, **headers)

    return script


def rest(start: int, data: bytes = DATA, end: int | None = None) -> tuple[int, bytes, dict[str, str]]:
    body = data[start:end]
    return 206, body, {"Content_Range": f"bytes {start}-{start + len(body) - 1}/{len(data)}"}


async def twice(
    serve: Serve, talking: Talking, script: Callable[[Wire], object], tries: int = 2
) -> tuple[Kept, list[dict[str, str]], list[Fault]]:
    """Pull until it is there; what arrived, the requests' headers, and the faults on the way."""
    raw = await serve(script)  # type: ignore[arg-type]
    transfer, sink, faults = Transfer(raw.url + "/a.png", CAP), Kept(), []
    async with talking(raw.url) as client:
        for _ in range(tries):
            try:
                await pull(client, transfer, sink)
                break
            except Fault as fault:
                faults.append(fault)
    return sink, [s.headers for s in raw.seen], faults


@pytest.mark.parametrize("validator", [{"ETag": '"v1"'}, {"Last_Modified": "Sun, 22 Nov 2026 14:00:00 GMT"}])
async def test_a_cut_download_goes_on_where_it_stopped_with_a_validator(
    validator: dict[str, str], serve: Serve, talking: Talking
) -> None:
    sink, seen, faults = await twice(serve, talking, resuming(validator, lambda _, start: rest(start)))
    assert sink.data == DATA
    assert sink.restarts == 0
    assert [type(f) for f in faults] == [Temporary]
    assert seen[1]["range"] == "bytes=1000-"
    assert seen[1]["if-range"] == next(iter(validator.values()))


@pytest.mark.parametrize("validator", [{}, {"ETag": 'W/"v1"'}])
async def test_without_a_strong_validator_it_starts_anew(
    validator: dict[str, str], serve: Serve, talking: Talking
) -> None:
    sink, seen, _ = await twice(serve, talking, resuming(validator, lambda _, start: (200, DATA[start:], {})))
    assert sink.data == DATA
    assert "range" not in seen[1]


async def test_a_file_that_is_another_by_now_starts_anew(serve: Serve, talking: Talking) -> None:
    sink, seen, _ = await twice(serve, talking, resuming({"ETag": '"v1"'}, lambda *_: (200, NEW, {"ETag": '"v2"'})))
    assert "range" in seen[1]
    assert sink.data == NEW


WRONG: list[Callable[[int], tuple[int, bytes, dict[str, str]]]] = [
    lambda start: rest(start - 1),
    lambda start: rest(0),
    lambda start: (206, DATA[start:], {}),
    lambda start: (206, DATA[start:], {"Content_Range": "bytes */2048"}),
    lambda start: (206, DATA[start:], {"Content_Range": "nonsense"}),
    lambda start: (206, DATA[start:], {"Content_Range": f"bytes {start}-2047/9999"}),
    lambda start: (206, DATA[start:], {"Content_Range": f"bytes {start}-2047/{'9' * 5000}"}),
    lambda start: (206, NEW[start:], {**rest(start)[2], "ETag": '"v2"'}),
    lambda start: (416, b"", {"Content_Range": "bytes */10"}),
    lambda start: (416, b"", {"Content_Range": f"bytes */{start}"}),  # it was longer when it was begun
]


@pytest.mark.parametrize("wrong", range(len(WRONG)))
async def test_a_part_that_does_not_fit_is_never_glued_on(wrong: int, serve: Serve, talking: Talking) -> None:
    def later(wire: Wire, start: int) -> tuple[int, bytes, dict[str, str]]:
        return WRONG[wrong](start) if "range" in wire.seen.headers else (200, NEW, {"ETag": '"v2"'})

    sink, seen, faults = await twice(serve, talking, resuming({"ETag": '"v1"'}, later), tries=3)
    assert sink.data == NEW
    assert ["range" in headers for headers in seen] == [False, True, False]
    assert all(isinstance(fault, Temporary) for fault in faults)


async def test_a_shorter_part_than_asked_for_is_not_taken_for_the_whole(serve: Serve, talking: Talking) -> None:
    sink, seen, faults = await twice(
        serve, talking, resuming({"ETag": '"v1"'}, lambda _, start: rest(start, end=start + 500)), tries=6
    )
    assert sink.data == DATA
    assert sink.restarts == 0
    assert len(seen) == 4
    assert len(faults) == 3


async def test_more_bytes_than_the_file_has_are_thrown_away(serve: Serve, talking: Talking) -> None:
    def later(wire: Wire, start: int) -> tuple[int, bytes, dict[str, str]]:
        if "range" in wire.seen.headers:
            return 206, DATA[start:] + b"more", {"Content_Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"}
        return 200, DATA, {}

    sink, seen, _ = await twice(serve, talking, resuming({"ETag": '"v1"'}, later), tries=3)
    assert sink.data == DATA
    assert "range" not in seen[2]


async def test_what_lies_there_from_another_try_is_not_trusted(serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        await wire.answer(200, DATA)

    raw = await serve(script)
    async with talking(raw.url) as client:
        sink = Kept()
        sink.data = b"old"
        await pull(client, Transfer(raw.url, CAP), sink)
    assert sink.data == DATA


@pytest.mark.parametrize("declared", [True, False])
async def test_more_than_the_cap_is_undeliverable_and_not_kept(declared: bool, serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        if declared:
            await wire.answer(200, b"x" * 500, 5000)
        else:
            wire.writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 5000)
            await wire.writer.drain()

    raw = await serve(script)
    async with talking(raw.url) as client:
        sink = Kept()
        with pytest.raises(Undeliverable, match=re.escape("max_output")):
            await pull(client, Transfer(raw.url, 1000), sink)
    assert sink.size <= 1000


async def test_exactly_the_cap_is_taken(serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        await wire.answer(200, DATA)

    raw = await serve(script)
    async with talking(raw.url) as client:
        sink = Kept()
        await pull(client, Transfer(raw.url, len(DATA)), sink)
    assert sink.data == DATA


FAULTS: list[tuple[int, bytes, dict[str, str], type[Fault]]] = [
    (200, b"", {}, Nonsense),
    (200, b"<html>login</html>", {"Content_Type": "text/html; charset=utf-8"}, Nonsense),
    (200, b"\x1f\x8b", {"Content_Encoding": "gzip"}, Nonsense),
    (404, b"", {}, Missing),
    (416, b"", {"Content_Range": "bytes */0"}, Temporary),
    (410, b"", {}, Missing),
    (429, b"", {"Retry_After": "5"}, Busy),
    (503, b"", {"Retry_After": "5"}, Busy),
    (503, b"", {}, Temporary),
    (500, b"", {}, Temporary),
    (401, b"", {}, PlatformDown),
    (302, b"", {}, Temporary),
    (302, b"", {"Location": "http://["}, Nonsense),
    (302, b"", {"Location": "file:///etc/passwd"}, Undeliverable),
    (302, b"", {"Location": "/again"}, Nonsense),
]


@pytest.mark.parametrize(
    ("status", "body", "headers", "kind"), FAULTS, ids=[f"{f[0]}-{f[3].__name__}-{i}" for i, f in enumerate(FAULTS)]
)
async def test_what_an_answer_without_the_file_is_called(
    status: int, body: bytes, headers: dict[str, str], kind: type[Fault], serve: Serve, talking: Talking
) -> None:
    async def script(wire: Wire) -> None:
        await wire.answer(status, body, **headers)

    raw = await serve(script)
    async with talking(raw.url) as client:
        sink = Kept()
        with pytest.raises(Fault) as caught:
            await pull(client, Transfer(raw.url, CAP), sink)
    assert type(caught.value) is kind
    assert sink.size == 0
    assert len(raw.seen) < 10


@pytest.mark.parametrize("url", ["ftp://a/b", "file:///etc/passwd", "http://[", "x", "javascript:alert(1)"])
async def test_an_address_that_must_not_be_fetched_is_undeliverable(url: str, talking: Talking) -> None:
    async with talking("http://127.0.0.1:1") as client:
        with pytest.raises(Undeliverable):
            await pull(client, Transfer(url, CAP), Kept())


async def test_a_redirect_is_followed_and_the_token_is_not_taken_along(serve: Serve, talking: Talking) -> None:
    async def store(wire: Wire) -> None:
        await wire.answer(200, DATA)

    other = await serve(store)

    async def script(wire: Wire) -> None:
        if wire.seen.line.startswith("GET /first"):
            await wire.answer(302, Location="/second")
        else:
            await wire.answer(307, Location=f"{other.url}/signed?x=1")

    raw = await serve(script)
    async with talking(raw.url) as client:
        sink = Kept()
        await pull(client, Transfer(raw.url + "/first", CAP), sink)
    assert sink.data == DATA
    assert ["authorization" in s.headers for s in raw.seen] == [True, True]
    assert "authorization" not in other.seen[0].headers


async def test_nobody_at_the_outputs_host_is_told_as_such(talking: Talking) -> None:
    async with talking("http://127.0.0.1:1") as client:
        with pytest.raises(PlatformDown):
            await pull(client, Transfer("http://127.0.0.1:1/a", CAP), Kept())


async def test_a_cut_without_a_length_is_noticed_where_the_protocol_tells(serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        wire.writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await wire.writer.drain()

    raw = await serve(script)
    async with talking(raw.url) as client:
        with pytest.raises(Temporary):
            await pull(client, Transfer(raw.url, CAP), Kept())


async def test_a_download_that_drips_is_broken_off_and_can_go_on(
    serve: Serve, talking: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "SLOWEST", 10 * CHUNK)

    async def script(wire: Wire) -> None:
        await wire.answer(200, DATA[:-1], len(DATA), ETag='"1"')
        await wire.reader.read()  # and then nothing, until the client has had enough

    raw = await serve(script)
    async with talking(raw.url) as client:
        transfer, sink = Transfer(raw.url, CAP), Kept()
        with pytest.raises(Temporary, match="drips"):
            await pull(client, transfer, sink)
    assert sink.data == DATA[:-1]
