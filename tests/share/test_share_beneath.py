"""Nothing that lies on a share leads out of it: one contract for both ways of opening beneath."""

import errno
import os
from pathlib import Path

import pytest

from renderdrop.share import beneath, kernel
from renderdrop.share.beneath import bare, folder, held, open_beneath, open_root, parts, split, stat_beneath

pytestmark = pytest.mark.usefixtures("each_lookup")


def content(root: Path, rel: str) -> bytes:
    with held(open_root(root)) as root_fd, held(open_beneath(root_fd, rel, os.O_RDONLY)) as fd:
        return os.read(fd, 100)


def errno_of(root: Path, rel: str, flags: int = os.O_RDONLY) -> int | None:
    with held(open_root(root)) as root_fd:
        try:
            os.close(open_beneath(root_fd, rel, flags))
        except OSError as exc:
            return exc.errno
    return None


def test_a_file_is_opened_wherever_it_lies_below(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "x").write_bytes(b"top")
    (tmp_path / "a" / "b" / "x").write_bytes(b"deep")
    assert content(tmp_path, "x") == b"top"
    assert content(tmp_path, "a/b/x") == b"deep"


def test_any_name_is_opened_byte_for_byte(tmp_path: Path, any_name: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / any_name).write_bytes(b"it")
    assert content(tmp_path, f"sub/{any_name}") == b"it"


def test_the_empty_path_is_the_root_itself(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with folder(tmp_path, "") as fd:
        assert os.listdir(fd) == ["x"]
    with held(open_root(tmp_path)) as root_fd:
        assert os.path.samestat(stat_beneath(root_fd, ""), tmp_path.stat())


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x").write_bytes(b"it")
    (tmp_path / "link").symlink_to("real")
    assert content(tmp_path / "link", "x") == b"it"


@pytest.mark.parametrize(
    "rel",
    ["/etc/passwd", "..", "../x", "a/../x", "a/..", ".", "./x", "a/./x", "a//x", "a/", "/", "x\0", "a/\0/x", "\ud800"],
)
def test_a_path_that_is_none_below_a_root_is_refused(tmp_path: Path, rel: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "x").touch()
    assert errno_of(tmp_path, rel) == errno.EINVAL


@pytest.mark.parametrize("rel", ["link/b/x", "a/link/x", "a/b/link", "link"])
@pytest.mark.parametrize("target", ["inside", "outside", "absolute", "dangling"])
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDONLY | os.O_DIRECTORY, os.O_RDONLY | os.O_NONBLOCK])
def test_a_link_in_any_place_is_refused(tmp_path: Path, rel: str, target: str, flags: int) -> None:
    root = tmp_path / "root"
    for base in (root / "real", tmp_path / "secret"):
        (base / "b").mkdir(parents=True)
        (base / "b" / "x").write_bytes(b"it")
        (base / "x").write_bytes(b"it")
    (root / "a" / "b").mkdir(parents=True)
    place = root / rel[: rel.index("link")] / "link"
    up = "../" * rel[: rel.index("link")].count("/")
    place.symlink_to(
        {
            "inside": f"{up}real",
            "outside": f"{up}../secret",
            "absolute": str(tmp_path / "secret"),
            "dangling": "nowhere",
        }[target]
    )
    assert errno_of(root, rel, flags) == errno.ELOOP


def test_a_link_to_the_process_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/proc/self/root")
    assert errno_of(tmp_path, "link/etc/passwd") == errno.ELOOP


