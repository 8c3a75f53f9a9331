"""What was said of a failed job is taken back when its files are tried again: notices in failed/, and the sidecar at
the end of its chain.

Owns only what this program wrote itself, proved by what is in it and never by its name: people may write there too.
"""

from collections.abc import Collection, Mapping
from typing import Final

import structlog

from renderdrop.model import sidecar
from renderdrop.model.errors import NotTakeable, ShareOffline, SourceChanged, SourceGone
from renderdrop.model.names import NOTICE_TXT, notices, shown
from renderdrop.model.notice import told_by
from renderdrop.model.route import Route, end_of_chain
from renderdrop.runtime.disk import Disks
from renderdrop.share.publish import remove, remove_own
from renderdrop.share.source import open_source

log = structlog.get_logger()


_LARGEST: Final = 4 * 2**20
"""Bytes of a notice: one of a folder bundle lists every file."""


def tellers(route: Route, told: str) -> set[str]:
    """The jobs that the two notices named after `told` tell of. Blocks. Raises ShareOffline."""
    return {job_id for _, job_id, _, _ in _notices(route, told)}


def take_notices(route: Route, told: str, job_ids: Collection[str]) -> None:
    """Remove the two notices named after `told` that tell of one of these jobs; anything else of such a name stays.
    Blocks. Raises ShareOffline."""
    for notice, job_id, size, mtime_ns in _notices(route, told):
        if job_id in job_ids:
            remove(route.failed, notice, size, mtime_ns)


def _notices(route: Route, told: str) -> list[tuple[str, str, int, int]]:
    """Path, job, size and mtime of what this program wrote there."""
    found = []
    for notice in notices(told):
        try:
            with open_source(route.failed, notice) as file:
                data = file.read(0, _LARGEST)
        except (SourceGone, SourceChanged, NotTakeable):
            continue
        job_id = (told_by if notice.endswith(NOTICE_TXT) else sidecar.notice_of)(data)
        if job_id is not None:
            found.append((notice, job_id, file.size, file.mtime_ns))
    return found


async def take_chain_notice(
    disks: Disks, route: Route, routes: Mapping[str, Route], job_id: str, folder: str, base: str
) -> None:
    """Remove the sidecar that told the end of the chain of this job's failure. Trouble is only logged."""
    end = end_of_chain(route, routes)
    if end is route:
        return
    try:
        await disks.of(end)(_take_if_ours, end, f"{folder}/{base}.json" if folder else f"{base}.json", job_id)
    except ShareOffline as fault:
        log.info("notices_left", route=route.name, reason=shown(fault.sentence))


def _take_if_ours(end: Route, path: str, job_id: str) -> None:
    try:
        with open_source(end.outbox, path) as file:
            ours = sidecar.belongs_to(file.read(0, 2**20)) == job_id
        if ours:
            remove_own(end.outbox, path)
    except (SourceGone, SourceChanged, NotTakeable):
        pass
