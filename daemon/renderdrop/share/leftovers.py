"""What is left of a folder after its files were taken out: litter goes after them, empty folders go.

Owns: that nothing but litter (what systems put beside people's files by themselves) and emptiness is ever touched. A
file that came late keeps its folder, and is a new bundle; so does one that is only on its way (`clip.mp4.part`,
rsync's `.clip.mp4.Ab12Cd`): whoever writes it will want to rename it. Never follows a link, never replaces.
"""

import fnmatch
import os
import re
from pathlib import Path
from typing import Final

from renderdrop.model.errors import ShareOffline
from renderdrop.model.names import fold
from renderdrop.share.beneath import FOLDER, held, open_beneath, open_root, split
from renderdrop.share.ignore import FOLDERS, Ignore
from renderdrop.share.make import Like, reach
from renderdrop.share.marker import marked
from renderdrop.share.move import rename_new
from renderdrop.share.scan import ABSENT
from renderdrop.share.trouble import named, trouble

_IGNORED: Final = Ignore()
_LITTER: Final = re.compile(
    "|".join(
        fnmatch.translate(fold(name))
        for name in (
            *FOLDERS, "Thumbs.db", "ehthumbs*.db", "desktop.ini", ".DS_Store", "._*", ".AppleDouble", ".@__thumb",
            ".directory", ".localized",
        )
    )
)  # fmt: skip


def clear_folder(root: Path, rel: str, to_root: Path | None, to_rel: str = "") -> None:
    """Move the litter of `root/rel` to `to_root/to_rel` (None: leave it), then remove what is empty, `rel` itself too.
    What cannot be moved or removed stays. Raises ShareOffline when the root cannot be reached."""
    with trouble(named(root)):
        root_fd = open_root(root)
    with held(root_fd):
        folders = _folders(root_fd, rel)
        if to_root is not None:
            for folder in folders:
                _move_litter(root, root_fd, folder, to_root, f"{to_rel}{folder[len(rel) :]}")
        for folder in reversed(folders):
            above, name = split(folder)
            try:
                with held(open_beneath(root_fd, above, FOLDER)) as at:
                    os.rmdir(name, dir_fd=at)
            except OSError:
                pass  # not empty, or closed to us: it stays


def _folders(root_fd: int, rel: str) -> list[str]:
    """`rel` and every folder below it that is no litter, upper ones first."""
    found, ahead = [], [rel]
    while ahead:
        folder = ahead.pop()
        try:
            with held(open_beneath(root_fd, folder, FOLDER)) as at, os.scandir(at) as listing:
                inside = [item.name for item in listing if item.is_dir(follow_symlinks=False)]
        except OSError as exc:
            if exc.errno in ABSENT and folder == rel:
                return []
            continue
        found.append(folder)
        ahead += [f"{folder}/{name}" for name in inside if not _IGNORED.folder(name)]
    return found


def _move_litter(root: Path, root_fd: int, folder: str, to_root: Path, to_folder: str) -> None:
    try:
        with (
            held(open_beneath(root_fd, folder, FOLDER)) as at,
            marked(to_root) as to_fd,
        ):
            names = set(os.listdir(at))
            # macOS keeps half of a file in "._NAME": it stays while its file does.
            litter = [
                name for name in names if _LITTER.match(fold(name)) and name.removeprefix("._") not in names - {name}
            ]
            if not litter:
                return
            with held(reach(to_fd, to_folder, Like.of(root))) as to_at:
                for name in litter:
                    try:
                        rename_new(at, name, to_at, name)
                    except OSError:
                        pass  # taken there, or on another file system: litter is not worth more
    except (OSError, ShareOffline):
        pass  # closed to us: it stays
