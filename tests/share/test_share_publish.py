"""Results appear whole and under a free name, whatever lies in their way."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from renderdrop.model.errors import ShareOffline
from renderdrop.share import kernel, move
from renderdrop.share import publish as publishing
from renderdrop.share.marker import MARKER, Folders
from renderdrop.share.publish import (
    Like,
    make_folders,
    names_in,
    publish,
    stage,
    trouble,
    unstage,
    write_staged,
)
from renderdrop.share.staged import StagedFile

Refuse = Callable[[int], Callable[..., None]]


def staged(folders: Folders, data: bytes = b"result", name: str = "000") -> Path:
    like = Like.of(folders.inbox)
    path = stage(folders.outbox, "job1", like) / name
    write_staged(path, data, like)
    return path


def test_a_result_is_put_together_out_of_sight_and_then_named(folders: Folders, each_rename: str) -> None:
    path = staged(folders)
    assert names_in(folders.outbox, "") == [".renderdrop"]
    publish(folders.outbox, path, "sub/deep", "a.png", Like.of(folders.inbox))
    assert (folders.outbox / "sub" / "deep" / "a.png").read_bytes() == b"result"
    assert not path.exists()
    assert names_in(folders.outbox, "sub/deep") == ["a.png"]
    unstage(folders.outbox, "job1")
    assert os.listdir(folders.outbox / ".renderdrop") == []


@pytest.mark.usefixtures("each_lookup")
def test_any_name_is_published_byte_for_byte(folders: Folders, any_name: str) -> None:
    publish(folders.outbox, staged(folders), "肖像", any_name, Like.of(folders.inbox))
    assert names_in(folders.outbox, "肖像") == [any_name]


@pytest.mark.parametrize("there", ["file", "folder", "link", "dangling", "pipe"])
def test_nothing_that_exists_is_replaced(folders: Folders, each_rename: str, there: str) -> None:
    place = folders.outbox / "a.png"
    (folders.outbox / "other").write_bytes(b"theirs")
    match there:
        case "file":
            place.write_bytes(b"theirs")
        case "folder":
            place.mkdir()
        case "pipe":
            os.mkfifo(place)
        case _:
            place.symlink_to("other" if there == "link" else "nowhere")
    before = place.lstat()
    path = staged(folders)
    with pytest.raises(FileExistsError):
        publish(folders.outbox, path, "", "a.png", Like.of(folders.inbox))
    now = place.lstat()
    assert (now.st_ino, now.st_mode, now.st_size) == (before.st_ino, before.st_mode, before.st_size)
    assert (folders.outbox / "other").read_bytes() == b"theirs"
    assert path.read_bytes() == b"result"


def test_a_file_system_that_says_it_has_no_such_call_gets_another(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, refuse: Refuse
) -> None:
    for number in (errno.ENOSYS, errno.EINVAL, errno.EPERM):
        monkeypatch.setattr(kernel, "rename_noreplace", refuse(number))
        publish(folders.outbox, staged(folders), "", f"{number}.png", Like.of(folders.inbox))
    assert len(names_in(folders.outbox, "")) == 4


def test_a_c_library_without_renameat2_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_renameat2", None)
    with pytest.raises(OSError) as raised:
        kernel.rename_noreplace(0, b"a", 0, b"b")
    assert raised.value.errno == errno.ENOSYS


def test_a_link_whose_unlinking_fails_is_taken_back(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, refuse: Refuse
) -> None:
    path = staged(folders)
    monkeypatch.setattr(kernel, "rename_noreplace", refuse(errno.EINVAL))
    unlink = os.unlink

    def stubborn(name: str, *, dir_fd: int | None = None) -> None:
        if name == path.name:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", stubborn)
    with pytest.raises(ShareOffline, match="outbox is read-only"):
        publish(folders.outbox, path, "", "a.png", Like.of(folders.inbox))
    assert names_in(folders.outbox, "") == [".renderdrop"]


def test_what_is_published_has_the_inboxs_group_and_bits(folders: Folders) -> None:
    folders.inbox.chmod(0o2775)
    like = Like.of(folders.inbox)
    publish(folders.outbox, staged(folders), "sub", "a.png", like)
    assert (folders.outbox / "sub").stat().st_mode & 0o7777 == 0o2775
    now = (folders.outbox / "sub" / "a.png").stat()
    assert (now.st_mode & 0o7777, now.st_gid) == (0o664, folders.inbox.stat().st_gid)


def test_a_group_that_we_may_not_give_is_no_trouble(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, refuse: Refuse
) -> None:
    monkeypatch.setattr(os, "fchown", refuse(errno.EPERM))
    monkeypatch.setattr(os, "fchmod", refuse(errno.EPERM))
    publish(folders.outbox, staged(folders), "sub", "a.png", Like.of(folders.inbox))
    assert names_in(folders.outbox, "sub") == ["a.png"]


def test_a_folder_without_fsync_is_no_trouble_either(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def files_only(fd: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", files_only)
    publish(folders.outbox, staged(folders), "sub", "a.png", Like.of(folders.inbox))
    assert names_in(folders.outbox, "sub") == ["a.png"]


def test_file_and_folders_are_on_disk_when_a_result_is_published(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = staged(folders)
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    publish(folders.outbox, path, "sub", "a.png", Like.of(folders.inbox))
    assert synced == [str(folders.outbox), str(folders.outbox / "sub"), str(path.parent)]


def test_a_notice_is_copied_when_failed_is_on_another_file_system(folders: Folders, far: Path) -> None:
    path = staged(folders, b"why " * 1_000_000)
    publish(far, path, "sub", "a.png.error.txt", Like.of(folders.inbox))
    assert (far / "sub" / "a.png.error.txt").read_bytes() == b"why " * 1_000_000
    assert names_in(far, "sub") == ["a.png.error.txt"]
    assert not path.exists()
    with pytest.raises(FileExistsError):
        publish(far, staged(folders, b"other"), "sub", "a.png.error.txt", Like.of(folders.inbox))
    assert names_in(far, "sub") == ["a.png.error.txt"]


def test_a_copy_that_reads_back_differently_is_not_published(
    folders: Folders, far: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(fd: int, data: bytes) -> None:
        os.write(fd, data[:-1] + b"?")

    path = staged(folders)
    monkeypatch.setattr(move, "write_all", forgetful)
    with pytest.raises(ShareOffline, match="reads back differently"):
        publish(far, path, "", "a.txt", Like.of(folders.inbox))
    assert names_in(far, "") == [MARKER]
    assert path.exists()


@pytest.mark.parametrize("name", ["../a.png", "sub/a.png", "..", "", "a\0"])
def test_a_name_that_is_a_path_is_refused(folders: Folders, name: str) -> None:
    path = staged(folders)
    with pytest.raises(ShareOffline):
        publish(folders.outbox, path, "", name, Like.of(folders.inbox))
    with pytest.raises(ShareOffline):
        stage(folders.outbox, name, Like.of(folders.inbox))
    assert path.exists()
    assert names_in(folders.outbox, "") == [".renderdrop"]


@pytest.mark.parametrize("place", ["sub", "sub/deep"])
def test_a_link_in_the_way_leads_nowhere(folders: Folders, tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (folders.outbox / place).parent.mkdir(exist_ok=True)
    (folders.outbox / place).symlink_to(outside)
    path = staged(folders)
    like = Like.of(folders.inbox)
    for folder in ("sub/deep", "sub/deep/new"):
        with pytest.raises(ShareOffline, match="has a symbolic link in the way"):
            publish(folders.outbox, path, folder, "a.png", like)
        with pytest.raises(ShareOffline, match="has a symbolic link in the way"):
            make_folders(folders.outbox, folder, like)
    assert list(outside.rglob("*")) == [outside / "deep"]


@pytest.mark.parametrize("place", [".renderdrop", ".renderdrop/job1"])
def test_a_link_in_the_place_of_staging_leads_nowhere(folders: Folders, tmp_path: Path, place: str) -> None:
    like = Like.of(folders.inbox)
    path = staged(folders)
    outside = tmp_path / "outside"
    (outside / "job1").mkdir(parents=True)
    for name in ("000", "job1/000"):
        (outside / name).write_bytes(b"theirs")
    (folders.outbox / place).rename(tmp_path / "away")
    (folders.outbox / place).symlink_to(outside)
    with pytest.raises(ShareOffline):
        stage(folders.outbox, "job1", like)
    with pytest.raises(ShareOffline):
        write_staged(path, b"ours", like)
    with pytest.raises(ShareOffline):
        publish(folders.outbox, path, "", "a.png", like)
    unstage(folders.outbox, "job1")
    assert (outside / "000").read_bytes() == (outside / "job1" / "000").read_bytes() == b"theirs"
    assert "a.png" not in names_in(folders.outbox, "")


def test_staging_replaces_links_and_files_without_following_them(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "theirs").write_bytes(b"theirs")
    path = staged(folders, b"one")
    write_staged(path, b"two", Like.of(folders.inbox))
    assert path.read_bytes() == b"two"
    path.unlink()
    path.symlink_to(tmp_path / "theirs")
    with pytest.raises(ShareOffline):
        publish(folders.outbox, path, "", "a.png", Like.of(folders.inbox))
    write_staged(path, b"three", Like.of(folders.inbox))
    assert not path.is_symlink()
    assert (tmp_path / "theirs").read_bytes() == b"theirs"


def test_a_pipe_in_the_place_of_a_staged_file_is_neither_waited_for_nor_published(folders: Folders) -> None:
    path = staged(folders)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ShareOffline, match="no ordinary file"):
        publish(folders.outbox, path, "", "a.png", Like.of(folders.inbox))


def test_staging_is_never_made_where_the_marker_is_missing(folders: Folders) -> None:
    (folders.outbox / ".renderdrop").rmdir()
    with pytest.raises(ShareOffline):
        stage(folders.outbox, "job1", Like.of(folders.inbox))
    assert os.listdir(folders.outbox) == []


def test_unstaging_takes_what_is_directly_there_and_never_follows(folders: Folders, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").touch()
    path = staged(folders)
    (path.parent / "link").symlink_to(outside)
    os.mkfifo(path.parent / "pipe")
    unstage(folders.outbox, "job1")
    assert os.listdir(folders.outbox / ".renderdrop") == []
    assert (outside / "x").exists()
    unstage(folders.outbox, "job1")
    (staged(folders).parent / "theirs").mkdir()
    unstage(folders.outbox, "job1")
    assert os.listdir(folders.outbox / ".renderdrop" / "job1") == ["theirs"]


def test_a_root_that_is_missing_is_never_made(folders: Folders, tmp_path: Path) -> None:
    like = Like.of(folders.inbox)
    path = staged(folders)
    attempts: list[Callable[[], None]] = [
        lambda: make_folders(tmp_path / "nas", "a", like),
        lambda: publish(tmp_path / "nas", path, "a", "a.png", like),
        lambda: unstage(tmp_path / "nas", "job1"),
    ]
    for attempt in attempts:
        with pytest.raises(ShareOffline, match=r"nas.* cannot be reached: no such file"):
            attempt()
    with pytest.raises(ShareOffline):
        names_in(tmp_path / "nas", "")
    assert not (tmp_path / "nas").exists()


def test_a_folder_that_is_missing_holds_no_names(folders: Folders) -> None:
    assert names_in(folders.outbox, "none/at/all") == []


def test_a_file_where_a_folder_belongs_is_told(folders: Folders) -> None:
    (folders.outbox / "sub").touch()
    with pytest.raises(ShareOffline, match="has a file where a folder belongs; move that file away"):
        make_folders(folders.outbox, "sub/deep", Like.of(folders.inbox))


def test_two_who_make_one_folder_at_once_both_have_it(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    mkdir = os.mkdir

    def late(name: str, mode: int, *, dir_fd: int) -> None:
        mkdir(name, mode, dir_fd=dir_fd)
        mkdir(name, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", late)
    make_folders(folders.outbox, "a/b", Like.of(folders.inbox))
    assert (folders.outbox / "a" / "b").is_dir()


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the outbox is full (no space left on device); free some space"),
        (errno.EDQUOT, "the outbox has used up its disk quota"),
        (errno.EROFS, "the outbox is read-only; mount it for writing"),
        (errno.EACCES, "the outbox is closed to the daemon (permission denied)"),
        (errno.ESTALE, "the outbox cannot be reached: stale file handle"),
        (errno.ENOTCONN, "the outbox cannot be reached: transport endpoint is not connected"),
        (errno.EIO, "the outbox cannot be reached: input/output error"),
        (errno.EHOSTDOWN, "the outbox cannot be reached: host is down"),
    ],
)
def test_trouble_is_told_in_a_sentence(number: int, said: str) -> None:
    with pytest.raises(ShareOffline) as raised, trouble("the outbox"):
        raise OSError(number, os.strerror(number))
    assert str(raised.value).startswith(said)
    with pytest.raises(FileExistsError), trouble("the outbox"):
        raise FileExistsError


def test_a_full_disk_leaves_nothing_under_the_final_name(
    folders: Folders, far: Path, monkeypatch: pytest.MonkeyPatch, refuse: Refuse
) -> None:
    path = staged(folders)
    monkeypatch.setattr(move, "write_all", refuse(errno.ENOSPC))
    with pytest.raises(ShareOffline, match="is full"):
        publish(far, path, "", "a.txt", Like.of(folders.inbox))
    assert names_in(far, "") == [MARKER]
    monkeypatch.setattr(publishing, "write_all", refuse(errno.ENOSPC))
    with pytest.raises(ShareOffline, match="is full"):
        write_staged(path, b"x", Like.of(folders.inbox))


def test_no_descriptor_is_left_behind(folders: Folders) -> None:
    like = Like.of(folders.inbox)
    before = len(os.listdir("/proc/self/fd"))
    publish(folders.outbox, staged(folders), "sub/deep", "a.png", like)
    with pytest.raises(FileExistsError):
        publish(folders.outbox, staged(folders), "sub/deep", "a.png", like)
    make_folders(folders.outbox, "x/y/z", like)
    unstage(folders.outbox, "job1")
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_could_not_be_brought_to_the_disk_is_not_believed_the_next_time(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, refuse: Refuse
) -> None:
    file = StagedFile(stage(folders.outbox, "job1", Like.of(folders.inbox)) / "output-0")
    file.open()
    file.append(b"data")
    with monkeypatch.context() as failing:
        failing.setattr(os, "fsync", refuse(errno.EIO))
        with pytest.raises(ShareOffline):
            file.finish()
    file.close()
    file.open()  # the system says the error once: what it did not write is gone, and a second fsync would succeed
    assert (file.size, file.path.stat().st_size) == (0, 0)
    file.close()
