"""The native ComfyUI calls: a file is uploaded, a graph is submitted, its task is polled.

Owns: reading and answering these three. What a graph means is judged in `graphs.py`.
"""

import itertools
import time
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from renderdrop.sandbox import graphs, harm, intake
from renderdrop.sandbox.desk import Desk
from renderdrop.sandbox.faults import Rule
from renderdrop.sandbox.intake import Refusal
from renderdrop.sandbox.nodes import NodeClass
from renderdrop.sandbox.uploads import Uploads


class Native:
    """`folder` is where the uploaded files lie, each in a folder of its own."""

    def __init__(self, desk: Desk, uploads: Uploads, nodes: Mapping[str, NodeClass], folder: Path) -> None:
        self._desk = desk
        self._uploads = uploads
        self._nodes = nodes
        self._folder = folder
        self._forms = itertools.count(1)

    async def upload(self, request: web.Request, rule: Rule | None) -> web.StreamResponse:
        """Keep one file, and tell the name by which a graph refers to it."""
        async with intake.form(request, self._new_folder()) as parts:
            if len(parts) != 1 or parts[0].name != "file" or (file := parts[0].upload) is None:
                raise Refusal(40040, "必须且只能有一个文件 file", "the form has to be one file part named file")
            name = self._uploads.keep(file, time.time())
        return harm.envelope({"filename": name})

    def _new_folder(self) -> Path:
        folder = self._folder / f"native-{next(self._forms):06d}"
        folder.mkdir()
        return folder

    async def submit(self, request: web.Request, rule: Rule | None) -> web.StreamResponse:
        """Accept a graph."""
        body = await intake.read_json(request)
        uploads = self._uploads
        order = graphs.judge(body, self._nodes, uploads.here(), uploads.lost(), late_missing=uploads.late_missing)
        number = self._desk.accept(
            rule, "graph", order.workflow, order.fields, order.files,
            cluster=order.cluster, detail={"graph": order.graph},
        )  # fmt: skip
        return harm.envelope({"task_id": number})

    async def poll(self, request: web.Request, rule: Rule | None) -> web.StreamResponse:
        """Tell of a task."""
        task = self._desk.find("graph", request.match_info["task_id"])
        return harm.envelope(task.polled(time.monotonic()))
