"""The tables. Owns their shape; `migrations` brings a file to it, a test holds the two in step.

Times are ISO 8601 text (UTC, milliseconds): they sort as text and a person can read them with any
SQLite tool. Paths are bytes, because names on a share need not be UTF-8.
"""

import os
from typing import Any, Final

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    literal_column,
    text,
)
from sqlalchemy.types import BigInteger


class PathBytes(TypeDecorator[str]):
    """A path: `str` with surrogateescape here, its very bytes in the ledger."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        return None if value is None else os.fsencode(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> str | None:
        return None if value is None else os.fsdecode(value)


class Words(TypeDecorator[str]):
    """A text that somebody else may have chosen: what no encoder takes (half of a surrogate pair out of the platform's
    JSON, a byte of a name that is no UTF-8) is written as \\udcXX, so that no row is ever refused for it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else value.encode("utf-8", "backslashreplace").decode()


metadata: Final = MetaData()


def _of_job() -> Column[str]:
    return Column("job_id", String(16), ForeignKey("jobs.id"), nullable=False, index=True)


jobs = Table(
    "jobs",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("route", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("workflow_id", Text, nullable=False),
    Column("version_id", Text),
    Column("params", JSON, nullable=False),
    Column("cluster", Words),
    Column("task_id", Words),
    Column("paid", Boolean, nullable=False, default=False),
    Column("status", Words),
    Column("progress", Float),
    Column("node", Words),
    Column("error", Words),
    Column("base", PathBytes),
    Column("created", String(24), nullable=False),
    Column("updated", String(24), nullable=False),
    Column("seen_at", String(24)),
    Column("queued_at", String(24)),
    Column("submitted_at", String(24)),
    Column("started_at", String(24)),
    Column("finished_at", String(24)),
    Column("delivered_at", String(24)),
    Column("arrival", String(16), nullable=False, server_default=text("''")),
    Column("wishes", JSON, nullable=False, server_default=text("'{}'")),
    Column("sent", JSON, nullable=False, server_default=text("'{}'")),
    Column("bundle", PathBytes),
    Column("waiting_for", Text),
    Column("derived_from", PathBytes),
    Column("duplicate_of", String(16)),
    Column("fingerprint", String(64)),
    Column("lags_since", String(24)),
    Column("rescued", Boolean, nullable=False, default=False, server_default=text("0")),
    Index("jobs_by_state", "state", "priority", "queued_at"),
    Index("jobs_by_arrival", "arrival"),
    Index("jobs_by_bundle", "route", "bundle"),
    Index("jobs_by_fingerprint", "fingerprint"),
)

WAITS: Final = text("state = 'queued' AND waiting_for IS NULL")
"""Of a job: it waits for its turn. SQLite uses the indexes of a part of the jobs only where that part is asked for in
these very words."""
PAID_FOR: Final = text("coalesce(state, '') = 'queued' AND paid")
"""Of a job: its task is paid for already, so that it needs no turn."""
PIN: Final = literal_column(
    "coalesce(nullif(json_extract(wishes, '$.workflow_id', '$.clusters'), '[null,null]'), '')", String
)
"""Of a job: its own workflow and clusters as JSON, '' = neither. Indexes have it in these very words."""
IN_FLIGHT: Final = text("state IN ('submitting', 'submitted')")
"""Of a job: it is, or may be about to be, with the platform."""
LAGS: Final = text("state = 'submitted' AND lags_since IS NOT NULL")
"""Of a job: its task has been pending far longer than others elsewhere."""

ENDED_TASKS: Final = text("finished_at IS NOT NULL")
"""Of a job: the platform has ended its task."""

Index("jobs_in_line", jobs.c.route, PIN, jobs.c.priority.desc(), jobs.c.queued_at, jobs.c.id, sqlite_where=WAITS)
"""The order in which a route's jobs of one pin go: whoever asks for the next few must not sort a night's batch for it,
nor go through those that are pinned to a full cluster."""
Index("jobs_by_age", jobs.c.route, PIN, jobs.c.queued_at, jobs.c.id, sqlite_where=WAITS)
Index("jobs_paid_for", jobs.c.queued_at, sqlite_where=PAID_FOR)
Index("jobs_in_flight", jobs.c.route, sqlite_where=IN_FLIGHT)
Index("jobs_lagging", jobs.c.route, jobs.c.submitted_at, sqlite_where=LAGS)
Index("jobs_by_finish", jobs.c.finished_at, sqlite_where=ENDED_TASKS)
"""What ended last is found by it, however long the ledger: run times are learned from that."""
Index("jobs_by_workflow", jobs.c.workflow_id, jobs.c.finished_at, sqlite_where=ENDED_TASKS)
"""The same of one workflow, however much of others ran since."""

sources = Table(
    "sources",
    metadata,
    Column("id", Integer, primary_key=True),
    _of_job(),
    Column("route", Text, nullable=False),
    Column("input", Text, nullable=False),
    Column("path", PathBytes, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("sha256", String(64)),
    Column("place", String(8), nullable=False),
    Column("stored", PathBytes),
    Column("filed", Boolean, nullable=False, default=False),
    Column("role", String(8), nullable=False, server_default="file"),
    Column("told", PathBytes),
    Index("sources_by_path", "route", "path"),
    Index("sources_by_place", "route", "place"),
    Index("sources_to_file", "filed", "job_id"),
)

Index(
    "sources_on_the_way", sources.c.route,
    sqlite_where=sources.c.filed.is_(False) & (sources.c.stored.is_not(None) | sources.c.told.is_not(None)),
)  # fmt: skip
"""Sources that have, or are to have, a place in done/ or failed/ while their job is not through with them: few at any
time, and asked for once a second and once a job, so that nobody must go through a night's batch for them."""

submissions = Table(
    "submissions",
    metadata,
    Column("id", Integer, primary_key=True),
    _of_job(),
    Column("at", String(24), nullable=False),
    Column("cluster", Words, nullable=False),
    Column("complete", Boolean, nullable=False, default=False),
    Column("answered_at", String(24)),
    Column("outcome", String(8)),
    Column("task_id", Words),
    Column("detail", Words, nullable=False, default=""),
    Column("left_at", String(24)),
)

spares = Table(
    "spares",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", String(16), ForeignKey("jobs.id"), nullable=False, unique=True),
    Column("submission", Integer, ForeignKey("submissions.id"), nullable=False),
    Column("task_id", Words, nullable=False),
    Column("cluster", Words, nullable=False),
    Column("at", String(24), nullable=False),
    Column("started_at", String(24)),
    Column("kept", JSON, nullable=False),
)
"""Tasks that jobs have left behind for a second one and that are still followed, one a job at most. `kept`: what the
job's own columns said of it. See `ledger/spares`."""

outputs = Table(
    "outputs",
    metadata,
    Column("id", Integer, primary_key=True),
    _of_job(),
    Column("position", Integer, nullable=False),
    Column("node_id", Words, nullable=False),
    Column("title", Words, nullable=False),
    Column("url", Words, nullable=False),
    Column("file", PathBytes),
    Column("size", BigInteger),
    Column("sha256", String(64)),
    Column("media_type", Words),
    Column("fetched", Boolean, nullable=False, default=False),
    Index("outputs_by_file", "file"),
)

remarks = Table(
    "remarks",
    metadata,
    Column("id", Integer, primary_key=True),
    _of_job(),
    Column("level", String(8), nullable=False),
    Column("message", Words, nullable=False),
    Column("node_id", Words, nullable=False),
    Column("title", Words, nullable=False),
)

history = Table(
    "history",
    metadata,
    Column("id", Integer, primary_key=True),
    _of_job(),
    Column("at", String(24), nullable=False),
    Column("from_state", String(16)),
    Column("to_state", String(16), nullable=False),
    Column("note", Words, nullable=False),
)

uploads = Table(
    "uploads",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("size", BigInteger, nullable=False, index=True),
    Column("filename", Words, nullable=False),
    Column("at", String(24), nullable=False),
)
"""Files that the platform keeps under a name (native graphs): they need not be uploaded again."""

published = Table(
    "published",
    metadata,
    Column("id", Integer, primary_key=True),
    _of_job(),
    Column("route", Text, nullable=False),
    Column("key", Text, nullable=False),
)
"""Objects on a store that were published for a job and are to be removed after it. Written before the object is."""

shares = Table(
    "shares",
    metadata,
    Column("inbox", PathBytes, primary_key=True),
    Column("seen_at", String(24), nullable=False),
)
"""Folders whose marker was once there, each route's four (the column is older than the markers of the other three):
from then on a missing marker means offline, not new."""

troubles = Table(
    "troubles",
    metadata,
    Column("reach", String(8), primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("sentence", Words, nullable=False),
    Column("since", String(24), nullable=False),
)
"""What makes work wait now (a paused route, a share or the platform offline), for the command line to show."""

pauses = Table(
    "pauses",
    metadata,
    Column("route", Text, primary_key=True),
    Column("since", String(24), nullable=False),
    Column("reason", Words, nullable=False),
)
"""Routes that a person has paused, until a person resumes them. Not the daemon's own pauses: those are troubles."""

days = Table(
    "days",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("day", String(10), nullable=False, unique=True),
    Column("after", Integer, nullable=False),
)
"""The local days on which something was submitted, in the order in which the clock showed them: a day's tasks are
the submissions behind the one numbered `after`. See `ledger/quota`."""

clusters = Table(
    "clusters",
    metadata,
    Column("name", Words, primary_key=True),
    Column("nodes", Integer, nullable=False),
    Column("ceiling", Integer),
    Column("seen_at", String(24), nullable=False),
)
"""The clusters that were active when a choice last asked for them. See `ledger/seen`."""
