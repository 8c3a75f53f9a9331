"""The daemon's door to the ledger: many writes, few transactions, and no answer before the commit is on disk."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, select, text

from renderdrop.ledger import engine, moves, queries, store
from renderdrop.ledger.room import Room
from renderdrop.ledger.schema import shares, troubles
from renderdrop.ledger.store import Ledger
from renderdrop.model.errors import LedgerBroken, LedgerFull

AT = "2026-11-22T14:18:00.000Z"


def note(name: str) -> Any:
    return lambda c: moves.see_folder(c, name, AT)


def names(path: Path) -> set[str]:
    """What another process sees."""
    raw = sqlite3.connect(path)
    found = {bytes(row[0]).decode() for row in raw.execute("SELECT inbox FROM shares")}
    raw.close()
    return found


async def test_a_write_is_on_disk_when_it_returns(ledger: Ledger) -> None:
    for n in range(5):
        await ledger.write(note(f"/{n}"))
        assert f"/{n}" in names(ledger.path)
        assert Path(f"/{n}") in await ledger.read(queries.seen_folders)


async def test_a_write_gives_back_what_its_deed_does(ledger: Ledger) -> None:
    assert await ledger.write(lambda _: 42) == 42
    assert await ledger.write(lambda _: ["a"]) == ["a"]


async def test_deeds_that_come_together_share_few_transactions(
    ledger_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[int] = []
    opening = engine.open_engine

    def counted(path: Path, *, write: bool) -> Engine:
        opened = opening(path, write=write)
        if write:
            event.listen(opened, "commit", lambda _: commits.append(1))
        return opened

    monkeypatch.setattr(engine, "open_engine", counted)
    ledger = Ledger(ledger_file)
    begun, go = threading.Event(), threading.Event()

    def hold(_: Connection) -> None:
        begun.set()
        go.wait(10)

    first = asyncio.ensure_future(ledger.write(hold))
    await asyncio.to_thread(begun.wait, 10)
    others = [asyncio.ensure_future(ledger.write(note(f"/{n}"))) for n in range(300)]
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(first, *others)
    assert len(names(ledger_file)) == 300
    assert len(commits) == 1 + 2  # the first alone, the rest in two transactions of at most 200
    ledger.close()


async def test_a_deed_that_fails_does_not_spoil_its_neighbours(ledger: Ledger) -> None:
    def bad(c: Connection) -> None:
        moves.see_folder(c, "/bad", AT)
        raise ValueError("mine alone")

    def clash(c: Connection) -> None:
        for _ in range(2):
            c.execute(troubles.insert().values(reach="share", subject="x", sentence="", since=AT))

    done = await asyncio.gather(
        ledger.write(note("/a")), ledger.write(bad), ledger.write(note("/b")), ledger.write(clash),
        ledger.write(note("/c")), return_exceptions=True,
    )  # fmt: skip
    assert [type(d) if isinstance(d, BaseException) else d for d in done][:3] == [None, ValueError, None]
    assert isinstance(done[3], Exception)
    assert not isinstance(done[3], LedgerBroken)
    assert done[4] is None
    assert names(ledger.path) == {"/a", "/b", "/c"}
    assert await ledger.read(queries.present_troubles) == []
    await ledger.write(note("/d"))


async def test_someone_who_no_longer_waits_holds_up_nobody(ledger: Ledger) -> None:
    begun, go = threading.Event(), threading.Event()

    def hold(_: Connection) -> None:
        begun.set()
        go.wait(10)

    first = asyncio.ensure_future(ledger.write(hold))
    await asyncio.to_thread(begun.wait, 10)
    left = asyncio.ensure_future(ledger.write(note("/left")))
    await asyncio.sleep(0)
    left.cancel()
    go.set()
    await first
    await ledger.write(note("/next"))
    assert "/next" in names(ledger.path)


async def test_the_loop_goes_on_while_the_disk_is_slow(ledger: Ledger) -> None:
    go = threading.Event()
    slow = asyncio.ensure_future(ledger.write(lambda _: go.wait(10)))
    turns = 0
    while turns < 50:
        await asyncio.sleep(0)
        turns += 1
    assert not slow.done()
    # A read neither waits for the write nor sees half of it.
    assert await ledger.read(queries.seen_folders) == frozenset()
    go.set()
    assert await slow is True


async def test_a_read_is_one_snapshot(ledger: Ledger) -> None:
    await ledger.write(note("/a"))
    looked, wrote = threading.Event(), threading.Event()

    def twice(c: Connection) -> tuple[int, int]:
        first = len(c.execute(select(shares)).all())
        looked.set()
        wrote.wait(10)
        return first, len(c.execute(select(shares)).all())

    reading = asyncio.ensure_future(ledger.read(twice))
    await asyncio.to_thread(looked.wait, 10)
    await ledger.write(note("/b"))
    wrote.set()
    assert await reading == (1, 1)


async def test_closing_writes_what_was_asked_for(ledger_file: Path) -> None:
    ledger = Ledger(ledger_file)
    asked = [asyncio.ensure_future(ledger.write(note(f"/{n}"))) for n in range(250)]
    await asyncio.sleep(0)
    await asyncio.to_thread(ledger.close)
    assert len(names(ledger_file)) == 250
    await asyncio.gather(*asked)


class SmallDisk:
    """A disk on which the ledger may grow to so many pages."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pages, self.full, self.told = 2**30, False, list[bool]()
        self.broken: list[LedgerBroken] = []
        opening = engine.open_engine

        def small(path: Path, *, write: bool, **more: Any) -> Engine:
            opened = opening(path, write=write, **more)
            if write:
                event.listen(opened, "connect", lambda c, _: c.execute(f"PRAGMA max_page_count = {self.pages}"))
            return opened

        def is_back(room: Room) -> bool:
            room.full = self.full
            return not room.full

        monkeypatch.setattr(engine, "open_engine", small)
        monkeypatch.setattr(Room, "is_back", is_back)
        monkeypatch.setattr(store, "AGAIN", 0.02)

    def fill(self) -> None:
        self.pages, self.full = 1, True

    async def meets(self, ledger_file: Path, *deeds: tuple[Any, Any]) -> tuple[Ledger, list[asyncio.Task[Any]]]:
        """A ledger that has met the full disk with these deeds and their points, which wait for room now."""
        self.fill()
        ledger = Ledger(ledger_file, self.broken.append, on_full=self.told.append)
        waiting = [asyncio.ensure_future(ledger.write(deed, point)) for deed, point in deeds]
        async with asyncio.timeout(20):
            while self.told != [True]:  # noqa: ASYNC110 - told from the ledger's thread
                await asyncio.sleep(0.005)
        return ledger, waiting

    def free(self) -> None:
        self.pages, self.full = 2**30, False


