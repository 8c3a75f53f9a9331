"""The native calls on the wire: uploads, graphs, their polls, and inputs that were forgotten."""

import asyncio
import io
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image, ImageChops

from renderdrop.sandbox import Sandbox, SandboxOptions

UPLOAD = "/openapi/v1/workflow/upload/file"
SUBMIT = "/openapi/v1/workflow/task/submit"
TASK = "/openapi/v1/workflow/task"
APP_TASK = "/openapi/v1/workflow/apps/task"

Submit = Callable[..., Awaitable[httpx.Response]]


async def uploaded(client: httpx.AsyncClient, body: bytes, name: str = "a.png", media: str = "image/png") -> str:
    answer = await client.post(UPLOAD, files={"file": (name, body, media)})
    told = answer.json()
    assert (told["code"], list(told["data"])) == (0, ["filename"])
    return str(told["data"]["filename"])


def simple(filename: str, **scalars: Any) -> dict[str, Any]:
    return {
        "73": {"class_type": "LoadImage", "inputs": {"image": filename}, "_meta": {"title": "加载图像"}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "oil", **scalars}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["73", 0]}},
    }


async def submitted(client: httpx.AsyncClient, graph: Any, cluster: str = "GPU-A800") -> httpx.Response:
    return await client.post(SUBMIT, json={"parameters": {"prompt": graph}, "cluster_name": cluster})


async def ended(client: httpx.AsyncClient, answer: httpx.Response) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            data: dict[str, Any] = (await client.get(f"{TASK}/{answer.json()['data']['task_id']}")).json()["data"]
            if data["status"] in ("success", "fail"):
                return data
            await asyncio.sleep(0.01)


async def viewed(client: httpx.AsyncClient, filename: str) -> bytes:
    answer = await client.get("/api/view", params={"type": "output", "filename": filename})
    assert answer.status_code == 200
    return answer.content


async def test_a_graph_takes_an_upload_and_answers_a_bare_name(
    sandbox: Sandbox, client: httpx.AsyncClient, picture: bytes
) -> None:
    name = await uploaded(client, picture, "照片 1.png")
    assert re.fullmatch(r"[0-9a-f]{12}_照片_1\.png", name)
    data = await ended(client, await submitted(client, simple(name)))
    (row,) = data["outputs"]
    assert (data["status"], row["id"], row["title"], row["error_type"]) == ("success", "9", "SaveImage", "info")
    assert "/" not in row["output"]
    made = Image.open(io.BytesIO(await viewed(client, row["output"])))
    source = Image.open(io.BytesIO(picture))
    assert made.size == source.size
    assert ImageChops.difference(made.convert("L"), source.convert("L")).getbbox()


