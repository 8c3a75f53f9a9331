"""A stage's round, run when it is due or nudged, never twice at once.

A nudge during a round makes one more round follow: nothing that happened while it looked is overlooked.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from renderdrop.runtime.tasks import Tasks


class Pulse:
    """Runs `action` on each nudge; nudges that come while it runs are answered by one more run."""

    def __init__(self, tasks: Tasks, action: Callable[[], Awaitable[Any]], name: str) -> None:
        self._tasks = tasks
        self._action = action
        self._name = name
        self._running = False
        self._again = False
        self.stopped = False

    def nudge(self) -> None:
        """Have a round soon. Cheap; may be called as often as one likes, on the event loop."""
        if self.stopped:
            return
        if self._running:
            self._again = True
            return
        self._running = True
        self._tasks.start(self._rounds(), self._name)

    async def _rounds(self) -> None:
        try:
            self._again = True
            while self._again and not self.stopped:
                self._again = False
                await self._action()
        finally:
            self._running = False
