"""The calls of AI apps: a form is submitted, its task is polled.

Owns: reading and answering these two. What a form means is judged in `forms.py`.
"""

import asyncio
import itertools
import time
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from renderdrop.sandbox import forms, harm, intake, render
from renderdrop.sandbox.desk import Desk
from renderdrop.sandbox.faults import Rule
from renderdrop.sandbox.intake import Refusal
from renderdrop.sandbox.workflows import WorkflowSpec


class Apps:
    """`folder` is where the files of forms lie, each form's in one of its own."""

    def __init__(self, desk: Desk, workflows: Mapping[str, WorkflowSpec], folder: Path) -> None:
        self._desk = desk
        self._workflows = workflows
        self._folder = folder
        self._forms = itertools.count(1)

    async def run(self, request: web.Request, rule: Rule | None) -> web.StreamResponse:
        """Accept a submission."""
        async with intake.form(request, self._new_folder()) as parts:
            workflow_id = forms.workflow_of(parts)
            spec = self._workflows.get(workflow_id)
            if spec is None:
                raise Refusal(40401, f"工作流 {workflow_id} 不存在", f"there is no workflow {workflow_id}")
            form = forms.judge(parts, workflow_id, spec)
            self._desk.refuse_cluster(form.cluster)
            for upload in form.files:
                if spec.draws(upload.name):
                    await asyncio.to_thread(_refuse_picture, upload.name, upload.path)
            number = self._desk.accept(
                rule, "app", spec, form.fields, form.files,
                cluster=form.cluster, workflow_id=workflow_id, version_id=form.version_id,
            )  # fmt: skip
        return harm.envelope({"task_id": number})

    def _new_folder(self) -> Path:
        folder = self._folder / f"{next(self._forms):06d}"
        folder.mkdir()
        return folder

    async def poll(self, request: web.Request, rule: Rule | None) -> web.StreamResponse:
        """Tell of a task."""
        task = self._desk.find("app", request.match_info["task_id"])
        return harm.envelope(task.polled(time.monotonic()))


def _refuse_picture(name: str, path: str) -> None:
    try:
        render.check(path)
    except render.Unreadable:
        raise Refusal(40023, f"文件 {name} 不是有效的图片", f"{name} is not a picture that can be opened") from None
