"""Rendered → delivered: fetch, name, publish, and the sidecar last.

Owns the order in which results become visible, and that it can be taken up again from any point: names are
committed before anything bears them, every output reaches its name by one rename, the sidecar says that all
is there, and only then does the ledger say delivered. At worst, after a crash, a result lies in the outbox
without its sidecar for as long as the daemon is away.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import Connection

from renderdrop.delivery.chain import Chain
from renderdrop.delivery.fetch import Fetch, Fetched
from renderdrop.delivery.naming import (
    Plan,
    alike,
    base_name,
    moved_name,
    moved_names,
    names_on_the_way,
    output_extension,
    plan,
    stored_path,
)
from renderdrop.ledger import moves, queries
from renderdrop.ledger.store import Ledger
from renderdrop.model import sidecar
from renderdrop.model.backoff import backoff
from renderdrop.model.errors import (
    NoPlace,
    PlatformDown,
    ShareOffline,
    Temporary,
    Undeliverable,
)
from renderdrop.model.job import Job, Output, Place
from renderdrop.model.lifecycle import State
from renderdrop.model.names import numbered, shown
from renderdrop.model.route import Route, end_of_chain
from renderdrop.platform.data_uri import is_data_uri
from renderdrop.platform.results import Missing
from renderdrop.runtime.clock import Clock
from renderdrop.runtime.disk import Disks
from renderdrop.runtime.hands import Hands
from renderdrop.runtime.troubles import PLATFORM, Troubles
from renderdrop.share.marker import Folders, online
from renderdrop.share.publish import Like, names_in, publish, stage, unstage, write_staged
from renderdrop.share.staged import copy_published, has, published, withdraw
from renderdrop.share.told import owner

log = structlog.get_logger()

_MISSING_TRIES: Final = 4
"""Looks at an output that the platform says is not there, before that is believed."""
_PLACE_TRIES: Final = 8
"""Tries, a minute or two, to put a result where something stands in its way, before a person is asked."""
_TRIES: Final = 30
"""Failed downloads in a row, none of which brought a MiB, some ten minutes, before a person is asked."""


class Deliver:
    """Carries rendered jobs to their outbox. `ended` wakes the archiving."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        troubles: Troubles,
        fetch: Fetch,
        hands: Hands,
        disks: Disks,
        ended: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._troubles = troubles
        self._fetch = fetch
        self._hands = hands
        self._on = disks.of
        self._ended = ended
        self._routes: dict[str, Route] = {}
        self._naming: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """One after the other, route by route: a share that hangs holds up no other's names."""
        self._chain = Chain(ledger, clock, disks)
        self.stopped = False

    def set_routes(self, routes: tuple[Route, ...]) -> None:
        """The routes whose jobs are delivered from now on."""
        self._routes = {route.name: route for route in routes}
        self._chain.set_routes(self._routes)

    async def round(self) -> None:
        """Take up as many rendered jobs as there are hands."""
        if self.stopped or not self._hands.free:
            return
        routes = [
            name
            for name, route in self._routes.items()
            if not self._troubles.stands_in_the_way(name) and not self._on(route).silent
        ]
        but, free = self._hands.passed_over(), self._hands.free
        jobs = await self._ledger.read(lambda c: queries.rendered(c, routes=routes, but=but, limit=free))
        self._hands.more = len(jobs) == free
        for job in jobs:
            route = self._routes[job.route]
            self._hands.take(
                job.id, self._deliver(route, job), self._on(route), self._on(end_of_chain(route, self._routes))
            )

    async def _deliver(self, route: Route, job: Job) -> None:
        folders = Folders(route.inbox, route.outbox, route.done, route.failed)
        try:
            await self._on(route)(online, folders)
            like = await self._on(route)(Like.of, route.inbox)
            staging = await self._on(route)(stage, route.outbox, job.id, like)
            job = await self._fetch_all(route, job, staging)
            job = await self._publish_all(route, job, staging, like)
            await self._finish(route, job, staging)
        except NoPlace as fault:
            await self._wait_for_place(route, job, fault)
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
        if await self._on(route)(has, staging / staged_name(output), output.size):
            return True
        return output.file is not None and await self._on(route)(
            published, route.outbox, job.folder, output.file, output.size, output.sha256
        )

    async def _fetch_one(self, route: Route, job: Job, output: Output, staging: Path) -> Output:
        if job.duplicate_of is not None:
            got = await self._copy_earlier(route, job.duplicate_of, output, staging)
        else:
            got = await self._fetch.output(self._on(route), output, staging / staged_name(output), route.max_output)
        fetched = replace(output, fetched=True, size=got.size, sha256=got.sha256, media_type=got.media_type)
        await self._ledger.write(
            lambda c: moves.record_output(
                c, job.id, output.position, fetched=True, size=got.size, sha256=got.sha256, media_type=got.media_type
            ),
            point="fetched",
        )
        log.info("output_fetched", job=job.id, route=route.name, task=job.task_id, size=got.size)
        return fetched

    async def _copy_earlier(self, route: Route, job_id: str, output: Output, staging: Path) -> Fetched:
        """The same output of the job that had rendered the very same. Raises Undeliverable when it is not there."""
        earlier = await self._ledger.read(lambda c: queries.job(c, job_id))
        same = next((o for o in earlier.outputs if o.position == output.position), None) if earlier else None
        if earlier is None or same is None or same.file is None or same.size is None or same.sha256 is None:
            raise Undeliverable(
                f"job {job_id}, whose result it was to share, is not known any more; `retry` renders it"
            )
        path, place = staging / staged_name(output), (earlier.folder, same.file)
        copied = self._on(route)(copy_published, route.outbox, *place, path, same.size, same.sha256, size=same.size)
        if not await copied:
            raise Undeliverable(
                f"the earlier result {same.file}, which it was to share, has been taken away; `retry` renders it"
            )
        return Fetched(same.size, same.sha256, same.media_type)

    async def _publish_all(self, route: Route, job: Job, staging: Path, like: Like) -> Job:
        """Every output and the sidecar under their names. A name that somebody took meanwhile: other names for all."""
        if job.base is not None and any(output.file is None for output in job.outputs):
            # The name under which the end of the chain was told of an earlier failure, and not one of these results'.
            await self._take_back(route, job)
            job = replace(job, base=None)
        while True:
            if job.base is None:
                job = await self._name(route, job)
            try:
                for output in job.outputs:
                    assert output.file is not None
                    if await self._on(route)(has, staging / staged_name(output), output.size or 0):
                        staged = staging / staged_name(output)
                        await self._on(route)(
                            publish, route.outbox, staged, job.folder, output.file, like, size=output.size or 0
                        )
                await self._publish_sidecar(route, job, staging, like)
                return job
            except FileExistsError:
                log.info("name_taken", job=job.id, route=route.name, base=job.base)
                job = await self._unname(route, job, staging)

    async def _take_back(self, route: Route, job: Job) -> None:
        """What the end of the chain was told goes. Trouble there is the end's, and no reason to keep a result back."""
        try:
            await self._chain.take_back(route, job)
        except ShareOffline as fault:
            log.info("notices_left", route=route.name, reason=shown(fault.sentence))
            if not isinstance(fault, NoPlace):
                await self._troubles.tell("share", end_of_chain(route, self._routes).name, fault.sentence)

    async def _publish_sidecar(self, route: Route, job: Job, staging: Path, like: Like) -> None:
        name = f"{job.base}.json"
        data = sidecar.write(job, success=True, delivered=self._clock.text(), model=route.model)
        await self._on(route)(write_staged, staging / "sidecar", data, like)
        try:
            await self._on(route)(publish, route.outbox, staging / "sidecar", job.folder, name, like)
        except FileExistsError:
            # Ours, from before a crash between this rename and the ledger's last word?
            rel = f"{job.folder}/{name}" if job.folder else name
            if await self._on(route)(owner, route.outbox, rel, len(data)) != job.id:
                raise

    async def _name(self, route: Route, job: Job) -> Job:
        """Choose free names and commit them, before anything bears them."""
        base = base_name(
            route.output_name, stem=job.stem, route=route.name, job=job.id, task=job.task_id or "",
            date=self._clock.now().astimezone().date().isoformat(), workflow=job.workflow_id, label=job.wishes.label,
        )  # fmt: skip
        extensions = [output_extension(o.url, o.media_type) for o in job.outputs]
        moved = moved_names(job) if route.after == "move" else []
        async with self._naming[route.name]:
            in_outbox = await self._on(route)(_names_like, [base], route.outbox, job.folder)
            in_done = await self._on(route)(_names_to_avoid, moved, route.done, job.folder)
            reserved = await self._ledger.read(lambda c: queries.reserved_bases(c, route.name, job.folder, job.id))
            to_done = await self._ledger.read(lambda c: queries.reserved_stores(c, route.name, Place.DONE, job.arrival))
            in_done += names_on_the_way(to_done, job.folder)
            chosen = plan(base, extensions, sources=moved, outbox=in_outbox, done=in_done, reserved=reserved)
            await self._ledger.write(lambda c: _commit_names(c, job, chosen, bool(moved)), point="names")
        outputs = tuple(replace(o, file=f) for o, f in zip(job.outputs, chosen.files, strict=True))
        return replace(job, base=chosen.base, outputs=outputs)

    async def _unname(self, route: Route, job: Job, staging: Path) -> Job:
        """Take back into staging what already bears the names that turned out to be taken, then forget the names."""
        for output in job.outputs:
            if output.file is not None:
                await self._on(route)(
                    withdraw, route.outbox, job.folder, output.file, staging / staged_name(output), output.size or 0,
                    output.sha256,
                )  # fmt: skip
        at = self._clock.text()
        await self._ledger.write(lambda c: moves.change(c, job.id, State.RENDERED, at, base=None), point="names_taken")
        return replace(job, base=None)

    async def _finish(self, route: Route, job: Job, staging: Path) -> None:
        at = self._clock.text()
        delivered = await self._ledger.write(
            lambda c: (
                moves.move(c, job.id, State.RENDERED, State.DELIVERED, at, job.base or "", delivered_at=at, error=None)
                and _forget_data(c, job)
            ),
            point="delivered",
        )
        self._fetch.forget(staging)
        self._hands.forget(job.id)
        if delivered:
            log.info(
                "job_delivered", job=job.id, route=route.name, task=job.task_id, files=[o.file for o in job.outputs]
            )  # fmt: skip
            self._ended()
        await self._on(route)(unstage, route.outbox, job.id)

    async def _wait_for_place(self, route: Route, job: Job, fault: NoPlace) -> None:
        """The share is well, so others go on; this job is tried again for a while, then a person has to look."""
        failures, at = self._hands.failed(job.id), self._clock.text()
        self._hands.rest(job.id, backoff(failures, self._clock.chance()))
        if failures < _PLACE_TRIES:
            waits = partial(moves.change, job_id=job.id, state=State.RENDERED, at=at, error=fault.sentence)
            await self._ledger.write(waits, point="no_place")
            if failures == 1:
                log.warning("delivery_waits", job=job.id, route=route.name, task=job.task_id, reason=fault.sentence)
            return
        if not await self._take_out_of_sight(route, job):
            return
        self._hands.forget(job.id)
        reason = f"{fault.sentence}; then `release` delivers its result without paying again"
        if await self._ledger.write(
            lambda c: moves.move(c, job.id, State.RENDERED, State.HELD, at, reason, error=reason), point="no_place"
        ):
            log.warning("job_held", job=job.id, route=route.name, task=job.task_id, reason=reason)

    async def _take_out_of_sight(self, route: Route, job: Job) -> bool:
        """What of the job bears its name already, so that nothing lies there without a sidecar for as long as nobody
        decides; whether that could be done."""
        now = await self._ledger.read(lambda c: queries.job(c, job.id))
        if now is not None and now.base is not None and all(output.file is not None for output in now.outputs):
            try:
                await self._unname(route, now, route.outbox / ".renderdrop" / job.id)
            except NoPlace:
                pass  # the share is well; what cannot be taken out of sight stays, and a person decides all the same
            except ShareOffline as fault:
                await self._troubles.tell("share", route.name, fault.sentence)
                return False
        return True

    async def _later(self, route: Route, job: Job, fault: Temporary) -> None:
        if self._fetch.has_gained(route.outbox / ".renderdrop" / job.id):
            self._hands.forget(job.id)  # not in a row: this one brought something
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
            lambda c: moves.move(c, job.id, State.RENDERED, to, at, reason, error=reason, base=None),
            point="undeliverable",
        ):
            event = "job_failed" if to is State.FAILED else "job_held"
            log.warning(event, job=job.id, route=route.name, task=job.task_id, reason=reason)
            self._ended()


