"""What is never taken from an inbox, as a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.share.ignore import Ignore

ALWAYS = [
    ".hidden", "._photo.jpg", ".DS_Store", "~$letter.docx", "photo.jpg~", "a.tmp", "a.temp", "a.part", "a.partial",
    "a.mp4.filepart", "a.zip.crdownload", "a.download", "a.uploading", ".a.txt.swp", "a.swp", "Thumbs.db", "THUMBS.DB",
    "thumbs.db", "desktop.ini", "Desktop.ini", ".smbdelete0001", ".nfs00000001", ".fuse_hidden000001",
    ".clip.mp4.Xy12aB", "A.TMP", "A.Part", ".renderdrop", ".renderdrop-00ff", "...",
]  # fmt: skip
NEVER = [
    "photo.jpg", "UPPER.PNG", "肖像.png", "a.tmp.png", "part", "tmp", "a~b.png", "$a.png", "#1.png", "@eaDir",
    "thumbs.db.png", "lost+found", "a.job.toml", "a b.png", "two\nlines.png",
]  # fmt: skip
FOLDERS = [
    "@eaDir", "@EADIR", "#recycle", "@Recycle", "#snapshot", ".snapshot", "$RECYCLE.BIN", "$Recycle.Bin",
    "System Volume Information", "lost+found", "__MACOSX", ".@__thumb", ".stfolder", ".stversions", ".AppleDouble",
    ".Trashes", ".Spotlight-V100", ".fseventsd", ".git", "film.download",
]  # fmt: skip


@pytest.mark.parametrize("name", ALWAYS)
def test_a_file_that_is_not_for_us_is_ignored(name: str) -> None:
    assert Ignore().name(name)
    assert Ignore().path(f"sub/{name}", is_folder=False)


@pytest.mark.parametrize("name", NEVER)
def test_a_file_that_is_for_us_is_not_ignored(name: str) -> None:
    assert not Ignore().name(name)
    assert Ignore().path(f"sub/{name}", is_folder=False) is None


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_the_system_is_ignored_with_all_that_is_in_it(name: str) -> None:
    assert Ignore().folder(name)
    assert Ignore().path(f"a/{name}", is_folder=True)
    assert Ignore().path(f"a/{name}/b/photo.jpg", is_folder=False)


@pytest.mark.parametrize("name", ["photos", "2024", "a.png", "肖像"])
def test_a_folder_of_the_artists_is_not_ignored(name: str) -> None:
    assert not Ignore().folder(name)


@pytest.mark.parametrize(
    ("pattern", "path", "is_folder", "ignored"),
    [
        ("**/*.psd", "a.psd", False, True),
        ("**/*.psd", "a/b/c.PSD", False, True),
        ("**/*.psd", "a.psd.png", False, False),
        ("*.psd", "a/b/c.psd", False, True),
        ("*.psd", "a.psd/b.png", False, True),
        ("WIP", "wip/a.png", False, True),
        ("wip", "wip", False, True),
        ("wip/", "wip", False, False),
        ("wip/", "wip", True, True),
        ("wip/", "a/wip/b.png", False, True),
        ("**/wip/", "a/wip/b.png", False, True),
        ("/wip", "wip/a.png", False, True),
        ("/wip", "a/wip", True, False),
        ("raw/*.png", "raw/a.png", False, True),
        ("raw/*.png", "raw/b/a.png", False, False),
        ("raw/*.png", "x/raw/a.png", False, False),
        ("raw/**", "raw/b/a.png", False, True),
        ("raw/**", "raw", False, False),
        ("raw/**/*.png", "raw/a.png", False, True),
        ("raw/**/*.png", "raw/b/c/a.png", False, True),
        ("raw/**/*.png", "raw/b/c/a.jpg", False, False),
        ("**/raw/*.png", "x/y/raw/a.png", False, True),
        ("**/raw/*.png", "raw/a.png", False, True),
        ("shot_??.[jp]ng", "shot_01.png", False, True),
        ("shot_??.[jp]ng", "shot_001.png", False, False),
        ("e\u0301t*", "ÉTÉ.png", False, True),
        ("", "a.png", False, False),
        ("/", "a.png", False, False),
    ],
)
def test_the_operators_patterns_add_to_the_list(pattern: str, path: str, is_folder: bool, ignored: bool) -> None:
    rule = Ignore([pattern]).path(path, is_folder)
    assert (rule is not None) is ignored


def test_the_rule_is_told_as_it_is_written() -> None:
    ignore = Ignore(["raw/**", "*.psd"])
    assert ignore.path("raw/a.png", is_folder=False) == "raw/**"
    assert ignore.path("x/A.PSD", is_folder=False) == "*.psd"
    assert ignore.path("@eadir/a.png", is_folder=False) == "@eaDir"
    assert ignore.path("x/THUMBS.DB", is_folder=False) == "Thumbs.db"


@given(st.text(min_size=1).filter(lambda name: "/" not in name), st.booleans())
def test_any_name_gets_the_same_answer_by_name_and_by_path(name: str, is_folder: bool) -> None:
    ignore = Ignore(["*.psd", "old/"])
    by_name = ignore.folder(name) if is_folder else ignore.name(name)
    assert by_name == (ignore.path(f"sub/{name}", is_folder) is not None)
