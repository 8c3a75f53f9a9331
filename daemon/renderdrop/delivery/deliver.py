"""Rendered → delivered: fetch, name, publish, and the sidecar last.

Owns the order in which results become visible, and that it can be taken up again from any point: names are
committed before anything bears them, every output reaches its name by one rename, the sidecar says that all
is there, and only then does the ledger say delivered. At worst, after a crash, a result lies in the outbox
without its sidecar for as long as the daemon is away.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import Connection

from renderdrop.delivery.fetch import Fetch
from renderdrop.delivery.naming import Plan, alike, base_name, output_extension, plan
from renderdrop.ledger import moves, queries
from renderdrop.ledger.store import Ledger
from renderdrop.model import sidecar
from renderdrop.model.backoff import backoff
from renderdrop.model.errors import PlatformDown, ShareOffline, Temporary, Undeliverable
from renderdrop.model.job import Job, Output, Place
from renderdrop.model.lifecycle import State
from renderdrop.model.names import split_ext
from renderdrop.model.route import Route
from renderdrop.platform.results import Missing
from renderdrop.runtime.clock import Clock
from renderdrop.runtime.hands import Hands
from renderdrop.runtime.troubles import PLATFORM, Troubles
from renderdrop.share.marker import Folders, online
from renderdrop.share.publish import Like, names_in, publish, stage, unstage, write_staged
from renderdrop.share.source import open_source
from renderdrop.share.staged import has, published, withdraw

log = structlog.get_logger()

_MISSING_TRIES: Final = 4
"""Looks at an output that the platform says is not there, before that is believed."""
_TRIES: Final = 30
"""Failed downloads in a row, some ten minutes, before a person is asked."""


class Deliver:
    """Carries rendered jobs to their outbox. `ended` wakes the archiving."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        troubles: Troubles,
        fetch: Fetch,
        hands: Hands,
        ended: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._troubles = troubles
        self._fetch = fetch
        self._hands = hands
        self._ended = ended
        self._routes: dict[str, Route] = {}
        self._naming = asyncio.Lock()
        self.stopped = False

    def set_routes(self, routes: tuple[Route, ...]) -> None:
        """The routes whose jobs are delivered from now on."""
        self._routes = {route.name: route for route in routes}

    async def round(self) -> None:
        """Take up as many rendered jobs as there are hands."""
        if self.stopped or not self._hands.free:
            return
        routes = [name for name in self._routes if not self._troubles.stands_in_the_way(name)]
        but, free = self._hands.passed_over(), self._hands.free
        jobs = await self._ledger.read(lambda c: queries.rendered(c, routes=routes, but=but, limit=free))
        self._hands.more = len(jobs) == free
        for job in jobs:
            self._hands.take(job.id, self._deliver(self._routes[job.route], job))

    async def _deliver(self, route: Route, job: Job) -> None:
        folders = Folders(route.inbox, route.outbox, route.done, route.failed)
        try:
            await asyncio.to_thread(online, folders)
            like = await asyncio.to_thread(Like.of, route.inbox)
            staging = await asyncio.to_thread(stage, route.outbox, job.id, like)
            job = await self._fetch_all(route, job, staging)
            job = await self._publish_all(route, job, staging, like)
            await self._finish(route, job, staging)
        except ShareOffline as fault:
            await self._troubles.tell("share", route.name, fault.sentence)
        except PlatformDown as fault:
            await self._troubles.tell("platform", PLATFORM, fault.sentence)
        except Undeliverable as fault:
            await self._end(route, job, State.FAILED, fault.sentence)
        except Temporary as fault:
            await self._later(route, job, fault)

    async def _fetch_all(self, route: Route, job: Job, staging: Path) -> Job:
        """Every output whole in staging (or already published); returns the job as the ledger has it then."""
        outputs = []
        for output in job.outputs:
            if not await self._is_there(route, job, output, staging):
                output = await self._fetch_one(route, job, output, staging)
            outputs.append(output)
        return replace(job, outputs=tuple(outputs))

    async def _is_there(self, route: Route, job: Job, output: Output, staging: Path) -> bool:
        if not output.fetched or output.size is None:
            return False
        if await asyncio.to_thread(has, staging / staged_name(output), output.size):
            return True
        return output.file is not None and await asyncio.to_thread(
            published, route.outbox, job.folder, output.file, output.size, output.sha256
        )

    async def _fetch_one(self, route: Route, job: Job, output: Output, staging: Path) -> Output:
        got = await self._fetch.output(output, staging / staged_name(output), route.max_output)
        fetched = replace(output, fetched=True, size=got.size, sha256=got.sha256, media_type=got.media_type)
        await self._ledger.write(
            lambda c: moves.record_output(
                c, job.id, output.position, fetched=True, size=got.size, sha256=got.sha256, media_type=got.media_type
            )
        )
        log.info("output_fetched", job=job.id, route=route.name, task=job.task_id, size=got.size)
        return fetched

    async def _publish_all(self, route: Route, job: Job, staging: Path, like: Like) -> Job:
        """Every output and the sidecar under their names. A name that somebody took meanwhile: other names for all."""
        while True:
            if job.base is None:
                job = await self._name(route, job)
            try:
                for output in job.outputs:
                    assert output.file is not None
                    if await asyncio.to_thread(has, staging / staged_name(output), output.size or 0):
                        staged = staging / staged_name(output)
                        await asyncio.to_thread(publish, route.outbox, staged, job.folder, output.file, like)
                await self._publish_sidecar(route, job, staging, like)
                return job
            except FileExistsError:
                log.info("name_taken", job=job.id, route=route.name, base=job.base)
                job = await self._unname(route, job, staging)

    async def _publish_sidecar(self, route: Route, job: Job, staging: Path, like: Like) -> None:
        name = f"{job.base}.json"
        data = sidecar.write(job, success=True, delivered=self._clock.text())
        await asyncio.to_thread(write_staged, staging / "sidecar", data, like)
        try:
            await asyncio.to_thread(publish, route.outbox, staging / "sidecar", job.folder, name, like)
        except FileExistsError:
            # Ours, from before a crash between this rename and the ledger's last word?
            if await asyncio.to_thread(_owner, route.outbox, job.folder, name) != job.id:
                raise

    async def _name(self, route: Route, job: Job) -> Job:
        """Choose free names and commit them, before anything bears them."""
        name = job.source.path.rpartition("/")[2]
        base = base_name(
            route.output_name, stem=split_ext(name)[0], route=route.name, job=job.id, task=job.task_id or "",
            date=self._clock.now().astimezone().date().isoformat(), workflow=job.workflow_id,
        )  # fmt: skip
        extensions = [output_extension(o.url, o.media_type) for o in job.outputs]
        moved = name if route.after == "move" else None
        async with self._naming:
            in_outbox = await asyncio.to_thread(_names_like, base, route.outbox, job.folder)
            in_done = await asyncio.to_thread(_names_like, name, route.done, job.folder) if moved else []
            reserved = await self._ledger.read(lambda c: queries.reserved_bases(c, route.name, job.folder, job.id))
            to_done = await self._ledger.read(lambda c: queries.reserved_stores(c, route.name, Place.DONE, job.id))
            in_done += [path.rpartition("/")[2] for path in to_done if path.rpartition("/")[0] == job.folder]
            chosen = plan(base, extensions, source=moved, outbox=in_outbox, done=in_done, reserved=reserved)
            await self._ledger.write(lambda c: _commit_names(c, job, chosen))
        outputs = tuple(replace(o, file=f) for o, f in zip(job.outputs, chosen.files, strict=True))
        return replace(job, base=chosen.base, outputs=outputs)

    async def _unname(self, route: Route, job: Job, staging: Path) -> Job:
        """Take back into staging what already bears the names that turned out to be taken, then forget the names."""
        for output in job.outputs:
            if output.file is not None:
                await asyncio.to_thread(
                    withdraw, route.outbox, job.folder, output.file, staging / staged_name(output), output.size or 0,
                    output.sha256,
                )  # fmt: skip
        at = self._clock.text()
        await self._ledger.write(lambda c: moves.change(c, job.id, State.RENDERED, at, base=None))
        return replace(job, base=None)

    async def _finish(self, route: Route, job: Job, staging: Path) -> None:
        at = self._clock.text()
        delivered = await self._ledger.write(
            lambda c: moves.move(
                c, job.id, State.RENDERED, State.DELIVERED, at, job.base or "", delivered_at=at, error=None
            )
        )
        self._fetch.forget(staging)
        self._hands.forget(job.id)
        await asyncio.to_thread(unstage, route.outbox, job.id)
        if delivered:
            log.info(
                "job_delivered", job=job.id, route=route.name, task=job.task_id, files=[o.file for o in job.outputs]
            )  # fmt: skip
            self._ended()

    async def _later(self, route: Route, job: Job, fault: Temporary) -> None:
        failures = self._hands.failed(job.id)
        if isinstance(fault, Missing) and failures >= _MISSING_TRIES:
            await self._end(route, job, State.FAILED, fault.sentence)
        elif failures >= _TRIES:
            reason = f"its result cannot be fetched: {fault.sentence}. `release` tries again without paying again"
            await self._end(route, job, State.HELD, reason)
        else:
            self._hands.rest(job.id, backoff(failures, self._clock.chance(), fault.retry_after))
            log.info("download_failed", job=job.id, route=route.name, reason=fault.sentence, in_a_row=failures)

    async def _end(self, route: Route, job: Job, to: State, reason: str) -> None:
        at = self._clock.text()
        self._hands.forget(job.id)
        self._fetch.forget(route.outbox / ".renderdrop" / job.id)
        if await self._ledger.write(
            lambda c: moves.move(c, job.id, State.RENDERED, to, at, reason, error=reason, base=None)
        ):
            event = "job_failed" if to is State.FAILED else "job_held"
            log.warning(event, job=job.id, route=route.name, task=job.task_id, reason=reason)
            self._ended()


def staged_name(output: Output) -> str:
    """The name of an output in staging: our own, so that nothing a server says is in it."""
    return f"output-{output.position}"


def _commit_names(c: Connection, job: Job, chosen: Plan) -> None:
    moves.change(c, job.id, State.RENDERED, job.updated, base=chosen.base)
    for output, file in zip(job.outputs, chosen.files, strict=True):
        moves.record_output(c, job.id, output.position, file=file)
    if chosen.source is not None:
        stored = f"{job.folder}/{chosen.source}" if job.folder else chosen.source
        moves.record_source(c, job.id, job.source.path, stored=stored)


def _names_like(name: str, root: Path, folder: str) -> list[str]:
    """The names of a folder that could stand in the way of `name`; chosen here, in a thread, out of perhaps 100,000."""
    return alike(name, names_in(root, folder))


def _owner(root: Path, folder: str, name: str) -> str | None:
    with open_source(root, f"{folder}/{name}" if folder else name) as file:
        return sidecar.belongs_to(file.read(0, 2**20))
