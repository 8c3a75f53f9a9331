"""Which dropped files belong together, and whether they make a job. Pure: names and kinds are all it sees.

Owns the keys under which files are gathered and the verdict on a gathered group. It never guesses: where two files
could be meant for one input, the sentence names both.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import accumulate
from typing import Final

from renderdrop.intake.fit import fitting, is_link, own_stem
from renderdrop.intake.refuse import described, listed, refusal
from renderdrop.model.job import Role
from renderdrop.model.media import UNTYPED, media_type
from renderdrop.model.names import TICKETS, fold, shown, split_ext, ticket_of
from renderdrop.model.route import Input, Route
from renderdrop.model.units import spoken

BATCH_NAMES: Final = tuple("_batch" + tail for tail in TICKETS)
_IN_FOLDER: Final = tuple(tail.removeprefix(".") for tail in TICKETS)
_EXTENSION: Final = re.compile(r"\.(?!v?\d+\Z)[a-z0-9]{1,8}", re.IGNORECASE)
"""What behind a dot is an extension and not a version in a stem ("shot.v2")."""


_NAMED: Final = 5
"""Files that a sentence names one by one."""


class Part(Enum):
    """What a file is to its group, by its name."""

    MEDIA = auto()
    TICKET = auto()
    BATCH = auto()
    """Wishes for everything below its folder; of no group, and it stays where it is."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A dropped thing that has settled. `empty`: it still waits for its bytes."""

    path: str
    kind: str = "file"
    empty: bool = False


@dataclass(frozen=True, slots=True)
class Assembly:
    """A group as the inputs of its route see it."""

    assigned: tuple[tuple[str, str, Role], ...]
    """(input, path, role) in the order of the route's inputs; the first names the results. What feeds none comes last,
    its input ""."""
    missing: tuple[str, ...]
    """Inputs that nothing feeds yet and that the job cannot do without."""
    lacking: tuple[str, ...]
    """Optional inputs that nothing feeds: their files may still come."""
    supplied: tuple[str, ...]
    """Inputs that no file feeds because a ticket's parameters stand in for them."""
    trouble: str | None
    """Why this can be no job, whatever comes."""
    tickets: tuple[str, ...]
    bundle: str | None
    """`Job.bundle`: a bundle's folder or common stem; None for a single file."""

    @property
    def ticket(self) -> str | None:
        """The ticket's path."""
        return self.tickets[0] if self.tickets else None

    @property
    def complete(self) -> bool:
        """Whether it can be sent as it is."""
        return self.trouble is None and not self.missing


def part_of(route: Route, path: str) -> Part:
    """What a file of this name is. Tickets are never media, on no route."""
    name = fold(path.rpartition("/")[2])
    if name in BATCH_NAMES:
        return Part.BATCH
    in_bundle = route.bundle == "folder" and path.count("/") == 1
    return Part.TICKET if ticket_of(name) is not None or (in_bundle and name in _IN_FOLDER) else Part.MEDIA


def key_of(route: Route, path: str) -> str | None:
    """Files of one key are one group; None for a batch ticket. Names are compared folded, folders byte for byte."""
    part = part_of(route, path)
    if part is Part.BATCH:
        return None
    if route.bundle == "folder":
        return path.partition("/")[0]
    path = (meant(path) or path) if part is Part.TICKET else path
    folder, slash, name = path.rpartition("/")
    if route.bundle == "stem":
        name = own_stem(route, path) if part is Part.MEDIA else _stem_meant(route, path)
    return folder + slash + fold(name)


def parted(route: Route, pieces: Iterable[Piece]) -> list[tuple[Piece, ...]]:
    """A group's pieces, by the jobs that they are for. It is one, but for names of single files that only differ in
    case: there each has the ticket of its very name."""
    all_of = tuple(pieces)
    if route.bundle != "file" or len(all_of) < 2:
        return [all_of] if all_of else []
    media, tickets = _sorted(route, all_of)
    if len(media) < 2:
        return [all_of]
    by_file: dict[str | None, list[Piece]] = {p.path: [p] for p in media}
    for ticket in tickets:
        by_file.setdefault(meant(ticket.path) if meant(ticket.path) in by_file else None, []).append(ticket)
    return [tuple(found) for found in by_file.values()]


