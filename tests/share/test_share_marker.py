"""The marker rules of DESIGN 2 as a table: what may be made, and when a share is not there."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from renderdrop.model.errors import ShareOffline
from renderdrop.share import marker
from renderdrop.share.make import write_all
from renderdrop.share.marker import MARKER, STAGING, Folders, marked, online, prepare, writable


def places(home: Path) -> Folders:
    return Folders(home / "inbox", home / "outbox", home / "done", home / "failed")


def tree(home: Path) -> list[str]:
    return sorted(str(path.relative_to(home)) for path in home.rglob("*"))


ALL = sorted(["inbox", "inbox/.renderdrop", "outbox", "outbox/.renderdrop", "done", "failed"])


def test_the_first_time_all_is_made_and_marked(tmp_path: Path) -> None:
    prepare(places(tmp_path), seen=False)
    assert tree(tmp_path) == ALL
    assert (tmp_path / "inbox" / MARKER).is_file()
    assert (tmp_path / "outbox" / STAGING).is_dir()
    assert "leave it here" in (tmp_path / "inbox" / MARKER).read_text()
    online(places(tmp_path))


@pytest.mark.parametrize("seen", [False, True])
def test_preparing_again_changes_nothing(folders: Folders, seen: bool) -> None:
    (folders.inbox / MARKER).write_text("mine")
    prepare(folders, seen)
    assert tree(folders.inbox.parent) == ALL
    assert (folders.inbox / MARKER).read_text() == "mine"


def test_folders_that_are_there_already_are_kept_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir(mode=0o700)
    (tmp_path / "inbox" / "a.png").write_bytes(b"a")
    prepare(places(tmp_path), seen=False)
    assert (tmp_path / "inbox" / "a.png").read_bytes() == b"a"
    assert (tmp_path / "inbox").stat().st_mode & 0o777 == 0o700


def test_what_is_made_has_the_inboxs_group_and_bits(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox").chmod(0o2770)
    prepare(places(tmp_path), seen=False)
    group = (tmp_path / "inbox").stat().st_gid
    for name in ("outbox", "outbox/.renderdrop", "done", "failed"):
        now = (tmp_path / name).stat()
        assert (now.st_mode & 0o7777, now.st_gid) == (0o2770, group)
    assert (tmp_path / "inbox" / MARKER).stat().st_mode & 0o7777 == 0o660


def test_a_missing_home_is_named_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(ShareOffline, match="share/portrait is missing; is the share mounted"):
        prepare(places(tmp_path / "share" / "portrait"), seen=False)
    assert tree(tmp_path) == []


def test_missing_parents_are_made_below_the_inboxs_parent_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    below = Folders(home / "inbox", home / "out" / "put", home / "old" / "a" / "done", home / "failed")
    prepare(below, seen=False)
    assert (home / "old" / "a" / "done").is_dir()
    elsewhere = Folders(home / "inbox", home / "outbox", tmp_path / "nas" / "done", home / "failed")
    with pytest.raises(ShareOffline, match="nas is missing"):
        prepare(elsewhere, seen=False)
    (tmp_path / "nas").mkdir()
    prepare(elsewhere, seen=False)
    assert (tmp_path / "nas" / "done").is_dir()


def test_an_inbox_in_the_root_folder_gives_no_leave_to_make_folders_anywhere() -> None:
    nowhere = Path("/renderdrop-test-nowhere/a/done")
    with pytest.raises(ShareOffline, match="/renderdrop-test-nowhere/a is missing"):
        marker._base(nowhere, Folders(Path("/inbox"), Path("/outbox"), nowhere, Path("/failed")))


@pytest.mark.parametrize("gone", ["inbox", "inbox/.renderdrop", "everything"])
def test_a_share_that_was_seen_and_has_no_inbox_marker_is_offline_and_nothing_is_made(
    folders: Folders, gone: str
) -> None:
    home = folders.inbox.parent
    for victim in list(home.iterdir()) if gone == "everything" else [home / gone]:
        shutil.rmtree(victim) if victim.is_dir() else victim.unlink()
    left = tree(home)
    for _ in range(2):
        with pytest.raises(
            ShareOffline, match=r"no \.renderdrop marker in the inbox; is the share mounted\?"
        ) as raised:
            prepare(folders, seen=True)
    assert f"touch {folders.inbox / MARKER}" in str(raised.value)
    with pytest.raises(ShareOffline, match=r"no \.renderdrop marker in the inbox"):
        online(folders)
    assert tree(home) == left


def test_the_advice_of_the_message_helps(folders: Folders) -> None:
    (folders.inbox / MARKER).unlink()
    (folders.outbox / STAGING).rmdir()
    (folders.inbox / MARKER).touch()
    with pytest.raises(ShareOffline) as raised:
        prepare(folders, seen=True)
    assert f"mkdir {folders.outbox / STAGING}" in str(raised.value)
    (folders.outbox / STAGING).mkdir()
    prepare(folders, seen=True)
    online(folders)


@pytest.mark.parametrize("name", ["outbox", "done", "failed"])
def test_a_folder_that_is_missing_beside_a_marked_inbox_is_made_again(folders: Folders, name: str) -> None:
    shutil.rmtree(folders.inbox.parent / name)
    prepare(folders, seen=True)
    assert tree(folders.inbox.parent) == ALL


@pytest.mark.parametrize("name", ["outbox", "done", "failed"])
def test_a_folder_that_is_missing_elsewhere_is_a_share_that_is_not_mounted(tmp_path: Path, name: str) -> None:
    home, nas = tmp_path / "home", tmp_path / "nas"
    home.mkdir()
    nas.mkdir()
    where = {"outbox": home / "outbox", "done": home / "done", "failed": home / "failed", name: nas / name}
    folders = Folders(home / "inbox", where["outbox"], where["done"], where["failed"])
    prepare(folders, seen=False)
    shutil.rmtree(nas / name)
    with pytest.raises(ShareOffline, match=f"nas/{name} is missing; is the share mounted"):
        prepare(folders, seen=True)
    assert tree(nas) == []


def test_an_outbox_without_its_marker_is_an_empty_mount_point(folders: Folders) -> None:
    (folders.outbox / STAGING).rmdir()
    with pytest.raises(ShareOffline, match=r"no \.renderdrop marker in the outbox"):
        prepare(folders, seen=True)
    with pytest.raises(ShareOffline, match=r"no \.renderdrop marker in the outbox"):
        online(folders)
    assert tree(folders.outbox) == []


def test_an_outbox_that_is_another_routes_inbox_carries_both_markers_in_one(tmp_path: Path) -> None:
    first = Folders(tmp_path / "a", tmp_path / "b", tmp_path / "done", tmp_path / "failed")
    second = Folders(tmp_path / "b", tmp_path / "c", tmp_path / "done2", tmp_path / "failed2")
    for order in ([first, second], [second, first]):
        for route in order:
            prepare(route, seen=False)
        for route in order:
            online(route)
            prepare(route, seen=True)
        for path in list(tmp_path.iterdir()):
            shutil.rmtree(path)


@pytest.mark.parametrize("seen", [False, True])
def test_a_link_in_the_markers_place_is_no_marker(tmp_path: Path, seen: bool) -> None:
    folders = places(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "inbox").mkdir()
    (tmp_path / "outbox").mkdir()
    (tmp_path / "inbox" / MARKER).symlink_to("../elsewhere")
    with pytest.raises(ShareOffline):
        prepare(folders, seen)
    (tmp_path / "inbox" / MARKER).unlink()
    (tmp_path / "inbox" / MARKER).touch()
    (tmp_path / "outbox" / STAGING).symlink_to("../elsewhere")
    with pytest.raises(ShareOffline):
        prepare(folders, seen)
    with pytest.raises(ShareOffline):
        online(folders)
    assert tree(tmp_path / "elsewhere") == []


def test_a_file_in_a_folders_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "outbox").touch()
    with pytest.raises(ShareOffline, match="outbox has a file where a folder belongs"):
        prepare(places(tmp_path), seen=False)


def test_the_folders_themselves_may_be_links(tmp_path: Path) -> None:
    for name in ("inbox", "outbox", "done", "failed"):
        (tmp_path / "nas" / name).mkdir(parents=True)
        (tmp_path / name).symlink_to(f"nas/{name}")
    prepare(places(tmp_path), seen=False)
    online(places(tmp_path))
    assert os.listdir(tmp_path / "nas" / "inbox") == [MARKER]


@pytest.fixture(params=["attribute", "file"])
def marks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How done and failed are marked: as this file system allows, or as one does that knows no attributes."""
    if request.param == "file":

        def unknown(*_: object) -> bytes:
            raise OSError(errno.ENOTSUP, "not supported")

        monkeypatch.setattr(os, "setxattr", unknown)
        monkeypatch.setattr(os, "getxattr", unknown)
    return str(request.param)


