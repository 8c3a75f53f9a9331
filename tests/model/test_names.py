"""Names: kept, compared, cut, cleaned and shown, whatever a stranger put into them."""

import os
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from renderdrop.model.names import clean, cut, fold, natural, notices, numbered, shown, split_ext

TEXT = st.text(st.characters(), max_size=300)
"""Any characters, lone surrogates among them."""
NAMES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=90),
    st.binary(min_size=1, max_size=255).filter(lambda b: b"/" not in b and b"\0" not in b).map(os.fsdecode),
).filter(lambda name: len(os.fsencode(name)) <= 255 and name not in (".", ".."))
"""What a Linux file can be called."""
RESERVED = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in "123456789¹²³")}


@given(TEXT)
@example("../../etc/passwd")
@example("CON.png")
@example("con" + " " * 300 + "x")
@example("nul")
@example("com¹.txt")
@example("aux .png")
@example(". .hidden")
@example("a." + "x" * 300)
@example("猫" * 100 + ".png")
@example("x." + "y" * 14 + "  tail")
@example("\u202egpj.exe")
@example("...")
@example("\ud83d.png")
def test_a_cleaned_name_can_do_no_harm_anywhere(name: str) -> None:
    cleaned = clean(name)
    raw = cleaned.encode()  # no surrogates
    assert 0 < len(raw) <= 255
    assert not set(cleaned) & set('/\\:*?"<>|\0')
    assert not cleaned.startswith(".")
    assert not cleaned.endswith((".", " "))
    assert all(unicodedata.category(c) not in {"Cc", "Cs", "Zl", "Zp"} for c in cleaned)
    assert cleaned.split(".")[0].rstrip(" ").casefold() not in RESERVED


@pytest.mark.parametrize("name", ["a.png", "肖像 照片.JPG", "🎬 clip.mp4", "👩\u200d🎨.png", "a b.tar.gz", "été.png"])
def test_a_harmless_name_is_left_as_it_is(name: str) -> None:
    assert clean(name) == name


def test_a_name_of_which_nothing_is_left_takes_the_fallback() -> None:
    assert clean("...") == "output"
    assert clean("\u200b", "input") == "input"


@given(TEXT)
def test_a_cleaned_name_is_clean(name: str) -> None:
    assert clean(clean(name)) == clean(name)


@given(TEXT)
@example("a\nb\r\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e")
@example("\u202e\u200f\ud800")
def test_what_is_shown_is_one_line_that_any_encoder_takes(name: str) -> None:
    told = shown(name)
    assert len(f"<{told}>".splitlines()) == 1
    told.encode()
    assert not any(unicodedata.category(c) in {"Cc", "Cs"} for c in told)
    assert not set(told) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u200e\u200f")


@given(NAMES)
def test_a_name_is_the_same_name_in_either_unicode_form_and_in_either_case(name: str) -> None:
    assert fold(name) == fold(unicodedata.normalize("NFC", name)) == fold(unicodedata.normalize("NFD", name))
    assert fold(fold(name)) == fold(name)


@pytest.mark.parametrize(
    ("one", "other"), [("A.PNG", "a.png"), ("e\u0301.png", "é.png"), ("É", "e\u0301"), ("STRASSE", "straße")]
)
def test_names_that_people_take_for_the_same_fold_alike(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("name", "stem", "ext"),
    [
        ("a.png", "a", ".png"), ("a.tar.gz", "a.tar", ".gz"), ("a", "a", ""), (".png", ".png", ""), ("a.", "a", "."),
        (".a.b", ".a", ".b"),
    ],
)  # fmt: skip
def test_the_last_dot_begins_the_extension_but_not_the_first_character(name: str, stem: str, ext: str) -> None:
    assert split_ext(name) == (stem, ext)


@given(NAMES, st.sampled_from(["", ".png", ".error.json", "-12.png", "_3.jpeg"]))
def test_a_cut_name_fits_keeps_its_tail_and_begins_as_before(stem: str, tail: str) -> None:
    whole = os.fsencode(cut(stem, tail))
    assert len(whole) <= 255
    assert whole.endswith(tail.encode())
    kept = whole.removesuffix(tail.encode())
    assert os.fsencode(stem).startswith(kept)
    # Only what had to go went: at most one character more.
    assert kept == os.fsencode(stem) or len(whole) > 255 - 4


def test_a_name_is_cut_between_characters() -> None:
    assert cut("猫" * 100, ".png") == "猫" * 83 + ".png"
    assert os.fsencode(cut("\udc80" * 255, ".png")) == b"\x80" * 251 + b".png"


@given(NAMES, st.integers(2, 10_000))
@example("a." + "x" * 253, 2)
@example("猫" * 84 + ".ab", 10)
def test_a_numbered_name_is_another_name_that_fits(name: str, n: int) -> None:
    other = numbered(name, n)
    assert 0 < len(os.fsencode(other)) <= 255
    assert other not in (name, "", ".", "..")
    assert f"-{n}" in other


def test_numbers_go_before_the_extension_and_leave_the_folder_alone() -> None:
    assert numbered("a.png", 1) == "a.png"
    assert numbered("a.png", 2) == "a-2.png"
    assert numbered("x.y/a.png", 3) == "x.y/a-3.png"
    assert numbered("x.y/a", 3) == "x.y/a-3"


@given(NAMES)
def test_notices_lie_beside_their_source_and_fit(name: str) -> None:
    for folder in ("", "sub/deep/"):
        txt, json = notices(folder + name)
        assert txt.startswith(folder)
        assert json.startswith(folder)
        assert "/" not in txt[len(folder) :]
        assert txt.endswith(".error.txt")
        assert json.endswith(".error.json")
        assert len(os.fsencode(txt[len(folder) :])) <= 255
        assert len(os.fsencode(json[len(folder) :])) <= 255


def test_notices_keep_the_whole_name_where_it_fits() -> None:
    assert notices("a/b.png") == ("a/b.png.error.txt", "a/b.png.error.json")


def test_a_list_of_names_goes_by_the_value_of_their_numbers() -> None:
    listed = ["F1.png", "f001.png", "f2.png", "f010.png", "f10b.png", "g.png", "g" + "9" * 200, "猫2", "猫10"]
    for given_names in (listed, listed[::-1]):
        assert sorted(given_names, key=lambda name: (natural(name), name)) == listed


@given(st.integers(0, 10**30), st.integers(0, 10**30), st.integers(1, 40))
def test_two_frames_of_one_name_are_listed_by_their_number(one: int, other: int, width: int) -> None:
    first, second = natural(f"f{one:0{width}}.png"), natural(f"f{other}.png")
    assert (first < second) == (one < other)
    assert (first == second) == (one == other)
