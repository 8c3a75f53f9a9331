"""What a group's files hold, read beneath the inbox at the moment of acceptance. Runs in a thread.

Owns that nothing is taken that is not the very file that settled, that nobody still writes, and that no more is read of
it than a ticket or a text may have. It must never write, and never open what a ticket names.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Final

from renderdrop.intake.bundle import BATCH_NAMES, Assembly, Piece, assemble, batch_folders
from renderdrop.intake.fit import is_link
from renderdrop.intake.settle import Sighting
from renderdrop.intake.text import MOST_BYTES, BadText, read_link, read_text
from renderdrop.intake.ticket import BadTicket, Ticket, apply, read_ticket, spread, supplied
from renderdrop.model.errors import NotTakeable, SourceChanged, SourceGone
from renderdrop.model.job import Role
from renderdrop.model.names import NOTICE_JSON, NOTICE_TXT, fold, shown
from renderdrop.model.notice import told_by
from renderdrop.model.route import Route
from renderdrop.model.sidecar import LARGEST, belongs_to, notice_of
from renderdrop.model.wishes import BATCH, TEXT, TICKET, Wishes
from renderdrop.share.scan import Entry, look
from renderdrop.share.source import open_source

STILL_WRITTEN: Final = "a program still has it open for writing"


@dataclass(slots=True)
class Read:
    """What came of reading a group."""

    assembly: Assembly
    wishes: tuple[Wishes, ...] = (Wishes(),)
    priority: int | None = None
    refusal: str | None = None
    unready: dict[str, str] = field(default_factory=dict)
    """Paths that must not be taken yet, and why."""
    unseen: list[Entry] = field(default_factory=list)
    """Batch tickets that have to settle first."""


class Own(Enum):
    """What of ours may lie in an inbox; it is never work."""

    SIDECAR = auto()
    """It tells of results, and stays where it is."""
    NOTICE = auto()
    """It told of a failure, and came back with its file: it holds no longer."""


def own_files(root: Path, sightings: Iterable[Sighting]) -> dict[str, tuple[Own, str]]:
    """The paths among these that this program wrote itself, proved by what is in them, and the job that each tells of.
    A notice is one only as it was written: what anybody has added to is theirs. Raises ShareOffline."""
    found = {}
    for s in sightings:
        name = fold(s.path)
        if s.kind != "file" or not name.endswith((".json", NOTICE_TXT)) or s.size > LARGEST:
            continue
        try:
            with open_source(root, s.path) as source:
                data = source.read(0, LARGEST)
        except (SourceGone, SourceChanged, NotTakeable):
            continue  # whatever it is, it is looked at like any other
        if name.endswith(NOTICE_TXT):
            if (job_id := told_by(data)) is not None:
                found[s.path] = (Own.NOTICE, job_id)
        elif (job_id := belongs_to(data)) is not None:
            is_notice = name.endswith(NOTICE_JSON) and notice_of(data) is not None
            found[s.path] = (Own.NOTICE if is_notice else Own.SIDECAR, job_id)
    return found


class Reading:
    """Reads groups of one inbox. `batches`: the batch tickets that have settled."""

    def __init__(self, route: Route, leases: bool, batches: Mapping[str, Sighting]) -> None:
        self._route = route
        self._leases = leases
        self._settled_batches = dict(batches)
        self._batches: dict[str, list[tuple[str, Ticket]] | BadTicket] = {}
        self._unseen: dict[str, list[Entry]] = {}

    def read(self, pieces: Iterable[Piece], files: Mapping[str, Sighting], assembly: Assembly) -> Read:
        """Opens and reads what an assembly without trouble speaks of; `files` are its settled sightings by path.

        Raises ShareOffline."""
        found = Read(assembly)
        data: dict[str, bytes] = {}
        wanted = {path: role is Role.TEXT for _, path, role in assembly.assigned} | dict.fromkeys(
            assembly.tickets, True
        )
        for path, is_read in wanted.items():
            try:
                data[path] = self._open(path, files[path], found, MOST_BYTES + 1 if is_read else 0)
            except NotTakeable as fault:
                found.refusal = found.refusal or fault.sentence
        if found.unready:
            return found
        try:
            if found.refusal is None:
                self._wish(found, tuple(pieces), files, data)
        except (BadTicket, BadText) as fault:
            found.refusal = fault.sentence
        if not found.assembly.complete and found.assembly.trouble is None:
            found.refusal = None  # first its partners come, then all of them fail together
        return found

    def _open(self, path: str, s: Sighting, found: Read, count: int) -> bytes:
        try:
            with open_source(self._route.inbox, path) as source:
                same = (source.size, source.mtime_ns) == (s.size, s.mtime_ns)
                if not same or (self._leases and source.being_written()):
                    found.unready[path] = STILL_WRITTEN
                    return b""
                return source.read(0, count) if count else b""
        except (SourceGone, SourceChanged):
            found.unready[path] = STILL_WRITTEN
            return b""

    def _wish(
        self, found: Read, pieces: tuple[Piece, ...], files: Mapping[str, Sighting], data: Mapping[str, bytes]
    ) -> None:
        assembly = found.assembly
        layers: list[tuple[str, str, Ticket]] = []
        first = next(iter([*(path for _, path, _ in assembly.assigned), *assembly.tickets]))
        for folder in batch_folders(self._route, first):
            layers += [(BATCH, name, ticket) for name, ticket in self._batch(folder, found)]
        for path in assembly.tickets:
            name = path.rpartition("/")[2]
            layers.append((TICKET, name, read_ticket(name, data[path])))
        wishes, found.priority = apply(self._route, layers)
        if given := supplied(self._route, wishes.params):
            found.assembly = assembly = assemble(self._route, pieces, given)
            found.refusal = assembly.trouble
        if not assembly.complete:
            return
        for name, path, role in assembly.assigned:
            if role is Role.TEXT:
                wishes = self._text(wishes, name, path, data[path])
        found.wishes = spread(self._route, wishes)

    def _text(self, wishes: Wishes, name: str, path: str, data: bytes) -> Wishes:
        bare = path.rpartition("/")[2]
        if is_link(self._route, path):
            return wishes.over({name: read_link(bare, data)}, TEXT)
        text, note = read_text(bare, data)
        wishes = wishes.over({name: text}, TEXT)
        return wishes if note is None else wishes.with_(notes=(*wishes.notes, note))

    def _batch(self, folder: str, found: Read) -> list[tuple[str, Ticket]]:
        """The batch ticket in a folder: none or one. Read once for all groups that it is for."""
        if folder not in self._batches:
            try:
                self._batches[folder] = self._read_batch(folder)
            except BadTicket as fault:
                self._batches[folder] = fault
        found.unseen += self._unseen.get(folder, [])
        tickets = self._batches[folder]
        if isinstance(tickets, BadTicket):
            raise tickets
        return tickets

    def _read_batch(self, folder: str) -> list[tuple[str, Ticket]]:
        slash = "/" if folder else ""
        paths = {f"{folder}{slash}{name}" for name in BATCH_NAMES}
        paths |= {path for path in self._settled_batches if path.rpartition("/")[0] == folder}
        there = [e for e in look(self._route.inbox, sorted(paths)).values() if e is not None]
        full = [e for e in there if e.kind != "file" or e.size > 0]
        if len(full) > 1:
            names = " and ".join(shown(e.path) for e in full)
            raise BadTicket(f"there are two batch tickets, {names}: keep one of them")
        if not full:
            return []
        entry, s = full[0], self._settled_batches.get(full[0].path)
        if s is None or (s.kind, s.size, s.mtime_ns) != (entry.kind, entry.size, entry.mtime_ns):
            self._unseen[folder] = [entry]
            return []
        try:
            with open_source(self._route.inbox, entry.path) as source:
                if (source.size, source.mtime_ns) == (s.size, s.mtime_ns):
                    return [(entry.path, read_ticket(entry.path, source.read(0, MOST_BYTES + 1)))]
        except (SourceGone, SourceChanged):
            pass
        except NotTakeable as fault:
            raise BadTicket(fault.sentence) from None
        self._unseen[folder] = [entry]
        return []
