"""A look at the ledger's file before it is opened: is it one, is it whole, of which revision is it?

Owns what counts as damage. It changes no byte of the file or of its journal (`…-wal`), and that is why it exists:
merely opening a database makes SQLite throw away a journal whose file is empty, and read on without a word where a
journal is damaged; merely closing it writes the journal back. A ledger that is not whole must be found as it was left
by whoever comes to mend it.
"""

import os
import sqlite3
import struct
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from renderdrop.model.errors import LedgerBroken

BUSY_SECONDS: Final = 15.0
"""How long anything waits for another process's (the command line's) short transaction."""

_HEADER, _FRAME = 32, 24
"""Bytes of the journal's header, and of the header before each page in it (sqlite.org/walformat.html)."""
_INDEX: Final = 48
"""Bytes of the index's header, which stands in it twice: they differ while it is written."""
_MAGIC: Final = {0x377F0682: "<", 0x377F0683: ">"}
"""What a journal begins with, and the order of bytes in which its checksums are reckoned."""


in_use: Final[set[Path]] = set()
"""Ledgers that this process itself writes to. Of those the index must not be opened here: to close any descriptor of it
gives up SQLite's locks on it, and the next process would cut it off under our feet (fcntl(2), and a SIGBUS)."""


def look(path: Path, *, thorough: bool = False) -> str | None:
    """The revision of the ledger that lies at `path`; None where there is no file, or no table in it. `thorough`: every
    page is looked at, and each index compared with its table (a second for 100,000 jobs).

    Raises LedgerBroken, with the way out, for what is damaged, cut off, or no ledger.
    """
    journal = Path(f"{path}-wal")
    begun = _has_begun(journal)
    try:
        return _look(path, journal, thorough)
    except (sqlite3.Error, OSError, LedgerBroken) as error:
        if begun != _has_begun(journal):
            return look(path, thorough=thorough)  # a daemon has begun or ended meanwhile: it was not all of one moment
        raise error if isinstance(error, LedgerBroken) else unreadable(path, error) from error


def _look(path: Path, journal: Path, thorough: bool) -> str | None:
    """Raises sqlite3.Error and OSError as they are."""
    left = journal.stat().st_size if journal.exists() else 0
    _refuse_cut_off(path, left)
    if not path.exists():
        return None
    if left:
        _refuse_garbage(path, journal)
    # Without a journal all there is stands in the file, and nothing is made beside it.
    how = "mode=ro" if left else "mode=ro&immutable=1"
    # The index is let go after the connection, whose locks end with it.
    with (
        ExitStack() as index,
        closing(sqlite3.connect(f"file:{quote(os.fsencode(path))}?{how}", BUSY_SECONDS, uri=True)) as conn,
    ):
        found = _revision(conn, path)
        if left and path not in in_use:
            _refuse_hole(path, journal, index)
        if thorough:
            _refuse_damage(conn, path)
        return found


def _has_begun(journal: Path) -> bool:
    try:
        return journal.stat().st_size > 0
    except OSError:
        return False  # what cannot be asked is told by the look itself


def unreadable(path: Path, error: Exception | str) -> LedgerBroken:
    """The refusal of a file that cannot be opened or read."""
    detail = getattr(error, "orig", None) or error
    return LedgerBroken(
        f"the ledger {path} cannot be used ({detail}). Nothing was changed. Check the disk's space and permissions; "
        "if the file is damaged, copy it and its -wal away first and try `sqlite3 ledger.sqlite .recover`. Starting "
        "with a new ledger would forget which renders are already paid for"
    )


def _revision(conn: sqlite3.Connection, path: Path) -> str | None:
    tables = {name for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and "alembic_version" not in tables:
        raise LedgerBroken(
            f"{path} is the database of another program. Nothing was changed; move it away, or name another "
            "daemon.state_dir"
        )
    row = conn.execute("SELECT version_num FROM alembic_version").fetchone() if tables else None
    return None if row is None else str(row[0])


def _refuse_cut_off(path: Path, left: int) -> None:
    """SQLite would take each of these for a new ledger, and throw the journal away."""
    if path.exists() and (not path.is_file() or path.stat().st_size):
        return
    if path.exists():
        what = "is empty (0 bytes), which no ledger ever is"
    elif path.is_symlink():
        what = "is a link to a place that is not there (is its disk mounted?)"
    elif left:
        what = "is missing"
    else:
        return
    if left:
        what += f", but its journal {path.name}-wal still holds {left} bytes of what it knew"
    raise LedgerBroken(
        f"the ledger {path} {what}. Nothing was changed. Put the file back where it was, or a copy of both from a "
        "backup. Only if renderdrop has never worked here, remove what is there: a new ledger would forget which "
        "renders are already paid for"
    )


def _refuse_garbage(path: Path, journal: Path) -> None:
    with journal.open("rb") as file:
        header = file.read(_HEADER)
    if len(header) < _HEADER or not any(header):
        return  # the power went while it was begun: nothing was ever committed to it
    order = _MAGIC.get(struct.unpack_from(">I", header)[0])
    if order is None or _checksum(header[:24], order) != struct.unpack_from(">II", header, 24):
        raise unreadable(path, f"its journal {journal.name} is damaged")


def _refuse_damage(conn: sqlite3.Connection, path: Path) -> None:
    # Not the quick check: an index that has lost a row makes a file that is known look like a new one.
    [(first,)] = conn.execute("PRAGMA integrity_check(1)")
    if first != "ok":
        raise unreadable(path, "it is damaged: " + " ".join(str(first).split()))


def _refuse_hole(path: Path, journal: Path, opened: ExitStack) -> None:
    """Where a page in the journal is damaged, SQLite ends there, and what was committed after it is forgotten. A power
    cut may tear the last commit, which nobody was told of; two commits behind the end were whole once."""
    log = journal.read_bytes()  # first: a daemon that is writing now has told the index before the next look
    file = opened.enter_context(Path(f"{path}-shm").open("rb"))  # noqa: SIM115  the caller's stack closes it
    index, again = file.read(_INDEX), file.read(_INDEX)
    salt = log[16:24]
    if len(log) <= _HEADER or index != again or index[32:40] != salt:
        return
    (known,) = struct.unpack_from("=I", index, 16)
    step = _FRAME + int.from_bytes(log[8:12], "big")
    beyond = range(_HEADER + known * step, len(log) - _FRAME, step)
    if sum(log[at + 8 : at + 16] == salt and any(log[at + 4 : at + 8]) for at in beyond) > 1:
        raise unreadable(path, f"its journal {journal.name} is damaged in the middle")


def _checksum(data: bytes, order: str) -> tuple[int, int]:
    first = second = 0
    for a, b in struct.iter_unpack(f"{order}II", data):
        first = (first + a + second) & 0xFFFFFFFF
        second = (second + b + first) & 0xFFFFFFFF
    return first, second
