"""Third-party models: what they take, which URLs are fetched, and the shapes of their answers."""

import asyncio
import base64
import hashlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from PIL import Image

from renderdrop.sandbox import MODELS, ModelSpec, Sandbox, SandboxOptions, fetch
from renderdrop.sandbox.intake import Refusal
from renderdrop.sandbox.models import judge

GENERATE = "/openapi/v1/generate/image"
RESULT = "/openapi/v1/generate/result"
SIGNED = "%E7%85%A7%E7%89%87.png?X-Sig="
PLAIN = ("google", "gemini-3-pro-image-preview")


def body(model: tuple[str, str] = PLAIN, kind: str = "text2image", **parameters: Any) -> dict[str, Any]:
    named = {"provider": model[0], "model": model[1], "type": kind}
    return {"model": named, "parameters": {"prompt": "一只猫", **parameters}}


def ended_word(told: dict[str, Any]) -> str:
    return str((told["data"] if "code" in told else told)["status"])


async def results(client: httpx.AsyncClient, answer: httpx.Response) -> list[dict[str, Any]]:
    """Every answer up to the one that ends the task."""
    told: list[dict[str, Any]] = []
    async with asyncio.timeout(30):
        while True:
            told.append((await client.get(f"{RESULT}/{answer.json()['task_id']}")).json())
            if ended_word(told[-1]).lower() in ("succeeded", "success", "completed", "done", "failed"):
                return told
            await asyncio.sleep(0.005)


