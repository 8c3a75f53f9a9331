"""Which file system a folder lies on, read from the kernel's own table."""

from pathlib import Path

import pytest

from renderdrop.share import mounts
from renderdrop.share.mounts import UNKNOWN, choose, is_network, mount_of, parse

TABLE = r"""
21 27 0:20 / /proc rw,nosuid shared:12 - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,discard
30 27 0:30 / /srv rw - xfs /dev/vdb rw
31 30 0:41 / /srv/share rw,relatime shared:7 master:3 propagate_from:2 - cifs //nas/render\040files rw,vers=3.1.1
32 30 0:42 / /srv/my\040share\011x\012y\134z\043 rw - nfs4 nas:/export rw
33 27 0:43 /sub /mnt/bind rw - btrfs /dev/vdc rw,subvol=/sub
34 27 0:44 / /mnt/cloud rw - fuse.rclone remote: rw
35 27 0:45 / /mnt/stack rw - autofs systemd-1 rw
36 27 0:46 / /mnt/stack rw - ext4 /dev/vdd rw
37 27 0:47 / /mnt/empty rw - tmpfs  rw
nonsense
38 27 0:48
"""


@pytest.mark.parametrize(
    ("path", "point", "fs_type", "network"),
    [
        ("/srv/share/portrait/inbox", "/srv/share", "cifs", True),
        ("/srv/share", "/srv/share", "cifs", True),
        ("/srv/shared/inbox", "/srv", "xfs", False),
        ("/srv/my share\tx\ny\\z#/inbox", "/srv/my share\tx\ny\\z#", "nfs4", True),
        ("/mnt/bind/a", "/mnt/bind", "btrfs", False),
        ("/mnt/cloud", "/mnt/cloud", "fuse.rclone", True),
        ("/mnt/stack/a", "/mnt/stack", "ext4", False),
        ("/mnt/empty", "/mnt/empty", "tmpfs", False),
        ("/home/x", "/", "ext4", False),
    ],
)
def test_the_longest_mount_point_above_a_path_is_its_own(path: str, point: str, fs_type: str, network: bool) -> None:
    mount = choose(parse(TABLE), Path(path))
    assert (mount.point, mount.fs_type, mount.network) == (Path(point), fs_type, network)


def test_the_source_is_told_without_escapes() -> None:
    assert choose(parse(TABLE), Path("/srv/share")).source == "//nas/render files"
    assert choose(parse(TABLE), Path("/mnt/empty")).source == ""


def test_lines_that_are_no_mounts_are_passed_over() -> None:
    assert len(parse(TABLE)) == 10
    assert parse("") == []


@pytest.mark.parametrize(
    "fs_type", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse", "fuse.sshfs", "fuseblk", "virtiofs", "vboxsf", "ceph"]
)
def test_what_others_can_change_unseen_is_a_network_file_system(fs_type: str) -> None:
    assert is_network(fs_type)


@pytest.mark.parametrize("fs_type", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "vfat", "fusectl", "f2fs"])
def test_what_only_our_kernel_changes_is_local(fs_type: str) -> None:
    assert not is_network(fs_type)


def test_the_running_system_is_understood(tmp_path: Path) -> None:
    here = mount_of(tmp_path)
    assert tmp_path.is_relative_to(here.point)
    assert mount_of(tmp_path / "not" / "there") == here
    (tmp_path / "link").symlink_to("/proc/self")
    assert mount_of(tmp_path / "link" / "fd").fs_type == "proc"


def test_a_system_that_does_not_say_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "_MOUNTINFO", tmp_path / "none")
    assert mount_of(tmp_path) == UNKNOWN
    assert UNKNOWN.network
