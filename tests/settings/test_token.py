"""The token: three places in order, never shown, never anything that would break a header."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.settings.conftest import Place


@pytest.fixture
def bare(place: Place) -> Place:
    """No token in the environment; a credential folder stands ready and empty."""
    del place.environ["RENDERDROP_TOKEN"]
    (place.root / "credentials").mkdir()
    return place


def write(path: Path, text: str | bytes, mode: int = 0o600) -> None:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)


def test_the_variable_goes_before_the_file_and_the_file_before_the_credential(bare: Place) -> None:
    write(bare.root / "token", " from-file \n")
    write(bare.root / "credentials/token", "from-credential\n")
    environ = {"CREDENTIALS_DIRECTORY": str(bare.root / "credentials")}
    assert (
        bare.load(bare.WITH_FILE, {**environ, "RENDERDROP_TOKEN": "from-variable"}).token.get_secret_value()
        == "from-variable"
    )
    assert bare.load(bare.WITH_FILE, environ).token.get_secret_value() == "from-file"
    assert bare.load(bare.ROUTE, environ).token.get_secret_value() == "from-credential"
    assert bare.load(bare.WITH_FILE, {**environ, "RENDERDROP_TOKEN": " "}).token.get_secret_value() == "from-file"


def test_the_token_is_in_no_repr(bare: Place) -> None:
    loaded = bare.load(bare.ROUTE, {"RENDERDROP_TOKEN": bare.TOKEN})
    assert bare.TOKEN not in repr(loaded) + str(loaded)


def test_no_token_names_the_three_ways(bare: Place) -> None:
    [(key, message)] = bare.problems().items()
    assert key == "platform.token_file"
    assert all(way in message for way in ("platform.token_file", "RENDERDROP_TOKEN", 'credential "token"'))


@pytest.mark.parametrize("text", ["a b", "a\nb", "a\x00b", "令牌", b"\xff\xfe"])
def test_what_is_more_than_a_token_is_refused_and_not_repeated(bare: Place, text: str | bytes) -> None:
    write(bare.root / "token", text)
    [(key, message)] = bare.problems(bare.WITH_FILE).items()
    assert key == "platform.token_file"
    assert "more than a token" in message


def test_a_token_file_that_is_missing_empty_or_no_file_is_told(bare: Place) -> None:
    assert "does not exist" in bare.problems(bare.WITH_FILE)["platform.token_file"]
    write(bare.root / "token", " \n")
    assert "is empty" in bare.problems(bare.WITH_FILE)["platform.token_file"]
    (bare.root / "token").unlink()
    os.mkfifo(bare.root / "token")
    assert "not a regular file" in bare.problems(bare.WITH_FILE)["platform.token_file"]
    (bare.root / "token").unlink()
    (bare.root / "token").mkdir()
    assert "cannot be read" in bare.problems(bare.WITH_FILE)["platform.token_file"]


def test_a_token_file_that_everybody_can_read_is_a_warning(bare: Place) -> None:
    write(bare.root / "token", bare.TOKEN, 0o644)
    [warning] = bare.load(bare.WITH_FILE).warnings
    assert warning.key == "platform.token_file"
    assert "chmod 600" in warning.message
    write(bare.root / "token", bare.TOKEN, 0o640)
    assert bare.load(bare.WITH_FILE).warnings == ()


def test_the_credential_stands_in_for_a_token_file_that_cannot_be_read(bare: Place) -> None:
    write(bare.root / "credentials/token", bare.TOKEN)
    loaded = bare.load(bare.WITH_FILE, {"CREDENTIALS_DIRECTORY": str(bare.root / "credentials")})
    assert loaded.token.get_secret_value() == bare.TOKEN
    assert "systemd's credential is used" in loaded.warnings[0].message


def test_a_token_that_travels_unencrypted_is_a_warning_except_to_this_machine(bare: Place) -> None:
    environ = {"RENDERDROP_TOKEN": bare.TOKEN, "RENDERDROP_PLATFORM__BASE_URL": "http://render.test"}
    [warning] = bare.load(bare.ROUTE, environ).warnings
    assert "unencrypted" in warning.message
    for local in ("http://127.0.0.1:8900", "http://localhost", "http://[::1]:1", "https://render.test"):
        assert bare.load(bare.ROUTE, {**environ, "RENDERDROP_PLATFORM__BASE_URL": local}).warnings == ()