@pytest.fixture
async def gallery(picture: bytes) -> AsyncIterator[str]:
    """A small server of pictures, as an object store would be."""

    async def get(request: web.Request) -> web.Response:
        match request.match_info["name"]:
            case "照片.png":
                assert "Authorization" not in request.headers
                if request.rel_url.raw_query_string != "X-Sig=a%2Fb%2Bc":  # exactly as it was signed
                    return web.Response(status=403)
                return web.Response(body=picture, content_type="image/png")
            case "text.png":
                return web.Response(text="no picture")
            case "empty.png":
                return web.Response()
        return web.Response(status=404)

    app = web.Application()
    app.router.add_get("/{name}", get)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_text_becomes_a_picture_and_no_answer_has_an_envelope(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    answer = await client.post(GENERATE, json=body(seed=7))
    assert answer.json() == {
        "task_id": 230,
        "status": "submitted",
        "message": "Task has been submitted for processing",
    }
    *before, last = await results(client, answer)
    assert {told["status"] for told in before} <= {"processing"}
    assert (last["task_id"], last["status"], len(last["images"])) == (230, "succeeded", 1)
    made = Image.open(io.BytesIO((await client.get(last["images"][0])).content))
    assert made.format == "PNG"
    (task,) = sandbox.ledger()["tasks"]
    assert (task["kind"], task["workflow_id"], task["cluster"], task["files"]) == ("model", "", "", [])
    assert (task["model"], task["parameters"]) == (body()["model"], {"prompt": "一只猫", "seed": 7})
    assert task["fields"] == {"prompt": "一只猫", "seed": "7"}


async def test_a_picture_is_fetched_from_its_url_as_it_is_signed_and_painted_over(
    sandbox: Sandbox, client: httpx.AsyncClient, gallery: str, picture: bytes
) -> None:
    url = f"{gallery}/{SIGNED}a%2Fb%2Bc"
    last = (await results(client, await client.post(GENERATE, json=body(kind="image2image", images=[url]))))[-1]
    made = Image.open(io.BytesIO((await client.get(last["images"][0])).content))
    assert made.size == (64, 48)
    assert sandbox.ledger()["tasks"][0]["files"] == [
        {
            "name": "images",
            "filename": "照片.png",
            "content_type": "image/png",
            "size": len(picture),
            "sha256": hashlib.sha256(picture).hexdigest(),
        }
    ]


@pytest.mark.parametrize(
    ("path", "why"),
    [("none.png", "HTTP 404"), (f"{SIGNED}other", "HTTP 403"), ("text.png", "processed"), ("empty.png", "empty")],
)
async def test_a_url_that_cannot_be_fetched_fails_the_task(
    client: httpx.AsyncClient, gallery: str, path: str, why: str
) -> None:
    answer = await client.post(GENERATE, json=body(kind="image2image", images=[f"{gallery}/{path}"]))
    last = (await results(client, answer))[-1]
    assert last["status"] == "failed"
    assert why in last["message"]
    assert "X-Sig" not in last["message"]


async def test_what_is_fetched_is_bounded(
    client: httpx.AsyncClient, gallery: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "MAX_SIZE", 40)
    answer = await client.post(GENERATE, json=body(kind="image2image", images=[f"{gallery}/{SIGNED}a%2Fb%2Bc"]))
    assert "larger than 40 bytes" in (await results(client, answer))[-1]["message"]


async def test_nobody_at_the_url_fails_the_task(client: httpx.AsyncClient) -> None:
    request = body(("sandbox", "enveloped"), "image2image", images=["http://127.0.0.1:1/a.png"])
    last = (await results(client, await client.post(GENERATE, json=request)))[-1]
    assert last["data"]["status"] == "FAILED"
    assert "http://127.0.0.1:1/a.png" in last["data"]["message"]


async def test_fetching_can_be_left_out(tmp_path: Path) -> None:
    options = SandboxOptions(folder=tmp_path, render_seconds=(0, 0), fetch_images=False)
    async with Sandbox(options) as sandbox, httpx.AsyncClient(base_url=sandbox.base_url) as client:
        client.headers["Authorization"] = "Bearer AI-sandbox"
        request = body(kind="image2image", images=["https://nowhere.invalid/a.png"])
        last = (await results(client, await client.post(GENERATE, json=request)))[-1]
        assert (last["status"], len(last["images"])) == ("succeeded", 1)


async def test_each_shape_answers_the_pictures_in_its_own_way(tmp_path: Path) -> None:
    options = SandboxOptions(folder=tmp_path, render_seconds=(0.2, 0.2))
    async with Sandbox(options) as sandbox, httpx.AsyncClient(base_url=sandbox.base_url) as client:
        client.headers["Authorization"] = "Bearer AI-sandbox"

        async def told(name: str, **parameters: Any) -> tuple[list[dict[str, Any]], list[str]]:
            answer = await client.post(GENERATE, json=body(("sandbox", name), **parameters))
            answers = await results(client, answer)
            return answers, [output["url"] for output in sandbox.ledger()["tasks"][-1]["outputs"]]

        (first, *_, last), urls = await told("enveloped", n=2)
        assert (first["code"], first["data"]["status"], len(urls)) == (0, "RUNNING", 2)
        assert last["data"]["status"] == "SUCCESS"
        assert last["data"]["result"] == {"outputs": [{"url": url} for url in urls]}

        (*_, last), urls = await told("data-uri")
        head, data = last["images"][0].split(",")
        assert head == "data:image/png;base64"
        assert base64.b64decode(data) == (await client.get(urls[0])).content

        (first, *_, last), urls = await told("unknown-word")
        assert (first["status"], last["status"], last["output"]) == ("denoising", "completed", urls)

        (first, second, *_, last), urls = await told("url")
        assert [first["status"], second["status"], last["status"]] == ["queued", "processing", "Done"]
        assert [last["url"]] == urls

        (*_, last), urls = await told("objects")
        assert last["data"] == {"output": [{"type": "image", "output": urls[0]}], "videos": []}

        (*_, last), urls = await told("silent")
        assert (last["status"], last["images"], urls) == ("succeeded", [], [])

        (*_, last), _ = await told("failing")
        assert (last["status"], last["message"]) == ("failed", MODELS["sandbox", "failing"].fails)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ([], 40050),
        ({"model": body()["model"]}, 40050),
        ({**body(), "cluster_name": "GPU-A800"}, 40050),
        ({**body(), "model": "gemini"}, 40050),
        ({**body(), "model": {**body()["model"], "version": "1"}}, 40050),
        ({**body(), "model": {**body()["model"], "type": 1}}, 40050),
        ({**body(), "parameters": []}, 40050),
        (body(("google", "other")), 40406),
        (body(("sandbox", PLAIN[1])), 40406),
        (body(kind="text2video"), 40051),
        (body(("sandbox", "text-only"), "image2image", images=["http://a/b"]), 40051),
        ({**body(), "parameters": {}}, 40052),
        (body(prompt=" "), 40052),
        (body(prompt=7), 40052),
        (body(strange=1), 40053),
        (body(seed="7"), 40054),
        (body(seed=True), 40054),
        (body(seed=None), 40054),
        (body(n=0), 40054),
        (body(n=5), 40054),
        (body(images=["http://a/b"]), 40055),
        (body(kind="image2image"), 40055),
        (body(kind="image2image", images=[]), 40055),
        (body(kind="image2image", images="http://a/b"), 40055),
        (body(kind="image2image", images=["ftp://a/b"]), 40056),
        (body(kind="image2image", images=["data:image/png;base64,AA=="]), 40056),
        (body(kind="image2image", images=["/srv/a.png"]), 40056),
        (body(kind="image2image", images=["http://a/b c.png"]), 40056),
        (body(kind="image2image", images=["http://a/照片.png"]), 40056),
        (body(kind="image2image", images=["http://[/b"]), 40056),
        (body(kind="image2image", images=["http://a/b", 7]), 40056),
    ],
)
def test_a_request_that_the_model_does_not_take_is_refused(wrong: Any, code: int) -> None:
    with pytest.raises(Refusal) as caught:
        judge(wrong, MODELS)
    assert (caught.value.code, caught.value.status) == (code, 400)


