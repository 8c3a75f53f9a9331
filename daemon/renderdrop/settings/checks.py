"""What values mean, one table at a time: addresses, names of routes, of parameters and of results.

Owns: the rules that a type cannot say. Pure: every function takes values and gives problems.
Folders, which must agree with each other and with the disk, are in `places`.
"""

import ipaddress
import string
import unicodedata
from collections.abc import Iterator
from typing import Final
from urllib.parse import SplitResult, urlsplit

from renderdrop.model.errors import Problem
from renderdrop.model.names import fold, shown
from renderdrop.settings.keys import RouteTable, Settings
from renderdrop.settings.words import dotted

PLACEHOLDERS: Final = ("stem", "route", "job", "task", "date", "workflow")
RESERVED: Final = ("workflow_id", "cluster_name", "version_id")
"""Fields of the submission that are the route's own keys."""
_MAX_ROUTE_NAME: Final = 64


def problems(settings: Settings) -> list[Problem]:
    """Everything wrong with single values."""
    found = [Problem("platform.base_url", text) for text in _base_url(settings.platform.base_url)]
    names: dict[str, str] = {}
    for name, table in settings.routes.items():
        key = dotted(["routes", name])
        found += [Problem(key, text) for text in _route_name(name)]
        if twin := names.get(fold(name)):
            found.append(Problem(key, f'differs from route "{shown(twin)}" by its capitals only; rename one of them'))
        names[fold(name)] = name
        found += _fields(name, table)
        found += [Problem(f"{key}.output_name", text) for text in _output_name(table.output_name)]
    if not any(table.enabled for table in settings.routes.values()):
        found.append(
            Problem("routes", "no route is enabled, so there is nothing to do; write at least one [routes.NAME]")
        )
    return found


def warnings(settings: Settings) -> list[Problem]:
    """What can be run with but should be known."""
    url = _split(settings.platform.base_url)
    if url and url.scheme == "http" and not _is_loopback(url.hostname or ""):
        return [Problem("platform.base_url", "the token and all files travel unencrypted; use https where you can")]
    return []


def _split(text: str) -> SplitResult | None:
    try:
        url = urlsplit(text)
        _ = url.port  # looked at only when asked for: raises for one that is no number
    except ValueError:
        return None
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _base_url(text: str) -> Iterator[str]:
    # The address is not repeated: it may hold a password.
    form = "write it like https://art.huya.info"
    url = _split(text)
    if url is None or url.scheme not in ("http", "https") or not url.hostname or any(c.isspace() for c in text):
        yield f"is not an http or https address; {form}"
        return
    if "@" in url.netloc:
        yield f"must not hold a user name or password; {form}"
    if url.path or "?" in text or "#" in text:
        yield f"must be scheme, host and port alone, without a path or query; {form}"


def _route_name(name: str) -> Iterator[str]:
    kinds = [unicodedata.category(char)[0] for char in name]
    right = kinds and kinds[0] in "LN" and all(k in "LNM" or c in "._-" for c, k in zip(name, kinds, strict=True))
    if not right or len(name) > _MAX_ROUTE_NAME:
        yield (
            f"is no name for a route: use up to {_MAX_ROUTE_NAME} letters, digits, dots, dashes and underscores, "
            "beginning with a letter or digit"
        )


def _fields(name: str, table: RouteTable) -> Iterator[Problem]:
    for where, fields in (("inputs", table.inputs), ("params", table.params)):
        for field in fields:
            key = dotted(["routes", name, where, field])
            if not field.strip() or any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in field):
                yield Problem(key, "is no name of a parameter: it is empty or holds control characters")
            elif field in RESERVED:
                own = "clusters" if field == "cluster_name" else field
                yield Problem(key, f'is the route\'s own business; set "{own}" on the route instead')
            elif where == "params" and field in table.inputs:
                yield Problem(key, "is also the route's input, which the dropped file fills; take one of them out")


def _output_name(text: str) -> Iterator[str]:
    known = " ".join("{" + name + "}" for name in PLACEHOLDERS)
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError:
        yield f'has a brace without its partner; known are {known}, as in "{{stem}}_{{task}}"'
        return
    fields = [(field, spec, conversion) for _, field, spec, conversion in parts if field is not None]
    unknown = [field for field, spec, conversion in fields if field not in PLACEHOLDERS or spec or conversion]
    if unknown:
        yield f"knows only {known}, not {', '.join('{' + shown(field) + '}' for field in unknown)}"
    literal = "".join(part for part, *_ in parts)
    if "/" in literal or "\\" in literal:
        yield "must be a bare name without / or \\; sub-folders of the inbox are mirrored by themselves"
    if text.startswith("."):
        yield "must not begin with a dot, which would hide the results"
