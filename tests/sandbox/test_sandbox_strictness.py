"""Whatever the real platform might not understand is refused, and creates no task."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from renderdrop.sandbox import Sandbox

Submit = Callable[..., Awaitable[httpx.Response]]
Eventually = Callable[[Callable[[], bool]], Awaitable[None]]

RUN = "/openapi/v1/workflow/apps/run"
MULTIPART = {"Content-Type": "multipart/form-data; boundary=X"}

WORKFLOW = b'Content-Disposition: form-data; name="workflow_id"\r\n\r\n1234'
ANY = b'Content-Disposition: form-data; name="workflow_id"\r\n\r\nany'
CLUSTER = b'Content-Disposition: form-data; name="cluster_name"\r\n\r\nGPU-A800'


def scalar(name: str, value: str) -> bytes:
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode()


def upload(name: str = "input_file", body: bytes = b"bytes", filename: str = "a.bin", media: str = "a/b") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: {media}\r\n\r\n'
    return head.encode() + body


def form(*parts: bytes) -> bytes:
    return b"".join(b"--X\r\n" + part + b"\r\n" for part in parts) + b"--X--\r\n"


def assert_refused(answer: httpx.Response, code: int, status: int = 200) -> str:
    """An envelope with this code, no data, and a sentence in Chinese with English in parentheses."""
    assert answer.status_code == status
    told = answer.json()
    assert told["code"] == code, told
    assert told["data"] is None
    chinese, english = told["msg"].split(" (", 1)
    assert any("\u4e00" <= c <= "\u9fff" for c in chinese)
    assert english.isascii() or "…" in english
    return str(told["msg"])


async def test_a_good_form_is_accepted_and_ids_count_from_230(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    for task_id in (230, 231):
        answer = await client.post(RUN, content=form(ANY, CLUSTER, upload()), headers=MULTIPART)
        assert answer.json() == {"code": 0, "msg": "success", "data": {"task_id": task_id}}
    assert sandbox.ledger()["rejected"] == []


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        pytest.param((CLUSTER, upload()), 40018, id="no workflow"),
        pytest.param((ANY, upload()), 40018, id="no cluster"),
        pytest.param((scalar("workflow_id", ""), CLUSTER, upload()), 40018, id="empty workflow"),
        pytest.param((upload("workflow_id", b"any"), CLUSTER, upload()), 40018, id="workflow as a file"),
        pytest.param((ANY, upload("cluster_name", b"GPU-A800"), upload()), 40018, id="cluster as a file"),
        pytest.param((ANY, CLUSTER, scalar("version_id", ""), upload()), 40018, id="empty version"),
        pytest.param((scalar("workflow_id", "999"), CLUSTER, upload()), 40401, id="unknown workflow"),
        pytest.param((ANY, scalar("cluster_name", "GPU-H100"), upload()), 40402, id="unknown cluster"),
        pytest.param((ANY, CLUSTER, upload(), scalar("prompt", "x")), 40016, id="unknown part"),
        pytest.param((ANY, CLUSTER, upload(), upload("more")), 40016, id="unknown file"),
        pytest.param((ANY, CLUSTER, upload(), upload()), 40015, id="file twice"),
        pytest.param((ANY, CLUSTER, CLUSTER, upload()), 40015, id="cluster twice"),
        pytest.param((ANY, CLUSTER), 40017, id="input missing"),
        pytest.param((ANY, CLUSTER, scalar("input_file", "x")), 40019, id="scalar for a file"),
        pytest.param((ANY, CLUSTER, upload(body=b"")), 40014, id="empty file"),
        pytest.param((ANY, CLUSTER, upload(filename="")), 40012, id="empty filename"),
        pytest.param((ANY, CLUSTER, upload(filename="../a.bin")), 40012, id="filename with a path"),
        pytest.param((ANY, CLUSTER, upload(media="")), 40013, id="empty media type"),
        pytest.param((ANY, CLUSTER, upload(media="image")), 40013, id="half a media type"),
    ],
)
async def test_a_form_that_the_workflow_does_not_take_is_refused(
    client: httpx.AsyncClient, sandbox: Sandbox, parts: tuple[bytes, ...], code: int
) -> None:
    answer = await client.post(RUN, content=form(*parts), headers=MULTIPART)
    reason = assert_refused(answer, code)
    ledger = sandbox.ledger()
    assert ledger["tasks"] == []
    assert ledger["rejected"] == [{"call": "run", "code": code, "reason": reason}]


@pytest.mark.parametrize(
    ("head", "code"),
    [
        pytest.param('form-data; name="input_file"\r\nContent-Type: image/png', 40010, id="media type, no filename"),
        pytest.param('form-data; name="input_file"; filename="a.png"', 40013, id="filename, no media type"),
        pytest.param('form-data; filename="a.png"\r\nContent-Type: a/b', 40007, id="no name"),
        pytest.param('form-data; name=""\r\nContent-Type: a/b', 40007, id="empty name"),
        pytest.param('attachment; name="input_file"; filename="a"\r\nContent-Type: a/b', 40007, id="no form-data"),
        pytest.param(
            'form-data; name="input_file"; filename="a"; filename="b"\r\nContent-Type: a/b', 40007, id="two filenames"
        ),
        pytest.param(
            "form-data; name=\"input_file\"; filename*=utf-8''a.png\r\nContent-Type: a/b", 40007, id="filename*"
        ),
        pytest.param(
            'form-data; name="input_file"; filename="a"\r\nContent-Type: a/b\r\ncontent-type: a/b', 40006, id="twice"
        ),
        pytest.param(
            'form-data; name="input_file"; filename="a"\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: base64',
            40008,
            id="base64",
        ),
    ],
)
async def test_a_part_whose_head_is_not_right_is_refused(
    client: httpx.AsyncClient, sandbox: Sandbox, head: str, code: int
) -> None:
    part = f"Content-Disposition: {head}\r\n\r\nbytes".encode()
    assert_refused(await client.post(RUN, content=form(ANY, CLUSTER, part), headers=MULTIPART), code)
    assert sandbox.ledger()["tasks"] == []


async def test_a_filename_that_is_not_utf8_is_refused(client: httpx.AsyncClient) -> None:
    part = upload(filename="NAME").replace(b"NAME", b"\xff.bin")
    assert_refused(await client.post(RUN, content=form(ANY, CLUSTER, part), headers=MULTIPART), 40005)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("照片 🎨.png", "照片 🎨.png"),
        ("a;b;c=d.png", "a;b;c=d.png"),
        ("say %22hi%22.png", 'say "hi".png'),
        (r"say \"hi\".png", 'say "hi".png'),
        ("e\u0301.png", "e\u0301.png"),
    ],
)
async def test_filenames_arrive_as_they_were_meant(
    client: httpx.AsyncClient, sandbox: Sandbox, sent: str, kept: str
) -> None:
    await client.post(RUN, content=form(ANY, CLUSTER, upload(filename=sent)), headers=MULTIPART)
    assert sandbox.ledger()["tasks"][0]["files"][0]["filename"] == kept


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(b"", 40002, id="empty"),
        pytest.param(form(ANY, CLUSTER, upload())[: -len(b"--X--\r\n")], 40002, id="no end"),
        pytest.param(b"hello\r\n" + form(ANY, CLUSTER, upload()), 40003, id="preamble"),
        pytest.param(form(ANY, CLUSTER, upload()) + b"more", 40003, id="epilogue"),
        pytest.param(form(ANY, CLUSTER, upload()).replace(b"--X--", b"--X-"), 40003, id="half an end"),
        pytest.param(form(b"nonsense\r\n\r\nvalue"), 40006, id="no header"),
        pytest.param(b"--X\r\n" + b"a: " + b"b" * 40000, 40004, id="endless head"),
    ],
)
async def test_a_body_that_breaks_the_grammar_is_refused(
    client: httpx.AsyncClient, sandbox: Sandbox, body: bytes, code: int
) -> None:
    assert_refused(await client.post(RUN, content=body, headers=MULTIPART), code)
    assert sandbox.ledger()["tasks"] == []


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/x-www-form-urlencoded", "multipart/form-data", "multipart/form-data; boundary="],
)
async def test_another_kind_of_body_is_refused(client: httpx.AsyncClient, content_type: str) -> None:
    answer = await client.post(RUN, content=form(ANY, CLUSTER, upload()), headers={"Content-Type": content_type})
    assert_refused(answer, 40001)


async def test_a_chunked_body_is_refused(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield form(ANY, CLUSTER, upload())

    assert_refused(await client.post(RUN, content=body(), headers=MULTIPART), 41100, 411)
    assert sandbox.ledger()["tasks"] == []


@pytest.mark.parametrize(
    "sent",
    ["", "Bearer", "Bearer wrong", "bearer AI-sandbox", "AI-sandbox", "Bearer  AI-sandbox", "Bearer AI-sandbox2"],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", RUN), ("GET", "/openapi/v1/workflow/apps/task/230"),
     ("GET", "/openapi/v1/workflow/cluster/all_active_clusters_status")],
)  # fmt: skip
async def test_every_call_wants_exactly_the_token(
    sandbox: Sandbox, client: httpx.AsyncClient, sent: str, method: str, path: str
) -> None:
    headers = {"Authorization": sent, **MULTIPART}
    answer = await client.request(method, path, content=form(ANY, CLUSTER, upload()), headers=headers)
    assert_refused(answer, 40100, 401)
    assert sandbox.ledger()["tasks"] == []


async def test_an_inactive_cluster_is_refused(sandbox: Sandbox, submit: Submit) -> None:
    sandbox.change_cluster("GPU-A800", active=False)
    assert_refused(await submit(), 40301)
    assert (await submit(cluster_name="GPU-4090")).json()["code"] == 0


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"seed": "42"}, 0),
        ({"seed": "-1"}, 0),
        ({"seed": "4.2"}, 40020),
        ({"seed": ""}, 40020),
        ({"seed": " 42"}, 40020),
        ({"seed": "४२"}, 40020),
        ({"strength": "0.75"}, 0),
        ({"strength": "1e-3"}, 0),
        ({"strength": "nan"}, 40020),
        ({"strength": "inf"}, 40020),
        ({"strength": "much"}, 40020),
        ({"prompt": "油画\r\n第二行"}, 0),
        ({"version_id": "7"}, 0),
    ],
)
async def test_scalars_have_to_be_of_their_kind(submit: Submit, fields: dict[str, str], code: int) -> None:
    assert (await submit(**fields)).json()["code"] == code


async def test_a_file_for_a_scalar_is_refused(submit: Submit, picture: bytes) -> None:
    files = {"input_image": ("a.png", picture, "image/png"), "prompt": ("p.txt", b"oil", "text/plain")}
    assert_refused(await submit(files=files), 40021)


@pytest.mark.parametrize(
    ("media", "code"),
    [("image/png", 0), ("image/jpeg; q=1", 0), ("video/mp4", 40022), ("application/octet-stream", 40022)],
)
async def test_a_file_has_to_be_of_its_inputs_class(submit: Submit, picture: bytes, media: str, code: int) -> None:
    assert (await submit(files={"input_image": ("a.png", picture, media)})).json()["code"] == code


@pytest.mark.parametrize("workflow_id", ["1234", "several"])
async def test_a_picture_that_cannot_be_opened_is_refused(submit: Submit, picture: bytes, workflow_id: str) -> None:
    for broken in (b"no picture", picture[: len(picture) // 2]):
        assert_refused(await submit(workflow_id, files={"input_image": ("a.png", broken, "image/png")}), 40023)


async def test_the_dance_app_takes_two_files_and_an_optional_mask(submit: Submit, picture: bytes) -> None:
    image, video = ("a.png", picture, "image/png"), ("a.mp4", b"frames", "video/mp4")
    assert_refused(await submit("88", files={"input_image": image}), 40017)
    assert (await submit("88", files={"input_image": image, "input_video": video})).json()["code"] == 0
    all_three = {"input_image": image, "input_video": video, "mask": image}
    assert (await submit("88", files=all_three)).json()["code"] == 0


async def test_refused_uploads_leave_nothing_on_disk(submit: Submit, tmp_path: Path) -> None:
    await submit(files={"input_image": ("a.png", b"no picture", "image/png")})
    assert list((tmp_path / "sandbox").glob("*/uploads/*")) == []
    await submit()
    assert len(list((tmp_path / "sandbox").glob("*/uploads/*"))) == 1


async def test_a_body_that_breaks_off_creates_no_task_and_is_remembered(
    sandbox: Sandbox, tmp_path: Path, eventually: Eventually
) -> None:
    body = form(ANY, CLUSTER, upload(body=b"x" * 100_000))
    _, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
    head = (
        f"POST {RUN} HTTP/1.1\r\nHost: s\r\nAuthorization: Bearer AI-sandbox\r\n"
        f"Content-Type: multipart/form-data; boundary=X\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body[:60_000])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await eventually(lambda: bool(sandbox.ledger()["incomplete_uploads"]))
    ledger = sandbox.ledger()
    assert ledger["tasks"] == []
    assert ledger["incomplete_uploads"] == [{"received": 60_000, "expected": len(body)}]
    await eventually(lambda: not list((tmp_path / "sandbox").glob("*/uploads/*")))


async def test_unknown_paths_and_wrong_methods_are_told_in_the_envelope(client: httpx.AsyncClient) -> None:
    assert (await client.get("/openapi/v1/workflow/apps")).json()["code"] == 40400
    answer = await client.get(RUN)
    assert (answer.status_code, answer.json()["code"]) == (405, 40500)


@pytest.mark.parametrize("task_id", ["230", "x", "-1", "9" * 40])
async def test_a_task_that_does_not_exist_is_refused(client: httpx.AsyncClient, task_id: str) -> None:
    assert_refused(await client.get(f"/openapi/v1/workflow/apps/task/{task_id}"), 40403)
