"""`init`, `schema`, `--version`."""

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest

import renderdrop
from renderdrop.settings import settings_schema

if TYPE_CHECKING:
    from tests.cli.conftest import Call


async def test_a_first_route_with_its_options_passes_the_check_at_once(call: "Call", tmp_path: Path) -> None:
    made = await call(
        "init", tmp_path / "new/deep", "--workflow-id", "88", "--cluster", "GPU-A800", "--input", "film=video"
    )
    config = tmp_path / "new/deep/renderdrop.toml"
    assert made.code == 0
    assert "RENDERDROP_TOKEN" in made.out
    settings = tomllib.loads(config.read_text("utf-8"))
    jsonschema.validate(settings, settings_schema())
    assert settings["routes"]["first"]["inputs"] == {"film": "video"}
    assert sorted(p.name for p in (config.parent / "first").iterdir()) == ["done", "failed", "inbox", "outbox"]
    assert (await call("check", "--offline", "-c", config)).code == 0


async def test_without_options_the_file_is_toml_and_check_says_what_to_fill_in(call: "Call", tmp_path: Path) -> None:
    made = await call("init", "here")
    assert made.code == 0
    assert "Fill in workflow_id and clusters" in made.out
    tomllib.loads((tmp_path / "here/renderdrop.toml").read_text("utf-8"))
    checked = await call("check", "--offline", "-c", "here/renderdrop.toml")
    assert checked.code == 78
    assert [line.split(": ")[0] for line in checked.out.splitlines()[1:]] == [
        "routes.first.workflow_id", "routes.first.clusters",
    ]  # fmt: skip


async def test_a_settings_file_is_never_overwritten(call: "Call", tmp_path: Path) -> None:
    (tmp_path / "renderdrop.toml").write_text("mine")
    ended = await call("init", tmp_path)
    assert ended.code == 1
    assert "left as it is" in ended.err
    assert (tmp_path / "renderdrop.toml").read_text() == "mine"


async def test_a_route_may_have_a_name_in_any_script(call: "Call", tmp_path: Path) -> None:
    argv = ("--route", "肖像", "--workflow-id", 'a"b', "--cluster", "GPU-4090")
    assert (await call("init", tmp_path / "x", *argv)).code == 0
    assert (await call("check", "--offline", "-c", tmp_path / "x/renderdrop.toml")).code == 0


@pytest.mark.parametrize(
    "argv",
    [
        ["--route", "../up"], ["--route", 'a"b'], ["--input", "a=picture"], ["--base-url", "ftp://x"],
        ["--cluster", " "], ["--input", "cluster_name=image"],
    ],
)  # fmt: skip
async def test_options_that_no_settings_could_hold_make_nothing(argv: list[str], call: "Call", tmp_path: Path) -> None:
    ended = await call("init", tmp_path / "x", *argv)
    assert ended.code == 2
    assert "Traceback" not in ended.err
    assert not (tmp_path / "x").exists()


async def test_a_folder_that_cannot_be_made_is_told_in_a_sentence(call: "Call", tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = await call("init", tmp_path / "file" / "below")
    assert ended.code == 1
    assert ended.err.startswith("renderdrop: ")
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("shape", ["settings", "sidecar"])
async def test_schemas_are_printed_as_json(shape: str, call: "Call") -> None:
    ended = await call("schema", shape)
    assert ended.code == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(ended.out))


async def test_the_version_is_told(call: "Call") -> None:
    assert (await call("--version")).out == f"renderdrop {renderdrop.__version__}\n"


async def test_without_a_command_or_with_a_wrong_one_the_usage_is_told(call: "Call") -> None:
    assert (await call("fly")).code == 2
    assert "Commands:" in (await call("--help")).out
