"""A source is a regular file beneath the inbox, read through one descriptor; nothing else is, and nothing blocks."""

import errno
import fcntl
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from renderdrop.model.errors import NotTakeable, ShareOffline, SourceChanged, SourceGone
from renderdrop.share import source
from renderdrop.share.beneath import stat_beneath
from renderdrop.share.source import open_source

Refuse = Callable[[int], Callable[..., None]]


def test_a_source_is_read_at_any_offset(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"0123456789")
    with open_source(tmp_path, "a.png") as file:
        assert file.size == 10
        assert file.mtime_ns == (tmp_path / "a.png").stat().st_mtime_ns
        assert file.read(0, 4) == b"0123"
        assert file.read(8, 100) == b"89"
        assert file.read(10, 1) == b""


@pytest.mark.usefixtures("each_lookup")
def test_a_source_of_any_name_is_read(tmp_path: Path, any_name: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / any_name).write_bytes(b"it")
    with open_source(tmp_path, f"sub/{any_name}") as file:
        assert file.read(0, 9) == b"it"


def test_closing_twice_closes_once(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    file = open_source(tmp_path, "a.png")
    file.close()
    other = os.open(tmp_path, os.O_RDONLY)
    file.close()
    os.fstat(other)
    os.close(other)


@pytest.mark.usefixtures("each_lookup")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("link", "symbolic link"),
        ("dangling", "symbolic link"),
        ("sub_link/a.png", "symbolic link"),
        ("pipe", "named pipe"),
        ("socket", "socket"),
        ("folder", "folder"),
        ("../a.png", "not the name"),
        ("/etc/passwd", "not the name"),
    ],
)
def test_what_is_no_file_is_refused_with_a_reason_and_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.png").touch()
    (tmp_path / "link").symlink_to("folder/a.png")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "sub_link").symlink_to("folder")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")  # a relative name: a socket's address is short
        with pytest.raises(NotTakeable, match=said):
            open_source(tmp_path, name)


def test_a_device_is_refused_without_being_opened(monkeypatch: pytest.MonkeyPatch, refuse: Refuse) -> None:
    monkeypatch.setattr(source, "open_beneath", refuse(errno.EIO))
    with pytest.raises(NotTakeable, match="device"):
        open_source(Path("/dev"), "null")


@pytest.mark.parametrize("appears", ["pipe", "link"])
def test_a_file_that_becomes_something_else_between_look_and_open_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, appears: str
) -> None:
    (tmp_path / "a.png").touch()
    look = stat_beneath

    def swap(root_fd: int, rel: str) -> os.stat_result:
        now = look(root_fd, rel)
        (tmp_path / rel).unlink()
        os.mkfifo(tmp_path / rel) if appears == "pipe" else (tmp_path / rel).symlink_to("/etc/passwd")
        return now

    monkeypatch.setattr(source, "stat_beneath", swap)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NotTakeable):
        open_source(tmp_path, "a.png")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("rel", ["a.png", "sub/a.png", "file/a.png", "n" * 300])
def test_a_missing_source_is_gone_while_its_share_is_there(tmp_path: Path, rel: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SourceGone, match="not in the inbox any more"):
        open_source(tmp_path, rel)


def test_a_source_in_a_missing_root_is_not_gone_but_offline(tmp_path: Path) -> None:
    with pytest.raises(ShareOffline, match="portrait/inbox cannot be reached: no such file"):
        open_source(tmp_path / "portrait" / "inbox", "a.png")


@pytest.mark.parametrize(
    ("call", "number", "fault"),
    [
        ("open_beneath", errno.EACCES, NotTakeable),
        ("stat_beneath", errno.EACCES, ShareOffline),
        ("stat_beneath", errno.ESTALE, ShareOffline),
        ("open_beneath", errno.EIO, ShareOffline),
        ("open_beneath", errno.ENXIO, NotTakeable),
        ("open_beneath", errno.EAGAIN, SourceChanged),
    ],
)
def test_trouble_reaches_as_far_as_it_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, fault: type[Exception], refuse: Refuse
) -> None:
    (tmp_path / "a.png").touch()
    monkeypatch.setattr(source, call, refuse(number))
    with pytest.raises(fault):
        open_source(tmp_path, "a.png")


def test_a_read_that_fails_is_the_shares_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuse: Refuse
) -> None:
    (tmp_path / "a.png").touch()
    with open_source(tmp_path, "a.png") as file:
        monkeypatch.setattr(os, "pread", refuse(errno.EIO))
        with pytest.raises(ShareOffline, match=r"a\.png cannot be reached: input/output error"):
            file.read(0, 1)


def test_a_name_in_a_sentence_cannot_forge_a_line(tmp_path: Path) -> None:
    with pytest.raises(SourceGone) as raised:
        open_source(tmp_path, "a\nERROR all lost \u202egnp.png")
    assert "\n" not in str(raised.value)
    assert "\u202e" not in str(raised.value)


def test_a_file_that_changes_while_it_is_read_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    with open_source(tmp_path, "a.png") as file:
        assert file.unchanged()
        with path.open("ab") as writer:
            writer.write(b" more")
        assert not file.unchanged()


def test_a_file_of_the_same_size_with_another_mtime_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    with open_source(tmp_path, "a.png") as file:
        os.utime(path, ns=(0, file.mtime_ns + 1))
        assert not file.unchanged()


def test_a_file_replaced_by_another_stays_the_one_that_was_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    (tmp_path / "new").write_bytes(b"two!")
    with open_source(tmp_path, "a.png") as file:
        (tmp_path / "new").rename(path)
        assert file.unchanged()
        assert file.read(0, 9) == b"one"


def leases_work(folder: Path) -> bool:
    (folder / "probe").touch()
    fd = os.open(folder / "probe", os.O_RDONLY)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def test_a_file_that_a_writer_has_open_is_known_where_the_system_can_tell(tmp_path: Path) -> None:
    able = leases_work(tmp_path)
    path = tmp_path / "a.png"
    with path.open("wb") as writer, open_source(tmp_path, "a.png") as file:
        assert file.being_written() is able
        writer.close()
        assert not file.being_written()
    with path.open("rb"), open_source(tmp_path, "a.png") as file:
        assert not file.being_written()


def test_asking_for_a_writer_leaves_no_lease_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.touch()
    with open_source(tmp_path, "a.png") as file:
        file.being_written()
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))  # EAGAIN under a lease


def test_a_lease_is_never_taken_unless_its_signal_is_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").touch()
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(fcntl, "fcntl", lambda _, command, value: asked.append((command, value)))
    with open_source(tmp_path, "a.png") as file:
        assert not file.being_written()
        assert asked == [
            (fcntl.F_SETSIG, signal.SIGURG),
            (fcntl.F_SETLEASE, fcntl.F_RDLCK),
            (fcntl.F_SETLEASE, fcntl.F_UNLCK),
        ]
    assert signal.getsignal(signal.SIGURG) == signal.SIG_DFL


@pytest.mark.parametrize(("number", "answer"), [(errno.EAGAIN, True), (errno.EINVAL, False), (errno.EACCES, False)])
def test_only_a_clear_answer_means_a_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, answer: bool, refuse: Refuse
) -> None:
    (tmp_path / "a.png").touch()
    monkeypatch.setattr(fcntl, "fcntl", refuse(number))
    with open_source(tmp_path, "a.png") as file:
        assert file.being_written() is answer
