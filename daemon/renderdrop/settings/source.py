"""What the operator wrote: the TOML file with the environment laid over it, before anything is judged.

Owns: reading the file, and finding which key a `RENDERDROP_…__…` variable means. pydantic-settings
merges the two deeply, the environment on top, so that one key of a route can be overridden.
It must never decide whether a key or a value is right.
"""

import json
import stat
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from renderdrop.model.errors import BrokenSettings, Problem
from renderdrop.model.names import fold, shown

PREFIX: Final = "RENDERDROP_"
Keys = tuple[str, ...]
_CHOSEN: Final = ("inputs", "params", "matrix")
"""The tables of a route whose keys are the operator's own words."""


@dataclass(frozen=True, slots=True)
class Written:
    """The merged `tree` of tables, and which variable set which key."""

    tree: dict[str, Any]
    variables: Mapping[str, Keys]


def written(path: Path, environ: Mapping[str, str]) -> Written:
    """Read the file and lay the environment over it. Raises BrokenSettings if there is no TOML to read."""
    file = _read(path)
    over, variables = _environment(environ, file.toml_data)

    class Merged(_Anything):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_: Any, **__: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return _Environment(settings_cls, over), file

    return Written(dict(Merged().model_extra or {}), variables)


class _Anything(BaseSettings):
    """Takes every key as it stands: judging comes later, and more than once."""

    model_config = SettingsConfigDict(extra="allow")


class _Toml(TomlConfigSettingsSource):
    def _read_file(self, file_path: Any) -> dict[str, Any]:
        # Editors on Windows put a byte order mark first; tomllib would call it an invalid statement.
        return tomllib.loads(file_path.read_bytes().decode("utf-8-sig"))


class _Environment(PydanticBaseSettingsSource):
    def __init__(self, settings_cls: type[BaseSettings], tree: dict[str, Any]) -> None:
        super().__init__(settings_cls)
        self._tree = tree

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._tree.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._tree


def _read(path: Path) -> _Toml:
    def broken(message: str) -> BrokenSettings:
        return BrokenSettings([Problem(shown(str(path)), message)])

    try:
        # A pipe or a device could keep us waiting for ever, and pydantic-settings passes over what is missing.
        if not stat.S_ISREG(path.stat().st_mode):
            raise broken("is not a regular file; name a settings file with --config")
        return _Toml(_Anything, path)
    except FileNotFoundError:
        raise broken(
            "there is no such settings file; name one with --config, or make one with `renderdrop init DIR`"
        ) from None
    except OSError as error:
        raise broken(f"cannot be read ({error.strerror}); let the user that runs renderdrop read it") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise broken(f"line {line} is not UTF-8 text; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise broken(f"is not TOML: {shown(str(error))}; mend that place and run `renderdrop check` again") from None
    except ValueError:  # Python's own bound on digits
        raise broken("is not a settings file: a number in it is far too long") from None
    except RecursionError:
        raise broken("is not a settings file: its tables are nested too deeply") from None


def _environment(environ: Mapping[str, str], file: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Keys]]:
    tree: dict[str, Any] = {}
    variables: dict[str, Keys] = {}
    for name, text in sorted(environ.items()):
        if not name.upper().startswith(PREFIX) or "__" not in name[len(PREFIX) :]:
            continue
        # A name that is not UTF-8 can only be an unknown key; shown harmless, it is told as one.
        keys = _keys(shown(name[len(PREFIX) :]).split("__"), (tree, file))
        variables[name] = keys
        at = tree
        for key in keys[:-1]:
            if not isinstance(at.get(key), dict):
                at[key] = {}
            at = at[key]
        at[keys[-1]] = _value(keys, text)
    return tree, variables


def _keys(parts: list[str], trees: tuple[Mapping[str, Any], ...]) -> Keys:
    """The keys a variable means. Our own words are lower case; names that the operator chose (a route's, a
    parameter's) are found whatever their case, since variables are customarily written in capitals."""
    keys: list[str] = []
    for at, part in enumerate(parts):
        chosen = parts[0].lower() == "routes" and (at == 1 or (at == 3 and keys[2] in _CHOSEN) or _in_params(keys))
        if not chosen:
            keys.append(part.lower())
            continue
        known = [key for tree in trees for key in _table(tree, keys) if fold(key) == fold(part)]
        keys.append(known[0] if known else part.lower() if part.isupper() else part)
    return tuple(keys)


def _in_params(keys: Sequence[str]) -> bool:
    """Whether what comes behind these keys is a parameter, or a part of one."""
    return len(keys) > 2 and keys[0] == "routes" and keys[2] == "params"


def _table(tree: Any, keys: list[str]) -> list[str]:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return list(tree) if isinstance(tree, Mapping) else []


def _value(keys: Keys, text: str) -> Any:
    """Lists and tables are JSON; anything else is the text as it stands, a parameter's value always."""
    if text.lstrip()[:1] in ("[", "{") and not _in_params(keys[:-1]):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text
