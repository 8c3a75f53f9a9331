"""When refusals and faults stop being a job's own. Pure: counts what the platform said, in a row.

Serves two kinds of rows: refusals of a route (the same message on different sources: the route is wrong, not the
files) and temporary faults of submissions or polls (on different jobs, with no success between: it is the platform
that is unwell, and no job shall burn its attempts, or be held for its silence, on that).
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

IN_A_ROW: Final = 3
"""From DESIGN 4."""


@dataclass(slots=True)
class Row:
    """The last faults in a row, each with the job it met."""

    _last: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=IN_A_ROW))

    def add(self, job_id: str, message: str) -> bool:
        """One more; returns whether it is now the same on IN_A_ROW different jobs."""
        self._last = deque(((job, said) for job, said in self._last if job != job_id), maxlen=IN_A_ROW)
        self._last.append((job_id, message))
        return len(self._last) == IN_A_ROW and len({said for _, said in self._last}) == 1

    @property
    def jobs(self) -> int:
        """How many different jobs the row has met, up to IN_A_ROW."""
        return len(self._last)

    def end(self) -> None:
        """Something worked: the row is broken."""
        self._last.clear()
