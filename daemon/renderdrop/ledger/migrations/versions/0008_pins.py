"""Jobs that are pinned to clusters or a workflow of their own stand in lines of their own."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    waits = sa.text("state = 'queued' AND waiting_for IS NULL")
    pin = sa.text("coalesce(nullif(json_extract(wishes, '$.workflow_id', '$.clusters'), '[null,null]'), '')")
    op.drop_index("jobs_in_line", "jobs")
    op.create_index(
        "jobs_in_line", "jobs", ["route", pin, sa.text("priority DESC"), "queued_at", "id"], sqlite_where=waits
    )  # fmt: skip
    op.drop_index("jobs_by_age", "jobs")
    op.create_index("jobs_by_age", "jobs", ["route", pin, "queued_at", "id"], sqlite_where=waits)
