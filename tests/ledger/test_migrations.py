"""A ledger of an earlier version: brought to this one with everything in it, and nothing of it means anything else."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text

import renderdrop.ledger
from renderdrop.ledger import engine, line, queries
from renderdrop.model.job import Place, Role
from renderdrop.model.lifecycle import State
from renderdrop.model.wishes import Wishes

MIGRATIONS = Path(renderdrop.ledger.__file__).parent / "migrations"
JOB = (
    "INSERT INTO jobs (id, route, kind, state, priority, attempts, workflow_id, params, paid, created, updated)"
    " VALUES (:id, 'portrait', 'app', :state, 0, 0, '1234', '{\"prompt\": \"oil\"}', 0, :at, :at)"
)
SOURCE = (
    "INSERT INTO sources (job_id, route, input, path, size, mtime_ns, place, stored, filed)"
    " VALUES (:id, 'portrait', 'input_image', :path, 3, 5, :place, :stored, :filed)"
)
AT = "2026-11-22T10:00:00.000Z"


def first_ledger(path: Path) -> None:
    """As 0.1 left it: a job that waits, one that was delivered, one whose source lies in failed/ with its notices."""
    made = engine.open_engine(path, write=True)
    with made.connect() as conn:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = conn
        command.upgrade(config, "0001")
        for name, state, place, stored, filed in (
            ("a", "queued", "inbox", None, 0),
            ("b", "delivered", "done", b"b.png", 1),
            ("c", "failed", "failed", b"c-2.png", 1),
        ):
            job = {"id": name * 16, "state": state, "at": AT}
            conn.execute(text(JOB), job)
            conn.execute(
                text(SOURCE),
                {"id": name * 16, "path": f"{name}.png".encode(), "place": place, "stored": stored, "filed": filed},
            )
        conn.commit()
    made.dispose()


def test_a_ledger_of_the_first_version_keeps_its_jobs_and_what_they_mean(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    first_ledger(path)
    engine.prepare(path)
    with engine.view(path) as conn:
        jobs = {job.source.path: job for job in queries.listed(conn)}
        waiting = line.in_line(conn, routes=["portrait"], but=[], limit=9)
        known = queries.known_in_inbox(conn, "portrait")
    assert {path: job.state for path, job in jobs.items()} == {
        "a.png": State.QUEUED,
        "b.png": State.DELIVERED,
        "c.png": State.FAILED,
    }
    for job in jobs.values():
        assert (job.arrival, job.wishes, job.bundle, job.waiting_for) == (job.id, Wishes(), None, None)
        assert job.source.role is Role.FILE
    assert (jobs["c.png"].source.place, jobs["c.png"].source.told) == (Place.FAILED, "c-2.png")
    assert jobs["b.png"].source.told is None
    assert [one.id for one in waiting] == [jobs["a.png"].id]
    assert known.keys() == {"a.png"}


def test_preparing_it_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    first_ledger(path)
    engine.prepare(path)
    with engine.view(path) as conn:
        before = queries.listed(conn)
    engine.prepare(path)
    with engine.view(path) as conn:
        assert queries.listed(conn) == before
