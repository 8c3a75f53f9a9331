"""An HTTP answer, judged: the envelope opened, or the fault that it amounts to. Pure, except that it reads JSON.

Owns the sorting of DESIGN 4 for everything that has a status line. What has none (timeouts, resets) is
sorted by `client` and `apps`, which know how much had been sent.
"""

import email.utils
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from renderdrop.model.errors import Busy, Fault, PlatformDown, Refused, Temporary
from renderdrop.model.names import shown

_MESSAGE_LENGTH = 500
MOST_PARTS: Final = 200_000
"""Brackets and commas in one answer: 4 MiB of nothing else would take a hundred times the memory that they should. An
answer with the most results that are taken from one (`reports.MOST_OUTPUTS`) has a quarter."""
_ENVELOPE: Final = frozenset({"code", "msg", "data"})
TEXTS: Final = ("message", "msg", "error", "detail", "reason")
"""Keys under which a bare answer says what is wrong, the likeliest first."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: status, headers (lower-case names) and the capped body."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool = True
    """Whether all of the request was handed to the wire; an answer that came early may have ended it."""


class Nonsense(Temporary):
    """An answer that is not the platform's: HTML, cut JSON, a redirect, an envelope without its parts."""


class Unsent(Temporary):
    """The platform hung up before the last piece of a request was handed to the wire: nothing was accepted."""


class OwnError(Temporary):
    """The platform itself says that something went wrong on its side (5xx with its envelope): nothing was accepted."""


def payload(answer: Answer) -> Any:
    """The JSON value of an answer. Raises Nonsense when it is none."""
    try:
        return _parsed(answer.body)
    except (ValueError, RecursionError):
        kind = answer.headers.get("content-type", "no type").split(";")[0]
        raise Nonsense(
            f"the platform's answer cannot be read (HTTP {answer.status}, {shown(kind)[:60]}, {len(answer.body)} bytes)"
        ) from None


def data(answer: Answer, now: datetime) -> Any:
    """`data` of a successful envelope. Raises PlatformDown, Busy, Temporary, Nonsense or Refused (DESIGN 4)."""
    if fault := by_status(answer, now):
        raise fault
    envelope = payload(answer)
    if not isinstance(envelope, dict) or "code" not in envelope:
        raise Nonsense(f"the platform's answer has no envelope (HTTP {answer.status})")
    if _is_zero(envelope["code"]):
        if answer.status >= 400:
            raise Nonsense(f"the platform answered HTTP {answer.status} with a success inside")
        return envelope.get("data")
    fault = refusal(answer, envelope)
    raise OwnError(f"the platform reports an error of its own: {fault.message}") if answer.status >= 500 else fault


def opened(answer: Answer, now: datetime) -> Any:
    """The same where an envelope may be missing (platform-api.md, section 4): `data` of an envelope that holds
    nothing else, else the whole object or list. A bare one is judged by its HTTP status; of a bare refusal (4xx)
    the text is shown. A bare 5xx stays Nonsense: gateways write JSON too."""
    fault = by_status(answer, now)
    if isinstance(fault, Refused) and (text := _bare_text(answer)):
        raise Refused(text, fault.code, fault.http_status)
    if fault:
        raise fault
    found = payload(answer)
    if isinstance(found, dict) and "code" in found:
        inner = data(answer, now)
        rest = {name: value for name, value in found.items() if name not in _ENVELOPE}
        return rest | {"data": inner} if rest else inner
    if not isinstance(found, (dict, list)):
        raise Nonsense(f"the platform's answer is neither an object nor a list (HTTP {answer.status})")
    return found


def told(found: Any, depth: int = 3) -> str:
    """The text of an error as the world's servers write it: a string, an object with `message` and the like, or a
    list of them; "" for none."""
    if isinstance(found, str):
        return found.strip()[:_MESSAGE_LENGTH]
    if depth and isinstance(found, dict):
        return next((text for key in TEXTS if (text := told(found.get(key), depth - 1))), "")
    if depth and isinstance(found, list):
        return "; ".join(text for row in found[:5] if (text := told(row, depth - 1)))[:_MESSAGE_LENGTH]
    return ""


def by_status(answer: Answer, now: datetime) -> Fault | None:
    """The fault that the status line alone amounts to; None where the body has the word."""
    if answer.status in (401, 403):
        return PlatformDown(f"the platform refuses the token (HTTP {answer.status}{_said(answer)})")
    if 300 <= answer.status < 400 and answer.status != 303:
        return PlatformDown(
            f"the platform answers with a redirect (HTTP {answer.status} to "
            f"{shown(answer.headers.get('location', 'nowhere'))[:80]}): is platform.base_url right?"
        )
    wait = retry_after(answer.headers.get("retry-after"), now)
    if is_busy(answer.status, answer.headers):
        return Busy(f"the platform is busy (HTTP {answer.status}{_said(answer)})", wait)
    if answer.status == 408:
        return Temporary("the platform gave up waiting for the request (HTTP 408)", wait)
    if answer.status >= 400 and _message(answer) is None:
        if answer.status >= 500:
            return Nonsense(f"the platform or a gateway before it failed (HTTP {answer.status})", wait)
        return Refused(f"the platform answered HTTP {answer.status}", str(answer.status), answer.status)
    return None


def is_busy(status: int, headers: Mapping[str, str]) -> bool:
    """Whether somebody asks to come back later. A Retry-After that cannot be read says so too."""
    return status == 429 or (status == 503 and "retry-after" in headers)


def refusal(answer: Answer, envelope: Mapping[str, Any]) -> Refused:
    """The platform's own no, its message unchanged."""
    message = envelope.get("msg")
    text = message if isinstance(message, str) and message.strip() else f"code {envelope.get('code')}, no message"
    return Refused(text[:_MESSAGE_LENGTH], str(envelope.get("code")), answer.status)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait, from a Retry-After header: a number or an HTTP date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.isascii() and value.strip().isdigit():
        return float(value.strip()[:9])
    try:
        moment = email.utils.parsedate_to_datetime(value)
        return max(0.0, (moment - now).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None


def number(value: Any) -> float | None:
    """A finite number out of JSON, written as one or as a text; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _parsed(body: bytes) -> Any:
    """JSON, if it is not made of more parts than memory should be spent on. Raises ValueError, RecursionError."""
    if sum(map(body.count, (b"[", b"{", b","))) > MOST_PARTS:
        raise ValueError("more parts than any answer has")
    return json.loads(body)


def _is_zero(code: object) -> bool:
    return code in (0, "0") and not isinstance(code, bool)


def _message(answer: Answer) -> str | None:
    """The message of an envelope that says no, if the body is one."""
    try:
        envelope = _parsed(answer.body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(envelope, dict) or "code" not in envelope:
        return None
    return refusal(answer, envelope).message


def _bare_text(answer: Answer) -> str:
    try:
        found = _parsed(answer.body)
        return told(found) if isinstance(found, dict) else ""
    except (ValueError, RecursionError):
        return ""


def _said(answer: Answer) -> str:
    message = _message(answer)
    return f": {shown(message)}" if message else ""
