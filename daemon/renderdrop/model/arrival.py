"""Settled files on their way to become jobs, as values: what the intake asks of the ledger, and what it is told."""

from dataclasses import dataclass

from renderdrop.model.job import Source
from renderdrop.model.wishes import Wishes


@dataclass(frozen=True, slots=True)
class Arrival:
    """Settled files that are to become a job, or one for each combination of a matrix (`jobs`: id and wishes).

    `waiting_for`: what is still missing, so that the job is not sent. `refusal`: why it must never be; it fails at
    once. `priority` None: the route's.
    """

    jobs: tuple[tuple[str, Wishes], ...]
    sources: tuple[Source, ...]
    seen_at: str
    priority: int | None = None
    bundle: str | None = None
    waiting_for: str | None = None
    refusal: str | None = None
    derived_from: str | None = None

    @property
    def job_id(self) -> str:
        """The first job's; it names the arrival."""
        return self.jobs[0][0]


@dataclass(frozen=True, slots=True)
class Earlier:
    """What was said of a former job, to be taken away when its source came back from `stored` below failed/."""

    job_id: str
    stored: str
    told: str
    """Below failed/: what its two notices are named after."""
    base: str | None = None
    """The name under which the end of a chain was told of the failure."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """What became of an arrival: its jobs, since when they wait (ISO 8601), and what was said of its files before."""

    jobs: tuple[str, ...]
    since: str
    earlier: tuple[Earlier, ...] = ()