async def test_two_uploads_of_one_file_get_two_names_and_are_told_in_the_ledger(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    names = [await uploaded(client, b"frames", "a.mp4", "video/mp4") for _ in range(2)]
    assert len(set(names)) == 2
    told = sandbox.ledger()["uploads"]
    assert [entry["filename"] for entry in told] == names
    assert {(entry["size"], entry["sent_as"], entry["forgotten"]) for entry in told} == {(6, "a.mp4", False)}


async def test_the_ledger_tells_a_graph_as_it_was_submitted(
    sandbox: Sandbox, client: httpx.AsyncClient, picture: bytes
) -> None:
    name = await uploaded(client, picture)
    graph = simple(name)
    await submitted(client, graph)
    (task,) = sandbox.ledger()["tasks"]
    assert (task["kind"], task["workflow_id"], task["cluster"], task["graph"]) == ("graph", "", "GPU-A800", graph)
    assert task["fields"] == {"6.text": "oil"}
    (file,) = task["files"]
    assert (file["name"], file["filename"], file["size"]) == ("73.image", name, len(picture))
    assert file["sha256"] == sandbox.ledger()["uploads"][0]["sha256"]


async def test_the_same_graph_with_another_scalar_gives_another_picture(
    client: httpx.AsyncClient, picture: bytes
) -> None:
    name = await uploaded(client, picture)
    made = []
    for text in ("oil", "oil", "ink"):
        data = await ended(client, await submitted(client, simple(name, text=text)))
        made.append(await viewed(client, data["outputs"][0]["output"]))
    assert made[0] == made[1] != made[2]


async def test_outputs_can_be_told_as_urls(tmp_path: Path, picture: bytes) -> None:
    options = SandboxOptions(folder=tmp_path, render_seconds=(0, 0), native_urls=True)
    async with Sandbox(options) as sandbox, httpx.AsyncClient(base_url=sandbox.base_url) as client:
        client.headers["Authorization"] = "Bearer AI-sandbox"
        data = await ended(client, await submitted(client, simple(await uploaded(client, picture))))
        url = data["outputs"][0]["output"]
        assert url.startswith(f"{sandbox.base_url}/api/view?type=output&filename=")
        assert (await client.get(url)).status_code == 200


async def test_apps_and_graphs_are_polled_each_by_its_own_call(
    client: httpx.AsyncClient, submit: Submit, picture: bytes
) -> None:
    graph = (await submitted(client, simple(await uploaded(client, picture)))).json()["data"]["task_id"]
    app = (await submit()).json()["data"]["task_id"]
    assert (await client.get(f"{TASK}/{graph}")).json()["code"] == 0
    assert (await client.get(f"{APP_TASK}/{app}")).json()["code"] == 0
    assert (await client.get(f"{TASK}/{app}")).json()["code"] == 40403
    assert (await client.get(f"{APP_TASK}/{graph}")).json()["code"] == 40403


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ([("image", ("a.png", b"x", "image/png"))], 40040),
        ([("file", ("a.png", b"x", "image/png")), ("file", ("b.png", b"x", "image/png"))], 40040),
        ([("file", (None, b"x"))], 40040),
        ([("file", ("a.png", b"", "image/png"))], 40014),
        ([("file", ("a/b.png", b"x", "image/png"))], 40012),
    ],
)
async def test_an_upload_of_another_form_is_refused_and_leaves_nothing(
    sandbox: Sandbox, client: httpx.AsyncClient, tmp_path: Path, files: Any, code: int
) -> None:
    assert (await client.post(UPLOAD, files=files)).json()["code"] == code
    assert sandbox.ledger()["uploads"] == []
    assert list((tmp_path / "sandbox").glob("*/uploads/*")) == []


@pytest.mark.parametrize(
    ("content", "content_type", "code"),
    [
        (b"{}", "text/plain", 40030),
        (b"{}", "multipart/form-data; boundary=X", 40030),
        (b"{", "application/json", 40030),
        (b'{"a": "\xff"}', "application/json", 40030),
        (b'{"a": 1, "a": 2}', "application/json", 40030),
        (b'{"a": NaN}', "application/json", 40030),
        (b'{"a": 1e999}', "application/json", 40030),
        (b'{"a": "\\ud800"}', "application/json", 40030),
        (b"[" * 100_000, "application/json", 40030),
        (b"{}", "application/json; charset=utf-8", 40031),
    ],
)
async def test_a_submission_has_to_be_strict_json(
    sandbox: Sandbox, client: httpx.AsyncClient, content: bytes, content_type: str, code: int
) -> None:
    answer = await client.post(SUBMIT, content=content, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["code"]) == (200, code)
    assert sandbox.ledger()["rejected"][0]["call"] == "submit"
    assert sandbox.ledger()["tasks"] == []


async def test_unknown_and_inactive_clusters_are_refused(
    sandbox: Sandbox, client: httpx.AsyncClient, picture: bytes
) -> None:
    graph = simple(await uploaded(client, picture))
    sandbox.change_cluster("GPU-4090", active=False)
    assert (await submitted(client, graph, "GPU-H100")).json()["code"] == 40402
    assert (await submitted(client, graph, "GPU-4090")).json()["code"] == 40301


async def test_an_upload_that_was_forgotten_is_missing_until_it_is_uploaded_again(
    sandbox: Sandbox, client: httpx.AsyncClient, picture: bytes
) -> None:
    first, second = await uploaded(client, picture), await uploaded(client, picture, "b.png")
    answer = await client.post("/_sandbox/forget", json={"filename": first})
    assert answer.json()["data"] == {"forgotten": [first]}
    refused = (await submitted(client, simple(first))).json()
    assert refused["code"] == 40405
    assert f"输入文件不存在: {first}" in refused["msg"]
    assert (await submitted(client, simple(second))).json()["code"] == 0
    assert (await client.post("/_sandbox/forget", json={})).json()["data"] == {"forgotten": [second]}
    assert [entry["forgotten"] for entry in sandbox.ledger()["uploads"]] == [True, True]
    again = await uploaded(client, picture)
    assert (await ended(client, await submitted(client, simple(again))))["status"] == "success"