def large(c: Connection) -> None:
    c.execute(text("INSERT INTO shares (inbox, seen_at) VALUES (zeroblob(1000000), 'now')"))


async def test_on_a_full_disk_every_deed_waits_for_room_and_none_is_lost(
    ledger_file: Path, monkeypatch: pytest.MonkeyPatch, until: Callable[[Callable[[], bool]], Awaitable[None]]
) -> None:
    broken: list[LedgerBroken] = []
    disk = SmallDisk(monkeypatch)
    disk.fill()
    ledger = Ledger(ledger_file, broken.append, on_full=disk.told.append)
    writing = [asyncio.ensure_future(deed) for deed in (ledger.write(note("/a")), ledger.write(large, "accepted"))]
    await until(lambda: disk.told == [True])
    later = asyncio.ensure_future(ledger.write(note("/b"), "adopted"))
    done, _ = await asyncio.wait([*writing, later], timeout=0.2)
    assert not [task for task in done if task.exception()]
    assert not writing[1].done()
    assert not later.done()
    assert await ledger.read(lambda _: "is read all the same") == "is read all the same"
    disk.free()
    await asyncio.gather(*writing, later)
    assert {"/a", "/b"} <= names(ledger_file)
    assert (disk.told, broken, ledger.unwritten) == ([True, False], [], 0)
    ledger.close()


