"""Signs of life: how long work on a share tells whoever waits for it that the share still answers.

Owns one hook. A copy of many gigabytes and a look at 100,000 files take minutes on a share in best health, while a
single call that says nothing for half a minute is one that hangs: only the work itself can tell the two apart. It must
cost next to nothing, for it is called once a file and once a block.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

_heard_by: Final[ContextVar[Callable[[], None] | None]] = ContextVar("heard_by", default=None)


def sign_of_life() -> None:
    """The share has just answered once more. Without anybody who waits, nothing happens."""
    hear = _heard_by.get()
    if hear is not None:
        hear()


def heard_by(hear: Callable[[], None]) -> None:
    """From now on `hear` is called for each sign of this thread."""
    _heard_by.set(hear)
