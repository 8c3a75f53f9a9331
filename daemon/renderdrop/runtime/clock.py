"""The only place that knows what time it is.

Wall-clock time is for people and the ledger; every interval (settling, backoff, silence) is measured
on the monotonic clock, so that a clock set forward or back ends nothing early and repeats nothing.
"""

import random
import time
from datetime import UTC, datetime


class Clock:
    """The machine's two clocks and its dice."""

    def now(self) -> datetime:
        """The wall clock, UTC."""
        return datetime.now(UTC)

    def text(self) -> str:
        """The wall clock as the ledger writes it: "2026-11-22T14:18:00.123Z"."""
        return written(self.now())

    def local(self, at: datetime) -> datetime:
        """What a clock on the wall shows at that instant: its time in the machine's zone (TZ, else /etc/localtime)."""
        return at.astimezone()

    def monotonic(self) -> float:
        """Seconds that only ever grow."""
        return time.monotonic()

    def chance(self) -> float:
        """Uniform in [0, 1), for jitter."""
        return random.random()


def written(at: datetime) -> str:
    """An instant as the ledger, sidecars and scripts have it: UTC, ISO 8601, so that such texts sort by time."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
