"""What makes work wait: a paused route, a share or the platform that cannot be reached.

Owns the board of present troubles: each is told once in the log when it begins and once when it is over,
stands in the ledger for the command line, and says when the next probe is due. Stages ask it before they
act; it never decides what to do about a trouble.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import structlog

from renderdrop.ledger import moves
from renderdrop.ledger.store import Ledger
from renderdrop.model.backoff import backoff
from renderdrop.runtime.clock import Clock

log = structlog.get_logger()

Reach = Literal["daemon", "platform", "share", "route"]
LEDGER: Final = "ledger"
"""What the daemon itself can be in trouble about: its disk is full, and nothing new is begun."""
PLATFORM: Final = "platform"
SUBMISSIONS: Final = "submissions"
POLLS: Final = "polls"
CALLS: Final = (PLATFORM, SUBMISSIONS, POLLS)
"""What can be in trouble about the platform: all of it, or one kind of call while the others work. Results that are
paid for are fetched on even while nothing new can be submitted."""

_PROBE_CAP: Final[dict[Reach, float]] = {"daemon": 30.0, "platform": 30.0, "share": 10.0, "route": 180.0}
"""The longest pause between two probes, seconds: the platform and a share cost one small look, a paused
route costs a submission ("every few minutes", DESIGN 4)."""
_STEADY: Final = 60.0
"""A trouble that comes back within so many seconds of its end goes on with its long pauses."""


@dataclass(slots=True)
class Trouble:
    """One present trouble. `probe_at` is monotonic."""

    sentence: str
    since: str
    tries: int
    probe_at: float


class Troubles:
    """The board. `changed` is called after every beginning and end."""

    def __init__(self, ledger: Ledger, clock: Clock, changed: Callable[[], None] = lambda: None) -> None:
        self._ledger = ledger
        self._clock = clock
        self.changed = changed
        self._now: dict[tuple[Reach, str], Trouble] = {}
        self._past: dict[tuple[Reach, str], tuple[float, int]] = {}

    def of(self, reach: Reach, subject: str) -> Trouble | None:
        """The present trouble of a subject, if any."""
        return self._now.get((reach, subject))

    @property
    def platform(self) -> Trouble | None:
        """The trouble of the platform as a whole."""
        return self.of("platform", PLATFORM)

    def stops(self, calls: str) -> bool:
        """Whether calls of this kind (SUBMISSIONS or POLLS) must not be made now."""
        return self.platform is not None or self.of("platform", calls) is not None

    def stands_in_the_way(self, route: str) -> bool:
        """Whether a route's jobs cannot be carried on now."""
        return self.platform is not None or self.of("share", route) is not None

    def probe_due(self, reach: Reach, subject: str) -> bool:
        """Whether it is time to see if a present trouble is over."""
        trouble = self.of(reach, subject)
        return trouble is not None and self._clock.monotonic() >= trouble.probe_at

    async def tell(self, reach: Reach, subject: str, sentence: str, pause: float | None = None) -> None:
        """A trouble begins, or a probe found that it lasts; `pause`: seconds until the next probe, if not the usual."""
        key, now = (reach, subject), self._clock.monotonic()
        trouble = self._now.get(key)
        fresh = trouble is None
        if trouble is None:
            ended, tries = self._past.pop(key, (float("-inf"), 0))
            trouble = Trouble(sentence, self._clock.text(), tries if now - ended < _STEADY else 0, now)
            self._now[key] = trouble
        elif now < trouble.probe_at:
            return  # others run into what is already known
        changed = fresh or trouble.sentence != sentence
        trouble.sentence = sentence
        if pause is None:
            trouble.tries += 1  # where the pause is not ours to choose, it need not grow
            pause = _pause(reach, trouble.tries)
        trouble.probe_at = now + pause
        if not changed:
            return
        log.warning(f"{reach}_waits", **_named(reach, subject), reason=sentence, next_try_s=round(pause, 1))
        since = trouble.since
        await self._ledger.write(lambda c: moves.tell_trouble(c, reach, subject, sentence, since), point="trouble")
        self.changed()

    async def end(self, reach: Reach, subject: str) -> None:
        """A trouble is over: what waited goes on."""
        trouble = self._now.pop((reach, subject), None)
        if trouble is None:
            return
        self._past[reach, subject] = (self._clock.monotonic(), trouble.tries)
        log.info(f"{reach}_goes_on", **_named(reach, subject), was=trouble.sentence)
        await self._ledger.write(lambda c: moves.end_trouble(c, reach, subject), point="trouble_over")
        self.changed()

    def probe_now(self) -> None:
        """Make every probe due at once (settings were reloaded)."""
        for trouble in self._now.values():
            trouble.probe_at = self._clock.monotonic()


def _pause(reach: Reach, tries: int) -> float:
    """Seconds until the next probe: soon at first, then up to the reach's cap."""
    if reach == "route":
        return min(_PROBE_CAP[reach], 60.0 * tries)
    return 0.5 + backoff(tries, 0.8, cap=_PROBE_CAP[reach])


def _named(reach: Reach, subject: str) -> dict[str, str]:
    return {"calls": subject} if reach == "platform" else {"route": subject} if reach != "daemon" else {}
