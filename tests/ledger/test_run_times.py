"""The run times that the ledger knows: of tasks that succeeded and were seen at work, the latest of them."""

from typing import Any

import pytest
from tests.conftest import Books

from renderdrop.ledger.run_times import Ran, run_times
from renderdrop.model.lifecycle import State

BEGUN, DONE = "2026-11-22T14:18:00.000Z", "2026-11-22T14:19:30.500Z"


async def test_they_come_with_workflow_and_cluster_the_oldest_first(books: Books) -> None:
    await books.job(State.RENDERED, "a.png", started_at=BEGUN, finished_at=DONE)
    await books.job(State.DELIVERED, "b.png", started_at=BEGUN, finished_at="2026-11-22T14:18:02.000Z", cluster=None)
    assert await books.ledger.read(run_times) == [Ran("1234", "GPU-4090", 90.5), Ran("1234", "", 2.0)]


@pytest.mark.parametrize(
    ("state", "changes"),
    [
        (State.SUBMITTED, {"started_at": BEGUN}),
        (State.FAILED, {"started_at": BEGUN, "finished_at": DONE}),
        (State.DELIVERED, {"started_at": DONE, "finished_at": DONE}),
        (State.DELIVERED, {"started_at": None, "finished_at": DONE}),
        (State.DELIVERED, {"started_at": DONE, "finished_at": BEGUN}),
    ],
)
async def test_what_was_not_seen_from_its_start_to_its_success_tells_nothing(
    state: State, changes: dict[str, Any], books: Books
) -> None:
    await books.job(state, **changes)
    assert await books.ledger.read(run_times) == []
