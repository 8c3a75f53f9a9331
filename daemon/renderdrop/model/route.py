"""A route: one inbox → workflow → outbox, as the rest of the program sees it.

Owns: the plain value that `settings` builds after every check passed. It must never touch its
folders (`share` does) nor hold the token.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from renderdrop.model.media import Accepts

Scalar = str | int | float | bool
After = Literal["move", "keep", "delete"]
OnUnknown = Literal["resubmit", "hold"]


@dataclass(frozen=True, slots=True)
class Route:
    """One configured route. Paths are absolute; durations are seconds; sizes are bytes."""

    name: str
    kind: str
    inbox: Path
    outbox: Path
    done: Path
    failed: Path
    workflow_id: str
    version_id: str | None
    clusters: tuple[str, ...]
    input_name: str
    accepts: Accepts
    params: Mapping[str, Scalar]
    after: After
    priority: int
    attempts: int
    silence: float
    on_unknown_submit: OnUnknown
    output_name: str
    max_output: int
