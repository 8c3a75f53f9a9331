"""The clusters as a choice saw them last: for the command line, which may not be able to ask, and for the next start.

Owns the table's meaning: it is one status, all of it of the same moment. A cluster that is not in it was not active
then. Plain functions of a connection.
"""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select

from renderdrop.ledger.schema import clusters


class Figures(NamedTuple):
    """Of one cluster. `ceiling`: how far it could scale, as far as it was ever told; None: never."""

    nodes: int
    ceiling: int | None


class Status(NamedTuple):
    """The active clusters by name; `at`: when they were seen, UTC, ISO 8601."""

    clusters: Mapping[str, Figures]
    at: str


def see(conn: Connection, status: Status) -> None:
    """Write what was seen, in the place of what was seen before."""
    conn.execute(delete(clusters))
    rows = [
        {"name": name, "nodes": of.nodes, "ceiling": of.ceiling, "seen_at": status.at}
        for name, of in status.clusters.items()
    ]
    if rows:
        conn.execute(insert(clusters), rows)


def last_seen(conn: Connection) -> Status | None:
    """What was seen last; None where nothing was, or no cluster was active."""
    rows = conn.execute(select(clusters).order_by(clusters.c.name)).all()
    return Status({r.name: Figures(r.nodes, r.ceiling) for r in rows}, rows[0].seen_at) if rows else None
