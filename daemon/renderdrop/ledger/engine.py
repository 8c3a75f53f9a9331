"""How the ledger's file is opened: SQLite in WAL with `synchronous=FULL`, migrated, or refused.

Owns the pragmas and the refusals. It must never repair, replace or truncate a file that it does not
understand: a ledger that cannot be read is still the only record of what was paid for.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool, QueuePool

from renderdrop.model.errors import LedgerBroken

HEAD: Final = "0002"
"""The newest revision under migrations/versions (a test holds it in step)."""

BUSY_SECONDS: Final = 15.0
"""How long a write waits for another process's (the command line's) short transaction."""


def ledger_path(state_dir: Path) -> Path:
    """Where the ledger lives below the state directory."""
    return state_dir / "ledger.sqlite"


def open_engine(path: Path, *, write: bool) -> Engine:
    """An engine on an existing or new file; `write` takes the write lock at BEGIN, so that a
    transaction never has to be upgraded and cannot deadlock."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)),  # no text: a folder's name may hold a "?"
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
    engine = open_engine(path, write=True)
    try:
        with engine.connect() as conn:
            found = revision(conn)
            conn.rollback()
            if found == HEAD:
                return
            _refuse_strangers(path, found)
            _upgrade(conn)
    except (DatabaseError, OSError) as error:
        raise unreadable(path, error) from error
    finally:
        engine.dispose()


def revision(conn: Connection) -> str | None:
    """The ledger's revision; None for a new, empty file."""
    if not inspect(conn).has_table("alembic_version"):
        return None
    return conn.execute(text("SELECT version_num FROM alembic_version")).scalar()


def unreadable(path: Path, error: Exception) -> LedgerBroken:
    """The refusal of a file that SQLite cannot open or read."""
    detail = getattr(error, "orig", None) or error
    return LedgerBroken(
        f"the ledger {path} cannot be used ({detail}). Nothing was changed. Check the disk's space and permissions; "
        "if the file is damaged, copy it away first and try `sqlite3 ledger.sqlite .recover`. Starting with a new "
        "ledger would forget which renders are already paid for"
    )


def _refuse_strangers(path: Path, found: str | None) -> None:
    if found is not None and found > HEAD:
        raise LedgerBroken(
            f"the ledger {path} was written by a newer renderdrop (revision {found}, this one knows {HEAD}). "
            "Nothing was changed; install that version again or a later one"
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
    if not path.exists():
        raise nothing
    engine = open_engine(path, write=write)
    try:
        with engine.connect() as conn:
            found = revision(conn)
            if found is None:
                raise nothing
            if found != HEAD:
                _refuse_strangers(path, found)
                raise LedgerBroken(f"the ledger {path} is of an older renderdrop; start `renderdrop run` to migrate it")
            conn.rollback()
            with conn.begin():
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
