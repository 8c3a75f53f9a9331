"""A job and what hangs on it, as values: what the ledger stores and the stages pass around.

Owns: the shapes. Times are UTC, ISO 8601 with milliseconds, as text; sizes are bytes; paths are
below their root, `str` with surrogateescape. Nothing here may know how any of it is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from renderdrop.model.lifecycle import State


class Place(StrEnum):
    """Where a source lies now."""

    INBOX = "inbox"
    DONE = "done"
    FAILED = "failed"
    DELETED = "deleted"
    """`after = "delete"`: unlinked once the delivery was on disk."""
    GONE = "gone"
    """Somebody took it away, or put another file in its place."""


class Outcome(StrEnum):
    """What became of one submission."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


class Level(StrEnum):
    """The platform's word for a row that is no media."""

    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Source:
    """A dropped file that feeds a job."""

    input: str
    path: str
    """Below the inbox, as it was dropped; it stays the source's name even when the file was moved."""
    size: int
    mtime_ns: int
    sha256: str | None = None
    place: Place = Place.INBOX
    stored: str | None = None
    """Below done/ or failed/: where archiving puts it. Committed before the rename."""
    filed: bool = False
    """Archiving has nothing left to do."""


@dataclass(frozen=True, slots=True)
class Output:
    """A media file that the platform rendered."""

    position: int
    node_id: str
    title: str
    url: str
    file: str | None = None
    """Bare name in the outbox; chosen and committed before anything is published."""
    size: int | None = None
    sha256: str | None = None
    media_type: str | None = None
    fetched: bool = False
    """Whole and fsynced in staging, or already published."""


@dataclass(frozen=True, slots=True)
class Remark:
    """A warning or an error text of one of the workflow's nodes."""

    level: Level
    message: str
    node_id: str
    title: str


@dataclass(frozen=True, slots=True)
class Submission:
    """One try to get a task. `outcome` None: the answer is still awaited (or was, when the power went)."""

    id: int
    at: str
    cluster: str
    task_id: str | None
    outcome: Outcome | None
    detail: str
    complete: bool
    """The last byte of the body was about to go: from here on the platform may have accepted it."""


@dataclass(frozen=True, slots=True)
class Step:
    """A row of a job's history."""

    at: str
    frm: State | None
    to: State
    note: str


@dataclass(frozen=True, slots=True)
class Times:
    """When what happened to a job; None = not yet."""

    seen: str | None = None
    queued: str | None = None
    submitted: str | None = None
    started: str | None = None
    finished: str | None = None
    delivered: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One errand: its sources, parameters, results."""

    id: str
    route: str
    kind: str
    state: State
    priority: int
    attempts: int
    """How many of the route's attempts temporary faults have burnt."""
    workflow_id: str
    version_id: str | None
    params: Mapping[str, Any]
    cluster: str | None
    task_id: str | None
    paid: bool
    """The task ended in success: whatever happens now, its result is fetched, not rendered again."""
    status: str | None
    progress: float | None
    node: str | None
    error: str | None
    """Why it failed or is held; for a job that goes on, the last trouble."""
    base: str | None
    """The base name of its files in the outbox; committed before anything is published."""
    created: str
    updated: str
    times: Times
    sources: tuple[Source, ...] = ()
    outputs: tuple[Output, ...] = ()
    remarks: tuple[Remark, ...] = ()
    submissions: tuple[Submission, ...] = field(default=())

    @property
    def source(self) -> Source:
        """The first source: the one that names the results."""
        return self.sources[0]

    @property
    def folder(self) -> str:
        """The sub-folder of the inbox it was dropped in, mirrored in outbox, done and failed ("" = none)."""
        return self.source.path.rpartition("/")[0]
