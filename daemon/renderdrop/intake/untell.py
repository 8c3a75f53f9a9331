"""What was said of a failed job is taken back when its files are tried again: notices in failed/, and the sidecar at
the end of its chain.

Owns only what this program wrote itself, proved by the job's id inside where the name alone could mislead.
"""

from collections.abc import Mapping

import structlog

from renderdrop.model import sidecar
from renderdrop.model.errors import NotTakeable, ShareOffline, SourceChanged, SourceGone
from renderdrop.model.names import notices, shown
from renderdrop.model.route import Route, end_of_chain
from renderdrop.share.publish import remove_own
from renderdrop.share.source import open_source

log = structlog.get_logger()


def take_notices(route: Route, told: str) -> None:
    """Remove the two notices named after `told`. Blocks. Raises ShareOffline."""
    for notice in notices(told):
        remove_own(route.failed, notice)


def take_chain_notice(route: Route, routes: Mapping[str, Route], job_id: str, folder: str, base: str) -> None:
    """Remove the sidecar that told the end of the chain of this job's failure. Blocks; trouble is only logged."""
    end = end_of_chain(route, routes)
    path = f"{folder}/{base}.json" if folder else f"{base}.json"
    try:
        with open_source(end.outbox, path) as file:
            ours = sidecar.belongs_to(file.read(0, 2**20)) == job_id
        if ours and end is not route:
            remove_own(end.outbox, path)
    except (SourceGone, SourceChanged, NotTakeable):
        pass
    except ShareOffline as fault:
        log.info("notices_left", route=route.name, reason=shown(fault.sentence))
