"""Which file system a folder lies on, and whether its changes can happen where our kernel does not see them.

Owns: the facts for "events or sweep only?". It reads /proc/self/mountinfo and never what is in a folder; whoever asks
decides.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MOUNTINFO: Final = Path("/proc/self/mountinfo")

_NETWORK: Final = frozenset(
    {
        "9p", "acfs", "afs", "autofs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse", "fuseblk", "gfs2",
        "glusterfs", "gpfs", "lustre", "ncpfs", "ocfs2", "orangefs", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs",
        "vmhgfs",
    }
)  # fmt: skip
_NETWORK_PREFIXES: Final = ("nfs", "fuse.")

_ESCAPE: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system; `network` means that inotify cannot be trusted on it: others may change it unseen."""

    point: Path
    fs_type: str
    source: str
    network: bool


UNKNOWN: Final = Mount(Path("/"), "unknown", "", network=True)
"""Where the kernel does not say, sweeping is right and events would be a gamble."""


def mount_of(path: Path) -> Mount:
    """The mount that `path`, or its nearest existing ancestor, lies on; links in it are followed. Never raises."""
    try:
        text = _MOUNTINFO.read_text("utf-8", "surrogateescape")
    except OSError:
        return UNKNOWN
    return choose(parse(text), Path(os.path.realpath(path)))


def choose(mounts: Iterable[Mount], path: Path) -> Mount:
    """The mount with the longest point above the absolute `path`; of several at one point the last, which is on top."""
    above = [mount for mount in mounts if path.is_relative_to(mount.point)]
    return max(reversed(above), key=lambda mount: len(mount.point.parts), default=UNKNOWN)


def parse(text: str) -> list[Mount]:
    """The mounts in the text of a mountinfo file (proc(5)), in its order; lines that are none are passed over."""
    mounts = []
    for line in text.split("\n"):
        before, dash, after = line.partition(" - ")
        place, system = before.split(" "), after.split(" ")
        if dash and len(place) > 4 and len(system) > 1:
            fs_type = _plain(system[0])
            mounts.append(Mount(Path(_plain(place[4])), fs_type, _plain(system[1]), is_network(fs_type)))
    return mounts


def is_network(fs_type: str) -> bool:
    """Whether a file system of that type is served by another machine or another program."""
    return fs_type in _NETWORK or fs_type.startswith(_NETWORK_PREFIXES)


def _plain(field: str) -> str:
    # The kernel writes space, tab, newline, backslash and # as \ooo.
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field)
