"""Reads a body off the wire, strictly: what the real platform might not understand is refused.

Owns: the multipart grammar (RFC 7578), streaming of file parts to disk, and strict JSON. Ready-made readers are
lenient by intent (they skip preambles, guess at names, forgive a missing end, keep the last of two equal keys), so
the grammar is spelled out here. Must never hold a file in memory, accept half a body, nor judge what the parts mean.
"""

import asyncio
import hashlib
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from aiohttp import StreamReader, web

from renderdrop.sandbox.tasks import Upload

PIECE: Final = 1 << 20
MAX_HEAD: Final = 16 << 10
MAX_SCALAR: Final = 1 << 20
MAX_PARTS: Final = 64
MAX_JSON: Final = 8 << 20

_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=?-]{1,70}")
_DISPOSITION: Final = re.compile(r'form-data((?:; ?[a-z*]+="(?:[^"\\]|\\.)*")+)', re.DOTALL)
_FIELD: Final = re.compile(r'; ?([a-z*]+)="((?:[^"\\]|\\.)*)"', re.DOTALL)
_MEDIA_TYPE: Final = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(?:;.*)?", re.ASCII)


class Refusal(Exception):
    """The platform says no: an envelope with this code and message, by default with HTTP 200."""

    def __init__(self, code: int, chinese: str, english: str, status: int = 200) -> None:
        super().__init__(f"{chinese} ({english})")
        self.code = code
        self.message = f"{chinese} ({english})"
        self.status = status


class Incomplete(Exception):
    """The connection went before the body was whole; nobody is left to be answered."""

    def __init__(self, received: int) -> None:
        super().__init__(f"the connection was lost after {received} bytes of the body")
        self.received = received


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the form: a plain `value`, or a file's `upload`."""

    name: str
    value: str = ""
    upload: Upload | None = None


class _Wire:
    """The body as a run of bytes between boundaries; memory is bounded by one piece."""

    def __init__(self, stream: StreamReader, boundary: str) -> None:
        self._stream = stream
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._buffer = bytearray(b"\r\n")  # lets the first boundary be a delimiter like the others
        self.received = 0

    async def _more(self) -> bool:
        try:
            chunk = await self._stream.readany()
        except (ConnectionError, web.RequestPayloadError) as error:
            raise Incomplete(self.received) from error
        self.received += len(chunk)
        self._buffer += chunk
        return bool(chunk)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Everything up to the next boundary, which is taken off the wire too."""
        looked = 0
        while (at := self._buffer.find(self._delimiter, looked)) < 0:
            looked = max(0, len(self._buffer) - len(self._delimiter) + 1)
            if looked >= PIECE:
                yield bytes(self._buffer[:looked])
                del self._buffer[:looked]
                looked = 0
            if not await self._more():
                raise Refusal(40002, "请求体没有结束边界", "the multipart body ends without its closing boundary")
        if at:
            yield bytes(self._buffer[:at])
        del self._buffer[: at + len(self._delimiter)]

    async def another(self) -> bool:
        """After a boundary: whether a part follows; False is the well-formed end of the body."""
        while len(self._buffer) < 2 and await self._more():
            pass
        mark = bytes(self._buffer[:2])
        del self._buffer[:2]
        if mark == b"\r\n":
            return True
        while mark == b"--" and len(self._buffer) <= 2 and await self._more():
            pass
        if mark != b"--" or bytes(self._buffer) not in (b"", b"\r\n"):
            raise Refusal(40003, "边界格式错误", "a boundary is followed by something that is not allowed there")
        return False

    async def head(self) -> dict[str, str]:
        """A part's header lines, names in lower case."""
        while (at := self._buffer.find(b"\r\n\r\n")) < 0 or at > MAX_HEAD:
            if len(self._buffer) > MAX_HEAD or not await self._more():
                raise Refusal(40004, "表单部分缺少头部", "a part has no end to its headers")
        raw = bytes(self._buffer[:at])
        del self._buffer[: at + 4]
        head: dict[str, str] = {}
        try:
            lines = raw.decode("utf-8").split("\r\n")
        except UnicodeDecodeError:
            raise Refusal(40005, "头部不是 UTF-8 编码", "a part's headers are not UTF-8") from None
        for line in lines:
            key, colon, value = line.partition(":")
            key = key.lower()
            if not colon or not re.fullmatch(r"[a-z-]+", key) or key in head or re.search(r"[\x00-\x1f\x7f]", value):
                raise Refusal(40006, "头部格式错误", f"a part's header line is malformed or repeated: {line!r}")
            head[key] = value.strip()
        return head


def _unquoted(text: str) -> str:
    """A quoted name as browsers write it: RFC 7578 escapes and the %22, %0D, %0A of WHATWG."""
    text = re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
    return text.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


def _named(head: dict[str, str]) -> tuple[str, str | None]:
    """The part's name, and its file name where it is a file."""
    match = _DISPOSITION.fullmatch(head.get("content-disposition", ""))
    pairs = _FIELD.findall(match[1]) if match else []
    found = dict(pairs)
    if "name" not in found or len(found) != len(pairs) or not found.keys() <= {"name", "filename"}:
        raise Refusal(
            40007,
            "Content-Disposition 格式错误",
            'a part needs Content-Disposition: form-data; name="…", for files with filename="…", and nothing else',
        )
    if head.get("content-transfer-encoding", "binary").lower() not in {"binary", "8bit", "7bit"}:
        raise Refusal(40008, "不支持的传输编码", "a part's Content-Transfer-Encoding is not supported")
    name = _unquoted(found["name"])
    if not name:
        raise Refusal(40007, "表单部分没有名称", "a part has an empty name")
    return name, _unquoted(found["filename"]) if "filename" in found else None