async def test_a_missing_input_can_be_found_out_late(
    sandbox: Sandbox, client: httpx.AsyncClient, picture: bytes
) -> None:
    name = await uploaded(client, picture)
    await client.post("/_sandbox/forget", json={"filename": name, "late_missing": True})
    data = await ended(client, await submitted(client, simple(name)))
    (row,) = data["outputs"]
    assert (data["status"], row["id"], row["title"], row["error_type"]) == ("fail", "73", "加载图像", "error")
    assert name in row["output"]
    assert sandbox.ledger()["tasks"][0]["files"][0]["filename"] == name


@pytest.mark.parametrize("wrong", [{"filename": "never.png"}, {"name": "a"}, {"filename": 7}, {"late_missing": 1}, []])
async def test_only_an_upload_can_be_forgotten(client: httpx.AsyncClient, wrong: Any) -> None:
    assert (await client.post("/_sandbox/forget", json=wrong)).status_code == 400


async def test_a_picture_that_cannot_be_opened_fails_when_it_is_rendered(client: httpx.AsyncClient) -> None:
    data = await ended(client, await submitted(client, simple(await uploaded(client, b"no picture"))))
    assert (data["status"], [row["error_type"] for row in data["outputs"]]) == ("fail", ["error"])


async def test_a_preview_alone_succeeds_without_media(client: httpx.AsyncClient, picture: bytes) -> None:
    graph = simple(await uploaded(client, picture))
    graph["9"]["class_type"] = "PreviewImage"
    data = await ended(client, await submitted(client, graph))
    assert (data["status"], data["outputs"]) == ("success", [])


@pytest.mark.parametrize(("do", "kept"), [("reset_before", 0), ("reset_after", 1)])
async def test_resets_reach_uploads_and_submissions(
    sandbox: Sandbox, client: httpx.AsyncClient, picture: bytes, do: str, kept: int
) -> None:
    name = await uploaded(client, picture)
    sandbox.faults = [{"call": "upload", "do": do}, {"call": "submit", "do": do}]
    with pytest.raises((httpx.ReadError, httpx.WriteError)):
        await uploaded(client, picture)
    with pytest.raises((httpx.ReadError, httpx.WriteError)):
        await submitted(client, simple(name))
    assert (len(sandbox.ledger()["uploads"]), len(sandbox.ledger()["tasks"])) == (1 + kept, kept)


async def test_graphs_can_be_made_to_fail_or_to_stick_and_their_polls_to_stumble(
    sandbox: Sandbox, client: httpx.AsyncClient, picture: bytes
) -> None:
    graph = simple(await uploaded(client, picture))
    sandbox.faults = [
        {"call": "submit", "do": "fail_task", "msg": "节点离线", "count": 1},
        {"call": "submit", "do": "stuck", "count": 1},
        {"call": "submit", "do": "status", "status": 504, "accept": True},
    ]
    failed = await ended(client, await submitted(client, graph))
    assert (failed["status"], failed["outputs"][0]["output"]) == ("fail", "节点离线")
    stuck = (await submitted(client, graph)).json()["data"]["task_id"]
    assert (await submitted(client, graph)).status_code == 504
    assert len(sandbox.ledger()["tasks"]) == 3
    sandbox.faults = [{"call": "poll_native", "do": "null_progress", "count": 1}, {"call": "poll_native", "do": "html"}]
    assert (await client.get(f"{TASK}/{stuck}")).json()["data"] == {
        "status": "running",
        "progress": None,
        "outputs": [],
    }
    assert (await client.get(f"{TASK}/{stuck}")).text.startswith("<!DOCTYPE")
    assert sandbox.ledger()["faults"]["poll_native:html"] == 1


@pytest.mark.parametrize(("method", "path"), [("POST", UPLOAD), ("POST", SUBMIT), ("GET", f"{TASK}/230")])
async def test_the_native_calls_want_the_token(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path, headers={"Authorization": "Bearer wrong"}, json={})
    assert (answer.status_code, answer.json()["code"]) == (401, 40100)
