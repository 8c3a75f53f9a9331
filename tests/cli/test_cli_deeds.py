"""`retry`, `release`, `cancel`: deeds on the ledger, each with its word on what happens next."""

from typing import TYPE_CHECKING, Any

import pytest

from renderdrop.ledger import engine, moves, queries
from renderdrop.model.job import Job, Outcome, Place, Role
from renderdrop.model.lifecycle import State
from renderdrop.model.wishes import Wishes

if TYPE_CHECKING:
    from tests.cli.conftest import Call, Desk

SENT = (State.SUBMITTING, State.SUBMITTED)


def read(desk: "Desk", job_id: str) -> Job:
    with engine.view(engine.ledger_path(desk.folder / "state")) as conn:
        found = queries.job(conn, job_id)
    assert found is not None
    return found


async def test_a_failed_job_runs_again(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png", State.FAILED, error="x", attempts=3)
    ended = await call("retry", "01a", "-c", desk.config)
    assert ended.code == 0
    assert "01a a.png: it is rendered again." in ended.out
    assert "renderdrop run" in ended.err
    job = read(desk, "01a")
    assert (job.state, job.error, job.attempts) == (State.QUEUED, None, 0)


async def test_what_is_paid_for_is_only_fetched_again(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png", *SENT, State.RENDERED, State.FAILED, task_id="7", paid=True)
    ended = await call("retry", "01a", "-c", desk.config)
    assert "paid for already" in ended.out
    assert read(desk, "01a").paid


async def test_all_failed_jobs_run_again_and_no_others(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png", State.FAILED)
    desk.job("01b", "b.png", State.FAILED)
    desk.job("01c", "c.png", State.CANCELLED)
    ended = await call("retry", "--failed", "-c", desk.config)
    assert ended.code == 0
    assert len(ended.out.splitlines()) == 2
    assert read(desk, "01c").state is State.CANCELLED
    nothing = await call("retry", "--failed", "-c", desk.config)
    assert (nothing.code, nothing.out) == (0, "")


@pytest.mark.parametrize("argv", [[], ["01a", "--failed"]])
async def test_retry_wants_jobs_or_all_failed_ones(argv: list[str], call: "Call", desk: "Desk") -> None:
    assert (await call("retry", *argv, "-c", desk.config)).code == 2


async def test_a_job_that_has_not_ended_is_not_retried(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png")
    ended = await call("retry", "01a", "-c", desk.config)
    assert ended.code == 1
    assert "has not ended" in ended.err


@pytest.mark.parametrize("place", [Place.DELETED, Place.GONE])
async def test_a_job_whose_source_is_gone_is_not_retried(place: Place, call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png", *SENT, State.RENDERED, State.DELIVERED)
    with desk.ledger() as conn:
        moves.record_source(conn, "01a", "a.png", place=place)
    ended = await call("retry", "01a", "-c", desk.config)
    assert ended.code == 1
    assert "Drop the file into the inbox" in ended.err
    assert read(desk, "01a").state is State.DELIVERED


async def test_a_source_that_somebody_took_out_of_failed_is_noticed(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png", State.FAILED, drop=False)
    with desk.ledger() as conn:
        moves.record_source(conn, "01a", "a.png", place=Place.FAILED, stored="a-2.png")
    ended = await call("retry", "01a", "-c", desk.config)
    assert ended.code == 1
    assert "not in failed/ any more" in ended.err
    (desk.home / "failed/a-2.png").write_bytes(b"x")
    assert (await call("retry", "01a", "-c", desk.config)).code == 0


async def test_a_file_of_a_wrong_kind_is_not_sent_by_a_retry(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "notes.txt", State.FAILED)
    ended = await call("retry", "01a", "-c", desk.config)
    assert ended.code == 1
    assert "an image" in ended.err
    assert read(desk, "01a").state is State.FAILED


async def test_one_unknown_job_among_several_changes_nothing(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png", State.FAILED)
    assert (await call("retry", "01a", "nope", "-c", desk.config)).code == 2
    assert read(desk, "01a").state is State.FAILED


async def test_a_held_job_with_a_task_is_asked_after_again(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png", *SENT, State.HELD, task_id="230", error="silent")
    ended = await call("release", "01a", "-c", desk.config)
    assert "task 230 is asked after again" in ended.out
    job = read(desk, "01a")
    assert (job.state, job.error, job.task_id) == (State.SUBMITTED, None, "230")


async def test_a_held_job_is_sent_once_more_where_that_is_asked_for(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png", *SENT, State.HELD, task_id="230", error="silent")
    ended = await call("release", "01a", "--resubmit", "-c", desk.config)
    assert "may be paid for twice" in ended.out
    assert read(desk, "01a").state is State.QUEUED


async def test_a_paid_job_is_never_sent_again_by_a_release(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png", *SENT, State.RENDERED, State.HELD, task_id="230", paid=True)
    ended = await call("release", "01a", "--resubmit", "-c", desk.config)
    assert "nothing is paid for anew" in ended.out
    assert read(desk, "01a").state is State.SUBMITTED


async def test_a_submission_without_an_answer_is_released_with_a_warning(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png")
    with desk.ledger() as conn:
        number = moves.begin_submission(
            conn, "01a", desk.at(), cluster="x", note="", workflow_id="1", version_id=None, params={}, priority=0
        )
        assert number is not None
        moves.end_submission(conn, number, desk.at(), Outcome.UNKNOWN)
        moves.move(conn, "01a", State.SUBMITTING, State.HELD, desk.at(), error="no answer")
    ended = await call("release", "01a", "-c", desk.config)
    assert "may be paid for twice" in ended.out
    assert read(desk, "01a").state is State.QUEUED


async def test_only_held_jobs_are_released(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png")
    ended = await call("release", "01a", "-c", desk.config)
    assert ended.code == 1
    assert "is not held" in ended.err


async def test_a_cancelled_task_may_go_on_and_bill(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png", *SENT, task_id="230")
    ended = await call("cancel", "01a", "-c", desk.config)
    assert ended.code == 0
    assert "task 230 may go on and be billed" in ended.out
    job = read(desk, "01a")
    assert job.state is State.CANCELLED
    assert "230" in (job.error or "")


def left_behind(desk: "Desk", *states: State) -> None:
    """A job that has left task 230 behind; its second one went through these states."""
    from renderdrop.ledger import spares

    desk.job("01a", "a.png")
    with desk.ledger() as conn:
        common: dict[str, Any] = {"note": "", "workflow_id": "1", "version_id": None, "params": {}, "priority": 0}
        number = moves.begin_submission(conn, "01a", desk.at(), cluster="GPU-4090", **common)
        assert number is not None
        moves.end_submission(conn, number, desk.at(), Outcome.ACCEPTED, task_id="230")
        lags = {"task_id": "230", "status": "pending", "lags_since": desk.at()}
        moves.move(conn, "01a", State.SUBMITTING, State.SUBMITTED, desk.at(), **lags)
        assert spares.leave(conn, "01a", "230", desk.at(), "it lags")
        frm = State.QUEUED
        for to in states:
            assert moves.move(conn, "01a", frm, to, desk.at(), task_id="231")
            frm = to


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ((), "the platform has no cancel call: task 230, which it had left behind, may go on and be billed"),
        (SENT, "task 231 may go on and be billed, and task 230, which it had left behind, may go on and be billed"),
        (SENT[:1], "it may render it and bill it, and task 230, which it had left behind, may go on and be billed"),
    ],
)
async def test_of_two_tasks_both_may_go_on_and_bill(
    states: tuple[State, ...], words: str, call: "Call", desk: "Desk"
) -> None:
    left_behind(desk, *states)
    shown = await call("show", "01a", "-c", desk.config)
    assert "left behind: task 230 on GPU-4090, since" in " ".join(shown.out.split())
    ended = await call("cancel", "01a", "-c", desk.config)
    assert words in " ".join(ended.out.split())
    assert (read(desk, "01a").state, read(desk, "01a").spare) == (State.CANCELLED, None)


async def test_a_release_keeps_both_tasks_and_a_fresh_try_neither(call: "Call", desk: "Desk") -> None:
    left_behind(desk, *SENT, State.HELD)
    assert (await call("release", "01a", "-c", desk.config)).code == 0
    job = read(desk, "01a")
    assert (job.state, job.task_id, job.spare is not None) == (State.SUBMITTED, "231", True)
    with desk.ledger() as conn:
        moves.move(conn, "01a", State.SUBMITTED, State.HELD, desk.at())
    assert (await call("release", "01a", "--resubmit", "-c", desk.config)).code == 0
    job = read(desk, "01a")
    assert (job.state, job.spare) == (State.QUEUED, None)


async def test_a_queued_job_is_cancelled_without_a_word_of_money(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png")
    ended = await call("cancel", "01a", "-c", desk.config)
    assert "bill" not in ended.out
    assert "failed/" in ended.out


async def test_what_has_ended_is_not_cancelled_but_the_others_are(call: "Call", desk: "Desk") -> None:
    desk.job("01a", "a.png", State.FAILED)
    desk.job("01b", "b.png", State.HELD)
    ended = await call("cancel", "01a", "01b", "-c", desk.config)
    assert ended.code == 1
    assert "has ended already" in ended.err
    assert read(desk, "01b").state is State.CANCELLED


TWO = 'workflow_id = "88"\nclusters = ["GPU-A800"]\ninputs = { input_image = "image", input_video = "video" }\n'


def bundle(desk: "Desk", *ids: str, **changes: str) -> None:
    """Jobs made of two files and a ticket."""
    desk.write(whole=TWO)
    for name in ("clip.jpg", "clip.mp4", "clip.job.toml"):
        desk.drop(name)
    sources = (
        desk.source("clip.jpg"), desk.source("clip.mp4", "input_video"), desk.source("clip.job.toml", "", Role.TICKET),
    )  # fmt: skip
    made = [(job_id, Wishes(label=f"seed-{n}" if len(ids) > 1 else "")) for n, job_id in enumerate(ids, 1)]
    desk.adopt(*made, sources=sources, bundle="clip", **changes)


async def test_a_job_that_was_refused_for_its_ticket_is_looked_at_again(call: "Call", desk: "Desk") -> None:
    bundle(desk, "01a", refusal="clip.job.toml: sead may not be set here")
    shown = await call("show", "01a", "-c", desk.config)
    assert "looked at again" in shown.out
    ended = await call("retry", "01a", "-c", desk.config)
    assert ended.code == 0
    assert "its files are looked at again, and rendered if nothing is wrong with them any more" in ended.out
    job = read(desk, "01a")
    assert (job.state, job.waiting_for is not None) == (State.QUEUED, True)


async def test_a_file_of_a_wrong_kind_is_looked_at_again_where_the_intake_refused_it(
    call: "Call", desk: "Desk"
) -> None:
    desk.drop("notes.txt")
    desk.adopt(("01a", Wishes()), sources=(desk.source("notes.txt", ""),), refusal="this folder takes an image")
    assert (await call("retry", "01a", "-c", desk.config)).code == 0


async def test_a_bundle_of_which_a_file_is_gone_is_not_retried(call: "Call", desk: "Desk") -> None:
    bundle(desk, "01a")
    with desk.ledger() as conn:
        moves.cancel(conn, "01a", State.QUEUED, desk.at(), "no")
    (desk.home / "inbox/clip.mp4").unlink()
    ended = await call("retry", "01a", "-c", desk.config)
    assert ended.code == 1
    assert "its source clip.mp4 is not in inbox/ any more" in ended.err
    desk.drop("clip.mp4")
    assert (await call("retry", "01a", "-c", desk.config)).code == 0


async def test_a_job_that_waits_for_partners_can_be_cancelled(call: "Call", desk: "Desk") -> None:
    bundle(desk, "01a", waiting_for="mask")
    ended = await call("cancel", "01a", "-c", desk.config)
    assert "its files go to failed/ with a notice" in ended.out
    assert read(desk, "01a").state is State.CANCELLED


async def test_the_files_of_several_jobs_wait_for_the_last_of_them(call: "Call", desk: "Desk") -> None:
    bundle(desk, "01a", "01b", "01c")
    ended = await call("cancel", "01a", "01b", "-c", desk.config)
    assert "01a clip.jpg (seed-1): cancelled; its files wait for 01b, 01c, made of the same." in ended.out
    assert "01b clip.jpg (seed-2): cancelled; its files wait for 01c, made of the same." in ended.out
    ended = await call("cancel", "01c", "-c", desk.config)
    assert "its files go to failed/ with a notice" in ended.out


async def test_the_files_of_several_jobs_go_to_done_with_one_that_was_delivered(call: "Call", desk: "Desk") -> None:
    bundle(desk, "01a", "01b")
    with desk.ledger() as conn:
        frm = State.QUEUED
        for to in (*SENT, State.RENDERED, State.DELIVERED):
            moves.move(conn, "01a", frm, to, desk.at())
            frm = to
    ended = await call("cancel", "01b", "-c", desk.config)
    assert "its files go the way of the jobs of the same that were delivered" in ended.out
