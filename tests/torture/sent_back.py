"""What a hostile platform may send back: the table of names and addresses, and the search for the canary."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from tests.rig.villain import MEDIA, Trick, Villain, envelope, row, said

TOKEN: Final = "AI-canary/7f3a+Q9=k%2Bx~0c5d"
"""The canary: not its own form when it is percent-encoded, escaped in JSON, or in base64."""
_RAW: Final = TOKEN.encode()
_BEARER: Final = base64.b64encode(b"Bearer " + _RAW)[12:-4]
FORMS: Final = {
    _RAW, quote(TOKEN, safe="").encode(), quote(quote(TOKEN, safe=""), safe="").encode(), _RAW.hex().encode(),
    base64.b64encode(_RAW), base64.urlsafe_b64encode(_RAW), _BEARER,
    _RAW.replace(b"/", b"\\/"), "".join(f"\\u{ord(c):04x}" for c in TOKEN).encode(),
    "".join(f"%{ord(c):02X}" for c in TOKEN).encode(),
}  # fmt: skip
ECHO: Final = " ".join(
    [*sorted(form.decode() for form in FORMS - {_BEARER}), base64.b64encode(b"Bearer " + _RAW).decode()]
)
"""Every form of it, as an echo in a text."""
UGLY: Final = '<script>alert(1)</script>\x1b[31m\x1b]0;owned\x07\u202eevil\u2028forged\r\n{"event": "forged"}\x00'
"""What may stand in a message and must do no harm."""

End = Literal["delivered", "failed", "any"]


@dataclass(frozen=True)
class Case:
    """An output as it is named, and what becomes of its job. `suffix`: how the file's name ends, if it is told."""

    output: str
    end: End = "delivered"
    suffix: str | None = None
    to: str | None = None
    """Where the address redirects to, if it does."""

    @property
    def lasts(self) -> bool:
        """Whether it may take longer than anybody waits: what is no address at all today may be one tomorrow, and
        whether an odd one can be resolved is the machine's business."""
        return self.end == "any"


NAMES: Final[tuple[Case, ...]] = (
    *(Case(name, suffix=".png") for name in (
        "../x.png", "../../../../../../tmp/x.png", "..%2f..%2fx.png", "..%252f..%252fx.png", "%2e%2e%2fx.png",
        "/etc/passwd", "//etc/passwd", "C:\\x.png", "..\\..\\x.png", "\\\\host\\share\\x.png", "x\0.png", "x%00.png",
        "x\n.png", "x\r\nSet-Cookie: a=b", "\x1b[31mx.png", "\u202egnp.x.png", "x" * 300 + ".png", "帧" * 300 + ".png",
        "CON", "NUL.png", "aux", "COM1.png", ".png", "...", ".hidden.png", "-rf.png", "x.png. ", "~x.png", "x.tmp.png",
        ".renderdrop", ".renderdrop/x.png", "STATUS.html", "x.png.exe", "x.lnk", "x.html", "x.HTML", "x.url",
        "desktop.ini", "x.scf", "Thumbs.db\\x.sh", "javascript:alert(1)", "file:/etc/passwd",
        "http://{own}/api/view?filename=a.png&filename=b.exe", "http://{own}/api/view?filename=x.lnk#/../y.png",
        "http://{own}/a/../../../../etc/passwd", "http://{own}/a;b=../x?y=../z",
        "http://name:password@{own}/x.png", "http://name@{other}/x.png",
        "http://{other}/x.png?token={quoted}", "http://{own}\\@{other}/x.png", "http://{other}#@{own}/x.png",
        "http://{six}/x.png", "http://localhost:{port}/x.png",
        "http://127.1:{port}/x.png", "http://0.0.0.0:{port}/x.png", "http://[::ffff:127.0.0.1]:{port}/x.png",
    )),
    Case("{stem}.json", suffix="_1.json"), Case("{stem}.JSON", suffix="_1.JSON"),
    Case("data:image/png;base64,AAAA", suffix=".png"), Case("data:text/html,<script>", suffix=""),
    *(Case(url, "failed") for url in (
        "file:///etc/passwd", "FILE://localhost/etc/passwd", "ftp://{other}/x.png", "gopher://{other}/x.png",
        "javascript://{other}/%0aalert(1)", "unix:///run/x.sock", "http:///x.png",
        "http://{other}:99999/x.png", "http://0177.0.0.1:{port}/x.png", "http://{token}@{other}/x.png",
        "http://x:{token}@{other}/{quoted}.png", "http://169.254.169.254/latest/meta-data/", "http://[::ffff:169.254.169.254]/x",
        "http://[fe80::1]/x.png", "http://100.100.100.200/latest/meta-data/",
        "   ", "http://{other}/" + "x" * 60_000 + ".png",
    )),
    *(Case("http://{own}/{stem}.png", suffix=".png", to=to) for to in (
        "http://{other}/x.png", "//{other}/x.png", "../../x.png", "http://{own}@{other}/?{quoted}",
    )),
    *(Case("http://{own}/{stem}.png", "failed", to=to) for to in (
        "file:///etc/passwd", "http://169.254.169.254/latest",
    )),
    *(Case("http://{own}/{stem}.png", "any", to=to) for to in (
        "http://{other}:99999/", "http://{token}@{other}/{token}.png", "http://[", "data:image/png;base64,AAAA",
        "javascript:alert(1)",
    )),
    *(Case(url, "any") for url in (
        "http://a b/x.png", "http://2130706433:{port}/x.png", "http://0x7f000001:{port}/x.png", "http://2852039166/latest",
        "http://localhost.:{port}/x.png",
    )),
)  # fmt: skip
"""More than 40 hostile names and addresses."""


