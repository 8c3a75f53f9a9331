"""What was experienced with clusters: how tasks ended, and what became of tries to have one. Pure.

Owns the rows that the ledger tells and from which decisions learn, so that these need not know the ledger.
"""

from typing import Final, NamedTuple

from renderdrop.model.job import Outcome

UPLOADED_AGAIN: Final = "its files are uploaded again"
"""How the words end with which a submission was refused, or its job went back to the queue, because the platform had
forgotten an upload: the one mark by which that is told from other refusals and other ways back."""
ADDRESS_UNSURE: Final = "it was not known yet whether the address is right"
"""The same of one that was refused as an unknown call, until it is known what that means."""


def blames(outcome: Outcome | None, detail: str) -> bool:
    """Whether what became of a submission is its cluster's fault: a refusal that is nobody else's. Asked when that
    happens and of the ledger alike, so that a new process thinks of the clusters as the old one did."""
    return outcome is Outcome.REFUSED and not detail.endswith((UPLOADED_AGAIN, ADDRESS_UNSURE))


class Ended(NamedTuple):
    """A task that the platform has ended. Times in seconds since 1970; `started` is None where it was never seen at
    work before its end."""

    job: str
    workflow: str
    cluster: str
    well: bool
    submitted: float
    started: float | None
    finished: float

    @property
    def seconds(self) -> float | None:
        """Between the looks that found it at work and ended; None where that is not known, or the clock was set back in
        between."""
        return None if self.started is None or self.started >= self.finished else self.finished - self.started


class Try(NamedTuple):
    """A submission to a cluster. Times in seconds since 1970; `outcome` and `answered` are None while it goes on;
    `detail` in the ledger's words; `left`: when its task was left behind for a second one, None = it was not."""

    job: str
    workflow: str
    cluster: str
    outcome: Outcome | None
    begun: float
    answered: float | None
    detail: str = ""
    left: float | None = None
