"""Saying of tasks that they lag: in the ledger for as long as it holds, and once in the log.

Owns that word and what it rests on (`lag`). It changes no state and costs nothing; what is done about it, where a route
says so, is `dispatch/rescue`.
"""

from typing import Final

import structlog

from renderdrop.ledger import moves
from renderdrop.ledger.store import Ledger
from renderdrop.model.lifecycle import State
from renderdrop.runtime.clock import Clock
from renderdrop.tracking.lag import Beginnings
from renderdrop.tracking.watched import Watched

log = structlog.get_logger()

AFTER: Final = 300.0
"""Seconds that a task must have waited, where the settings say nothing else: twice as long as the longest boot of an
instance that is known (150 s)."""


class Late:
    """Tasks that have not begun. `after`: seconds before which none of them is late."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self.after = AFTER
        self._ledger = ledger
        self._clock = clock
        self._beginnings = Beginnings()

    def follow(self, watched: Watched, workflow: str, waited: float) -> None:
        """A task that has not begun as far as is known, sent `waited` seconds ago."""
        self._beginnings.follow(watched.key, workflow, watched.cluster, self._clock.monotonic(), waited)

    def forget(self, watched: Watched) -> None:
        """It is followed no more."""
        self._beginnings.forget(watched.key)

    def begun(self, watched: Watched) -> None:
        """A look found it at work, or done."""
        self._beginnings.begun(watched.key, self._clock.monotonic())

    async def waits(self, watched: Watched) -> None:
        """A look found a job's task pending: write down whether it lags, where that has changed."""
        lag = self._beginnings.judge(watched.key, self._clock.monotonic(), self.after)
        if (lag is not None) == watched.lags:
            return
        at = self._clock.text()
        sentence = lag.sentence(watched.task_id, watched.cluster) if lag is not None else None
        if not await self._ledger.write(
            lambda c: moves.change(
                c, watched.job_id, State.SUBMITTED, at, of_task=watched.task_id, error=sentence,
                lags_since=None if lag is None else at,
            ),
            point="lags",
        ):  # fmt: skip
            return
        watched.lags = lag is not None
        if watched.lags and not watched.told:
            watched.told = True
            log.warning(
                "task_lags", job=watched.job_id, route=watched.route, task=watched.task_id, cluster=watched.cluster,
                reason=sentence,
            )  # fmt: skip