@pytest.mark.parametrize("name", ["outbox", "done", "failed"])
def test_an_empty_folder_in_the_place_of_one_that_was_seen_is_offline_until_it_is_back(
    marks: str, name: str, tmp_path: Path
) -> None:
    folders = Folders(*(tmp_path / each for each in ("inbox", "outbox", "done", "failed")))
    prepare(folders, seen=False)
    prepare(folders, seen=True)
    online(folders)
    assert os.listdir(folders.done) == ([".renderdrop"] if marks == "file" else [])
    (tmp_path / name).rename(tmp_path / "away")
    (tmp_path / name).mkdir()
    with pytest.raises(ShareOffline, match="is the share mounted"):
        prepare(folders, seen=True)
    with pytest.raises(ShareOffline, match="is the share mounted"):
        online(folders)
    with pytest.raises(ShareOffline, match="is the share mounted"), marked(tmp_path / name):
        pass
    assert os.listdir(tmp_path / name) == []
    (tmp_path / name).rmdir()
    (tmp_path / "away").rename(tmp_path / name)
    prepare(folders, seen=True)
    online(folders)


@pytest.mark.parametrize("name", ["done", "failed"])
def test_a_folder_that_was_made_anew_on_purpose_is_vouched_for_by_a_file(name: str, tmp_path: Path) -> None:
    folders = Folders(*(tmp_path / each for each in ("inbox", "outbox", "done", "failed")))
    prepare(folders, seen=False)
    (tmp_path / name).rmdir()
    (tmp_path / name).mkdir()
    (tmp_path / name / ".renderdrop").touch()
    prepare(folders, seen=True)
    online(folders)


