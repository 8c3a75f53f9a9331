"""Sources are moved whole or stay; nothing else is moved, and nothing is ever replaced or lost."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from renderdrop.model.errors import ShareOffline
from renderdrop.share import archive as archiving
from renderdrop.share import move
from renderdrop.share.archive import archive, remove
from renderdrop.share.make import Like, write_all
from renderdrop.share.marker import MARKER, Folders
from renderdrop.share.move import Archived

Refuse = Callable[[int], Callable[..., None]]
Facts = tuple[int, int]


def lying(place: Path) -> list[str]:
    """What people see there."""
    return [name for name in os.listdir(place) if name != MARKER]


def drop(folders: Folders, rel: str = "a.png", data: bytes = b"source") -> Facts:
    path = folders.inbox / rel
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path.stat().st_size, path.stat().st_mtime_ns


def put_away(
    folders: Folders, facts: Facts, rel: str = "a.png", dst: str = "a.png", to: Path | None = None
) -> Archived:
    return archive(folders.inbox, rel, to or folders.done, dst, *facts, Like.of(folders.inbox))


def test_a_source_is_moved_by_one_rename(folders: Folders, each_rename: str) -> None:
    facts = drop(folders, "sub/a.png")
    inode = (folders.inbox / "sub" / "a.png").stat().st_ino
    assert put_away(folders, facts, "sub/a.png", "sub/deep/a-2.png") == "moved"
    there = (folders.done / "sub" / "deep" / "a-2.png").stat()
    assert (there.st_ino, there.st_size, there.st_mtime_ns) == (inode, *facts)
    assert os.listdir(folders.inbox / "sub") == []


@pytest.mark.usefixtures("each_lookup")
def test_a_source_of_any_name_is_moved_byte_for_byte(folders: Folders, any_name: str) -> None:
    facts = drop(folders, any_name)
    assert put_away(folders, facts, any_name, any_name) == "moved"
    assert lying(folders.done) == [any_name]


def test_a_taken_name_is_never_replaced(folders: Folders, each_rename: str) -> None:
    facts = drop(folders)
    (folders.done / "a.png").write_bytes(b"source")
    os.utime(folders.done / "a.png", ns=(0, facts[1]))
    with pytest.raises(FileExistsError):
        put_away(folders, facts)
    assert (folders.inbox / "a.png").exists()
    assert put_away(folders, facts, dst="a-2.png") == "moved"


def test_a_taken_name_is_never_replaced_across_file_systems(folders: Folders, far: Path) -> None:
    facts = drop(folders)
    for other in (b"theirs", b"longer than it was"):
        (far / "a.png").write_bytes(other)
        os.utime(far / "a.png", ns=(0, facts[1]))
        with pytest.raises(FileExistsError):
            put_away(folders, facts, to=far)
        assert (far / "a.png").read_bytes() == other
    assert (folders.inbox / "a.png").exists()
    assert lying(far) == ["a.png"]


@pytest.mark.parametrize("change", ["grown", "touched", "replaced"])
def test_a_source_that_changed_stays(folders: Folders, far: Path, change: str) -> None:
    facts = drop(folders)
    path = folders.inbox / "a.png"
    match change:
        case "grown":
            path.write_bytes(b"source and more")
            os.utime(path, ns=(0, facts[1]))
        case "touched":
            os.utime(path, ns=(0, facts[1] + 1))
        case _:
            (folders.inbox / "b").write_bytes(b"new")
            (folders.inbox / "b").rename(path)
    kept = path.read_bytes()
    assert put_away(folders, facts, to=far) == "changed"
    assert put_away(folders, facts) == "changed"
    assert remove(folders.inbox, "a.png", *facts) == "changed"
    assert path.read_bytes() == kept
    assert lying(far) == lying(folders.done) == []


def test_a_source_that_is_at_neither_place_is_gone(folders: Folders, far: Path) -> None:
    facts = drop(folders)
    (folders.inbox / "a.png").unlink()
    for rel in ("a.png", "none/a.png"):
        assert put_away(folders, facts, rel, "x/y.png") == "gone"
        assert put_away(folders, facts, rel, to=far) == "gone"
        assert remove(folders.inbox, rel, *facts) == "gone"
    assert lying(folders.done) == []


def test_a_source_that_an_earlier_try_moved_is_moved(folders: Folders, far: Path) -> None:
    facts = drop(folders)
    assert put_away(folders, facts, to=far) == "moved"
    assert put_away(folders, facts, to=far) == "moved"
    (far / "a.png").write_bytes(b"something else")
    assert put_away(folders, facts, to=far) == "gone"


def test_a_share_that_is_away_is_not_gone_but_offline(folders: Folders, tmp_path: Path) -> None:
    facts = drop(folders)
    like = Like.of(folders.inbox)
    with pytest.raises(ShareOffline):
        archive(tmp_path / "nas", "a.png", folders.done, "a.png", *facts, like)
    with pytest.raises(ShareOffline):
        archive(folders.inbox, "a.png", tmp_path / "nas", "a.png", *facts, like)
    with pytest.raises(ShareOffline):
        archive(folders.inbox, "none.png", tmp_path / "nas", "none.png", *facts, like)
    with pytest.raises(ShareOffline):
        remove(tmp_path / "nas", "a.png", *facts)
    assert (folders.inbox / "a.png").exists()
    assert not (tmp_path / "nas").exists()


def test_across_file_systems_bytes_times_and_bits_go_along(folders: Folders, far: Path) -> None:
    data = os.urandom(3 * 1024 * 1024 + 17)
    drop(folders, data=data)
    path = folders.inbox / "a.png"
    path.chmod(0o754)
    os.utime(path, ns=(1, 1_600_000_000_123_456_700))
    assert put_away(folders, (len(data), 1_600_000_000_123_456_700), to=far, dst="sub/a.png") == "moved"
    there = (far / "sub" / "a.png").stat()
    assert (there.st_mtime_ns, there.st_mode & 0o777) == (1_600_000_000_123_456_700, 0o754)
    assert (far / "sub" / "a.png").read_bytes() == data
    assert os.listdir(far / "sub") == ["a.png"]
    assert os.listdir(folders.inbox) == [".renderdrop"]


def test_the_copy_is_on_disk_under_its_name_before_the_source_goes(
    folders: Folders, far: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = drop(folders)
    story: list[str] = []
    fsync, unlink = os.fsync, move.unlink_unchanged

    def synced(fd: int) -> None:
        story.append(os.readlink(f"/proc/self/fd/{fd}"))
        fsync(fd)

    def unlinked(at: int, name: str, size: int, mtime_ns: int) -> Archived:
        story.append("unlink")
        return unlink(at, name, size, mtime_ns)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(archiving, "unlink_unchanged", unlinked)
    assert put_away(folders, facts, to=far) == "moved"
    before = story[: story.index("unlink")]
    assert os.path.basename(before[0]).startswith(".renderdrop-")
    assert before[-1] == str(far)


def test_a_source_that_changes_under_the_copying_stays_and_no_copy_does(
    folders: Folders, far: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = drop(folders)
    write = write_all

    def meanwhile(fd: int, data: bytes) -> None:
        write(fd, data)
        (folders.inbox / "a.png").write_bytes(b"saved anew")

    monkeypatch.setattr(move, "write_all", meanwhile)
    assert put_away(folders, facts, to=far) == "changed"
    assert (folders.inbox / "a.png").read_bytes() == b"saved anew"
    assert lying(far) == []


def test_a_source_saved_anew_between_look_and_rename_is_put_back(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = move.rename_new
    saved = False

    def meanwhile(src_at: int, src: str, dst_at: int, dst: str) -> None:
        nonlocal saved
        if not saved:
            saved = True
            (folders.inbox / "a.png").write_bytes(b"saved anew")
        rename(src_at, src, dst_at, dst)

    def archived(facts: Facts) -> Archived:
        return put_away(folders, facts)

    def removed(facts: Facts) -> Archived:
        return remove(folders.inbox, "a.png", *facts)

    for module, attempt in ((archiving, archived), (move, removed)):
        facts = drop(folders)
        saved = False
        with monkeypatch.context() as patch:
            patch.setattr(module, "rename_new", meanwhile)
            assert attempt(facts) == "changed"
        assert (folders.inbox / "a.png").read_bytes() == b"saved anew"
        assert sorted(os.listdir(folders.inbox)) == [".renderdrop", "a.png"]
        assert lying(folders.done) == []


def test_what_is_no_file_is_moved_itself_and_never_followed(folders: Folders, each_rename: str) -> None:
    (folders.inbox / "real").mkdir()
    (folders.inbox / "real" / "x").write_bytes(b"x")
    os.symlink("real/x", folders.inbox / "link")
    os.mkfifo(folders.inbox / "pipe")
    for name in ("link", "pipe"):
        now = (folders.inbox / name).lstat()
        assert put_away(folders, (now.st_size, now.st_mtime_ns), name, name) == "moved"
    assert os.readlink(folders.done / "link") == "real/x"
    assert (folders.done / "pipe").is_fifo()
    assert (folders.inbox / "real" / "x").read_bytes() == b"x"


def test_what_is_no_file_is_not_copied_to_another_file_system(folders: Folders, far: Path) -> None:
    os.symlink("/etc/passwd", folders.inbox / "link")
    now = (folders.inbox / "link").lstat()
    with pytest.raises(ShareOffline, match="no ordinary file"):
        put_away(folders, (now.st_size, now.st_mtime_ns), "link", "link", far)
    assert (folders.inbox / "link").is_symlink()
    assert lying(far) == []


def test_a_link_on_the_way_to_a_source_leads_nowhere(folders: Folders, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.png").write_bytes(b"theirs")
    now = (outside / "a.png").stat()
    (folders.inbox / "sub").symlink_to(outside)
    facts = (now.st_size, now.st_mtime_ns)
    assert put_away(folders, facts, "sub/a.png") == "gone"
    assert remove(folders.inbox, "sub/a.png", *facts) == "gone"
    assert (outside / "a.png").exists()


def test_a_link_on_the_way_to_the_archive_leads_nowhere(folders: Folders, tmp_path: Path) -> None:
    facts = drop(folders)
    (tmp_path / "outside").mkdir()
    (folders.done / "sub").symlink_to(tmp_path / "outside")
    with pytest.raises(ShareOffline, match="symbolic link in the way"):
        put_away(folders, facts, dst="sub/a.png")
    assert (folders.inbox / "a.png").exists()
    assert os.listdir(tmp_path / "outside") == []


@pytest.mark.parametrize("rel", ["../a.png", "/a.png", "", "a/../b"])
def test_a_path_that_is_none_below_the_inbox_is_refused(folders: Folders, rel: str) -> None:
    facts = drop(folders)
    with pytest.raises(ShareOffline):
        put_away(folders, facts, rel)
    with pytest.raises(ShareOffline):
        put_away(folders, facts, dst=rel)
    with pytest.raises(ShareOffline):
        remove(folders.inbox, rel, *facts)


def test_hard_links_are_files_like_any_other(folders: Folders, each_rename: str) -> None:
    facts = drop(folders)
    os.link(folders.inbox / "a.png", folders.inbox.parent / "original.png")
    assert put_away(folders, facts) == "moved"
    assert (folders.inbox.parent / "original.png").read_bytes() == b"source"


def test_a_source_linked_from_its_own_place_in_the_archive_is_put_away(folders: Folders, each_rename: str) -> None:
    facts = drop(folders)
    os.link(folders.inbox / "a.png", folders.done / "a.png")
    assert put_away(folders, facts) == "moved"
    assert (folders.done / "a.png").read_bytes() == b"source"
    assert not (folders.inbox / "a.png").exists()


def test_removing_takes_the_unchanged_source_alone(folders: Folders) -> None:
    facts = drop(folders)
    drop(folders, "b.png")
    assert remove(folders.inbox, "a.png", *facts) == "moved"
    assert sorted(os.listdir(folders.inbox)) == [".renderdrop", "b.png"]


def test_a_copy_on_a_file_system_with_coarse_times_is_known_again(
    folders: Folders, far: Path, monkeypatch: pytest.MonkeyPatch, refuse: Refuse
) -> None:
    facts = drop(folders)
    monkeypatch.setattr(archiving, "unlink_unchanged", refuse(errno.EROFS))
    with pytest.raises(ShareOffline):
        put_away(folders, facts, to=far)
    monkeypatch.setattr(archiving, "unlink_unchanged", move.unlink_unchanged)
    os.utime(far / "a.png", ns=(0, facts[1] - facts[1] % 1_000_000_000))
    assert put_away(folders, facts, to=far) == "moved"
    assert lying(far) == ["a.png"]
    assert os.listdir(folders.inbox) == [".renderdrop"]


def test_no_descriptor_is_left_behind(folders: Folders, far: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    facts = drop(folders)
    put_away(folders, facts, to=far)
    put_away(folders, facts, "none/a.png")
    facts = drop(folders)
    with pytest.raises(FileExistsError):
        put_away(folders, drop(folders, data=b"another"), to=far)
    remove(folders.inbox, "a.png", *facts)
    assert len(os.listdir("/proc/self/fd")) == before
