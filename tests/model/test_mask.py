"""The token is struck out of what a stranger says, in every spelling that somebody uses, and nothing else is."""

import base64
import json
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.model.mask import MASKED, Mask, stretches

TOKEN = "AI-canary/7f3a+Q9=k%2Bx~0c5d"
RAW = TOKEN.encode()


@pytest.mark.parametrize(
    "spelled",
    [
        TOKEN, quote(TOKEN, safe=""), quote(quote(TOKEN, safe=""), safe=""), RAW.hex(), RAW.hex().upper(),
        "".join(f"%{byte:02x}" for byte in RAW), "".join(f"\\u{byte:04X}" for byte in RAW), TOKEN.replace("/", "\\/"),
    ],
)  # fmt: skip
def test_a_spelling_of_the_token_is_struck_out(spelled: str) -> None:
    assert Mask(TOKEN).text(f"say {spelled} again") == f"say {MASKED} again"


@given(st.binary(max_size=9), st.binary(max_size=9))
def test_base64_of_it_is_struck_out_wherever_it_stands(before: bytes, behind: bytes) -> None:
    for spelled in (base64.b64encode, base64.urlsafe_b64encode):
        found = Mask(TOKEN).text(spelled(before + RAW + behind).decode())
        assert MASKED in found
        assert base64.b64encode(RAW[3:-3]).decode()[2:-4] not in found


@given(st.text())
def test_what_does_not_hold_it_stays_as_it_is(text: str) -> None:
    assert Mask(TOKEN).text(text) == text
    assert Mask(TOKEN).body(text.encode("utf-8", "surrogatepass")) == text.encode("utf-8", "surrogatepass")


@given(st.text(), st.text())
def test_json_stays_json(before: str, behind: str) -> None:
    value = {"msg": before + TOKEN + behind}
    for body in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        masked = json.loads(Mask(TOKEN).body(body.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass"))
        assert TOKEN not in masked["msg"]
        assert MASKED in masked["msg"]


def test_a_renewed_token_is_struck_out_beside_the_old_one() -> None:
    mask = Mask(TOKEN)
    mask.add("AI-another-one")
    assert mask.text(f"{TOKEN} AI-another-one") == f"{MASKED} {MASKED}"


def test_a_token_too_short_to_be_one_breaks_no_text() -> None:
    assert Mask("1").text('{"code": 1}') == '{"code": 1}'
    assert Mask("").text("a") == "a"


@pytest.mark.parametrize("spelled", [quote(TOKEN, safe=""), "".join(f"\\u{byte:04X}" for byte in RAW)])
@pytest.mark.parametrize("border", [2**14, 2**15])
def test_it_is_struck_out_wherever_it_lies_in_a_long_answer(spelled: str, border: int) -> None:
    for shift in range(-len(spelled) - 1, 2):
        before, behind = "x" * (border + shift), "y" * 2**15
        assert Mask(TOKEN).text(before + spelled + behind + spelled) == before + MASKED + behind + MASKED


def test_a_long_answer_is_searched_for_escapes_only_where_there_are_any() -> None:
    """A picture of 20 MB with one line's end in it took seconds, in which nothing else ran."""
    picture = base64.b64encode(bytes(15 * 2**20))
    assert list(stretches(picture, 500)) == []
    for escape in (b"\\n", b"%20"):
        found = list(stretches(picture[: 2**23] + escape + picture[2**23 :], 500))
        assert 1 <= len(found) <= 2
        assert sum(end - begin for begin, end in found) < 2**16


def test_no_search_is_so_long_that_others_have_to_wait_for_it() -> None:
    """Where there are escapes everywhere it goes piece by piece: between two of them other threads have their turn."""
    found = list(stretches(b"\\n" * 2**20, 500))
    assert max(end - begin for begin, end in found) <= 2**15
    assert [begin for begin, _ in found] == list(range(0, 2**21, found[1][0]))


def test_no_text_makes_the_search_slow() -> None:
    began = time.process_time()
    for unit in (b"\\", b"%25", b"A%", b"\\u00", b"AI-canar"):
        Mask(TOKEN).body(unit * (2**20 // len(unit)))
    assert time.process_time() - began < 30
