"""Where the sources of an earlier job lie today: found by what is in them, wherever they were put.

Owns the order of the places to look at. It only reads, and only through the share's own door: a sidecar's paths come
from strangers and lead nowhere but below the route's folders. Reading may take long, so nothing is locked meanwhile.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from renderdrop.cli.earlier import SaidSource
from renderdrop.model.errors import Fault, NotTakeable, SourceChanged, SourceGone
from renderdrop.model.job import Job, Place, Source
from renderdrop.model.names import shown
from renderdrop.model.route import Route
from renderdrop.model.sidecar import plain
from renderdrop.share.ignore import Ignore
from renderdrop.share.scan import Entry, look, scan
from renderdrop.share.source import open_source

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHUNK: Final = 2**20


@dataclass(frozen=True, slots=True)
class Found:
    """A source and the place where it lies. `at`: its path below that place's folder."""

    said: SaidSource
    place: Place
    at: str
    path: str
    """What it is called below the inbox."""
    size: int
    mtime_ns: int
    told: str | None = None


class Search:
    """One search for the sources of a job on a route. `known`: what the ledger has of the job, if anything."""

    def __init__(self, route: Route, known: Job | None, ignore: Ignore) -> None:
        self.roots: Mapping[Place, Path] = {
            Place.DONE: route.done, Place.FAILED: route.failed, Place.INBOX: route.inbox
        }  # fmt: skip
        self._known = {plain(s.path): s for s in known.inputs} if known is not None else {}
        self._ignore = ignore
        self._taken: set[tuple[Place, str]] = set()

    def all(self, said: Sequence[SaidSource]) -> list[Found]:
        """Every one of them. Raises Fault naming the first that is nowhere, ShareOffline for folders out of reach."""
        return [self._one(source) for source in said]

    def still_there(self, found: Sequence[Found]) -> bool:
        """Whether nothing has been moved or changed since. Raises ShareOffline."""
        for place, root in self.roots.items():
            here = [f for f in found if f.place is place]
            now = look(root, [f.at for f in here])
            if not all(_stands(now[f.at], f) for f in here):
                return False
        return True

    def _one(self, said: SaidSource) -> Found:
        known = self._known.get(said.path)
        for place, at in self._places(said, known):
            if (place, at) in self._taken:
                continue
            entry = look(self.roots[place], [at])[at]
            if entry is None or entry.kind != "file" or entry.size != said.size:
                continue
            if said.sha256 is not None and said.sha256 != _digest(self.roots[place], entry):
                continue
            self._taken.add((place, at))
            # A name that is no UTF-8 is spelled out in a sidecar; the ledger, or the file itself, has its very bytes.
            own = known.path if known is not None else at if plain(at) == said.path else said.path
            told = known.told if known is not None and (known.place, known.stored) == (place, at) else None
            path = at if place is Place.INBOX else own
            return Found(said, place, at, path, entry.size, entry.mtime_ns, told)
        how = "by its content" if said.sha256 is not None else "at its old place, and nothing is known of its content"
        raise Fault(
            f"{shown(said.name)} was not found {how}, neither in done/, inbox/ nor failed/; put it into the inbox's "
            "folder it came from, and ask again or simply let it be taken afresh"
        )

    def _places(self, said: SaidSource, known: Source | None) -> Iterator[tuple[Place, str]]:
        if known is not None and known.place in self.roots:
            yield known.place, known.path if known.place is Place.INBOX else known.stored or known.path
        for path in dict.fromkeys([known.path if known is not None else said.path, said.path]):
            for place in (Place.DONE, Place.INBOX, Place.FAILED):
                yield place, path
        if said.sha256 is None:
            return
        for place, entry in self._everything:
            if entry.size == said.size and entry.path.rpartition("/")[2] == said.name:
                yield place, entry.path
        for place, entry in self._everything:
            if entry.size == said.size:
                yield place, entry.path

    @cached_property
    def _everything(self) -> list[tuple[Place, Entry]]:
        """All files of the route's folders; looked at only where one is not where it should be."""
        ignores = {Place.DONE: Ignore(()), Place.FAILED: Ignore(()), Place.INBOX: self._ignore}
        return [
            (place, entry)
            for place, root in self.roots.items()
            for entry in scan(root, ignores[place]).entries
            if entry.kind == "file"
        ]


def _stands(now: Entry | None, found: Found) -> bool:
    return now is not None and (now.size, now.mtime_ns) == (found.size, found.mtime_ns)


def _digest(root: Path, entry: Entry) -> str | None:
    """SHA-256 of a file; None where it is not the file that was looked at any more, or may not be read."""
    whole = hashlib.sha256()
    try:
        with open_source(root, entry.path) as file:
            if file.size != entry.size:
                return None
            at = 0
            while chunk := file.read(at, _CHUNK):
                whole.update(chunk)
                at += len(chunk)
            return whole.hexdigest() if file.unchanged() else None
    except (NotTakeable, SourceGone, SourceChanged):
        return None