def test_what_is_missing_says_so_at_every_place(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert errno_of(tmp_path, "x") == errno.ENOENT
    assert errno_of(tmp_path, "a/b/x") == errno.ENOENT
    assert errno_of(tmp_path, "file/x") == errno.ENOTDIR
    assert errno_of(tmp_path, "file", os.O_RDONLY | os.O_DIRECTORY) == errno.ENOTDIR
    assert errno_of(tmp_path, "n" * 256) == errno.ENAMETOOLONG


def test_a_tree_deeper_than_a_path_may_be_long_is_reached(tmp_path: Path) -> None:
    name = "d" * 200
    with held(open_root(tmp_path)) as root_fd:
        at = os.dup(root_fd)
        for _ in range(30):
            os.mkdir(name, dir_fd=at)
            below = os.open(name, os.O_RDONLY, dir_fd=at)
            os.close(at)
            at = below
        os.close(os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=at))
        os.close(at)
        rel = "/".join([name] * 30 + ["x"])
        assert stat_beneath(root_fd, rel).st_size == 0


def test_stat_tells_of_a_link_itself_and_of_none_behind_one(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"1234")
    (tmp_path / "to_x").symlink_to("a/x")
    (tmp_path / "to_a").symlink_to("a")
    with held(open_root(tmp_path)) as root_fd:
        assert stat_beneath(root_fd, "a/x").st_size == 4
        assert os.path.samestat(stat_beneath(root_fd, "to_x"), (tmp_path / "to_x").lstat())
        with pytest.raises(OSError) as raised:
            stat_beneath(root_fd, "to_a/x")
    assert raised.value.errno == errno.ELOOP


def test_stat_does_not_wait_at_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with held(open_root(tmp_path)) as root_fd:
        assert os.path.samestat(stat_beneath(root_fd, "pipe"), (tmp_path / "pipe").lstat())


def test_no_descriptor_is_left_behind_and_none_is_inherited(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").touch()
    (tmp_path / "link").symlink_to("a")
    before = set(os.listdir("/proc/self/fd"))
    with held(open_root(tmp_path)) as root_fd:
        assert not os.get_inheritable(root_fd)
        with held(open_beneath(root_fd, "a/x", os.O_RDONLY)) as fd:
            assert not os.get_inheritable(fd)
        for rel in ("link/x", "a/none", "../x", "none/x"):
            with pytest.raises(OSError):
                open_beneath(root_fd, rel, os.O_RDONLY)
    assert set(os.listdir("/proc/self/fd")) == before


def test_paths_are_taken_apart_only_when_they_are_some() -> None:
    assert parts("") == []
    assert parts("a/b/c") == ["a", "b", "c"]
    assert split("a/b/c") == ("a/b", "c")
    assert split("c") == ("", "c")
    assert bare("c") == "c"
    for wrong in ("", "a/b", "..", "a\0"):
        with pytest.raises(OSError):
            bare(wrong)
    with pytest.raises(OSError):
        split("")


@pytest.mark.parametrize(("number", "works"), [(errno.ENOSYS, False), (errno.EPERM, False), (errno.EMFILE, True)])
def test_a_kernel_or_a_filter_without_openat2_is_noticed(
    monkeypatch: pytest.MonkeyPatch, number: int, works: bool, request: pytest.FixtureRequest
) -> None:
    def openat2(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    if "step" in request.node.name:
        return  # the question is not asked there
    monkeypatch.setattr(kernel, "openat2", openat2)
    beneath._kernel_resolves.cache_clear()
    try:
        assert beneath._kernel_resolves() is works
    finally:
        beneath._kernel_resolves.cache_clear()


def test_a_lookup_that_a_rename_disturbs_is_tried_again_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beneath, "_kernel_resolves", lambda: True)
    answers = [errno.EAGAIN, errno.EINTR, errno.EAGAIN]
    tries = 0

    def openat2(dir_fd: int, path: bytes, flags: int, resolve: int) -> int:
        nonlocal tries
        tries += 1
        if answers:
            raise OSError(answers.pop(), "disturbed")
        return os.open(path, flags, dir_fd=dir_fd)

    monkeypatch.setattr(kernel, "openat2", openat2)
    (tmp_path / "x").write_bytes(b"it")
    assert content(tmp_path, "x") == b"it"
    assert tries == 4
    answers += [errno.EAGAIN] * 1000
    assert errno_of(tmp_path, "x") == errno.EAGAIN