def trick(villain: Villain, case: Case, stem: str) -> Trick:
    """The villain's way of playing a case on the file of this stem."""

    def filled(text: str) -> str:
        words = {
            "own": villain.netlocs[0], "port": villain.port, "other": villain.netlocs[1], "six": villain.netlocs[2],
            "stem": stem, "token": TOKEN, "quoted": quote(TOKEN, safe=""),
        }  # fmt: skip
        for word, value in words.items():
            text = text.replace("{" + word + "}", value)
        return text

    view = said(b"", 302, Location=filled(case.to)) if case.to is not None else None
    return Trick([row(filled(case.output), title=ECHO + UGLY)], view=view)


def messages() -> dict[str, Trick]:
    """Jobs whose answers are nothing but words: the token's echo, and what no terminal should see."""
    ugly = ECHO + UGLY
    return {
        "mwarns": Trick([row(ugly, "warning", ugly, ugly), row("mwarns.png", ugly, ugly, ugly)]),
        "mfails": Trick([row(ugly, "error", ugly, ugly)], status="fail"),
        "mrefused": Trick(run=said(envelope(None, 40001, ugly))),
        "mempty": Trick([row(ugly, "warning")]),
    }


def is_ours(data: bytes) -> bool:
    """Whether a result's bytes are what the villain gave, and nothing from elsewhere."""
    return data.startswith(MEDIA) or data in (b"\0\0\0", b"<script>")


def leaks(root: Path, villain: Villain, *but: Path) -> list[str]:
    """Where the canary is, in any of its forms, that it must not be: in files, or in what was sent elsewhere. Its own
    origin gets it in the one header of each request, and nowhere else."""
    found = []
    for path in root.rglob("*"):
        if path.is_file() and path not in but and _sings(path.read_bytes()):
            found.append(str(path))
        if _sings(path.name.encode("utf-8", "surrogateescape")):
            found.append(f"the name {path}")
    elsewhere = villain.elsewhere()
    for call in list(villain.calls):
        own = call not in elsewhere
        raw = call.raw.replace(b"Authorization: Bearer " + _RAW, b"", 1) if own else call.raw
        if _sings(raw):
            found.append(f"{call.method} {call.target} at {call.at} as {call.host}")
    return found


def _sings(data: bytes) -> bool:
    return any(form in data for form in FORMS)


def ugly_in(text: str) -> set[str]:
    """Characters in a text for people that could forge a line or turn it."""
    return {char for char in text if char in "\x00\x07\x1b\r\u202e\u2028"}
