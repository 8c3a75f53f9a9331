"""The sidecar: what became of a job, as JSON beside its results (schema `renderdrop/sidecar/1`, DESIGN 5).

Owns the shape and how a job is written into it. No token, no path outside the share, no host name of ours:
sidecars travel with the files.
"""

import json
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from renderdrop import __version__
from renderdrop.model.job import Job, Level

SCHEMA: Final = "renderdrop/sidecar/1"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourcePart(_Part):
    """A dropped file that fed the job."""

    input: str = Field(description="the workflow's input that it fed")
    name: str = Field(description="bare file name as it was dropped")
    path: str = Field(description="path below the inbox as it was dropped")
    size: int = Field(description="bytes")
    sha256: str | None = Field(description="of the bytes that were sent; null when nothing was sent")


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
    cluster: str
    task_id: int | str | None
    outcome: Literal["accepted", "refused", "not_sent", "unknown"]


class Sidecar(_Part):
    """All that is known of a finished job."""

    schema_: Literal["renderdrop/sidecar/1"] = Field(alias="schema")
    job_id: str
    route: str
    kind: Literal["app"]
    status: Literal["success", "fail"]
    sources: list[SourcePart]
    workflow_id: str
    version_id: str | None
    cluster: str | None
    task_id: int | str | None
    params: dict[str, Any] = Field(description="the constants that were sent")
    outputs: list[OutputPart]
    warnings: list[str] = Field(description="warning texts of the workflow's nodes")
    errors: list[ErrorPart]
    times: TimesPart
    submissions: list[SubmissionPart] = Field(description="every try, the last one last; `unknown`: it may be paid for")
    derived_from: str | None = Field(
        description="the sidecar that lists a source as its output; null = dropped by hand"
    )
    version: str = Field(description="of renderdrop")


def sidecar_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12)."""
    schema = Sidecar.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA, **schema}


def write(job: Job, *, success: bool, delivered: str | None = None) -> bytes:
    """A job as its sidecar's bytes. `delivered`: the moment to be written as such."""
    failure = [] if success else [ErrorPart(message=plain(job.error or "failed"), node_id=None, title=None)]
    sidecar = Sidecar(
        schema=SCHEMA,
        job_id=job.id,
        route=job.route,
        kind="app",
        status="success" if success else "fail",
        sources=[
            SourcePart(
                input=s.input, name=plain(s.path.rpartition("/")[2]), path=plain(s.path), size=s.size, sha256=s.sha256
            )
            for s in job.sources
        ],
        workflow_id=job.workflow_id,
        version_id=job.version_id,
        cluster=job.cluster and plain(job.cluster),
        task_id=task_id(job.task_id),
        params={plain(key): plain(value) if isinstance(value, str) else value for key, value in job.params.items()},
        outputs=[
            OutputPart(
                file=plain(o.file or ""), node_id=plain(o.node_id), title=plain(o.title), url=plain(o.url), size=o.size,
                sha256=o.sha256, media_type=o.media_type and plain(o.media_type),
            )
            for o in job.outputs
            if success
        ],
        warnings=[plain(r.message) for r in job.remarks if r.level is Level.WARNING],
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
            SubmissionPart(at=s.at, cluster=plain(s.cluster), task_id=task_id(s.task_id), outcome=s.outcome.value)
            for s in job.submissions
            if s.outcome is not None
        ],
        derived_from=None,
        version=__version__,
    )  # fmt: skip
    return (json.dumps(sidecar.model_dump(by_alias=True), ensure_ascii=False, indent=2) + "\n").encode()


def belongs_to(data: bytes) -> str | None:
    """The job that a sidecar's bytes name; None when it is no sidecar of ours."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA or not isinstance(found.get("job_id"), str):
        return None
    return str(found["job_id"])


def plain(text: str) -> str:
    """Text that any encoder takes: bytes of a name that are no UTF-8 are written as \\udcXX."""
    return text.encode("utf-8", "backslashreplace").decode()


def task_id(text: str | None) -> int | str | None:
    """A task's id as the platform's JSON has it: a number where it is one."""
    if text is None:
        return None
    # Beyond 18 digits a number would not survive every reader of JSON.
    if len(text) <= 18 and text.isascii() and text.isdigit() and str(int(text)) == text:
        return int(text)
    return plain(text)
