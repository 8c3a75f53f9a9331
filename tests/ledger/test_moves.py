"""Every write to the ledger: guarded, told in the history at once, and forgetful of nothing that was paid for."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Connection, func, select

from renderdrop.ledger import moves, queries
from renderdrop.ledger.schema import history, jobs
from renderdrop.ledger.store import Ledger
from renderdrop.model.job import Level, Outcome, Output, Place, Remark, Source
from renderdrop.model.lifecycle import MOVES, State

if TYPE_CHECKING:
    from tests.conftest import Books

AT = "2026-11-22T14:18:00.000Z"
LATER = "2026-11-22T15:00:00.000Z"


@pytest.mark.parametrize(
    "path",
    ["caf\udce9.png", "two\nlines.png", "\udcff/\udcfe", "😀/猫.png", "e\u0301", "n" * 4000],
    ids=lambda p: ascii(p)[:20],
)
async def test_every_path_survives_byte_for_byte(path: str, books: Books) -> None:
    job = await books.job(State.RENDERED, path, base=path)
    await books.ledger.write(lambda c: moves.record_source(c, job.id, path, stored=path, sha256="ab"))
    await books.ledger.write(lambda c: moves.record_output(c, job.id, 0, file=path))
    again = await books.see(job)
    assert [
        os.fsencode(p or "") for p in (again.source.path, again.source.stored, again.base, again.outputs[0].file)
    ] == [os.fsencode(path)] * 4
    assert again.source.sha256 == "ab"
    known = await books.ledger.read(lambda c: queries.known_paths(c, "portrait", [path, "other"]))
    assert [os.fsencode(p) for p in known] == [os.fsencode(path)]


# the guarded move


@pytest.mark.parametrize("frm", State)
@pytest.mark.parametrize("to", State)
async def test_no_job_goes_where_the_table_does_not_lead(frm: State, to: State, books: Books) -> None:
    job = await books.job(frm)
    if to in MOVES[frm]:
        assert await books.ledger.write(lambda c: moves.move(c, job.id, frm, to, LATER, "why"))
        assert (await books.see(job)).state is to
        assert (await books.history(job))[-1] == (frm, to)
        assert (await books.see(job)).updated == LATER
    else:
        before = await books.history(job)
        with pytest.raises(ValueError, match=f"{frm} to {to}"):
            await books.ledger.write(lambda c: moves.move(c, job.id, frm, to, LATER))
        assert (await books.see(job)).state is frm
        assert await books.history(job) == before


async def test_of_two_movers_one_wins_and_the_other_changes_nothing(books: Books) -> None:
    job = await books.job()
    first = await books.ledger.write(lambda c: moves.move(c, job.id, State.QUEUED, State.CANCELLED, AT, error="mine"))
    second = await books.ledger.write(lambda c: moves.move(c, job.id, State.QUEUED, State.FAILED, LATER, error="yours"))
    assert (first, second) == (True, False)
    now = await books.see(job)
    assert (now.state, now.error, now.updated) == (State.CANCELLED, "mine", AT)
    assert len(await books.history(job)) == 2


async def test_a_move_of_a_job_that_does_not_exist_moves_nothing(ledger: Ledger) -> None:
    assert not await ledger.write(lambda c: moves.move(c, "nobody", State.QUEUED, State.FAILED, AT))


async def test_the_history_row_stands_and_falls_with_the_move(books: Books) -> None:
    job = await books.job()

    def half(c: Connection) -> None:
        assert moves.move(c, job.id, State.QUEUED, State.FAILED, AT)
        raise RuntimeError("power")

    with pytest.raises(RuntimeError, match="power"):
        await books.ledger.write(half)
    assert (await books.see(job)).state is State.QUEUED
    assert await books.history(job) == [(None, State.QUEUED)]


async def test_a_change_needs_the_state_that_is_believed_in(books: Books) -> None:
    job = await books.job(State.SUBMITTED)
    assert await books.ledger.write(lambda c: moves.change(c, job.id, State.SUBMITTED, LATER, progress=40.0))
    assert not await books.ledger.write(lambda c: moves.change(c, job.id, State.QUEUED, LATER, progress=99.0))
    assert (await books.see(job)).progress == 40.0


async def test_every_state_was_reached_through_its_history(books: Books) -> None:
    for n, state in enumerate(State):
        job = await books.job(state, f"{n}.png")
        steps = await books.history(job)
        assert steps[0] == (None, State.QUEUED)
        assert steps[-1][1] is job.state is state
        assert all(a[1] is b[0] for a, b in pairwise(steps))


# submissions


def _begin(c: Connection, job: str) -> int | None:
    return moves.begin_submission(
        c, job, LATER, cluster="GPU-A800", note="least loaded", workflow_id="99", version_id="7",
        params={"a": [1, "猫"]}, priority=5,
    )  # fmt: skip


async def test_the_intent_says_what_is_about_to_be_asked_for(books: Books) -> None:
    job = await books.job(task_id="old", status="success", progress=9.0, node="x", paid=True, started_at=AT)
    number = await books.ledger.write(lambda c: _begin(c, job.id))
    now = await books.see(job)
    assert (now.state, now.cluster, now.workflow_id, now.version_id, now.priority) == (
        State.SUBMITTING,
        "GPU-A800",
        "99",
        "7",
        5,
    )
    assert now.params == {"a": [1, "猫"]}
    # Nothing of an earlier task clings to the new one.
    assert (now.task_id, now.paid, now.status, now.progress, now.node, now.times.started) == (
        None,
        False,
        None,
        None,
        None,
        None,
    )
    [submission] = now.submissions
    assert (submission.id, submission.outcome, submission.complete, submission.at) == (number, None, False, LATER)


@pytest.mark.parametrize("state", sorted(set(State) - {State.QUEUED}))
async def test_what_is_not_queued_is_not_submitted(state: State, books: Books) -> None:
    job = await books.job(state)
    assert await books.ledger.write(lambda c: _begin(c, job.id)) is None
    now = await books.see(job)
    assert (now.state, now.submissions) == (state, job.submissions)


async def test_the_whole_body_and_the_answer_are_recorded_with_their_submission(books: Books) -> None:
    job = await books.job(State.SUBMITTING)
    [open_one] = job.submissions
    await books.ledger.write(lambda c: moves.complete_body(c, open_one.id))
    assert (await books.see(job)).submissions[0].complete
    await books.ledger.write(lambda c: moves.end_submission(c, open_one.id, LATER, Outcome.UNKNOWN, "silence"))
    [ended] = (await books.see(job)).submissions
    assert (ended.outcome, ended.detail, ended.task_id, ended.complete) == (Outcome.UNKNOWN, "silence", None, True)


async def test_a_task_id_is_kept_even_when_the_job_was_cancelled_meanwhile(books: Books) -> None:
    job = await books.job(State.SUBMITTING)
    await books.ledger.write(lambda c: moves.cancel(c, job.id, State.SUBMITTING, AT, "not wanted"))

    def accepted(c: Connection) -> bool:
        moves.end_submission(c, job.submissions[0].id, LATER, Outcome.ACCEPTED, task_id="230")
        return moves.move(c, job.id, State.SUBMITTING, State.SUBMITTED, LATER, task_id="230")

    assert not await books.ledger.write(accepted)
    now = await books.see(job)
    assert (now.state, now.task_id, now.submissions[0].task_id) == (State.CANCELLED, None, "230")


async def test_a_paid_task_is_asked_after_again_and_nothing_is_submitted(books: Books) -> None:
    job = await books.job(task_id="230", paid=True)
    assert await books.ledger.write(lambda c: moves.resume_task(c, job.id, LATER))
    now = await books.see(job)
    assert (now.state, now.task_id, now.paid, now.submissions) == (State.SUBMITTED, "230", True, ())
    assert not await books.ledger.write(lambda c: moves.resume_task(c, job.id, LATER))


# cancel and retry


@pytest.mark.parametrize("state", [State.QUEUED, State.SUBMITTING, State.SUBMITTED, State.RENDERED, State.HELD])
async def test_every_open_job_can_be_cancelled_by_allowed_moves_alone(state: State, books: Books) -> None:
    job = await books.job(state)
    before = len(await books.history(job))
    assert await books.ledger.write(lambda c: moves.cancel(c, job.id, state, LATER, "not wanted"))
    steps = (await books.history(job))[before:]
    assert steps == (
        [(state, State.CANCELLED)] if state in (State.QUEUED, State.HELD)
        else [(state, State.HELD), (State.HELD, State.CANCELLED)]
    )  # fmt: skip
    assert (await books.see(job)).error == "not wanted"


async def test_cancelling_what_moved_meanwhile_changes_nothing(books: Books) -> None:
    job = await books.job(State.RENDERED)
    assert not await books.ledger.write(lambda c: moves.cancel(c, job.id, State.SUBMITTED, LATER, "late"))
    assert (await books.see(job)).state is State.RENDERED


@pytest.mark.parametrize("state", [State.DELIVERED, State.FAILED, State.CANCELLED])
async def test_a_retry_begins_afresh_with_all_attempts(state: State, books: Books) -> None:
    job = await books.job(state, attempts=3, base="a")
    await books.ledger.write(lambda c: moves.record_source(c, job.id, "a.png", filed=True))
    assert await books.ledger.write(lambda c: moves.retry(c, job.id, state, LATER))
    now = await books.see(job)
    # What the end of a chain was told under that name is still to be taken back.
    base = "a" if state is State.FAILED else None
    assert (now.state, now.attempts, now.error, now.base, now.times.queued) == (State.QUEUED, 0, None, base, LATER)
    assert not now.source.filed


@pytest.mark.parametrize(
    ("state", "paid", "kept"),
    [
        (State.FAILED, True, True),
        (State.FAILED, False, False),
        (State.CANCELLED, True, True),
        (State.DELIVERED, True, False),
    ],
)
async def test_a_retry_keeps_what_was_paid_for_unless_it_was_delivered(
    state: State, paid: bool, kept: bool, books: Books
) -> None:
    job = await books.job(state, paid=paid, task_id="230")
    await books.ledger.write(lambda c: moves.retry(c, job.id, state, LATER))
    now = await books.see(job)
    assert (now.paid, now.times.delivered) == (kept, None)
    # …and a second failure does not make it forget either.
    await books.ledger.write(lambda c: moves.move(c, job.id, State.QUEUED, State.FAILED, LATER))
    await books.ledger.write(lambda c: moves.retry(c, job.id, State.FAILED, LATER))
    assert (await books.see(job)).paid == kept


@pytest.mark.parametrize("state", [State.QUEUED, State.SUBMITTING, State.SUBMITTED, State.RENDERED])
async def test_only_what_has_ended_is_retried(state: State, books: Books) -> None:
    job = await books.job(state)
    assert not await books.ledger.write(lambda c: moves.retry(c, job.id, State.FAILED, LATER))
    assert await books.see(job) == job


# results, shares, troubles


async def test_results_replace_what_an_earlier_task_said(books: Books) -> None:
    job = await books.job(State.RENDERED, outputs=2)
    new = [Output(0, "1", "b", "u0"), Output(1, "2", "c", "u1"), Output(2, "3", "d", "u2")]
    notes = [Remark(Level.ERROR, "e", "4", "t"), Remark(Level.WARNING, "w", "5", "t")]
    await books.ledger.write(lambda c: moves.set_results(c, job.id, new, notes))
    now = await books.see(job)
    assert (list(now.outputs), list(now.remarks)) == (new, notes)
    await books.ledger.write(lambda c: moves.set_results(c, job.id, (), ()))
    now = await books.see(job)
    assert (now.outputs, now.remarks) == ((), ())


async def test_half_a_surrogate_pair_in_the_platforms_words_is_no_reason_to_refuse_a_row(books: Books) -> None:
    half = "🎥"[:1].encode("utf-16-le")[:2].decode("utf-16-le", "surrogatepass")
    job = await books.job(State.RENDERED)
    out, note = Output(0, half, half, half), Remark(Level.ERROR, half, half, half)
    await books.ledger.write(lambda c: moves.set_results(c, job.id, [out], [note]))
    await books.ledger.write(
        lambda c: moves.move(c, job.id, State.RENDERED, State.FAILED, LATER, half, error=half, status=half, node=half)
    )
    now = await books.see(job)
    assert now.error == now.outputs[0].title == "\\ud83c"


async def test_a_source_can_be_renamed_because_its_old_name_is_taken(books: Books) -> None:
    job = await books.job(path="a.png")
    await books.ledger.write(lambda c: moves.rename_sources(c, job, {"a.png": "a-2.png"}, "a-2"))
    now = await books.see(job)
    assert (now.source.path, now.bundle) == ("a-2.png", "a-2")


async def test_a_share_is_remembered_once_and_for_ever(ledger: Ledger) -> None:
    for _ in range(2):
        await ledger.write(lambda c: moves.see_folder(c, "/srv/\udcff", AT))
    assert [os.fsencode(p) for p in await ledger.read(queries.seen_folders)] == [b"/srv/\xff"]


async def test_a_trouble_is_one_row_that_keeps_its_beginning(ledger: Ledger) -> None:
    await ledger.write(lambda c: moves.tell_trouble(c, "share", "a", "one", AT))
    await ledger.write(lambda c: moves.tell_trouble(c, "share", "a", "two", LATER))
    await ledger.write(lambda c: moves.tell_trouble(c, "route", "a", "three", LATER))
    rows = await ledger.read(queries.present_troubles)
    assert [(r.reach, r.subject, r.sentence, r.since) for r in rows] == [
        ("share", "a", "two", AT), ("route", "a", "three", LATER),
    ]  # fmt: skip
    await ledger.write(lambda c: moves.end_trouble(c, "share", "a"))
    assert [r.reach for r in await ledger.read(queries.present_troubles)] == ["route"]
    await ledger.write(moves.end_trouble)
    assert await ledger.read(queries.present_troubles) == []


async def test_no_row_hangs_in_the_air(books: Books) -> None:
    for n, state in enumerate(State):
        await books.job(state, f"{n}.png")

    def orphans(c: Connection) -> int:
        return c.execute(select(func.count()).where(history.c.job_id.not_in(select(jobs.c.id)))).scalar_one()

    assert await books.ledger.read(orphans) == 0


async def test_many_sources_are_put_away_for_every_job_of_theirs_and_filed_for_one(books: Books) -> None:
    job = await books.job(State.DELIVERED, "a.png")
    other = await books.job(State.DELIVERED, "b.png", arrival=job.arrival)
    await books.ledger.write(
        lambda c: moves.put_away(
            c,
            job,
            [
                (Source("", "a.png", 3, 5), {"place": Place.DONE, "stored": "a-2.png"}, {"filed": True}),
                (Source("", "b.png", 3, 5), {"place": Place.GONE}, {"filed": True}),
            ],
        )
    )
    a, b = (await books.see(job)).source, (await books.see(other)).source
    assert (a.place, a.stored, a.filed) == (Place.DONE, "a-2.png", True)
    assert (b.place, b.stored, b.filed) == (Place.GONE, None, False)


async def test_a_source_that_has_been_put_elsewhere_stays_there_but_is_filed(books: Books) -> None:
    job = await books.job(State.DELIVERED, "a.png")
    believed = Source("", "a.png", 3, 5, place=Place.FAILED)
    steps = [(believed, {"place": Place.GONE}, {"filed": True})]
    await books.ledger.write(lambda c: moves.put_away(c, job, steps))
    found = (await books.see(job)).source
    assert (found.place, found.filed) == (Place.INBOX, True)
