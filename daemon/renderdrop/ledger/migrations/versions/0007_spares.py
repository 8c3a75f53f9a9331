"""Tasks that lag, and those that a job has left behind for a second one."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from renderdrop.ledger.schema import Words

revision = "0007"
down_revision = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("lags_since", sa.String(24)))
    op.add_column("jobs", sa.Column("rescued", sa.Boolean, nullable=False, server_default=sa.text("0")))
    lags = sa.text("state = 'submitted' AND lags_since IS NOT NULL")
    op.create_index("jobs_lagging", "jobs", ["route", "submitted_at"], sqlite_where=lags)
    op.add_column("submissions", sa.Column("left_at", sa.String(24)))
    op.create_table(
        "spares",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("job_id", sa.String(16), sa.ForeignKey("jobs.id"), nullable=False, unique=True),
        sa.Column("submission", sa.Integer, sa.ForeignKey("submissions.id"), nullable=False),
        sa.Column("task_id", Words, nullable=False),
        sa.Column("cluster", Words, nullable=False),
        sa.Column("at", sa.String(24), nullable=False),
        sa.Column("started_at", sa.String(24)),
        sa.Column("kept", sa.JSON, nullable=False),
    )