def meant(ticket: str) -> str | None:
    """The path of the file, or of the common stem, that a ticket is named after; None for `job.toml` in a folder."""
    folder, slash, name = ticket.rpartition("/")
    inner = ticket_of(name)
    return None if inner is None else folder + slash + inner


def bundle_of(route: Route, path: str) -> str | None:
    """`Job.bundle` of a job that this media file names."""
    if route.bundle == "file":
        return None
    folder, slash, _ = path.rpartition("/")
    if route.bundle == "folder":
        return path.partition("/")[0] if slash else None
    return folder + slash + own_stem(route, path)


def batch_folders(route: Route, path: str) -> tuple[str, ...]:
    """The folders whose batch tickets hold for a file, the inbox itself ("") first."""
    folder = path.partition("/")[0] if route.bundle == "folder" else path.rpartition("/")[0]
    names = folder.split("/") if folder and "/" in path else []
    return ("", *accumulate(names, lambda above, name: f"{above}/{name}"))


def assemble(route: Route, pieces: Iterable[Piece], supplied: Collection[str] = ()) -> Assembly:
    """The verdict on the pieces of one job. `supplied`: inputs that a ticket's parameters stand in for."""
    media, tickets = _sorted(route, pieces)
    full = [p for p in media if not p.empty]
    fits = {p.path: fitting(route, p.path) if p.kind == "file" else () for p in media}
    fed = {given.name: [p for p in full if fits[p.path] == (given,)] for given in route.inputs}
    awaited = {given.name for p in media if p.empty for given in fits[p.path]}
    missing: list[str] = []
    lacking: list[str] = []
    for given in route.inputs:
        if not fed[given.name] and given.name not in supplied:
            (missing if not given.optional or given.name in awaited else lacking).append(given.name)
    assigned = [(g.name, p.path, _role(route, g, p.path)) for g in route.inputs for p in fed[g.name]]
    strays = [p.path for p in full if len(fits[p.path]) != 1]
    only = route.inputs[0].name if len(route.inputs) == 1 else ""
    # A required file names the results, even where an optional one stands before it in the settings.
    names = [path for name, path, _ in assigned if not _is_optional(route, name)]
    named = next(iter([*names, *(path for _, path, _ in assigned), *strays]), None)
    return Assembly(
        assigned=(*assigned, *((only, path, Role.FILE) for path in strays)),
        missing=tuple(missing),
        lacking=tuple(lacking),
        supplied=tuple(given.name for given in route.inputs if given.name in supplied and not fed[given.name]),
        trouble=_trouble(route, full, tickets, fits, fed, supplied),
        tickets=tuple(p.path for p in tickets if not p.empty),
        bundle=bundle_of(route, named) if named is not None else _bundle_of_ticket(route, tickets),
    )


def overdue(route: Route, assembly: Assembly, timeout: float) -> str:
    """The sentence for a bundle whose partners did not come within `timeout` seconds."""
    name = shown((assembly.bundle or "").rpartition("/")[2])
    absent = [given for given in route.inputs if given.name in assembly.missing]
    nouns = [re.sub(r"\A(an?|any) ", "no ", described(given)) for given in absent]
    if route.bundle == "stem":
        nouns = [
            f"{re.sub(r' whose name ends in .*', '', noun)} with the name {name}{shown(given.suffix)}"
            for noun, given in zip(nouns, absent, strict=True)
        ]
    into = f" into the folder {name}" if route.bundle == "folder" else ""
    verb = "is" if len(absent) == 1 else "are"
    names = listed([given.name for given in absent])
    return f"{names} {verb} missing: {listed(nouns)} came{into} within {spoken(timeout)}"


def orphaned(route: Route, ticket: str, ticket_wait: float) -> str:
    """The sentence for a ticket whose file did not come."""
    if (inner := meant(ticket)) is None or route.bundle == "folder":
        folder = shown(ticket.partition("/")[0])
        return f"there is no file for this ticket in the folder {folder}; drop the files and the ticket there together"
    tail = ticket[len(inner) :]
    name = shown(inner.rpartition("/")[2])
    return (
        f"there is no {name} for this ticket; a ticket is named like its file, with {tail} behind it, "
        f"and may come up to {spoken(ticket_wait)} before or after it"
    )


