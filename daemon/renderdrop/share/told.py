"""What this program has told on a share, taken away again: notices in failed/, and a failure at the end of a chain.

Owns that such a file is known by what is in it, never by its name, and goes only as it was written: one to which
somebody has added a line is somebody's work.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from renderdrop.model import sidecar
from renderdrop.model.errors import NotTakeable, SourceChanged, SourceGone
from renderdrop.model.names import NOTICE_TXT
from renderdrop.model.notice import told_by
from renderdrop.share.archive import remove
from renderdrop.share.source import open_source

_DIFFER: Final = 2**16
"""Bytes by which a job's sidecar may be longer than when it is written again: its version, its moments."""


@dataclass(frozen=True, slots=True)
class Told:
    """A file of ours that tells of a failed job, as it was when it was read."""

    job_id: str
    size: int
    mtime_ns: int


def owner(root: Path, rel: str, about: int) -> str | None:
    """The job that the sidecar at `rel` names, if it is one. What is much longer than the `about` bytes that the job
    has to tell is not read, and is not its. Raises ShareOffline."""
    most = about + _DIFFER
    try:
        with open_source(root, rel) as file:
            return sidecar.belongs_to(file.read(0, most)) if file.size <= most else None
    except (SourceGone, SourceChanged, NotTakeable):
        return None  # a link, a pipe, a folder: whatever has the name is nobody's sidecar


def told(root: Path, rel: str) -> Told | None:
    """What lies at `rel`, if it is just as this program writes it. Raises ShareOffline."""
    try:
        return _told(root, rel)
    except SourceGone:
        return None


def take_told(root: Path, rel: str, job_ids: Collection[str]) -> None:
    """Removes what lies at `rel` if it tells of one of these jobs; anything else stays. On disk when it returns.

    Raises ShareOffline."""
    try:
        found = _told(root, rel)
    except SourceGone:
        # Perhaps taken away right before a crash: that has to last. Whatever may lie there by now is of another size.
        remove(root, rel, -1, -1)
        return
    if found is not None and found.job_id in job_ids:
        remove(root, rel, found.size, found.mtime_ns)


def _told(root: Path, rel: str) -> Told | None:
    """Raises SourceGone, ShareOffline."""
    try:
        with open_source(root, rel) as file:
            data = file.read(0, file.size) if file.size <= sidecar.LARGEST else b""
    except (SourceChanged, NotTakeable):
        return None
    job_id = (told_by if rel.endswith(NOTICE_TXT) else sidecar.notice_of)(data)
    return None if job_id is None else Told(job_id, file.size, file.mtime_ns)
