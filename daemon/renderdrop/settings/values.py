"""How single values are written: durations, sizes, paths, names, parameters, and what an input takes.

Owns: the types that the tables of `keys` are made of, each with its JSON Schema. Every function gives the value that
the program works with or raises ValueError with one sentence. Nothing here may know which key it judges.
"""

import math
import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from renderdrop.model import units
from renderdrop.model.hours import Hours, hours
from renderdrop.model.media import MEDIA_CLASSES, Accepts
from renderdrop.model.names import shown
from renderdrop.model.route import Scalar

MAX_DEPTH: Final = 8
"""Lists and tables in each other, of one parameter."""
_A_YEAR: Final = 366 * 86400.0
_A_WEEK: Final = 7 * 86400.0
_BLINK: Final = 0.05
_MOST_BYTES: Final = 2**63 - 1


def is_odd(text: str) -> bool:
    """Whether a text holds what no name, line or header should: control characters, surrogates, line separators."""
    return any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in text)


def _duration(least: float, most: float, rule: str) -> Callable[[object], float]:
    def judge(value: object) -> float:
        try:
            found = units.seconds(value)
        except OverflowError:
            found = math.inf
        if not least <= found <= most:
            raise ValueError(f"must be a duration {rule}")
        return found

    return judge


def _size(value: object) -> int:
    try:
        found = units.size(value)
    except OverflowError:
        found = _MOST_BYTES + 1
    if not 1 <= found <= _MOST_BYTES:
        raise ValueError('must be a size between 1 and 2⁶³-1 bytes, such as "8GB"')
    return found


def _between(value: object) -> tuple[Hours, ...]:
    if not isinstance(value, (list, tuple)):
        return (hours(value),)
    if not value:
        raise ValueError('must not be empty; write hours like ["22:00-08:00"], or leave the key out')
    return tuple(one if isinstance(one, Hours) else hours(one) for one in value)


def _path(value: object) -> Path:
    if not isinstance(value, (str, Path)) or not str(value).strip() or "\0" in str(value) or not _can_be_on_disk(value):
        raise ValueError('must be a path in quotes, such as "/srv/share/portrait"')
    return Path(value)


def _can_be_on_disk(path: str | Path) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True


def _ident(value: object) -> object:
    """The platform's ids are digits: `1234` and `"1234"` mean the same."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _plain(value: str) -> str:
    value = value.strip()
    if not value or is_odd(value):
        raise ValueError("must not be empty or hold control characters")
    return value


def _bare(value: str) -> str:
    """A URL without the slash that people put behind it."""
    return value.rstrip("/")


def _suffix(value: str) -> str:
    if not value.strip() or "/" in value or is_odd(value):
        raise ValueError('must be the end of a name before its extension, such as "_mask": not empty, without /')
    return value


def _bucket(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,255}", value):
        raise ValueError("must be a bucket's bare name: letters, digits, dots, dashes and underscores")
    return value


def _prefix(value: str) -> str:
    if value.startswith("/") or is_odd(value) or len(value.encode()) > 512:
        raise ValueError('must be the beginning of the pictures\' names in the bucket, such as "renderdrop/", or ""')
    return value


def is_scalar(value: object) -> bool:
    """A text, a finite number, true or false. Raises ValueError for a text that is not UTF-8."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("must be UTF-8 text") from None
    return isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value))


def _param(value: Any, depth: int = 0) -> Any:
    if is_scalar(value):
        return value
    if not isinstance(value, (list, dict)):
        raise ValueError("must be a text, a number, true or false; put dates in quotes")
    if depth == MAX_DEPTH:
        raise ValueError(f"must not nest lists and tables more than {MAX_DEPTH} deep; make it flatter")
    if isinstance(value, list):
        return [_param(item, depth + 1) for item in value]
    return {_text(name): _param(item, depth + 1) for name, item in value.items()}


def _text(name: object) -> str:
    if not isinstance(name, str) or not is_scalar(name):
        raise ValueError("must have texts as its keys")
    return name


def _axis(value: object) -> tuple[Scalar, ...]:
    if not isinstance(value, (list, tuple)) or not value or not all(is_scalar(item) for item in value):
        raise ValueError("must be a list of texts, numbers or true and false, such as [1, 2, 3]")
    if len({type(item) for item in value}) > 1:
        raise ValueError("must hold values of one type; write 1.0 beside 0.5, or put all of them in quotes")
    if twins := sorted({str(item) for item in value if value.count(item) > 1}):
        raise ValueError(f"must name a value once only; twice or more: {', '.join(twins)}")
    return tuple(value)


