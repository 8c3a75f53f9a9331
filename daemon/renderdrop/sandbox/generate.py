"""The calls of third-party models: a picture is asked for, its result is asked after.

Owns: reading and answering these two. What a request means, and the shapes of results, are in `models.py`.
"""

import asyncio
import base64
import json
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from renderdrop.sandbox import intake, models
from renderdrop.sandbox.desk import Desk
from renderdrop.sandbox.faults import Rule
from renderdrop.sandbox.models import ModelSpec
from renderdrop.sandbox.tasks import Output


class Generate:
    """`fetch_images`: the URLs that a request names are really fetched, see `studio.py`."""

    def __init__(self, desk: Desk, known: Mapping[tuple[str, str], ModelSpec], *, fetch_images: bool) -> None:
        self._desk = desk
        self._known = known
        self._fetch_images = fetch_images

    async def image(self, request: web.Request, rule: Rule | None) -> web.StreamResponse:
        """Accept a request; the answer has no envelope."""
        order = models.judge(await intake.read_json(request), self._known)
        urls = order.urls if self._fetch_images else ()
        number = self._desk.accept(
            rule, "model", order.workflow(painted=bool(urls)), order.fields,
            detail={"model": order.model, "parameters": order.parameters}, urls=urls,
        )  # fmt: skip
        return _bare({"task_id": number, "status": "submitted", "message": "Task has been submitted for processing"})

    async def result(self, request: web.Request, rule: Rule | None) -> web.StreamResponse:
        """Tell of a task, in its model's shape."""
        task = self._desk.find("model", request.match_info["task_id"])
        task.polls += 1
        model = task.detail["model"]
        shape = self._known[model["provider"], model["model"]].shape
        made = [output.url for output in task.outputs]
        if shape == "data_uri":
            made = [await asyncio.to_thread(_data_uri, output) for output in task.outputs]
        message = " ".join(row["output"] for row in task.rows if row["error_type"] == "error")
        return _bare(models.told(shape, task.task_id, task.word(), task.polls, made, message))


def _bare(told: dict[str, Any]) -> web.Response:
    return web.json_response(told, dumps=lambda value: json.dumps(value, ensure_ascii=False))


def _data_uri(output: Output) -> str:
    media_type = mimetypes.guess_type(output.filename)[0] or "application/octet-stream"
    return f"data:{media_type};base64,{base64.b64encode(Path(output.path).read_bytes()).decode()}"
