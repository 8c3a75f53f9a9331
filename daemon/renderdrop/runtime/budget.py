"""The budget of status calls: a token bucket that every poll and cluster look draws from.

Small burst on purpose: what a poll tick (a quarter of a second) may use, and the part of a call that the last one
left over, so that no second sees much more than the rate that the operator set.

A platform that answers "too many" (429) is believed: the pace is halved and comes back slowly, by the same few calls
in every second (additive increase, multiplicative decrease, as TCP has it: Chiu and Jain 1989). So it settles a
little below what the platform bears, whatever the operator had set.
"""

from typing import Final

TICK: Final = 0.25
"""Seconds between two ticks of those who draw from it."""
LOWEST: Final = 1 / 16
"""Share of the rate below which the pace does not fall: somebody must notice that the platform bears more again."""
RECOVERS: Final = 120.0
"""Seconds in which the pace would rise from nothing to the whole rate: a halving is made good in a minute."""


class Budget:
    """`rate` calls a second: the operator's word, which may change while we run. Times are monotonic and passed in."""

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self._share = 1.0
        self._halved_at = float("-inf")
        self._tokens = self.capacity
        self._at = now

    @property
    def pace(self) -> float:
        """Calls a second that are given: the rate, or less of it after the platform had too many; as of the last time
        that somebody asked."""
        return self.rate * self._share

    def pace_at(self, now: float) -> float:
        """The same at this moment: it comes back with time, whether or not anybody draws. Who plans by it must know:
        nobody draws where all looks were put off for its sake."""
        self._refill(now)
        return self.pace

    @property
    def capacity(self) -> float:
        """Calls that may be made at once after a rest."""
        return 1.0 + self.pace * TICK

    def take(self, now: float) -> bool:
        """Spend one call, if there is one left."""
        self._refill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def reserve(self, now: float) -> float:
        """Spend one call in any case; returns the seconds to wait before it may be made."""
        if self.take(now):
            return 0.0
        self._tokens -= 1.0
        return (self._at - now) - self._tokens / self.pace  # a pause comes on top

    def too_many(self, asked: float, now: float) -> None:
        """The platform refused a call that was made at `asked` because there were too many: half the pace from now on.
        Calls that were on their way at that time say nothing of the new pace, and halve it no further."""
        if asked <= self._halved_at:
            return
        self._refill(now)
        self._halved_at = now
        self._share = max(LOWEST, self._share / 2)
        self._tokens = min(self._tokens, self.capacity)

    def pause(self, now: float, seconds: float) -> None:
        """Nothing more until then: the platform asked for it. Spent tokens come back only afterwards."""
        self._tokens = min(self._tokens, 0.0)
        self._at = max(self._at, now + seconds)

    def _refill(self, now: float) -> None:
        passed = max(0.0, now - self._at)
        # At the pace as it was: what is made good in that time counts from now on.
        self._tokens += passed * self.pace
        self._share = min(1.0, self._share + passed / RECOVERS)
        self._tokens = min(self.capacity, self._tokens)
        self._at = max(self._at, now)
