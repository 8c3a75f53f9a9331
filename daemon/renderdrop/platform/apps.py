"""AI apps: run one, ask after its task (platform-api.md, section 1).

Owns the form of a run and where it is sent; what the end of a submission is called is `submission`'s.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote

from renderdrop.model.route import Scalar
from renderdrop.platform.answers import data
from renderdrop.platform.client import Client
from renderdrop.platform.multipart import FilePart, Multipart
from renderdrop.platform.reports import Report, read_report
from renderdrop.platform.submission import BeforeLast, submit_once, task_id

RUN: Final = "/openapi/v1/workflow/apps/run"
TASK: Final = "/openapi/v1/workflow/apps/task/"
RESERVED: Final = frozenset({"workflow_id", "cluster_name", "version_id"})
"""Field names that the call itself uses; no app parameter can have them."""


@dataclass(frozen=True, slots=True)
class Request:
    """All that one run of an app needs."""

    workflow_id: str
    version_id: str | None
    cluster: str
    params: Mapping[str, Scalar]
    files: Sequence[FilePart]


def fields(request: Request) -> dict[str, str]:
    """The plain parts of a run, in the order in which they are sent."""
    plain = {"workflow_id": request.workflow_id, "cluster_name": request.cluster}
    if request.version_id is not None:
        plain["version_id"] = request.version_id
    return plain | {name: spelled(value) for name, value in request.params.items()}


def spelled(value: Scalar) -> str:
    """A scalar as a form field: true/false for truth values, as JSON for numbers, a text as it is."""
    return value if isinstance(value, str) else json.dumps(value)


async def run(client: Client, request: Request, before_last: BeforeLast, now: datetime) -> str:
    """Submit once; returns the task's id. Raises Refused, Busy, Temporary, Unknown, PlatformDown, or what a
    file's stream or `before_last` raised (then the request never left whole)."""
    body = Multipart(fields(request), request.files, before_last)
    return await submit_once(client, RUN, body, lambda answer: task_id(data(answer, now)))


async def ask(client: Client, task: str, now: datetime) -> Report:
    """One poll. Raises Busy, Temporary, Refused or PlatformDown; none of them says anything of the task."""
    return read_report(data(await client.get(TASK + quote(task, safe="")), now), client.base_url)
