"""The states of a job and every move between them: the one table that the rest derives from.

Owns: which state may follow which. It must never know *why* a job moves (the stages
decide that) nor move one (`ledger.moves` does, guarded by the state it believes in).
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class State(StrEnum):
    """Where a job stands. The values are the words of the ledger, the command line and the logs."""

    QUEUED = "queued"
    """Sources settled and accepted."""
    SUBMITTING = "submitting"
    """The intent is on disk; the request may be on the wire."""
    SUBMITTED = "submitted"
    """The platform gave a task id."""
    RENDERED = "rendered"
    """The platform says success; the outputs are known and wait to be fetched."""
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"
    HELD = "held"
    """A person decides."""


S = State

MOVES: Final[Mapping[State, frozenset[State]]] = MappingProxyType(
    {
        # To rendered only where an earlier job has rendered the very same (`duplicates = "skip"`).
        S.QUEUED: frozenset({S.SUBMITTING, S.RENDERED, S.FAILED, S.CANCELLED, S.HELD}),
        S.SUBMITTING: frozenset({S.SUBMITTED, S.QUEUED, S.FAILED, S.HELD}),
        S.SUBMITTED: frozenset({S.RENDERED, S.QUEUED, S.FAILED, S.HELD}),
        S.RENDERED: frozenset({S.DELIVERED, S.FAILED, S.HELD}),
        S.DELIVERED: frozenset({S.QUEUED}),
        S.FAILED: frozenset({S.QUEUED}),
        S.CANCELLED: frozenset({S.QUEUED}),
        S.HELD: frozenset({S.QUEUED, S.SUBMITTED, S.CANCELLED}),
    }
)
"""From DESIGN 4. Out of the three ends only the operator's `retry` leads."""

ENDS: Final = frozenset({S.DELIVERED, S.FAILED, S.CANCELLED})
OPEN: Final = frozenset(State) - ENDS
IN_MOTION: Final = OPEN - {S.HELD}
"""States that the daemon itself carries on; a held job waits for a person."""


def may(frm: State, to: State) -> bool:
    """Whether a job in `frm` may be moved to `to`."""
    return to in MOVES[frm]


def way(frm: State, to: State) -> tuple[State, ...]:
    """The states to pass through, `to` included, when an operator's wish needs more than one move.

    Cancelling a job that is already with the platform goes by `held`: first it is taken out
    of the daemon's hands, then it ends. Raises ValueError when there is no way of at most two moves.
    """
    if may(frm, to):
        return (to,)
    if may(frm, S.HELD) and may(S.HELD, to):
        return (S.HELD, to)
    raise ValueError(f"a job that is {frm} cannot become {to}")
