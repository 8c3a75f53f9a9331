"""What lies beside a path in an inbox: the files of the job to be, their tickets and texts read and judged.

Owns the intake's questions, asked of a moment: nothing has to have settled, and a file that is not there yet counts as
if it were. It reads tickets, texts and links, and never opens a medium.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from renderdrop.intake.bundle import (
    BATCH_NAMES,
    Assembly,
    Part,
    Piece,
    assemble,
    batch_folders,
    key_of,
    meant,
    part_of,
    parted,
)
from renderdrop.intake.fit import fitting, is_link
from renderdrop.intake.text import MOST_BYTES, BadText, read_link, read_text
from renderdrop.intake.ticket import BadTicket, Ticket, apply, read_ticket, spread, supplied
from renderdrop.model.errors import NotTakeable, ShareOffline, SourceChanged, SourceGone
from renderdrop.model.job import Role
from renderdrop.model.names import shown
from renderdrop.model.route import Route
from renderdrop.model.wishes import BATCH, TEXT, TICKET, Wishes
from renderdrop.share.ignore import Ignore
from renderdrop.share.publish import names_in
from renderdrop.share.scan import Entry, look, scan
from renderdrop.share.source import open_source

Lying = Mapping[str, Entry | None]
"""Paths of an inbox; None: not there yet, taken as if it were."""

_UNREAD: Final = "(the {what} {name})"


@dataclass(frozen=True, slots=True)
class Gathered:
    """The job to be, as things stand. `refusal`: why it would fail; then the wishes say nothing."""

    files: Lying
    assembly: Assembly
    batches: tuple[str, ...] = ()
    wishes: tuple[Wishes, ...] = (Wishes(),)
    priority: int | None = None
    refusal: str | None = None
    named: tuple[str, ...] = field(default=())
    """Inputs that a ticket's parameters stand in for."""


def beside(route: Route, path: str, ignore: Ignore) -> Lying:
    """The path and everything that goes with it. For a folder bundle, `path` may be its folder."""
    try:
        found = _in_folder(route, path, ignore) if route.bundle == "folder" else _alike(route, path, ignore)
    except ShareOffline:
        found = {}  # the inbox is not made yet; where it was there before, the share was found offline already
    if route.bundle == "file":
        lying: dict[str, Entry | None] = {path: None, **found}
        parts = parted(route, [_piece(p, entry) for p, entry in lying.items()])
        group = next((part for part in parts if any(piece.path == path for piece in part)), ())
        found = {piece.path: lying[piece.path] for piece in group}
    if path not in found and not (route.bundle == "folder" and found):
        found[path] = None
    return found


def gathered(route: Route, files: Lying) -> Gathered:
    """The verdict on files that lie together. Raises ShareOffline."""
    found = _judged(route, files)
    tickets = found.assembly.tickets
    if found.refusal is not None or found.assembly.complete or found.assembly.assigned or not tickets:
        return found
    # A ticket alone is explained along with the file that it is named after.
    file = meant(tickets[0])
    return _judged(route, {**files, file: None}) if file is not None and fitting(route, file) else found


def read_batch(route: Route, path: str) -> tuple[Wishes, int | None]:
    """What a batch ticket asks for. Raises BadTicket, NotTakeable, SourceGone, SourceChanged, ShareOffline."""
    return apply(route, [(BATCH, path, read_ticket(path, _read(route, path)))])


def _judged(route: Route, files: Lying) -> Gathered:
    pieces = [_piece(path, entry) for path, entry in files.items()]
    assembly = assemble(route, pieces)
    found = Gathered(files, assembly, refusal=assembly.trouble)
    if assembly.trouble is not None:
        return found
    try:
        return _wished(route, found, pieces)
    except (BadTicket, BadText, NotTakeable) as fault:
        return replace(found, refusal=fault.sentence)
    except (SourceGone, SourceChanged) as fault:
        return replace(found, refusal=f"{fault.sentence}; ask again when it stands still")


def _wished(route: Route, found: Gathered, pieces: Collection[Piece]) -> Gathered:
    assembly = found.assembly
    first = next(iter([*(path for _, path, _ in assembly.assigned), *assembly.tickets, *found.files]))
    batches = _batches(route, first)
    layers: list[tuple[str, str, Ticket]] = [(BATCH, p, read_ticket(p, _read(route, p))) for p in batches]
    for path in assembly.tickets:
        if found.files[path] is not None:
            name = path.rpartition("/")[2]
            layers.append((TICKET, name, read_ticket(name, _read(route, path))))
    wishes, priority = apply(route, layers)
    named = supplied(route, wishes.params)
    if named:
        assembly = assemble(route, pieces, named)
    for name, path, role in assembly.assigned if assembly.trouble is None else ():
        if role is Role.TEXT:
            wishes = _with_text(route, wishes, name, path, there=found.files[path] is not None)
    return replace(
        found, assembly=assembly, batches=tuple(batches), wishes=spread(route, wishes), priority=priority,
        refusal=assembly.trouble, named=tuple(sorted(named)),
    )  # fmt: skip


def _with_text(route: Route, wishes: Wishes, name: str, path: str, *, there: bool) -> Wishes:
    bare = path.rpartition("/")[2]
    link = is_link(route, path)
    if not there:
        return wishes.over({name: _UNREAD.format(what="address in" if link else "text of", name=bare)}, TEXT)
    data = _read(route, path)
    if link:
        return wishes.over({name: read_link(bare, data)}, TEXT)
    text, note = read_text(bare, data)
    wishes = wishes.over({name: text}, TEXT)
    return wishes if note is None else wishes.with_(notes=(*wishes.notes, note))


def _batches(route: Route, path: str) -> list[str]:
    """The batch tickets that hold for a file, the outermost first. Raises BadTicket where a folder has two."""
    found = []
    for folder in batch_folders(route, path):
        paths = [f"{folder}/{name}" if folder else name for name in BATCH_NAMES]
        try:
            there = [p for p, entry in look(route.inbox, paths).items() if entry is not None and entry.size > 0]
        except ShareOffline:
            return []  # the inbox is not made yet
        if len(there) > 1:
            raise BadTicket(f"there are two batch tickets, {' and '.join(map(shown, there))}: keep one of them")
        found += there
    return found


def _read(route: Route, path: str) -> bytes:
    """As much of a small file as its reader takes, and one byte more. Raises what opening it raises."""
    with open_source(route.inbox, path) as source:
        return source.read(0, MOST_BYTES + 1)


def _in_folder(route: Route, path: str, ignore: Ignore) -> dict[str, Entry | None]:
    key = path.partition("/")[0]
    inside = scan(route.inbox, ignore, key).entries
    return {entry.path: entry for entry in inside if part_of(route, entry.path) is not Part.BATCH}


def _alike(route: Route, path: str, ignore: Ignore) -> dict[str, Entry | None]:
    folder, slash, _ = path.rpartition("/")
    key = key_of(route, path)
    paths = [folder + slash + name for name in names_in(route.inbox, folder)]
    wanted = [p for p in paths if key_of(route, p) == key and ignore.path(p, is_folder=False) is None]
    return {p: entry for p, entry in look(route.inbox, wanted).items() if entry is not None}


def _piece(path: str, entry: Entry | None) -> Piece:
    return Piece(path) if entry is None else Piece(path, entry.kind, entry.kind == "file" and entry.size == 0)
