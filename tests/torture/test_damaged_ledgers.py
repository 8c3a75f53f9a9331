"""A ledger that is damaged, cut off, newer or somebody else's: refused in one sentence, and not a byte of it changes.

What a ledger knows is which renders are paid for. Whatever becomes of its file, nobody may take it for a new one, and
whoever comes to mend it must find what was left: file and journal alike.
"""

import os
import random
import shutil
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Connection, insert
from tests.rig.daemon import Daemon
from tests.rig.share import Share
from tests.torture.table import WHOLE, Tally

from renderdrop.ledger import engine
from renderdrop.ledger.schema import jobs, sources
from renderdrop.model.errors import LedgerBroken

_PAGE: Final = 4096
_LEAF_OF_INDEX, _LEAF_OF_TABLE = 0x0A, 0x0D
"""The first byte of such a page; its fourth and fifth tell how many cells it holds (SQLite's file format)."""
_AT: Final = "2026-11-22T14:18:00.000Z"


def journal(path: Path) -> Path:
    return Path(f"{path}-wal")


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def middle(path: Path) -> int:
    """Where a page in the middle begins."""
    return path.stat().st_size // _PAGE // 2 * _PAGE


def replaced_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "note.txt").write_text("whose is this?")


def replaced_by_another_database(path: Path) -> None:
    path.unlink()
    journal(path).unlink()
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("CREATE TABLE songs (title)")


def of_revision(number: str) -> Callable[[Path], None]:
    def stamp(path: Path) -> None:
        with closing(sqlite3.connect(path)) as conn, conn:
            conn.execute("UPDATE alembic_version SET version_num = ?", (number,))

    return stamp


def of_a_newer_version_that_was_killed(path: Path) -> None:
    """Its revision stands in the journal alone."""
    aside = path.with_name("aside")
    with closing(sqlite3.connect(path)) as conn:
        with conn:
            conn.execute("UPDATE alembic_version SET version_num = '9999'")
        aside.mkdir()
        for file in (path, journal(path)):
            shutil.copy(file, aside)
    for file in (path, journal(path)):
        shutil.copy(aside / file.name, file)
    shutil.rmtree(aside)


def a_copied_page(path: Path) -> None:
    overwrite(path, middle(path), full_pages(path, _LEAF_OF_TABLE)[0][1])


def a_copied_page_of_an_index(path: Path) -> None:
    pages = full_pages(path, _LEAF_OF_INDEX)
    overwrite(path, pages[0][0], next(page for _, page in pages if page != pages[0][1]))


