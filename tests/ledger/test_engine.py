"""How the ledger's file is opened: durable, migrated, or refused without a byte of it changed."""

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

from renderdrop.ledger import engine, queries
from renderdrop.ledger.look import look
from renderdrop.ledger.schema import metadata
from renderdrop.model.errors import LedgerBroken


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pragma(conn: Connection, name: str) -> object:
    return conn.execute(text(f"PRAGMA {name}")).scalar()


def test_a_new_ledger_is_made_and_preparing_it_again_changes_nothing(tmp_path: Path) -> None:
    path = engine.ledger_path(tmp_path)
    engine.prepare(path)
    before = path.read_bytes()
    engine.prepare(path)
    assert path.read_bytes() == before
    assert look(path, thorough=True) == engine.HEAD
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_a_new_ledger_is_its_owners_alone_also_in_a_folder_that_others_may_look_into(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    path = engine.ledger_path(tmp_path)
    engine.prepare(path)
    with engine.transaction(path) as conn:
        conn.execute(text("INSERT INTO shares (inbox, seen_at) VALUES (x'2f61', 'now')"))
        made = {item.name: item.stat().st_mode & 0o777 for item in tmp_path.iterdir()}
    assert made == dict.fromkeys(("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"), 0o600)


@pytest.mark.parametrize("name", ["with space", "what?", "hash#", "per%cent", "猫", "uri:file", "caf\udce9"])
def test_the_state_directory_may_have_any_name(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    engine.prepare(folder / "ledger.sqlite")
    assert (folder / "ledger.sqlite").stat().st_size > 0
    with engine.view(folder / "ledger.sqlite") as conn:
        assert queries.counts(conn) == {}


@pytest.mark.parametrize("write", [True, False])
def test_every_connection_is_durable_and_checks_its_keys(write: bool, ledger_file: Path) -> None:
    opened = engine.open_engine(ledger_file, write=write)
    with opened.connect() as conn:
        assert pragma(conn, "journal_mode") == "wal"
        assert pragma(conn, "synchronous") == 2  # FULL
        assert pragma(conn, "foreign_keys") == 1
        assert pragma(conn, "query_only") == (0 if write else 1)
    opened.dispose()


def test_a_look_cannot_write(ledger_file: Path) -> None:
    with pytest.raises(LedgerBroken), engine.view(ledger_file) as conn:
        conn.execute(text("DELETE FROM jobs"))


@pytest.mark.filterwarnings("ignore:.* expression-based index")  # see the test below
def test_the_migrations_make_exactly_the_tables_of_the_schema(ledger_file: Path) -> None:
    opened = engine.open_engine(ledger_file, write=False)
    with opened.connect() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    opened.dispose()


def test_the_migrations_make_exactly_the_indexes_of_the_schema(ledger_file: Path) -> None:
    """Word for word, for some are of expressions: nobody else compares these."""

    def indexes(conn: Connection) -> dict[str, str]:
        rows = conn.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"))
        return {name: " ".join(sql.replace('"', "").split()) for name, sql in rows}

    fresh = create_engine("sqlite://")
    with fresh.connect() as conn:
        metadata.create_all(conn)
        wanted = indexes(conn)
    fresh.dispose()
    with engine.view(ledger_file) as conn:
        assert indexes(conn) == wanted


def test_head_is_the_newest_migration_and_there_is_one_way_to_it() -> None:
    script = ScriptDirectory(str(Path(engine.__file__).parent / "migrations"))
    assert script.get_heads() == [engine.HEAD]


@pytest.mark.parametrize("damage", ["garbage", "header", "text"])
def test_a_damaged_ledger_is_refused_and_not_touched(damage: str, ledger_file: Path) -> None:
    whole = ledger_file.read_bytes()
    harmed = {"garbage": b"\xa5" * 9000, "header": b"\0" * 100 + whole[100:], "text": b"# my notes\n" * 900}[damage]
    for path in ledger_file.parent.iterdir():
        if path.name.startswith("ledger"):
            path.unlink()
    ledger_file.write_bytes(harmed)
    with pytest.raises(LedgerBroken) as caught:
        engine.prepare(ledger_file)
    assert "Nothing was changed" in caught.value.sentence
    assert "\n" not in caught.value.sentence
    assert ledger_file.read_bytes() == harmed
    for door in (engine.view, engine.transaction):
        with pytest.raises(LedgerBroken), door(ledger_file):
            pass
    assert ledger_file.read_bytes() == harmed


def test_a_ledger_of_a_newer_version_is_refused_and_not_touched(ledger_file: Path) -> None:
    raw = sqlite3.connect(ledger_file)
    raw.execute("UPDATE alembic_version SET version_num = '0999'")
    raw.commit()
    raw.close()
    before = bytes_of(ledger_file.parent)
    with pytest.raises(LedgerBroken, match="newer renderdrop"):
        engine.prepare(ledger_file)
    for door in (engine.view, engine.transaction):
        with pytest.raises(LedgerBroken, match="newer renderdrop"), door(ledger_file):
            pass
    assert bytes_of(ledger_file.parent) == before


def test_a_ledger_that_is_not_migrated_yet_is_not_opened_by_a_command(ledger_file: Path) -> None:
    raw = sqlite3.connect(ledger_file)
    raw.execute("UPDATE alembic_version SET version_num = '0001'")
    raw.commit()
    raw.close()
    for door in (engine.view, engine.transaction):
        with pytest.raises(LedgerBroken, match="older renderdrop"), door(ledger_file):
            pass


def test_a_making_that_was_interrupted_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    for name in ("ledger.sqlite.new", "ledger.sqlite.new-wal", "ledger.sqlite.new-journal"):
        (tmp_path / name).write_bytes(b"half of something")
    with pytest.raises(engine.NoLedger), engine.view(path):
        pass
    engine.prepare(path)
    with engine.view(path) as conn:
        assert queries.counts(conn) == {}
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_a_command_makes_no_ledger(tmp_path: Path) -> None:
    for door in (engine.view, engine.transaction):
        with pytest.raises(LedgerBroken, match="renderdrop run"), door(tmp_path / "ledger.sqlite"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_network_file_system_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(LedgerBroken, match=r"\(nfs4\)"):
        engine.prepare(tmp_path / "ledger.sqlite", lambda folder: "nfs4" if folder == tmp_path else None)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(LedgerBroken, match="cannot be used"):
        engine.prepare(tmp_path / "nowhere" / "ledger.sqlite")


def test_a_commands_transaction_is_whole_or_nothing(ledger_file: Path) -> None:
    add = text("INSERT INTO shares (inbox, seen_at) VALUES (x'2f61', 'now')")

    def change_my_mind() -> None:
        with engine.transaction(ledger_file) as conn:
            conn.execute(add)
            raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError, match="changed my mind"):
        change_my_mind()
    with engine.view(ledger_file) as conn:
        assert queries.seen_folders(conn) == frozenset()
    with engine.transaction(ledger_file) as conn:
        conn.execute(add)
    with engine.view(ledger_file) as conn:
        assert queries.seen_folders(conn) == {Path("/a")}


def test_a_write_waits_for_another_processs_short_transaction_and_a_look_does_not(
    ledger_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.1)
    with engine.transaction(ledger_file) as conn:
        conn.execute(text("INSERT INTO shares (inbox, seen_at) VALUES (x'2f61', 'now')"))
        with engine.view(ledger_file) as other:
            assert queries.seen_folders(other) == frozenset()
        with pytest.raises(LedgerBroken, match="locked"), engine.transaction(ledger_file):
            pass
