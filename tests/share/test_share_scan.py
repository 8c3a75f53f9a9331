"""The sweep's look at an inbox: complete, by path, without opening or following anything."""

import errno
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from renderdrop.model.errors import ShareOffline
from renderdrop.share import scan as scanning
from renderdrop.share.beneath import open_beneath
from renderdrop.share.ignore import Ignore
from renderdrop.share.scan import Entry, look, scan

pytestmark = pytest.mark.usefixtures("each_lookup")

Refuse = Callable[[int], Callable[..., None]]


def fill(root: Path, *rels: str) -> None:
    for rel in rels:
        (root / rel).parent.mkdir(parents=True, exist_ok=True)
        (root / rel).write_bytes(rel.encode("utf-8", "surrogateescape"))


def paths(root: Path, below: str = "", *patterns: str) -> list[str]:
    return [entry.path for entry in scan(root, Ignore(patterns), below).entries]


def test_all_files_are_found_by_path_with_size_and_mtime(tmp_path: Path) -> None:
    fill(tmp_path, "b.png", "a.png", "sub/deep/c.png")
    found = scan(tmp_path, Ignore())
    assert [entry.path for entry in found.entries] == ["a.png", "b.png", "sub/deep/c.png"]
    assert found.unreadable == []
    now = (tmp_path / "a.png").stat()
    assert found.entries[0] == Entry("a.png", "file", now.st_size, now.st_mtime_ns)


def test_names_in_any_script_are_kept_byte_for_byte(tmp_path: Path, names: Sequence[str]) -> None:
    kept = [name for name in names if not name.startswith(".")]
    fill(tmp_path, *kept)
    assert paths(tmp_path) == sorted(kept)
    assert all(entry is not None for entry in look(tmp_path, kept).values())


def test_ignored_folders_are_not_even_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "a.png", "@eaDir/a.png", "x/.hidden/b.png", "x/b.png", "raw/c.png", "x/d.tmp")
    entered: list[str] = []
    enter = open_beneath

    def watched(root_fd: int, rel: str, flags: int) -> int:
        entered.append(rel)
        return enter(root_fd, rel, flags)

    monkeypatch.setattr(scanning, "open_beneath", watched)
    assert paths(tmp_path, "", "raw/") == ["a.png", "x/b.png"]
    assert entered == ["", "x"]


def test_things_that_are_no_files_are_told_by_kind_and_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path, "sub/a.png")
    os.mkfifo("pipe")
    os.symlink("sub", "to_folder")
    os.symlink("nowhere", "dangling")
    os.symlink(".", "sub/loop")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        kinds = {entry.path: entry.kind for entry in scan(tmp_path, Ignore()).entries}
    assert kinds == {
        "sub/a.png": "file",
        "sub/loop": "link",
        "pipe": "fifo",
        "to_folder": "link",
        "dangling": "link",
        "socket": "socket",
    }


def test_devices_are_told_as_such() -> None:
    entry = look(Path("/dev"), ["null"])["null"]
    assert entry is not None
    assert entry.kind == "device"


def test_a_sub_folder_alone_can_be_looked_at(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "sub/b.png", "sub/deep/c.png", ".hidden/d.png")
    (tmp_path / "link").symlink_to("sub")
    assert paths(tmp_path, "sub") == ["sub/b.png", "sub/deep/c.png"]
    assert paths(tmp_path, "missing/folder") == []
    assert paths(tmp_path, "a.png") == []
    assert paths(tmp_path, "link") == []
    assert paths(tmp_path, ".hidden") == []


def test_sixty_folders_deep_is_not_too_deep(tmp_path: Path) -> None:
    rel = "/".join(["d"] * 60 + ["a.png"])
    fill(tmp_path, rel)
    assert paths(tmp_path) == [rel]