def too_late(path: str, job_id: str) -> str:
    """The sentence for a ticket, or an optional file, whose job has begun without it."""
    return (
        f"{shown(path.rpartition('/')[2])} came too late: job {job_id} has begun without it; "
        "drop it again together with the other files, and it counts for a new job"
    )


def _trouble(
    route: Route, media: list[Piece], tickets: list[Piece], fits: dict[str, tuple[Input, ...]],
    fed: dict[str, list[Piece]], supplied: Collection[str],
) -> str | None:  # fmt: skip
    alone = len(media) + len(tickets) == 1
    for piece in media:
        name = shown(piece.path.rpartition("/")[2])
        reason = None if fits[piece.path] else refusal(route, piece.path, piece.kind)
        if reason is None and route.bundle == "folder" and "/" not in piece.path:
            reason = "it lies in no folder; put it with its partners into a folder of their own, and drop that"
        if reason is not None:
            return reason if alone else f"{name}: {reason}"
        if len(fits[piece.path]) > 1:
            names = " or for ".join(given.name for given in fits[piece.path])
            return f"nobody can tell whether {name} is for {names}; this folder's inputs need suffixes that tell"
    for piece in tickets:
        if piece.kind != "file":
            reason = refusal(route, piece.path, piece.kind) or ""
            return reason if alone else f"{shown(piece.path.rpartition('/')[2])}: {reason}"
    for name, pieces in fed.items():
        if len(pieces) > 1:
            files = _few(pieces)
            return f"{_number(len(pieces))} files are for {name}, {files}: keep one of them"
        if pieces and name in supplied and _role(route, _input(route, name), pieces[0].path) is Role.FILE:
            file = shown(pieces[0].path.rpartition("/")[2])
            return f"both the file {file} and a ticket are for {name}: keep one of them"
    full = [p for p in tickets if not p.empty]
    if len(full) > 1:
        names = _few(full)
        return f"{_number(len(full))} tickets are for one job, {names}: keep one of them"
    return None


def _stem_meant(route: Route, inner: str) -> str:
    """The stem out of what a ticket is named after: a file's name, or that bare stem already."""
    name = inner.rpartition("/")[2]
    is_file = _EXTENSION.fullmatch(split_ext(name)[1]) and (fitting(route, inner) or media_type(name) != UNTYPED)
    return own_stem(route, inner) if is_file else name


def _bundle_of_ticket(route: Route, tickets: list[Piece]) -> str | None:
    """A ticket alone may be all that a job needs: then what it is named after names the results."""
    if not tickets:
        return None
    path = tickets[0].path
    if route.bundle == "folder":
        return bundle_of(route, path)
    folder, slash, name = (meant(path) or path).rpartition("/")
    return folder + slash + (_stem_meant(route, name) if route.bundle == "stem" else split_ext(name)[0])


def _sorted(route: Route, pieces: Iterable[Piece]) -> tuple[list[Piece], list[Piece]]:
    """Media and tickets, each by path."""
    parts: dict[Part, list[Piece]] = {Part.MEDIA: [], Part.TICKET: [], Part.BATCH: []}
    for piece in sorted(pieces, key=lambda p: p.path):
        parts[part_of(route, piece.path)].append(piece)
    return parts[Part.MEDIA], parts[Part.TICKET]


def _role(route: Route, given: Input, path: str) -> Role:
    return Role.TEXT if given.accepts == "text" or is_link(route, path) else Role.FILE


def _input(route: Route, name: str) -> Input:
    found = route.input(name)
    assert found is not None
    return found


def _is_optional(route: Route, name: str) -> bool:
    return _input(route, name).optional


def _few(pieces: Sequence[Piece]) -> str:
    """Their names for a sentence, which must stay one however many they are."""
    names = [shown(p.path.rpartition("/")[2]) for p in pieces]
    return listed(names if len(names) <= _NAMED else [*names[: _NAMED - 1], f"{len(names) - _NAMED + 1:,} more"])


def _number(n: int) -> str:
    return {2: "two", 3: "three", 4: "four"}.get(n, f"{n:,}")
