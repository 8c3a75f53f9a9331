"""Makes the outputs: pictures are really changed, everything else passes through byte for byte.

Owns: Pillow (imported only when a picture comes, so that nothing else pays for it). The same picture with the
same parameters gives the same bytes. Everything here blocks: call it in a thread. Must never touch an upload.
"""

import functools
import hashlib
import os
import shutil
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from PIL import Image, ImageFont

_CJK_FONTS: Final = ("NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf")

_SIZE: Final = (512, 384)
"""Of a picture that is drawn from nothing."""


class Unreadable(Exception):
    """This is not a picture that can be opened, or not all of it is there."""


def check(path: str) -> None:
    """Raises Unreadable where Pillow does not recognise a whole picture."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            picture.verify()
    except Exception as error:  # Pillow's plugins raise whatever their formats make them raise
        raise Unreadable(str(error)) from error


def passed(source: str, target: Path) -> None:
    """The same bytes under another name: a hard link where the file system has them, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def painted(source: str, target: Path, form: str, parameters: Mapping[str, str]) -> None:
    """A picture of the source's size in `form` ("png" or "jpg"), recoloured, with the parameters printed onto it."""
    from PIL import Image

    try:
        with Image.open(source) as opened:
            opened.load()
            picture = _repainted(opened, parameters)
    except Exception as error:  # as above
        raise Unreadable(str(error)) from error
    if form == "png":
        picture.save(target, "PNG", compress_level=1)
    else:
        picture.convert("RGB").save(target, "JPEG", quality=90)


def drawn(target: Path, form: str, parameters: Mapping[str, str]) -> None:
    """A new picture in `form` ("png" or "gif"), with the parameters printed onto it."""
    from PIL import Image

    picture = _labelled(Image.linear_gradient("L").resize(_SIZE).convert("RGB"), parameters)
    if form == "png":
        picture.save(target, "PNG", compress_level=1)
    else:
        picture.save(target, "GIF")


def _repainted(source: "Image.Image", parameters: Mapping[str, str]) -> "Image.Image":
    from PIL import ImageOps

    clear = source.convert("RGBA").getchannel("A") if source.has_transparency_data else None
    picture = _labelled(ImageOps.posterize(ImageOps.solarize(source.convert("RGB"), 160), 4), parameters)
    if clear is not None:
        picture.putalpha(clear)
    return picture


def _labelled(picture: "Image.Image", parameters: Mapping[str, str]) -> "Image.Image":
    """The picture in a tint of these parameters, and their words in a bar at its foot."""
    from PIL import Image, ImageDraw

    words = "  ".join(f"{name}={value}" for name, value in sorted(parameters.items())) or "sandbox"
    # The tint comes from the parameters, so that two seeds give two pictures even where no letter can be read.
    tint = hashlib.sha256(words.encode()).digest()
    picture = Image.blend(picture, Image.new("RGB", picture.size, (tint[0], tint[1], tint[2])), 0.3)
    size = max(8, min(picture.size) // 16)
    font, speaks_chinese = _font(size)
    words = words if speaks_chinese else words.encode("ascii", "backslashreplace").decode("ascii")
    lines = textwrap.wrap(
        words,
        width=max(8, picture.width * 5 // (size * 3)),  # a letter is about 0.6 of its height
        max_lines=max(1, picture.height // (2 * size)),
        placeholder=" ...",
    )
    height = size * 5 // 4
    top = picture.height - height * len(lines) - size * 3 // 4
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, top, picture.width, picture.height), fill=(0, 0, 0))
    for number, line in enumerate(lines):
        pen.text((size // 2, top + size // 3 + number * height), line, fill=(255, 255, 255), font=font)
    return picture


@functools.lru_cache(maxsize=64)
def _font(size: int) -> "tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, bool]":
    from PIL import ImageFont

    for name in _CJK_FONTS:
        try:
            return ImageFont.truetype(name, size), True
        except OSError:
            continue
    return ImageFont.load_default(size), False


def fingerprint(path: Path) -> tuple[int, str]:
    """A file's size in bytes and SHA-256."""
    with path.open("rb") as file:
        digest: Any = hashlib.file_digest(file, "sha256")
        return os.fstat(file.fileno()).st_size, str(digest.hexdigest())
