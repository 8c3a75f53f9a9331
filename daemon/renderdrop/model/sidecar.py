"""The sidecar: what became of a job, as JSON beside its results (schema `renderdrop/sidecar/1`, DESIGN 5).

Owns the shape and how a job is written into it. No token, no path outside the share, no host name of ours:
sidecars travel with the files.
"""

import json
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from renderdrop import __version__
from renderdrop.model.job import Job, Level, Outcome
from renderdrop.model.names import harmless
from renderdrop.model.route import Model
from renderdrop.model.units import spoken
from renderdrop.model.wishes import ROUTE

SCHEMA: Final = "renderdrop/sidecar/1"
LARGEST: Final = 4 * 2**20
"""Bytes of a sidecar that is looked at; one of a folder bundle lists thousands of files. What is longer counts as
somebody's: to read it would hold up the rest of the program, and whoever may drop a file chooses how long it is."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourcePart(_Part):
    """A dropped file that fed the job."""

    input: str = Field(description="the workflow's input that it fed")
    name: str = Field(description="bare file name as it was dropped")
    path: str = Field(description="path below the inbox as it was dropped")
    size: int = Field(description="bytes")
    sha256: str | None = Field(description="of the bytes that were sent; null when nothing was sent")


class TicketPart(_Part):
    """A ticket that came with the sources."""

    name: str = Field(description="bare file name as it was dropped")
    path: str = Field(description="path below the inbox as it was dropped")
    size: int = Field(description="bytes")


class ConstantPart(_Part):
    """A file of the operator's that was sent along."""

    input: str = Field(description="the workflow's input that it fed")
    name: str = Field(description="bare file name")
    size: int = Field(description="bytes")
    sha256: str


class GraphPart(_Part):
    """The graph that was sent (kind `graph`)."""

    name: str = Field(description="bare file name")
    sha256: str | None = Field(description="of the file as it was when it was sent; null when nothing was sent")


class ModelPart(_Part):
    """The third-party model that was asked (kind `model`)."""

    provider: str
    model: str
    type: str


class OutputPart(_Part):
    """A rendered file beside this sidecar."""

    file: str = Field(description="bare file name, in the sidecar's folder")
    node_id: str
    title: str = Field(description="the node's title")
    url: str = Field(description="where the platform offered it")
    size: int | None = Field(description="bytes")
    sha256: str | None
    media_type: str | None


class ErrorPart(_Part):
    """Something that went wrong: the job's own failure first, then what nodes said."""

    message: str
    node_id: str | None
    title: str | None


class TimesPart(_Part):
    """UTC, ISO 8601; null = it did not come to that."""

    seen: str | None
    queued: str | None
    submitted: str | None
    started: str | None = Field(description="first seen past `pending`: at work, or finished where it was too quick")
    finished: str | None
    delivered: str | None


class SubmissionPart(_Part):
    """One try to get a task."""

    at: str
    cluster: str | None = Field(description="null for models, which the platform places itself")
    task_id: int | str | None
    outcome: Literal["accepted", "refused", "not_sent", "unknown"]


class Sidecar(_Part):
    """All that is known of a finished job."""

    schema_: Literal["renderdrop/sidecar/1"] = Field(alias="schema")
    job_id: str
    route: str
    kind: Literal["app", "graph", "model"]
    status: Literal["success", "fail"]
    sources: list[SourcePart]
    workflow_id: str | None = Field(description="of an app; null for other kinds")
    version_id: str | None
    cluster: str | None
    task_id: int | str | None
    params: dict[str, Any] = Field(description="the parameters that were sent")
    params_from: dict[str, str] = Field(
        description="where each of them came from: `route` (the settings), `matrix`, `batch` (a `_batch.job.toml`), "
        "`ticket`, `text` (a dropped file's content) or `rerun`"
    )
    tickets: list[TicketPart]
    constants: list[ConstantPart]
    graph: GraphPart | None
    model: ModelPart | None
    outputs: list[OutputPart]
    warnings: list[str] = Field(description="what should be known: of the job itself, then the nodes' warning texts")
    errors: list[ErrorPart]
    times: TimesPart
    submissions: list[SubmissionPart] = Field(description="every try, the last one last; `unknown`: it may be paid for")
    derived_from: str | None = Field(
        description="the sidecar that lists a source as its output (path below the inbox); null = dropped by hand"
    )
    duplicate_of: str | None = Field(
        description="the job that had rendered the very same; its results are given again, nothing was paid"
    )
    version: str = Field(description="of renderdrop")


