"""The demo's pictures: drawn, not shipped, each a little different, under names of many scripts."""

import io
import math
from typing import Final

from PIL import Image, ImageDraw

NAMES: Final = (
    "harbour.png", "肖像.png", "Grüße aus Köln.JPG", "ночной город.png", "花見 🌸.webp", "صورة.png",
    "night/moon.png", "한강.jpg", "चित्र.png", "l'été (2).jpeg", "UPPER.PNG", "big/slowly copied.png",
)  # fmt: skip
"""A dozen; the last is the one that is copied slowly."""

_FORMATS: Final = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP"}


def picture(name: str, number: int) -> bytes:
    """A landscape of hills under a sun, in the format of the name's ending."""
    width, height = 480, 320
    sky, low = (40 + 15 * number, 90, 220 - 12 * number), (250, 190 - 6 * number, 120)
    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)
    for y in range(height):
        part = y / height
        draw.line([(0, y), (width, y)], tuple(round(a + (b - a) * part) for a, b in zip(sky, low, strict=True)))
    sun = (60 + 30 * number, 60 + 10 * (number % 5))
    draw.circle(sun, 30, (255, 240, 200))
    for hill in range(3):
        base = 190 + 40 * hill
        crest = [(x, base + 25 * math.sin(x / (50 + 20 * hill) + number + hill)) for x in range(0, width + 8, 8)]
        shade = 110 - 30 * hill
        draw.polygon([*crest, (width, height), (0, height)], (shade // 2, shade, 60 + 8 * number % 90))
    out = io.BytesIO()
    image.save(out, _FORMATS[name.rpartition(".")[2].lower()])
    return out.getvalue()
