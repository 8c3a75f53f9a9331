"""What we tell systemd, and how often it wants to hear from us: sd_notify(3) without a library.

Owns: the datagrams to $NOTIFY_SOCKET. Without that variable every call does nothing. It must never
fail or wait because of the service manager. systemd hears only the process that it started: what the daemon
proper has to say goes through its guardian.
"""

import os
import socket
import time
from collections.abc import Mapping

from renderdrop.model.names import shown

_through: socket.socket | None = None


def notify(*assignments: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send assignments such as "READY=1"; whether they were sent."""
    return send("\n".join(assignments).encode("utf-8", "backslashreplace"), environ)


def speak_through(channel: socket.socket) -> None:
    """From now on every word goes to the other end of this pair, which sends it on."""
    global _through
    channel.setblocking(False)
    _through = channel


def send(message: bytes, environ: Mapping[str, str] = os.environ) -> bool:
    """Send one datagram as it is; whether it was sent."""
    address = environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    if _through is not None:
        try:
            return _through.send(message) > 0
        except OSError:
            return False
    # "@" is how the environment writes the NUL byte that begins an abstract socket's name.
    target = "\0" + address[1:] if address[0] == "@" else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.settimeout(1.0)
            channel.sendto(message, target)
    except (OSError, ValueError):
        return False
    return True


def ready(status_text: str = "", environ: Mapping[str, str] = os.environ) -> bool:
    """Started, or done with reloading."""
    return notify("READY=1", *_status(status_text), environ=environ)


def reloading(environ: Mapping[str, str] = os.environ) -> bool:
    """Reading the settings again; `ready` ends it."""
    # The time is for units of Type=notify-reload, which take no answer for one to an earlier signal.
    return notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", environ=environ)


def stopping(status_text: str = "", environ: Mapping[str, str] = os.environ) -> bool:
    """Asked to stop, and at it."""
    return notify("STOPPING=1", *_status(status_text), environ=environ)


def status(text: str, environ: Mapping[str, str] = os.environ) -> bool:
    """The line that `systemctl status` shows."""
    return notify(*_status(text), environ=environ)


def alive(environ: Mapping[str, str] = os.environ) -> bool:
    """A sign of life for the watchdog."""
    return notify("WATCHDOG=1", environ=environ)


def watchdog_interval(environ: Mapping[str, str] = os.environ, pid: int | None = None) -> float | None:
    """Seconds between two signs of life, half of what systemd grants; None where it does not watch this process."""
    usec, watched = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if watched and watched != str(os.getpid() if pid is None else pid):
        return None
    return int(usec) / 2e6 if usec.isascii() and usec.isdigit() and int(usec) else None


def _status(text: str) -> list[str]:
    # A line break in it would be a further assignment.
    return [f"STATUS={shown(text)}"] if text else []