async def test_a_refusal_is_an_envelope_with_400_and_makes_no_task(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    answer = await client.post(GENERATE, json=body(strange=1))
    assert (answer.status_code, answer.json()["code"], answer.json()["data"]) == (400, 40053, None)
    assert sandbox.ledger()["tasks"] == []
    assert sandbox.ledger()["rejected"][0]["call"] == "generate"


async def test_models_of_ones_own_can_be_registered(tmp_path: Path) -> None:
    own = {("acme", "one"): ModelSpec("mine", parameters={"hd": "bool"}, shape="objects")}
    options = SandboxOptions(folder=tmp_path, render_seconds=(0, 0), models=own)
    async with Sandbox(options) as sandbox, httpx.AsyncClient(base_url=sandbox.base_url) as client:
        client.headers["Authorization"] = "Bearer AI-sandbox"
        answer = await client.post(GENERATE, json=body(("acme", "one"), hd=True))
        assert (await results(client, answer))[-1]["status"] == "success"
        assert sandbox.ledger()["tasks"][0]["fields"]["hd"] == "true"


async def test_model_tasks_are_found_by_their_own_call_alone(client: httpx.AsyncClient) -> None:
    number = (await client.post(GENERATE, json=body())).json()["task_id"]
    for path in (f"/openapi/v1/workflow/task/{number}", f"/openapi/v1/workflow/apps/task/{number}", f"{RESULT}/999"):
        assert (await client.get(path)).json()["code"] == 40403


async def test_faults_befall_models_as_they_befall_apps(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults = [
        {"call": "generate", "do": "fail_task", "msg": "节点离线", "count": 1},
        {"call": "generate", "do": "stuck", "count": 1},
        {"call": "generate", "do": "reset_after"},
    ]
    last = (await results(client, await client.post(GENERATE, json=body())))[-1]
    assert (last["status"], last["message"]) == ("failed", "节点离线")
    stuck = (await client.post(GENERATE, json=body())).json()["task_id"]
    with pytest.raises((httpx.ReadError, httpx.WriteError)):
        await client.post(GENERATE, json=body())
    assert len(sandbox.ledger()["tasks"]) == 3
    sandbox.faults = [{"call": "result", "do": "garbage", "count": 1}, {"call": "result", "do": "status"}]
    assert (await client.get(f"{RESULT}/{stuck}")).text == '{"task_id": 231, "st'
    assert (await client.get(f"{RESULT}/{stuck}")).status_code == 503


@pytest.mark.parametrize(("method", "path"), [("POST", GENERATE), ("GET", f"{RESULT}/230")])
async def test_the_model_calls_want_the_token(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path, headers={"Authorization": "Bearer wrong"}, json=body())
    assert (answer.status_code, answer.json()["code"]) == (401, 40100)