async def test_while_the_disk_is_full_what_runs_is_written_and_nothing_is_begun(
    ledger_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SmallDisk(monkeypatch)
    ledger, [held] = await disk.meets(ledger_file, (large, "submitting"))
    assert not (ledger_file.parent / "ledger.reserve").exists()
    disk.pages = 2**30  # the reserve was given up
    # A request that is on the wire is not kept waiting for its last byte's commit.
    with pytest.raises(LedgerFull):
        await ledger.write(note("/complete"), "complete")
    await ledger.write(note("/accepted"), "accepted")
    assert names(ledger_file) == {"/accepted"}
    assert not held.done()
    disk.free()
    await held
    ledger.close()


async def test_what_a_full_disk_kept_from_being_written_is_counted_at_the_end(
    ledger_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SmallDisk(monkeypatch)
    points = ("accepted", "rendered", "adopted")
    ledger, writing = await disk.meets(ledger_file, *((large, point) for point in points))
    await asyncio.to_thread(ledger.close)
    assert ledger.unwritten == 2
    for failure in await asyncio.gather(*writing, return_exceptions=True):
        assert isinstance(failure, LedgerBroken)


async def test_a_disk_too_full_to_write_the_journal_back_is_only_full(
    ledger_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: Connection) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(engine, "write_back", refused)
    disk = SmallDisk(monkeypatch)
    ledger, [writing] = await disk.meets(ledger_file, (large, None))
    disk.free()
    await writing
    assert not disk.broken
    ledger.close()


async def test_a_deed_too_large_for_what_is_left_keeps_no_other_from_being_written(
    ledger_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SmallDisk(monkeypatch)
    ledger, [held] = await disk.meets(ledger_file, (large, "rendered"))
    with sqlite3.connect(ledger_file) as raw:
        [(pages,)] = raw.execute("PRAGMA page_count")
    raw.close()
    disk.pages = pages + 8
    await ledger.write(note("/accepted"), "accepted")
    assert names(ledger_file) == {"/accepted"}
    assert not held.done()
    disk.free()
    await held
    ledger.close()


async def test_a_stop_on_a_full_disk_counts_nothing_that_the_next_start_finds_out_for_itself(
    ledger_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SmallDisk(monkeypatch)
    ledger, [writing] = await disk.meets(ledger_file, (large, "trouble"))
    await asyncio.to_thread(ledger.close)
    assert ledger.unwritten == 0
    with pytest.raises(LedgerBroken):
        await writing


class Disk:
    """What the system says of a disk, in bytes."""

    f_frsize = 1

    def __init__(self, monkeypatch: pytest.MonkeyPatch, whole: int) -> None:
        self.f_blocks, self.free = whole, 0
        monkeypatch.setattr("os.statvfs", lambda _: self)

    @property
    def f_bavail(self) -> int:
        return self.free


def test_a_disk_that_is_full_again_at_once_has_to_have_more_room_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch, whole=2**40)
    room = Room(tmp_path)
    for wanted in (2**21, 2**23, 2**25, 2**27, 2**27):  # and no more than that
        room.run_out()
        for disk.free, is_back in ((wanted - 1, False), (wanted, True)):
            room._looked = 0.0
            assert room.is_back() is is_back


def test_a_small_disk_need_not_have_more_room_than_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, whole=2**25)
    room = Room(tmp_path)
    for wanted in (2**21, 2**22, 2**22):  # twice the reserve at least, and no more than an eighth
        room.run_out()
        for disk.free, is_back in ((wanted - 1, False), (wanted, True)):
            room._looked = 0.0
            assert room.is_back() is is_back
    disk.free = 2**17 - 1
    assert room.is_cramped()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_writer_that_dies_of_something_unforeseen_stops_the_daemon_loudly(
    ledger_file: Path, monkeypatch: pytest.MonkeyPatch, until: Callable[[Callable[[], bool]], Awaitable[None]]
) -> None:
    def unforeseen(*_: object) -> None:
        raise RuntimeError("what nobody thought of")

    monkeypatch.setattr(Ledger, "_commit", unforeseen)
    broken: list[LedgerBroken] = []
    ledger = Ledger(ledger_file, broken.append)
    with pytest.raises(LedgerBroken, match="RuntimeError"):
        await ledger.write(note("/a"))
    await until(lambda: len(broken) == 1)
    with pytest.raises(LedgerBroken):
        await ledger.write(note("/b"))
    await asyncio.to_thread(ledger.close)


def test_the_reserve_is_there_while_there_is_room(tmp_path: Path) -> None:
    room = Room(tmp_path)
    assert room.keep_back()
    assert (tmp_path / "ledger.reserve").stat().st_blocks * 512 >= 2**20
    room.run_out()
    assert room.full
    assert list(tmp_path.iterdir()) == []
    assert not room.is_back()  # it has only just looked
    room._looked = 0.0
    assert room.is_back()
    assert (tmp_path / "ledger.reserve").exists()


async def test_a_ledger_that_is_gone_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"\xa5" * 9000)
    ledger = Ledger(path)
    with pytest.raises(LedgerBroken):
        await ledger.read(queries.counts)
    with pytest.raises(LedgerBroken):
        await ledger.write(note("/a"))
    ledger.close()
