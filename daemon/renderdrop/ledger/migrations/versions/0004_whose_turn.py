"""Batches: whose turn it is without sorting what waits, routes paused by hand, the days whose tasks are counted."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from renderdrop.ledger.schema import Words

revision = "0004"
down_revision = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    waits = sa.text("state = 'queued' AND waiting_for IS NULL")
    op.drop_index("jobs_in_turn", "jobs")
    op.create_index(
        "jobs_in_line", "jobs", ["route", sa.text("priority DESC"), "queued_at", "id"], sqlite_where=waits
    )  # fmt: skip
    op.create_index("jobs_by_age", "jobs", ["route", "queued_at", "id"], sqlite_where=waits)
    paid_for = sa.text("coalesce(state, '') = 'queued' AND paid")
    op.create_index("jobs_paid_for", "jobs", ["queued_at"], sqlite_where=paid_for)
    op.create_index("jobs_in_flight", "jobs", ["route"], sqlite_where=sa.text("state IN ('submitting', 'submitted')"))
    op.create_table(
        "pauses",
        sa.Column("route", sa.Text, primary_key=True),
        sa.Column("since", sa.String(24), nullable=False),
        sa.Column("reason", Words, nullable=False),
    )
    op.create_table(
        "days",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("day", sa.String(10), nullable=False, unique=True),
        sa.Column("after", sa.Integer, nullable=False),
    )
