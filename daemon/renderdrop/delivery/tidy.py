"""What a crash may leave behind in staging: folders of jobs that are long over.

Owns `outbox/.renderdrop/<job>/` of ended and filed jobs of *this* ledger. A folder of a job that it does not know
may be another daemon's, with another ledger on the same share: it is never touched.
"""

import structlog

from renderdrop.ledger import queries
from renderdrop.ledger.store import Ledger
from renderdrop.model.route import Route
from renderdrop.runtime.disk import Disk
from renderdrop.share.marker import STAGING
from renderdrop.share.publish import names_in, unstage

log = structlog.get_logger()


async def tidy(route: Route, ledger: Ledger, disk: Disk) -> None:
    """Remove the staging of jobs that are over. Raises ShareOffline."""
    staged = await disk(names_in, route.outbox, STAGING)
    for job_id in await ledger.read(lambda c: queries.over(c, staged)):
        await disk(unstage, route.outbox, job_id)
        log.info("staging_removed", job=job_id, route=route.name)
