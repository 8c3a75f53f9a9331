"""What is refused, and in which words."""

from collections.abc import Callable

import pytest

from renderdrop.intake.refuse import refusal
from renderdrop.model.route import Input, Route


@pytest.mark.parametrize(
    ("accepts", "path", "kind", "words"),
    [
        ("image", "a.png", "file", None),
        ("image", "sub/A.JPG", "file", None),
        ("any", "a", "file", None),
        ("video", "a.mov", "file", None),
        (("*.exr",), "sub.d/A.EXR", "file", None),
        ("image", "a.mp4", "file", "an image"),
        ("image", "a", "file", "an image"),
        ("video", "a.png", "file", "a video"),
        ("audio", "png.wav.txt", "file", "an audio file"),
        (("*.exr",), "a.png", "file", "*.exr"),
        (("x.exr",), "x.exr/a.png", "file", "x.exr"),
        ("image", "a.png", "link", "symbolic link"),
        ("image", "a.png", "fifo", "named pipe"),
        ("any", "a.png", "socket", "socket"),
        ("any", "a.png", "device", "device"),
        ("any", "a", "door", "no ordinary file"),
    ],
    ids=str,
)
def test_a_path_is_taken_or_refused_in_words(
    accepts: str | tuple[str, ...], path: str, kind: str, words: str | None, make_route: Callable[..., Route]
) -> None:
    found = refusal(make_route(inputs=(Input("input_image", accepts),)), path, kind)
    if words is None:
        assert found is None
    else:
        assert found is not None
        assert words in found
        assert len(found.splitlines()) == 1
        assert not found.endswith(".")  # the notice ends the sentence
