"""The clusters as they were seen last, and what a workflow's runs teach however much of others ran since."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from renderdrop.ledger.schema import Words

revision = "0006"
down_revision = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    ended = sa.text("finished_at IS NOT NULL")
    op.create_index("jobs_by_workflow", "jobs", ["workflow_id", "finished_at"], sqlite_where=ended)
    op.create_table(
        "clusters",
        sa.Column("name", Words, primary_key=True),
        sa.Column("nodes", sa.Integer, nullable=False),
        sa.Column("ceiling", sa.Integer),
        sa.Column("seen_at", sa.String(24), nullable=False),
    )