def test_a_tree_longer_than_a_path_may_be_is_walked(tmp_path: Path) -> None:
    name = "d" * 200
    at = os.open(tmp_path, os.O_RDONLY)
    for _ in range(30):
        os.mkdir(name, dir_fd=at)
        below = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open("a.png", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)
    rel = "/".join([name] * 30 + ["a.png"])
    assert paths(tmp_path) == [rel]
    assert look(tmp_path, [rel])[rel] is not None


def test_thousands_of_files_cost_one_descriptor_at_a_time(tmp_path: Path) -> None:
    for folder in range(20):
        (tmp_path / f"f{folder}").mkdir()
        for number in range(150):
            (tmp_path / f"f{folder}" / f"{number}.png").touch()
    before = len(os.listdir("/proc/self/fd"))
    assert len(paths(tmp_path)) == 3000
    assert len(os.listdir("/proc/self/fd")) == before


def fail_at(monkeypatch: pytest.MonkeyPatch, place: str, number: int) -> None:
    enter = open_beneath

    def failing(root_fd: int, rel: str, flags: int) -> int:
        if rel == place:
            raise OSError(number, os.strerror(number))
        return enter(root_fd, rel, flags)

    monkeypatch.setattr(scanning, "open_beneath", failing)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_an_unreadable_sub_folder_is_told_and_the_rest_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fill(tmp_path, "a.png", "shut/b.png", "z/c.png")
    fail_at(monkeypatch, "shut", number)
    found = scan(tmp_path, Ignore())
    assert [entry.path for entry in found.entries] == ["a.png", "z/c.png"]
    assert [path for path, _ in found.unreadable] == ["shut"]
    assert found.unreadable[0][1]


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTDIR, errno.ELOOP])
def test_a_folder_that_vanishes_on_the_way_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fill(tmp_path, "a.png", "sub/b.png")
    fail_at(monkeypatch, "sub", number)
    found = scan(tmp_path, Ignore())
    assert [entry.path for entry in found.entries] == ["a.png"]
    assert found.unreadable == []


def test_a_file_that_cannot_be_looked_at_is_told_by_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuse: Refuse
) -> None:
    fill(tmp_path, "sub/a.png", "sub/b.png")
    monkeypatch.setattr(scanning, "_entry", refuse(errno.EACCES))
    assert scan(tmp_path, Ignore()).unreadable == [("sub", "permission denied")]


def test_an_unreadable_root_is_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuse: Refuse) -> None:
    with pytest.raises(ShareOffline):
        scan(tmp_path / "none", Ignore())
    with pytest.raises(ShareOffline):
        look(tmp_path / "none", ["a.png"])
    monkeypatch.setattr(os, "scandir", refuse(errno.ESTALE))
    with pytest.raises(ShareOffline, match="stale file handle"):
        scan(tmp_path, Ignore())


def test_given_paths_are_looked_at_one_opening_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rels = [f"sub/{number}.png" for number in range(50)]
    fill(tmp_path, *rels, "a.png", "file")
    (tmp_path / "link").symlink_to("sub")
    opened: list[str] = []
    enter = open_beneath

    def watched(root_fd: int, rel: str, flags: int) -> int:
        opened.append(rel)
        return enter(root_fd, rel, flags)

    monkeypatch.setattr(scanning, "open_beneath", watched)
    gone = ["sub/gone.png", "none/a.png", "file/a.png", "link/1.png", "sub", "n" * 300, "../a.png", ""]
    seen = look(tmp_path, [*rels, "a.png", *gone])
    assert {rel for rel, entry in seen.items() if entry is None} == set(gone)
    assert seen["sub/7.png"] == next(entry for entry in scan(tmp_path, Ignore()).entries if entry.path == "sub/7.png")
    assert opened.count("sub") == 2  # once by look, once by scan


def test_what_cannot_be_seen_is_never_called_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "shut/a.png")
    fail_at(monkeypatch, "shut", errno.EACCES)
    with pytest.raises(ShareOffline, match="shut is closed to the daemon"):
        look(tmp_path, ["shut/a.png"])
