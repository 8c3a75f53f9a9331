"""Whether the very same was asked before: same content, same parameters, same workflow and version.

Owns the fingerprint of a job and the verdict on it; only routes with `duplicates = "skip"` ask. An earlier result
counts only while its files are still in the outbox, byte for byte: what was taken away cannot be given again.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection

from renderdrop.dispatch.graphs import Graphs
from renderdrop.dispatch.opened import Opened
from renderdrop.ledger import moves, queries
from renderdrop.ledger.store import Ledger
from renderdrop.model.job import Job
from renderdrop.model.lifecycle import OPEN, State
from renderdrop.model.route import Route
from renderdrop.model.wishes import params_of
from renderdrop.runtime.disk import Disks
from renderdrop.share.staged import published

_VERSION: Final = 1
"""Of the fingerprint's making: another one never equals an old one."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`result_of`: the delivered job whose results are to be given again; `wait_for`: the id of one that is not over;
    neither: this job is the first."""

    result_of: Job | None = None
    wait_for: str | None = None


class Same:
    """Finds earlier jobs that were the same."""

    def __init__(self, ledger: Ledger, graphs: Graphs, disks: Disks) -> None:
        self._disks = disks
        self._ledger = ledger
        self._graphs = graphs
        self._waits: dict[str, str] = {}
        self.stuck: set[str] = set()
        """Jobs that wait for one which is held: a person decides about them too."""

    async def still_waits(self, job: Job) -> str | None:
        """The job whose end this one was told to wait for, while that is not over. Reads no file: what waits for an
        hour's render must not be read through every few seconds."""
        first = self._waits.get(job.id)
        found = None if first is None else await self._ledger.read(partial(queries.job, job_id=first))
        self.stuck.discard(job.id)
        if found is not None and found.state in OPEN:
            if found.state is State.HELD:
                self.stuck.add(job.id)
            return first
        self._waits.pop(job.id, None)
        return None

    async def fingerprint(self, route: Route, job: Job, files: Opened) -> str:
        """SHA-256 over all that decides what is rendered; clusters and priority do not. Reads the files through.

        Raises RouteDown, SourceChanged, ShareOffline or Stopping.
        """
        what: dict[str, Any] = {
            "made": _VERSION,
            "kind": route.kind,
            "workflow": job.wishes.workflow_id or route.workflow_id,
            "version": job.wishes.version_id or route.version_id,
            "outbox": str(route.outbox),
            "params": params_of(route, job.wishes)[0],
            "files": sorted([[upload.input, await upload.digest()] for upload in files.uploads]),
        }
        if route.kind == "graph":
            what["graph"] = (await self._graphs.read(route)).sha256
        if route.model is not None:
            what["model"] = [route.model.provider, route.model.name, route.model.type]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()

    async def verdict(self, fingerprint: str, route: Route, job: Job) -> Verdict:
        """What an earlier job means to this one; where there is none, this one claims the fingerprint for itself."""
        gone: set[str] = set()
        while True:
            for earlier in await self._ledger.read(lambda c: queries.same_work(c, fingerprint, job.id)):
                if earlier.state is State.DELIVERED and earlier.id not in gone:
                    if await self._disks.of(route)(_is_there, route, earlier):
                        return Verdict(result_of=earlier)
                    gone.add(earlier.id)
            # Claimed in one transaction with the look: of two that arrive together only one is the first.
            claim = partial(_claim, job=job, fingerprint=fingerprint, gone=frozenset(gone))
            first = await self._ledger.write(claim, point="claimed")
            if first is None:
                return Verdict()
            if first.state is not State.DELIVERED:
                self._waits[job.id] = first.id
                return Verdict(wait_for=first.id)
            # It was delivered between the two looks: its results are there to be given.


def _claim(conn: Connection, job: Job, fingerprint: str, gone: frozenset[str]) -> Job | None:
    """The job that stands in the way of this one's being the first; `gone`: those whose results were looked for."""
    same = queries.same_work(conn, fingerprint, job.id)
    others = [j for j in same if j.state is not State.DELIVERED or j.id not in gone]
    moves.change(conn, job.id, State.QUEUED, job.updated, fingerprint=None if others else fingerprint)
    return others[0] if others else None


def _is_there(route: Route, earlier: Job) -> bool:
    return all(
        o.file is not None and published(route.outbox, earlier.folder, o.file, o.size or 0, o.sha256)
        for o in earlier.outputs
    )
