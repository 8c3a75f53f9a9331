"""Tasks that lag are told; those that were left behind are followed, and the first of two to come is used."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection
from structlog.testing import capture_logs
from tests.tracking.conftest import OUT, Followed, report

from renderdrop.ledger import moves, spares
from renderdrop.model.errors import Fault, Refused
from renderdrop.model.job import Job, Level, Outcome, Output, Remark
from renderdrop.model.lifecycle import State
from renderdrop.platform.reports import Report
from renderdrop.runtime.troubles import POLLS

SECOND = Output(0, "9", "Save", "http://platform/second.png")
SUCCESS = report("success", 94.0, outputs=(OUT,))
NO_FACE = report("fail", remarks=(Remark(Level.ERROR, "no face", "5", "F"),))
REMEMBERED = {"uploads": ["abc_a.png"], "remembered": True}
LOST = report("fail", remarks=(Remark(Level.ERROR, "Invalid image file: abc_a.png", "73", "Load"),))
VANISHED = Refused("任务不存在", "40400", 404)


class Said:
    """What the platform says of each task; pending, where nothing is said."""

    def __init__(self, followed: Followed, **answers: Report | Fault) -> None:
        self.answers = answers
        followed.answer = self

    async def __call__(self, task: str) -> Report | Fault:
        return self.answers.get(f"t{task}", report("pending"))


async def pair(followed: Followed, at: State = State.SUBMITTED, **changes: Any) -> Job:
    """A job that has left task 1 behind; its second one, task 2, stands as far as `at`."""
    job = await followed.books.job(State.SUBMITTED, task="1", status="pending", lags_since="2026", **changes)
    now = followed.clock.text()

    def bring(c: Connection) -> None:
        assert spares.leave(c, job.id, "1", now, "it lags")
        if at is State.QUEUED:
            return
        number = moves.begin_submission(
            c, job.id, now, cluster="GPU-A800", note="", workflow_id="1234", version_id=None, params={}, priority=0
        )
        assert number is not None
        if at is State.SUBMITTING:
            return
        moves.end_submission(c, number, now, Outcome.ACCEPTED, task_id="2")
        assert moves.move(c, job.id, State.SUBMITTING, State.SUBMITTED, now, task_id="2", submitted_at=now)
        if at is State.HELD:
            assert moves.move(c, job.id, State.SUBMITTED, State.HELD, now, error="silent")

    await followed.books.ledger.write(bring)
    await followed.track.take_up()
    return await followed.books.see(job)


async def rounds(followed: Followed, number: int = 1, after: float = 40.0) -> None:
    for _ in range(number):
        await followed.look(after=after)
        await followed.track.take_up()


# Which lag.


async def lagging(followed: Followed) -> tuple[Job, Said, list[dict[str, Any]]]:
    """A job whose task has been pending for long, while three others began elsewhere."""
    job = await followed.books.job(State.SUBMITTED, "late.png", task="1")
    for n in (11, 12, 13):
        await followed.books.job(State.SUBMITTED, f"{n}.png", task=str(n), cluster="GPU-A800")
    await followed.track.take_up()
    said = Said(followed, **dict.fromkeys(("t11", "t12", "t13"), report("running", 5.0)))
    with capture_logs() as logs:
        await rounds(followed, 8, after=30.0)
        assert (await followed.books.see(job)).error is None
        await rounds(followed, 4, after=30.0)
    return job, said, [dict(entry) for entry in logs if entry["event"] == "task_lags"]


async def test_a_task_that_lags_is_told_once_and_shown_for_as_long_as_it_does(followed: Followed) -> None:
    job, said, told = await lagging(followed)
    now = await followed.books.see(job)
    assert (now.state, now.status, now.spare) == (State.SUBMITTED, "pending", None)
    assert now.error is not None
    assert now.error.startswith("task 1 has been pending on GPU-4090 for ")
    assert "while 3 that were sent no earlier to GPU-A800 began within" in now.error
    [entry] = told
    assert (entry["job"], entry["task"], entry["cluster"]) == (job.id, "1", "GPU-4090")
    assert entry["reason"] == now.error
    assert await followed.books.history(job) == await followed.books.history(now)
    with capture_logs() as logs:
        await rounds(followed, 4)
        said.answers["t1"] = report("running", 5.0)
        await rounds(followed, 2)
    assert "task_lags" not in [entry["event"] for entry in logs]
    assert (await followed.books.see(job)).error is None
    lagging_now = await followed.books.ledger.read(lambda c: spares.leave(c, job.id, "1", "2026", ""))
    assert not lagging_now


async def test_a_task_that_lagged_and_has_ended_lags_no_more(followed: Followed) -> None:
    job, said, _ = await lagging(followed)
    said.answers["t1"] = SUCCESS
    await rounds(followed)
    now = await followed.books.see(job)
    assert (now.state, now.error, now.outputs) == (State.RENDERED, None, (OUT,))


async def test_what_nobody_asked_after_for_hours_does_not_lag(followed: Followed) -> None:
    job = await followed.books.job(State.SUBMITTED, "late.png", task="1")
    followed.clock.run(86400.0)  # the daemon was away
    for n in (11, 12, 13):
        await followed.books.job(State.SUBMITTED, f"{n}.png", task=str(n), cluster="GPU-A800")
    await followed.track.take_up()
    Said(followed, **dict.fromkeys(("t11", "t12", "t13"), report("running", 5.0)))
    await rounds(followed, 9, after=30.0)
    assert (await followed.books.see(job)).error is None
    await rounds(followed, 4, after=30.0)
    assert "has been pending" in str((await followed.books.see(job)).error)


async def test_a_clock_that_is_set_makes_no_task_late(followed: Followed) -> None:
    job = await followed.books.job(State.SUBMITTED, "late.png", task="1")
    for n in (11, 12, 13):
        await followed.books.job(State.SUBMITTED, f"{n}.png", task=str(n), cluster="GPU-A800")
    await followed.track.take_up()
    Said(followed, **dict.fromkeys(("t11", "t12", "t13"), report("running", 5.0)))
    followed.clock.wall = followed.clock.wall.replace(year=2027)
    await rounds(followed, 8, after=30.0)
    assert (await followed.books.see(job)).error is None


# Neither of two.


async def test_a_task_left_behind_for_a_second_one_that_is_never_sent_is_taken_back_and_then_a_person_decides(
    followed: Followed,
) -> None:
    """Its route may be paused by hand: `run --once` must not wait for it for ever."""
    job = await pair(followed, State.QUEUED)
    Said(followed)
    await rounds(followed, 28, after=60.0)
    assert (await followed.books.see(job)).state is State.QUEUED
    await rounds(followed, 4, after=60.0)
    now = await followed.books.see(job)
    assert (now.state, now.task_id, now.spare) == (State.SUBMITTED, "1", None)
    assert "task 1 on GPU-4090 was pending for 30 min more, in which no second one could be sent" in str(now.error)
    await rounds(followed, 34, after=60.0)
    assert (await followed.books.see(job)).state is State.HELD


async def test_a_second_task_that_is_being_sent_or_followed_is_waited_for(followed: Followed) -> None:
    sending = await pair(followed, State.SUBMITTING)
    Said(followed)
    await rounds(followed, 40, after=60.0)
    now = await followed.books.see(sending)
    assert (now.state, now.spare is not None) == (State.SUBMITTING, True)
    at = followed.clock.text()
    await followed.books.ledger.write(lambda c: moves.move(c, sending.id, State.SUBMITTING, State.QUEUED, at))
    await rounds(followed, 2, after=60.0)  # it may be sent anew: its silence begins now
    assert (await followed.books.see(sending)).state is State.QUEUED


# The first of two.


@pytest.mark.parametrize("at", [State.SUBMITTED, State.HELD])
async def test_the_first_task_is_used_if_it_comes_first(at: State, followed: Followed) -> None:
    job = await pair(followed, at)
    said = Said(followed, t1=report("running", 50.0), t2=report("running", 10.0))
    await rounds(followed, 2)
    assert (await followed.books.see(job)).task_id == "2"
    said.answers["t1"] = SUCCESS
    await rounds(followed)
    now = await followed.books.see(job)
    assert (now.state, now.task_id, now.cluster, now.outputs, now.paid) == (
        State.RENDERED, "1", "GPU-4090", (OUT,), True,
    )  # fmt: skip
    assert followed.woken == ["rendered"]
    followed.asked.clear()
    await rounds(followed, 3)
    assert followed.asked == []


async def test_the_second_task_is_used_if_it_comes_first(followed: Followed) -> None:
    job = await pair(followed)
    Said(followed, t2=report("success", outputs=(SECOND,)))
    await rounds(followed)
    now = await followed.books.see(job)
    assert (now.state, now.task_id, now.cluster, now.outputs) == (State.RENDERED, "2", "GPU-A800", (SECOND,))
    followed.asked.clear()
    Said(followed, t1=SUCCESS)
    await rounds(followed, 3)
    assert followed.asked == []
    assert await followed.books.see(job) == now


async def test_of_two_that_come_at_once_one_is_used_and_nothing_of_the_other(followed: Followed) -> None:
    job = await pair(followed)
    Said(followed, t1=SUCCESS, t2=report("success", outputs=(SECOND,)))
    await rounds(followed, 2)
    now = await followed.books.see(job)
    assert now.state is State.RENDERED
    assert (now.task_id, now.outputs) in [("1", (OUT,)), ("2", (SECOND,))]
    assert followed.woken == ["rendered"]


@pytest.mark.parametrize("answer", [report("running", 5.0), SUCCESS, NO_FACE], ids=["runs", "success", "fails"])
async def test_a_first_task_that_goes_on_before_the_second_was_sent_is_taken_back(
    answer: Report, followed: Followed
) -> None:
    job = await pair(followed, State.QUEUED)
    said = Said(followed)
    await rounds(followed, 2)
    assert (await followed.books.see(job)).state is State.QUEUED
    said.answers["t1"] = answer
    await rounds(followed)
    now = await followed.books.see(job)
    assert (now.state, now.task_id, now.spare) == (State.SUBMITTED, "1", None)
    await rounds(followed)
    became = {"running": State.SUBMITTED, "success": State.RENDERED, "fail": State.FAILED}[answer.status]
    assert (await followed.books.see(job)).state is became


async def test_while_the_second_one_is_on_the_wire_the_first_one_waits(followed: Followed) -> None:
    job = await pair(followed, State.SUBMITTING)
    Said(followed, t1=SUCCESS)
    await rounds(followed, 3)
    assert await followed.books.see(job) == job
    now = followed.clock.text()

    def refused(c: Connection) -> None:
        moves.end_submission(c, job.submissions[-1].id, now, Outcome.REFUSED)
        assert moves.move(c, job.id, State.SUBMITTING, State.QUEUED, now)

    await followed.books.ledger.write(refused)
    await rounds(followed, 3)
    assert (await followed.books.see(job)).outputs == (OUT,)


async def test_a_second_task_that_fails_gives_way_to_the_first_one(followed: Followed) -> None:
    job = await pair(followed)
    said = Said(followed, t2=NO_FACE)
    await rounds(followed)
    now = await followed.books.see(job)
    assert (now.state, now.task_id, now.cluster, now.spare) == (State.SUBMITTED, "1", "GPU-4090", None)
    assert "no face" in str(now.error)
    said.answers["t1"] = SUCCESS
    await rounds(followed)
    assert (await followed.books.see(job)).state is State.RENDERED


async def test_a_second_task_whose_upload_was_forgotten_is_no_reason_for_a_third(followed: Followed) -> None:
    job = await pair(followed, kind="graph")
    at = followed.clock.text()
    await followed.books.ledger.write(lambda c: moves.change(c, job.id, State.SUBMITTED, at, sent=REMEMBERED))
    Said(followed, t2=LOST)
    await rounds(followed)
    now = await followed.books.see(job)
    assert (now.state, now.task_id) == (State.SUBMITTED, "1")
    assert followed.woken == ["ended"]


@pytest.mark.parametrize("second_fails", [True, False])
async def test_a_task_that_was_taken_back_may_have_its_forgotten_upload_made_again_once(
    second_fails: bool, followed: Followed
) -> None:
    job = await pair(followed, State.SUBMITTED if second_fails else State.QUEUED, kind="graph", sent=REMEMBERED)
    said = Said(followed, **({"t2": NO_FACE} if second_fails else {"t1": report("running")}))
    await rounds(followed)
    assert (await followed.books.see(job)).task_id == "1"
    said.answers["t1"] = LOST
    await rounds(followed)
    now = await followed.books.see(job)
    assert (now.state, now.spare) == (State.QUEUED, None)
    at = followed.clock.text()

    def sent_again(c: Connection) -> None:
        begun = moves.begin_submission(
            c, job.id, at, cluster="GPU-4090", note="", workflow_id="1234", version_id=None, params={}, priority=0
        )
        assert begun is not None
        moves.end_submission(c, begun, at, Outcome.ACCEPTED, task_id="3")
        assert moves.move(c, job.id, State.SUBMITTING, State.SUBMITTED, at, task_id="3", sent=REMEMBERED)

    await followed.books.ledger.write(sent_again)
    await followed.track.take_up()
    said.answers["t3"] = LOST
    await rounds(followed)
    assert (await followed.books.see(job)).state is State.FAILED


@pytest.mark.parametrize("answer", [NO_FACE, report("success")], ids=["fails", "no media"])
async def test_a_first_task_that_comes_to_nothing_beside_the_second_is_forgotten(
    answer: Report, followed: Followed
) -> None:
    job = await pair(followed)
    said = Said(followed, t1=answer, t2=report("running", 5.0))
    with capture_logs() as logs:
        await rounds(followed)
    now = await followed.books.see(job)
    assert (now.state, now.task_id, now.spare) == (State.SUBMITTED, "2", None)
    assert "task 1, which was left behind on GPU-4090, came to nothing" in now.submissions[0].detail
    assert "spare_task_lost" in [entry["event"] for entry in logs]
    said.answers["t2"] = NO_FACE
    await rounds(followed)
    assert (await followed.books.see(job)).state is State.FAILED


async def test_a_first_task_that_vanishes_is_forgotten_and_no_person_is_asked(followed: Followed) -> None:
    job = await pair(followed)
    progress = iter(range(1, 100))

    async def answer(task: str) -> Report | Fault:
        return VANISHED if task == "1" else report("running", float(next(progress)))

    followed.answer = answer
    await rounds(followed, 30, after=9.0)
    now = await followed.books.see(job)
    assert (now.state, now.spare) == (State.SUBMITTED, None)
    assert "does not know it any more" in now.submissions[0].detail


async def test_the_silence_of_a_task_that_was_left_behind_holds_nobody(followed: Followed) -> None:
    job = await pair(followed)
    progress = iter(range(1, 1000))

    async def answer(task: str) -> Report:
        return report("pending") if task == "1" else report("running", float(next(progress)))

    followed.answer = answer
    await rounds(followed, 60)
    now = await followed.books.see(job)
    assert (now.state, now.spare is not None) == (State.SUBMITTED, True)


async def test_a_silent_second_task_holds_its_job_and_the_first_one_may_still_come(followed: Followed) -> None:
    job = await pair(followed)
    said = Said(followed)
    await rounds(followed, 50)
    now = await followed.books.see(job)
    assert (now.state, now.task_id, now.spare is not None) == (State.HELD, "2", True)
    said.answers["t1"] = SUCCESS
    await rounds(followed, 2)
    now = await followed.books.see(job)
    assert (now.state, now.task_id, now.outputs) == (State.RENDERED, "1", (OUT,))


async def test_a_cancelled_job_follows_neither(followed: Followed) -> None:
    job = await pair(followed)
    Said(followed, t1=SUCCESS, t2=SUCCESS)
    at = followed.clock.text()
    await followed.books.ledger.write(lambda c: moves.cancel(c, job.id, State.SUBMITTED, at, "by hand"))
    await followed.track.take_up()
    await rounds(followed, 3)
    assert (await followed.books.see(job)).state is State.CANCELLED
    assert followed.asked == []


async def test_after_a_restart_both_are_followed(followed: Followed) -> None:
    job = await pair(followed)
    Said(followed, t1=report("running"))
    await rounds(followed, 2)
    followed.track._watched.clear()
    followed.asked.clear()
    await followed.track.take_up()
    await rounds(followed, 2)
    assert set(followed.asked) == {"1", "2"}
    assert followed.troubles.of("platform", POLLS) is None
    assert (await followed.books.see(job)).state is State.SUBMITTED