def full_pages(path: Path, kind: int) -> list[tuple[int, bytes]]:
    """Where pages of this kind begin that hold something and that the journal has no newer version of, and these."""
    data, log = path.read_bytes(), journal(path).read_bytes()
    newer = {int.from_bytes(log[at : at + 4], "big") for at in range(32, len(log), 24 + _PAGE)}
    pages = ((at, data[at : at + _PAGE]) for at in range(_PAGE, len(data), _PAGE))
    return [(at, page) for at, page in pages if page[0] == kind and page[4] > 10 and at // _PAGE + 1 not in newer]


def a_frame_in_the_middle(path: Path) -> None:
    """Of one of the first commits: whole ones follow."""
    overwrite(journal(path), 32 + 24 + 100, noise(200))


def replaced_by(data: bytes) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        path.write_bytes(data)

    return replace


def without_journal(damage: Callable[[Path], None]) -> Callable[[Path], None]:
    """Of a daemon that was stopped: nothing in a journal could stand in for what is damaged."""

    def harm(path: Path) -> None:
        journal(path).unlink()
        damage(path)

    return harm


def cut_to(size: Callable[[Path], int]) -> Callable[[Path], None]:
    return without_journal(lambda path: os.truncate(path, size(path)))


def a_link_that_leads_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere/ledger.sqlite")


DAMAGES: Final[dict[str, Callable[[Path], None]]] = {
    "all noise": replaced_by(noise(90_000)),
    "a text": replaced_by(b"# my notes\n" * 900),
    "header zeroed": without_journal(lambda path: overwrite(path, 0, bytes(100))),
    "one bit of the header": without_journal(lambda path: overwrite(path, 3, b"M")),
    "no bytes, no journal": without_journal(replaced_by(b"")),
    "no bytes, a journal": replaced_by(b""),
    "missing, a journal": Path.unlink,
    "half of it": cut_to(middle),
    "an odd part of it": cut_to(lambda path: middle(path) + 1234),
    "less than a page": cut_to(lambda path: 700),
    "a page of noise": lambda path: overwrite(path, middle(path), noise(_PAGE)),
    "a page of zeros": lambda path: overwrite(path, middle(path), bytes(_PAGE)),
    "a page that is another's": a_copied_page,
    "a page of another index": a_copied_page_of_an_index,
    "a folder in its place": replaced_by_a_folder,
    "a link that leads nowhere": a_link_that_leads_nowhere,
    "journal all noise": lambda path: replaced_by(noise(70_000))(journal(path)),
    "journal's header": lambda path: overwrite(journal(path), 8, b"\x7f"),
    "journal's middle": a_frame_in_the_middle,
    "another program's": replaced_by_another_database,
    "newer": of_revision("9999"),
    "newer, killed": of_a_newer_version_that_was_killed,
    "of no version": of_revision("0000"),
}
LEFT_OPEN: Final = (
    "half of it", "an odd part of it", "a page of noise", "a page of zeros", "a page that is another's",
    "a page of another index",
)  # fmt: skip
"""What `jobs` may not meet, because it does not read every page."""


def fill(conn: Connection, first: int, number: int) -> None:
    """Jobs that wait, as a night's batch leaves them."""
    ids = range(first, first + number)
    common = {"route": "portrait", "kind": "app", "state": "queued", "priority": 0, "workflow_id": "1", "params": {}}
    conn.execute(insert(jobs), [{"id": f"j{n}", "created": _AT, "updated": _AT, **common} for n in ids])
    file = {"route": "portrait", "input": "input_image", "size": 3, "mtime_ns": 5, "place": "inbox"}
    conn.execute(insert(sources), [{"job_id": f"j{n}", "path": f"shot/{n:05}.png", **file} for n in ids])


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory, new_ledger: Path) -> Path:
    """A state directory with many pages in the file and a journal of five commits, as a killed daemon leaves it."""
    begun, made = tmp_path_factory.mktemp("begun"), tmp_path_factory.mktemp("made")
    path = Path(shutil.copy(new_ledger, begun))
    with engine.transaction(path) as conn:
        fill(conn, 0, 300)
    opened = engine.open_engine(path, write=True)
    with opened.connect() as conn:
        for n in range(5):
            with conn.begin():
                fill(conn, 1000 + n, 1)
        for file in (path, journal(path)):
            shutil.copy(file, made)
    opened.dispose()
    return made


@pytest.fixture
def used(worked: Path) -> Callable[[Path], Path]:
    """Puts a ledger that has worked into a state directory."""

    def put(state_dir: Path) -> Path:
        shutil.rmtree(state_dir, ignore_errors=True)
        shutil.copytree(worked, state_dir)
        return engine.ledger_path(state_dir)

    return put


def everything(state_dir: Path) -> dict[str, bytes]:
    """All that lies there but the lock and SQLite's scratch."""
    return {
        str(path.relative_to(state_dir)): path.read_bytes() if path.is_file() else b""
        for path in state_dir.rglob("*")
        if not path.name.endswith(("-shm", ".lock"))
    }


def refused(daemon: Daemon, *command: str) -> str:
    """What a command says when it ends with 1 and in plain words."""
    result = daemon.run(*command)
    said = result.stdout + result.stderr
    assert result.returncode == 1, (command, said)
    assert "Traceback" not in said
    [sentence] = [line for line in said.splitlines() if "Nothing was changed" in line]
    return sentence


