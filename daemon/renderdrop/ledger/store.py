"""The daemon's door to the ledger: every write on one thread with group commit, every read beside it.

A deed is a plain function of a connection. Whoever awaits `write` continues only after the commit is
on disk, so "commit, then act" is the natural order of the code that calls it. The event loop never
waits for a disk. Deeds that arrive together share one transaction (each in its own savepoint) and so
one fsync: that is what makes a thousand small steps cheap.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DatabaseError, IntegrityError

from renderdrop.ledger import engine
from renderdrop.model.errors import LedgerBroken

T = TypeVar("T")
Deed = Callable[[Connection], T]

_TOGETHER: Final = 200
"""Deeds in one transaction at most, so that the first of a flood need not wait for the last."""


@dataclass(slots=True)
class _Errand:
    deed: Deed[Any]
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
    """An open ledger. `on_broken` is called once, from the writer's thread, when a commit fails."""

    def __init__(self, path: Path, on_broken: Callable[[LedgerBroken], None] = lambda _: None) -> None:
        self.path = path
        self._on_broken = on_broken
        self._broken: LedgerBroken | None = None
        self._closed = False
        self._errands: queue.SimpleQueue[_Errand | None] = queue.SimpleQueue()
        self._readers = engine.open_engine(path, write=False)
        self._reading = ThreadPoolExecutor(2, thread_name_prefix="ledger-read")
        self._writer = threading.Thread(target=self._write_all, name="ledger-write", daemon=True)
        self._writer.start()

    async def write(self, deed: Deed[T]) -> T:
        """Run `deed` in a transaction; returns after the commit is on disk.

        Raises what the deed raises, or LedgerBroken.
        """
        if self._broken is not None:
            raise self._broken
        if self._closed:
            raise LedgerBroken("the ledger is closed; the daemon is ending")
        loop = asyncio.get_running_loop()
        errand = _Errand(deed, loop, loop.create_future())
        self._errands.put(errand)
        return await errand.answer  # type: ignore[no-any-return]

    async def read(self, query: Deed[T]) -> T:
        """Run a query on a consistent snapshot. Raises LedgerBroken when the file cannot be read."""

        def look() -> T:
            try:
                with self._readers.connect() as conn, conn.begin():
                    return query(conn)
            except DatabaseError as error:
                raise engine.unreadable(self.path, error) from error

        return await asyncio.get_running_loop().run_in_executor(self._reading, look)

    def close(self) -> None:
        """Write what was asked for, then let go of the file."""
        self._closed = True
        self._errands.put(None)
        self._writer.join()
        self._reading.shutdown()
        self._readers.dispose()

    def _write_all(self) -> None:
        writer = engine.open_engine(self.path, write=True)
        conn: Connection | None = None
        try:
            while (batch := self._take()) is not None:
                try:
                    if conn is None:
                        conn = writer.connect()
                    self._commit(conn, batch)
                except DatabaseError as error:
                    self._break(engine.unreadable(self.path, error), batch)
        finally:
            if conn is not None:
                conn.close()
            writer.dispose()

    def _take(self) -> list[_Errand] | None:
        first = self._errands.get()
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
        for errand, result, failure in told:
            errand.tell(result, failure)

    def _break(self, broken: LedgerBroken, batch: list[_Errand]) -> None:
        first = self._broken is None
        self._broken = broken
        for errand in batch:
            errand.tell(None, broken)
        if first:
            self._on_broken(broken)
