"""Does the harm that a fault asks for, on a real connection.

Owns: resets, silence, and the wrong answers. Must never decide whether a fault fires (`faults.py`).
"""

import asyncio
import contextlib
import json
import socket
import struct
from typing import Any, Final

from aiohttp import web

from renderdrop.sandbox.faults import Rule

_LOGIN_PAGE: Final = (
    "<!DOCTYPE html><html><head><title>统一登录</title></head><body><form action='/login'>请先登录</form></body></html>"
)
_GATEWAY_PAGE: Final = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center></body></html>"


def envelope(data: Any, code: int = 0, msg: str = "success", status: int = 200) -> web.Response:
    """The platform's usual envelope."""
    return web.json_response(
        {"code": code, "msg": msg, "data": data},
        status=status,
        dumps=lambda value: json.dumps(value, ensure_ascii=False),
    )


def unauthorized() -> web.Response:
    """What a request with a wrong token gets."""
    answer = envelope(None, 40100, "令牌无效或已过期 (the token is not valid)", 401)
    answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def reset(request: web.Request) -> web.Response:
    """Break the connection so that the peer sees a reset and no orderly end; the answer goes nowhere."""
    transport = request.transport
    if transport is not None:
        raw = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):  # gone already
            # Lingering for zero seconds makes close() send RST (socket(7), SO_LINGER).
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


async def drain(request: web.Request) -> None:
    """Read the body to its end and forget it."""
    with contextlib.suppress(ConnectionError, web.RequestPayloadError):
        async for _ in request.content.iter_any():
            pass


async def silence(request: web.Request, stopping: asyncio.Event) -> web.Response:
    """Say nothing until the client gives up or the sandbox stops."""
    while request.transport is not None and not request.transport.is_closing() and not stopping.is_set():
        await pause(0.05, stopping)
    return reset(request)


async def pause(seconds: float, stopping: asyncio.Event) -> None:
    """Wait, but no longer than the sandbox lives."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)


def answered(rule: Rule) -> web.Response:
    """The wrong answer of a rule that needs no right one: status, html, refuse, unauthorized."""
    if rule.do == "unauthorized":
        return unauthorized()
    if rule.do == "html":
        return web.Response(text=_LOGIN_PAGE, content_type="text/html")
    if rule.do == "refuse":
        return envelope(None, rule.code, rule.msg)
    if rule.envelope:
        answer = envelope(None, rule.code, rule.msg, rule.status)
    else:
        answer = web.Response(text=_GATEWAY_PAGE.format(rule.status), status=rule.status, content_type="text/html")
    if rule.retry_after is not None:
        answer.headers["Retry-After"] = str(rule.retry_after)
    answer.headers.update(rule.headers)
    return answer


def spoilt(rule: Rule, answer: web.StreamResponse) -> web.StreamResponse:
    """A right answer made wrong: garbage, null_progress."""
    if not isinstance(answer, web.Response) or answer.text is None:
        return answer
    if rule.do == "garbage":
        answer.text = answer.text[: len(answer.text) // 2]
    elif rule.do == "null_progress":
        told = json.loads(answer.text)
        if told["data"] is not None:
            told["data"]["progress"] = None
        answer.text = json.dumps(told, ensure_ascii=False)
    return answer
