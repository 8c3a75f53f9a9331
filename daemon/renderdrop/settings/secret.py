"""The platform's token: where it comes from, and whether it can be one.

Owns: the three places (RENDERDROP_TOKEN, `token_file`, systemd's credential) and their order.
It must never put the token, or part of it, into a sentence.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from renderdrop.model.errors import Problem
from renderdrop.settings.words import LIKE_A_TOKEN, THREE_WAYS

KEY: Final = "platform.token_file"
_LARGEST: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """The token, or why there is none."""

    token: SecretStr | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


class _NoToken(Exception):
    """Its text is the end of a sentence about the place."""


def find(token_file: Path | None, environ: Mapping[str, str]) -> Found:
    """The token of the first place that has one; an empty variable counts as unset."""
    if token_file and LIKE_A_TOKEN.fullmatch(token_file.name):
        return _none(f"names a file, not the token; if that is the token, take it out of the settings and {THREE_WAYS}")
    if text := environ.get("RENDERDROP_TOKEN", "").strip():
        return _checked(text, "the variable RENDERDROP_TOKEN")
    folder = environ.get("CREDENTIALS_DIRECTORY", "")
    credential = Path(folder, "token") if folder else None
    warnings: list[Problem] = []
    if token_file:
        try:
            text, open_to_all = _read(token_file)
        except _NoToken as fault:
            if not (credential and credential.is_file()):
                return _none(f"the token file {token_file} {fault}; {THREE_WAYS}")
            unused = f"the token file {token_file} {fault}, so systemd's credential is used; leave token_file out"
            warnings.append(Problem(KEY, unused))
        else:
            if open_to_all:
                mend = "take that right away (chmod 600) and have the token renewed"
                warnings.append(Problem(KEY, f"everybody on this machine can read {token_file}; {mend}"))
            return _checked(text, f"the token file {token_file}", tuple(warnings))
    if credential:
        try:
            return _checked(_read(credential)[0], 'systemd\'s credential "token"', tuple(warnings))
        except _NoToken as fault:
            return _none(f"systemd's credential {credential} {fault}; {THREE_WAYS}")
    return _none(f"there is no token for the platform; {THREE_WAYS}")


def _none(message: str) -> Found:
    return Found(None, (Problem(KEY, message),))


def _checked(text: str, place: str, warnings: tuple[Problem, ...] = ()) -> Found:
    # It travels in a header, where anything but visible ASCII would break the request or forge another header.
    if not (text.isascii() and text.isprintable() and " " not in text):
        return _none(
            f"{place} holds more than a token (spaces, lines or other characters): leave the token alone in it"
        )
    return Found(SecretStr(text), (), warnings)


def _read(path: Path) -> tuple[str, bool]:
    """The file's text without the space around it, and whether everybody can read it."""
    try:
        # Non-blocking: a pipe in its place must not hold us up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise _NoToken("is not a regular file")
            raw = file.read(_LARGEST)
    except FileNotFoundError:
        raise _NoToken("does not exist") from None
    except (OSError, ValueError) as error:
        raise _NoToken(f"cannot be read ({getattr(error, 'strerror', None) or error})") from None
    text = raw.decode("utf-8", "replace").removeprefix("\ufeff").strip()
    if not text:
        raise _NoToken("is empty")
    return text, bool(mode & stat.S_IROTH)
