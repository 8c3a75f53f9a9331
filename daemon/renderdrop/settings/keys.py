"""Every key that an operator may set, with its type, its default and what it does.

Owns: the shape of the settings as pydantic models, and the JSON Schema made of them; the docstring
under a field is its description in the schema. It must never look at a disk, the environment or
another key than the one it judges: what keys mean together is `checks`.
A key that is not built yet is not here, so it is an unknown key.
"""

import math
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from renderdrop.model import units
from renderdrop.model.media import MEDIA_CLASSES, Accepts
from renderdrop.model.route import After, OnUnknown, Scalar

_A_YEAR: Final = 366 * 86400.0
_BLINK: Final = 0.05
_MOST_BYTES: Final = 2**63 - 1


def _duration(value: object) -> float:
    try:
        found = units.seconds(value)
    except OverflowError:
        found = math.inf
    if not _BLINK <= found <= _A_YEAR:
        raise ValueError('must be a duration between "50ms" and "366d"')
    return found


def _size(value: object) -> int:
    try:
        found = units.size(value)
    except OverflowError:
        found = _MOST_BYTES + 1
    if not 1 <= found <= _MOST_BYTES:
        raise ValueError('must be a size between 1 and 2⁶³-1 bytes, such as "8GB"')
    return found


def _path(value: object) -> Path:
    if not isinstance(value, (str, Path)) or not str(value).strip() or "\0" in str(value):
        raise ValueError('must be a path in quotes, such as "/srv/share/portrait"')
    return Path(value)


def _ident(value: object) -> object:
    """The platform's ids are digits: `1234` and `"1234"` mean the same."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _plain(value: str) -> str:
    value = value.strip()
    if not value or any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in value):
        raise ValueError("must not be empty or hold control characters")
    return value


def _bare(value: str) -> str:
    """A base URL without the slash that people put behind it."""
    return value.rstrip("/")


def _scalar(value: object) -> Scalar:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("must be UTF-8 text") from None
        return value
    if isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError("must be a text, a number, true or false; put dates in quotes")


def _accepts(value: object) -> Accepts:
    if isinstance(value, str) and value in MEDIA_CLASSES:
        return value
    if isinstance(value, (list, tuple)) and value and all(isinstance(p, str) and p.strip() for p in value):
        return tuple(value)
    classes = ", ".join(f'"{name}"' for name in MEDIA_CLASSES)
    raise ValueError(f'must be one of {classes}, or a list of name patterns such as ["*.exr"]')


def _one_input(value: Mapping[str, Accepts]) -> Mapping[str, Accepts]:
    if len(value) != 1:
        raise ValueError('must name exactly one input in this version, such as { input_image = "image" }')
    return value


def _no_twins(value: tuple[str, ...]) -> tuple[str, ...]:
    twins = sorted({name for name in value if value.count(name) > 1})
    if twins:
        raise ValueError(f"must name a cluster once only; twice or more: {', '.join(twins)}")
    return value


_DURATION_SCHEMA: Final = {
    "anyOf": [
        {"type": "number", "minimum": _BLINK, "maximum": _A_YEAR},
        {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*(ms|[sSmMhHdD])?\s*$"},
    ]
}
_SIZE_SCHEMA: Final = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": _MOST_BYTES},
        {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*(([kKmMgGtT][iI]?)?[bB])?\s*$"},
    ]
}
_ACCEPTS_SCHEMA: Final = {
    "anyOf": [
        {"enum": list(MEDIA_CLASSES)},
        {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
    ]
}

Duration = Annotated[float, PlainValidator(_duration), WithJsonSchema(_DURATION_SCHEMA)]
Size = Annotated[int, PlainValidator(_size), WithJsonSchema(_SIZE_SCHEMA)]
Location = Annotated[Path, PlainValidator(_path), WithJsonSchema({"type": "string", "minLength": 1})]
Text = Annotated[str, AfterValidator(_plain), Field(json_schema_extra={"minLength": 1})]
Ident = Annotated[Text, BeforeValidator(_ident), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]})]
Param = Annotated[
    str | int | float | bool, PlainValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
Takes = Annotated[Accepts, PlainValidator(_accepts), WithJsonSchema(_ACCEPTS_SCHEMA)]


def _span(text: str) -> Any:
    """A duration's default, shown in the schema as people write it."""
    return Field(default=units.seconds(text), json_schema_extra={"default": text})


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Platform(_Table):
    """The rendering platform: where it is and how hard we may ask it."""

    base_url: Annotated[Text, AfterValidator(_bare)] = "https://art.huya.info"
    """Scheme, host and port of the platform. The token goes there and nowhere else."""
    token_file: Location | None = None
    """A file that holds the platform's token and nothing else; relative to the settings file. Left out: the variable
    RENDERDROP_TOKEN, or systemd's credential "token". The token itself never stands in the settings."""
    requests_per_second: float = Field(default=5.0, gt=0, le=1000, allow_inf_nan=False)
    """Budget of all status calls together."""


