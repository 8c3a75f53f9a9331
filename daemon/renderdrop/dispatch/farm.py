"""What we know of the clusters now: the last status, who rests, and how many tasks of ours are where.

Owns the coarse status look (one for all who ask, never more often than `status_every`) and the memory of
clusters that refused. It chooses nothing.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from renderdrop.dispatch.choose import ClusterView, Situation
from renderdrop.ledger import queries
from renderdrop.ledger.store import Ledger
from renderdrop.model.errors import PlatformDown, Refused, Temporary
from renderdrop.platform import clusters
from renderdrop.platform.client import Client
from renderdrop.platform.clusters import ClusterStatus
from renderdrop.runtime.budget import Budget
from renderdrop.runtime.clock import Clock
from renderdrop.runtime.troubles import PLATFORM

log = structlog.get_logger()

REST: Final = 60.0
"""Seconds for which a cluster that refused is left alone, if the route has another."""
UNKNOWN_CALL: Final = (404, 405)
"""HTTP statuses with which a server says that it has no such call, or no such thing."""
_ASTRAY: Final = "the platform knows none of its own calls (HTTP {}): is platform.base_url right?"
_BLIND_AFTER: Final = 4
"""Failed status looks in a row after which we choose without figures rather than not at all."""


class Farm:
    """The clusters as last seen. `every`: seconds for which a status is good enough."""

    def __init__(self, client: Client, ledger: Ledger, clock: Clock, budget: Budget, every: float) -> None:
        self.every = every
        self._client = client
        self._ledger = ledger
        self._clock = clock
        self._budget = budget
        self._lock = asyncio.Lock()
        self._seen: dict[str, ClusterStatus] = {}
        self._ceilings: dict[str, int] = {}
        self._at = float("-inf")
        self._failures = 0
        self._resting: dict[str, float] = {}

    @property
    def fresh(self) -> bool:
        """Whether the last status is still good enough."""
        return self._clock.monotonic() - self._at < self.every

    async def refresh(self) -> None:
        """Look now, whatever was seen before.

        Raises PlatformDown, Temporary or Refused.
        """
        await asyncio.sleep(self._budget.reserve(self._clock.monotonic()))
        try:
            found = await clusters.active(self._client, self._clock.now())
        except (Temporary, Refused):
            self._failures += 1
            raise
        self._failures = 0
        self._at = self._clock.monotonic()
        self._seen = {status.name: status for status in found}
        self._ceilings |= {status.name: status.ceiling for status in found if status.ceiling is not None}
        log.debug("clusters_seen", clusters={s.name: [s.nodes, s.ceiling] for s in found})

    async def probe(self, due: Sequence[str]) -> tuple[bool, dict[str, str]]:
        """Look whether what was in trouble about the platform (of CALLS) is well again: whether there was a status, and
        what is still in trouble, with the reason."""
        try:
            await self.refresh()
        except (PlatformDown, Temporary) as fault:
            return False, dict.fromkeys(due, fault.sentence)
        except Refused as fault:
            # It speaks to us again, and what it says is for others; unless this is no platform at all.
            wrong = _astray(fault)
            return False, {PLATFORM: wrong} if wrong is not None else {}
        return True, {}

    async def astray(self) -> str | None:
        """What is wrong with the address, if not even the status call is known there. May take as long as a call."""
        try:
            await self.refresh()
        except Refused as fault:
            return _astray(fault)
        except (Temporary, PlatformDown):
            pass
        return None

    async def situation(self, allowed: tuple[str, ...]) -> Situation:
        """What a choice among `allowed` depends on. Raises PlatformDown, Temporary or Refused while there is no status.

        A status that cannot be had for long, although the platform answers, does not stop work: every allowed
        cluster is then taken to be active, with unknown figures.
        """
        async with self._lock:
            if not self.fresh:
                try:
                    await self.refresh()
                except PlatformDown:
                    raise
                except (Temporary, Refused) as fault:
                    if self._at == float("-inf") and self._failures < _BLIND_AFTER:
                        raise
                    log.warning("clusters_unknown", reason=fault.sentence)
                    self._at = self._clock.monotonic()
        ours: dict[str, int] = {}
        for cluster, _, number in await self._ledger.read(queries.on_clusters):
            ours[cluster] = ours.get(cluster, 0) + number
        now = self._clock.monotonic()
        resting = frozenset(name for name, until in self._resting.items() if until > now)
        return Situation(allowed, self._views(allowed, ours), resting)

    def _views(self, allowed: tuple[str, ...], ours: dict[str, int]) -> dict[str, ClusterView]:
        if not self._seen and self._failures:
            return {name: ClusterView(0, None, ours.get(name, 0)) for name in allowed}
        return {
            name: ClusterView(
                s.nodes, s.ceiling if s.ceiling is not None else self._ceilings.get(name), ours.get(name, 0)
            )
            for name, s in self._seen.items()
        }

    def leave_alone(self, cluster: str) -> None:
        """It refused: others first, for a while."""
        self._resting[cluster] = self._clock.monotonic() + REST


def _astray(fault: Refused) -> str | None:
    """What to tell where the status call, which names nothing that could be missing, is not known; None where it was
    refused for another reason."""
    return _ASTRAY.format(fault.http_status) if fault.http_status in UNKNOWN_CALL else None
