"""Whose turn it is, while the settings change under the queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from renderdrop.model.lifecycle import State

if TYPE_CHECKING:
    from tests.dispatch.conftest import Yard


async def test_a_job_whose_route_a_reload_takes_away_while_the_queue_is_looked_at_waits_where_it_is(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, read = await yard.picture(), yard.books.ledger.read

    async def read_while_settings_are_reloaded(query: Callable[..., Any]) -> Any:
        found = await read(query)
        yard.dispatch.set_routes(())
        return found

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(yard.books.ledger, "read", read_while_settings_are_reloaded)
        await yard.dispatch.round()
    assert await yard.state(job) is State.QUEUED
    yard.use(yard.route)
    await yard.rounds()
    assert await yard.state(job) is State.SUBMITTED
