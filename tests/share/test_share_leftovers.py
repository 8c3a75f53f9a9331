"""What is left of a bundle's folder: litter follows, emptiness goes, everything else is somebody's."""

from __future__ import annotations

from pathlib import Path

import pytest

from renderdrop.model.errors import ShareOffline
from renderdrop.share.leftovers import clear_folder
from renderdrop.share.marker import MARKER


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    inbox, done = tmp_path / "inbox", tmp_path / "done"
    (inbox / "shot/sub").mkdir(parents=True)
    (done / "shot-2/sub").mkdir(parents=True)
    (done / MARKER).touch()
    return inbox, done


def left(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.name != MARKER}


def test_litter_goes_after_its_files_and_empty_folders_go(roots: tuple[Path, Path]) -> None:
    inbox, done = roots
    (inbox / "shot/empty/deeper").mkdir(parents=True)
    (inbox / "shot/thumbs.DB").write_bytes(b"t")
    (inbox / "shot/sub/.DS_Store").write_bytes(b"d")
    (inbox / "shot/sub/._clip.mp4").write_bytes(b"r")
    (inbox / "shot/@eaDir/clip.mp4").mkdir(parents=True)
    (inbox / "shot/@eaDir/clip.mp4/SYNO").write_bytes(b"s")
    clear_folder(inbox, "shot", done, "shot-2")
    assert left(inbox) == set()
    assert left(done / "shot-2") == {
        "thumbs.DB", "sub", "sub/.DS_Store", "sub/._clip.mp4", "@eaDir", "@eaDir/clip.mp4", "@eaDir/clip.mp4/SYNO",
    }  # fmt: skip


def test_litter_of_a_folder_that_was_not_made_there_takes_its_folder_along(roots: tuple[Path, Path]) -> None:
    inbox, done = roots
    (inbox / "shot/only/deeper").mkdir(parents=True)
    (inbox / "shot/only/deeper/Thumbs.db").write_bytes(b"t")
    clear_folder(inbox, "shot", done, "shot-2")
    assert left(inbox) == set()
    assert (done / "shot-2/only/deeper/Thumbs.db").read_bytes() == b"t"


@pytest.mark.parametrize(
    "name",
    [
        "late.png",
        "clip.mp4.part",
        "clip.mp4.filepart",
        ".clip.mp4.Ab12Cd",
        "clip.tmp",
        ".nfs0001",
        ".hidden",
        "~$a.doc",
    ],
)
def test_a_file_that_came_late_or_is_on_its_way_stays_and_keeps_its_folder(name: str, roots: tuple[Path, Path]) -> None:
    inbox, done = roots
    (inbox / "shot/sub" / name).write_bytes(b"somebody's")
    (inbox / "shot/Thumbs.db").write_bytes(b"t")
    clear_folder(inbox, "shot", done, "shot-2")
    assert left(inbox) == {"shot", "shot/sub", f"shot/sub/{name}"}
    assert left(done) == {"shot-2", "shot-2/sub", "shot-2/Thumbs.db"}


def test_half_a_file_of_a_mac_stays_with_the_file_that_it_belongs_to(roots: tuple[Path, Path]) -> None:
    inbox, done = roots
    for name in ("late.png", "._late.png", "._gone.png"):
        (inbox / "shot" / name).write_bytes(b"x")
    clear_folder(inbox, "shot", done, "shot-2")
    assert left(inbox) == {"shot", "shot/late.png", "shot/._late.png"}


def test_litter_that_has_its_like_already_stays_and_nothing_is_replaced(roots: tuple[Path, Path]) -> None:
    inbox, done = roots
    (inbox / "shot/Thumbs.db").write_bytes(b"new")
    (done / "shot-2/Thumbs.db").write_bytes(b"old")
    clear_folder(inbox, "shot", done, "shot-2")
    assert (inbox / "shot/Thumbs.db").read_bytes() == b"new"
    assert (done / "shot-2/Thumbs.db").read_bytes() == b"old"


def test_no_link_is_followed_and_none_removed(roots: tuple[Path, Path], tmp_path: Path) -> None:
    inbox, done = roots
    outside = tmp_path / "outside"
    (outside / "empty").mkdir(parents=True)
    (outside / "Thumbs.db").write_bytes(b"theirs")
    (inbox / "shot/way-out").symlink_to(outside)
    clear_folder(inbox, "shot", done, "shot-2")
    assert left(outside) == {"empty", "Thumbs.db"}
    assert (inbox / "shot/way-out").is_symlink()
    (inbox / "link").symlink_to(outside)
    clear_folder(inbox, "link", done, "shot-2")
    assert left(outside) == {"empty", "Thumbs.db"}


def test_without_a_place_to_go_litter_stays(roots: tuple[Path, Path]) -> None:
    inbox, _ = roots
    (inbox / "shot/Thumbs.db").write_bytes(b"t")
    clear_folder(inbox, "shot", None)
    assert left(inbox) == {"shot", "shot/Thumbs.db"}


def test_a_folder_that_is_not_there_is_no_trouble_and_a_root_that_is_not_is_told(
    roots: tuple[Path, Path], tmp_path: Path
) -> None:
    inbox, done = roots
    clear_folder(inbox, "never/was", done, "shot-2")
    with pytest.raises(ShareOffline):
        clear_folder(tmp_path / "nowhere", "shot", done, "shot-2")
