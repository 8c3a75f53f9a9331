"""Media classes, types and extensions: one table, read both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.model.media import (
    MEDIA_CLASSES,
    MEDIA_TYPES,
    UNTYPED,
    extension,
    media_class,
    media_type,
    takes,
    wanted,
)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.png", "image"), ("A.JPG", "image"), ("a.b.exr", "image"), ("照片.webp", "image"), ("a.mp4", "video"),
        ("a.MOV", "video"), ("a.mxf", "video"), ("a.ts", "video"), ("a.wav", "audio"), ("a.Opus", "audio"),
        ("a.txt", "text"), ("a.zip", None), ("a", None), (".png", None), ("a.png.zip", None), ("", None),
    ],
)  # fmt: skip
def test_a_name_says_its_class_by_its_extension_alone(name: str, kind: str | None) -> None:
    assert media_class(name) == kind
    assert takes("any", name)
    assert [c for c in MEDIA_CLASSES if c != "any" and takes(c, name)] == ([kind] if kind else [])


@pytest.mark.parametrize("ext", MEDIA_TYPES)
def test_every_extension_leads_to_a_type_that_leads_to_an_extension_of_that_type(ext: str) -> None:
    assert media_type("x" + ext) == media_type("x" + ext.upper()) == MEDIA_TYPES[ext]
    assert MEDIA_TYPES[extension(MEDIA_TYPES[ext])] == MEDIA_TYPES[ext]


@pytest.mark.parametrize(
    ("media", "ext"),
    [
        ("image/png", ".png"), ("image/jpeg", ".jpg"), ("IMAGE/JPG ; q=1", ".jpg"), ("video/mp4", ".mp4"),
        ("text/plain; charset=utf-8", ".txt"), ("audio/x-wav", ".wav"), (UNTYPED, ""), ("", ""), ("/", ""),
    ],
)  # fmt: skip
def test_a_content_type_leads_to_the_usual_extension(media: str, ext: str) -> None:
    assert extension(media) == ext


@given(st.text())
def test_any_text_may_be_a_name_or_a_content_type(text: str) -> None:
    assert media_type(text)
    assert extension(text) in ("", *MEDIA_TYPES)
    assert media_class(text) in (None, "image", "video", "audio", "text")


@pytest.mark.parametrize(
    ("patterns", "name", "taken"),
    [
        (("*.exr",), "a.EXR", True), (("*.EXR",), "a.exr", True), (("*.exr",), "a.png", False),
        (("*.exr", "*.dpx"), "a.dpx", True), (("shot_??.png",), "SHOT_01.png", True), (("*.é",), "x.e\u0301", True),
    ],
)  # fmt: skip
def test_patterns_ignore_case_and_unicode_form(patterns: tuple[str, ...], name: str, taken: bool) -> None:
    assert takes(patterns, name) == taken


def test_what_is_wanted_is_told_in_words() -> None:
    assert [wanted(c) for c in MEDIA_CLASSES] == [
        "an image", "a video", "an audio file", "a text file (.txt)", "any file",
    ]  # fmt: skip
    assert wanted(("*.exr", "*.dpx")) == "a file like *.exr or *.dpx"
