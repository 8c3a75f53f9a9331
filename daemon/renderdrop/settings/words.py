"""Structural problems in plain words: what pydantic found, told with the operator's own keys and a way out.

Owns: the sentences, and the second look at what is left once the wrong keys are taken out, so that
every problem shows in one run. It must never look at a disk, nor repeat a value that may be the token.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from renderdrop.model.errors import Problem
from renderdrop.model.names import shown
from renderdrop.settings.keys import InputTable, PublishTable, RouteTable, Settings
from renderdrop.settings.source import Written

THREE_WAYS: Final = (
    "put it into a file that only renderdrop may read and name that with platform.token_file, or set the "
    'variable RENDERDROP_TOKEN, or give it as systemd\'s credential "token"'
)
_STAND_INS: Final[Mapping[str, Any]] = {"workflow_id": "-", "clusters": ["-"], "inputs": {}}
"""What takes the place of a required key that is wrong or missing, so that the rest of the route can be checked.
Never seen outside: the settings that hold one are refused."""
_PARTS: Final[Mapping[str, type[BaseModel]]] = {"inputs": InputTable, "publish": PublishTable}
"""The tables within a route's; each of `inputs` is one. What is wrong in one of them spoils it as a whole."""
_IN_ROUTES: Final = (["routes", "NAME"], ["routes", "NAME", "publish"])

_TYPES: Final = {
    "bool": "must be true or false",
    "dict": "must be a table, such as { name = … }",
    "float": "must be a number",
    "finite": "must be a finite number",
    "int": "must be a whole number",
    "model": "must be a table",
    "string": "must be a text in quotes",
    "tuple": 'must be a list, such as ["…", "…"]',
}
_LIMITS: Final = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}
LIKE_A_TOKEN: Final = re.compile(r"\s*AI-\S{8,}\s*")
_SECRETS: Final = {"token", "api_token", "api_key", "apikey", "secret", "password", "authorization", "bearer"}


def judged(written: Written) -> tuple[Settings, list[Problem]]:
    """The settings and their structural problems. Where there are any, the settings are what is left to check."""
    try:
        return Settings.model_validate(written.tree), []
    except ValidationError as error:
        wrong = error.errors(include_url=False)
    # One sentence a key: a list's empty text is a wrong item and an empty list at once.
    told = {dotted(_keys(detail)): _sentence(detail) for detail in reversed(wrong)}
    problems = [Problem(key, sentence) for key, sentence in reversed(told.items())]
    try:
        return Settings.model_validate(_mended(written.tree, wrong)), problems
    except ValidationError:  # what pydantic could not even name; these problems come first
        return Settings(), problems


def naming_variables(problems: Iterable[Problem], variables: Mapping[str, tuple[str, ...]]) -> list[Problem]:
    """The same problems, saying where a key came from an environment variable."""
    by_key = {dotted(keys): name for name, keys in variables.items()}
    named = []
    for problem in problems:
        variable = next((by_key[k] for k in sorted(by_key) if k == problem.key or k.startswith(problem.key + ".")), "")
        where = f" (set by the environment variable {shown(variable)})" if variable else ""
        if variable and problem.message.startswith(("must be a list", "must be a table")):
            where = f" (the environment variable {shown(variable)} sets it: there, lists and tables are JSON)"
        named.append(Problem(problem.key, problem.message + where))
    return named


def dotted(keys: Sequence[str]) -> str:
    """Keys as TOML writes them: `routes.portrait.clusters`, `routes."肖像".clusters`."""
    return ".".join(k if re.fullmatch(r"[A-Za-z0-9_-]+", k) else f'"{shown(k)}"' for k in keys)


def _keys(detail: ErrorDetails) -> list[str]:
    # A list's index and pydantic's own "[key]" are no keys of the file.
    return [part for part in detail["loc"] if isinstance(part, str) and part != "[key]"]


def _sentence(detail: ErrorDetails) -> str:
    keys, kind, context = _keys(detail), detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(keys, detail["input"])
    if kind == "value_error":
        return shown(str(context["error"]))
    if kind == "missing":
        return lacking(_model(keys[:-1]), keys[-1])
    if kind == "literal_error":
        return f"must be {context['expected']}".replace("'", '"')
    if kind == "too_short":
        return f"must not be empty; for example {keys[-1]} = {_example(_model(keys[:-1]), keys[-1])}"
    if kind == "string_unicode":
        return "must be UTF-8 text"
    if len(keys) == 2 and keys[0] == "routes":
        return "must be a table; a route is written [routes.NAME]"
    if limit := next((f"must be {word} {context[name]:g}" for name, word in _LIMITS.items() if name in context), ""):
        return limit
    return _TYPES.get(kind.split("_")[0], shown(detail["msg"]))


def lacking(table: type[BaseModel], key: str) -> str:
    """The sentence about a required key that is not there."""
    return f"is missing; for example {key} = {_example(table, key)}"


def _example(table: type[BaseModel], key: str) -> str:
    example = (table.model_fields[key].examples or [""])[0]
    if isinstance(example, dict):
        return "{ " + ", ".join(f'{name} = "{value}"' for name, value in example.items()) + " }"
    if isinstance(example, list):
        return "[" + ", ".join(f'"{value}"' for value in example) + "]"
    return f'"{example}"'


def _unknown(keys: list[str], value: object) -> str:
    key = keys[-1]
    if key.casefold() in _SECRETS or (isinstance(value, str) and LIKE_A_TOKEN.fullmatch(value)):
        return f"looks like the token, which never stands in the settings: {THREE_WAYS}"
    model = _model(keys[:-1])
    near = difflib.get_close_matches(key.casefold(), model.model_fields, n=1, cutoff=0.6)
    if near:
        return f'unknown key; did you mean "{near[0]}"?'
    homes = (*([name] for name in Settings.model_fields if name != "routes"), *_IN_ROUTES)
    if home := next((home for home in homes if key in _model(home).model_fields), None):
        return f"unknown key here; it belongs under [{'.'.join(home)}]"
    return f"unknown key; known here: {', '.join(model.model_fields)}"


def _model(keys: Sequence[str]) -> type[BaseModel]:
    """The table that keys lead to."""
    if not keys or keys == ["routes"]:
        return Settings
    if keys[0] == "routes":
        return _PARTS.get(keys[2], RouteTable) if len(keys) > 2 else RouteTable
    annotation = Settings.model_fields[keys[0]].annotation
    return annotation if isinstance(annotation, type) else Settings


def _mended(tree: Any, wrong: Sequence[ErrorDetails]) -> Any:
    """The tree without its wrong keys; a route's required ones get a stand-in."""
    for detail in wrong:
        tree = _without(tree, _spoilt(_keys(detail)))
    for detail in wrong:
        keys = _keys(detail)
        route = tree.get("routes", {}).get(keys[1]) if keys[0] == "routes" and len(keys) > 2 else None
        if isinstance(route, dict) and keys[2] in _STAND_INS:
            route.setdefault(keys[2], _STAND_INS[keys[2]])
    return tree


def _spoilt(keys: list[str]) -> list[str]:
    """What has to go where these keys are wrong: they alone, or the whole table that could not be without them."""
    if len(keys) > 3 and keys[0] == "routes" and keys[2] in _PARTS:
        return keys[: 4 if keys[2] == "inputs" else 3]
    return keys


def _without(tree: Any, keys: list[str]) -> Any:
    if not isinstance(tree, Mapping):
        return tree
    if len(keys) > 1:
        return {k: _without(v, keys[1:]) if k == keys[0] else v for k, v in tree.items()}
    return {k: v for k, v in tree.items() if k != keys[0]}
