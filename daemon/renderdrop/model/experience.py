"""What was experienced with clusters: how tasks ended, and what became of tries to have one. Pure.

Owns the rows that the ledger tells and from which decisions learn, so that these need not know the ledger.
"""

from typing import NamedTuple

from renderdrop.model.job import Outcome


class Ended(NamedTuple):
    """A task that the platform has ended. Times in seconds since 1970; `started` is None where it was never seen at
    work before its end; `at` is its end as the ledger writes it, for `since`."""

    job: str
    workflow: str
    cluster: str
    well: bool
    submitted: float
    started: float | None
    finished: float
    at: str


class Try(NamedTuple):
    """A submission to a cluster. Times in seconds since 1970; `outcome` and `answered` are None while it goes on."""

    job: str
    workflow: str
    cluster: str
    outcome: Outcome | None
    begun: float
    answered: float | None
