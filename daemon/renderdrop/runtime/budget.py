"""The budget of status calls: a token bucket that every poll and cluster look draws from.

Small burst on purpose: a quarter of a second's worth, the length of a poll tick, so that no second
sees much more than the rate that the operator set.
"""


class Budget:
    """`rate` calls a second. Times are monotonic seconds and passed in."""

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self._tokens = self.capacity
        self._at = now

    @property
    def capacity(self) -> float:
        """Calls that may be made at once after a rest. The rate may be changed while we run."""
        return max(1.0, self.rate / 4)

    def take(self, now: float) -> bool:
        """Spend one call, if there is one left."""
        self._tokens = min(self.capacity, self._tokens + max(0.0, now - self._at) * self.rate)
        self._at = max(self._at, now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def reserve(self, now: float) -> float:
        """Spend one call in any case; returns the seconds to wait before it may be made."""
        if self.take(now):
            return 0.0
        self._tokens -= 1.0
        return (self._at - now) - self._tokens / self.rate  # a pause comes on top

    def pause(self, now: float, seconds: float) -> None:
        """Nothing more until then: the platform asked for it. Spent tokens come back only afterwards."""
        self._tokens = min(self._tokens, 0.0)
        self._at = max(self._at, now + seconds)
