"""What values mean, one table at a time: addresses, names of routes, of parameters and of results.

Owns: the rules that a type cannot say, and the round through all tables. Pure: every function takes values and gives
problems. What hangs on a route's kind is in `kinds`, how its inputs fit together in `inputs`; folders, which must
agree with each other and with the disk, are in `places`, other files in `files`.
"""

import ipaddress
import string
import unicodedata
from collections.abc import Collection, Iterator
from typing import Final
from urllib.parse import SplitResult, urlsplit

from renderdrop.model.errors import Problem
from renderdrop.model.names import fold, shown
from renderdrop.settings import inputs, kinds
from renderdrop.settings.keys import Settings
from renderdrop.settings.words import dotted

PLACEHOLDERS: Final = ("stem", "route", "job", "task", "date", "workflow")
_MAX_ROUTE_NAME: Final = 64


def problems(settings: Settings, told: Collection[str] = ()) -> list[Problem]:
    """Everything wrong with single tables. `told`: the keys that are known to be wrong, of which (and of what hangs on
    them) nothing more is said."""
    found = [Problem("platform.base_url", text) for text in _base_url(settings.platform.base_url)]
    names: dict[str, str] = {}
    for name, table in settings.routes.items():
        key = dotted(["routes", name])
        found += [Problem(key, text) for text in _route_name(name)]
        if twin := names.get(fold(name)):
            found.append(Problem(key, f'differs from route "{shown(twin)}" by its capitals only; rename one of them'))
        names[fold(name)] = name
        # Which rules hold cannot be said of a kind that is none.
        if dotted(["routes", name, "kind"]) not in told:
            found += kinds.problems(name, table, told)
            found += inputs.problems(name, table, told)
        if table.publish is not None:
            found += [Problem(f"{key}.publish.endpoint", text) for text in _endpoint(table.publish.endpoint)]
        found += [Problem(f"{key}.output_name", text) for text in _output_name(table.output_name)]
    # Where a route was taken out because it is no table, "no route" would be a second, wrong complaint.
    spoilt = any(key.split(".")[0] == "routes" for key in told)
    if not spoilt and not any(table.enabled for table in settings.routes.values()):
        found.append(
            Problem("routes", "no route is enabled, so there is nothing to do; write at least one [routes.NAME]")
        )
    return [problem for problem in found if not any(_within(problem.key, key) for key in told)]


def _within(key: str, told: str) -> bool:
    return key == told or key.startswith(told + ".")


def warnings(settings: Settings) -> list[Problem]:
    """What can be run with but should be known."""
    found = []
    if _is_bare(settings.platform.base_url):
        sentence = "the token and all files travel unencrypted; use https where you can"
        found.append(Problem("platform.base_url", sentence))
    for name, table in settings.routes.items():
        if table.enabled:
            found += kinds.warnings(name, table)
            if table.publish is not None and _is_bare(table.publish.endpoint):
                key = dotted(["routes", name, "publish", "endpoint"])
                found.append(Problem(key, "the pictures travel unencrypted; use https where you can"))
    return found


def _is_bare(text: str) -> bool:
    """Whether what goes to this address can be read on the way."""
    url = _web(text)
    return url is not None and url.scheme == "http" and not _is_loopback(url.hostname or "")


def _web(text: str) -> SplitResult | None:
    """The parts of an http or https address; None for anything else."""
    try:
        url = urlsplit(text)
        _ = url.port  # looked at only when asked for: raises for one that is no number
    except ValueError:
        return None
    right = url.scheme in ("http", "https") and url.hostname and not any(char.isspace() for char in text)
    return url if right else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _base_url(text: str) -> Iterator[str]:
    form = "write it like https://art.huya.info"
    yield from _address(text, form)
    url = _web(text)
    if url and (url.path or "?" in text or "#" in text):
        yield f"must be scheme, host and port alone, without a path or query; {form}"


def _endpoint(text: str) -> Iterator[str]:
    form = "write it like https://oss-cn-shenzhen.aliyuncs.com"
    yield from _address(text, form)
    if _web(text) and ("?" in text or "#" in text):  # a path it may have: some stores live below one
        yield f"must not have a query; {form}"


def _address(text: str, form: str) -> Iterator[str]:
    # The address is not repeated: it may hold a password.
    url = _web(text)
    if url is None:
        yield f"is not an http or https address; {form}"
    elif "@" in url.netloc:
        yield f"must not hold a user name or password; {form}"


def _route_name(name: str) -> Iterator[str]:
    kinds = [unicodedata.category(char)[0] for char in name]
    right = kinds and kinds[0] in "LN" and all(k in "LNM" or c in "._-" for c, k in zip(name, kinds, strict=True))
    if not right or len(name) > _MAX_ROUTE_NAME:
        yield (
            f"is no name for a route: use up to {_MAX_ROUTE_NAME} letters, digits, dots, dashes and underscores, "
            "beginning with a letter or digit"
        )


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
