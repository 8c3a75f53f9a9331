"""What of an inbox is on its way to done/ or failed/, or back, is found without going through all that waits there."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    on_the_way = sa.text("filed IS 0 AND (stored IS NOT NULL OR told IS NOT NULL)")
    op.create_index("sources_on_the_way", "sources", ["route"], sqlite_where=on_the_way)
