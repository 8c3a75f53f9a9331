"""A submission as JSON, and answers that may come without an envelope: what each end is called."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.model.errors import Busy, Fault, PlatformDown, Refused, SourceChanged, Temporary, Unknown
from renderdrop.platform import client as client_module
from renderdrop.platform import graphs, models
from renderdrop.platform.answers import Answer, Nonsense, OwnError, opened, told
from renderdrop.platform.client import Client
from renderdrop.platform.submission import JsonBody

if TYPE_CHECKING:
    from tests.platform.conftest import Serve, Wire

    Talking = Callable[[str], AbstractAsyncContextManager[Client]]

NOW = datetime(2026, 11, 22, tzinfo=UTC)
GRAPH = {"73": {"class_type": "LoadImage", "inputs": {"image": "甲.png"}}}
HTML = b"<html>502 Bad Gateway</html>"
BIG = 24 * 2**20
"""More than the buffers of a loopback connection hold: the client feels what happens at the other end."""


async def nothing() -> None:
    pass


def graph(size: int = 0) -> dict[str, Any]:
    return GRAPH | {"9": {"class_type": "CLIPTextEncode", "inputs": {"text": "x" * size}}}


async def by_graph(client: Client, size: int = 0, before_last: Callable[[], Awaitable[None]] = nothing) -> str:
    return await graphs.submit(client, graph(size), "GPU-4090", before_last, NOW)


async def by_model(client: Client, size: int = 0, before_last: Callable[[], Awaitable[None]] = nothing) -> str:
    wish = {"prompt": "油画" + "x" * size, "images": ["https://a.example/b.png"]}
    return await models.submit(client, "google", "gemini", "image2image", wish, before_last, NOW)


Submit = Callable[..., Awaitable[str]]
BOTH = pytest.mark.parametrize("submit", [by_graph, by_model])


async def outcome(call: Awaitable[str]) -> str | Fault:
    """The task's id, or what was raised."""
    try:
        async with asyncio.timeout(20):
            return await call
    except Fault as fault:
        return fault


async def test_the_last_byte_leaves_only_after_before_last_returned() -> None:
    order: list[str] = []

    async def before_last() -> None:
        order.append("before last")

    body = JsonBody({"文": ["油", 1.5, None]}, before_last)
    chunks = []
    async for chunk in body.body():
        assert body.complete == ("before last" in order)
        chunks.append(chunk)
    assert body.complete
    whole = b"".join(chunks)
    assert json.loads(whole) == {"文": ["油", 1.5, None]}
    assert whole.isascii()
    assert body.headers == {"Content-Type": "application/json", "Content-Length": str(len(whole))}
    assert len(chunks[-1]) == 1
    with pytest.raises(ValueError):
        json.loads(b"".join(chunks[:-1]))


@pytest.mark.parametrize("size", [2**20 - 8, 2**20 - 7, 2**20 - 6, 3 * 2**20])
async def test_a_large_body_leaves_in_pieces_for_each_of_which_there_is_time(size: int) -> None:
    body = JsonBody({"a": "x" * size}, nothing)
    chunks = [chunk async for chunk in body.body()]
    assert max(map(len, chunks)) <= 2**20
    assert len(chunks[-1]) == 1
    assert all(chunks)
    assert json.loads(b"".join(chunks)) == {"a": "x" * size}
    assert body.size == sum(map(len, chunks))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_cannot_carry_is_never_sent(value: float) -> None:
    with pytest.raises(Refused, match="not finite"):
        JsonBody({"parameters": {"seed": value}}, nothing)


@BOTH
async def test_a_doubt_at_the_last_moment_leaves_the_request_unfinished(
    submit: Submit, serve: Serve, talking: Talking
) -> None:  # fmt: skip
    async def script(wire: Wire) -> None:
        await wire.body()
        await wire.answer(200, b'{"task_id": 1}')

    async def before_last() -> None:
        raise SourceChanged("it changed")

    raw = await serve(script)
    async with talking(raw.url) as client:
        assert type(await outcome(submit(client, 0, before_last))) is SourceChanged
    assert [seen.body for seen in raw.seen] == [b""] * len(raw.seen)


