"""Shares that hang: every route's share has threads of its own, and nobody waits for one longer than is reasonable.

Owns every trip from the event loop to a share and back. A call that stays silent for too long is given up: whoever
waits is told that the share does not answer, and is free for others. The call itself cannot be ended (a thread may
sleep in the kernel for as long as a server is away) and may yet do its work, so until every call that was given up has
come back, nothing more is asked of that share: nothing is repeated beside an old call, and no further thread is lost.
What a late call did is then found as done, exactly as after a crash; what it opened is closed.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, TypeVarTuple

from renderdrop.model.errors import ShareOffline
from renderdrop.model.route import Route
from renderdrop.share.signs import heard_by

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

PATIENCE: Final = 20.0
"""Seconds without a sign of life after which a share counts as hanging. The disks of a NAS that went to sleep need
up to 15 s to turn again, and no single look, rename or block of a megabyte takes longer on a share that works."""
SLOW: Final = 1.0
"""Seconds of silence after which nothing new is begun with a share until it answers, and its jobs hold no hands."""
_IN_HURRY: Final = 3.0
"""Seconds of patience while the daemon ends: work that waits for a hanging share still has to be put away after."""
_THREADS: Final = 16
"""A share's threads: as many as uploads, downloads, filings and a visit ask for at once under the usual settings."""
_SLOWEST: Final = 1_000_000
"""Bytes a second on which the patience for one call that moves many bytes is reckoned: a sync after gigabytes is a
single silent call. It counts only while the share answers others."""


@dataclass(slots=True, eq=False)
class _Call:
    """One call on its way. `heard`: its last sign of life, monotonic; None while it waits for a thread."""

    work: Callable[[], Any]
    answer: asyncio.Future[Any]
    patience: float
    late: Callable[[Any], object] | None = None
    heard: float | None = None
    thread: Future[None] | None = None


@dataclass(slots=True)
class Disk:
    """One share: `await disk(function, …)` runs a blocking function in one of its threads."""

    patience: float = PATIENCE
    clock: Callable[[], float] = time.monotonic
    _out: set[_Call] = field(default_factory=set)
    _lost: set[_Call] = field(default_factory=set)
    """Given up, and not back yet."""
    _closings: list[Callable[[], object]] = field(default_factory=list)
    _watch: asyncio.TimerHandle | None = None
    _ended: bool = False
    _threads: ThreadPoolExecutor = field(
        default_factory=partial(ThreadPoolExecutor, _THREADS, thread_name_prefix="share")
    )

    async def __call__(
        self,
        work: Callable[[*Ts], T],
        *args: *Ts,
        size: int = 0,
        late: Callable[[T], object] | None = None,
    ) -> T:
        """The result of `work(*args)`. `size`: bytes that it moves without a sign of life between; `late` puts away a
        result that nobody waits for any more. Raises what `work` raises, or ShareOffline when the share is silent."""
        if self._lost or self._ended:
            raise self._offline()
        answer = asyncio.get_running_loop().create_future()
        call = _Call(partial(work, *args), answer, self.patience + size / _SLOWEST, late)
        self._begin(call, self._out)
        return await answer  # type: ignore[no-any-return]

    async def close(self, closing: Callable[[], object]) -> None:
        """Close something, once or more often: closing a file may hang like every other call. Where the share is
        silent, it is closed as soon as it answers again. Never raises what `closing` does."""
        if self._lost or self._ended:
            self._put_away(closing)
            return
        try:
            await self(closing)
        except ShareOffline:
            self._put_away(closing)
        except OSError:
            pass

    @property
    def silent(self) -> bool:
        """Whether it has kept somebody waiting for longer than SLOW: nothing new should be begun with it."""
        now = self.clock()
        return any(c.heard is not None and now - c.heard > SLOW for c in (*self._out, *self._lost))

    @property
    def hangs(self) -> bool:
        """Whether calls were given up and are not back yet."""
        return bool(self._lost)

    def hurry(self) -> None:
        """The daemon is to end: be patient no longer than it may take."""
        self.patience = min(self.patience, _IN_HURRY)
        for call in self._out:
            call.patience = min(call.patience, _IN_HURRY)

    def end(self) -> None:
        """No more calls. Those that are out are left to themselves."""
        self._ended = True
        if self._watch is not None:
            self._watch.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _begin(self, call: _Call, among: set[_Call]) -> None:
        loop = asyncio.get_running_loop()
        among.add(call)
        call.thread = self._threads.submit(self._run, call, loop)
        if self._watch is None:
            self._watch = loop.call_later(min(1.0, self.patience / 4), self._look)

    def _put_away(self, closing: Callable[[], object]) -> None:
        """The same without waiting."""
        if self._lost:
            self._closings.append(closing)
        elif not self._ended:
            self._close(closing, self._out)

    def _close(self, closing: Callable[[], object], among: set[_Call]) -> None:
        answer = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._begin(_Call(closing, answer, self.patience), among)

    def _run(self, call: _Call, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread of the share."""

        def hear() -> None:
            call.heard = self.clock()

        hear()
        heard_by(hear)
        result, error = None, None
        try:
            result = call.work()
        except BaseException as raised:  # noqa: BLE001 - handed to whoever waits
            error = raised
        try:
            loop.call_soon_threadsafe(self._back, call, result, error)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    def _back(self, call: _Call, result: Any, error: BaseException | None) -> None:
        self._out.discard(call)
        if not call.answer.done():
            if error is None:
                call.answer.set_result(result)
            else:
                call.answer.set_exception(error)
        elif error is None and call.late is not None:
            self._put_away(partial(call.late, result))
        if call in self._lost:
            self._lost.discard(call)
            self._go_on()

    def _go_on(self) -> None:
        """All are back: first what was left open is closed, then others may come again."""
        if self._lost:
            return
        closings, self._closings = self._closings, []
        for closing in closings if not self._ended else ():
            self._close(closing, self._lost)

    def _look(self) -> None:
        now, self._watch = self.clock(), None
        for call in [call for call in self._out if call.heard is not None]:
            assert call.heard is not None
            if now - call.heard >= (self.patience if self._lost else call.patience):
                self._out.discard(call)
                self._lost.add(call)
                self._tell(call)
        if self._lost:
            # What still waits for a thread has not begun, so nothing of it can come later.
            for call in [call for call in self._out if call.thread is not None and call.thread.cancel()]:
                self._out.discard(call)
                self._tell(call)
        if self._out:
            self._watch = asyncio.get_running_loop().call_later(min(1.0, self.patience / 4), self._look)

    def _tell(self, call: _Call) -> None:
        if not call.answer.done():
            call.answer.set_exception(self._offline())

    def _offline(self) -> ShareOffline:
        return ShareOffline(
            f"the share does not answer (it left a call without a word for {self.patience:.0f} s); look at its server "
            "and its mount. Its jobs wait where they are, and go on by themselves when it answers"
        )


class Disks:
    """The shares of all routes."""

    def __init__(self) -> None:
        self._disks: dict[tuple[str, Path, Path, Path, Path], Disk] = {}

    def of(self, route: Route) -> Disk:
        """A route's share. One whose folders the settings have moved elsewhere is another one."""
        return self._disks.setdefault((route.name, route.inbox, route.outbox, route.done, route.failed), Disk())

    def hurry(self) -> None:
        """The daemon is to end: be patient no longer than it may take."""
        for disk in self._disks.values():
            disk.hurry()

    def end(self) -> None:
        """No more calls to any share."""
        for disk in self._disks.values():
            disk.end()
