"""What is remembered of a task while it is followed. Owns no decision: `track` reads and writes it."""

from dataclasses import dataclass


@dataclass(slots=True)
class Watched:
    """A task being followed. `changed_at`, of its last news, counts seconds of hearing. `left`: its job has left it
    behind for a second one."""

    job_id: str
    route: str
    kind: str
    task_id: str
    changed_at: float
    cluster: str = ""
    left: bool = False
    status: str | None = None
    progress: float | None = None
    node: str | None = None
    failures: int = 0
    refused: int = 0
    """Looks in a row that were refused because there is no such task."""
    refused_since: float = 0.0
    strange: frozenset[str] = frozenset()
    heard: bool = False
    """Whether the last look was answered."""
    lags: bool = False
    """The ledger says so."""
    told: bool = False
    """And so does the log."""

    @property
    def key(self) -> str:
        """Its name among all that are followed: a job may have two."""
        return f"{self.job_id} left" if self.left else self.job_id
