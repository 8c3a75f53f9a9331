"""Bundles, tickets, graphs, models, chains, duplicates."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from renderdrop.ledger.schema import PathBytes

revision = "0002"
down_revision = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # SQLite adds no column that must not be empty without a default; the old jobs get what they have always meant.
    empty = sa.text("'{}'")
    op.add_column("jobs", sa.Column("arrival", sa.String(16), nullable=False, server_default=sa.text("''")))
    op.execute("UPDATE jobs SET arrival = id")
    op.add_column("jobs", sa.Column("wishes", sa.JSON, nullable=False, server_default=empty))
    op.add_column("jobs", sa.Column("sent", sa.JSON, nullable=False, server_default=empty))
    op.add_column("jobs", sa.Column("bundle", PathBytes))
    op.add_column("jobs", sa.Column("waiting_for", sa.Text))
    op.add_column("jobs", sa.Column("derived_from", PathBytes))
    op.add_column("jobs", sa.Column("duplicate_of", sa.String(16)))
    op.add_column("jobs", sa.Column("fingerprint", sa.String(64)))
    op.create_index("jobs_in_turn", "jobs", ["state", sa.text("priority DESC"), "queued_at", "id"])
    op.create_index("jobs_by_arrival", "jobs", ["arrival"])
    op.create_index("jobs_by_bundle", "jobs", ["route", "bundle"])
    op.create_index("jobs_by_fingerprint", "jobs", ["fingerprint"])
    op.create_index("outputs_by_file", "outputs", ["file"])
    op.add_column("sources", sa.Column("role", sa.String(8), nullable=False, server_default="file"))
    op.add_column("sources", sa.Column("told", PathBytes))
    op.execute("UPDATE sources SET told = stored WHERE place = 'failed'")
    op.create_table(
        "uploads",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("at", sa.String(24), nullable=False),
    )
    op.create_index("ix_uploads_size", "uploads", ["size"])
    op.create_table(
        "published",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("job_id", sa.String(16), sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
    )
    op.create_index("ix_published_job_id", "published", ["job_id"])
