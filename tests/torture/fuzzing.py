"""How the fuzz is made: valid documents, bent; pieces, repeated up to a reader's cap; and the one verdict on both.

Whatever a reader is given, it must end in a value or in one of our own errors, in time that grows like the input.
Nothing here knows a reader: the proofs beside it do.
"""

import copy
import time
import warnings
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisWarning
from tests.torture.table import WHOLE, Tally

from renderdrop.model.errors import Fault

T = TypeVar("T")

SLOW: Final = 2.0
"""Seconds of this thread's CPU for one input, however hostile; a reader that is linear needs a tenth of it at most."""

ODD: Final = (
    "", " ", ".", "..", "../../etc/passwd", "/etc/passwd", "a\0b", "a\nb", "a\r\nX: y", "\u202etxt.exe", "\ufeff",
    "\ud800", "\udc80.png", "\U0010ffff", "e\u0301", "CON", "con.png", "nul ", "a" * 300, "图" * 100, "𝕏" * 70,
    "." * 40, " " * 40, "%00", "%2e%2e%2f", "{stem}", "{0.__class__}", "=?utf-8?q?x?=", "²", "٣", "1e999", "-0",
    "0x10", "NaN", "9" * 5000, "AI-0123456789abcdef", "file:///etc/passwd", "data:,", "data:;base64,=", "http://",
    "http://[::1", "http://a:b@c", "http://\ud800/", "https://x/\x00", "javascript:1", "//x/y", "\\\\x\\y", "success",
    "fail", "pending", "running", "info", "warning", "error", "true", "null",
)  # fmt: skip
"""Texts at which readers stumble."""
NUMBERS: Final = (0, -1, 1, 2**31, 2**63, -(2**63), 10**400, 0.0, -0.0, 1e308, 5e-324, float("inf"), float("nan"))

texts: Final = st.one_of(
    st.sampled_from(ODD), st.text(st.characters(exclude_categories=()), max_size=40), st.text(max_size=12),
    st.builds("".join, st.lists(st.sampled_from(ODD), max_size=4)),
)  # fmt: skip
leaves: Final = st.one_of(
    st.none(), st.booleans(), st.sampled_from(NUMBERS), st.integers(), st.floats(allow_nan=False), texts
)
values: Final = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)
"""Any value of JSON, and some that only Python's JSON has."""


huge: Final = st.sampled_from([("[", 100_000), ('{"code":', 50_000), ("9", 10_000), ('"', 1), (" ", 100_000)]).map(
    lambda piece: piece[0] * piece[1]
)
"""JSON that is nothing but its beginning."""


def deep(depth: int, value: Any = 0, key: str | None = None) -> Any:
    """A value within so many lists, or objects of that key."""
    for _ in range(depth):
        value = [value] if key is None else {key: value}
    return value


@st.composite
def bent(draw: st.DrawFn, documents: Sequence[Any], most: int = 4) -> Any:
    """A valid document with up to so many of its parts replaced, removed, renamed, repeated or put deeper."""
    found = copy.deepcopy(draw(st.sampled_from(documents)))
    for _ in range(draw(st.integers(0, most))):
        found = _bend(draw, found)
    return found


def _bend(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, dict) and value and draw(st.integers(0, 5)):
        key = draw(st.sampled_from(sorted(value)))
        match draw(st.integers(0, 7)):
            case 0:
                del value[key]
            case 1:
                value[draw(texts)] = value.pop(key)
            case 2:
                value[draw(texts)] = draw(values)
            case _:
                value[key] = _bend(draw, value[key])
        return value
    if isinstance(value, list) and value and draw(st.integers(0, 5)):
        at = draw(st.integers(0, len(value) - 1))
        match draw(st.integers(0, 5)):
            case 0:
                del value[at]
            case 1:
                value += [copy.deepcopy(value[at])] * draw(st.integers(1, 20))
            case _:
                value[at] = _bend(draw, value[at])
        return value
    if isinstance(value, str) and draw(st.booleans()):
        return spliced(draw, value, draw(texts))
    kinds = st.one_of(
        values, st.builds(deep, st.sampled_from([1, 7, 8, 9, 70, 400, 900]), leaves, st.sampled_from([None, "data"]))
    )
    return draw(kinds)


def spliced(draw: st.DrawFn, whole: T, piece: T) -> T:
    """A text or bytes with a piece put in, in place of some of it."""
    begin = draw(st.integers(0, len(whole)))  # type: ignore[arg-type]
    end = draw(st.integers(begin, min(len(whole), begin + 8)))  # type: ignore[arg-type]
    return whole[:begin] + piece + whole[end:]  # type: ignore[index,no-any-return]


@st.composite
def torn(draw: st.DrawFn, documents: st.SearchStrategy[bytes]) -> bytes:
    """Bytes that were cut, spliced or flipped, or left alone."""
    data = draw(documents)
    match draw(st.integers(0, 5)):
        case 0:
            return data[: draw(st.integers(0, len(data)))]
        case 1:
            return spliced(draw, data, draw(st.binary(max_size=6)))
        case 2:
            return draw(st.sampled_from([b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff\x00"])) + data
        case 3:
            return data.decode("utf-8", "replace").encode(draw(st.sampled_from(["utf-16", "utf-32", "gbk"])), "replace")
        case _:
            return data


@st.composite
def long(draw: st.DrawFn, pieces: Sequence[str], size: int) -> str:
    """Pieces repeated up to about `size` characters, with something before and behind: what is quadratic shows."""
    piece = "".join(draw(st.lists(st.sampled_from(pieces), min_size=1, max_size=3))) or "x"
    head, tail = (draw(st.sampled_from(["", *pieces])) for _ in range(2))
    middle = draw(st.sampled_from(["", *pieces]))
    half = piece * (size // len(piece) // 2)
    return head + half + middle + half + tail


def ended(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine that waits for nothing comes to."""
    try:
        work.send(None)
    except StopIteration as stop:
        found: T = stop.value
        return found
    raise AssertionError("it waits for something")


def examples(quick: int, whole: int) -> int:
    """How many inputs, by the size of this session."""
    return whole if WHOLE else quick


def fuzz(
    count: Tally, inputs: st.SearchStrategy[T], read: Callable[[T], Any], number: int,
    check: Callable[[T, Any], None] = lambda given, found: None,
) -> None:  # fmt: skip
    """So many inputs, each read: one run each. Fails on an error that is not ours, on a value that `check` refuses,
    and on an input that takes long."""

    @settings(
        max_examples=number, deadline=None, database=None, derandomize=not WHOLE,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(inputs)
    def each(one: T) -> None:
        began, fault = time.thread_time(), None
        try:
            found = read(one)
        except Fault as ours:
            fault = ours
        took = time.thread_time() - began
        assert took < SLOW, f"it took {took:.1f} s"
        if fault is None:
            check(one, found)
        else:
            assert fault.sentence.strip()
        count.run()

    with warnings.catch_warnings():
        # That a failing input is long to print must not hide what it did.
        warnings.simplefilter("ignore", HypothesisWarning)
        each()
