"""The clusters' present figures (platform-api.md, section 2)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from renderdrop.platform.answers import Nonsense, data, number
from renderdrop.platform.client import Client

STATUS: Final = "/openapi/v1/workflow/cluster/all_active_clusters_status"


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """One active cluster. `ceiling` None: the platform cannot tell now how far it can scale (it says -1)."""

    name: str
    display_name: str
    nodes: int
    ceiling: int | None


async def active(client: Client, now: datetime) -> tuple[ClusterStatus, ...]:
    """Every active cluster. Raises what `answers.data` raises."""
    return read_clusters(data(await client.get(STATUS), now))


def read_clusters(found: Any) -> tuple[ClusterStatus, ...]:
    """The list of a status answer; rows without a name are passed over. Raises Nonsense when it is no list."""
    if not isinstance(found, list):
        raise Nonsense("the platform's cluster status is no list")
    rows = [row for row in found if isinstance(row, dict) and isinstance(row.get("name"), str) and row["name"]]
    return tuple(
        ClusterStatus(row["name"], str(row.get("display_name") or row["name"]), max(0, number), ceiling)
        for row in rows
        for number, ceiling in [(_whole(row.get("curr_nodes"), 0), _ceiling(row.get("max_nodes")))]
    )


_MOST: Final = 10_000
"""Instances beyond which more make no difference to a choice, which looks at each of them."""


def _whole(value: Any, otherwise: int) -> int:
    found = number(value)
    return otherwise if found is None else min(_MOST, int(found))


def _ceiling(value: Any) -> int | None:
    ceiling = _whole(value, -1)
    return None if ceiling < 0 else ceiling
