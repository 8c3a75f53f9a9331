"""inotify's hints, from the real thing: early where they come, "look at everything" where they cannot be trusted."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextvars import copy_context
from pathlib import Path

import pytest
from watchdog.observers.inotify import InotifyObserver

from renderdrop.intake import watch
from renderdrop.intake.watch import Watcher
from renderdrop.share.signs import heard_by

Until = Callable[[Callable[[], bool]], Awaitable[None]]


class Hints(list[str | None]):
    def __call__(self, path: str | None) -> None:
        self.append(path)


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    made = Watcher()
    yield made
    made.stop()


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    made = tmp_path / "inbox"
    made.mkdir()
    return made


@pytest.fixture
def hints(watcher: Watcher, inbox: Path) -> Hints:
    told = Hints()
    watcher.keep(inbox, told)
    assert told == [None]  # what came before the watch was seen by nobody
    told.clear()
    return told


def test_a_tree_that_is_too_deep_to_be_watched_is_refused_and_may_be_watched_once_it_is_not(
    watcher: Watcher, inbox: Path
) -> None:
    at = os.open(inbox, os.O_RDONLY)
    for _ in range(1100):  # the way to it is longer than a way may be
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    told = Hints()
    with pytest.raises(OSError, match="more than 300 folders lie one in the other"):
        watcher.keep(inbox, told)
    subprocess.run(["rm", "-rf", str(inbox / "d")], check=True)
    watcher.keep(inbox, told)
    assert told == [None]


async def test_the_reader_of_all_events_is_replaced_when_it_has_died(
    watcher: Watcher, hints: Hints, inbox: Path, until: Until
) -> None:
    assert watcher._observer is not None
    reader = watcher._observer._inotify_fd
    reader.stop()
    reader.join(10)
    watcher.keep(inbox, hints)
    assert hints == [None]  # what came meanwhile was seen by nobody
    (inbox / "a.png").write_bytes(b"x")
    await until(lambda: str(inbox / "a.png") in hints)


async def test_a_written_and_closed_file_is_hinted_at(hints: Hints, inbox: Path, until: Until) -> None:
    (inbox / "猫.png").write_bytes(b"x")
    await until(lambda: str(inbox / "猫.png") in hints)
    assert None not in hints


async def test_a_file_that_is_moved_in_or_renamed_is_hinted_at_under_its_new_name(
    hints: Hints, inbox: Path, tmp_path: Path, until: Until
) -> None:
    (tmp_path / "elsewhere.png").write_bytes(b"x")
    os.rename(tmp_path / "elsewhere.png", inbox / "a.png")
    await until(lambda: str(inbox / "a.png") in hints)
    os.rename(inbox / "a.png", inbox / "b.png")
    await until(lambda: str(inbox / "b.png") in hints)


async def test_a_hard_link_is_hinted_at(hints: Hints, inbox: Path, tmp_path: Path, until: Until) -> None:
    (tmp_path / "elsewhere.png").write_bytes(b"x")
    os.link(tmp_path / "elsewhere.png", inbox / "a.png")
    await until(lambda: str(inbox / "a.png") in hints)


async def test_a_new_folder_asks_for_a_sweep_because_its_first_files_are_missed(
    hints: Hints, inbox: Path, tmp_path: Path, until: Until
) -> None:
    (inbox / "sub").mkdir()
    await until(lambda: None in hints)
    hints.clear()
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "a.png").write_bytes(b"x")
    os.rename(tmp_path / "whole", inbox / "whole")
    await until(lambda: None in hints)


async def test_a_file_in_a_sub_folder_is_hinted_at(watcher: Watcher, inbox: Path, until: Until) -> None:
    (inbox / "sub").mkdir()
    hints = Hints()
    watcher.keep(inbox, hints)
    (inbox / "sub" / "a.png").write_bytes(b"x")
    await until(lambda: str(inbox / "sub" / "a.png") in hints)


async def test_a_name_that_is_no_utf_8_is_hinted_at_byte_for_byte(hints: Hints, inbox: Path, until: Until) -> None:
    path = os.path.join(os.fsencode(inbox), b"caf\xe9.png")
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    await until(lambda: any(hint is not None and os.fsencode(hint) == path for hint in hints))


@pytest.mark.parametrize("name", ["watchdog.observers.inotify", "watchdog.observers.inotify_c"])
def test_an_overflow_which_is_only_a_log_line_asks_for_a_sweep_of_everything(
    name: str, watcher: Watcher, hints: Hints, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    others = Hints()
    watcher.keep(tmp_path / "other", others)
    others.clear()
    logging.getLogger(name).warning("inotify queue overflow: events have been lost")
    assert hints == others == [None]
    logging.getLogger(name).warning("something else")
    assert len(hints) == 1


def test_the_line_that_the_library_really_writes_is_the_one_that_is_heard() -> None:
    import watchdog.observers

    folder = Path(watchdog.observers.__file__).parent
    told = [
        line.strip()
        for path in folder.glob("inotify*.py")
        for line in path.read_text("utf-8").splitlines()
        if "overflow" in line.lower()
    ]
    assert any("overflow" in line and '"' in line for line in told), told


def test_keeping_a_watch_that_lives_changes_nothing(watcher: Watcher, hints: Hints, inbox: Path) -> None:
    for _ in range(3):
        watcher.keep(inbox, hints)
    assert hints == []


async def test_an_inbox_that_was_made_anew_is_watched_again(
    watcher: Watcher, hints: Hints, inbox: Path, until: Until
) -> None:
    shutil.rmtree(inbox)
    os.mkdir(inbox)

    def renewed() -> bool:
        watcher.keep(inbox, hints)  # as every sweep does; the new folder may even have the old one's number
        return None in hints

    await until(renewed)
    (inbox / "a.png").write_bytes(b"x")
    await until(lambda: str(inbox / "a.png") in hints)


async def test_an_observer_that_died_is_replaced(watcher: Watcher, hints: Hints, inbox: Path, until: Until) -> None:
    observer = watcher._observer
    assert isinstance(observer, InotifyObserver)
    observer.stop()
    observer.join(5)
    watcher.keep(inbox, hints)
    assert None in hints
    (inbox / "a.png").write_bytes(b"x")
    await until(lambda: str(inbox / "a.png") in hints)


async def test_what_is_dropped_is_watched_no_longer(
    watcher: Watcher, hints: Hints, inbox: Path, tmp_path: Path, until: Until
) -> None:
    (tmp_path / "other").mkdir()
    others = Hints()
    watcher.keep(tmp_path / "other", others)
    watcher.drop(inbox)
    watcher.drop(tmp_path / "nobody")
    hints.clear()
    (inbox / "a.png").write_bytes(b"x")
    (tmp_path / "other" / "b.png").write_bytes(b"x")
    await until(lambda: str(tmp_path / "other" / "b.png") in others)
    assert hints == []


async def test_who_keeps_an_inbox_after_another_is_the_one_that_is_hinted_at(
    watcher: Watcher, hints: Hints, inbox: Path, until: Until
) -> None:
    later = Hints()
    watcher.keep(inbox, later)  # as after a reload of the settings
    (inbox / "a.png").write_bytes(b"x")
    await until(lambda: str(inbox / "a.png") in later)
    assert hints == []


async def test_dropping_an_inbox_waits_for_no_other_and_whoever_keeps_it_anew_is_hinted_at(
    watcher: Watcher, hints: Hints, inbox: Path, tmp_path: Path, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_TURN", 60.0)
    busy, over = threading.Event(), threading.Event()

    def set_up() -> None:
        with watcher._one_at_a_time:  # as while another inbox's folders are walked
            busy.set()
            over.wait(60)

    others = [threading.Thread(target=set_up), threading.Thread(target=watcher.drop, args=(inbox,))]
    others[0].start()
    busy.wait(60)
    others[1].start()
    others[1].join(10)
    waited = others[1].is_alive()
    over.set()
    for thread in others:
        thread.join(60)
    assert not waited
    (inbox / "a.png").write_bytes(b"x")
    later = Hints()
    watcher.keep(inbox, later)
    (inbox / "b.png").write_bytes(b"x")
    await until(lambda: str(inbox / "b.png") in later)
    assert hints == []


async def test_what_was_dropped_is_taken_down_when_another_inbox_is_kept(
    watcher: Watcher, hints: Hints, inbox: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    watcher.drop(inbox)
    watcher.keep(tmp_path / "other", Hints())
    assert watcher._observer is not None
    assert [emitter.watch.path for emitter in watcher._observer.emitters] == [str(tmp_path / "other")]


def test_a_tree_that_takes_long_to_be_watched_shows_all_the_while_that_its_share_answers(
    watcher: Watcher, inbox: Path
) -> None:
    for n in range(20):
        (inbox / str(n) / "sub").mkdir(parents=True)
    signs: list[None] = []

    def keep() -> None:
        heard_by(lambda: signs.append(None))
        watcher.keep(inbox, Hints())

    copy_context().run(keep)
    assert len(signs) > 40


def test_an_inbox_that_is_not_there_is_an_os_error(watcher: Watcher, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        watcher.keep(tmp_path / "nowhere", Hints())


async def test_an_inbox_behind_a_link_is_watched_where_it_really_is(
    watcher: Watcher, inbox: Path, tmp_path: Path, until: Until
) -> None:
    (tmp_path / "link").symlink_to(inbox)
    hints = Hints()
    watcher.keep(tmp_path / "link", hints)
    (inbox / "a.png").write_bytes(b"x")
    await until(lambda: str(inbox.resolve() / "a.png") in hints)


def test_stopping_twice_or_before_the_start_is_fine(tmp_path: Path) -> None:
    Watcher().stop()
    made = Watcher()
    made.keep(tmp_path, Hints())
    made.stop()
    made.stop()


async def test_inboxes_that_are_opened_at_the_same_moment_are_all_watched(tmp_path: Path, until: Until) -> None:
    for round_ in range(8):
        before = set(threading.enumerate())
        watcher, told = Watcher(), {tmp_path / f"{round_}-{n}": Hints() for n in range(6)}
        for inbox in told:
            inbox.mkdir()
        together = threading.Barrier(len(told))

        def open_one(
            inbox: Path, hints: Hints, together: threading.Barrier = together, watcher: Watcher = watcher
        ) -> None:  # fmt: skip
            together.wait(10)
            watcher.keep(inbox, hints)

        threads = [threading.Thread(target=open_one, args=item) for item in told.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        try:
            new = set(threading.enumerate()) - before
            assert len([t for t in new if isinstance(t, InotifyObserver)]) == 1
            for inbox in told:
                (inbox / "a.png").write_bytes(b"x")
            for inbox, hints in told.items():
                await until(lambda path=str(inbox / "a.png"), hints=hints: path in hints)  # type: ignore[misc]
        finally:
            watcher.stop()