def accepts(value: object) -> Accepts:
    """What a dropped file must be, from a media class or a list of patterns. Raises ValueError."""
    if isinstance(value, str) and value in MEDIA_CLASSES:
        return value
    if isinstance(value, (list, tuple)) and value and all(isinstance(p, str) and p.strip() for p in value):
        return tuple(value)
    classes = ", ".join(f'"{name}"' for name in MEDIA_CLASSES)
    raise ValueError(f'must be one of {classes}, or a list of name patterns such as ["*.exr"]')


def no_twins(what: str) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    """A check that a list names each of `what` once."""

    def judge(value: tuple[str, ...]) -> tuple[str, ...]:
        twins = sorted({name for name in value if value.count(name) > 1})
        if twins:
            raise ValueError(f"must name {what} once only; twice or more: {', '.join(map(shown, twins))}")
        return value

    return judge


def _duration_schema(least: float, most: float) -> dict[str, Any]:
    return {
        "anyOf": [
            {"type": "number", "minimum": least, "maximum": most},
            {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*(ms|[sSmMhHdD])?\s*$"},
        ]
    }


_SIZE_SCHEMA: Final = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": _MOST_BYTES},
        {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*(([kKmMgGtT][iI]?)?[bB])?\s*$"},
    ]
}
_HOURS_SCHEMA: Final = {"type": "string", "pattern": r"^\s*\d{1,2}:\d{2}\s*[-–]\s*\d{1,2}:\d{2}\s*$"}
_BETWEEN_SCHEMA: Final = {"anyOf": [_HOURS_SCHEMA, {"type": "array", "items": _HOURS_SCHEMA, "minItems": 1}]}
SCALAR_SCHEMA: Final[dict[str, Any]] = {"type": ["string", "number", "boolean"]}
_AXIS_SCHEMA: Final = {"type": "array", "items": SCALAR_SCHEMA, "minItems": 1, "uniqueItems": True}
ACCEPTS_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        {"enum": list(MEDIA_CLASSES)},
        {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
    ]
}

Duration = Annotated[
    float,
    PlainValidator(_duration(_BLINK, _A_YEAR, 'between "50ms" and "366d"')),
    WithJsonSchema(_duration_schema(_BLINK, _A_YEAR)),
]
Patience = Annotated[
    float,
    PlainValidator(_duration(0, _A_YEAR, 'of up to "366d", or 0')),
    WithJsonSchema(_duration_schema(0, _A_YEAR)),
]
"""A duration that may be 0."""
Expiry = Annotated[
    float,
    PlainValidator(_duration(1, _A_WEEK, 'between "1s" and "7d", the longest for which S3 signs a URL')),
    WithJsonSchema(_duration_schema(1, _A_WEEK)),
]
Size = Annotated[int, PlainValidator(_size), WithJsonSchema(_SIZE_SCHEMA)]
Between = Annotated[tuple[Hours, ...], PlainValidator(_between), WithJsonSchema(_BETWEEN_SCHEMA)]
Location = Annotated[Path, PlainValidator(_path), WithJsonSchema({"type": "string", "minLength": 1})]
Text = Annotated[str, AfterValidator(_plain), Field(json_schema_extra={"minLength": 1})]
Url = Annotated[Text, AfterValidator(_bare)]
Ident = Annotated[Text, BeforeValidator(_ident), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]})]
Param = Annotated[
    Any, PlainValidator(_param), WithJsonSchema({"type": [*SCALAR_SCHEMA["type"], "array", "object"]})
]  # fmt: skip
"""A parameter's value as a model may take it; what the other kinds take of it is for `kinds` to say."""
Axis = Annotated[tuple[Scalar, ...], PlainValidator(_axis), WithJsonSchema(_AXIS_SCHEMA)]
Takes = Annotated[Accepts, PlainValidator(accepts), WithJsonSchema(ACCEPTS_SCHEMA)]
Suffix = Annotated[str, AfterValidator(_suffix), Field(json_schema_extra={"pattern": "^[^/]+$"})]
Bucket = Annotated[Text, AfterValidator(_bucket)]
Prefix = Annotated[str, AfterValidator(_prefix)]
