"""Tickets: the wishes that come in a file beside the media. Pure.

Owns what a ticket may say, and that it is untrusted: small, of known keys and the route's own types, never a path.
Precedence: route < matrix < batch tickets, the nearest last < ticket < dropped texts.
"""

import json
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Final

from renderdrop.intake.text import MOST_BYTES, not_public, unwritable
from renderdrop.model.errors import Fault
from renderdrop.model.names import fold, shown
from renderdrop.model.route import Route, Value
from renderdrop.model.wishes import MATRIX, Wishes, combinations, label

SCHEMA: Final = "renderdrop/ticket/1"
KEYS: Final = ("params", "priority", "clusters", "version_id")

_PRIORITIES: Final = 1_000_000
_INTEGERS: Final = 2**63
_DEPTH: Final = 8
_ADDRESSES: Final = 64
_VERSION: Final = 200
_TOO_DEEP: Final = "is nested too deeply"
_PART: Final = r"""(?:(?<![\w-])[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_DEEP_KEY: Final = re.compile(rf"(?:{_PART}[ \t]*+\.[ \t]*+){{128}}", re.ASCII)
"""A dotted key (`a.a.a. …`) costs tomllib the square of its parts: 64 KiB of it take 4 GB and half a minute."""


class BadTicket(Fault, ValueError):
    """A ticket that cannot be followed; one sentence that names the ticket and the key."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket says, before it is held against a route."""

    params: Mapping[str, Value] = field(default_factory=dict)
    priority: int | None = None
    clusters: tuple[str, ...] = ()
    version_id: str | None = None


