"""What a job that was being submitted has come to, as a table."""

import dataclasses

import pytest

from renderdrop.model.job import Job, Outcome, Source, Submission, Times
from renderdrop.model.lifecycle import State, may
from renderdrop.model.route import OnUnknown
from renderdrop.runtime.recovery import after_crash, after_unknown

AT = "2026-11-22T14:18:00.000Z"
JOB = Job(
    id="j", route="r", kind="app", state=State.SUBMITTING, priority=0, attempts=0, workflow_id="1", version_id=None,
    params={}, cluster="A", task_id=None, paid=False, status=None, progress=None, node=None, error=None, base=None,
    created=AT, updated=AT, times=Times(), sources=(Source("i", "a.png", 1, 1),),
)  # fmt: skip
REFUSED = Submission(1, AT, "A", None, Outcome.REFUSED, "the platform refused it: no", True)
NOT_SENT = Submission(2, AT, "A", None, Outcome.NOT_SENT, "", False)
UNKNOWN = Submission(3, AT, "A", None, Outcome.UNKNOWN, "", True)
BEGUN = Submission(9, AT, "A", None, None, "", False)
WHOLE = Submission(9, AT, "A", None, None, "", True)

TABLE: list[tuple[tuple[Submission, ...], OnUnknown, State, Outcome]] = [
    ((), "resubmit", State.QUEUED, Outcome.NOT_SENT),
    ((BEGUN,), "resubmit", State.QUEUED, Outcome.NOT_SENT),
    ((BEGUN,), "hold", State.QUEUED, Outcome.NOT_SENT),
    ((UNKNOWN, BEGUN), "resubmit", State.QUEUED, Outcome.NOT_SENT),
    ((WHOLE,), "resubmit", State.QUEUED, Outcome.UNKNOWN),
    ((WHOLE,), "hold", State.HELD, Outcome.UNKNOWN),
    ((REFUSED,), "hold", State.QUEUED, Outcome.REFUSED),
    ((UNKNOWN, REFUSED), "resubmit", State.QUEUED, Outcome.REFUSED),
    ((REFUSED, NOT_SENT, WHOLE), "resubmit", State.QUEUED, Outcome.UNKNOWN),
    ((UNKNOWN, WHOLE), "resubmit", State.HELD, Outcome.UNKNOWN),
    ((UNKNOWN, NOT_SENT, WHOLE), "resubmit", State.HELD, Outcome.UNKNOWN),
    ((UNKNOWN, WHOLE), "hold", State.HELD, Outcome.UNKNOWN),
]


@pytest.mark.parametrize(("submissions", "on_unknown", "to", "outcome"), TABLE)
def test_a_request_that_was_not_whole_is_sent_again_and_a_whole_one_at_most_once(
    submissions: tuple[Submission, ...], on_unknown: OnUnknown, to: State, outcome: Outcome
) -> None:
    verdict = after_crash(dataclasses.replace(JOB, submissions=submissions), on_unknown)
    assert (verdict.to, verdict.outcome) == (to, outcome)
    assert may(State.SUBMITTING, verdict.to)
    assert len(verdict.sentence.splitlines()) == 1
    if to is State.HELD:
        assert "release" in verdict.sentence
        assert "cancel" in verdict.sentence
    if outcome is Outcome.UNKNOWN:
        assert "paid for" in verdict.sentence


def test_what_was_unknown_once_is_never_sent_a_third_time() -> None:
    earlier: tuple[Submission, ...] = ()
    verdicts = []
    for _ in range(3):
        verdicts.append(after_unknown(earlier, "resubmit", "no answer").to)
        earlier = (*earlier, UNKNOWN)
    assert verdicts == [State.QUEUED, State.HELD, State.HELD]
