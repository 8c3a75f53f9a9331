"""A job and what hangs on it, as values: what the ledger stores and the stages pass around.

Owns: the shapes. Times are UTC, ISO 8601 with milliseconds, as text; sizes are bytes; paths are
below their root, `str` with surrogateescape. Nothing here may know how any of it is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from renderdrop.model.lifecycle import State
from renderdrop.model.names import split_ext
from renderdrop.model.route import Kind, Value
from renderdrop.model.wishes import Wishes


class Place(StrEnum):
    """Where a source lies now."""

    INBOX = "inbox"
    DONE = "done"
    FAILED = "failed"
    DELETED = "deleted"
    """`after = "delete"`: unlinked once the delivery was on disk."""
    GONE = "gone"
    """Somebody took it away, or put another file in its place."""


class Role(StrEnum):
    """What a source is to its job."""

    FILE = "file"
    """It is sent."""
    TEXT = "text"
    """Its content became a parameter (a text, or the address in a `.url`); the file itself is not sent."""
    TICKET = "ticket"
    """It carries wishes for the job."""


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
    role: Role = Role.FILE
    told: str | None = None
    """The path below failed/ that its two notices are named after, once they were decided on."""


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
class Constant:
    """A file of the operator's that was sent along; `name` is bare, its folder is nobody's business."""

    input: str
    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What else of the accepted request has to be known later: the graph's hash, constant files, and for graphs the
    names under which the platform keeps the uploads (`remembered`: some of them were uploaded for an earlier job)."""

    graph_sha256: str | None = None
    constants: tuple[Constant, ...] = ()
    uploads: tuple[str, ...] = ()
    remembered: bool = False


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
    left_at: str | None = None
    """When its task was left behind, still pending, for a second one elsewhere."""


@dataclass(frozen=True, slots=True)
class Spare:
    """The task that a job has left behind for a second one, and that is still followed. `at`: since when."""

    task_id: str
    cluster: str
    at: str


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
    kind: Kind
    state: State
    priority: int
    attempts: int
    """How many of the route's attempts temporary faults have burnt."""
    workflow_id: str
    version_id: str | None
    params: Mapping[str, Value]
    """Those of the last submission; before the first, those that it would have by the settings of its arrival."""
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
    arrival: str = ""
    """The id that all jobs made of the same files share (a matrix makes several): their source is archived once."""
    wishes: Wishes = field(default_factory=Wishes)
    sent: Sent = field(default_factory=Sent)
    bundle: str | None = None
    """Below the inbox: a folder bundle's folder, or the common stem of a stem bundle; None for a single file."""
    waiting_for: str | None = None
    """The inputs that its bundle still lacks; such a job is not sent."""
    derived_from: str | None = None
    """Below the inbox: the sidecar that lists a source as its output (chained routes)."""
    duplicate_of: str | None = None
    """The job whose results this one shares, because it would have rendered the very same."""
    spare: Spare | None = None

    @property
    def source(self) -> Source:
        """The first source: the one that names the results of a single file."""
        # Not by way of `inputs`: a folder of 10,000 files asks this for each of them.
        return next((s for s in self.sources if s.role is not Role.TICKET), self.sources[0])

    @property
    def inputs(self) -> tuple[Source, ...]:
        """The sources without the tickets."""
        return tuple(s for s in self.sources if s.role is not Role.TICKET)

    @property
    def tickets(self) -> tuple[Source, ...]:
        """The tickets that came with it."""
        return tuple(s for s in self.sources if s.role is Role.TICKET)

    @property
    def in_folder(self) -> bool:
        """Whether its sources are a folder bundle, which moves as a folder."""
        return self.bundle is not None and self.source.path.startswith(f"{self.bundle}/")

    @property
    def folder(self) -> str:
        """The sub-folder of the inbox it was dropped in, mirrored in outbox, done and failed ("" = none)."""
        return (self.bundle or self.source.path).rpartition("/")[0]

    @property
    def name(self) -> str:
        """What people call the thing that was dropped: a file's name, a bundle's stem or folder."""
        return (self.bundle or self.source.path).rpartition("/")[2]

    @property
    def stem(self) -> str:
        """What names its results."""
        return self.name if self.bundle is not None else split_ext(self.name)[0]
