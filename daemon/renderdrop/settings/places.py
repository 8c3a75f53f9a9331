"""The folders of the routes: which are meant, whether they are there, and whether they keep out of each other's way.

Owns: the rule that an inbox stands apart from every other folder, because whatever lies in an inbox is
rendered and paid for. Pure but for what is passed in: a look at the disk, a way to resolve links.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from renderdrop.model.errors import Problem
from renderdrop.model.names import shown
from renderdrop.settings.disk import MISSING
from renderdrop.settings.keys import RouteTable
from renderdrop.settings.words import dotted

ROLES: Final = ("inbox", "outbox", "done", "failed")
Look = Callable[[Path], str | None]


@dataclass(frozen=True, slots=True)
class Place:
    """One folder of a route: `path` is absolute, `key` the setting that names it."""

    route: str
    role: str
    path: Path
    key: str
    own: bool
    """Named by its own key, not by the route's `folder`."""


def places(name: str, table: RouteTable, absolute: Callable[[Path], Path]) -> list[Place]:
    """The folders that a route names, in the order of ROLES; one that nothing names is left out."""
    found = []
    for role in ROLES:
        own: Path | None = getattr(table, role)
        if own is not None:
            found.append(Place(name, role, absolute(own), dotted(["routes", name, role]), True))
        elif table.folder is not None:
            found.append(Place(name, role, absolute(table.folder) / role, dotted(["routes", name, "folder"]), False))
    return found


def unnamed(name: str, table: RouteTable, taken_out: Collection[str] = ()) -> list[Problem]:
    """Folders that nothing names; `taken_out` are keys that are there but wrong and told already."""
    if table.folder is not None or "folder" in taken_out:
        return []
    lacking = [role for role in ROLES if getattr(table, role) is None and role not in taken_out]
    if len(lacking) == len(ROLES):
        key = dotted(["routes", name, "folder"])
        return [
            Problem(key, 'is missing; for example folder = "/srv/share/portrait", or inbox, outbox, done and failed')
        ]
    return [
        Problem(dotted(["routes", name, role]), "is missing; name it, or give the route a folder that holds it")
        for role in lacking
    ]


def missing(route: Sequence[Place], look: Look) -> Iterator[Problem]:
    """What of one route's folders is not there. Below an existing folder the daemon makes the leaf itself."""
    told: set[Path] = set()
    for place in route:
        # What the daemon makes itself may be missing, the folder above it may not; nor an inbox named by itself.
        made = not (place.own and place.role == "inbox")
        for at in (place.path.parent, place.path) if made else (place.path,):
            fault = look(at)
            if not fault or (made and at == place.path and fault == MISSING):
                continue
            if at not in told:
                told.add(at)
                yield Problem(place.key, f"the folder {shown(str(at))} {fault}; {_way_out(fault)}")
            break


def _way_out(fault: str) -> str:
    if fault == MISSING:
        return "create it, mount its share, or name another"
    return "mend that, or name another"


def overlaps(routes: Mapping[str, Sequence[Place]], resolve: Callable[[Path], Path]) -> list[Problem]:
    """Inboxes that are, hold or lie in another folder of any route; one problem for an inbox and another route."""
    paths = {place: resolve(place.path) for route in routes.values() for place in route}
    order = {name: at for at, name in enumerate(routes)}
    clashes: list[tuple[Place, Place, str]] = []
    for route in routes.values():
        for inbox in (place for place in route if place.role == "inbox"):
            for others in routes.values():
                # Two inboxes meet twice in these loops; the earlier route's turn tells it.
                rivals = [p for p in others if p.role != "inbox" or order[p.route] > order[inbox.route]]
                relations = ((p, _relation(paths[inbox], paths[p])) for p in rivals)
                clash = next(((p, relation) for p, relation in relations if relation), None)
                if clash:
                    clashes.append((inbox, *clash))
    feeds = {(other.route, inbox.route) for inbox, other, _ in clashes if other.role == "outbox"}
    return [_clash(inbox, other, relation, feeds) for inbox, other, relation in clashes]


def inside_an_inbox(path: Path, routes: Mapping[str, Sequence[Place]], resolve: Callable[[Path], Path]) -> str | None:
    """The name of the route in whose inbox a path lies."""
    inboxes = (place for route in routes.values() for place in route if place.role == "inbox")
    return next((p.route for p in inboxes if resolve(path).is_relative_to(resolve(p.path))), None)


def _relation(inbox: Path, other: Path) -> str:
    if inbox == other:
        return "is also"
    if inbox.is_relative_to(other):
        return "lies inside"
    return "holds" if other.is_relative_to(inbox) else ""


def _clash(inbox: Place, other: Place, relation: str, feeds: Collection[tuple[str, str]]) -> Problem:
    its = "its own" if other.route == inbox.route else "the"
    of = "" if other.route == inbox.route else f' of route "{shown(other.route)}"'
    if other.role == "inbox" and relation == "is also":
        return Problem(
            other.key,
            f'its inbox is also the inbox of route "{shown(inbox.route)}"; give each route an inbox of its own',
        )
    message = f"its inbox {relation} {its} {other.role} folder{of}"
    if other.role != "outbox":
        return Problem(inbox.key, f"{message}; an inbox must stand apart from all other folders: move one of them")
    message += "; chained routes are not supported by this version: keep the folders apart" if of else ""
    ring = _ring(feeds, inbox.route, other.route)
    if ring:
        message += (
            f"; {' → '.join(shown(name) for name in ring)} is a cycle, which would render its own results for ever"
        )
    return Problem(inbox.key, message)


def _ring(feeds: Collection[tuple[str, str]], start: str, goal: str) -> list[str]:
    """The routes from `start` by way of `goal` back to `start`, where files would go round; else empty."""
    trails = [[start]]
    seen = {start}
    while trails:
        trail = trails.pop(0)
        if trail[-1] == goal:
            return [*trail, start]
        onward = [to for source, to in sorted(feeds) if source == trail[-1] and to not in seen]
        seen.update(onward)
        trails += [[*trail, to] for to in onward]
    return []