class Daemon(_Table):
    """The process itself."""

    state_dir: Location | None = None
    """Folder of ledger.sqlite, on a local file system. Left out: systemd's $STATE_DIRECTORY, else
    $XDG_STATE_HOME/renderdrop, else ~/.local/state/renderdrop."""
    uploads: int = Field(default=4, ge=1, le=64)
    """How many files are uploaded at once."""
    downloads: int = Field(default=8, ge=1, le=64)
    """How many results are downloaded at once."""
    log_format: Literal["auto", "console", "json"] = "auto"
    """"auto" is "console" on a terminal and "json" (one object a line) elsewhere."""


class Intake(_Table):
    """How dropped files are found, and when they count as complete."""

    settle: Duration = _span("2s")
    """How long size and time of a file must stand still before it is taken, on local file systems."""
    settle_network: Duration = _span("10s")
    """The same on network and FUSE mounts."""
    sweep: Duration = _span("60s")
    """How often a whole inbox is looked through on local file systems, where events make it quicker."""
    sweep_network: Duration = _span("10s")
    """The same on network and FUSE mounts, where the sweep is all there is."""
    ignore: tuple[Text, ...] = Field(default=(), examples=[["**/*.psd"]])
    """Patterns of files to leave alone, besides those that are always ignored."""


class Dispatch(_Table):
    """How a cluster is chosen."""

    status_every: Duration = _span("10s")
    """How often the clusters' load is asked for."""
    policy: Literal["least-loaded"] = "least-loaded"
    """How a cluster is chosen among those that the route allows."""


class RouteTable(_Table):
    """One route: an inbox, the workflow it feeds and the outbox."""

    kind: Literal["app"] = "app"
    """What the route runs: a workflow published as an app."""
    folder: Location | None = Field(default=None, examples=["/srv/share/portrait"])
    """The folder that holds inbox/, outbox/, done/ and failed/; relative to the settings file."""
    inbox: Location | None = None
    """Where files are dropped, if not FOLDER/inbox."""
    outbox: Location | None = None
    """Where results appear, if not FOLDER/outbox."""
    done: Location | None = None
    """Where sources go whose results were delivered, if not FOLDER/done."""
    failed: Location | None = None
    """Where sources go that failed, if not FOLDER/failed."""
    workflow_id: Ident = Field(examples=["1234"])
    """The workflow's id on the platform."""
    version_id: Ident | None = None
    """The workflow's version; the newest where left out."""
    clusters: Annotated[tuple[Text, ...], AfterValidator(_no_twins)] = Field(
        min_length=1, examples=[["GPU-4090", "GPU-A800"]], json_schema_extra={"uniqueItems": True}
    )
    """The clusters that may run it, in order of preference."""
    inputs: Annotated[dict[str, Takes], AfterValidator(_one_input)] = Field(
        examples=[{"input_image": "image"}], json_schema_extra={"minProperties": 1, "maxProperties": 1}
    )
    """The app's parameter ← what is dropped: "image", "video", "audio", "any" or a list of name patterns."""
    params: dict[str, Param] = Field(default={}, examples=[{"prompt": "oil painting"}])
    """Constants that every job of the route sends."""
    after: After = "move"
    """What becomes of a source when its job has ended: "move" it to done/, "keep" it where it is and remember it, or
    "delete" it once its results are on disk."""
    priority: int = Field(default=0, ge=-1_000_000, le=1_000_000)
    """Jobs of a higher number go first."""
    attempts: int = Field(default=3, ge=1, le=100)
    """How many times a job is tried when faults are temporary."""
    silence: Duration = _span("30m")
    """A task whose status and progress have not changed for so long is held for a person."""
    on_unknown_submit: OnUnknown = "resubmit"
    """A submission whose answer never came may be running and paid for: "resubmit" once, or "hold" for a person."""
    output_name: Text = "{stem}"
    """Base name of the results; knows {stem} {route} {job} {task} {date} {workflow}."""
    max_output: Size = Field(default=units.size("8GB"), json_schema_extra={"default": "8GB"})
    """The largest result file that is fetched."""
    enabled: bool = True
    """false leaves the route's folders alone."""


class Settings(_Table):
    """renderdrop.toml"""

    platform: Platform = Field(default_factory=Platform)
    daemon: Daemon = Field(default_factory=Daemon)
    intake: Intake = Field(default_factory=Intake)
    dispatch: Dispatch = Field(default_factory=Dispatch)
    routes: dict[str, RouteTable] = Field(
        default={}, json_schema_extra={"propertyNames": {"minLength": 1, "maxLength": 64}}
    )
    """The routes by name: letters, digits, ".", "_" and "-", beginning with a letter or digit."""


def settings_schema() -> dict[str, Any]:
    """The settings as JSON Schema, draft 2020-12: what `renderdrop schema settings` prints."""
    schema = Settings.model_json_schema(schema_generator=_TomlSchema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


class _TomlSchema(GenerateJsonSchema):
    """TOML has no null: a key that may be None is one that may be left out."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        return {key: value for key, value in made.items() if key != "default" or value is not None}

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False
