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

from renderdrop.sandbox import fetch, render
from renderdrop.sandbox.tasks import Output, Task, Upload
from renderdrop.sandbox.workflows import Row


class Studio:
    """All outputs, below `folder`; `base_url` is the scheme, host and port that their URLs name.

    A graph's rows name the bare file, as in the page's sample, or the URL too where `native_urls`.
    """

    def __init__(self, folder: Path, base_url: str, *, native_urls: bool = False) -> None:
        self._folder = folder
        self._base_url = base_url
        self._native_urls = native_urls
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
                if task.urls:
                    await self._fetch(task)
                for row in task.workflow.rows:
                    rows += await self._fill(task, row)
        except fetch.Unfetched as error:
            rows.append(_row("1", "Load Image", "error", str(error)))
            status = "fail"
        except (render.Unreadable, OSError) as error:
            rows.append(_row("1", "Load Image", "error", f"无法处理输入 (the input could not be processed: {error})"))
            status = "fail"
        task.rows, task.status = rows, status

    async def _fetch(self, task: Task) -> None:
        # At the very end of the run: a URL that does not outlive its task is found out.
        task.files = await fetch.fetched(task.urls, self._folder / f"{task.task_id}-fetched")
        for upload in task.files:
            await asyncio.to_thread(render.check, upload.path)

    async def _fill(self, task: Task, row: Row) -> list[dict[str, str]]:
        if row.error_type != "info":
            return [_row(row.node_id, row.title, row.error_type, row.text)]
        upload = next((upload for upload in task.files if upload.name == row.source), None)
        if upload is None and row.make != "drawn":
            return []
        output = await self._make(task, row, upload)
        self._outputs[output.filename] = output
        task.outputs.append(output)
        bare = task.kind == "graph" and not self._native_urls
        return [_row(row.node_id, row.title, "info", output.filename if bare else output.url)]

    async def _make(self, task: Task, row: Row, upload: Upload | None) -> Output:
        path = self._folder / f"{task.task_id}-{len(task.outputs) + 1}"
        if upload is not None and row.make == "same":
            await asyncio.to_thread(render.passed, upload.path, path)
            size, sha256 = upload.size, upload.sha256
            ending = row.ending or Path(upload.filename).suffix
        else:
            if upload is not None:
                ending = f".{row.make}"
                await asyncio.to_thread(render.painted, upload.path, path, row.make, _words(task, upload))
            else:
                ending = row.ending or ".png"
                await asyncio.to_thread(render.drawn, path, ending[1:], _words(task, None))
            size, sha256 = await asyncio.to_thread(render.fingerprint, path)
        source = upload.filename if upload is not None else task.kind
        name = row.filename.replace("{task}", str(task.task_id)) or self._name(source, ending)
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


def _words(task: Task, source: Upload | None) -> dict[str, str]:
    """What is printed onto a picture: the scalars, and which other files it was made with."""
    others = {upload.name: upload.sha256[:8] for upload in task.files if upload is not source}
    return {**task.fields, **others}
