"""What the platform says of one task when it is polled.

Owns: a task's words and figures (status, progress, outputs), built from the farm's facts. Pure; must
never render, wait or look at a clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from renderdrop.sandbox.farm import Work
from renderdrop.sandbox.workflows import WorkflowSpec

AT_SUCCESS: Final = 94
"""The platform's own page shows 94 % beside `success`: whoever waits for 100 waits for ever."""

Kind = Literal["app", "graph", "model"]

_NODES: Final = ((1, "Load Image 加载图像"), (3, "KSampler 🎨"), (8, "VAE Decode"), (9, "Save Image 保存图像"))


@dataclass(frozen=True, slots=True)
class Upload:
    """One file as it came, by a form or fetched; `path` is where its bytes lie."""

    name: str
    filename: str
    content_type: str
    size: int
    sha256: str
    path: str

    @property
    def media(self) -> str:
        """Its class by its media type: image, video, audio, or another word."""
        media = self.content_type.split(";")[0].strip().lower()
        return "video" if media == "application/mxf" else media.split("/")[0]


@dataclass(frozen=True, slots=True)
class Output:
    """One file that a task made; `filename` is its name in the URL, `path` where its bytes lie."""

    filename: str
    size: int
    sha256: str
    url: str
    path: str


@dataclass(slots=True)
class Task:
    """One accepted submission and what became of it."""

    task_id: int
    workflow_id: str
    version_id: str
    workflow: WorkflowSpec
    fields: dict[str, str]
    files: tuple[Upload, ...]
    work: Work
    accepted_at: float
    """Wall clock, seconds since 1970."""
    kind: Kind = "app"
    detail: Mapping[str, Any] = field(default_factory=dict)
    """What the ledger tells of this kind beside: the graph; the model and its parameters."""
    urls: tuple[str, ...] = ()
    """Pictures to be fetched before it can be rendered; they become its files."""
    doomed: str = ""
    """Why it will fail although its workflow would not: a fault that was asked for."""
    status: str = ""
    """`success` or `fail` once it has ended."""
    rows: list[dict[str, str]] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    polls: int = 0

    def word(self) -> str:
        """pending, running, success or fail. A run that has ended is running until its outputs are there."""
        return self.status or ("pending" if self.work.started_at is None else "running")

    def polled(self, now: float) -> dict[str, Any]:
        """The poll's `data`. The first poll of a pending task has no progress yet, as the page allows for."""
        self.polls += 1
        word = self.word()
        progress = None if word == "pending" and self.polls == 1 else self._progress(word, now)
        return {"status": word, "progress": progress, "outputs": list(self.rows) if self.status else []}

    def _progress(self, word: str, now: float) -> dict[str, Any]:
        node: dict[str, Any] = {"id": 0, "title": "Unknown Node", "progress": 0}
        total = {"pending": 0, "success": AT_SUCCESS, "fail": AT_SUCCESS // 2}.get(word)
        if total is None:
            done = min(self.work.done(now), 0.999)
            place, within = divmod(done * len(_NODES), 1)
            number, title = _NODES[int(place)]
            node = {"id": number, "title": title, "progress": int(within * 100)}
            total = int(done * AT_SUCCESS)
        return {"curr_node": node, "total_progress": total}

    def entry(self) -> dict[str, Any]:
        """The task as the ledger tells it."""
        return {
            "task_id": self.task_id,
            "kind": self.kind,
            "workflow_id": self.workflow_id,
            "version_id": self.version_id,
            "cluster": self.work.cluster,
            "fields": dict(self.fields),
            "files": [
                {
                    "name": upload.name,
                    "filename": upload.filename,
                    "content_type": upload.content_type,
                    "size": upload.size,
                    "sha256": upload.sha256,
                }
                for upload in self.files
            ],
            "status": self.word(),
            "accepted_at": self.accepted_at,
            "polls": self.polls,
            "outputs": [
                {"filename": out.filename, "size": out.size, "sha256": out.sha256, "url": out.url}
                for out in self.outputs
            ],
            **self.detail,
        }
