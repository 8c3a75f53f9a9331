"""What an answer means, as a table; and that no answer whatever breaks the reader."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from renderdrop.model.errors import Busy, Fault, PlatformDown, Refused, Temporary
from renderdrop.platform.answers import Answer, Nonsense, OwnError, data, number, retry_after

NOW = datetime(2026, 11, 22, 14, 18, tzinfo=UTC)
HTML = b"<html><body>502 Bad Gateway</body></html>"
BUSY_MSG = "服务繁忙,请稍后再试"


def envelope(code: object = 0, msg: str = "success", **rest: object) -> bytes:
    return json.dumps({"code": code, "msg": msg, **rest}).encode()


def judged(status: int, body: bytes, **headers: str) -> Any:
    return data(Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body), NOW)


@pytest.mark.parametrize("found", [{"task_id": 230}, [], None, "x", 0])
def test_a_success_gives_its_data(found: object) -> None:
    assert judged(200, envelope(data=found)) == found
    assert judged(200, envelope("0", data=found)) == found


def test_a_success_without_data_gives_none() -> None:
    assert judged(200, envelope()) is None


@pytest.mark.parametrize("status", [200, 400, 404, 409, 413, 422])
@pytest.mark.parametrize("code", [1, -1, 40001, "E12", None, True, False, 0.5, {}])
def test_any_other_code_is_a_refusal_with_its_message_unchanged(status: int, code: object) -> None:
    said = "工作流 1234 不存在\n  (no such workflow)"
    with pytest.raises(Refused) as caught:
        judged(status, envelope(code, said))
    assert (caught.value.message, caught.value.http_status, caught.value.code) == (said, status, str(code))


def test_a_refusal_without_a_message_names_its_code() -> None:
    for msg in ("", "  "):
        with pytest.raises(Refused, match="code 7"):
            judged(200, envelope(7, msg))
    with pytest.raises(Refused, match="code 7"):
        judged(200, b'{"code": 7, "msg": ["?"]}')


CASES: list[tuple[int, bytes, dict[str, str], type[Fault], str]] = [
    (401, b"", {}, PlatformDown, "token"),
    (401, envelope(40100, "令牌无效"), {}, PlatformDown, "令牌无效"),
    (403, HTML, {}, PlatformDown, "token"),
    (429, b"", {}, Busy, "429"),
    (429, envelope(42900, BUSY_MSG), {"retry-after": "7"}, Busy, BUSY_MSG),
    (503, HTML, {"retry-after": "7"}, Busy, "503"),
    (503, HTML, {}, Nonsense, "503"),
    (503, envelope(50000, BUSY_MSG), {}, OwnError, BUSY_MSG),
    (500, envelope(50000, "内部错误"), {}, OwnError, "内部错误"),
    (502, HTML, {}, Nonsense, "502"),
    (504, b"", {}, Nonsense, "504"),
    (599, b"{}", {}, Nonsense, "599"),
    (500, envelope(0), {}, Nonsense, "success inside"),
    (404, envelope(0), {}, Nonsense, "success inside"),
    (408, b"", {}, Temporary, "408"),
    (404, HTML, {}, Refused, "404"),
    (413, b"", {}, Refused, "413"),
    (301, b"", {"location": "https://elsewhere/"}, PlatformDown, "elsewhere"),
    (302, HTML, {"location": "/login"}, PlatformDown, "base_url"),
    (307, b"", {}, PlatformDown, "nowhere"),
    (308, b"", {"location": "x"}, PlatformDown, "redirect"),
    (303, b"", {"location": "/done"}, Nonsense, "303"),
    (200, HTML, {"content-type": "text/html; charset=utf-8"}, Nonsense, "text/html"),
    (200, b'{"code": 0, "data": {', {}, Nonsense, "cannot be read"),
    (200, b"", {}, Nonsense, "0 bytes"),
    (200, b"\xff\xfe\x00", {}, Nonsense, "cannot be read"),
    (200, b"[]", {}, Nonsense, "no envelope"),
    (200, b'{"data": {"task_id": 1}}', {}, Nonsense, "no envelope"),
    (200, b"[" * 200_000, {}, Nonsense, "cannot be read"),
    (200, b'{"code": ' + b"9" * 5000 + b"}", {}, Nonsense, "cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "headers", "fault", "words"), CASES, ids=[f"{c[0]}-{c[1][:16]!r}-{c[3].__name__}" for c in CASES]
)
def test_what_an_answer_amounts_to(
    status: int, body: bytes, headers: dict[str, str], fault: type[Fault], words: str
) -> None:
    with pytest.raises(Fault) as caught:
        judged(status, body, **headers)
    assert type(caught.value) is fault
    assert words in caught.value.sentence
    assert "\n" not in caught.value.sentence


def test_how_long_to_wait_comes_along() -> None:
    for status in (429, 503):
        with pytest.raises(Busy) as caught:
            judged(status, b"", retry_after="7")
        assert caught.value.retry_after == 7.0
    with pytest.raises(Nonsense) as temporary:
        judged(502, HTML, retry_after="3")
    assert temporary.value.retry_after == 3.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None), ("0", 0.0), (" 12 ", 12.0), ("soon", None), ("", None), ("-5", None), ("1.5", None),
        ("Sun, 22 Nov 2026 14:18:30 GMT", 30.0), ("Sun, 22 Nov 2026 14:00:00 GMT", 0.0),
        ("Sunday, 22-Nov-26 14:19:00 GMT", 60.0), ("Sun, 22 Nov 2026 14:18:30 -0000", None),
        ("Sun, 99 Nov 2026 14:18:30 GMT", None), ("²", None), ("9" * 400, 999999999.0),
    ],
)  # fmt: skip
def test_retry_after_is_a_number_of_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


@given(st.text(st.characters(max_codepoint=255)))
def test_any_retry_after_is_read_or_passed_over(value: str) -> None:
    found = retry_after(value, NOW)
    assert found is None or found >= 0


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(10**400), 10**400) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8) | st.sampled_from(["code", "msg", "data"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.integers(200, 599), st.one_of(st.binary(), JSON.map(lambda value: json.dumps(value).encode())))
@example(200, b'{"code": 1e999}')
@example(500, b'{"code": NaN, "msg": "\\ud83d"}')
def test_any_answer_is_data_or_one_of_our_faults(status: int, body: bytes) -> None:
    fault = None
    try:
        judged(status, body)
    except Fault as raised:
        fault = raised
    assert fault is None or 0 < len(fault.sentence) < 2000


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (5, 5.0), (-1, -1.0), (2.5, 2.5), ("22", 22.0), (" 7 ", 7.0), ("-1", -1.0), (True, None), (None, None),
        ("", None), ("many", None), (float("nan"), None), ("inf", None), (10**400, None), ([], None), ("²", None),
    ],
    ids=lambda value: ascii(value)[:12],
)  # fmt: skip
def test_a_figure_may_be_a_number_or_its_text(value: object, meant: float | None) -> None:
    assert number(value) == meant
