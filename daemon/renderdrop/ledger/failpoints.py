"""The commits that matter, by name, and the end of the process at one of them.

Why this is in the product: the promise is that the daemon may die anywhere and nothing is lost or paid for twice.
What counts then is the moment right before and right after each commit, and no test can hit those from outside. So
every write bears a name, the crash table in ARCHITECTURE.md has a row for each, and the proofs die at each of them:
in the real program, at the real commit, by a signal that nothing can catch.

It is armed by the environment alone (`RENDERDROP_FAILPOINT`), read once, when the ledger is opened; unarmed, a
transaction costs one comparison. It must never change what is written, and nothing else may hang upon it.
"""

import os
import re
import signal
from collections.abc import Iterable, Mapping
from typing import Final, Literal, NoReturn, get_args

from renderdrop.model.errors import BrokenSettings, Problem

VARIABLE: Final = "RENDERDROP_FAILPOINT"

Point = Literal[
    # the daemon itself
    "start", "recovered", "share_seen", "trouble", "trouble_over",
    # share → job
    "adopted", "disbanded",
    # an ended job that is to run again
    "renamed", "brought_back", "given_up", "unsaid", "chain_unsaid",
    # job → task
    "claimed", "waits_for_same", "shared", "resumed", "dropped", "not_takeable", "submitting", "uploaded", "to_publish",
    "complete", "accepted", "not_accepted", "upload_forgotten", "changed", "unpublished", "clusters_seen",
    "left_behind", "taken_back",
    # task → result
    "progress", "lags", "rendered", "task_failed", "uploads_again", "silent", "spare_lost",
    # result → outbox
    "fetched", "names", "names_taken", "no_place", "delivered", "undeliverable",
    # after the end
    "archive_waits", "where_to", "part_name", "chain_name", "filed",
]  # fmt: skip

POINTS: Final[tuple[Point, ...]] = get_args(Point)


class Failpoint:
    """Where this process ends: right before the commit of the `nth` deed of this name, or right after it."""

    def __init__(self, point: Point, *, after: bool, nth: int = 1) -> None:
        self.point = point
        self.after = after
        self._left = nth

    def falls(self, points: Iterable[Point | None]) -> bool:
        """Whether the transaction of these deeds is the one. To be asked once for each transaction."""
        before, self._left = self._left, self._left - sum(point == self.point for point in points)
        return before > 0 >= self._left


def armed(environ: Mapping[str, str]) -> Failpoint | None:
    """What the environment asks for. Raises BrokenSettings for an unknown name or form."""
    text = environ.get(VARIABLE, "")
    if not text:
        return None
    form = re.fullmatch(r"(?P<point>\w+):(?P<moment>before|after)(:(?P<nth>[1-9][0-9]{0,8}))?", text, re.ASCII)
    point = next((point for point in POINTS if form is not None and point == form["point"]), None)
    if form is None or point is None:
        raise BrokenSettings([
            Problem(
                VARIABLE,
                "names a commit at which the daemon is to be killed, for tests: NAME:before or NAME:after, and :N for "
                f"the n-th time. Unset it to run renderdrop in earnest. The names are {', '.join(POINTS)}",
            )
        ])  # fmt: skip
    return Failpoint(point, after=form["moment"] == "after", nth=int(form["nth"] or 1))


def die() -> NoReturn:
    """End this process as a power cut would: at once, and nothing of it runs any more."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit  # never reached
