"""The first ledger."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from renderdrop.ledger.schema import PathBytes

revision = "0001"
down_revision = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    at = sa.String(24)
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("workflow_id", sa.Text, nullable=False),
        sa.Column("version_id", sa.Text),
        sa.Column("params", sa.JSON, nullable=False),
        sa.Column("cluster", sa.Text),
        sa.Column("task_id", sa.Text),
        sa.Column("paid", sa.Boolean, nullable=False),
        sa.Column("status", sa.Text),
        sa.Column("progress", sa.Float),
        sa.Column("node", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("base", PathBytes),
        sa.Column("created", at, nullable=False),
        sa.Column("updated", at, nullable=False),
        sa.Column("seen_at", at),
        sa.Column("queued_at", at),
        sa.Column("submitted_at", at),
        sa.Column("started_at", at),
        sa.Column("finished_at", at),
        sa.Column("delivered_at", at),
    )
    op.create_index("jobs_by_state", "jobs", ["state", "priority", "queued_at"])
    op.create_table(
        "sources",
        sa.Column("id", sa.Integer, primary_key=True),
        _of_job(),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("input", sa.Text, nullable=False),
        sa.Column("path", PathBytes, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("mtime_ns", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64)),
        sa.Column("place", sa.String(8), nullable=False),
        sa.Column("stored", PathBytes),
        sa.Column("filed", sa.Boolean, nullable=False),
    )
    op.create_index("sources_by_path", "sources", ["route", "path"])
    op.create_index("sources_by_place", "sources", ["route", "place"])
    op.create_index("sources_to_file", "sources", ["filed", "job_id"])
    op.create_table(
        "submissions",
        sa.Column("id", sa.Integer, primary_key=True),
        _of_job(),
        sa.Column("at", at, nullable=False),
        sa.Column("cluster", sa.Text, nullable=False),
        sa.Column("complete", sa.Boolean, nullable=False),
        sa.Column("answered_at", at),
        sa.Column("outcome", sa.String(8)),
        sa.Column("task_id", sa.Text),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_table(
        "outputs",
        sa.Column("id", sa.Integer, primary_key=True),
        _of_job(),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("node_id", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("file", PathBytes),
        sa.Column("size", sa.BigInteger),
        sa.Column("sha256", sa.String(64)),
        sa.Column("media_type", sa.Text),
        sa.Column("fetched", sa.Boolean, nullable=False),
    )
    op.create_table(
        "remarks",
        sa.Column("id", sa.Integer, primary_key=True),
        _of_job(),
        sa.Column("level", sa.String(8), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("node_id", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
    )
    op.create_table(
        "history",
        sa.Column("id", sa.Integer, primary_key=True),
        _of_job(),
        sa.Column("at", at, nullable=False),
        sa.Column("from_state", sa.String(16)),
        sa.Column("to_state", sa.String(16), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
    )
    for name in ("sources", "submissions", "outputs", "remarks", "history"):
        op.create_index(f"ix_{name}_job_id", name, ["job_id"])
    op.create_table(
        "shares",
        sa.Column("inbox", PathBytes, primary_key=True),
        sa.Column("seen_at", at, nullable=False),
    )
    op.create_table(
        "troubles",
        sa.Column("reach", sa.String(8), primary_key=True),
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("sentence", sa.Text, nullable=False),
        sa.Column("since", at, nullable=False),
    )


def _of_job() -> sa.Column[str]:
    return sa.Column("job_id", sa.String(16), sa.ForeignKey("jobs.id"), nullable=False)