def _refuse_compressed(request: web.Request) -> None:
    if request.headers.get("Content-Encoding"):
        raise Refusal(41500, "不支持压缩的请求体", "a compressed body is not supported", 415)


def _refuse_chunked(request: web.Request) -> None:
    if request.content_length is None:
        raise Refusal(41100, "缺少 Content-Length", "Content-Length is required; chunked bodies are not accepted", 411)


def _boundary(request: web.Request) -> str:
    _refuse_compressed(request)
    if request.content_type != "multipart/form-data":
        raise Refusal(40001, "请求必须是 multipart/form-data", "the request must be multipart/form-data")
    boundary = re.search(r';\s*boundary=(?:"([^"]*)"|([^;\s]*))', request.headers["Content-Type"], re.IGNORECASE)
    value = (boundary[1] or boundary[2] or "") if boundary else ""
    if not _BOUNDARY.fullmatch(value):
        raise Refusal(40001, "multipart 边界缺失或无效", "the boundary is missing or not valid")
    _refuse_chunked(request)
    return value


@asynccontextmanager
async def form(request: web.Request, folder: Path) -> AsyncIterator[list[Part]]:
    """The form's parts, its files in `folder`, which is removed where they are refused."""
    try:
        yield await read_form(request, folder)
    except (Refusal, Incomplete, asyncio.CancelledError):
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        raise


async def read_form(request: web.Request, folder: Path) -> list[Part]:
    """The parts in their order, files streamed below `folder`. Raises Refusal, Incomplete."""
    wire = _Wire(request.content, _boundary(request))
    async for _ in wire.pieces():
        raise Refusal(40003, "请求体在第一个边界之前有内容", "there is something before the first boundary")
    parts: list[Part] = []
    while await wire.another():
        if len(parts) >= MAX_PARTS:
            raise Refusal(40009, "表单部分过多", f"more than {MAX_PARTS} parts")
        head = await wire.head()
        name, filename = _named(head)
        if filename is None:
            parts.append(await _scalar(wire, name, head))
        else:
            parts.append(Part(name, upload=await _file(wire, name, filename, head, folder / f"{len(parts):02d}")))
    return parts


async def _scalar(wire: _Wire, name: str, head: dict[str, str]) -> Part:
    if head.get("content-type", "text/plain").split(";")[0].strip().lower() != "text/plain":
        raise Refusal(
            40010, f"参数 {name} 缺少文件名", f"{name} has a media type but no filename: a file part needs one"
        )
    raw = bytearray()
    async for piece in wire.pieces():
        raw += piece
        if len(raw) > MAX_SCALAR:
            raise Refusal(40011, f"参数 {name} 过长", f"{name} is longer than {MAX_SCALAR} bytes")
    try:
        return Part(name, value=raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise Refusal(40005, f"参数 {name} 不是 UTF-8 编码", f"{name} is not UTF-8") from None


async def _file(wire: _Wire, name: str, filename: str, head: dict[str, str], path: Path) -> Upload:
    if not filename or filename in {".", ".."} or re.search(r"[/\\\x00-\x1f\x7f]", filename):
        raise Refusal(40012, f"文件 {name} 的文件名无效", f"the filename of {name} is empty or not a bare name")
    content_type = head.get("content-type", "")
    if not _MEDIA_TYPE.fullmatch(content_type):
        raise Refusal(40013, f"文件 {name} 缺少 Content-Type", f"the file {name} needs a Content-Type")
    digest = hashlib.sha256()
    size = 0
    with path.open("xb") as file:

        def keep(piece: bytes) -> None:
            file.write(piece)
            digest.update(piece)

        async for piece in wire.pieces():
            await asyncio.to_thread(keep, piece)
            size += len(piece)
    if size == 0:
        raise Refusal(40014, f"文件 {name} 为空", f"the file {name} is empty")
    return Upload(name, filename, content_type, size, digest.hexdigest(), str(path))


async def read_json(request: web.Request) -> Any:
    """The body as JSON (RFC 8259, without equal keys, NaN and lone surrogates). Raises Refusal, Incomplete."""
    _refuse_compressed(request)
    if request.content_type != "application/json":
        raise Refusal(40030, "请求必须是 application/json", "the request must be application/json")
    _refuse_chunked(request)
    raw = bytearray()
    try:
        async for chunk in request.content.iter_any():
            raw += chunk
            if len(raw) > MAX_JSON:
                raise Refusal(41300, "请求体过大", f"the body is longer than {MAX_JSON} bytes", 413)
    except (ConnectionError, web.RequestPayloadError) as error:
        raise Incomplete(len(raw)) from error
    try:
        told = json.loads(raw.decode("utf-8"), object_pairs_hook=_without_equal_keys, parse_constant=_refuse_constant)
        json.dumps(told, ensure_ascii=False, allow_nan=False).encode("utf-8")  # finds 1e999 and lone surrogates
    except (ValueError, RecursionError) as error:
        raise Refusal(40030, "请求体不是有效的 JSON", f"the body is not valid JSON: {error}") from None
    return told


def _without_equal_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has a key twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
