"""What a job that was being submitted when the power went has come to. Pure.

The ledger says how far the request had got: before `complete` was committed the last byte had not left,
so the platform cannot have accepted it; after it, nobody can tell, unless a refusal stands there already. Every
other state needs no decision: the stages simply find their jobs in the ledger and go on.
"""

from dataclasses import dataclass

from renderdrop.model.job import Job, Outcome, Submission
from renderdrop.model.lifecycle import State
from renderdrop.model.route import OnUnknown

NOT_SENT = "the daemon ended before the request had left; it is submitted again"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where the job goes, what its submission is recorded as, and the sentence for the history. `fact`: that sentence
    without what follows from it."""

    to: State
    outcome: Outcome
    sentence: str
    fact: str = ""


def after_crash(job: Job, on_unknown: OnUnknown) -> Verdict:
    """The verdict on a job found in `submitting` at start-up."""
    last = job.submissions[-1] if job.submissions else None
    if last is not None and last.outcome is Outcome.REFUSED:
        return Verdict(State.QUEUED, last.outcome, last.detail)
    if last is None or not last.complete:
        return Verdict(State.QUEUED, Outcome.NOT_SENT, NOT_SENT)
    return after_unknown(job.submissions[:-1], on_unknown, "the daemon ended before the platform's answer came")


def after_unknown(earlier: tuple[Submission, ...], on_unknown: OnUnknown, what: str) -> Verdict:
    """The verdict on a submission whose answer never came: once more at most, and only where the route allows it."""
    fact = f"{what}: it may be running and paid for"
    if on_unknown == "hold":
        return Verdict(
            State.HELD,
            Outcome.UNKNOWN,
            f"{what}: the task may be running and paid for. The route says hold: look at the platform's own page, "
            "then `release` it (renders once more) or `cancel` it",
            fact,
        )
    if any(s.outcome is Outcome.UNKNOWN for s in earlier):
        return Verdict(
            State.HELD,
            Outcome.UNKNOWN,
            f"{what}, and this is the second submission without an answer: it may have been paid for twice already. "
            "Look at the platform's own page, then `release` it (renders once more) or `cancel` it",
            fact,
        )
    return Verdict(State.QUEUED, Outcome.UNKNOWN, f"{fact}; it is submitted once more", fact)