def sidecar_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12)."""
    schema = Sidecar.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA, **schema}


def write(job: Job, *, success: bool, delivered: str | None = None, model: Model | None = None) -> bytes:
    """A job as its sidecar's bytes. `delivered`: the moment to be written as such. `model`: that of a model route."""
    failure = [] if success else [ErrorPart(message=plain(job.error or "failed"), node_id=None, title=None)]
    sidecar = Sidecar(
        schema=SCHEMA,
        job_id=job.id,
        route=job.route,
        kind=job.kind,
        status="success" if success else "fail",
        sources=[
            SourcePart(
                input=s.input, name=plain(s.path.rpartition("/")[2]), path=plain(s.path), size=s.size, sha256=s.sha256
            )
            for s in job.inputs
        ],
        workflow_id=job.workflow_id if job.kind == "app" else None,
        version_id=job.version_id,
        cluster=plain(job.cluster) if job.cluster else None,
        task_id=task_id(job.task_id),
        params={plain(key): plain(value) if isinstance(value, str) else value for key, value in job.params.items()},
        params_from={plain(key): job.wishes.origins.get(key, ROUTE) for key in job.params},
        tickets=[
            TicketPart(name=plain(t.path.rpartition("/")[2]), path=plain(t.path), size=t.size) for t in job.tickets
        ],
        constants=[
            ConstantPart(input=c.input, name=plain(c.name), size=c.size, sha256=c.sha256) for c in job.sent.constants
        ],
        graph=GraphPart(name=job.workflow_id, sha256=job.sent.graph_sha256) if job.kind == "graph" else None,
        model=_model(model) if model is not None and job.kind == "model" else None,
        outputs=[
            OutputPart(
                file=plain(o.file or ""), node_id=plain(o.node_id), title=plain(o.title), url=short(plain(o.url)),
                size=o.size, sha256=o.sha256, media_type=o.media_type and plain(o.media_type),
            )
            for o in job.outputs
            if success
        ],
        warnings=[plain(note) for note in (*job.wishes.notes, *second_tasks(job))]
        + [plain(r.message) for r in job.remarks if r.level is Level.WARNING],
        errors=failure
        + [
            ErrorPart(message=plain(r.message), node_id=plain(r.node_id), title=plain(r.title))
            for r in job.remarks
            if r.level is Level.ERROR
        ],
        times=TimesPart(
            seen=job.times.seen, queued=job.times.queued, submitted=job.times.submitted, started=job.times.started,
            finished=job.times.finished, delivered=delivered,
        ),
        submissions=[
            SubmissionPart(
                at=s.at, cluster=plain(s.cluster) or None, task_id=task_id(s.task_id), outcome=s.outcome.value
            )
            for s in job.submissions
            if s.outcome is not None
        ],
        derived_from=plain(job.derived_from) if job.derived_from is not None else None,
        duplicate_of=job.duplicate_of,
        version=__version__,
    )  # fmt: skip
    return _bytes(sidecar)


def second_tasks(job: Job) -> list[str]:
    """One sentence on each task that was left behind, still pending, and for which a second one was begun."""
    told = []
    for number, first in enumerate(job.submissions):
        later = [s for s in job.submissions[number + 1 :] if s.outcome in (Outcome.ACCEPTED, Outcome.UNKNOWN)]
        if first.left_at is None or not later:
            continue
        second = later[0]
        waited = datetime.fromisoformat(first.left_at) - datetime.fromisoformat(first.at)
        begun, other = "a second task may have been", "it"
        if second.outcome is Outcome.ACCEPTED:
            begun = f"a second task ({second.task_id} on {second.cluster}) was"
            other = f"task {first.task_id if job.task_id == second.task_id else second.task_id}"
        told.append(
            f"{begun} begun after {spoken(max(0.0, waited.total_seconds()))} because task {first.task_id} was still "
            f"pending on {first.cluster} while others ran; {other} may have been paid for too"
        )
    return told


def _bytes(sidecar: Sidecar) -> bytes:
    text = json.dumps(sidecar.model_dump(by_alias=True), ensure_ascii=False, indent=2)
    return (harmless(text) + "\n").encode()


def _model(model: Model) -> ModelPart:
    return ModelPart(provider=model.provider, model=model.name, type=model.type)


def belongs_to(data: bytes) -> str | None:
    """The job that a sidecar's bytes name; None when it is no sidecar of ours."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA or not isinstance(found.get("job_id"), str):
        return None
    return str(found["job_id"])


def notice_of(data: bytes) -> str | None:
    """The job whose failure these bytes tell of; None unless they are a sidecar just as this program writes them.
    Such a file may be removed: nobody has put anything of theirs into it."""
    try:
        found = Sidecar.model_validate_json(data)
        return found.job_id if found.status == "fail" and _bytes(found) == data else None
    except (ValueError, RecursionError):
        return None


def plain(text: str) -> str:
    """Text that any encoder takes: bytes of a name that are no UTF-8 are written as \\udcXX."""
    return text.encode("utf-8", "backslashreplace").decode()


def short(url: str) -> str:
    """An address as it is told: one that holds the data itself is cut after its type."""
    return f"{url[: url.index(',') + 1]}…" if url[:5].lower() == "data:" and "," in url[:200] else url


def task_id(text: str | None) -> int | str | None:
    """A task's id as the platform's JSON has it: a number where it is one."""
    if text is None:
        return None
    # Beyond 18 digits a number would not survive every reader of JSON.
    if len(text) <= 18 and text.isascii() and text.isdigit() and str(int(text)) == text:
        return int(text)
    return plain(text)
