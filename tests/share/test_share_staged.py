"""A download goes on where it stopped, and is written into no file but its own, whatever lies in staging."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from renderdrop.model.errors import NoPlace, ShareOffline
from renderdrop.share import staged
from renderdrop.share.marker import Folders
from renderdrop.share.publish import Like, stage
from renderdrop.share.staged import StagedFile


@pytest.fixture
def file(folders: Folders) -> StagedFile:
    return StagedFile(stage(folders.outbox, "job1", Like.of(folders.inbox)) / "output-0")


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    made = tmp_path / "theirs"
    made.write_bytes(b"precious")
    return made


def begun(file: StagedFile, data: bytes) -> None:
    """A download that broke off after so much."""
    file.open()
    file.append(data)
    file.close()


def test_a_broken_download_goes_on_where_it_stopped(file: StagedFile) -> None:
    begun(file, b"half ")
    file.open()
    assert file.size == 5
    file.append(b"a file")
    file.finish()
    file.close()
    assert file.path.read_bytes() == b"half a file"


def put_link(path: Path, theirs: Path) -> None:
    os.link(theirs, path)


def put_symlink(path: Path, theirs: Path) -> None:
    path.symlink_to(theirs)


def put_pipe(path: Path, theirs: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("put", [put_link, put_symlink, put_pipe])
@pytest.mark.parametrize("before", [b"", b"precious"], ids=["new", "broken off"])
def test_what_somebody_put_in_its_place_is_never_written_into(
    before: bytes, put: Callable[[Path, Path], None], file: StagedFile, theirs: Path
) -> None:
    if before:
        begun(file, before)
        file.path.unlink()
    put(file.path, theirs)
    file.open()
    assert file.size == 0
    file.append(b"ours")
    file.finish()
    file.close()
    assert theirs.read_bytes() == b"precious"
    assert file.path.is_file()
    assert file.path.read_bytes() == b"ours"
    assert file.path.stat().st_nlink == 1


def test_a_link_that_comes_between_the_look_and_the_opening_is_not_written_into(
    file: StagedFile, theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = os.open

    def quicker(path: str, flags: int, *args: int, **at: int) -> int:
        if path == "output-0" and flags & os.O_CREAT and not os.path.lexists(file.path):
            os.link(theirs, file.path)
        return opening(path, flags, *args, **at)

    monkeypatch.setattr(os, "open", quicker)
    with pytest.raises(ShareOffline, match="output-0"):
        file.open()
    assert theirs.read_bytes() == b"precious"


def test_a_file_too_large_for_the_outbox_is_one_jobs_trouble(
    file: StagedFile, monkeypatch: pytest.MonkeyPatch, refuse: Callable[[int], Callable[..., None]]
) -> None:
    file.open()
    with monkeypatch.context() as small:
        small.setattr(staged, "write_all", refuse(errno.EFBIG))
        with pytest.raises(NoPlace, match="cannot hold a file as large as this one"):
            file.append(b"x")
    with monkeypatch.context() as late:
        late.setattr(os, "fsync", refuse(errno.EFBIG))  # as a server that was handed the bytes tells it
        with pytest.raises(NoPlace):
            file.finish()
    file.close()


def test_what_could_not_be_written_is_not_built_upon(
    file: StagedFile, monkeypatch: pytest.MonkeyPatch, refuse: Callable[[int], Callable[..., None]]
) -> None:
    """A network file system may tell with this write that earlier ones were lost, and tells it once."""
    file.open()
    file.append(b"lost")
    with monkeypatch.context() as full:
        full.setattr(staged, "write_all", refuse(errno.ENOSPC))
        with pytest.raises(ShareOffline):
            file.append(b"x")
    file.close()
    file.open()
    assert (file.size, file.path.stat().st_size) == (0, 0)
    file.close()
