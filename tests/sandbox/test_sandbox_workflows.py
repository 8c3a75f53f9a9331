"""What the known workflows answer, what the pictures look like, and what the ledger remembers."""

import asyncio
import io
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from PIL import Image, ImageChops
from typer.testing import CliRunner

from renderdrop.sandbox import ClusterSpec, Parameter, Row, Sandbox, SandboxOptions, WorkflowSpec, serve
from renderdrop.sandbox.render import Unreadable, painted

Submit = Callable[..., Awaitable[httpx.Response]]
Ended = Callable[[httpx.Response], Awaitable[dict[str, Any]]]
Eventually = Callable[[Callable[[], bool]], Awaitable[None]]

STATUS = "/openapi/v1/workflow/cluster/all_active_clusters_status"


def of_mode(path: Path, mode: str, form: str) -> str:
    Image.linear_gradient("L").resize((120, 90)).convert(mode).save(path, form)
    return str(path)


def opened(path: Path) -> Image.Image:
    """The picture, its file closed again."""
    with Image.open(path) as picture:
        picture.load()
        return picture.copy()


async def test_a_picture_keeps_its_size_and_really_changes(
    client: httpx.AsyncClient, submit: Submit, ended: Ended, picture: bytes
) -> None:
    data = await ended(await submit(prompt="oil painting", seed="42"))
    (row,) = data["outputs"]
    assert (row["id"], row["error_type"]) == ("9", "info")
    made = Image.open(io.BytesIO((await client.get(row["output"])).content))
    source = Image.open(io.BytesIO(picture))
    assert (made.format, made.size) == ("PNG", source.size)
    difference = ImageChops.difference(made.convert("L"), source.convert("L"))
    changed = sum(difference.histogram()[16:]) / (source.width * source.height)
    assert changed > 0.3


def test_the_same_picture_and_parameters_give_the_same_bytes(tmp_path: Path) -> None:
    source = of_mode(tmp_path / "a.png", "RGB", "PNG")
    made = {}
    for name, parameters in (("1", {"seed": "1"}), ("again", {"seed": "1"}), ("2", {"seed": "2"}), ("油", {"p": "油"})):
        painted(source, tmp_path / name, "png", parameters)
        made[name] = (tmp_path / name).read_bytes()
    assert made["1"] == made["again"]
    assert len(set(made.values())) == 3


@pytest.mark.parametrize(
    ("mode", "form"),
    [("1", "PNG"), ("L", "PNG"), ("LA", "PNG"), ("P", "GIF"), ("RGBA", "WEBP"), ("CMYK", "JPEG"), ("I;16", "TIFF")],
)
def test_pictures_of_every_mode_can_be_painted(tmp_path: Path, mode: str, form: str) -> None:
    source = of_mode(tmp_path / "source", mode, form)
    for made in ("png", "jpg"):
        painted(source, tmp_path / made, made, {"prompt": "oil"})
        assert opened(tmp_path / made).size == (120, 90)


def test_transparency_stays(tmp_path: Path) -> None:
    Image.new("RGBA", (40, 30), (200, 10, 10, 0)).save(tmp_path / "a.png")
    painted(str(tmp_path / "a.png"), tmp_path / "out", "png", {})
    assert opened(tmp_path / "out").getchannel("A").getextrema() == (0, 0)


def test_a_picture_of_one_pixel_can_be_painted(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "a.png")
    painted(str(tmp_path / "a.png"), tmp_path / "out", "png", {"prompt": "oil"})
    assert opened(tmp_path / "out").size == (1, 1)


def test_half_a_jpeg_is_unreadable(tmp_path: Path) -> None:
    whole = Path(of_mode(tmp_path / "a.jpg", "RGB", "JPEG")).read_bytes()
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(Unreadable):
        painted(str(tmp_path / "half.jpg"), tmp_path / "out", "png", {})


async def test_output_urls_carry_the_sources_name_quoted(submit: Submit, ended: Ended, sandbox: Sandbox) -> None:
    files = {"input_file": ("夜景 #1&x=2%.MP4", b"frames", "video/mp4")}
    data = await ended(await submit("any", files=files))
    url = data["outputs"][0]["output"]
    assert url.startswith(f"{sandbox.base_url}/api/view?type=output&filename=SANDBOX_")
    assert url.isascii()
    (name,) = parse_qs(urlsplit(url).query)["filename"]
    assert name.endswith("_夜景 #1&x=2%_00001.MP4")
    assert sandbox.ledger()["tasks"][0]["outputs"][0]["filename"] == name