def staged_name(output: Output) -> str:
    """The name of an output in staging: our own, so that nothing a server says is in it."""
    return f"output-{output.position}"


def _commit_names(c: Connection, job: Job, chosen: Plan, moved: bool) -> None:
    moves.change(c, job.id, State.RENDERED, job.updated, base=chosen.base)
    for output, file in zip(job.outputs, chosen.files, strict=True):
        moves.record_output(c, job.id, output.position, file=file)
    for source in (s for s in job.sources if moved and s.place is Place.INBOX):
        name = numbered(moved_name(job, source), chosen.number)
        # For every job of these files: whichever of them puts it away, the file goes to one place.
        moves.relocate(c, job, source, stored=stored_path(job, source, name))


def _forget_data(c: Connection, job: Job) -> bool:
    """Results that came inside the answer need not stay in the ledger now that they are files."""
    for output in job.outputs:
        if is_data_uri(output.url):
            moves.record_output(c, job.id, output.position, url=sidecar.short(output.url))
    return True


def _names_to_avoid(names: list[str], done: Path, folder: str) -> list[str]:
    """As `_names_like`; what stands in the way in done/ is the archiving's trouble, and no reason not to deliver."""
    try:
        return _names_like(names, done, folder)
    except NoPlace:
        return []


def _names_like(names: list[str], root: Path, folder: str) -> list[str]:
    """The names of a folder that could stand in the way; chosen here, in a thread, out of perhaps 100,000."""
    taken = names_in(root, folder) if names else []
    return [other for name in names for other in alike(name, taken)]
