"""Publishing: what the daemon makes appears under its final name whole, on disk, and never over something else.

Owns: staging below `outbox/.renderdrop/`, and the one step from there to a final name. It must never
write under a final name, and never make a root or a marker. What takes sources away is `archive`; both are offered
here together because delivery needs both.
"""

import errno
import os
import stat
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from renderdrop.model.errors import NoPlace, ShareOffline
from renderdrop.share.archive import archive, remove
from renderdrop.share.beneath import FOLDER, bare, held, open_beneath, open_root
from renderdrop.share.beneath import folder as folder_of
from renderdrop.share.make import Like, make_folders, reach, sync_folder, write_all
from renderdrop.share.marker import STAGING, marked
from renderdrop.share.move import READ, Archived, copy_new, hidden, lstat, remove_missing_ok, rename_new
from renderdrop.share.scan import ABSENT
from renderdrop.share.signs import sign_of_life
from renderdrop.share.trouble import named, trouble

__all__ = [
    "Archived",
    "Like",
    "archive",
    "make_folders",
    "names_in",
    "new_staged",
    "publish",
    "remove",
    "stage",
    "staging_folder",
    "trouble",
    "unstage",
    "write_staged",
]

_WRITE_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_LARGEFILE


def stage(outbox: Path, job: str, like: Like) -> Path:
    """Makes `outbox/.renderdrop/<job>/` where it is missing, and returns it. Raises ShareOffline, also when
    `.renderdrop` is missing: then the outbox is not mounted."""
    with trouble(named(outbox)), folder_of(outbox, STAGING) as staging:
        os.close(reach(staging, bare(job), like))
    return outbox / STAGING / job


def unstage(outbox: Path, job: str) -> None:
    """Removes `outbox/.renderdrop/<job>/` and what is directly in it, never following a link; missing is fine.

    A folder that someone put in there stays, and its staging with it. Raises ShareOffline.
    """
    with trouble(named(outbox)), held(open_root(outbox)) as root_fd:
        try:
            with held(open_beneath(root_fd, f"{STAGING}/{bare(job)}", FOLDER)) as at:
                for name in os.listdir(at):
                    try:
                        os.unlink(name, dir_fd=at)
                    except (FileNotFoundError, IsADirectoryError):
                        pass
            with held(open_beneath(root_fd, STAGING, FOLDER)) as staging:
                os.rmdir(job, dir_fd=staging)
        except OSError as exc:
            if exc.errno not in {*ABSENT, errno.ENOTEMPTY, errno.EEXIST}:
                raise


def staging_folder(path: Path) -> AbstractContextManager[int]:
    """A descriptor for the folder of a staged file, closed at the end. The outbox may be a link, `.renderdrop` and
    the job's folder may not: both lie where people can write. Raises plain OSError."""
    return folder_of(path.parents[2], f"{path.parts[-3]}/{path.parts[-2]}")


def write_staged(path: Path, data: bytes, like: Like) -> None:
    """Writes `data` to `path`, a file directly in a folder from `stage`, in place of what is there; on disk when it
    returns. Raises ShareOffline."""
    with trouble(named(path.parents[2])), staging_folder(path) as at:
        with held(new_staged(path, at)) as fd:
            write_all(fd, data)
            like.dress(fd)
            os.fsync(fd)
        sync_folder(at)


def new_staged(path: Path, at: int) -> int:
    """A descriptor, to write to, of a new file at `path`, whose folder is open as `at`. What has the name there goes
    and is never written into: people may have put a link there, and be it a hard one, to a file of somebody else's.

    Raises NoPlace where somebody puts one there again and again, else plain OSError."""
    remove_missing_ok(at, bare(path.name))
    try:
        return os.open(path.name, _WRITE_NEW, 0o600, dir_fd=at)
    except FileExistsError:
        raise NoPlace(
            f"{named(path)}: somebody puts files of their own there; leave {STAGING} to the daemon"
        ) from None  # fmt: skip


def publish(root: Path, staged: Path, folder: str, name: str, like: Like) -> None:
    """Gives the finished and synced file `staged` its place `root/folder/name`, with the inbox's group and bits;
    `folder` is made where it is missing. Both folders are on disk when it returns, and `staged` is gone.

    Raises FileExistsError when the name is taken, NoPlace when it cannot lie there, ShareOffline for other trouble.
    """
    with (
        trouble(named(staged.parents[2])),
        staging_folder(staged) as at,
        held(open_beneath(at, staged.name, READ)) as fd,
    ):
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ShareOffline(f"{named(staged)} is no ordinary file; remove it, and the delivery is made again")
        with trouble(named(root, folder), one_place=True), marked(root) as root_fd:
            bare(name)
            with held(reach(root_fd, folder, like)) as target:
                if not _is_ours(os.fstat(fd), lstat(target, name)):
                    raise ShareOffline(
                        f"{named(staged)} has another name elsewhere; remove it, and the delivery is made again"
                    )
                like.dress(fd)
                try:
                    _name(fd, at, staged.name, target, name, hidden(f"{staged.parent.name}/{staged.name}"), like)
                finally:
                    sync_folder(target)  # also where the name is taken: perhaps by this very file, before a crash
        sync_folder(at)


def names_in(root: Path, folder: str) -> list[str]:
    """The bare names in `root/folder`, hidden ones too; [] when that folder is missing. Raises ShareOffline."""
    with trouble(named(root, folder), one_place=bool(folder)), held(open_root(root)) as root_fd:
        try:
            with held(open_beneath(root_fd, folder, FOLDER)) as at, os.scandir(at) as listing:
                return [_name_of(item) for item in listing]
        except FileNotFoundError:
            return []


def _is_ours(staged: os.stat_result, there: os.stat_result | None) -> bool:
    """No hard link that somebody put in its place, whose file would get the inbox's group and bits. Two names it has
    only where a rename by link and unlink was interrupted: then its second one is the final name."""
    return staged.st_nlink < 2 or (there is not None and os.path.samestat(staged, there))


def _name_of(item: os.DirEntry[str]) -> str:
    sign_of_life()
    return item.name


def _name(fd: int, at: int, staged: str, target: int, name: str, temp: str, like: Like) -> None:
    try:
        return rename_new(at, staged, target, name)
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
    if not copy_new(fd, target, name, temp, like.dress):
        raise OSError(errno.EIO, "the staged file changed while it was copied")
    return os.unlink(staged, dir_fd=at)
