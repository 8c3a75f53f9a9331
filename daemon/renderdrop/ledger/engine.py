"""How the ledger's file is opened: SQLite in WAL with `synchronous=FULL`, migrated, or refused.

Owns the pragmas, the making of a new file and the refusals of a revision; `look` owns those of damage. It must never
repair, replace or truncate a file that it does not understand: a ledger that cannot be read is still the only record
of what was paid for.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool, QueuePool

from renderdrop.ledger.look import BUSY_SECONDS, look, unreadable
from renderdrop.ledger.room import Room
from renderdrop.model.errors import LedgerBroken

HEAD: Final = "0008"
"""The newest revision under migrations/versions (a test holds it in step)."""
_OLDER: Final = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
"""Those that can be brought to it."""


def ledger_path(state_dir: Path) -> Path:
    """Where the ledger lives below the state directory."""
    return state_dir / "ledger.sqlite"


def open_engine(path: Path, *, write: bool, file: str = "") -> Engine:
    """An engine on an existing or new file; `write` takes the write lock at BEGIN, so that a
    transaction never has to be upgraded and cannot deadlock. `file`: the same as an URI with parameters."""
    engine = create_engine(
        # No text: a folder's name may hold a "?".
        URL.create("sqlite", database=file or str(path), query={"uri": "true"} if file else {}),
        poolclass=NullPool if write else QueuePool,
        connect_args={"timeout": BUSY_SECONDS, "isolation_level": None, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _pragmas(dbapi: object, _record: object) -> None:
        cursor = dbapi.cursor()  # type: ignore[attr-defined]
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        if not write:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    # sqlite3's own transaction control begins too late for reads and breaks savepoints; we begin ourselves.
    @event.listens_for(engine, "begin")
    def _begin(conn: Connection) -> None:
        conn.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def prepare(path: Path, network_fs: Callable[[Path], str | None] = lambda _: None) -> None:
    """Create the ledger or bring it to HEAD. `network_fs` names the file system where it is a network one.

    Raises LedgerBroken, with the way out, on a network file system, a damaged file or one of a newer renderdrop.
    """
    if kind := network_fs(path.parent):
        raise LedgerBroken(
            f"the ledger {path} would lie on a network file system ({kind}), where SQLite's locks cannot be "
            "trusted; set daemon.state_dir to a local disk"
        )
    room = Room(path.parent)
    if room.is_cramped():
        room.give_up()  # for this it was kept back
    try:
        found = check(path)
        if path.exists():
            _bring_to_head(path, found)
        else:
            _make(path)
    except (DatabaseError, OSError, LedgerBroken) as error:
        if room.is_cramped():
            raise LedgerBroken(
                f"the disk of the state folder {path.parent} is full. Nothing was changed, nothing is taken, nothing "
                "submitted; free some space and start renderdrop again"
            ) from error
        raise error if isinstance(error, LedgerBroken) else unreadable(path, error) from error


def check(path: Path) -> str | None:
    """The revision of the ledger at `path`, if there is one, after every refusal that `prepare` would make of it."""
    found = look(path, thorough=True)
    if found is not None:
        _refuse_strangers(path, found)
    return found


def _bring_to_head(path: Path, found: str | None) -> None:
    engine = open_engine(path, write=True)
    try:
        with engine.connect() as conn:
            if found != HEAD:
                _upgrade(conn)
            # Else merely opened and closed: that writes back the journal of a daemon that was killed.
    finally:
        engine.dispose()


def _make(path: Path) -> None:
    """Under another name until it is whole and on disk: a ledger that is there was one, so an empty one is damaged."""
    new = path.with_name(f"{path.name}.new")
    for end in ("", "-journal", "-wal", "-shm"):
        Path(f"{new}{end}").unlink(missing_ok=True)
    # Its owner's alone, wherever the state directory is: names of files and parameters are nobody else's business. What
    # SQLite makes beside it takes the same bits.
    os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    _bring_to_head(new, None)
    if Path(f"{new}-wal").exists() or look(new) != HEAD:
        raise unreadable(path, "it could not be written whole")
    new.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_back(conn: Connection) -> None:
    """Bring what is in the journal to where it belongs, outside of any transaction: then its place can be used again.

    Raises sqlite3.Error, as it is."""
    conn.connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")


def is_damage(error: DatabaseError) -> bool:
    """Whether that says that the file itself is not what it was, or cannot be read."""
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR)


def _refuse_strangers(path: Path, found: str) -> None:
    if found in (HEAD, *_OLDER):
        return
    if found > HEAD:
        raise LedgerBroken(
            f"the ledger {path} was written by a newer renderdrop (revision {found}, this one knows {HEAD}). "
            "Nothing was changed; install that version again or a later one"
        )
    raise LedgerBroken(
        f"the ledger {path} has the revision {found}, which no renderdrop ever wrote. Nothing was changed; put it back "
        "from a backup, or name another daemon.state_dir"
    )


def _upgrade(conn: Connection) -> None:
    # Alembic is imported only when there is something to migrate: no command pays for it otherwise.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = conn
    command.upgrade(config, "head")
    conn.commit()


class NoLedger(LedgerBroken):
    """There is none yet, or a daemon is only just making it."""


@contextmanager
def _session(path: Path, *, write: bool) -> Iterator[Connection]:
    nothing = NoLedger(f"there is no ledger at {path} yet; `renderdrop run` makes it at its first start")
    found = look(path)
    if found is None:
        raise nothing
    _refuse_strangers(path, found)
    if found != HEAD:
        raise LedgerBroken(f"the ledger {path} is of an older renderdrop; start `renderdrop run` to migrate it")
    # Whoever only looks must not write back the journal of a daemon that was killed: its next start does, or a person.
    left = not write and Path(f"{path}-wal").exists()
    engine = open_engine(path, write=write, file=f"file:{quote(os.fsencode(path))}?mode=ro" if left else "")
    try:
        with engine.connect() as conn, conn.begin():
            yield conn
    except DatabaseError as error:
        raise unreadable(path, error) from error
    finally:
        engine.dispose()


def view(path: Path) -> AbstractContextManager[Connection]:
    """A read-only look at the ledger, for one command."""
    return _session(path, write=False)


def transaction(path: Path) -> AbstractContextManager[Connection]:
    """One write transaction from a command, whether or not the daemon runs."""
    return _session(path, write=True)
