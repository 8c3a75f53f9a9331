"""What a dropped or a delivered file is, by its extension: the media classes of a route's inputs.

Owns: one table, extension → media type. The class (image, video, audio, text) is the media type's first word.
Content is never sniffed: the platform judges what it gets, we only say which input a file may feed.
"""

import fnmatch
from collections.abc import Sequence
from typing import Final

from renderdrop.model.names import fold, split_ext

MEDIA_TYPES: Final[dict[str, str]] = {
    # image
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".jpe": "image/jpeg", ".jfif": "image/jpeg",
    ".webp": "image/webp", ".gif": "image/gif", ".bmp": "image/bmp", ".tif": "image/tiff", ".tiff": "image/tiff",
    ".tga": "image/x-tga", ".exr": "image/x-exr", ".hdr": "image/vnd.radiance", ".avif": "image/avif",
    ".heic": "image/heic", ".heif": "image/heif", ".jxl": "image/jxl", ".psd": "image/vnd.adobe.photoshop",
    ".dpx": "image/x-dpx", ".svg": "image/svg+xml",
    # video
    ".mp4": "video/mp4", ".m4v": "video/x-m4v", ".mov": "video/quicktime", ".mkv": "video/x-matroska",
    ".webm": "video/webm", ".avi": "video/x-msvideo", ".mpg": "video/mpeg", ".mpeg": "video/mpeg",
    ".wmv": "video/x-ms-wmv", ".flv": "video/x-flv", ".ts": "video/mp2t", ".m2ts": "video/mp2t", ".mts": "video/mp2t",
    ".mxf": "application/mxf", ".3gp": "video/3gpp", ".ogv": "video/ogg",
    # audio
    ".wav": "audio/wav", ".mp3": "audio/mpeg", ".flac": "audio/flac", ".m4a": "audio/mp4", ".aac": "audio/aac",
    ".ogg": "audio/ogg", ".oga": "audio/ogg", ".opus": "audio/opus", ".aif": "audio/aiff", ".aiff": "audio/aiff",
    ".wma": "audio/x-ms-wma",
    # results that are none of these
    ".json": "application/json", ".txt": "text/plain", ".zip": "application/zip", ".glb": "model/gltf-binary",
    ".gltf": "model/gltf+json", ".obj": "model/obj", ".ply": "model/ply", ".srt": "application/x-subrip",
}  # fmt: skip

UNTYPED: Final = "application/octet-stream"
_OTHER_NAMES: Final = {"image/jpg": ".jpg", "audio/x-wav": ".wav", "audio/wave": ".wav", "audio/mp3": ".mp3"}
_CLASS_OF: Final = {".mxf": "video"}

ACTIVE: Final = frozenset(
    {
        "ade", "adp", "apk", "app", "appimage", "application", "asp", "aspx", "bas", "bash", "bat", "cer", "chm", "cmd",
        "cnt", "com", "command", "cpl", "crt", "csh", "deb", "der", "desktop", "diagcab", "dll", "dmg", "docm", "dotm",
        "elf", "exe", "fileloc", "fxp", "gadget", "grp", "hlp", "hpj", "hta", "htc", "htm", "html", "img", "inetloc",
        "inf", "ini", "ins", "iqy", "iso", "isp", "its", "jar", "jnlp", "js", "jse", "ksh", "lnk", "mad", "maf", "mam",
        "maq", "mar", "mas", "mau", "mav", "maw", "mcf", "mda", "mdb", "mde", "mdt", "mdw", "mdz", "mht", "mhtml",
        "msc", "msh", "msi", "msix", "msp", "mst", "msu", "ocx", "osd", "pcd", "php", "pif", "pkg", "pl", "plg", "potm",
        "ppam", "ppsm", "pptm", "prg", "printerexport", "ps1", "ps1xml", "psc1", "psd1", "psm1", "pst", "py", "pyc",
        "pyo", "pyw", "pyz", "reg", "rpm", "run", "scf", "scpt", "scr", "sct", "search-ms", "sh", "shb", "shs", "shtml",
        "sldm", "slk", "swf", "sys", "terminal", "theme", "tmp", "udl", "url", "vb", "vbe", "vbp", "vbs", "vhd", "vhdx",
        "vsw", "webloc", "website", "workflow", "ws", "wsc", "wsf", "wsh", "xbap", "xht", "xhtml", "xlam", "xll",
        "xlsm", "xltm", "xnk", "xsl", "xslt",
    }
)  # fmt: skip
"""Extensions, without their dot, of what a desktop runs or follows when it is opened or merely looked at (the types
that Outlook blocks, and their kin elsewhere). No result bears one: what it is called was a stranger's choice."""

MEDIA_CLASSES: Final = ("image", "video", "audio", "text", "any")
LINK: Final = ".url"
"""An internet shortcut, as every desktop writes it: it can stand for a picture that is already public."""

Accepts = str | tuple[str, ...]
"""What an input takes: one of MEDIA_CLASSES, or patterns of names such as ("*.exr",)."""


def media_type(name: str) -> str:
    """The media type by a name's extension; `application/octet-stream` where it says nothing."""
    return MEDIA_TYPES.get(fold(split_ext(name)[1]), UNTYPED)


def extension(media: str) -> str:
    """The extension (with its dot) for a Content-Type value; "" where none is known."""
    media = media.split(";")[0].strip().lower()
    if media in _OTHER_NAMES:
        return _OTHER_NAMES[media]
    return next((ext for ext, known in MEDIA_TYPES.items() if known == media), "")


def media_class(name: str) -> str | None:
    """image, video, audio or text by a name's extension, None where it is none of them."""
    ext = fold(split_ext(name)[1])
    found = _CLASS_OF.get(ext) or MEDIA_TYPES.get(ext, "").split("/")[0]
    return found if found in MEDIA_CLASSES else None


def takes(accepts: Accepts, name: str) -> bool:
    """Whether an input that `accepts` this may be fed with a file of that name. Patterns ignore case."""
    if isinstance(accepts, tuple):
        return any(fnmatch.fnmatchcase(fold(name), fold(pattern)) for pattern in accepts)
    return accepts == "any" or media_class(name) == accepts


def wanted(accepts: Accepts | Sequence[str]) -> str:
    """The same for people: "an image", "a file like *.exr"."""
    if isinstance(accepts, str):
        words = {"image": "an image", "video": "a video", "audio": "an audio file", "text": "a text file (.txt)"}
        return words.get(accepts, "any file")
    return "a file like " + " or ".join(accepts)
