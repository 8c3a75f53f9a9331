"""A model's result out of an answer that nobody has documented, read as tolerantly as platform-api.md asks. Pure.

Owns which words mean which status, under which names results are looked for, and what only echoes our own request.
What it cannot understand it names in `strange`. It must never take more than its bounds out of one answer, however
deep or wide that is.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from renderdrop.model.job import Level, Output, Remark
from renderdrop.platform.answers import TEXTS, Nonsense, told
from renderdrop.platform.data_uri import is_data_uri
from renderdrop.platform.reports import LONGEST_URL, Report, Status, output_url, percent

SUCCESSES: Final = frozenset({"success", "succeeded", "completed", "done"})
FAILURES: Final = frozenset({"fail", "failed", "error"})
WORDS: Final[dict[str, Status]] = {
    "submitted": "pending", "pending": "pending", "queued": "pending", "running": "running", "processing": "running",
    **dict.fromkeys(SUCCESSES, "success"), **dict.fromkeys(FAILURES, "fail"),
}  # fmt: skip
"""The platform's word, in lower case → ours. Every other word means running, and is named as strange."""

STATUS: Final = ("status", "task_status", "state")
"""Keys of the status word, the likeliest first."""
PLACES: Final = ("data", "result", "task", "output")
"""Keys below which an answer may have its body; what is nearest to the top counts."""
NAMES: Final = frozenset(
    {"output", "image", "video", "audio", "result", "file", "url", "image_url", "video_url", "audio_url"}
)
"""Keys whose strings are results, in the singular; their plurals as well, and `data`."""
ECHOES: Final = frozenset(
    {
        "input", "request", "parameter", "param", "prompt", "argument", "reference", "source", "mask",
        "callback", "webhook", "thumbnail", "preview",
    }
)  # fmt: skip
"""Words, in the singular: a key that has one of them (`parameters`, `images_input`, `inputImages`) holds our own
request or what else is no result, and nothing below it is looked at."""

MOST_RESULTS: Final = 256
MOST_VALUES: Final = 20_000
DEEPEST: Final = 24
"""Bounds of one answer: results taken, values looked at, lists and objects in each other."""

_URL: Final = re.compile(r"https?://[^\s/]\S*|/api/\S+", re.IGNORECASE)
_WORD: Final = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_MEDIA: Final = re.compile(r"(image|video|audio)/[\w.+-]{1,60}", re.ASCII | re.IGNORECASE)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_=\r\n-]{16,200}", re.ASCII)
_BEGINNINGS: Final = {"/9j/": "image/jpeg", "UklGR": "image/webp", "R0lGOD": "image/gif"}
"""How base64 begins of what may come without a media type; everything else is taken for PNG."""


def read_result(found: Any, base_url: str) -> Report:
    """The opened answer as a report. Raises Nonsense when it has neither a status word nor results."""
    strange: list[str] = []
    places = list(_places(found))
    urls = _results(found, strange)
    status = _status(places, bool(urls), strange)
    if status is None:
        if not urls:
            raise Nonsense("the platform's answer about the task has neither a status nor results")
        status = "success"
    unfinished = status in ("pending", "running")
    texts = _texts(places) if status == "fail" or (status == "success" and not urls) else []
    return Report(
        status,
        next((value for place in places if (value := _progress(place)) is not None), None),
        None,
        () if unfinished else tuple(Output(at, "", "", output_url(url, base_url)) for at, url in enumerate(urls)),
        tuple(Remark(Level.ERROR, text, "", "") for text in texts),
        tuple(strange),
    )


def _places(found: Any) -> Iterator[dict[str, Any]]:
    """The objects in which a status, a progress or a message may stand, the nearest to the top first."""
    layer, seen = [found], 0
    for _ in range(DEEPEST):
        below: list[Any] = []
        for value in layer:
            if isinstance(value, dict):
                yield value
                below += [value[key] for key in PLACES if key in value]
            elif isinstance(value, list):
                below += value[:1]  # a list of tasks with the one that was asked after
        seen += len(below)
        if not below or seen > MOST_RESULTS:
            return
        layer = below