def test_a_ledger_that_has_worked_is_taken_with_its_journal(used: Callable[[Path], Path], tmp_path: Path) -> None:
    path = used(tmp_path / "state")
    before = everything(path.parent)
    assert engine.check(path) == engine.HEAD
    with engine.view(path) as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM jobs").scalar() == 305
    assert everything(path.parent) == before
    engine.prepare(path)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT count(*) FROM jobs").fetchall() == [(305,)]


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_ledger_is_refused_by_whoever_opens_it_and_nothing_of_it_changes(
    name: str, used: Callable[[Path], Path], tmp_path: Path, tally: Callable[[str], Tally]
) -> None:
    rows = tally("damaged, newer or foreign ledger: refused, untouched")
    path = used(tmp_path / "state")
    DAMAGES[name](path)
    before = everything(path.parent)
    for door in (engine.check, engine.prepare):
        with pytest.raises(LedgerBroken) as caught:
            door(path)
        assert "Nothing was changed" in caught.value.sentence
        assert "\n" not in caught.value.sentence
        assert everything(path.parent) == before, door
    for way in (engine.view, engine.transaction):
        if way is engine.transaction and name in LEFT_OPEN:
            continue  # what is written then goes where SQLite says; reading tells of the damage where it lies
        try:
            with way(path) as conn:
                conn.exec_driver_sql("SELECT * FROM jobs JOIN sources ON jobs.id = job_id").all()
        except LedgerBroken:
            pass
        else:
            assert name in LEFT_OPEN
        assert everything(path.parent) == before, way
    rows.run(lost=everything(path.parent) != before)


COMMANDS: Final = list(DAMAGES) if WHOLE else ["no bytes, a journal", "a page of noise", "journal's middle", "newer"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_in_one_sentence_what_is_wrong_with_the_ledger(
    name: str, used: Callable[[Path], Path], daemon: Daemon, share: Share, tally: Callable[[str], Tally]
) -> None:
    rows = tally("damaged, newer or foreign ledger: run, check, jobs")
    share.inbox.mkdir()
    share.drop("a.png")
    path = used(daemon.state_dir)
    DAMAGES[name](path)
    before = everything(daemon.state_dir)
    commands: list[tuple[str, ...]] = [("run",), ("run", "--once"), ("check", "--offline")]
    if name not in LEFT_OPEN:
        commands += [("jobs",), ("jobs", "--json")]
    for command in commands:
        refused(daemon, *command)
        assert everything(daemon.state_dir) == before, command
    assert share.files(share.inbox).keys() == {"a.png"}
    rows.run(lost=everything(daemon.state_dir) != before)


def test_a_ledger_that_is_damaged_while_it_works_stops_the_daemon_loudly_and_is_refused_afterwards(
    daemon: Daemon, share: Share, used: Callable[[Path], Path], tally: Callable[[str], Tally]
) -> None:
    rows = tally("ledger damaged while the daemon works: stops loudly")
    path = used(daemon.state_dir)
    engine.prepare(path)
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("UPDATE jobs SET route = 'elsewhere'")
        conn.execute("UPDATE sources SET route = 'elsewhere'")
    daemon.start()
    overwrite(path, _PAGE, noise(path.stat().st_size - _PAGE))
    dropped = share.drop("a.png")
    assert daemon.ended() == 1
    [failure] = daemon.events("service_failed")
    assert "Nothing was changed" in failure["reason"]
    assert (share.inbox / "a.png").read_bytes() == dropped
    before = everything(daemon.state_dir)
    refused(daemon, "run")
    assert everything(daemon.state_dir) == before
    rows.run()


def test_a_journal_that_was_begun_when_the_power_went_is_no_damage(
    used: Callable[[Path], Path], tmp_path: Path
) -> None:
    for begun in (b"", bytes(32), bytes(9000), struct.pack(">I", 0x377F0682)):
        path = used(tmp_path / "state")
        journal(path).write_bytes(begun)
        assert engine.check(path) == engine.HEAD
        engine.prepare(path)
        with engine.view(path) as conn:
            assert conn.exec_driver_sql("SELECT count(*) FROM jobs").scalar() == 300


def test_a_last_commit_that_the_power_cut_tore_is_no_damage(used: Callable[[Path], Path], tmp_path: Path) -> None:
    path = used(tmp_path / "state")
    whole = journal(path).read_bytes()
    step = _PAGE + 24
    frames = range(32, len(whole), step)
    commits = [at for at in frames if any(whole[at + 4 : at + 8])]
    torn = commits[-2] + step  # the first page of the last commit
    overwrite(journal(path), torn + 30, noise(40))
    assert engine.check(path) == engine.HEAD
    with engine.view(path) as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM jobs").scalar() == 304
