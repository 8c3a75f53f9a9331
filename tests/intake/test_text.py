"""A dropped text is what somebody wrote, or is refused with the way out; a link is one public address."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.intake.text import BadText, not_public, read_link, read_text
from renderdrop.model.names import shown

CHINESE = "油画风格，一只猫坐在窗边。\nseed 42 —— “安静”"


Found = tuple[str, str | None]


def outcome(read: Callable[[str, bytes], Found], data: bytes) -> Found | str:
    try:
        return read("p.txt", data)
    except BadText as bad:
        return bad.sentence


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a cat", "a cat"),
        ("猫 🐈 é".encode(), "猫 🐈 é"),
        (b"\xef\xbb\xbfa cat", "a cat"),
        ("a 猫".encode("utf-16"), "a 猫"),
        (b"\xfe\xff" + "a 猫".encode("utf-16-be"), "a 猫"),
        (b"one\r\ntwo\rthree\n\n \t", "one\ntwo\nthree"),
        (b"  kept in front", "  kept in front"),
        (b"a\tb", "a\tb"),
    ],
)
def test_unicode_is_read_as_it_was_written(data: bytes, text: str) -> None:
    assert read_text("p.txt", data) == (text, None)


def test_chinese_in_gbk_is_read_and_noted() -> None:
    assert read_text("p.txt", CHINESE.encode("gbk")) == (CHINESE, "p.txt was read as GBK; save it as UTF-8")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("naïve café", "latin-1"),
        ("Ä Ö Ü ßß", "cp1252"),
        ("привет, мир", "cp1251"),
        ("안녕하세요", "euc-kr"),
        ("日本語のテキスト", "euc-jp"),
        ("日本語のテキスト", "shift_jis"),
        ("繁體中文測試文字", "big5"),
        ("καλημέρα", "cp1253"),
    ],
)
def test_another_encoding_is_refused_rather_than_guessed_at(text: str, encoding: str) -> None:
    with pytest.raises(BadText, match=r"^p\.txt is not UTF-8 text; save it as UTF-8$"):
        read_text("p.txt", text.encode(encoding))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b" \r\n\t", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"a\0b", "NUL"),
        (b"a\x07b", "control characters"),
        ("a\x85b".encode(), "control characters"),
        ("ab".encode("utf-32"), "NUL"),
        ("ab".encode("utf-16") + b"x", "not UTF-8"),
        (b"\x89PNG\r\n\x1a\n", "not UTF-8"),
        (b"x" * (64 * 1024 + 1), "larger than 64 KiB"),
    ],
)
def test_what_is_no_text_is_refused_with_its_name(data: bytes, words: str) -> None:
    with pytest.raises(BadText) as caught:
        read_text("p.txt", data)
    assert words in caught.value.sentence
    assert "p.txt" in caught.value.sentence


@given(st.binary(max_size=300))
def test_any_bytes_end_in_a_text_or_a_sentence(data: bytes) -> None:
    found = outcome(read_text, data)
    if isinstance(found, str):
        assert found == shown(found)
        return
    text = found[0]
    assert text
    assert text == text.rstrip()
    assert "\r" not in text
    assert "\0" not in text
    text.encode()


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1).filter(str.strip))
def test_any_text_in_utf_8_is_read_back(text: str) -> None:
    assert read_text("p.txt", text.encode("utf-8-sig"))[0] == text.rstrip()


@pytest.mark.parametrize(
    "data",
    [
        b"[InternetShortcut]\r\nURL=https://a.b/c?d=1#e\r\nIconIndex=0\r\n",
        b"[{000214A0-0000-0000-C000-000000000046}]\nProp3=19,2\n[internetshortcut]\nIDList=\nurl = https://a.b/c?d=1#e",
        b"\xef\xbb\xbfhttps://a.b/c?d=1#e",
        b"\n  https://a.b/c?d=1#e  \nnotes",
        "[InternetShortcut]\nURL=https://a.b/c?d=1#e\nIconFile=C:\\Bücher".encode("latin-1"),
        "[InternetShortcut]\r\nURL=https://a.b/c?d=1#e".encode("utf-16"),
    ],
)
def test_a_link_is_read_from_a_shortcut_or_a_plain_file(data: bytes) -> None:
    assert read_link("a.url", data) == "https://a.b/c?d=1#e"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"hello", b"[InternetShortcut]\n", b"[InternetShortcut]\n[Other]\nURL=https://a.b", b"URL=https:/a",
        b"file:///etc/passwd", b"[InternetShortcut]\nURL=file:///c:/x.png", b"ftp://a.b/c", b"https://u:p@a.b/c",
        b"https://u@a.b/c", b"https://[::1", b"https://a.b:port/", b"https://a.b/\x01", b"https://",
        b"https://a.b/" + b"x" * 2048, b"x" * 70_000,
    ],
)  # fmt: skip
def test_what_is_no_public_address_is_refused_with_the_files_name(data: bytes) -> None:
    with pytest.raises(BadText, match=r"a\.url"):
        read_link("a.url", data)


@given(st.binary(max_size=200))
def test_any_bytes_end_in_an_address_or_a_sentence(data: bytes) -> None:
    for lead in (b"", b"https://", b"[InternetShortcut]\nURL="):
        found = outcome(lambda name, data: (read_link(name, data), None), lead + data)
        if isinstance(found, str):
            assert found == shown(found)
        else:
            assert not_public(found[0]) is None
