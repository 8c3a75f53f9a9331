"""The daemon's door to the ledger: every write on one thread with group commit, every read beside it.

A deed is a plain function of a connection. Whoever awaits `write` continues only after the commit is
on disk, so "commit, then act" is the natural order of the code that calls it. The event loop never
waits for a disk. Deeds that arrive together share one transaction (each in its own savepoint) and so
one fsync: that is what makes a thousand small steps cheap.

A full disk is no reason to end: deeds wait, in their order, until there is room (`room`).
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DatabaseError, IntegrityError

from renderdrop.ledger import engine
from renderdrop.ledger.failpoints import Failpoint, Point, die
from renderdrop.ledger.look import in_use, unreadable
from renderdrop.ledger.room import AGAIN, LAST_BYTE, NEW_WORK, TOLD_AGAIN, Room, is_full
from renderdrop.model.errors import LedgerBroken, LedgerFull

T = TypeVar("T")
Deed = Callable[[Connection], T]

_TOGETHER: Final = 200
"""Deeds in one transaction at most, so that the first of a flood need not wait for the last."""


@dataclass(slots=True)
class _Errand:
    deed: Deed[Any]
    point: Point | None
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]

    def tell(self, result: Any, error: BaseException | None) -> None:
        def deliver() -> None:
            if self.answer.done():
                return
            if error is not None:
                self.answer.set_exception(error)
            else:
                self.answer.set_result(result)

        try:
            self.loop.call_soon_threadsafe(deliver)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more, and the commit stands


class Ledger:
    """An open ledger. `on_broken` is called once, from the writer's thread, when a commit fails; at `failpoint` this
    process ends; `on_full` is called from the writer's thread when the disk is full and when there is room again."""

    def __init__(
        self,
        path: Path,
        on_broken: Callable[[LedgerBroken], None] = lambda _: None,
        failpoint: Failpoint | None = None,
        on_full: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self.path = path
        self.unwritten = 0
        """Deeds about work that runs which could not be written down before the ledger was closed."""
        self._on_full = on_full
        self._room = Room(path.parent)
        self._on_broken = on_broken
        self._failpoint = failpoint
        self._broken: LedgerBroken | None = None
        self._closed = False
        self._errands: queue.SimpleQueue[_Errand | None] = queue.SimpleQueue()
        in_use.add(path)
        self._readers = engine.open_engine(path, write=False)
        self._reading = ThreadPoolExecutor(2, thread_name_prefix="ledger-read")
        self._writer = threading.Thread(target=self._write_all, name="ledger-write", daemon=True)
        self._writer.start()

    async def write(self, deed: Deed[T], point: Point | None = None) -> T:
        """Run `deed` in a transaction; returns after the commit is on disk. `point` is the commit's name.

        While the disk is full it waits for room. Raises what the deed raises, LedgerBroken, or LedgerFull where it
        cannot wait.
        """
        if self._broken is not None:
            raise self._broken
        if self._closed:
            raise LedgerBroken("the ledger is closed; the daemon is ending")
        loop = asyncio.get_running_loop()
        errand = _Errand(deed, point, loop, loop.create_future())
        self._errands.put(errand)
        return await errand.answer  # type: ignore[no-any-return]

    async def read(self, query: Deed[T]) -> T:
        """Run a query on a consistent snapshot. Raises LedgerBroken when the file cannot be read."""

        def look() -> T:
            try:
                with self._readers.connect() as conn, conn.begin():
                    return query(conn)
            except DatabaseError as error:
                broken = unreadable(self.path, error)
                if engine.is_damage(error) and not is_full(error):
                    self._break(broken, [])  # not this reader's trouble alone: nothing can be promised any more
                raise broken from error

        return await asyncio.get_running_loop().run_in_executor(self._reading, look)

    def close(self) -> None:
        """Write what was asked for, then let go of the file."""
        self._closed = True
        self._errands.put(None)
        self._writer.join()
        self._reading.shutdown()
        self._readers.dispose()
        in_use.discard(self.path)

    def _write_all(self) -> None:
        writer = engine.open_engine(self.path, write=True)
        conn: Connection | None = None
        waiting: list[_Errand] = []
        batch: list[_Errand] | None = []
        ripe: list[_Errand] = []
        self._room.keep_back()
        try:
            while (batch := self._take(waiting)) is not None:
                ripe = self._ripe(batch, waiting)
                for together in self._transactions(ripe):
                    conn, left = self._write(writer, conn, together)
                    waiting += left
            for errand in waiting:
                self.unwritten += errand.point not in NEW_WORK | TOLD_AGAIN
                errand.tell(None, LedgerBroken("the ledger's disk is full and the daemon is ending"))
        except Exception as error:
            # Foreseen by nobody. A ledger that answers no more must not look like one that is slow.
            broken = LedgerBroken(f"an error of the daemon itself ({type(error).__name__})")
            self._break(broken, [*(batch or ()), *ripe, *waiting])
            self._tell_rest(broken)
            raise
        finally:
            if conn is not None:
                conn.close()
            writer.dispose()

    def _write(
        self, writer: Engine, conn: Connection | None, together: list[_Errand]
    ) -> tuple[Connection | None, list[_Errand]]:
        """One transaction. Returns the connection to go on with, and what has to wait for room."""
        try:
            if conn is None:
                conn = writer.connect()
            self._commit(conn, together)
        except DatabaseError as error:
            if conn is None or not is_full(error):
                self._break(unreadable(self.path, error), together)
                return conn, []
            # What SQLite has undone by itself, and SQLAlchemy not, ends with the connection.
            conn.invalidate()
            conn.close()
            self._run_out(writer)
            return None, [errand for errand in together if not self._refused(errand)]
        return conn, []

    def _ripe(self, batch: list[_Errand], waiting: list[_Errand]) -> list[_Errand]:
        """Those of the new deeds, and of those that `waiting` holds, which are to be written now."""
        if self._room.full and self._room.is_back():
            self._on_full(False)
        if not self._room.full:
            now, waiting[:] = [*waiting, *batch], []
            return now
        waiting += [errand for errand in batch if not self._refused(errand)]
        now = [errand for errand in waiting if errand.point not in NEW_WORK]
        waiting[:] = [errand for errand in waiting if errand.point in NEW_WORK]
        return now

    def _transactions(self, ripe: list[_Errand]) -> list[list[_Errand]]:
        """All in one; on a full disk each by itself, the ids of accepted tasks first: one that is too large for what is
        left must not keep the others from being written down."""
        if self._room.full:
            return [[errand] for errand in sorted(ripe, key=lambda errand: errand.point != "accepted")]
        return [ripe] if ripe else []

    def _tell_rest(self, broken: LedgerBroken) -> None:
        """Whoever asked and was not heard any more."""
        while True:
            try:
                errand = self._errands.get_nowait()
            except queue.Empty:
                return
            if errand is not None:
                errand.tell(None, broken)

    @staticmethod
    def _refused(errand: _Errand) -> bool:
        """Whether a deed cannot wait for room, and has been told so."""
        if errand.point != LAST_BYTE:
            return False
        errand.tell(None, LedgerFull("the disk of the state folder is full; it is sent when there is room again"))
        return True

    def _run_out(self, writer: Engine) -> None:
        was_full = self._room.full
        self._room.run_out()
        if was_full:
            return
        self._on_full(True)
        try:
            with writer.connect() as conn:
                engine.write_back(conn)
        except (DatabaseError, sqlite3.Error):
            pass  # no room for that either

    def _take(self, waiting: list[_Errand]) -> list[_Errand] | None:
        """New deeds, or none after a while when others are `waiting`; None when the ledger is closed."""
        try:
            first = self._errands.get(timeout=AGAIN if waiting or self._room.full else None)
        except queue.Empty:
            return []
        if first is None:
            return None
        batch = [first]
        while len(batch) < _TOGETHER:
            try:
                following = self._errands.get_nowait()
            except queue.Empty:
                break
            if following is None:
                self._errands.put(None)
                break
            batch.append(following)
        return batch

    def _commit(self, conn: Connection, batch: list[_Errand]) -> None:
        told: list[tuple[_Errand, Any, BaseException | None]] = []
        fatal = self._failpoint is not None and self._failpoint.falls(errand.point for errand in batch)
        with conn.begin():
            for errand in batch:
                try:
                    with conn.begin_nested():
                        told.append((errand, errand.deed(conn), None))
                except IntegrityError as error:
                    told.append((errand, None, error))  # the deed's own doing, as the savepoint undid
                except DatabaseError:
                    raise  # the file itself: none of the batch stands
                except Exception as error:  # noqa: BLE001 - handed to whoever asked for the deed
                    told.append((errand, None, error))
            if fatal and self._failpoint is not None and not self._failpoint.after:
                die()
        if fatal:
            die()
        for errand, result, failure in told:
            errand.tell(result, failure)

    def _break(self, broken: LedgerBroken, batch: list[_Errand]) -> None:
        first = self._broken is None
        self._broken = broken
        for errand in batch:
            errand.tell(None, broken)
        if first:
            self._on_broken(broken)
