"""From an errno to one sentence for people.

Owns: how trouble with a share is worded. A full or unreachable share reaches a whole route (DESIGN 4), so that
everything unforeseen here becomes ShareOffline: jobs wait, none is lost or paid for twice.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from renderdrop.model.errors import NoPlace, ShareOffline
from renderdrop.model.names import shown

_SENTENCES: Final = {
    errno.ENOSPC: "is full (no space left on device); free some space, the waiting jobs go on by themselves",
    errno.EDQUOT: "has used up its disk quota; free some space, the waiting jobs go on by themselves",
    errno.EROFS: "is read-only; mount it for writing, the waiting jobs go on by themselves",
    errno.EACCES: "is closed to the daemon (permission denied); give the daemon's user or group access",
    errno.EPERM: "is closed to the daemon (operation not permitted); give the daemon's user or group access",
    errno.ELOOP: "has a symbolic link in the way, and links are never followed; put a real folder in its place",
    errno.ENOTDIR: "has a file where a folder belongs; move that file away",
    errno.EISDIR: "has a folder where a file belongs; move that folder away",
    errno.ENAMETOOLONG: "cannot hold a name as long as this one; use a shorter name",
    errno.EFBIG: "cannot hold a file as large as this one; use a file system that can",
}


_OF_ONE_PLACE: Final = frozenset(
    {
        errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EFBIG, errno.EINVAL, errno.EILSEQ
    }
)  # fmt: skip
"""What is said of one name, or of the way to it; the last two by file systems that refuse certain characters."""


@contextmanager
def trouble(what: str, one_place: bool = False) -> Iterator[None]:
    """Turns an OSError into ShareOffline with a sentence about `what`; FileExistsError passes, it is no trouble.

    `one_place`: what is said of a name below a root that is well becomes NoPlace."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as exc:
        kind = NoPlace if one_place and exc.errno in _OF_ONE_PLACE else ShareOffline
        raise kind(sentence(what, exc)) from exc


def sentence(what: str, exc: OSError) -> str:
    """What happened to `what`, and what to do about it."""
    return f"{what} {_SENTENCES.get(exc.errno or 0) or f'cannot be reached: {reason(exc)}'}"


def reason(exc: OSError) -> str:
    """The system's own words, as they read inside a sentence: "stale file handle"."""
    said = exc.strerror or os.strerror(exc.errno or errno.EIO)
    return said[:1].lower() + said[1:]


def named(root: Path, rel: str = "") -> str:
    """A place for a sentence: the last two names of the root, which tell the route, and the path below it."""
    return shown("/".join([*root.parts[-2:], *([rel] if rel else [])]).lstrip("/"))
