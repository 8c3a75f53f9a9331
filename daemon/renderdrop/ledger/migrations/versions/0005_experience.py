"""The tasks that ended last are found by index: run times are learned from them every few seconds."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_index("jobs_by_finish", "jobs", ["finished_at"], sqlite_where=sa.text("finished_at IS NOT NULL"))
