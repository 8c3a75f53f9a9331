"""A quick sandbox on a free port, and a client that carries its token."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from renderdrop.sandbox import Sandbox, SandboxOptions


@pytest.fixture
def picture() -> bytes:
    """A PNG of 64 × 48 with something in it to change."""
    image = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    options = SandboxOptions(folder=tmp_path / "sandbox", render_seconds=(0.02, 0.05), boot_seconds=0.05)
    async with Sandbox(options) as running:
        yield running


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {sandbox.options.token}"}
    async with httpx.AsyncClient(base_url=sandbox.base_url, headers=headers, timeout=30) as talking:
        yield talking


@pytest.fixture
def submit(client: httpx.AsyncClient, picture: bytes) -> Callable[..., Awaitable[httpx.Response]]:
    """Submit to a workflow; by default a good picture to 1234."""

    async def run(workflow_id: str = "1234", files: dict[str, Any] | None = None, **fields: str) -> httpx.Response:
        fields = {"workflow_id": workflow_id, "cluster_name": "GPU-A800", **fields}
        files = {"input_image": ("a.png", picture, "image/png")} if files is None else files
        return await client.post("/openapi/v1/workflow/apps/run", data=fields, files=files)

    return run


@pytest.fixture
def ended(client: httpx.AsyncClient) -> Callable[[httpx.Response], Awaitable[dict[str, Any]]]:
    """The last poll's data of the task that a run's answer names."""

    async def follow(answer: httpx.Response) -> dict[str, Any]:
        task_id = answer.json()["data"]["task_id"]
        async with asyncio.timeout(30):
            while True:
                told = (await client.get(f"/openapi/v1/workflow/apps/task/{task_id}")).json()
                data: dict[str, Any] = told["data"]
                if data["status"] in ("success", "fail"):
                    return data
                await asyncio.sleep(0.01)

    return follow


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Waits until something holds, ten seconds at most."""

    async def wait(holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while True:
                if holds():
                    return
                await asyncio.sleep(0.01)

    return wait
