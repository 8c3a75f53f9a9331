"""The folders of the routes: which are meant, whether they are there, and whether they keep out of each other's way.

Owns: the rule that an inbox stands apart from every other folder, because whatever lies in an inbox is rendered and
paid for; the one exception, a chain, where an inbox is another route's outbox; and that no chain closes to a ring.
Pure but for what is passed in: a look at the disk, a way to resolve links.
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
_FOR_EVER: Final = "that would render its own results for ever"
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


def missing(route: Sequence[Place], look: Look, fed: bool = False) -> Iterator[Problem]:
    """What of one route's folders is not there. Below an existing folder the daemon makes the leaf itself, an inbox
    that is named by itself only where another route feeds it (`fed`)."""
    told: set[Path] = set()
    for place in route:
        # What the daemon makes itself may be missing, the folder above it may not; nor an inbox where people drop.
        made = fed or not (place.own and place.role == "inbox")
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
    """Inboxes that are, hold or lie in another folder of any route, chains apart; one problem for an inbox and another
    route."""
    paths = {place: resolve(place.path) for route in routes.values() for place in route}
    order = {name: at for at, name in enumerate(routes)}
    found: list[Problem] = []
    for route in routes.values():
        for inbox in (place for place in route if place.role == "inbox"):
            for others in routes.values():
                # Two inboxes meet twice in these loops; the earlier route's turn tells it.
                rivals = [p for p in others if p.role != "inbox" or order[p.route] > order[inbox.route]]
                relations = ((p, _relation(paths[inbox], paths[p])) for p in rivals)
                clash = next(((p, word) for p, word in relations if word and not _is_link(inbox, p, word)), None)
                if clash:
                    found.append(_clash(inbox, *clash))
    return found


def chains(routes: Mapping[str, Sequence[Place]], resolve: Callable[[Path], Path]) -> dict[str, str]:
    """Which routes' outbox is which other route's inbox."""
    inboxes: dict[Path, str] = {}
    for inbox in (place for route in routes.values() for place in route if place.role == "inbox"):
        inboxes.setdefault(resolve(inbox.path), inbox.route)
    outboxes = (place for route in routes.values() for place in route if place.role == "outbox")
    fed = ((outbox.route, inboxes.get(resolve(outbox.path))) for outbox in outboxes)
    return {route: other for route, other in fed if other is not None and other != route}


def rings(routes: Mapping[str, Sequence[Place]], feeds: Mapping[str, str]) -> Iterator[Problem]:
    """Chains that come back to where they began: one problem a ring, at the inbox of a route in it."""
    seen: set[str] = set()
    for start in feeds:
        trail: list[str] = []
        at: str | None = start
        while at is not None and at not in seen:
            seen.add(at)
            trail.append(at)
            at = feeds.get(at)
        if at in trail:
            ring = trail[trail.index(at) :]
            key = next(place.key for place in routes[ring[0]] if place.role == "inbox")
            names = " → ".join(shown(name) for name in [*ring, ring[0]])
            yield Problem(key, f"the routes {names} are a cycle {_FOR_EVER}; give one of them another outbox")


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


def _is_link(inbox: Place, other: Place, relation: str) -> bool:
    return other.role == "outbox" and relation == "is also" and other.route != inbox.route


def _clash(inbox: Place, other: Place, relation: str) -> Problem:
    its = "its own" if other.route == inbox.route else "the"
    of = "" if other.route == inbox.route else f' of route "{shown(other.route)}"'
    if other.role == "inbox" and relation == "is also":
        return Problem(
            other.key,
            f'its inbox is also the inbox of route "{shown(inbox.route)}"; give each route an inbox of its own',
        )
    message = f"its inbox {relation} {its} {other.role} folder{of}"
    if other.role == "outbox" and of:
        way_out = "to chain the routes make the two the same folder, else keep them apart"
        return Problem(inbox.key, f"{message}; {way_out}")
    if relation == "is also" and not of and other.role == "outbox":
        message += f", which is a cycle {_FOR_EVER}"
    return Problem(inbox.key, f"{message}; an inbox must stand apart from all other folders: move one of them")
