"""A model's result, on everything that the platform's page leaves open."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.model.errors import Fault, Refused
from renderdrop.model.job import Level
from renderdrop.model.route import MODEL_TYPES
from renderdrop.platform import model_result, models
from renderdrop.platform.answers import Answer, Nonsense, opened
from renderdrop.platform.client import BODY_CAP, Client
from renderdrop.platform.model_result import MOST_RESULTS, read_result
from renderdrop.platform.reports import Report

if TYPE_CHECKING:
    from tests.platform.conftest import Serve, Wire

    Talking = Callable[[str], AbstractAsyncContextManager[Client]]

NOW = datetime(2026, 11, 22, tzinfo=UTC)
BASE = "https://platform.example"
A, B, C = (f"https://cdn.example/{name}.png?x=1&y=2" for name in "abc")


def report(found: Any) -> Report:
    return read_result(found, BASE)


def urls(found: Any) -> list[str]:
    return [output.url for output in report(found).outputs]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("submitted", "pending", "queued"), "pending"),
        (("running", "processing"), "running"),
        (("success", "succeeded", "completed", "done"), "success"),
        (("fail", "failed", "error"), "fail"),
    ],
)
def test_the_known_words_are_taken_in_any_case(words: tuple[str, ...], status: str) -> None:
    for word in words:
        for written in (word, word.upper(), f" {word.title()} "):
            found = report({"status": written})
            assert (found.status, found.strange) == (status, ())


@pytest.mark.parametrize("word", ["denoising", "SUCCESSFUL", "完成", "odd\nForged: line"])
def test_an_unknown_word_means_still_running_and_is_told(word: str) -> None:
    found = report({"task_id": 1, "status": word, "images": [A]})
    assert found.status == "running"
    assert found.outputs == ()
    [strange] = found.strange
    assert "status" in strange
    assert "\n" not in strange


@pytest.mark.parametrize(
    ("found", "status"),
    [
        ({"data": {"status": "running"}}, "running"),
        ({"result": {"status": "running"}}, "running"),
        ({"task": {"status": "running"}}, "running"),
        ({"data": {"task": {"status": "running"}}}, "running"),
        ({"data": [{"status": "running"}]}, "running"),
        ({"output": {"task_status": "RUNNING"}}, "running"),
        ({"status": "running", "data": {"status": "success", "url": A}}, "running"),
        ({"status": "failed", "data": {"status": "success", "url": A}}, "fail"),
        ({"status": "success", "data": {"status": "running", "url": A}}, "success"),
        ({"status": 200, "data": {"status": "failed"}}, "fail"),
        ({"status": "ok", "data": {"status": "failed"}}, "fail"),
        # an envelope that calls itself a success around a task that is not
        ({"status": "success", "data": {"status": "running"}}, "running"),
        ({"status": "success", "data": {"task": {"status": "failed"}}}, "fail"),
        ({"status": "success", "data": {"status": "success"}}, "success"),
    ],
)
def test_the_word_nearest_to_the_top_counts(found: object, status: str) -> None:
    assert report(found).status == status


def test_results_without_a_word_are_a_success_and_neither_is_nonsense() -> None:
    assert report({"images": [A]}).status == "success"
    assert report([A]).status == "success"
    nothing: list[Any] = [
        {},
        [],
        {"task_id": 5},
        {"images": []},
        {"message": "hello"},
        {"status": None},
        {"status": ""},
    ]
    for found in nothing:
        with pytest.raises(Nonsense, match="neither"):
            report(found)


@pytest.mark.parametrize(
    "found",
    [
        {"url": A},
        {"urls": [A]},
        {"output": A},
        {"outputs": [{"url": A}]},
        {"outputs": [{"output": A}]},
        {"outputs": {"0": {"type": "image", "url": f" {A} "}}},
        {"images": [A]},
        {"image": A},
        {"videos": [{"url": A, "duration": 5, "cover": "https://cdn.example/cover.png"}]},
        {"result": A},
        {"result": {"outputs": [{"url": A}]}},
        {"results": [{"url": A}]},
        {"data": [A]},
        {"data": {"data": {"data": [{"url": A}]}}},
        {"data": {"content": {"video_url": A}}},
        {"response": {"candidates": [{"parts": [{"images": [A]}]}]}},
        {"Images": [{"URL": A}]},
    ],
)
def test_results_are_found_under_their_names_at_any_depth(found: dict[str, Any]) -> None:
    assert urls({"status": "succeeded", **found}) == [A]
    assert urls({"status": "succeeded", "data": found}) == [A]
    assert urls(found) == [A]


def test_a_bare_list_of_addresses_is_a_result() -> None:
    answer = Answer(200, {}, json.dumps([A, B]).encode())
    assert urls(opened(answer, NOW)) == [A, B]
    assert urls(opened(Answer(200, {}, json.dumps({"code": 0, "data": A}).encode()), NOW)) == [A]


def test_order_is_kept_and_the_same_is_taken_once() -> None:
    found = report({"status": "done", "images": [B, {"url": A}, B], "data": {"outputs": [{"output": C, "url": A}]}})
    assert [(o.position, o.url) for o in found.outputs] == [(0, B), (1, A), (2, C)]


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("/api/view?filename=a.png", f"{BASE}/api/view?filename=a.png"),
        ("http://cdn.example/a", "http://cdn.example/a"),
        ("HTTPS://cdn.example/a", "HTTPS://cdn.example/a"),
        ("data:image/png;base64,QUJD", "data:image/png;base64,QUJD"),
        ("see https://cdn.example/a", None),
        ("https://", None),
        ("https://cdn.example/a b", None),
        ("ftp://cdn.example/a", None),
        ("file:///etc/passwd", None),
        ("/etc/passwd", None),
        ("a.png", None),
        ("", None),
    ],
)
def test_only_addresses_are_results(value: str, url: str | None) -> None:
    assert urls({"status": "success", "images": [value]}) == ([] if url is None else [url])


@pytest.mark.parametrize(
    "key",
    ["parameters", "params", "input", "inputs", "request", "images_input", "input_images", "inputImages",
     "original_request", "referenceImages", "mask", "callback", "webhook", "thumbnail"],
)  # fmt: skip
def test_what_echoes_our_own_request_is_no_result(key: str) -> None:
    echo = {"prompt": "x", "images": [B], "url": B, "deep": [{"urls": [B]}]}
    assert urls({"status": "success", key: echo, "images": [A]}) == [A]
    assert urls({"status": "success", key: [B], "data": {key: echo, "url": A}}) == [A]


def test_names_that_only_contain_such_a_word_are_looked_at() -> None:
    assert urls({"status": "success", "inputless": {"url": A}, "request_id": "7"}) == [A]


PNG = "iVBORw0KGgoAAAANSUhEUgAA"
JPEG = "/9j/4AAQSkZJRgABAQAAAQAB"


def test_pictures_inside_the_answer_become_data_uris() -> None:
    assert urls({"data": [{"b64_json": PNG}, {"b64_json": JPEG}]}) == [
        f"data:image/png;base64,{PNG}",
        f"data:image/jpeg;base64,{JPEG}",
    ]
    inline = {"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "image/webp", "data": PNG}}]}}]}
    assert urls({"status": "success", "result": inline}) == [f"data:image/webp;base64,{PNG}"]
    assert urls({"status": "success", "inline_data": {"mime_type": "text/plain", "data": PNG}}) == []
    assert urls({"status": "success", "b64_json": "no"}) == []


@pytest.mark.parametrize(
    ("found", "progress"),
    [
        ({"progress": 40}, 40.0),
        ({"progress": "40%"}, 40.0),
        ({"progress": 0.4}, 0.4),
        ({"progress": 140}, 100.0),
        ({"percent": -4}, 0.0),
        ({"total_progress": "94"}, 94.0),
        ({"progress": {"total_progress": 94}}, 94.0),
        ({"data": {"progress": 12}}, 12.0),
        ({"progress": None, "data": {"percent": 12}}, 12.0),
        ({"progress": "half"}, None),
        ({"progress": True}, None),
        ({}, None),
    ],
)
def test_progress_is_a_percentage_as_far_as_it_can_be_told(found: dict[str, Any], progress: float | None) -> None:
    assert report({"status": "running", **found}).progress == progress


@pytest.mark.parametrize(
    ("found", "texts"),
    [
        ({"message": "blocked"}, ["blocked"]),
        ({"error": {"message": "blocked", "code": 4}}, ["blocked"]),
        ({"msg": "success", "data": {"reason": "余额不足"}}, ["余额不足"]),
        ({"message": "failed", "error": "blocked"}, ["blocked"]),
        ({"message": "of the envelope", "data": {"error": "the task's own"}}, ["the task's own", "of the envelope"]),
        ({"error": "twice", "data": {"error": "twice"}}, ["twice"]),
        ({"error": None, "message": ""}, []),
        ({}, []),
    ],
)
def test_a_failure_tells_its_texts(found: dict[str, Any], texts: list[str]) -> None:
    remarks = report({"status": "failed", **found}).remarks
    assert [r.message for r in remarks] == texts
    assert {r.level for r in remarks} <= {Level.ERROR}


def test_a_success_tells_texts_only_where_it_gives_nothing_else() -> None:
    assert report({"status": "success", "message": "all is well", "images": [A]}).remarks == ()
    [remark] = report({"status": "success", "message": "blocked by the safety filter", "images": []}).remarks
    assert remark.message == "blocked by the safety filter"


def test_an_answer_is_taken_only_up_to_the_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    found = report({"status": "success", "images": [f"https://cdn.example/{n}" for n in range(MOST_RESULTS + 5)]})
    assert len(found.outputs) == MOST_RESULTS
    assert "more" in found.strange[0]
    monkeypatch.setattr(model_result, "MOST_VALUES", 100)
    assert report({"status": "running", "logs": ["x"] * 10_000, "images": [A]}).strange != ()
    deep: Any = {"url": A}
    for _ in range(2000):
        deep = {"data": deep}
    assert report({"status": "success", "data": deep}).outputs == ()


async def test_a_poll_asks_where_the_page_says_in_an_envelope_or_bare(serve: Serve, talking: Talking) -> None:
    answers = [
        {"task_id": 7, "status": "processing", "progress": 10},
        {"code": 0, "msg": "success", "data": {"status": "SUCCESS", "result": {"outputs": [{"url": A}]}}},
        {"code": 0, "msg": "success", "status": "failed", "error": "blocked"},
    ]

    async def script(wire: Wire) -> None:
        await wire.answer(200, json.dumps(answers[len(raw.seen) - 1]).encode())

    raw = await serve(script)
    async with talking(raw.url) as client:
        found = [await models.ask(client, "7/x", NOW) for _ in answers]
    assert {seen.line for seen in raw.seen} == {"GET /openapi/v1/generate/result/7%2Fx HTTP/1.1"}
    assert [f.status for f in found] == ["running", "success", "fail"]
    assert [o.url for o in found[1].outputs] == [A]
    assert [r.message for r in found[2].remarks] == ["blocked"]


async def test_a_refused_poll_says_nothing_of_the_task(serve: Serve, talking: Talking) -> None:
    async def script(wire: Wire) -> None:
        await wire.answer(404, b'{"detail": "no such task"}')

    async with talking((await serve(script)).url) as client:
        with pytest.raises(Refused, match="no such task"):
            await models.ask(client, "7", NOW)


async def test_pictures_inside_an_answer_may_make_it_long(
    serve: Serve, talking: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = "data:image/png;base64," + "A" * (BODY_CAP + 4)

    async def script(wire: Wire) -> None:
        await wire.answer(200, json.dumps({"status": "success", "images": [uri]}).encode())

    async with talking((await serve(script)).url) as client:
        assert [o.url for o in (await models.ask(client, "7", NOW)).outputs] == [uri]
        monkeypatch.setattr(models, "RESULT_CAP", BODY_CAP)
        with pytest.raises(Nonsense, match="longer than 4 MiB"):
            await models.ask(client, "7", NOW)


def test_only_types_that_take_pictures_need_them() -> None:
    assert {name: (models.path(name), type.needs_images) for name, type in MODEL_TYPES.items()} == {
        "text2image": ("/openapi/v1/generate/image", False),
        "image2image": ("/openapi/v1/generate/image", True),
    }


KEYS = st.sampled_from(
    ["status", "state", "data", "result", "task", "output", "outputs", "images", "url", "urls", "progress", "percent",
     "message", "error", "msg", "parameters", "b64_json", "mime_type", "code", "task_id"]
)  # fmt: skip
LEAVES = (
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(st.characters())
    | st.just(10**400)
    | st.sampled_from(
        ["success", "Running", "failed", "denoising", A, "/api/x", "data:,x", "image/png", PNG, "http://["]
    )
)
ANY = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=25
)


@given(ANY)
def test_any_json_is_a_report_or_one_of_our_faults(found: Any) -> None:
    for value in (found, {"status": "success", "data": found}, {"status": "failed", "result": found}):
        try:
            read = read_result(opened(Answer(200, {}, json.dumps(value).encode()), NOW), BASE)
        except Fault:
            continue
        assert read.progress is None or 0 <= read.progress <= 100
        assert [o.position for o in read.outputs] == list(range(len(read.outputs)))
        assert len({o.url for o in read.outputs}) == len(read.outputs)
        assert not (read.outputs and read.status in ("pending", "running"))
        assert all(len(text) < 100 for text in read.strange)
