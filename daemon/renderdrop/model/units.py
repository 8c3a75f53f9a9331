"""Durations and sizes as people write them. Pure; raises ValueError with a sentence that shows the right form."""

import re
from typing import Final

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES: Final = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
_NUMBER_UNIT: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")


def seconds(value: object) -> float:
    """A duration in seconds, from a number of seconds or a text such as "90s", "10m", "2h".

    >>> seconds("10m")
    600.0
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf"):
        return float(value)
    if isinstance(value, str) and (match := _NUMBER_UNIT.fullmatch(value)):
        unit = match[2].lower() or "s"
        if unit in _SECONDS and (found := float(match[1]) * _SECONDS[unit]) < float("inf"):
            return found
    raise ValueError(f'{value!r} is not a duration; write seconds (90) or a text such as "90s", "10m", "2h"')


def size(value: object) -> int:
    """A size in bytes, from a number of bytes or a text such as "800MB" (10⁶) or "8GiB" (2³⁰)."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := _NUMBER_UNIT.fullmatch(value)):
        unit = match[2].upper() or "B"
        if unit in _BYTES and (found := float(match[1]) * _BYTES[unit]) < float("inf"):
            return int(found)
    raise ValueError(f'{value!r} is not a size; write bytes or a text such as "800MB", "8GB", "8GiB"')


def spoken(duration: float) -> str:
    """A duration for people: "8 s", "12 min", "3 h 5 min"."""
    if duration < 90:
        return f"{duration:.0f} s"
    minutes = round(duration / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def spoken_size(count: float) -> str:
    """A size for people, in decimal units: "812 B", "3.4 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