async def test_a_graph_is_sent_as_the_page_says(serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        await wire.body()
        await wire.answer(200, b'{"code": 0, "msg": "success", "data": {"task_id": 230}}')

    raw = await serve(script)
    async with talking(raw.url) as client:
        assert await graphs.submit(client, GRAPH, "GPU-4090", nothing, NOW) == "230"
    [seen] = raw.seen
    assert seen.line == "POST /openapi/v1/workflow/task/submit HTTP/1.1"
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["authorization"].startswith("Bearer AI-")
    assert "transfer-encoding" not in seen.headers
    assert json.loads(seen.body) == {"parameters": {"prompt": GRAPH}, "cluster_name": "GPU-4090"}


async def test_a_model_is_asked_as_the_page_says_and_answers_without_an_envelope(
    serve: Serve, talking: Talking
) -> None:
    async def script(wire: Wire) -> None:
        await wire.body()
        await wire.answer(200, b'{"task_id": 24317, "status": "submitted", "message": "Task has been submitted"}')

    raw = await serve(script)
    async with talking(raw.url) as client:
        assert await by_model(client) == "24317"
    [seen] = raw.seen
    assert seen.line == "POST /openapi/v1/generate/image HTTP/1.1"
    assert json.loads(seen.body) == {
        "model": {"provider": "google", "model": "gemini", "type": "image2image"},
        "parameters": {"prompt": "油画", "images": ["https://a.example/b.png"]},
    }


ENDS: list[tuple[int, bytes, dict[str, str], type[Fault]]] = [
    (502, HTML, {}, Unknown),
    (502, b'{"message": "upstream timed out"}', {}, Unknown),
    (200, HTML, {"Content_Type": "text/html"}, Unknown),
    (200, b'{"code": 0, "msg": "success", "da', {}, Unknown),
    (200, b'{"code": 0, "msg": "success", "data": {}}', {}, Unknown),
    (200, b"{}", {}, Unknown),
    (408, b"", {}, Unknown),
    (200, '{"code": 40001, "msg": "余额不足"}'.encode(), {}, Refused),
    (400, '{"code": 40001, "msg": "余额不足"}'.encode(), {}, Refused),
    (404, HTML, {}, Refused),
    (500, '{"code": 50000, "msg": "内部错误"}'.encode(), {}, OwnError),
    (429, b"", {"Retry_After": "3"}, Busy),
    (401, b"", {}, PlatformDown),
    (307, b"", {"Location": "/elsewhere"}, PlatformDown),
]


@BOTH
@pytest.mark.parametrize(
    ("status", "body", "headers", "kind"), ENDS, ids=[f"{e[0]}-{e[1][:12]!r}-{e[3].__name__}" for e in ENDS]
)
async def test_what_an_answer_after_the_whole_body_is_called(
    submit: Submit, status: int, body: bytes, headers: dict[str, str], kind: type[Fault], serve: Serve, talking: Talking
) -> None:  # fmt: skip
    async def script(wire: Wire) -> None:
        await wire.body()
        await wire.answer(status, body, **headers)

    raw = await serve(script)
    async with talking(raw.url) as client:
        assert type(await outcome(submit(client))) is kind
    assert len(raw.seen) == 1


@BOTH
@pytest.mark.parametrize("whole", [True, False])
async def test_a_connection_that_breaks_is_unknown_only_after_the_whole_body(
    submit: Submit, whole: bool, serve: Serve, talking: Talking
) -> None:
    async def script(wire: Wire) -> None:
        if whole:
            await wire.body()
        else:
            await wire.reader.readexactly(1000)
        wire.reset()

    async with talking((await serve(script)).url) as client:
        fault = await outcome(submit(client, BIG))
    assert type(fault) is Unknown if whole else isinstance(fault, Temporary), repr(fault)


@BOTH
async def test_an_answer_that_never_comes_is_unknown(
    submit: Submit, serve: Serve, talking: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "ANSWER", 0.3)
    asked = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.body()
        await asked.wait()

    async with talking((await serve(script)).url) as client:
        fault = await outcome(submit(client))
        asked.set()
    assert type(fault) is Unknown


@BOTH
async def test_nobody_there_is_the_platforms_fault(submit: Submit, talking: Talking) -> None:
    async with talking("http://127.0.0.1:1") as client:
        assert type(await outcome(submit(client))) is PlatformDown


TAKEN = [
    b'{"code": 0, "data": {"task_id": 7}}',
    b'{"code": "0", "message": "ok", "data": {"task_id": "7"}, "request_id": "r"}',
    b'{"code": 0, "task_id": 7}',
    b'{"task_id": 7, "status": "failed", "message": "it exists, and is over"}',
    b'{"data": {"task_id": 7}}',
    b'{"data": {"task_id": " 7\\n"}}',
]


@pytest.mark.parametrize("body", TAKEN)
async def test_a_models_task_id_is_found_in_an_envelope_or_bare(body: bytes, serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        await wire.body()
        await wire.answer(200, body)

    async with talking((await serve(script)).url) as client:
        assert await outcome(by_model(client)) == "7"


REFUSALS = [
    (400, b'{"message": "no such model"}', "no such model"),
    (422, b'{"detail": [{"loc": ["body"], "msg": "no such model", "type": "x"}]}', "no such model"),
    (404, b'{"error": {"message": "no such model", "type": "x"}}', "no such model"),
    (400, '{"msg": "模型不存在"}'.encode(), "模型不存在"),
    (400, b'{"status": "?"}', "HTTP 400"),
    (400, b'["?"]', "HTTP 400"),
    (200, b'{"task_id": null, "status": "Failed", "message": "no such model"}', "no such model"),
    (200, b'{"data": {"status": "error"}}', "status error"),
]


@pytest.mark.parametrize(("status", "body", "words"), REFUSALS, ids=[f"{r[0]}-{r[1][:20]!r}" for r in REFUSALS])
async def test_a_bare_refusal_is_shown_with_its_text(
    status: int, body: bytes, words: str, serve: Serve, talking: Talking
) -> None:
    async def script(wire: Wire) -> None:
        await wire.body()
        await wire.answer(status, body)

    async with talking((await serve(script)).url) as client:
        fault = await outcome(by_model(client))
    assert isinstance(fault, Refused)
    assert words in fault.message
    assert fault.http_status == status


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"code": 0, "msg": "success", "data": {"a": 1}}, {"a": 1}),
        ({"code": 0, "msg": "success", "data": [1]}, [1]),
        ({"code": 0, "a": 1, "data": {"b": 2}}, {"a": 1, "data": {"b": 2}}),
        ({"a": 1, "msg": "success"}, {"a": 1, "msg": "success"}),
        (["https://a.example/b.png"], ["https://a.example/b.png"]),
        ({}, {}),
    ],
)
def test_an_envelope_is_opened_and_what_is_bare_stays(body: object, found: object) -> None:
    assert opened(Answer(200, {}, json.dumps(body).encode()), NOW) == found


@pytest.mark.parametrize("body", [b"5", b'"done"', b"null", b"true", b"", HTML])
def test_what_is_neither_object_nor_list_is_nonsense(body: bytes) -> None:
    with pytest.raises(Nonsense):
        opened(Answer(200, {}, body), NOW)


def test_a_success_inside_a_failed_answer_is_nonsense() -> None:
    with pytest.raises(Nonsense, match="success inside"):
        opened(Answer(404, {}, b'{"code": 0, "data": {}}'), NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["code", "msg", "data", "message", "error", "detail", "task_id"]), inner)
    ),
    max_leaves=12,
)


@given(st.integers(200, 599), st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_answer_is_opened_or_one_of_our_faults(status: int, body: bytes) -> None:
    sentence = "fine"
    try:
        opened(Answer(status, {}, body), NOW)
    except Fault as fault:
        sentence = fault.sentence
    assert 0 < len(sentence) < 2000


@given(JSON)
def test_what_any_error_tells_is_a_short_text(found: Any) -> None:
    assert len(told(found)) <= 500
