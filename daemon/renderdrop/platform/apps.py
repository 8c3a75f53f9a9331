"""AI apps: run one, ask after its task (platform-api.md, section 1).

Owns what a submission's end is called: accepted (a task id comes back), Refused, Busy or Temporary (not
accepted, nothing to pay), Unknown (it may be running and paid for), PlatformDown. It must never submit a
second time by itself: whoever calls has committed the intent for exactly one request.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import quote

from renderdrop.model.errors import Busy, Temporary, Unknown
from renderdrop.model.job import Level, Output, Remark
from renderdrop.model.route import Scalar
from renderdrop.platform.answers import Nonsense, OwnError, data, number
from renderdrop.platform.client import ANSWER, CALL_DEADLINE, Client
from renderdrop.platform.multipart import FilePart, Multipart

RUN: Final = "/openapi/v1/workflow/apps/run"
TASK: Final = "/openapi/v1/workflow/apps/task/"
RESERVED: Final = frozenset({"workflow_id", "cluster_name", "version_id"})
"""Field names that the call itself uses; no app parameter can have them."""

SLOWEST_UPLOAD: Final = 64_000
"""Bytes a second below which an upload is given up, on the average: a dead line, not a slow one."""

Status = Literal["pending", "running", "success", "fail"]


@dataclass(frozen=True, slots=True)
class Request:
    """All that one run of an app needs."""

    workflow_id: str
    version_id: str | None
    cluster: str
    params: Mapping[str, Scalar]
    files: Sequence[FilePart]


@dataclass(frozen=True, slots=True)
class Report:
    """What a poll says. `strange` names what was not understood, to be logged."""

    status: Status
    progress: float | None
    node: str | None
    outputs: tuple[Output, ...]
    remarks: tuple[Remark, ...]
    strange: tuple[str, ...]


def fields(request: Request) -> dict[str, str]:
    """The plain parts of a run, in the order in which they are sent."""
    plain = {"workflow_id": request.workflow_id, "cluster_name": request.cluster}
    if request.version_id is not None:
        plain["version_id"] = request.version_id
    return plain | {name: spelled(value) for name, value in request.params.items()}


def spelled(value: Scalar) -> str:
    """A scalar as a form field: true/false for truth values, as JSON for numbers, a text as it is."""
    return value if isinstance(value, str) else json.dumps(value)


async def run(client: Client, request: Request, before_last: Callable[[], Awaitable[None]], now: datetime) -> str:
    """Submit once; returns the task's id. Raises Refused, Busy, Temporary, Unknown, PlatformDown, or what a
    file's stream or `before_last` raised (then the request never left whole)."""
    body = Multipart(fields(request), request.files, before_last)
    deadline = CALL_DEADLINE + ANSWER + sum(part.size for part in request.files) / SLOWEST_UPLOAD
    try:
        return task_id(data(await client.post(RUN, body.body(), body.headers, deadline), now))
    except (Busy, OwnError):
        raise
    except Temporary as fault:
        # No answer, or one that is not the platform's own: only its own word settles the matter.
        if body.complete:
            raise Unknown(fault.sentence) from fault
        raise


def task_id(found: Any) -> str:
    """The id of the accepted task. Raises Nonsense when there is none."""
    value = found.get("task_id") if isinstance(found, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, str)) or not str(value).strip():
        raise Nonsense("the platform accepted the task but named no task id")
    return str(value)


async def ask(client: Client, task: str, now: datetime) -> Report:
    """One poll. Raises Busy, Temporary, Refused or PlatformDown; none of them says anything of the task."""
    return read_report(data(await client.get(TASK + quote(task, safe="")), now), client.base_url)


def read_report(found: Any, base_url: str) -> Report:
    """A poll's `data` as a report, as tolerantly as platform-api.md asks. Raises Nonsense without a status word."""
    if not isinstance(found, dict) or not isinstance(found.get("status"), str):
        raise Nonsense("the platform's answer about the task has no status")
    strange: list[str] = []
    word = found["status"].strip().lower()
    status: Status = "running"
    if word in ("pending", "running", "success", "fail"):
        status = word
    else:
        strange.append(f"status {found['status'][:40]!r}")
    progress, node = read_progress(found.get("progress"))
    outputs, remarks = read_outputs(found.get("outputs"), base_url, strange)
    return Report(status, progress, node, outputs, remarks, tuple(strange))


def read_progress(found: Any) -> tuple[float | None, str | None]:
    """Percentage (0 to 100) and the title of the node at work; None for what is missing."""
    if not isinstance(found, dict):
        return None, None
    total = number(found.get("total_progress"))
    percent = None if total is None else min(100.0, max(0.0, total))
    current = found.get("curr_node")
    title = current.get("title") if isinstance(current, dict) else None
    return percent, title if isinstance(title, str) and title.strip() else None


def read_outputs(found: Any, base_url: str, strange: list[str]) -> tuple[tuple[Output, ...], tuple[Remark, ...]]:
    """Media rows as outputs, warning and error rows as remarks, in their order."""
    outputs: list[Output] = []
    remarks: list[Remark] = []
    if found is not None and not isinstance(found, list):
        strange.append(f"outputs that are no list but {type(found).__name__}")
    for row in found if isinstance(found, list) else []:
        if not isinstance(row, dict):
            strange.append("an output row that is no object")
            continue
        node_id, title = _text(row.get("id")), _text(row.get("title"))
        kind, value = _text(row.get("error_type")).strip().lower(), row.get("output")
        if kind in ("warning", "error"):
            remarks.append(Remark(Level(kind), _text(value) or f"({kind} without a text)", node_id, title))
        elif isinstance(value, str) and value.strip():
            if kind != "info":
                strange.append(f"error_type {kind[:40]!r}")
            outputs.append(Output(len(outputs), node_id, title, output_url(value.strip(), base_url)))
        else:
            strange.append(f"an output row of node {node_id or '?'} without a value")
    return tuple(outputs), tuple(remarks)


def output_url(value: str, base_url: str) -> str:
    """Where an output is fetched: a full URL as it is, a path below the platform, else a bare name by /api/view."""
    if "://" in value.split("?")[0]:
        return value
    if value.startswith("/"):
        return base_url + value
    return f"{base_url}/api/view?type=output&filename={quote(value, safe='')}"


def _text(value: Any) -> str:
    return "" if value is None else str(value)
