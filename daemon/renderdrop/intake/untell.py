"""What was said of a failed job is taken back when its files are tried again: notices in failed/, and the sidecar at
the end of its chain.

Owns only what this program wrote itself, proved by what is in it and never by its name: people may write there too.
"""

from collections.abc import Collection, Mapping

import structlog

from renderdrop.model.errors import ShareOffline
from renderdrop.model.names import notices, shown
from renderdrop.model.route import Route, end_of_chain
from renderdrop.runtime.disk import Disks
from renderdrop.share.told import take_told, told

log = structlog.get_logger()


def tellers(route: Route, name: str) -> set[str]:
    """The jobs that the two notices named after `name` tell of. Blocks. Raises ShareOffline."""
    return {found.job_id for notice in notices(name) if (found := told(route.failed, notice)) is not None}


def take_notices(route: Route, name: str, job_ids: Collection[str]) -> None:
    """Remove the two notices named after `name` that tell of one of these jobs; anything else of such a name stays.
    Blocks. Raises ShareOffline."""
    for notice in notices(name):
        take_told(route.failed, notice, job_ids)


async def take_chain_notice(
    disks: Disks, route: Route, routes: Mapping[str, Route], job_id: str, folder: str, base: str
) -> None:
    """Remove the sidecar that told the end of the chain of this job's failure. Trouble is only logged."""
    end = end_of_chain(route, routes)
    if end is route:
        return
    try:
        await disks.of(end)(take_told, end.outbox, f"{folder}/{base}.json" if folder else f"{base}.json", {job_id})
    except ShareOffline as fault:
        log.info("notices_left", route=route.name, reason=shown(fault.sentence))
