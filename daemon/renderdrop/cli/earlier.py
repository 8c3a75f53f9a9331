"""What a sidecar says of an earlier job, and the parameters that a person changes for another run of it. Pure.

Owns the reading of sidecars that come back: whoever may write to a share may have written them, so nothing in one is
taken for granted but what is checked here. Sidecars of every version of the schema are read, also without keys that
came later.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from renderdrop.intake.text import unwritable
from renderdrop.model.errors import Fault
from renderdrop.model.names import shown
from renderdrop.model.route import Kind, Value
from renderdrop.model.sidecar import SCHEMA

SIZE_CAP: Final = 4 * 2**20
"""Bytes of a sidecar."""
_DEPTH_CAP: Final = 64
_INTEGERS: Final = 2**63
_NUMBER: Final = re.compile(r"-?\d{1,30}(\.\d+)?([eE][-+]?\d{1,3})?", re.ASCII)


class BadChange(Fault, ValueError):
    """A change that cannot be made; one sentence that names the parameter."""


class _Said(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class SaidSource(_Said):
    """A file that fed the job: `path` below the inbox, `size` in bytes."""

    input: str
    path: str
    size: int = Field(ge=0)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class SaidGraph(_Said):
    """The graph that was sent."""

    name: str
    sha256: str | None = None


class SaidModel(_Said):
    """The model that was asked."""

    provider: str
    model: str
    type: str


class Earlier(_Said):
    """An earlier job, as its sidecar has it."""

    job_id: str
    route: str
    kind: Kind
    status: Literal["success", "fail"]
    sources: tuple[SaidSource, ...] = Field(strict=False)
    workflow_id: str | None = None
    version_id: str | None = None
    params: dict[str, Any] = {}
    params_from: dict[str, str] = {}
    graph: SaidGraph | None = None
    model: SaidModel | None = None
    derived_from: str | None = None


def read_earlier(name: str, data: bytes) -> Earlier:
    """The job that a sidecar's bytes tell of. Raises Fault with one sentence that begins with `name`."""
    if len(data) > SIZE_CAP:
        raise Fault(f"{name} is larger than 4 MiB, so it is no sidecar of renderdrop")
    try:
        found = json.loads(data.decode("utf-8-sig"), parse_constant=_no_constant)
    except RecursionError:
        raise Fault(f"{name} is nested too deeply for a sidecar of renderdrop") from None
    except ValueError:
        raise Fault(f"{name} is no JSON, so it is no sidecar of renderdrop") from None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise Fault(f'{name} is no sidecar of renderdrop: its "schema" is not "{SCHEMA}"')
    try:
        earlier = Earlier.model_validate(found)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise Fault(f"{name} is not as a sidecar must be: look at its {shown(where)}") from None
    for key, value in earlier.params.items():
        reason = _unsendable(key, 0) or _unsendable(value, _DEPTH_CAP)
        if reason is not None:
            raise Fault(f"{name} is not as a sidecar must be: its parameter {shown(key[:80])} {reason}")
    if not earlier.sources:
        raise Fault(f"{name} names no sources: its job was made of a ticket alone; drop that ticket again instead")
    return earlier


def split_change(text: str) -> tuple[str, str]:
    """`seed=7` as ("seed", "7"). Raises BadChange."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise BadChange(f'"{shown(text)}" is no change; write KEY=VALUE, such as seed=7')
    for part in (key, value):
        if (held := unwritable(part)) is not None:
            raise BadChange(f"{shown(key)} holds {held}; write it as UTF-8 text")
    return key.strip(), value


def changes(params: Mapping[str, Value], wanted: Sequence[str], fed: Mapping[str, str]) -> dict[str, Value]:
    """The new values out of texts such as `seed=7`. `fed`: names that no change can set, with the reason. Raises
    BadChange where a value is not of the type that the old one has."""
    new: dict[str, Value] = {}
    for key, text in map(split_change, wanted):
        if key in fed:
            raise BadChange(f"{shown(key)} cannot be changed: {fed[key]}")
        new[key] = _value(key, text, params[key]) if key in params else _parsed(text)
    return new


def _value(key: str, text: str, old: Value) -> Value:
    """The text as a value of the old one's type."""
    new = _parsed(text)
    match old:
        case str():
            return text
        case bool():
            fits, wanted = isinstance(new, bool), "true or false"
        case int():
            fits, wanted = isinstance(new, int) and not isinstance(new, bool), "a whole number"
        case float():
            fits, wanted = isinstance(new, (int, float)) and not isinstance(new, bool), "a number"
        case list() | dict():
            new = _structure(text)
            fits, wanted = isinstance(new, type(old)), f"a JSON {'list' if isinstance(old, list) else 'object'}"
        case _:
            return new
    if not fits or _unsendable(new, _DEPTH_CAP) is not None:
        raise BadChange(f"{shown(key)} must be {wanted}, as it was ({shown(json.dumps(old)[:80])})")
    return new


def _parsed(text: str) -> Value:
    """A number, true or false where the text is one; else the text itself."""
    if text in ("true", "false"):
        return text == "true"
    if not _NUMBER.fullmatch(text):
        return text
    try:
        number: int | float = json.loads(text)
    except ValueError:
        return text  # a leading zero
    return number if _unsendable(number, 0) is None else text


def _structure(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity: Python's, not JSON's


def _unsendable(value: Any, depth: int) -> str | None:
    """Why a value can be sent to nobody; None when it can."""
    match value:
        case bool() | None:
            return None
        case int():
            return None if -_INTEGERS <= value < _INTEGERS else "is too large a number"
        case float():
            return None if math.isfinite(value) else "is not a finite number"
        case str():
            held = unwritable(value)
            return held and f"holds {held}"
        case list() | dict() if depth == 0:
            return "is nested too deeply"
        case list():
            return next((r for inner in value if (r := _unsendable(inner, depth - 1)) is not None), None)
        case _:
            parts = (*value, *value.values())
            return next((r for inner in parts if (r := _unsendable(inner, depth - 1)) is not None), None)
