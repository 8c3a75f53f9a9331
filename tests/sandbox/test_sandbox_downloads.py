"""Outputs come whole or in the piece that was asked for, and nothing else can be reached."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from renderdrop.sandbox import Sandbox, SandboxOptions
from renderdrop.sandbox.view import span

Submit = Callable[..., Awaitable[httpx.Response]]
Ended = Callable[[httpx.Response], Awaitable[dict[str, Any]]]

BODY = bytes(range(256)) * 40


@pytest.fixture
async def url(submit: Submit, ended: Ended) -> str:
    answer = await submit("any", files={"input_file": ("剪辑 片.mp4", BODY, "video/mp4")})
    return str((await ended(answer))["outputs"][0]["output"])


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-", (0, 99)),
        ("bytes=10-19", (10, 19)),
        ("bytes=90-500", (90, 99)),
        ("bytes=-10", (90, 99)),
        ("bytes=-500", (0, 99)),
        ("bytes=20-10", None),
        ("bytes=0-1,5-6", None),
        ("bytes=-", None),
        ("items=0-1", None),
        (None, None),
    ],
)
def test_a_range_means_what_rfc_9110_says(header: str | None, expected: tuple[int, int] | None) -> None:
    assert span(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=-0"])
def test_a_range_beyond_the_end_cannot_be_satisfied(header: str) -> None:
    with pytest.raises(ValueError, match=r"bytes \*/100"):
        span(header, 100)


async def test_a_whole_download_says_what_it_is(client: httpx.AsyncClient, url: str) -> None:
    answer = await client.get(url)
    assert answer.content == BODY
    assert answer.headers["Content-Length"] == str(len(BODY))
    assert answer.headers["Content-Type"] == "video/mp4"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"].startswith('"')
    assert answer.headers["Last-Modified"].endswith("GMT")


async def test_the_rest_is_sent_where_the_file_is_still_the_same(client: httpx.AsyncClient, url: str) -> None:
    whole = await client.get(url)
    for validator in (whole.headers["ETag"], whole.headers["Last-Modified"], None):
        headers = {"Range": "bytes=1000-", **({"If-Range": validator} if validator else {})}
        rest = await client.get(url, headers=headers)
        assert rest.status_code == 206
        assert rest.headers["Content-Range"] == f"bytes 1000-{len(BODY) - 1}/{len(BODY)}"
        assert rest.content == BODY[1000:]


@pytest.mark.parametrize("validator", ['"other"', "Sun, 06 Nov 1994 08:49:37 GMT", "W/"])
async def test_the_whole_is_sent_where_the_file_is_another_one(
    client: httpx.AsyncClient, url: str, validator: str
) -> None:
    if validator == "W/":  # a weak validator never matches in If-Range
        validator += (await client.get(url)).headers["ETag"]
    answer = await client.get(url, headers={"Range": "bytes=1000-", "If-Range": validator})
    assert (answer.status_code, answer.content) == (200, BODY)


async def test_a_range_beyond_the_end_is_416(client: httpx.AsyncClient, url: str) -> None:
    answer = await client.get(url, headers={"Range": f"bytes={len(BODY)}-"})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{len(BODY)}")


@pytest.mark.parametrize(
    "query",
    [
        "type=output&filename=../../../../etc/passwd",
        "type=output&filename=%2Fetc%2Fpasswd",
        "type=output&filename=..%2F..%2Fuploads",
        "type=output&filename=",
        "type=output",
        "filename=x",
    ],
)
async def test_nothing_but_an_output_can_be_reached(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/api/view?{query}")
    assert (answer.status_code, answer.json()["code"]) == (404, 40404)


async def test_an_output_is_of_the_type_output_only(client: httpx.AsyncClient, url: str) -> None:
    assert (await client.get(url.replace("type=output", "type=input"))).status_code == 404


async def test_no_token_is_needed_to_view_and_whether_one_came_is_remembered(
    sandbox: Sandbox, client: httpx.AsyncClient, url: str
) -> None:
    await client.get(url)
    async with httpx.AsyncClient() as stranger:
        assert (await stranger.get(url)).content == BODY
    assert sandbox.ledger()["authorization_seen"]["view"] == {"with": 1, "without": 1}


async def test_viewing_can_be_made_to_need_the_token(tmp_path: Path) -> None:
    options = SandboxOptions(folder=tmp_path, view_needs_token=True)
    async with Sandbox(options) as strict, httpx.AsyncClient(base_url=strict.base_url) as stranger:
        assert (await stranger.get("/api/view?type=output&filename=x")).status_code == 401


async def test_64_megabytes_go_up_and_come_down_unchanged(
    sandbox: Sandbox, client: httpx.AsyncClient, ended: Ended
) -> None:
    # Pieces full of things that look like boundaries, cut at odd places.
    piece = (b"\r\n--X\r\n--" + bytes(range(251))) * 4099
    pieces = -(-(64 << 20) // len(piece))
    head = (
        b'--X\r\nContent-Disposition: form-data; name="workflow_id"\r\n\r\nany\r\n'
        b'--X\r\nContent-Disposition: form-data; name="cluster_name"\r\n\r\nGPU-A800\r\n'
        b'--X\r\nContent-Disposition: form-data; name="input_file"; filename="big.bin"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n"
    ).replace(b"--X\r\n", b"--Xbig\r\n")
    tail = b"\r\n--Xbig--\r\n"
    digest = hashlib.sha256()

    async def body() -> AsyncIterator[bytes]:
        yield head
        for _ in range(pieces):
            digest.update(piece)
            yield piece
        yield tail

    size = pieces * len(piece)
    headers = {
        "Content-Type": "multipart/form-data; boundary=Xbig",
        "Content-Length": str(len(head) + size + len(tail)),
    }
    answer = await client.post("/openapi/v1/workflow/apps/run", content=body(), headers=headers)
    url = (await ended(answer))["outputs"][0]["output"]
    task = sandbox.ledger()["tasks"][0]
    assert (task["files"][0]["size"], task["files"][0]["sha256"]) == (size, digest.hexdigest())
    assert (task["outputs"][0]["size"], task["outputs"][0]["sha256"]) == (size, digest.hexdigest())
    came = hashlib.sha256()
    async with client.stream("GET", url) as down:
        async for chunk in down.aiter_raw():
            came.update(chunk)
    assert came.hexdigest() == digest.hexdigest()
