"""Taking sources out of an inbox: moved whole, or left where they are (DESIGN 2, promise 1).

Owns: the decision, at the last moment and by descriptor, that what lies there is still the source that was rendered.
It must never move, copy or unlink anything else, never replace, and never follow a link: a link or a pipe is renamed
itself.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from renderdrop.model.errors import ShareOffline
from renderdrop.share.beneath import FOLDER, held, open_beneath, split
from renderdrop.share.make import Like, dress_as, reach, sync_folder
from renderdrop.share.marker import marked
from renderdrop.share.move import (
    COARSE,
    READ,
    Archived,
    copy_new,
    fresh,
    hidden,
    lstat,
    put_back,
    rename_new,
    same,
    unlink_unchanged,
)
from renderdrop.share.scan import ABSENT
from renderdrop.share.trouble import named, trouble


def archive(src_root: Path, src: str, dst_root: Path, dst: str, size: int, mtime_ns: int, like: Like) -> Archived:
    """Moves the source `src` to `dst` while it has this size (bytes) and mtime_ns; folders are made on the way.

    "moved": it lies at `dst`, now or since an earlier try that was interrupted. "changed": it is another file by now
    and stays. "gone": it is at neither place. Raises FileExistsError when `dst` is taken, NoPlace where something
    stands in the way to it, ShareOffline for other trouble. So does a root without its marker: nothing is put into, or
    missed in, the place of a share that is not mounted.
    """
    above, name = _split(src_root, src)
    dst_above, dst_name = _split(dst_root, dst)
    with _source_folder(src_root, above) as at:
        with trouble(named(src_root, src)):
            if at is not None:
                put_back(at, name, size, mtime_ns)
            now = None if at is None else fresh(at, name)
        if at is None or now is None:
            if at is not None:
                with trouble(named(src_root, above)):
                    sync_folder(at)  # the try that moved it may have been interrupted before
            return "moved" if _arrived(src_root, dst_root, dst_above, dst_name, size, mtime_ns) else "gone"
        if not same(now, size, mtime_ns):
            return "changed"
        with (
            trouble(named(dst_root, dst_above), one_place=bool(dst_above)),
            marked(dst_root) as root_fd,
            held(reach(root_fd, dst_above, like)) as dst_at,
        ):
            with trouble(f"{named(src_root, above)} or {named(dst_root, dst_above)}"):
                try:
                    return _rename(at, name, dst_at, dst_name, size, mtime_ns)
                except OSError as exc:
                    if exc.errno != errno.EXDEV:
                        raise
            if not stat.S_ISREG(now.st_mode):
                raise ShareOffline(
                    f"{named(src_root, src)} is no ordinary file and cannot be moved to {named(dst_root)}, "
                    "which is on another file system; take it away by hand"
                )
            return _carry(at, name, dst_at, dst_name, size, mtime_ns)


def remove(root: Path, rel: str, size: int, mtime_ns: int) -> Archived:
    """Unlinks the source `rel` while it has this size and mtime_ns: "moved" = it is away, "changed" = another file
    by now, it stays; "gone" = it was not there. Raises ShareOffline."""
    above, name = _split(root, rel)
    with _source_folder(root, above) as at, trouble(named(root, rel)):
        return "gone" if at is None else unlink_unchanged(at, name, size, mtime_ns)


def _rename(at: int, name: str, dst_at: int, dst_name: str, size: int, mtime_ns: int) -> Archived:
    rename_new(at, name, dst_at, dst_name)
    if not same(lstat(dst_at, dst_name), size, mtime_ns):
        # Saved anew between look and rename: that version is not ours to put away.
        try:
            rename_new(dst_at, dst_name, at, name)
            return "changed"
        except FileExistsError:
            pass  # and once more since then; the newest lies in the inbox, this one is kept in the archive
    sync_folder(dst_at)
    sync_folder(at)
    return "moved"


def _carry(at: int, name: str, dst_at: int, dst_name: str, size: int, mtime_ns: int) -> Archived:
    with held(open_beneath(at, name, READ)) as src_fd:
        now = os.fstat(src_fd)
        if not same(now, size, mtime_ns):
            return "changed"
        temp = hidden(f"{name}/{size}/{mtime_ns}/copy")
        if not copy_new(src_fd, dst_at, dst_name, temp, lambda fd: dress_as(fd, now)):
            return "changed"
    # From here the bytes are safe at both places; a source that changes now stays, its archived version too.
    left = unlink_unchanged(at, name, size, mtime_ns)
    return "changed" if left == "changed" else "moved"


def _arrived(src_root: Path, dst_root: Path, above: str, name: str, size: int, mtime_ns: int) -> bool:
    with trouble(named(dst_root, above)), marked(dst_root) as root_fd:
        across = src_root.stat().st_dev != os.fstat(root_fd).st_dev
        try:
            with held(open_beneath(root_fd, above, FOLDER)) as at:
                sync_folder(at)
                return same(lstat(at, name), size, mtime_ns, COARSE if across else 0)
        except OSError as exc:
            if exc.errno in ABSENT:
                return False
            raise


@contextmanager
def _source_folder(root: Path, rel: str) -> Iterator[int | None]:
    """The folder of a source; None where it, or a folder above it, is not there any more."""
    with marked(root) as root_fd:
        with trouble(named(root, rel)):
            try:
                fd = open_beneath(root_fd, rel, FOLDER)
            except OSError as exc:
                if exc.errno not in ABSENT:
                    raise
                fd = None
        if fd is None:
            yield None
        else:
            with held(fd):
                yield fd


def _split(root: Path, rel: str) -> tuple[str, str]:
    with trouble(named(root)):
        return split(rel)