def _status(places: list[dict[str, Any]], results: bool, strange: list[str]) -> Status | None:
    """The nearest word that is known, else the nearest that is not. An envelope may call itself a success around a
    task that is not: a success without results gives way to a deeper word."""
    values = [place[key] for place in places for key in STATUS if key in place]
    words = [value.strip() for value in values if isinstance(value, str) and value.strip()]
    known = [WORDS[word.lower()] for word in words if word.lower() in WORDS]
    if known and known[0] == "success" and not results:
        return next((status for status in known if status != "success"), "success")
    if words and not known:
        strange.append(f"status {words[0][:40]!r}")
        return "running"
    return known[0] if known else None


def _progress(place: dict[str, Any]) -> float | None:
    for key in ("progress", "total_progress", "percent"):
        value = place.get(key)
        if isinstance(value, dict):
            value = value.get("total_progress", value.get("percent"))
        if isinstance(value, str):
            value = value.strip().removesuffix("%")
        if (found := percent(value)) is not None:
            return found
    return None


def _texts(places: list[dict[str, Any]]) -> list[str]:
    """What the answer says of a failure, the innermost (the task's own) first; "success" of an envelope is none."""
    texts = [told(place[key]) for place in reversed(places) for key in TEXTS if key in place]
    return [text for text in dict.fromkeys(texts) if text and text.lower() not in {"ok", *WORDS}]


def _results(found: Any, strange: list[str]) -> list[str]:
    """Every result in the order of the answer, each once."""
    urls: dict[str, None] = {}
    values = 0
    stack: list[tuple[str, Any, int]] = [("data", found, 0)]
    while stack:
        key, value, depth = stack.pop()
        values += 1
        if values > MOST_VALUES or len(urls) >= MOST_RESULTS:
            strange.append("an answer with more results, or more around them, than are taken from one")
            break
        if isinstance(value, str):
            if (url := _url(key, value)) is not None:
                urls[url] = None
        elif depth >= DEEPEST:
            continue
        elif isinstance(value, list):
            stack += [(key, inner, depth + 1) for inner in reversed(value[:MOST_VALUES])]
        elif isinstance(value, dict):
            if (inline := _inline(value)) is not None:
                urls[inline] = None
                continue
            stack += [(name, inner, depth + 1) for name, inner in reversed(value.items()) if not _is_echo(name)]
    return list(urls)


def _url(key: str, value: str) -> str | None:
    """The result that a string under that key is, if it is one."""
    name = key.lower()
    if name == "b64_json":
        return _as_data_uri(value, None)
    if name != "data" and name.removesuffix("s") not in NAMES:
        return None
    value = value.strip()
    return value if is_data_uri(value) or (len(value) <= LONGEST_URL and _URL.fullmatch(value)) else None


def _inline(value: dict[str, Any]) -> str | None:
    """A picture as some models give it: {"mime_type": "image/png", "data": "<base64>"}."""
    media = next((value[key] for key in ("mime_type", "mimeType", "media_type") if key in value), None)
    content = value.get("data")
    if not isinstance(media, str) or not _MEDIA.fullmatch(media) or not isinstance(content, str):
        return None
    return None if _URL.match(content) or is_data_uri(content) else _as_data_uri(content, media.lower())


def _as_data_uri(content: str, media: str | None) -> str | None:
    content = content.strip()
    if is_data_uri(content):
        return content
    if not _BASE64.match(content[:200]):
        return None
    media = media or next((m for begin, m in _BEGINNINGS.items() if content.startswith(begin)), "image/png")
    return f"data:{media};base64,{content}"


def _is_echo(name: str) -> bool:
    return any(word.lower().removesuffix("s") in ECHOES for word in _WORD.findall(name))
