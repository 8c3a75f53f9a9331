"""The end of a chain is told when a link of it fails: NAME.json, status "fail", in the last outbox.

Whoever waits for NAME.json there would wait for ever otherwise. Owns that one file and its name, which is committed
(the failed job's `base`) before it appears, so that it can be taken back when the source is tried again.
"""

from collections.abc import Mapping
from dataclasses import replace

import structlog

from renderdrop.delivery.naming import base_name, plan
from renderdrop.ledger import moves
from renderdrop.ledger.store import Ledger
from renderdrop.model import sidecar
from renderdrop.model.job import Job
from renderdrop.model.names import shown
from renderdrop.model.route import Route, end_of_chain
from renderdrop.runtime.clock import Clock
from renderdrop.runtime.disk import Disks
from renderdrop.share.marker import Folders, online
from renderdrop.share.publish import Like, names_in, publish, stage, unstage, write_staged
from renderdrop.share.told import owner, take_told

log = structlog.get_logger()


class Chain:
    """Tells the ends of chains."""

    def __init__(self, ledger: Ledger, clock: Clock, disks: Disks) -> None:
        self._ledger = ledger
        self._clock = clock
        self._disks = disks
        self._routes: Mapping[str, Route] = {}

    def set_routes(self, routes: Mapping[str, Route]) -> None:
        """The routes whose chains there are from now on."""
        self._routes = routes

    async def tell(self, route: Route, job: Job) -> None:
        """Publish what became of a failed job at the end of its chain; nothing where it feeds no other route.

        Raises ShareOffline; may be repeated.
        """
        end = end_of_chain(route, self._routes)
        if end is route:
            return
        disk = self._disks.of(end)
        await disk(online, Folders(end.inbox, end.outbox, end.done, end.failed))
        like = await disk(Like.of, end.inbox)
        staging = await disk(stage, end.outbox, job.id, like)
        told = replace(job, error=f'the route "{route.name}" of the chain failed: {job.error or "no reason is known"}')
        data = sidecar.write(told, success=False, model=route.model)
        await disk(write_staged, staging / "sidecar", data, like)
        while True:
            if job.base is None:
                job = await self._name(end, job)
            try:
                await disk(publish, end.outbox, staging / "sidecar", job.folder, f"{job.base}.json", like)
                log.info("chain_told", job=job.id, route=route.name, end=end.name, base=shown(job.base or ""))
                break
            except FileExistsError:
                if await disk(owner, end.outbox, _path(job), len(data)) == job.id:
                    break  # told before a crash came between
                job = replace(job, base=None)
        await disk(unstage, end.outbox, job.id)

    async def take_back(self, route: Route, job: Job) -> None:
        """Remove what the end of the chain was told when this job failed before: it was tried again, and rendered.

        Raises ShareOffline; may be repeated."""
        end = end_of_chain(route, self._routes)
        disk = self._disks.of(end)
        if end is not route:
            await disk(take_told, end.outbox, _path(job), {job.id})

    async def _name(self, end: Route, job: Job) -> Job:
        base = base_name(
            end.output_name, stem=job.stem, route=end.name, job=job.id, task=job.task_id or "",
            date=self._clock.now().astimezone().date().isoformat(), workflow=end.workflow_id, label=job.wishes.label,
        )  # fmt: skip
        taken = await self._disks.of(end)(names_in, end.outbox, job.folder)
        chosen = plan(base, [], outbox=taken, done=()).base
        at = self._clock.text()
        await self._ledger.write(lambda c: moves.change(c, job.id, job.state, at, base=chosen), point="chain_name")
        return replace(job, base=chosen)


def _path(job: Job) -> str:
    return f"{job.folder}/{job.base}.json" if job.folder else f"{job.base}.json"