def read_ticket(name: str, data: bytes) -> Ticket:
    """A ticket out of its bytes; TOML or JSON by its `name`. Raises BadTicket."""
    if len(data) > MOST_BYTES:
        raise _bad(name, "is larger than 64 KiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _bad(name, "is not UTF-8 text; save it as UTF-8") from None
    is_json = fold(name).endswith(".json")
    if not is_json and _DEEP_KEY.search(text):
        raise _bad(name, _TOO_DEEP)
    try:
        found = _json(text) if is_json else tomllib.loads(text)
    except RecursionError:
        raise _bad(name, _TOO_DEEP) from None
    except (ValueError, OverflowError) as error:
        what = "JSON" if is_json else "TOML"
        raise _bad(name, f"is not {what} as it must be: {shown(str(error).rstrip('.'))[:200]}") from None
    if not isinstance(found, dict):
        raise _bad(name, f"must be a table with any of {', '.join(KEYS)}")
    for key in found:
        if key not in KEYS:
            raise _wrong(name, key, f"is no key of a ticket; known are {', '.join(KEYS)}")
    return Ticket(
        params=_params(name, found.get("params", {})),
        priority=_priority(name, found["priority"]) if "priority" in found else None,
        clusters=_clusters(name, found["clusters"]) if "clusters" in found else (),
        version_id=_version(name, found["version_id"]) if "version_id" in found else None,
    )


def apply(route: Route, layers: Sequence[tuple[str, str, Ticket]]) -> tuple[Wishes, int | None]:
    """What tickets come to on a route, and the priority that they ask for, if any.

    `layers`: (origin, the ticket's name, ticket), `BATCH` ones from the inbox's root downwards, then `TICKET`; later
    ones win key by key. Raises BadTicket naming the ticket and the key.
    """
    wishes, priority = Wishes(), None
    for origin, name, ticket in layers:
        for key, value in ticket.params.items():
            _check(route, name, key, value)
        wishes = wishes.over(ticket.params, origin)
        if ticket.clusters:
            wishes = wishes.with_(clusters=_of_route(route, name, ticket.clusters))
        if ticket.version_id is not None:
            if route.kind != "app":
                raise _wrong(name, "version_id", "may not be set here: only apps have versions")
            wishes = wishes.with_(version_id=ticket.version_id)
        priority = priority if ticket.priority is None else ticket.priority
    return wishes, priority


def supplied(route: Route, params: Collection[str]) -> frozenset[str]:
    """The inputs that these parameters stand in for: texts, and a model's pictures that are already public."""
    return frozenset(
        i.name for i in route.inputs if i.name in params and (i.accepts == "text" or route.kind == "model")
    )


def spread(route: Route, wishes: Wishes) -> tuple[Wishes, ...]:
    """The wishes of each job: one for every combination of the route's matrix, told apart by their labels. A key that
    the wishes give is no axis."""
    chosen = combinations(route.matrix, pinned=wishes.params)
    if len(chosen) == 1:
        return (wishes.over(chosen[0], MATRIX),)
    return tuple(wishes.over(one, MATRIX).with_(label=label(one)) for one in chosen)


def ticket_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a ticket, whichever of the two languages it is written in."""
    anything = (
        "a scalar of the route's own type; for a model any JSON value, for a model's picture one or more web addresses"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA,
        "title": "Ticket",
        "description": "Wishes for one job (NAME.EXT.job.toml or .job.json beside NAME.EXT, STEM.job.toml, job.toml "
        "in a bundle's folder) or for all below a folder (_batch.job.toml). At most 64 KiB.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "params": {
                "description": f"Parameters, of those that the route allows: {anything}.",
                "type": "object",
                "default": {},
            },
            "priority": {
                "description": "Jobs of a higher number go first.",
                "type": "integer",
                "minimum": -_PRIORITIES,
                "maximum": _PRIORITIES,
            },
            "clusters": {
                "description": "The clusters that may run it, among the route's own.",
                "type": "array",
                "items": {"type": "string", "minLength": 1},
                "minItems": 1,
            },
            "version_id": {
                "description": "The app's version.",
                "anyOf": [{"type": "string", "minLength": 1, "maxLength": _VERSION}, {"type": "integer"}],
            },
        },
    }


def _bad(name: str, what: str) -> BadTicket:
    """About a ticket as a whole: "clip.mp4.job.toml is larger than 64 KiB"."""
    return BadTicket(f"{shown(name)} {what}")


def _wrong(name: str, key: str, what: str) -> BadTicket:
    """About one of its keys: "clip.mp4.job.toml: seed must be a whole number"."""
    spelled = shown(key) if len(key) <= 80 else f"{shown(key[:80])}…"
    return BadTicket(f"{shown(name)}: {spelled or 'an empty key'} {what}")


def _json(text: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key stands there twice")
        return found

    def no_number(word: str) -> Any:
        raise ValueError(f"{word} is not a number that can be sent")

    return json.loads(text, object_pairs_hook=once, parse_constant=no_number)


def _params(name: str, found: Any) -> dict[str, Value]:
    if not isinstance(found, dict):
        raise _wrong(name, "params", "must be a table of parameters")
    for key, value in found.items():
        if not key or unwritable(key) is not None:
            raise _wrong(name, key, "is not the name of a parameter")
        if (reason := _unsendable(value, _DEPTH)) is not None:
            raise _wrong(name, key, reason)
    return found


def _unsendable(value: Any, depth: int) -> str | None:
    """Why a value can be sent to nobody, whatever the route; None when it can."""
    match value:
        case bool() | None:
            return None
        case int():
            return None if -_INTEGERS <= value < _INTEGERS else "is too large a number"
        case float():
            return None if isfinite(value) else "is not a finite number"
        case str():
            held = unwritable(value)
            return held and f"holds {held}"
        case list() | dict() if depth == 0:
            return f"{_TOO_DEEP}: at most {_DEPTH} levels"
        case list():
            return next((r for v in value if (r := _unsendable(v, depth - 1)) is not None), None)
        case dict():
            inner = (r for v in (*value, *value.values()) if (r := _unsendable(v, depth - 1)) is not None)
            return next(inner, None)
        case _:
            return "is a date or a time; write it as a text in quotes"


def _priority(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -_PRIORITIES <= value <= _PRIORITIES:
        raise _wrong(name, "priority", f"must be a whole number between {-_PRIORITIES:,} and {_PRIORITIES:,}")
    return value


def _clusters(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(c, str) and c for c in value):
        raise _wrong(name, "clusters", "must be a list of names of clusters, at least one")
    return tuple(dict.fromkeys(value))


def _version(name: str, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _INTEGERS:
        return str(value)
    if isinstance(value, str) and 0 < len(value) <= _VERSION and unwritable(value) is None and value.strip() == value:
        return value
    raise _wrong(name, "version_id", "must be an app's version: a short text or a whole number")


def _of_route(route: Route, name: str, clusters: tuple[str, ...]) -> tuple[str, ...]:
    if not route.clusters:
        raise _wrong(name, "clusters", "may not be set here: the platform itself chooses where a model runs")
    for cluster in clusters:
        if cluster not in route.clusters:
            raise _wrong(
                name, "clusters", f"may not hold {shown(cluster[:80])}; this folder's are {', '.join(route.clusters)}"
            )
    return clusters


def _check(route: Route, name: str, key: str, value: Value) -> None:
    """Raises BadTicket where a route does not take this parameter, or not with such a value."""
    pictures = [i.name for i in route.inputs if route.kind == "model" and i.accepts != "text"]
    allowed = [*route.params_allowed, *(p for p in pictures if p not in route.params_allowed)]
    if key not in allowed:
        meant = next((a for a in allowed if isinstance(value, dict) and a.startswith(f"{key}.")), None)
        hint = f'; write "{meant}" in quotes' if meant else ""
        these = f"allowed: {', '.join(allowed)}" if allowed else "this folder takes no parameters"
        raise _wrong(name, key, f"may not be set here; {these}{hint}")
    if key in pictures:
        if (reason := _no_addresses(value)) is not None:
            raise _wrong(name, key, reason)
        return
    own = [route.params[key]] if key in route.params else list(route.matrix.get(key, ()))
    if own and not any(_alike(one, value) for one in own):
        words = " or ".join(dict.fromkeys(_KINDS[type(one)] for one in own))
        raise _wrong(name, key, f"must be {words}, as in the settings of this folder")
    if not own and route.kind != "model" and not isinstance(value, (str, int, float)):
        raise _wrong(name, key, "must be a text, a number, or true or false")


_KINDS: Final[Mapping[type, str]] = {
    bool: "true or false", int: "a whole number", float: "a number", str: "a text", list: "a list", tuple: "a list",
    dict: "a table", type(None): "anything",
}  # fmt: skip


def _alike(own: Value, value: Value) -> bool:
    match own:
        case None:
            return True
        case bool():
            return isinstance(value, bool)
        case int():
            return isinstance(value, int) and not isinstance(value, bool)
        case float():
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        case str():
            return isinstance(value, str)
        case list() | tuple():
            return isinstance(value, list)
        case _:
            return isinstance(value, dict)


def _no_addresses(value: Value) -> str | None:
    """Why this is not what a model can fetch pictures from; None when it may be."""
    addresses = value if isinstance(value, list) else [value]
    if not addresses or len(addresses) > _ADDRESSES or not all(isinstance(a, str) for a in addresses):
        return f"must be a web address, or a list of at most {_ADDRESSES}"
    reason = next((r for a in addresses if (r := not_public(a)) is not None), None)
    return reason and f"must be web addresses, and one {reason}"