async def test_sources_of_one_name_get_outputs_of_their_own(submit: Submit, ended: Ended, sandbox: Sandbox) -> None:
    answers = [await submit("any", files={"input_file": ("a.bin", str(number).encode(), "a/b")}) for number in range(6)]
    urls = [(await ended(answer))["outputs"][0]["output"] for answer in answers]
    assert len(set(urls)) == 6


async def test_a_very_long_name_still_gives_a_name_that_fits(submit: Submit, ended: Ended, sandbox: Sandbox) -> None:
    await ended(await submit("any", files={"input_file": ("长" * 80 + ".bin", b"x", "a/b")}))
    assert len(sandbox.ledger()["tasks"][0]["outputs"][0]["filename"].encode()) < 200


async def test_several_answers_media_warnings_and_errors_mixed(
    client: httpx.AsyncClient, submit: Submit, ended: Ended, picture: bytes
) -> None:
    data = await ended(await submit("several"))
    assert data["status"] == "success"
    assert [row["error_type"] for row in data["outputs"]] == ["info", "info", "warning", "info", "error"]
    assert len({row["id"] for row in data["outputs"]}) == 5
    media = [row["output"] for row in data["outputs"] if row["error_type"] == "info"]
    assert [url.rsplit(".", 1)[1] for url in media] == ["png", "jpg", "mp4"]
    bodies = [(await client.get(url)).content for url in media]
    assert bodies[2] == picture
    assert Image.open(io.BytesIO(bodies[1])).format == "JPEG"


async def test_silent_succeeds_without_media(submit: Submit, ended: Ended) -> None:
    data = await ended(await submit("silent"))
    assert (data["status"], data["outputs"]) == ("success", [])


async def test_fails_ends_with_a_sentence_in_chinese(submit: Submit, ended: Ended) -> None:
    data = await ended(await submit("fails"))
    assert data["status"] == "fail"
    assert [row["error_type"] for row in data["outputs"]] == ["error"]
    assert "显存不足" in data["outputs"][0]["output"]


async def test_success_stops_at_94_percent(submit: Submit, ended: Ended) -> None:
    assert (await ended(await submit()))["progress"] == {
        "curr_node": {"id": 0, "title": "Unknown Node", "progress": 0},
        "total_progress": 94,
    }


async def test_workflows_of_ones_own_can_be_registered(tmp_path: Path) -> None:
    hostile = WorkflowSpec(
        "names that no server should send",
        {"sound": Parameter("audio")},
        (Row("1", "Save", source="sound", filename="../../{task}/etc\\passwd\n.wav"),),
    )
    options = SandboxOptions(
        folder=tmp_path, workflows={"evil": hostile}, render_seconds=(0, 0), output_host="localhost"
    )
    async with Sandbox(options) as sandbox, httpx.AsyncClient(base_url=sandbox.base_url) as client:
        client.headers["Authorization"] = "Bearer AI-sandbox"
        fields = {"workflow_id": "evil", "cluster_name": "GPU-A800"}
        files = {"sound": ("a.wav", b"RIFF", "audio/wav")}
        await client.post("/openapi/v1/workflow/apps/run", data=fields, files=files)
        async with asyncio.timeout(10):
            while True:
                data = (await client.get("/openapi/v1/workflow/apps/task/230")).json()["data"]
                if data["status"] == "success":
                    break
                await asyncio.sleep(0.01)
        url = data["outputs"][0]["output"]
        assert parse_qs(urlsplit(url).query)["filename"] == ["../../230/etc\\passwd\n.wav"]
        assert urlsplit(url).hostname == "localhost"
        assert (await client.get(url.replace("localhost", "127.0.0.1"))).content == b"RIFF"


