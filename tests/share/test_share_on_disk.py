"""Killed at any step and begun again: when it is over, all names are on disk, and a power cut could take none back.

A folder owes a sync from the moment a name in it is made, renamed or removed. The dead leave their debts to whoever
begins again, who finds things done and must not take them for lasting.
"""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from renderdrop.share import kernel, make
from renderdrop.share.archive import archive, remove
from renderdrop.share.make import Like
from renderdrop.share.marker import Folders, prepare
from renderdrop.share.publish import publish, stage, write_staged
from renderdrop.share.told import take_told

DATA: Final = b"0123456789abcdef" * 1000
NOTICE: Final = "a could not be rendered: no.\nWhen that is put right, move it.\nJob j1, route r.\n"
Owing = set[int]


class Killed(BaseException):
    """No code of the product catches this for good."""


def owing(monkeypatch: pytest.MonkeyPatch, begin: Callable[[], object]) -> Iterator[Owing]:
    """Runs `begin` again and again, killed at one call later each time, and then as a new process would, to its end;
    yields the inodes of the folders that then still owe a sync."""
    debts = Owing()
    for step in range(1, 200):
        left = step
        debts.clear()
        make._on_disk.clear()

        def either(call: Callable[..., Any], folders: Callable[..., list[int]]) -> Callable[..., Any]:
            def mortal(*args: Any, **kwargs: Any) -> Any:
                nonlocal left
                left -= 1
                if left <= 0:
                    raise Killed
                result = call(*args, **kwargs)
                for fd in folders(*args, **kwargs):
                    debts.add(os.fstat(fd).st_ino)
                return result

            return mortal

        def sync(fd: int, call: Callable[[int], None] = os.fsync) -> None:
            call(fd)
            debts.discard(os.fstat(fd).st_ino)

        with monkeypatch.context() as patch:
            patch.setattr(kernel, "rename_noreplace", either(kernel.rename_noreplace, lambda a, _, b, __: [a, b]))
            for name in ("mkdir", "unlink", "rmdir"):
                patch.setattr(os, name, either(getattr(os, name), lambda *_, dir_fd=None: [dir_fd]))
            patch.setattr(os, "fsync", either(sync, lambda _: []))
            try:
                begin()
                return
            except Killed:
                left = 10_000
                make._on_disk.clear()
            try:
                begin()
            except FileExistsError:
                pass  # told to whoever asks, who then finds that it is its own
        yield debts
    raise AssertionError("it never came to an end")


def inodes(*places: Path) -> Owing:
    return {place.stat().st_ino for place in places if place.is_dir()}


@pytest.fixture
def like(folders: Folders) -> Like:
    return Like.of(folders.inbox)


@pytest.mark.parametrize("across", [False, True])
def test_an_archive_that_was_killed_anywhere_is_on_disk_in_the_end(
    across: bool, folders: Folders, like: Like, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: Path = request.getfixturevalue("real_far") if across else folders.done
    path, count = folders.inbox / "a.png", 0

    def drop() -> None:
        path.write_bytes(DATA)
        os.utime(path, ns=(0, 10**18))

    def begin() -> str:
        return archive(folders.inbox, "a.png", done, f"sub{count}/a.png", len(DATA), 10**18, like)

    drop()
    for debts in owing(monkeypatch, begin):
        assert not debts & inodes(folders.inbox, done, done / f"sub{count}"), count
        drop()
        count += 1
    assert count > 3


def test_a_removal_that_was_killed_anywhere_is_on_disk_in_the_end(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folders.inbox / "a.png"

    def drop() -> None:
        path.write_bytes(DATA)
        os.utime(path, ns=(0, 10**18))

    drop()
    for debts in owing(monkeypatch, lambda: remove(folders.inbox, "a.png", len(DATA), 10**18)):
        assert not debts & inodes(folders.inbox)
        drop()


def test_a_publishing_that_was_killed_anywhere_is_on_disk_in_the_end(
    folders: Folders, like: Like, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged, count = stage(folders.outbox, "job", like) / "sidecar", 0

    def begin() -> None:
        write_staged(staged, DATA, like)
        publish(folders.outbox, staged, f"sub{count}", "a.json", like)

    for debts in owing(monkeypatch, begin):
        assert not debts & inodes(folders.outbox, folders.outbox / f"sub{count}"), count
        count += 1
    assert count > 3


def test_a_notice_that_was_taken_back_stays_away(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    (folders.failed / "a.error.txt").write_text(NOTICE)
    for debts in owing(monkeypatch, lambda: take_told(folders.failed, "a.error.txt", {"j1"})):
        assert not debts & inodes(folders.failed)
        (folders.failed / "a.error.txt").write_text(NOTICE)


def test_a_share_that_was_half_prepared_is_on_disk_before_the_ledger_counts_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0

    def here() -> Folders:
        base = tmp_path / f"share{count}"
        return Folders(*(base / place for place in ("inbox", "outbox", "done", "failed")))

    here().inbox.parent.mkdir()
    for debts in owing(monkeypatch, lambda: prepare(here(), seen=False)):
        assert not debts & inodes(here().inbox.parent, *here().each), count
        assert stat.S_ISREG((here().inbox / ".renderdrop").stat().st_mode)
        count += 1
        here().inbox.parent.mkdir()
