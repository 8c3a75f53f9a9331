"""The native calls: an upload, a poll with bare names, and what counts as a lost input."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.model.errors import Busy, Fault, PlatformDown, Refused, SourceChanged, Temporary
from renderdrop.platform import apps, graphs, kinds, models
from renderdrop.platform.answers import Nonsense, OwnError
from renderdrop.platform.client import Client
from renderdrop.platform.graphs import names_missing_input
from renderdrop.platform.multipart import FilePart

if TYPE_CHECKING:
    from tests.platform.conftest import Serve, Wire

    Talking = Callable[[str], AbstractAsyncContextManager[Client]]

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def part(breaks: bool = False) -> FilePart:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"\x89PNG"
        if breaks:
            raise SourceChanged("it changed")
        yield b"data"

    return FilePart("73.image", "肖像.png", "image/png", 8, chunks)


async def nothing() -> None:
    pass


async def uploaded(client: Client, what: FilePart) -> str | Fault:
    try:
        async with asyncio.timeout(20):
            return await graphs.upload(client, what, nothing, NOW)
    except Fault as fault:
        return fault


async def test_an_upload_is_one_part_named_file_and_gives_the_platforms_name(serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        await wire.body()
        await wire.answer(200, '{"code": 0, "data": {"filename": "0af3_肖像.png"}}'.encode())

    raw = await serve(script)
    async with talking(raw.url) as client:
        assert await uploaded(client, part()) == "0af3_肖像.png"
    [seen] = raw.seen
    assert seen.line == "POST /openapi/v1/workflow/upload/file HTTP/1.1"
    assert seen.body.count(b"Content-Disposition") == 1
    assert 'name="file"; filename="肖像.png"'.encode() in seen.body
    assert b"Content-Type: image/png\r\n\r\n\x89PNGdata\r\n" in seen.body


UPLOADS: list[tuple[int, bytes, type[Fault]]] = [
    (200, b'{"code": 0, "data": {}}', Nonsense),
    (200, b'{"code": 0, "data": null}', Nonsense),
    (200, b'{"code": 0, "data": {"filename": ""}}', Nonsense),
    (200, b'{"code": 0, "data": {"filename": "  "}}', Nonsense),
    (200, b'{"code": 0, "data": {"filename": 7}}', Nonsense),
    (200, b'{"code": 0, "data": ["a.png"]}', Nonsense),
    (200, b"<html>", Nonsense),
    (502, b"<html>", Nonsense),
    (500, b'{"code": 5, "msg": "disk full"}', OwnError),
    (200, b'{"code": 4, "msg": "type not allowed"}', Refused),
    (413, b"", Refused),
    (429, b"", Busy),
    (401, b"", PlatformDown),
]


@pytest.mark.parametrize(("status", "body", "kind"), UPLOADS, ids=[f"{u[0]}-{u[1][:30]!r}" for u in UPLOADS])
async def test_no_end_of_an_upload_is_unknown(
    status: int, body: bytes, kind: type[Fault], serve: Serve, talking: Talking
) -> None:
    async def script(wire: Wire) -> None:
        await wire.body()
        await wire.answer(status, body)

    async with talking((await serve(script)).url) as client:
        assert type(await uploaded(client, part())) is kind


async def test_a_lost_answer_to_an_upload_is_temporary(serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        await wire.body()
        wire.reset()

    async with talking((await serve(script)).url) as client:
        assert isinstance(await uploaded(client, part()), Temporary)


async def test_a_file_that_changes_abandons_its_upload(serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        await wire.body()
        await wire.answer(200, b'{"code": 0, "data": {"filename": "a.png"}}')

    async with talking((await serve(script)).url) as client:
        assert type(await uploaded(client, part(breaks=True))) is SourceChanged


async def test_a_poll_fetches_bare_names_by_view(serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        await wire.answer(
            200,
            b'{"code": 0, "data": {"status": "success", "progress": {"total_progress": 94}, "outputs": ['
            b'{"id": "9", "title": "Save", "output": "HAIYI 1.png", "error_type": "info"},'
            b'{"id": "9", "title": "Save", "output": "https://cdn.example/b.png", "error_type": "info"}]}}',
        )

    raw = await serve(script)
    async with talking(raw.url) as client:
        report = await graphs.ask(client, "230/../x", NOW)
    assert raw.seen[0].line == "GET /openapi/v1/workflow/task/230%2F..%2Fx HTTP/1.1"
    assert (report.status, report.progress) == ("success", 94.0)
    assert [o.url for o in report.outputs] == [
        f"{raw.url}/api/view?type=output&filename=HAIYI%201.png",
        "https://cdn.example/b.png",
    ]


def test_every_kind_of_route_has_its_poll() -> None:
    assert dict(kinds.ASK) == {"app": apps.ask, "graph": graphs.ask, "model": models.ask}


MINE = ["0af3_肖像.png", "b.png"]


@pytest.mark.parametrize(
    "message",
    [
        "image: '0af3_肖像.png' not in (list of length 5)",
        "Value not in list: image: 'B.PNG' not in ['x.png']",
        "cannot open /data/input/b.png.",
        "Prompt outputs failed validation\n  LoadImage: Custom validation failed: image - Invalid image file: z.png",
        "Invalid video file: x.mp4",
        "[Errno 2] No such file or directory: '/data/input/x.png'",
        "FileNotFoundError: input/x.png",
        "uploaded file not found",
        "the input image does not exist",
        "image x.png is missing",
        "输入文件不存在",
        "找不到图片 x.png",
    ],
)
def test_a_text_that_says_that_an_upload_is_gone_is_understood(message: str) -> None:
    assert names_missing_input(message, MINE)


@pytest.mark.parametrize(
    "message",
    [
        "",
        "余额不足",
        "CUDA out of memory",
        "image is too large",
        "Value not in list: ckpt_name: 'sd.safetensors' not in ['a.safetensors']",
        "[Errno 2] No such file or directory: 'models/vae/x.pth'",
        "model file not found: x",
        "Required input is missing: image",
        "Cannot execute because node FaceDetailer does not exist. (input 7)",
        "模型文件不存在",
        "工作流不存在",
        "workflow not found",
        "task not found",
        "the file is fine\nno face was found: missing eyes",
        "sub.png is odd",
        "b.pngx is odd",
    ],
)
def test_other_troubles_are_not_taken_for_a_lost_upload(message: str) -> None:
    assert not names_missing_input(message, MINE)


def test_without_names_only_the_wording_counts() -> None:
    assert not names_missing_input("anything", ["", " "])
    assert names_missing_input("input file not found", [])


@given(st.text(), st.lists(st.text(), max_size=3))
def test_any_text_is_judged(message: str, names: list[str]) -> None:
    assert names_missing_input(message, names) in (True, False)
