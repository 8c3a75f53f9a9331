"""What the proxy of faults does to an exchange: one function a harm, all of them in one table.

Those of the first half never let the request reach the platform whole; those of the second half let the platform take
it and spoil, delay or swallow its answer. Each ends with the connection closed.
"""

import asyncio
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.rig.wire import Exchange

Harm = Callable[["Exchange"], Awaitable[None]]

_JSON: Final = ("Content-Type", "application/json")
_HTML: Final = ("Content-Type", "text/html; charset=utf-8")
_LOGIN: Final = "<!DOCTYPE html><title>统一登录</title><form action='/login'>请先登录</form>".encode()
_ODD_WAITS: Final = ("-5", "1e9", "soon", "", "3.5", "Sun, 99 Nov 2026 99:99:99 GMT", "Mon, 01 Jan 2001 00:00:00 GMT")


def reset(writer: asyncio.StreamWriter) -> None:
    """RST, and no orderly end (socket(7), SO_LINGER of zero seconds)."""
    raw = writer.get_extra_info("socket")
    if raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


# -- the request never reaches the platform whole ---------------------------------------------------------------------


async def _reset_early(x: "Exchange") -> None:
    x.reset()


async def _reset_in_body(x: "Exchange") -> None:
    await x.reader.readexactly(int(x.headers.get("content-length", 0)) // 2)
    x.reset()


async def _close_early(x: "Exchange") -> None:
    x.writer.close()


async def _busy(x: "Exchange", status: int, wait: Callable[["Exchange"], str]) -> None:
    await x.read_body()
    await x.send(status, b"<html>busy</html>", _HTML, ("Retry-After", wait(x)))


async def _busy_early(x: "Exchange") -> None:
    """The answer comes before the body was read, and the line is closed: a gateway that sheds load."""
    await x.send(429, b"", ("Retry-After", "1"), ("Connection", "close"))


async def _black_hole(x: "Exchange") -> None:
    while await x.reader.read(2**16):
        pass  # whatever is said: no answer


async def _redirect(x: "Exchange", status: int, where: str) -> None:
    await x.read_body()
    location = {"itself": x.path, "loop": "/loop/a", "elsewhere": x.wire.elsewhere + x.path}[where]
    await x.send(status, b"<html>moved</html>", ("Location", location), _HTML)


async def _gateway(x: "Exchange") -> None:
    await x.read_body()
    await x.send(502, b"<html>502 Bad Gateway</html>", _HTML)


# -- the platform takes it, the answer is spoilt ----------------------------------------------------------------------


def _after(harm: Harm) -> Harm:
    async def taken(x: "Exchange") -> None:
        await x.read_body()
        await x.forward()
        await harm(x)

    return taken


async def _lost_close(x: "Exchange") -> None:
    x.writer.close()


async def _lost_reset(x: "Exchange") -> None:
    x.reset()


async def _lost_half(x: "Exchange") -> None:
    x.writer.write(
        f"HTTP/1.1 200 OK\r\nContent-Length: {len(x.answer)}\r\n\r\n".encode() + x.answer[: len(x.answer) // 2]
    )
    await x.writer.drain()


async def _drip(x: "Exchange", what: str) -> None:
    head = f"HTTP/1.1 {x.status} OK\r\nContent-Length: {len(x.answer)}\r\n".encode()
    if what == "body":
        x.writer.write(head + b"\r\n")
        head, slow = b"", x.answer
    else:
        slow = b"".join(b"X-%d: x\r\n" % n for n in range(1000))
        x.writer.write(head)
    for n in range(len(slow)):
        x.writer.write(slow[n : n + 1])
        await x.writer.drain()
        await asyncio.sleep(1.0)


async def _html(x: "Exchange") -> None:
    await x.send(200, _LOGIN, _HTML)


async def _huge(x: "Exchange") -> None:
    rows = b",".join([b'{"id": "1", "title": "x", "output": null, "error_type": "info"}'] * 2**14)
    body = b'{"code": 0, "msg": "", "data": {"status": "running", "outputs": [' + b",".join([rows] * 10) + b"]}}"
    await x.send(200, body, _JSON)


async def _broken(x: "Exchange") -> None:
    await x.send(200, x.answer[: len(x.answer) // 2], _JSON)


async def _not_utf8(x: "Exchange") -> None:
    await x.send(200, x.answer.replace(b'"code"', b'"co\xff\xfede"'), _JSON)


async def _deep(x: "Exchange") -> None:
    await x.send(200, b'{"code": 0, "data": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", _JSON)


async def _bad_chunks(x: "Exchange") -> None:
    await x.send(200, b'5\r\n{"cod\r\nZZZ\r\n\x00\xff garbage', _JSON, ("Transfer-Encoding", "chunked"), length=False)


async def _two_lengths(x: "Exchange") -> None:
    await x.send(200, x.answer, ("Content-Length", str(len(x.answer) + 7)), *x.fields)


async def _no_http(x: "Exchange") -> None:
    x.writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\x00\x01\x02\r\n\r\n")
    await x.writer.drain()


async def _status_word(x: "Exchange") -> None:
    word = x.wire.random.choice(["QUEUEING", "超时", "", "success!", "paused\\u0000", "\\ud800", "x" * 5000])
    told = re.sub(rb'"status": *"\w*"', lambda _: f'"status": "{word}"'.encode(), x.answer)
    await x.send(200, told, _JSON)


# Odd, but right: it must be understood.


async def _continue(x: "Exchange") -> None:
    x.writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 3)
    await x.right()


async def _http10(x: "Exchange") -> None:
    await x.send(x.status, x.answer, *x.fields, first="HTTP/1.0", length=False)


async def _same_length_twice(x: "Exchange") -> None:
    await x.send(x.status, x.answer, ("Content-Length", str(len(x.answer))), *x.fields)


async def _chunked_and_length(x: "Exchange") -> None:
    chunked = f"{len(x.answer):x}\r\n".encode() + x.answer + b"\r\n0\r\n\r\n"
    fields = [("Transfer-Encoding", "chunked"), ("Content-Length", "3"), *x.fields]
    await x.send(x.status, chunked, *fields, length=False)


# Downloads.


async def _cut(x: "Exchange", how: str) -> None:
    if not x.answer:  # a 416, say
        await x.right()
        return
    at = x.wire.random.randrange(len(x.answer))
    if how == "told":
        fields, body = [("Content-Length", str(len(x.answer)))], x.answer[:at]
    elif how == "chunked":
        fields, body = [("Transfer-Encoding", "chunked")], f"{len(x.answer):x}\r\n".encode() + x.answer[:at]
    else:
        fields, body = [], x.answer[:at]
    await x.send(x.status, body, *fields, *x.fields, length=False)


async def _range(x: "Exchange", how: str) -> None:
    """The platform's own answer to a request with Range is spoilt; it holds the rest of the file."""
    asked = int(x.headers["range"][6:-1])
    told = next((v for n, v in x.fields if n.lower() == "content-range"), "bytes 0-0/1")
    total = int(told.rpartition("/")[2])
    rest = [(n, v) for n, v in x.fields if n.lower() != "content-range"]
    if how == "shifted":
        first = max(0, asked - 3)
        span = f"bytes {first}-{first + len(x.answer) - 1}/{total}"
        await x.send(206, b"???" + x.answer[:-3], *rest, ("Content-Range", span))
    elif how == "total":
        await x.send(206, x.answer, *rest, ("Content-Range", f"bytes {asked}-{total - 1}/{total + 9}"))
    elif how == "none":
        await x.send(206, x.answer, *rest)
    elif how == "nonsense":
        await x.send(206, x.answer, *rest, ("Content-Range", "bytes one-two/three"))
    elif how == "416":
        await x.send(416, b"", ("Content-Range", f"bytes */{max(0, asked - 1)}"))
    elif how == "ignored":
        x.head = re.sub(rb"(?i)\r\n(if-)?range:[^\r]*", b"", x.head)
        await x.forward()
        await x.right()


HARMS: Final[dict[str, Harm]] = {
    "reset_early": _reset_early,
    "reset_in_body": _reset_in_body,
    "close_early": _close_early,
    "busy_early": _busy_early,
    "429": partial(_busy, status=429, wait=lambda x: "1"),
    "503": partial(_busy, status=503, wait=lambda x: "1"),
    "503_date": partial(
        _busy, status=503, wait=lambda x: format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    ),
    "503_odd": partial(_busy, status=503, wait=lambda x: x.wire.random.choice(_ODD_WAITS)),
    "429_for_years": partial(_busy, status=429, wait=lambda x: "1000000000"),
    "gateway": _gateway,
    "black_hole": _black_hole,
    **{
        f"redirect_{where}": partial(_redirect, status=status, where=where)
        for where, status in (("itself", 301), ("loop", 302), ("elsewhere", 307))
    },
    "redirect_elsewhere_308": partial(_redirect, status=308, where="elsewhere"),
    "lost_close": _after(_lost_close),
    "lost_reset": _after(_lost_reset),
    "lost_half": _after(_lost_half),
    "lost_silence": _after(_black_hole),
    "drip_head": _after(partial(_drip, what="head")),
    "drip_body": _after(partial(_drip, what="body")),
    "html": _after(_html),
    "huge": _after(_huge),
    "broken": _after(_broken),
    "not_utf8": _after(_not_utf8),
    "deep": _after(_deep),
    "bad_chunks": _after(_bad_chunks),
    "two_lengths": _after(_two_lengths),
    "no_http": _after(_no_http),
    "status_word": _after(_status_word),
    "continue": _after(_continue),
    "http10": _after(_http10),
    "same_length_twice": _after(_same_length_twice),
    "chunked_and_length": _after(_chunked_and_length),
    "cut": _after(partial(_cut, how="told")),
    "cut_chunked": _after(partial(_cut, how="chunked")),
    "cut_untold": _after(partial(_cut, how="nothing told")),
    **{
        f"range_{how}": _after(partial(_range, how=how))
        for how in ("shifted", "total", "none", "nonsense", "416", "ignored")
    },
}
