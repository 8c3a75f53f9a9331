"""A new job out of what is known of an earlier one: its wishes, its sources where they lie now, its neighbours.

Owns what makes a repetition possible or not. Nothing here writes: `rerun` holds the transaction in which the neighbours
are looked at and the job is made.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection

from renderdrop.cli.earlier import Earlier
from renderdrop.cli.found import Found, Search
from renderdrop.intake.bundle import bundle_of
from renderdrop.intake.fit import is_link
from renderdrop.ledger import queries
from renderdrop.model.errors import Fault, RouteDown
from renderdrop.model.job import Job, Place, Role, Source, Times
from renderdrop.model.lifecycle import OPEN, State
from renderdrop.model.names import shown
from renderdrop.model.route import Route, Value
from renderdrop.model.wishes import RERUN, ROUTE, Wishes
from renderdrop.platform.graph_json import SIZE_CAP, missing_inputs, read_graph
from renderdrop.settings.kinds import RESERVED
from renderdrop.share.beneath import parts
from renderdrop.share.own import read_own

_MOST: Final = 10_000
"""Jobs whose sources are being put away, of one route. There is a handful of them at any time."""


def unchangeable(route: Route, earlier: Earlier) -> dict[str, str]:
    """What of a job no change can set, and why."""
    fed = dict.fromkeys(RESERVED, "it belongs to the route and not to its parameters") if route.kind == "app" else {}
    fed |= dict.fromkeys((given.name for given in route.inputs), "dropped files feed it; drop another one")
    fed |= dict.fromkeys(route.constants, "a file of the settings feeds it")
    return fed | {s.input: f"the dropped file {shown(s.name)} feeds it; drop another one" for s in earlier.sources}


def wishes_of(route: Route, earlier: Earlier, changed: Mapping[str, Value]) -> Wishes:
    """What the new job asks for. Raises Fault where the earlier one never had all that it needs."""
    given = {source.input for source in earlier.sources} | earlier.params.keys()
    if lacking := [shown(i.name) for i in route.inputs if not i.optional and i.name not in given]:
        verb = "is" if len(lacking) == 1 else "are"
        raise Fault(
            f"this job never had all that it needs ({', '.join(lacking)} {verb} missing), so there is nothing to "
            "repeat; drop its files together instead"
        )
    for source in earlier.sources:
        if _is_text(route, source.input, source.name) and source.input not in earlier.params:
            raise Fault(f"what {shown(source.name)} says was never sent; mend it and drop it again instead")
    origins = {name: earlier.params_from.get(name, ROUTE) for name in earlier.params}
    wishes = Wishes(earlier.params, origins, workflow_id=earlier.workflow_id, version_id=earlier.version_id, whole=True)
    return wishes.over(changed, RERUN)


def differences(route: Route, earlier: Earlier, wishes: Wishes) -> list[str]:
    """What has become another thing since, so that the result may differ for it. Raises Fault where the graph of today
    does not have what the job sets."""
    notes = []
    if route.model is not None and earlier.model is not None:
        now = f"{route.model.provider}/{route.model.name} ({route.model.type})"
        then = f"{earlier.model.provider}/{earlier.model.model} ({earlier.model.type})"
        if now != then:
            notes.append(f"the route's model is {now} now, and was {then}")
    if route.graph is not None:
        try:
            data = read_own(route.graph, SIZE_CAP)
            missing = missing_inputs(read_graph(data), [*wishes.params, *(s.input for s in earlier.sources)])
        except (RouteDown, ValueError) as error:
            return [*notes, f"it waits until the graph can be used: {error}"]
        if missing:
            raise Fault(f"the graph {shown(route.graph.name)} does not have what this job sets: {'; '.join(missing)}")
        then_sent = earlier.graph.sha256 if earlier.graph is not None else None
        if then_sent is not None and hashlib.sha256(data).hexdigest() != then_sent:
            notes.append(f"the graph {shown(route.graph.name)} has changed since then")
    return notes


def job_of(route: Route, earlier: Earlier, wishes: Wishes, found: Sequence[Found], new_id: str, at: str) -> Job:
    """The new job, as if it were alone. Raises Fault for sources that no share can have."""
    sources = tuple(_source(route, f) for f in found)
    if len({source.path for source in sources}) < len(sources):
        raise Fault("the sidecar names one source twice, so it is not as renderdrop wrote it")
    return Job(
        id=new_id, route=route.name, kind=route.kind, state=State.QUEUED, priority=route.priority, attempts=0,
        workflow_id=wishes.workflow_id or route.workflow_id, version_id=wishes.version_id or route.version_id,
        params=wishes.params, cluster=None, task_id=None, paid=False, status=None, progress=None, node=None,
        error=None, base=None, created=at, updated=at, times=Times(), sources=sources, arrival=new_id,
        wishes=wishes, bundle=_bundle(route, [s.path for s in sources]), derived_from=earlier.derived_from,
    )  # fmt: skip


def beside_others(conn: Connection, route: Route, job: Job, found: Sequence[Found], search: Search) -> Job:
    """The job as it goes along with those that use the same files now: it shares their arrival, so that the files are
    put away once, after the last of them. Raises Fault where they are on the move."""
    if not search.still_there(found):
        raise Fault("its sources were moved in this very moment; try again")
    for other in queries.to_file(conn, routes=[route.name], but=(), limit=_MOST):
        if shared := _shared(job, other):
            raise Fault(f"{shown(shared[0])} is still being put away after job {other.id}; try again in a moment")
    owners = [other for other in queries.listed(conn, states=OPEN, route=route.name) if _shared(job, other)]
    for other in owners:
        if other.state is State.QUEUED and other.waiting_for is not None:
            raise Fault(
                f"{shown(_shared(job, other)[0])} belongs to job {other.id}, which waits for {other.waiting_for}; "
                "wait for that one, or cancel it first"
            )
    if len({other.arrival for other in owners}) > 1:
        names = ", ".join(other.id for other in owners)
        raise Fault(f"its sources belong to several open jobs ({names}); wait until these have ended")
    if not owners:
        return job
    theirs = {where: path for other in owners for where, path in _places(other).items()}
    sources = tuple(replace(s, path=theirs.get(_where(s), s.path)) for s in job.sources)
    return replace(job, arrival=owners[0].arrival, sources=sources)


def _is_text(route: Route, name: str, file: str) -> bool:
    given = route.input(name)
    return (given is not None and given.accepts == "text") or is_link(route, file)


def _source(route: Route, f: Found) -> Source:
    try:
        if not parts(f.path):
            raise OSError
    except OSError:
        raise Fault(f'"{shown(f.path)}" in the sidecar is no path of a file below an inbox') from None
    role = Role.TEXT if _is_text(route, f.said.input, f.path) else Role.FILE
    stored = None if f.place is Place.INBOX else f.at
    return Source(f.said.input, f.path, f.size, f.mtime_ns, f.said.sha256, f.place, stored, role=role, told=f.told)


def _bundle(route: Route, paths: Sequence[str]) -> str | None:
    bundle = bundle_of(route, paths[0])
    if route.bundle == "folder" and not all(path.startswith(f"{bundle}/") for path in paths):
        return None  # its files lie apart by now, and go their ways one by one
    return bundle


def _shared(job: Job, other: Job) -> list[str]:
    """The sources of a job that lie where those of another one lie."""
    there = _places(other)
    return [s.path for s in job.sources if _where(s) in there]


def _places(job: Job) -> dict[tuple[Place, str], str]:
    return {_where(s): s.path for s in job.sources}


def _where(source: Source) -> tuple[Place, str]:
    return source.place, source.path if source.place is Place.INBOX else source.stored or source.path
