"""The kinds of routes, as far as their tasks are asked after: one table."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from renderdrop.platform import apps, graphs, models
from renderdrop.platform.client import Client
from renderdrop.platform.reports import Report

Ask = Callable[[Client, str, datetime], Awaitable[Report]]
"""One poll of one task. Raises Busy, Temporary, Refused or PlatformDown."""

ASK: Final[Mapping[str, Ask]] = MappingProxyType({"app": apps.ask, "graph": graphs.ask, "model": models.ask})
"""Kind of route → how its task is asked after."""