async def test_the_ledger_tells_what_was_sent(sandbox: Sandbox, client: httpx.AsyncClient, submit: Submit) -> None:
    await submit("any", files={"input_file": ("a.bin", b"abc", "a/b")}, version_id="7", cluster_name="GPU-4090")
    told = (await client.get("/_sandbox/ledger")).json()
    (task,) = told["tasks"]
    assert (task["task_id"], task["workflow_id"], task["cluster"], task["version_id"]) == (230, "any", "GPU-4090", "7")
    assert task["files"] == [
        {
            "name": "input_file",
            "filename": "a.bin",
            "content_type": "a/b",
            "size": 3,
            "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        }
    ]
    assert told["calls"] == {"run": 1}
    assert "AI-sandbox" not in str(told)


async def test_clusters_change_over_the_wire(client: httpx.AsyncClient) -> None:
    await client.post("/_sandbox/clusters", json={"name": "GPU-4090", "curr_nodes": 7, "max_nodes": -1})
    await client.post("/_sandbox/clusters", json=[{"name": "GPU-A800", "active": False}])
    shown = {row["name"]: row for row in (await client.get(STATUS)).json()["data"]}
    assert "GPU-A800" not in shown
    assert (shown["GPU-4090"]["curr_nodes"], shown["GPU-4090"]["max_nodes"]) == (7, -1)
    for wrong in ({"name": "none"}, {"name": "GPU-4090", "nodes": 3}, [3], "x"):
        assert (await client.post("/_sandbox/clusters", json=wrong)).status_code == 400


async def test_a_cluster_grows_under_its_queue_and_all_tasks_end(
    tmp_path: Path, picture: bytes, eventually: Eventually
) -> None:
    options = SandboxOptions(
        folder=tmp_path,
        clusters=(ClusterSpec("A", "A", 1, 6),),
        render_seconds=(0.1, 0.2),
        boot_seconds=0.05,
        scale_every=0.05,
    )
    async with Sandbox(options) as sandbox, httpx.AsyncClient(base_url=sandbox.base_url) as client:
        client.headers["Authorization"] = "Bearer AI-sandbox"
        most = 0
        for _ in range(24):
            fields = {"workflow_id": "any", "cluster_name": "A"}
            files = {"input_file": ("a.png", picture, "image/png")}
            await client.post("/openapi/v1/workflow/apps/run", data=fields, files=files)
            most = max(most, (await client.get(STATUS)).json()["data"][0]["curr_nodes"])
        await eventually(lambda: all(task["status"] == "success" for task in sandbox.ledger()["tasks"]))
        most = max(most, (await client.get(STATUS)).json()["data"][0]["curr_nodes"])
        assert 1 < most <= 6


async def test_stopping_removes_a_temporary_folder_and_keeps_a_given_one(tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        own = sandbox._folder
        assert own.is_dir()
    assert not own.exists()
    for _ in range(2):  # a second start in the same place meets no leftovers
        async with Sandbox(SandboxOptions(folder=tmp_path / "kept")):
            pass
    assert len(list((tmp_path / "kept").iterdir())) == 2


async def test_serving_ends_at_sigterm_and_announces_one_line() -> None:
    lines: list[str] = []

    def announce(line: str) -> None:
        lines.append(line)
        os.kill(os.getpid(), signal.SIGTERM)

    async with asyncio.timeout(10):
        await serve(SandboxOptions(token="AI-other"), announce)
    assert len(lines) == 1
    assert lines[0].startswith("sandbox of the rendering platform at http://127.0.0.1:")
    assert lines[0].endswith("token AI-other")


def test_the_command_prints_how_it_is_used_and_ends_at_sigterm() -> None:
    code = "import typer; from renderdrop.cli.sandbox import sandbox; typer.run(sandbox)"
    with subprocess.Popen([sys.executable, "-c", code, "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "/_sandbox/clusters" in line:
                process.terminate()
        assert process.wait(10) == 0
    text = "".join(lines)
    assert 'base_url = "http://127.0.0.1:' in text
    assert "RENDERDROP_TOKEN=AI-sandbox" in text
    assert all(name in text for name in ("1234", "88", "several", "silent", "fails"))


async def test_the_command_says_plainly_that_a_port_is_taken(sandbox: Sandbox) -> None:
    import typer

    from renderdrop.cli.sandbox import sandbox as command

    app = typer.Typer()
    app.command()(command)
    result = await asyncio.to_thread(CliRunner().invoke, app, ["--port", str(sandbox.port)])
    assert result.exit_code == 1
    assert "choose another port with --port" in result.output


def test_importing_the_command_costs_neither_web_server_nor_pillow() -> None:
    code = "import sys, renderdrop.cli.sandbox; print([m for m in ('aiohttp', 'PIL') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
