"""Ground for the share's tests: a route's folders, another file system, and names as they come."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from renderdrop.share import archive as archiving
from renderdrop.share import beneath, kernel, publish
from renderdrop.share.marker import MARKER, Folders, prepare

NAMES = (
    "plain.png",
    "UPPER.JPG",
    "肖像 照片.png",
    "🎬 clip.mp4",
    "e\u0301te\u0301.png",  # NFD
    "été.png",  # NFC
    "two\nlines.png",
    "tab\tand\x7f.png",
    " leading and trailing ",
    "-rf",
    "$(reboot);'\".png",
    "back\\slash.png",
    "...",
    os.fsdecode(b"caf\xe9.png"),  # Latin-1, no UTF-8
    os.fsdecode(b"\xff\xfe"),
    "n" * 255,
)


@pytest.fixture(params=NAMES, ids=ascii)
def any_name(request: pytest.FixtureRequest) -> str:
    """A name that people and programs really use."""
    return str(request.param)


@pytest.fixture(params=["openat2", "step by step"])
def each_lookup(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of opening beneath; where the kernel has no openat2 both are the second."""
    if request.param == "step by step":
        monkeypatch.setattr(beneath, "_kernel_resolves", lambda: False)


def _refuse(number: int) -> Callable[..., None]:
    def call(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.fixture
def refuse() -> Callable[[int], Callable[..., None]]:
    """Makes a system call that fails with that errno."""
    return _refuse


@pytest.fixture
def names() -> Sequence[str]:
    """All of them at once."""
    return NAMES


@pytest.fixture(params=["flag", "link", "look"])
def each_rename(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The three ways to rename without replacing, as file systems offer them."""
    if request.param != "flag":
        monkeypatch.setattr(kernel, "rename_noreplace", _refuse(errno.EINVAL))
    if request.param == "look":
        link = os.link

        def no_links(src: Path, dst: Path, **at: int) -> None:
            if at:
                raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
            link(src, dst)  # the tests' own

        monkeypatch.setattr(os, "link", no_links)
    return str(request.param)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """A route's folders, made and marked."""
    home = tmp_path / "portrait"
    home.mkdir()
    places = Folders(home / "inbox", home / "outbox", home / "done", home / "failed")
    prepare(places, seen=False)
    return places


@pytest.fixture(params=["real", "told so"])
def far(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to which renaming says EXDEV: on another file system where there is one, and pretended."""
    yield from _far(tmp_path, monkeypatch, real=request.param == "real")


@pytest.fixture
def real_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same, once."""
    yield from _far(tmp_path, monkeypatch, real=True)


def _far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real: bool) -> Iterator[Path]:
    memory = Path("/dev/shm")
    if real and memory.is_dir() and memory.stat().st_dev != tmp_path.stat().st_dev:
        place = Path(tempfile.mkdtemp(prefix="renderdrop-test-", dir=memory))
        (place / MARKER).touch()
        yield place
        shutil.rmtree(place)
        return
    monkeypatch.setattr(archiving, "rename_new", _refuse(errno.EXDEV))
    monkeypatch.setattr(publish, "rename_new", _refuse(errno.EXDEV))
    place = tmp_path / "far"
    place.mkdir()
    (place / MARKER).touch()
    yield place
