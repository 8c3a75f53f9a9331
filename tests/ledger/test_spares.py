"""The task that a job leaves behind for a second one: once, by the table's ways, and not forgotten while it may pay."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import pytest
from sqlalchemy import Connection, select

from renderdrop.ledger import experience, line, moves, queries, quota, spares
from renderdrop.ledger.schema import history
from renderdrop.model import sidecar
from renderdrop.model.job import Job, Outcome, Output, Spare
from renderdrop.model.lifecycle import State, may

if TYPE_CHECKING:
    from tests.conftest import Books

LATER = "2026-11-22T15:00:00.000Z"
OUT = Output(0, "9", "Save", "http://platform/first.png")
LAGGING: Final[dict[str, Any]] = {
    "status": "pending",
    "lags_since": "2026-11-22T14:50:00.000Z",
    "error": "task 230 lags",
}


async def lagging(books: Books, path: str = "a.png", **changes: Any) -> Job:
    return await books.job(State.SUBMITTED, path, params={"prompt": "old"}, **{**LAGGING, **changes})


def second(c: Connection, job: Job) -> int:
    """The intent of a second task, as dispatch states it."""
    number = moves.begin_submission(
        c, job.id, LATER, cluster="GPU-A800", note="", workflow_id="99", version_id="7", params={"prompt": "new"},
        priority=0,
    )  # fmt: skip
    assert number is not None
    return number


def accepted(c: Connection, job: Job, number: int) -> None:
    moves.complete_body(c, number)
    moves.end_submission(c, number, LATER, Outcome.ACCEPTED, task_id="231")
    assert moves.move(c, job.id, State.SUBMITTING, State.SUBMITTED, LATER, task_id="231", submitted_at=LATER)


async def left(books: Books, at: State = State.QUEUED, path: str = "a.png") -> Job:
    """A job that has left its task 230 behind; its second one, 231, stands as far as `at`."""
    job = await lagging(books, path)

    def bring(c: Connection) -> None:
        assert spares.leave(c, job.id, "230", LATER, "it lags")
        if at is State.QUEUED:
            return
        number = second(c, job)
        if at is State.SUBMITTING:
            return
        accepted(c, job, number)
        if at is State.HELD:
            assert moves.move(c, job.id, State.SUBMITTED, State.HELD, LATER, "silent", error="silent")

    await books.ledger.write(bring)
    return await books.see(job)


async def whole_history(books: Books, job: Job) -> list[tuple[State | None, State]]:
    steps = await books.history(job)
    told = [step for step in steps if step[0] is not step[1]]
    assert all(a[1] is b[0] for a, b in itertools.pairwise(told))
    assert all(frm is None or may(frm, to) for frm, to in told)
    return steps


async def test_a_task_is_left_behind_and_its_job_goes_back_to_the_queue(books: Books) -> None:
    job = await left(books)
    assert (job.state, job.spare, job.error) == (State.QUEUED, Spare("230", "GPU-4090", LATER), "it lags")
    assert [s.left_at for s in job.submissions] == [LATER]
    assert (await whole_history(books, job))[-1] == (State.SUBMITTED, State.QUEUED)
    [followed] = await books.ledger.read(spares.left_behind)
    assert (followed.id, followed.task_id, followed.cluster, followed.left) == (job.id, "230", "GPU-4090", True)
    assert await books.ledger.read(queries.submitted) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "running"}, {"status": None}, {"lags_since": None}, {"rescued": True}, {"paid": True},
        {"task_id": "231"}, {"cluster": ""},
    ],
    ids=str,
)  # fmt: skip
async def test_nothing_is_left_behind_that_does_not_lag_or_was_before(changes: dict[str, Any], books: Books) -> None:
    job = await lagging(books, **changes)
    assert not await books.ledger.write(lambda c: spares.leave(c, job.id, "230", LATER, "it lags"))
    assert await books.see(job) == job


async def test_nothing_is_left_behind_once_an_answer_was_lost(books: Books) -> None:
    job = await books.job(State.SUBMITTING)

    def twice(c: Connection) -> None:
        moves.end_submission(c, job.submissions[0].id, LATER, Outcome.UNKNOWN)
        assert moves.move(c, job.id, State.SUBMITTING, State.QUEUED, LATER)
        accepted(c, job, second(c, job))
        assert moves.change(c, job.id, State.SUBMITTED, LATER, **LAGGING)

    await books.ledger.write(twice)
    assert not await books.ledger.write(lambda c: spares.leave(c, job.id, "231", LATER, "it lags"))
    assert (await books.see(job)).state is State.SUBMITTED


@pytest.mark.parametrize("state", sorted(set(State) - {State.SUBMITTED}))
async def test_only_a_job_that_is_with_the_platform_leaves_a_task_behind(state: State, books: Books) -> None:
    job = await books.job(state, **LAGGING, task_id="230")
    assert not await books.ledger.write(lambda c: spares.leave(c, job.id, "230", LATER, "it lags"))


@pytest.mark.parametrize("at", [State.QUEUED, State.SUBMITTING, State.SUBMITTED, State.HELD])
async def test_a_task_is_taken_back_from_wherever_the_second_one_is(at: State, books: Books) -> None:
    before = await lagging(books, "other.png")
    job = await left(books, at)
    assert await books.ledger.write(lambda c: spares.take_back(c, job.id, at, LATER, "why", attempts=2))
    now = await books.see(job)
    assert (now.state, now.task_id, now.cluster, now.spare, now.error) == (
        State.SUBMITTED, "230", "GPU-4090", None, "why",
    )  # fmt: skip
    assert (now.workflow_id, now.version_id, now.params) == ("1234", None, {"prompt": "old"})
    assert (now.times.submitted, now.status, now.attempts) == (before.times.submitted, "pending", 2)
    await whole_history(books, job)
    assert await books.ledger.read(spares.left_behind) == []
    # Once a second task came of it, the job had its chance.
    at_last = {"status": "pending", "lags_since": LATER}
    await books.ledger.write(lambda c: moves.change(c, job.id, State.SUBMITTED, LATER, **at_last))
    again = await books.ledger.write(lambda c: spares.leave(c, job.id, "230", LATER, "it lags"))
    assert again is (at in (State.QUEUED, State.SUBMITTING))


async def test_a_task_is_not_taken_back_by_whoever_believes_in_another_state_or_task(books: Books) -> None:
    job = await left(books, State.SUBMITTED)
    take = spares.take_back
    assert not await books.ledger.write(lambda c: take(c, job.id, State.QUEUED, LATER, ""))
    assert not await books.ledger.write(lambda c: take(c, job.id, State.SUBMITTED, LATER, "", of_task="230"))
    assert await books.see(job) == job
    other = await books.job(State.SUBMITTED, "b.png")
    assert not await books.ledger.write(lambda c: take(c, other.id, State.SUBMITTED, LATER, ""))


@pytest.mark.parametrize("at", [State.SUBMITTED, State.HELD])
async def test_the_first_task_wins_with_all_that_was_its_own(at: State, books: Books) -> None:
    job = await left(books, at)
    assert await books.ledger.write(lambda c: spares.begin(c, job.id, "230", LATER))
    assert await books.ledger.write(lambda c: spares.win(c, job.id, "230", LATER, "first", [OUT], [], 94.0))
    now = await books.see(job)
    assert (now.state, now.paid, now.task_id, now.cluster, now.outputs) == (
        State.RENDERED, True, "230", "GPU-4090", (OUT,),
    )  # fmt: skip
    assert (now.params, now.version_id, now.spare, now.error, now.progress) == (
        {"prompt": "old"}, None, None, None, 94.0,
    )  # fmt: skip
    assert now.times.submitted == job.times.queued
    assert (await whole_history(books, job))[-1] == (State.SUBMITTED, State.RENDERED)


@pytest.mark.parametrize("at", [State.QUEUED, State.SUBMITTING])
async def test_the_first_task_does_not_win_before_the_second_one_is_settled(at: State, books: Books) -> None:
    job = await left(books, at)
    assert not await books.ledger.write(lambda c: spares.win(c, job.id, "230", LATER, "", [OUT], [], None))
    assert await books.see(job) == job


async def test_a_second_task_that_comes_first_ends_the_matter(books: Books) -> None:
    job = await left(books, State.SUBMITTED)
    rendered: dict[str, Any] = {"paid": True, "finished_at": LATER}
    assert await books.ledger.write(
        lambda c: moves.move(c, job.id, State.SUBMITTED, State.RENDERED, LATER, of_task="231", **rendered)
    )
    now = await books.see(job)
    assert (now.task_id, now.spare) == ("231", None)
    for late in (
        lambda c: spares.win(c, job.id, "230", LATER, "", [OUT], [], None),
        lambda c: spares.lose(c, job.id, "230", LATER, "late"),
        lambda c: spares.begin(c, job.id, "230", LATER),
    ):
        assert not await books.ledger.write(late)
    assert await books.see(job) == now


async def test_what_a_look_at_one_task_tells_is_never_taken_for_the_other(books: Books) -> None:
    job = await left(books, State.SUBMITTED)
    for deed in (
        lambda c: moves.move(c, job.id, State.SUBMITTED, State.RENDERED, LATER, of_task="230", paid=True),
        lambda c: moves.change(c, job.id, State.SUBMITTED, LATER, of_task="230", progress=5.0),
    ):
        assert not await books.ledger.write(deed)
    assert await books.see(job) == job


@pytest.mark.parametrize("at", [State.QUEUED, State.SUBMITTING, State.SUBMITTED, State.HELD])
async def test_a_first_task_that_comes_to_nothing_is_forgotten_and_told(at: State, books: Books) -> None:
    job = await left(books, at)
    assert await books.ledger.write(lambda c: spares.lose(c, job.id, "230", LATER, "task 230 failed"))
    now = await books.see(job)
    assert (now.state, now.spare, now.task_id) == (at, None, job.task_id)
    assert (now.submissions[0].detail, now.submissions[0].task_id) == ("task 230 failed", "230")
    [told] = [s for s in await books.ledger.read(lambda c: queries.steps(c, job.id)) if s.note == "task 230 failed"]
    assert (told.frm, told.to) == (at, at)
    await whole_history(books, job)


@pytest.mark.parametrize("end", [State.FAILED, State.CANCELLED, State.RENDERED])
async def test_no_ended_job_follows_a_task_and_a_retry_may_leave_one_again(end: State, books: Books) -> None:
    job = await left(books)
    await books.ledger.write(lambda c: moves.move(c, job.id, State.QUEUED, end, LATER))
    assert await books.ledger.read(spares.left_behind) == []
    if end is State.RENDERED:
        return
    await books.ledger.write(lambda c: moves.retry(c, job.id, end, LATER))

    def again(c: Connection) -> bool:
        accepted(c, job, second(c, job))
        assert moves.change(c, job.id, State.SUBMITTED, LATER, **LAGGING)
        return spares.leave(c, job.id, "231", LATER, "it lags")

    assert await books.ledger.write(again)


async def test_a_start_forgets_which_tasks_lagged_and_nothing_else(books: Books) -> None:
    late, well = await lagging(books), await books.job(State.SUBMITTED, "well.png", error="a remark")
    behind = await left(books, State.QUEUED, "behind.png")
    both = await left(books, State.SUBMITTED, "both.png")
    await books.ledger.write(lambda c: moves.begin_anew(c, LATER))
    now = await books.see(late)
    assert (now.state, now.status, now.task_id, now.error) == (State.SUBMITTED, "pending", "230", None)
    assert [await books.see(job) for job in (well, behind, both)] == [well, behind, both]
    assert await books.ledger.read(lambda c: line.lagging(c, routes=["portrait"], but=())) is None
    assert not await books.ledger.write(lambda c: spares.leave(c, late.id, "230", LATER, "it lags"))


async def test_only_jobs_whose_second_task_was_not_sent_yet_are_told_as_such(books: Books) -> None:
    waits = await left(books)
    for number, state in enumerate((State.SUBMITTING, State.SUBMITTED, State.HELD)):
        await left(books, state, f"{number}.png")
    await books.job(State.QUEUED, "new.png")
    assert await books.ledger.read(spares.not_sent) == [waits]


async def test_both_tasks_count_where_tasks_with_the_platform_are_counted(books: Books) -> None:
    await left(books, State.SUBMITTED)
    await left(books, path="b.png")
    assert await books.ledger.read(lambda c: quota.in_flight(c, "portrait")) == 3
    assert await books.ledger.read(lambda c: quota.in_flight(c, "other")) == 0
    tasks = await books.ledger.read(experience.open_tasks)
    assert sorted((t.cluster, t.workflow) for t in tasks) == [
        ("GPU-4090", "1234"), ("GPU-4090", "1234"), ("GPU-A800", "99"),
    ]  # fmt: skip
    assert sorted(await books.ledger.read(queries.on_clusters)) == [("GPU-4090", "pending", 2), ("GPU-A800", "", 1)]


async def test_a_job_whose_first_task_lives_is_not_unsent(books: Books) -> None:
    await left(books)
    await books.job(State.QUEUED, "b.png")
    found = await books.ledger.read(queries.unfinished)
    assert sorted(job.unsent for job in found) == [False, True]


async def test_the_next_that_lags_is_the_one_that_was_sent_first(books: Books) -> None:
    late = await lagging(books, "late.png", submitted_at="2026-11-22T14:10:00.000Z")
    first = await lagging(books, "first.png", submitted_at="2026-11-22T14:00:00.000Z")
    await lagging(books, "once.png", rescued=True, submitted_at="2026-11-22T13:00:00.000Z")
    await lagging(books, "runs.png", status="running", submitted_at="2026-11-22T13:00:00.000Z")

    async def following(but: set[str]) -> str | None:
        found = await books.ledger.read(lambda c: line.lagging(c, routes=["portrait"], but=but))
        return None if found is None else found.id

    assert await following(set()) == first.id
    assert await following({first.id}) == late.id
    assert await following({first.id, late.id}) is None
    assert await books.ledger.read(lambda c: line.lagging(c, routes=["other"], but=())) is None


# What the sidecar says.


def warned(job: Job) -> list[str]:
    told = sidecar.Sidecar.model_validate_json(sidecar.write(job, success=True))
    return told.warnings


async def test_the_sidecar_tells_of_both_tasks_and_which_may_have_been_paid_for_too(books: Books) -> None:
    job = await left(books, State.SUBMITTED)
    [told] = warned(job)
    assert told == (
        "a second task (231 on GPU-A800) was begun after 42 min because task 230 was still pending on GPU-4090 while "
        "others ran; task 230 may have been paid for too"
    )
    await books.ledger.write(lambda c: spares.win(c, job.id, "230", LATER, "first", [OUT], [], None))
    now = await books.see(job)
    assert warned(now)[0].endswith("task 231 may have been paid for too")
    rows = sidecar.Sidecar.model_validate_json(sidecar.write(now, success=True)).submissions
    assert [(s.cluster, s.task_id, s.outcome) for s in rows] == [
        ("GPU-4090", 230, "accepted"), ("GPU-A800", 231, "accepted"),
    ]  # fmt: skip


async def test_where_no_second_task_was_begun_the_sidecar_tells_of_none(books: Books) -> None:
    refused = await left(books, State.SUBMITTING)

    def refuse(c: Connection) -> None:
        moves.end_submission(c, refused.submissions[-1].id, LATER, Outcome.REFUSED, "no")
        assert spares.take_back(c, refused.id, State.SUBMITTING, LATER, "no")
        # What a person has sent anew later is no second task either.
        assert moves.cancel(c, refused.id, State.SUBMITTED, LATER, "by hand")
        assert moves.retry(c, refused.id, State.CANCELLED, LATER)
        accepted(c, refused, second(c, refused))

    await books.ledger.write(refuse)
    assert warned(await books.see(refused)) == []
    assert warned(await left(books, path="b.png")) == []


def _retried(c: Connection, job: Job, frm: State) -> None:
    assert moves.cancel(c, job.id, frm, LATER, "by hand")
    assert moves.retry(c, job.id, State.CANCELLED, LATER)


def _released(c: Connection, job: Job, frm: State) -> None:
    assert moves.move(c, job.id, frm, State.HELD, LATER)
    assert moves.move(c, job.id, State.HELD, State.QUEUED, LATER)
    spares.start_afresh(c, job.id)


@pytest.mark.parametrize("sent_anew", [_retried, _released])
@pytest.mark.parametrize("came", [*Outcome, None])
async def test_what_a_person_has_sent_anew_is_no_second_task_unless_there_was_one(
    came: Outcome | None, sent_anew: Callable[[Connection, Job, State], None], books: Books
) -> None:
    job = await left(books, State.SUBMITTING)

    def bring(c: Connection) -> None:
        number = job.submissions[-1].id
        if came is not None:
            moves.end_submission(c, number, LATER, came, task_id="231" if came is Outcome.ACCEPTED else None)
        sent_anew(c, job, State.SUBMITTING)
        if came is None:  # its answer comes when its job is long on its way again
            moves.end_submission(c, number, LATER, Outcome.ACCEPTED, task_id="231")
        again = second(c, job)
        moves.end_submission(c, again, LATER, Outcome.ACCEPTED, task_id="232")
        assert moves.move(c, job.id, State.SUBMITTING, State.SUBMITTED, LATER, task_id="232", submitted_at=LATER)

    await books.ledger.write(bring)
    told = warned(await books.see(job))
    assert [text.partition(" begun after")[0] for text in told] == {
        Outcome.ACCEPTED: ["a second task (231 on GPU-A800) was"], None: ["a second task (231 on GPU-A800) was"],
        Outcome.UNKNOWN: ["a second task may have been"],
    }.get(came, [])  # fmt: skip


async def test_a_job_that_was_to_have_a_second_task_and_is_retried_tells_of_none(books: Books) -> None:
    job = await left(books)

    def again(c: Connection) -> None:
        _retried(c, job, State.QUEUED)
        accepted(c, job, second(c, job))

    await books.ledger.write(again)
    assert warned(await books.see(job)) == []


async def test_a_second_task_whose_answer_was_lost_is_told_as_such(books: Books) -> None:
    job = await left(books, State.SUBMITTING)

    def lose(c: Connection) -> None:
        moves.end_submission(c, job.submissions[-1].id, LATER, Outcome.UNKNOWN, "silence")
        assert spares.take_back(c, job.id, State.SUBMITTING, LATER, "silence")

    await books.ledger.write(lose)
    [told] = warned(await books.see(job))
    assert told.startswith("a second task may have been begun after 42 min because task 230")
    assert told.endswith("it may have been paid for too")


async def test_the_word_that_a_task_came_to_nothing_is_no_move(books: Books) -> None:
    job = await left(books, State.SUBMITTED)
    await books.ledger.write(lambda c: spares.lose(c, job.id, "230", LATER, "gone"))
    rows = await books.ledger.read(lambda c: c.execute(select(history).where(history.c.job_id == job.id)).all())
    assert rows[-1].from_state == rows[-1].to_state == State.SUBMITTED
