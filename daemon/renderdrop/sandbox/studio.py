"""Turns a task whose run has ended into its rows and files.

Owns: the outputs, their names and their URLs. Names from outside are only ever looked up here, never joined to
a path, so that none reaches a file that was not made here. Must never decide when a run ends (`farm.py`).
"""

import asyncio
import itertools
import re
import time
from pathlib import Path
from urllib.parse import quote

from renderdrop.sandbox import render
from renderdrop.sandbox.tasks import Output, Task, Upload
from renderdrop.sandbox.workflows import Row


class Studio:
    """All outputs, below `folder`; `base_url` is the scheme, host and port that their URLs name."""

    def __init__(self, folder: Path, base_url: str) -> None:
        self._folder = folder
        self._base_url = base_url
        self._outputs: dict[str, Output] = {}

    def find(self, filename: str) -> Output | None:
        """The output of exactly this name."""
        return self._outputs.get(filename)

    async def finish(self, task: Task) -> None:
        """Make the outputs, then set the task's rows and its final word. Never raises for a bad input."""
        rows: list[dict[str, str]] = []
        status: str = task.workflow.ends
        try:
            if task.doomed:
                rows.append(_row("3", "KSampler", "error", task.doomed))
                status = "fail"
            else:
                for row in task.workflow.rows:
                    rows += await self._fill(task, row)
        except (render.Unreadable, OSError) as error:
            rows.append(_row("1", "Load Image", "error", f"无法处理输入 (the input could not be processed: {error})"))
            status = "fail"
        task.rows, task.status = rows, status

    async def _fill(self, task: Task, row: Row) -> list[dict[str, str]]:
        if row.error_type != "info":
            return [_row(row.node_id, row.title, row.error_type, row.text)]
        upload = next((upload for upload in task.files if upload.name == row.source), None)
        if upload is None:
            return []
        output = await self._make(task, row, upload)
        self._outputs[output.filename] = output
        task.outputs.append(output)
        return [_row(row.node_id, row.title, "info", output.url)]

    async def _make(self, task: Task, row: Row, upload: Upload) -> Output:
        path = self._folder / f"{task.task_id}-{len(task.outputs) + 1}"
        if row.make == "same":
            await asyncio.to_thread(render.passed, upload.path, path)
            size, sha256 = upload.size, upload.sha256
            ending = row.ending or Path(upload.filename).suffix
        else:
            await asyncio.to_thread(render.painted, upload.path, path, row.make, task.fields)
            size, sha256 = await asyncio.to_thread(render.fingerprint, path)
            ending = f".{row.make}"
        name = row.filename.replace("{task}", str(task.task_id)) or self._name(upload.filename, ending)
        url = f"{self._base_url}/api/view?type=output&filename={quote(name, safe='')}"
        return Output(name, size, sha256, url, str(path))

    def _name(self, source: str, ending: str) -> str:
        stem = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]', "_", Path(source).stem)
        stem = stem.encode()[:120].decode(errors="ignore")
        stamp = time.strftime("%Y%m%d%H%M%S")
        names = (f"SANDBOX_{stamp}_{stem}_{number:05d}{ending}" for number in itertools.count(1))
        return next(name for name in names if name not in self._outputs)


def _row(node_id: str, title: str, error_type: str, output: str) -> dict[str, str]:
    return {"id": node_id, "title": title, "output": output, "error_type": error_type}
