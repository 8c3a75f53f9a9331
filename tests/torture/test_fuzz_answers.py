"""Whatever the platform answers, a stage gets a value that keeps its bounds, or one of our own errors."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import httpx
from hypothesis import strategies as st
from pydantic import SecretStr
from tests.torture.fuzzing import ODD, bent, ended, examples, fuzz, huge, long, texts, torn
from tests.torture.table import Tally

from renderdrop.delivery.naming import output_extension
from renderdrop.model.backoff import RETRY_AFTER_CAP, backoff
from renderdrop.model.errors import Fault, Temporary
from renderdrop.platform import apps, clusters, graphs, models
from renderdrop.platform.answers import Answer, retry_after
from renderdrop.platform.client import Client
from renderdrop.platform.data_uri import decoded, is_data_uri, media_type
from renderdrop.platform.graphs import names_missing_input
from renderdrop.platform.reports import LONGEST_URL, MOST_OUTPUTS, MOST_REMARKS, MOST_STRANGE, Report
from renderdrop.platform.results import Transfer

Count = Callable[[str], Tally]

BASE: Final = "https://art.example.com"
NOW: Final = datetime(2026, 11, 22, 14, 18, tzinfo=UTC)

_ROW: Final = {"id": "81", "title": "Video Combine", "output": f"{BASE}/api/view?filename=a.mp4", "error_type": "info"}
_TASK: Final = {
    "status": "success", "progress": {"curr_node": {"id": 0, "title": "K", "progress": 0}, "total_progress": 94},
    "outputs": [_ROW, {**_ROW, "error_type": "warning"}, {**_ROW, "output": "图 b.png"}, {**_ROW,
    "error_type": "error"}],
}  # fmt: skip
_CLUSTER: Final = {"name": "GPU-4090", "display_name": "GPU-4090-24GB", "curr_nodes": 2, "max_nodes": -1}
DOCUMENTS: Final = (
    {"code": 0, "msg": "success", "data": _TASK},
    {"code": 0, "msg": "success", "data": [_CLUSTER, _CLUSTER]},
    {"code": 0, "msg": "success", "data": {"task_id": 230}},
    {"code": 0, "msg": "success", "data": {"filename": "upload_1.png"}},
    {"code": 40100, "msg": "令牌无效", "data": None},
    {"task_id": 24317, "status": "submitted", "message": "Task has been submitted for processing"},
    {"status": "SUCCEEDED", "result": {"images": [{"url": f"{BASE}/x.png"}, "https://cdn.example.com/y.png"]}},
    {"data": [{"b64_json": "iVBORw0KGgoAAAANSUhEUg=="}], "progress": "50%"},
    {"task_status": "failed", "error": {"message": "no", "detail": [{"msg": "still no"}]}},
    {"state": "running", "output": {"mime_type": "image/png", "data": "iVBORw0KGgoAAAANSUhEUg=="}},
)
STATUSES: Final = (200, 200, 200, 200, 201, 204, 206, 302, 303, 400, 401, 404, 408, 422, 429, 500, 502, 503)
DATES: Final = (
    "120", "Sun, 22 Nov 2026 14:20:00 GMT", "Sun, 22 Nov 2026 14:20:00 +99999999999999999999",
    "Sun, 22 Nov 0 0:0:0 -0000",
    "99999999999999999999", "-5", "1.5", "Thu, 31 Dec 9999 23:59:59 -2359", "Mon, 01 Jan 0001 00:00:00 +2359",
    "a, b c d",
    "²", " 7 ", "", "1 Jan 2026 :::", "Sun, 99 Nov 2026 99:99:99 GMT",
)  # fmt: skip

answers: Final = st.builds(
    Answer,
    st.sampled_from(STATUSES),
    st.dictionaries(
        st.sampled_from(["retry-after", "content-type", "location"]), st.one_of(st.sampled_from(DATES), texts)
    ),
    st.one_of(
        torn(bent(DOCUMENTS).map(lambda found: json.dumps(found).encode())),
        torn(bent(DOCUMENTS).map(lambda found: json.dumps(found, ensure_ascii=False).encode("utf-8", "surrogatepass"))),
        st.binary(max_size=60),
        st.sampled_from([b"-", b"1e9999", b'"\\ud800"', b"null"]),
        huge.map(str.encode),
    ),
)


class Stub(Client):
    """A client that has every answer at hand; it drains what it is to send."""

    def __init__(self, answer: Answer) -> None:
        self.base_url, self.answer = BASE, answer

    async def get(self, path: str, cap: int | None = None) -> Answer:
        path.encode("ascii")
        return self.answer

    async def post(self, path: str, content: AsyncIterator[bytes], headers: Mapping[str, str]) -> Answer:
        async for _ in content:
            pass
        return self.answer


async def _nothing() -> None:
    pass


CALLS: Final[tuple[Callable[[Client], Coroutine[Any, Any, Any]], ...]] = (
    lambda c: apps.ask(c, "230", NOW),
    lambda c: graphs.ask(c, "230", NOW),
    lambda c: models.ask(c, "230", NOW),
    lambda c: clusters.active(c, NOW),
    lambda c: apps.run(c, apps.Request("1", None, "GPU", {"seed": 1}, ()), _nothing, NOW),
    lambda c: graphs.submit(c, {"1": {}}, "GPU", _nothing, NOW),
    lambda c: models.submit(c, "google", "m", "text2image", {}, _nothing, NOW),
)


def check_url(url: str) -> None:
    """An address that can be stored, told and asked for."""
    url.encode()
    assert is_data_uri(url) or (len(url) <= LONGEST_URL and "://" in url)


def check(call_and_answer: tuple[int, Answer], found: Any) -> None:
    if isinstance(found, Report):
        assert found.status in ("pending", "running", "success", "fail")
        assert found.progress is None or 0 <= found.progress <= 100
        assert [output.position for output in found.outputs] == list(range(len(found.outputs)))
        assert len(found.outputs) <= MOST_OUTPUTS
        assert len(found.remarks) <= MOST_REMARKS
        for output in found.outputs:
            check_url(output.url)
        assert len(found.strange) <= MOST_STRANGE
        assert all(len(word) < 400 for word in found.strange)
    elif isinstance(found, tuple):
        assert all(status.name and status.nodes >= 0 and (status.ceiling or 0) >= 0 for status in found)
    else:
        assert isinstance(found, str)
        assert 0 < len(found.strip()) <= len(found) <= 256
        assert found.isprintable()


def test_any_answer_to_any_call_is_a_value_within_bounds_or_our_own_error(tally: Count) -> None:
    fuzz(
        tally("fuzz: answers of the platform"),
        st.tuples(st.integers(0, len(CALLS) - 1), answers),
        lambda one: ended(CALLS[one[0]](Stub(one[1]))),
        examples(150, 5000),
        check,
    )


def test_an_answer_as_long_as_is_taken_is_read_in_time_that_grows_with_it(tally: Count) -> None:
    size = examples(200_000, 4_000_000)
    pieces = ['{"output":"a"},', '{"a":', "[", "]", "}", "9", " ", '"a":1,', '"\\ud800",', '"https://x/', "aA", "."]
    ends = ['{"status":"success","outputs":[', '{"code":0,"data":{"status":"fail","outputs":[', "[", '{"data":"', ""]
    fuzz(
        tally("fuzz: answers of the platform"),
        st.tuples(
            st.integers(0, len(CALLS) - 1),
            st.builds(
                lambda head, middle, tail: Answer(200, {}, (head + middle + tail).encode()),
                st.sampled_from(ends), long(pieces, size), st.sampled_from(["]}}", "0]}}", '"}', "", '"]'])
            ),
        ),
        lambda one: ended(CALLS[one[0]](Stub(one[1]))),
        examples(8, 75),
        check,
    )  # fmt: skip


def test_any_text_of_a_refusal_is_judged_in_time(tally: Count) -> None:
    fuzz(
        tally("fuzz: answers of the platform"),
        st.tuples(
            st.one_of(texts, long(["not found", "不存在", "input", " ", "\n", ".", "a", "invalid image file"], 500)),
            st.lists(texts, max_size=3),
        ),
        lambda one: names_missing_input(*one),
        examples(30, 1250),
    )


class Memory:
    """A sink that keeps what comes."""

    def __init__(self) -> None:
        self.data = bytearray()

    @property
    def size(self) -> int:
        return len(self.data)

    async def write(self, chunk: bytes) -> None:
        self.data += chunk

    async def restart(self) -> None:
        self.data.clear()


CAP: Final = 1000
_HEADERS: Final = ("content-type", "content-length", "content-range", "etag", "last-modified", "location",
"retry-after",
                   "content-encoding", "content-disposition")  # fmt: skip
_VALUES: Final = (
    "image/png", "text/html", "image/png; charset=x", "IMAGE/JPG", "bytes 0-9/10", "bytes 5-9/10", "bytes 0-0/*", "10",
    "bytes 99999999999999999999-1/2", "bytes */*", "bytes=0-9", '"a"', 'W/"a"', "identity", "gzip", "²", "9" * 30,
    "-1", "5, 5",
    "/b.png", "//other.example.com/c", "data:,x", "file:///etc/passwd", "http://[::1", "http://x:99999/", "\x00",
    "x" * 9000,
    "attachment; filename=../../a", *DATES,
)  # fmt: skip
_replies: Final = st.lists(
    st.tuples(
        st.sampled_from([200, 200, 206, 206, 301, 302, 307, 401, 404, 416, 429, 500, 503]),
        st.lists(
            st.tuples(
                st.sampled_from(_HEADERS),
                st.one_of(
                    st.sampled_from(_VALUES).map(str.encode), texts.map(lambda t: t.encode("utf-8", "replace"))
                ),
            ),
            max_size=4,
        ),
        st.lists(st.binary(max_size=400), max_size=4),
    ),
    min_size=1, max_size=8,
)  # fmt: skip
_urls: Final = st.one_of(
    st.sampled_from([f"{BASE}/a.png", "https://cdn.example.com/a?filename=b.mp4",
    "data:image/png;base64,iVBORw0KGgo="]),
    texts, texts.map(lambda t: f"https://x/{t}"), texts.map(lambda t: f"{BASE}/api/view?filename={t}"),
    texts.map(lambda t: f"data:image/png;base64,{t}"), texts.map(lambda t: f"https://{t}/a"),
)  # fmt: skip


Reply = tuple[int, list[tuple[str, bytes]], list[bytes]]


class Replies:
    """The slots of a client whose answers come from a list; addresses are read by httpx as in earnest."""

    def __init__(self, replies: list[Reply]) -> None:
        self._replies = replies
        self._at = 0

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Any]:
        yield self

    def build_request(self, method: str, url: str, **more: Any) -> httpx.Request:
        request = httpx.Request(method, url, **more)
        assert request.url.host == "art.example.com" or "authorization" not in request.headers
        return request

    async def send(self, request: httpx.Request, stream: bool) -> httpx.Response:
        status, headers, chunks = self._replies[self._at % len(self._replies)]
        self._at += 1

        async def body() -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk

        raw = [(name.encode(), value) for name, value in headers]
        return httpx.Response(status, headers=raw, content=body(), request=request)


async def _pulled(client: Client, url: str, replies: list[Reply]) -> tuple[str | None, int]:
    client._downloads = Replies(replies)  # type: ignore[assignment]
    sink, transfer = Memory(), Transfer(url, CAP)
    for _ in range(3):  # a broken one is taken up again
        try:
            await transfer.pull(client, sink, NOW)
            return transfer.media_type, sink.size
        except Temporary as fault:
            wait = backoff(1, 0.5, fault.retry_after)
        finally:
            assert sink.size <= CAP
        assert 0 <= wait <= RETRY_AFTER_CAP
    raise Fault("nothing came")


def test_any_answer_to_a_download_is_a_whole_file_below_the_cap_or_our_own_error(tally: Count) -> None:
    def check_file(one: tuple[str, Any], found: tuple[str | None, int]) -> None:
        assert 0 < found[1] <= CAP
        extension = output_extension(one[0], found[0])
        assert extension == "" or (extension[0] == "." and extension[1:].isascii() and extension[1:].isalnum())

    client = Client(BASE, SecretStr("AI-canary"))
    with asyncio.Runner() as runner:
        fuzz(
            tally("fuzz: answers to downloads"),
            st.tuples(_urls, _replies),
            lambda one: runner.run(_pulled(client, *one)),
            examples(80, 1500),
            check_file,
        )


def test_any_retry_after_is_a_time_to_wait_or_none(tally: Count) -> None:
    def is_time(_: str, found: float | None) -> None:
        assert found is None or found >= 0

    words = st.sampled_from(
        ["Sun,", "22", "Nov", "2026", "14:20:00", "GMT", "+0000", "-9999", "99999999999", ":", " ", "0"]
    )
    fuzz(
        tally("fuzz: answers to downloads"),
        st.one_of(st.sampled_from(DATES), texts, st.lists(words, max_size=9).map(" ".join), long(["1", " ", ":", "("],
        8000)),
        lambda text: retry_after(text, NOW),
        examples(60, 2500),
        is_time,
    )  # fmt: skip


def test_any_data_uri_is_bytes_and_a_media_type_or_our_own_error(tally: Count) -> None:
    def is_bytes(uri: str, found: tuple[str | None, int]) -> None:
        assert found[1] <= len(uri.encode("utf-8", "replace"))

    pieces = st.sampled_from(
        ["data:", "image/png", ";base64", ",", "iVBORw0KGgo=", "%", "%4", "%41", "=", "-_", "\n", "é", *ODD]
    )
    fuzz(
        tally("fuzz: data: URIs"),
        st.one_of(
            st.lists(pieces, max_size=8).map("".join),
            st.lists(pieces, max_size=8).map(lambda parts: "data:image/png;base64," + "".join(parts)),
            long(["data:,", "%", "%4", "=", "A", "\n", "é"], examples(50_000, 1_000_000)).map("data:;base64,".__add__),
        ),
        lambda uri: (media_type(uri), sum(map(len, decoded(uri)))),
        examples(60, 750),
        is_bytes,
    )  # fmt: skip
