"""Killed at any step and begun again: nothing lost, nothing doubled, nothing half-written in sight.

A death is an exception at the n-th system call after which every further call fails too: the dead do not tidy up.
Each errand is begun with a death at step 1, 2, 3, … until it lives through, and is repeated after each.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from renderdrop.model.errors import ShareOffline
from renderdrop.share import kernel
from renderdrop.share.archive import archive, remove
from renderdrop.share.make import Like, make_folders
from renderdrop.share.marker import Folders, online, prepare
from renderdrop.share.publish import publish, stage, write_staged

DATA = b"0123456789abcdef" * 100_000
CALLS = ("mkdir", "unlink", "link", "rename", "fsync", "utime", "fchmod", "fchown", "write", "open", "rmdir")


class Killed(BaseException):
    """No code of the product catches this for good."""


def deaths(monkeypatch: pytest.MonkeyPatch, begin: Callable[[], object]) -> Iterator[int]:
    """Runs `begin` again and again, killed one step later each time; yields after each death, until it lives."""
    for step in range(1, 200):
        left = step

        def mortal(call: Callable[..., Any]) -> Callable[..., Any]:
            def either(*args: Any, **kwargs: Any) -> Any:
                nonlocal left
                left -= 1
                if left <= 0:
                    raise Killed
                return call(*args, **kwargs)

            return either

        with monkeypatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, mortal(getattr(os, name)))
            patch.setattr(kernel, "rename_noreplace", mortal(kernel.rename_noreplace))
            try:
                begin()
            except Killed:
                pass
            else:
                return
        yield step
    raise AssertionError("it never came to an end")


def everywhere(*roots: Path) -> dict[str, bytes]:
    """All files but the marker, and whether they are whole."""
    return {
        f"{root.name}/{path.relative_to(root)}": path.read_bytes()
        for root in roots
        for path in root.rglob("*")
        if path.is_file() and path.name != ".renderdrop"
    }


def in_sight(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if "/.renderdrop" not in name}


@pytest.mark.parametrize("across", [False, True])
def test_a_source_survives_an_archiving_that_is_killed_anywhere(
    folders: Folders,
    each_rename: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    across: bool,
) -> None:
    done = request.getfixturevalue("real_far") if across else folders.done
    like = Like.of(folders.inbox)
    path = folders.inbox / "sub" / "a.png"
    path.parent.mkdir()

    def drop() -> None:
        for root in (folders.inbox, done):
            for rel in everywhere(root):
                (root.parent / rel).unlink()
        path.write_bytes(DATA)
        os.utime(path, ns=(0, 10**18 + 1))

    def put_away() -> str:
        return archive(folders.inbox, "sub/a.png", done, "sub/a.png", len(DATA), 10**18 + 1, like)

    drop()
    for step in deaths(monkeypatch, put_away):
        files = everywhere(folders.inbox, done)
        assert DATA in files.values(), f"lost at step {step}"
        assert set(in_sight(files).values()) <= {DATA}, f"half-written at step {step}"
        assert put_away() == "moved"
        assert everywhere(folders.inbox, done) == {f"{done.name}/sub/a.png": DATA}
        drop()


def test_a_removal_that_is_killed_anywhere_can_be_repeated(
    folders: Folders, each_rename: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folders.inbox / "a.png"

    def drop() -> None:
        path.write_bytes(DATA)
        os.utime(path, ns=(0, 10**18))

    def begin() -> str:
        return remove(folders.inbox, "a.png", len(DATA), 10**18)

    drop()
    for _ in deaths(monkeypatch, begin):
        assert begin() in ("moved", "gone")
        assert everywhere(folders.inbox) == {}
        drop()


def test_a_source_saved_anew_after_a_killed_removal_is_not_the_one_to_remove(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folders.inbox / "a.png"

    def drop() -> None:
        path.write_bytes(DATA)
        os.utime(path, ns=(0, 10**18))

    def begin() -> str:
        return remove(folders.inbox, "a.png", len(DATA), 10**18)

    drop()
    for _ in deaths(monkeypatch, begin):
        path.write_bytes(b"saved anew")
        assert begin() == "changed"
        assert everywhere(folders.inbox) == {"inbox/a.png": b"saved anew"}
        drop()


@pytest.mark.parametrize("across", [False, True])
def test_a_publishing_that_is_killed_anywhere_shows_the_whole_or_nothing(
    folders: Folders,
    each_rename: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    across: bool,
) -> None:
    outbox = request.getfixturevalue("real_far") if across else folders.outbox
    like = Like.of(folders.inbox)
    staged = stage(folders.outbox, "job1", like) / "000"

    def begin() -> None:
        publish(outbox, staged, "sub", "a.png", like)

    write_staged(staged, DATA, like)
    for step in deaths(monkeypatch, begin):
        shown = in_sight(everywhere(outbox))
        assert set(shown.values()) <= {DATA}, f"half-written at step {step}"
        try:
            begin()
        except ShareOffline:
            assert not staged.exists()  # it had gone the whole way
        assert everywhere(outbox) == {f"{outbox.name}/sub/a.png": DATA}
        assert not staged.exists()
        (outbox / "sub" / "a.png").unlink()
        write_staged(staged, DATA, like)


def test_a_staged_file_that_was_half_written_is_written_again(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    like = Like.of(folders.inbox)
    staged = stage(folders.outbox, "job1", like) / "000"
    for _ in deaths(monkeypatch, lambda: write_staged(staged, DATA, like)):
        write_staged(staged, DATA, like)
        assert staged.read_bytes() == DATA


def test_folders_that_were_half_made_are_made(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    like = Like.of(folders.inbox)
    count = 0

    def begin() -> None:
        make_folders(folders.outbox, f"{count}/b/c", like)

    for _ in deaths(monkeypatch, begin):
        begin()
        assert (folders.outbox / f"{count}" / "b" / "c").is_dir()
        count += 1


def test_a_share_that_was_half_prepared_is_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = Folders(tmp_path / "inbox", tmp_path / "outbox", tmp_path / "done", tmp_path / "failed")
    for _ in deaths(monkeypatch, lambda: prepare(folders, seen=False)):
        prepare(folders, seen=False)
        online(folders)
        for path in tmp_path.iterdir():
            shutil.rmtree(path)
