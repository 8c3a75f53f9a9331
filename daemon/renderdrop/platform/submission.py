"""One submission, whatever its kind: a body sent once, and what its end is called.

Owns the sorting of DESIGN 4: accepted (a task id comes back), Refused, Busy or Temporary (not accepted, nothing
to pay), Unknown (it may be running and paid for), PlatformDown. It must never submit a second time by itself:
whoever calls has committed the intent for exactly one request.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Protocol

from renderdrop.model.errors import Busy, Refused, Temporary, Unknown
from renderdrop.platform.answers import Answer, Nonsense, OwnError, Unsent
from renderdrop.platform.client import Client

PIECE: Final = 2**20
"""Bytes that leave at once: the client's patience is for each piece, so that a large body has the time it needs."""
LONGEST_ID: Final = 200
"""Characters of a task's id; a longer one is none."""

BeforeLast = Callable[[], Awaitable[None]]
"""Awaited when all but the last byte has left; what it raises leaves the request unfinished."""


class Body(Protocol):
    """A body to be sent once. `complete` tells whether the last byte was handed over."""

    complete: bool

    @property
    def headers(self) -> dict[str, str]: ...
    def body(self) -> AsyncIterator[bytes]: ...


class JsonBody:
    """A JSON value as such a body. Its last byte is the commit point, as a closing boundary is `Multipart`'s: JSON
    whose last brace never came is no request. Raises Refused for a number that JSON cannot carry."""

    def __init__(self, value: Any, before_last: BeforeLast) -> None:
        try:
            self._bytes = json.dumps(value, ensure_ascii=True, allow_nan=False).encode()
        except ValueError:
            raise Refused("nothing was sent: a parameter is a number that JSON cannot carry (not finite)") from None
        self._before_last = before_last
        self.complete = False

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self._bytes)

    @property
    def headers(self) -> dict[str, str]:
        """Content-Type and Content-Length."""
        return {"Content-Type": "application/json", "Content-Length": str(self.size)}

    async def body(self) -> AsyncIterator[bytes]:
        """The bytes, in order, in pieces of PIECE at most; to be iterated once."""
        for at in range(0, self.size - 1, PIECE):
            yield self._bytes[at : min(at + PIECE, self.size - 1)]
        await self._before_last()
        self.complete = True
        yield self._bytes[-1:]


async def submit_once(client: Client, path: str, body: Body, read: Callable[[Answer], str]) -> str:
    """Send `body` once; returns the task's id that `read` finds in the answer. Raises Refused, Busy, Temporary,
    Unknown, PlatformDown, or what the body's stream raised (then the request never left whole)."""
    whole = True
    try:
        answer = await client.post(path, body.body(), body.headers)
        whole = answer.whole
        return read(answer)
    except (Busy, OwnError, Unsent):
        raise
    except Temporary as fault:
        # No answer, or one that is not the platform's own: only its own word settles the matter.
        if body.complete and whole:
            raise Unknown(fault.sentence) from fault
        raise


def task_id(found: Any) -> str:
    """The id of the accepted task. Raises Nonsense when there is none."""
    value = found.get("task_id") if isinstance(found, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, str)) or not str(value).strip():
        raise Nonsense("the platform accepted the task but named no task id")
    found_id = str(value).strip()  # a line's end behind it is no reason to pay twice
    if len(found_id) > LONGEST_ID or not found_id.isprintable():
        raise Nonsense("the platform accepted the task but named an id that cannot be one")
    return found_id
