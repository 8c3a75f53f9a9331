"""What the ledger tells of earlier and present tasks."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Connection, text

from renderdrop.ledger import experience, moves, queries
from renderdrop.model.job import Outcome
from renderdrop.model.lifecycle import State

if TYPE_CHECKING:
    from tests.conftest import Books, FakeClock


async def test_what_has_ended_is_told_with_its_times_and_only_once(books: "Books", clock: "FakeClock") -> None:
    at = clock.text()
    clock.run(30)
    started = clock.text()
    clock.run(60)
    job = await books.job(State.RENDERED, submitted_at=at, started_at=started)
    [task] = await books.ledger.read(experience.ended)
    assert (task.job, task.workflow, task.cluster, task.well) == (job.id, "1234", "GPU-4090", True)
    assert task.started is not None
    assert (task.started - task.submitted, task.finished - task.started, task.seconds) == (30, 60, 60)
    mark = await books.ledger.read(queries.mark)
    assert await books.ledger.read(lambda c: experience.ended_since(c, 0)) == [task]
    assert await books.ledger.read(lambda c: experience.ended_since(c, mark)) == []


async def test_what_has_ended_since_a_mark_is_told_whatever_the_clock_shows(books: "Books", clock: "FakeClock") -> None:
    await books.job(State.DELIVERED, "before.png")
    mark = await books.ledger.read(queries.mark)
    clock.wall -= timedelta(hours=2)
    first = await books.job(State.RENDERED, "first.png")
    clock.wall -= timedelta(hours=2)
    second = await books.job(State.DELIVERED, "second.png", task="231")
    failed = await books.job(State.SUBMITTED, "third.png", task="232")
    at = clock.text()
    await books.ledger.write(
        lambda c: moves.move(c, failed.id, State.SUBMITTED, State.FAILED, at, error="no", finished_at=at)
    )
    for path, state in (("a.png", State.SUBMITTED), ("b.png", State.FAILED), ("c.png", State.QUEUED)):
        await books.job(state, path)  # no task of these has ended
    found = await books.ledger.read(lambda c: experience.ended_since(c, mark))
    assert [(task.job, task.well) for task in found] == [(first.id, True), (second.id, True), (failed.id, False)]


async def test_what_was_ended_and_is_under_way_again_is_not_told_as_ended(books: "Books", clock: "FakeClock") -> None:
    job = await books.job(State.DELIVERED)
    at = clock.text()

    def again(c: Connection) -> None:
        assert moves.retry(c, job.id, State.DELIVERED, at)
        assert moves.begin_submission(
            c, job.id, at, cluster="GPU-A800", note="", workflow_id="1234", version_id=None, params={}, priority=0
        )

    await books.ledger.write(again)
    assert await books.ledger.read(lambda c: experience.ended_since(c, 0)) == []


async def test_a_task_that_was_never_seen_at_work_has_no_start(books: "Books", clock: "FakeClock") -> None:
    await books.job(State.RENDERED, "a.png", started_at=clock.text())
    await books.job(State.RENDERED, "b.png", started_at=None)
    told = await books.ledger.read(experience.ended)
    assert [(task.started, task.seconds) for task in told] == [(None, None)] * 2


async def test_a_run_that_ended_before_it_began_says_nothing_of_its_length(books: "Books") -> None:
    await books.job(State.RENDERED, started_at="2099-11-22T14:18:00.000Z")
    [task] = await books.ledger.read(experience.ended)
    assert task.seconds is None


async def test_what_models_have_made_is_told_only_where_it_is_asked_for(books: "Books", clock: "FakeClock") -> None:
    begun = clock.text()
    clock.run(2)
    model = await books.job(State.DELIVERED, started_at=begun, cluster="")
    clock.run(88.5)
    app = await books.job(State.RENDERED, "b.png", started_at=begun)
    # Another's results given again, one under way, and one that nobody sent: none of these ran.
    await books.job(State.RENDERED, "c.png", cluster=None, started_at=None)
    await books.job(State.SUBMITTED, "d.png", cluster="", started_at=begun)
    await books.job(State.FAILED, "e.png")
    told = await books.ledger.read(lambda c: experience.ended(c, placed=False))
    assert [(task.job, task.workflow, task.cluster, task.seconds) for task in told] == [
        (model.id, "1234", "", 2.0), (app.id, "1234", "GPU-4090", 90.5),
    ]  # fmt: skip
    assert [task.job for task in await books.ledger.read(experience.ended)] == [app.id]
    assert [task.job for task in await books.ledger.read(lambda c: experience.ended_since(c, 0))] == [app.id]


async def test_open_tasks_run_or_wait(books: "Books", clock: "FakeClock") -> None:
    at = clock.text()
    running = await books.job(State.SUBMITTED, "a.png", status="running", started_at=at)
    pending = await books.job(State.SUBMITTED, "b.png", status="pending")
    sending = await books.job(State.SUBMITTING, "c.png")
    await books.job(State.RENDERED, "d.png")
    await books.job(State.QUEUED, "e.png")
    found = {task.job: task.started is not None for task in await books.ledger.read(experience.open_tasks)}
    assert found == {running.id: True, pending.id: False, sending.id: False}


async def test_what_waits_is_counted_up_to_a_limit(books: "Books") -> None:
    for n in range(4):
        await books.job(State.QUEUED, f"{n}.png")
    await books.job(State.QUEUED, "partner.png", waiting_for="its mask")
    assert await books.ledger.read(lambda c: experience.queued(c, ["portrait", "other"], 1000)) == {"portrait": 4}
    assert await books.ledger.read(lambda c: experience.queued(c, ["portrait"], 3)) == {"portrait": 3}


@pytest.mark.parametrize(("of", "index"), [("", "jobs_by_finish"), (" AND workflow_id = 'w'", "jobs_by_workflow")])
async def test_what_ended_last_is_found_by_its_index(books: "Books", of: str, index: str) -> None:
    query = f"SELECT id FROM jobs WHERE finished_at IS NOT NULL{of} AND finished_at > '' ORDER BY finished_at DESC"
    told = await books.ledger.read(lambda c: c.execute(text(f"EXPLAIN QUERY PLAN {query} LIMIT 9")).all())
    assert [index in row.detail for row in told] == [True]


async def test_what_ended_of_one_workflow_is_told_by_itself(books: "Books") -> None:
    job = await books.job(State.RENDERED, workflow_id="88")
    await books.job(State.RENDERED, "b.png")
    assert [t.job for t in await books.ledger.read(lambda c: experience.ended_of(c, "88", limit=9))] == [job.id]


async def test_what_a_cluster_answered_is_told_and_what_is_still_open(books: "Books", clock: "FakeClock") -> None:
    first = await books.job(State.SUBMITTED)
    clock.run(5)
    second = await books.job(State.SUBMITTING, "b.png")
    found = await books.ledger.read(experience.tries)
    assert [(t.job, t.cluster, t.outcome) for t in found] == [
        (first.id, "GPU-4090", Outcome.ACCEPTED), (second.id, "GPU-4090", None),
    ]  # fmt: skip
    assert (found[1].begun - found[0].begun, found[1].answered) == (5, None)


async def test_the_last_choices_are_told_with_their_reasons(books: "Books", clock: "FakeClock") -> None:
    job = await books.job(State.SUBMITTED)

    def again(c: Connection) -> None:
        assert moves.move(c, job.id, State.SUBMITTED, State.QUEUED, clock.text())
        assert moves.begin_submission(
            c, job.id, clock.text(), cluster="GPU-A800", note="GPU-A800: why", workflow_id="1234", version_id=None,
            params={}, priority=0,
        )  # fmt: skip

    clock.run(5)
    await books.ledger.write(again)
    found = await books.ledger.read(lambda c: experience.choices(c, 5))
    assert [(one.job, one.route, one.cluster, one.reason) for one in found] == [
        (job.id, "portrait", "GPU-A800", "GPU-A800: why"), (job.id, "portrait", "GPU-4090", ""),
    ]  # fmt: skip
    assert len(await books.ledger.read(lambda c: experience.choices(c, 1))) == 1