@pytest.mark.parametrize("name", ["done", "failed"])
def test_an_empty_folder_in_the_place_of_one_that_was_seen_is_left_alone(folders: Folders, name: str) -> None:
    place = folders.inbox.parent / name
    shutil.rmtree(place)
    place.mkdir()
    with pytest.raises(ShareOffline, match=rf"no \.renderdrop marker in the {name}"):
        prepare(folders, seen=True)
    with pytest.raises(ShareOffline, match=rf"no \.renderdrop marker in the {name}"):
        online(folders)
    assert tree(place) == []
    prepare(folders, seen=True, new=[place])  # the settings have named another folder
    assert tree(folders.inbox.parent) == ALL


def test_a_full_or_read_only_outbox_is_found_before_anything_is_rendered(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, refuse: Callable[[int], Callable[..., None]]
) -> None:
    writable(folders.outbox)
    monkeypatch.setattr(marker, "write_all", refuse(errno.ENOSPC))
    with pytest.raises(ShareOffline, match="is full"):
        writable(folders.outbox)
    assert os.listdir(folders.outbox / STAGING) == []
    (folders.outbox / STAGING).rmdir()
    with pytest.raises(ShareOffline, match="marker"):
        writable(folders.outbox)


def test_the_probe_writes_into_no_file_that_somebody_linked_there(folders: Folders, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"precious")
    os.link(theirs, folders.outbox / STAGING / ".probe")
    writable(folders.outbox)
    assert theirs.read_bytes() == b"precious"


def test_routes_with_one_outbox_probe_it_at_once_and_do_not_disturb_each_other(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside: list[int] = []

    def meanwhile(fd: int, data: bytes) -> None:
        write_all(fd, data)
        if not inside:
            inside.append(fd)
            writable(folders.outbox)

    monkeypatch.setattr(marker, "write_all", meanwhile)
    writable(folders.outbox)
    assert inside
    assert os.listdir(folders.outbox / STAGING) == []


def test_somebody_may_take_a_probe_away(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    def swept(fd: int, data: bytes) -> None:
        write_all(fd, data)
        for path in (folders.outbox / STAGING).iterdir():
            path.unlink()

    monkeypatch.setattr(marker, "write_all", swept)
    writable(folders.outbox)


def test_probes_that_a_crash_left_behind_are_tidied_and_fresh_ones_left_alone(folders: Folders) -> None:
    staging = folders.outbox / STAGING
    for name, age in ((".probe", 7200), (".probe-old", 7200), (".probe-new", 0), ("job1", 7200)):
        (staging / name).touch()
        then = staging.stat().st_mtime - age
        os.utime(staging / name, (then, then))
    (staging / ".probe-folder").mkdir()
    os.utime(staging / ".probe-folder", (0, 0))
    writable(folders.outbox)
    assert sorted(os.listdir(staging)) == [".probe-folder", ".probe-new", "job1"]


def test_an_outbox_that_is_an_inbox_too_may_be_marked_by_two_routes_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(Folders(tmp_path / "b", tmp_path / "c", tmp_path / "done", tmp_path / "failed"), seen=False)
    first, second = (
        Folders(tmp_path / n, tmp_path / "b", tmp_path / f"{n}-done", tmp_path / f"{n}-failed") for n in ("a", "d")
    )
    inside: list[str] = []
    unlinking = os.unlink

    def meanwhile(path: str, **at: int) -> None:
        if not inside:
            inside.append(path)
            prepare(second, seen=False)
        unlinking(path, **at)

    monkeypatch.setattr(os, "unlink", meanwhile)
    prepare(first, seen=False)
    online(first)
    online(second)
