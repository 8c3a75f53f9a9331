"""The example settings and their published schema are in step with the models."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from renderdrop.settings import Settings, load, settings_schema
from renderdrop.settings.keys import Daemon, Dispatch, InputTable, Intake, Platform, PublishTable, RouteTable

CONFIG = Path(__file__).parents[2] / "config"
EXAMPLE = CONFIG / "renderdrop.toml"


def test_the_published_schema_is_the_models(tmp_path: Path) -> None:
    published = json.loads((CONFIG / "renderdrop.schema.json").read_text("utf-8"))
    assert published == json.loads(json.dumps(settings_schema())), "run `make schema`"


def test_the_schema_is_a_schema_and_takes_the_example() -> None:
    schema = settings_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(tomllib.loads(EXAMPLE.read_text("utf-8")), schema)


@pytest.mark.parametrize(
    "wrong",
    [
        {"routes": {"a": {"workflow_id": "1", "clusters": [], "inputs": {"a": "image"}}}},
        {"routes": {"a": {"workflow_id": "1", "clusters": ["x"], "inputs": {}}}},
        {"routes": {"a": {"workflow_id": "1", "clusters": ["x"], "inputs": {"a": "txt"}}}},
        {"routes": {"a": {"workflow_id": "1", "clusters": ["x"], "inputs": {"a": {"media": "any", "file": "x"}}}}},
        {"routes": {"a": {"workflow_id": "1", "clusters": ["x"], "inputs": {"a": {"suffix": "_m"}}}}},
        {"routes": {"a": {"workflow_id": "1", "clusters": ["x"], "inputs": {"a": "any"}, "params": {"x": [1]}}}},
        {"routes": {"a": {"workflow_id": "1", "clusters": ["x"], "inputs": {"a": "any"}, "matrix": {"x": []}}}},
        {"routes": {"a": {"workflow_id": "1", "inputs": {"a": "any"}}}},
        {"routes": {"a": {"workflow_id": "1", "clusters": ["x"], "inputs": {"a": "any"}, "graph": "x"}}},
        {"routes": {"a": {"kind": "graph", "clusters": ["x"], "inputs": {"1.a": "any"}}}},
        {"routes": {"a": {"kind": "model", "provider": "p", "model": "m", "inputs": {"a": "any"}}}},
        {
            "routes": {
                "a": {
                    "kind": "model",
                    "provider": "p",
                    "model": "m",
                    "type": "text2image",
                    "inputs": {"a": "any"},
                    "clusters": ["x"],
                }
            }
        },
        {"intake": {"settle": "soon"}},
        {"daemon": {"uploads": 0}},
        {"web": {}},
    ],
)
def test_the_schema_refuses_what_the_program_refuses(wrong: dict[str, Any]) -> None:
    assert not jsonschema.Draft202012Validator(settings_schema()).is_valid(wrong)


def test_every_field_says_what_it_does() -> None:
    for table in (Platform, Daemon, Intake, Dispatch, RouteTable, InputTable, PublishTable):
        assert [name for name, field in table.model_fields.items() if not field.description] == []


def test_the_example_names_its_schema_and_every_key() -> None:
    text = EXAMPLE.read_text("utf-8")
    assert text.splitlines()[0] == "#:schema renderdrop.schema.json"
    keys = [*Platform.model_fields, *Daemon.model_fields, *Intake.model_fields, *Dispatch.model_fields]
    keys += [*RouteTable.model_fields, *PublishTable.model_fields]
    # A table of its own, and the keys of the tables of inputs.
    keys.remove("publish")
    assert re.search(r"^\[routes\.\w+\.publish\]$", text, re.MULTILINE)
    assert [
        key for key in InputTable.model_fields if not re.search(rf"^\w+ = \{{.*\b{key} = ", text, re.MULTILINE)
    ] == []
    assert [key for key in keys if not re.search(rf"^(# )?{key} = ", text, re.MULTILINE)] == []


def test_the_examples_defaults_are_the_models() -> None:
    """Every line `# key = value` of the example says what holds without it."""
    section: list[str] = []
    shown = 0
    # These have no value of their own without the line; it shows one that would do.
    examples = {
        "token_file", "version_id", "region", "submit_between", "max_tasks_per_day", "max_in_flight",
    }  # fmt: skip
    for line in EXAMPLE.read_text("utf-8").splitlines():
        if match := re.fullmatch(r"\[([\w.]+)\]", line):
            section = match[1].split(".")
        elif section and (match := re.fullmatch(r"# ((\w+) = .+)", line)) and match[2] not in examples:
            required: dict[str, Any] = {}
            if section[0] != "routes":
                table = Settings.model_fields[section[0]].annotation
            elif section[-1] == "publish":
                table, required = PublishTable, {"bucket": "b", "endpoint": "https://s3.test"}
            else:
                table, required = RouteTable, {"inputs": {"a": "any"}}
            assert isinstance(table, type)
            assert issubclass(table, (RouteTable, Platform, Daemon, Intake, Dispatch, PublishTable))
            with_line = table.model_validate(required | tomllib.loads(match[1]))
            assert with_line == table.model_validate(required), line
            shown += 1
    assert shown > 25


def test_the_example_loads_once_its_folders_exist(tmp_path: Path) -> None:
    folders = {"ROUTES__PORTRAIT__FOLDER": "portrait"}
    folders |= {f"ROUTES__RESTYLE__{role}": f"restyle/{role.lower()}" for role in ("INBOX", "OUTBOX", "DONE", "FAILED")}
    environ = {"RENDERDROP_TOKEN": "AI-example", "STATE_DIRECTORY": str(tmp_path / "state")}
    for name, folder in folders.items():
        (tmp_path / folder).mkdir(parents=True)
        environ[f"RENDERDROP_{name}"] = str(tmp_path / folder)
    loaded = load(EXAMPLE, environ)
    assert [route.name for route in loaded.routes] == ["portrait", "restyle"]
    assert loaded.warnings == ()
    assert loaded.settings.intake.ignore == ("**/*.psd",)
    assert list(loaded.settings.routes) == ["portrait", "restyle", "dance", "upscale", "repaint"]
