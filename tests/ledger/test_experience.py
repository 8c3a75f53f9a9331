"""What the ledger tells of earlier and present tasks."""

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Connection, text

from renderdrop.ledger import experience, moves
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
    assert (task.started - task.submitted, task.finished - task.started) == (30, 60)
    assert await books.ledger.read(lambda c: experience.ended(c, since=task.at)) == []


async def test_a_task_that_was_never_seen_at_work_has_no_start(books: "Books", clock: "FakeClock") -> None:
    await books.job(State.RENDERED, started_at=clock.text())
    [task] = await books.ledger.read(experience.ended)
    assert task.started is None


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
