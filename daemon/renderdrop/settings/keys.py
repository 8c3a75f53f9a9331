"""Every key that an operator may set, with its type, its default and what it does.

Owns: the shape of the settings as pydantic models; the docstring under a field is its description in the
schema. It must never look at a disk, the environment or another key than the one it judges: what keys mean
together is `kinds`, `inputs` and `checks`. A key that is not built yet is not here, so it is an unknown key.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from renderdrop.model import units
from renderdrop.model.route import MODEL_TYPES, After, Bundling, Duplicates, Kind, OnUnknown
from renderdrop.settings.values import (
    ACCEPTS_SCHEMA,
    Axis,
    Between,
    Bucket,
    Duration,
    Expiry,
    Ident,
    Location,
    Param,
    Patience,
    Prefix,
    Size,
    Suffix,
    Takes,
    Text,
    Url,
    accepts,
    no_twins,
)

if TYPE_CHECKING:
    TypeOfModel = str
else:
    TypeOfModel = Literal[tuple(MODEL_TYPES)]
_TABLES: Final = ', or a table: { media = "image", suffix = "_mask", optional = true } or { file = "style.png" }'


def _span(text: str) -> Any:
    """A duration's default, shown in the schema as people write it."""
    return Field(default=units.seconds(text), json_schema_extra={"default": text})


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Platform(_Table):
    """The rendering platform: where it is and how hard we may ask it."""

    base_url: Url = "https://art.huya.info"
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
    ticket_wait: Patience = _span("10s")
    """How long a settled file waits, from its last change, for a ticket that may come after it; 0: not at all.
    A ticket that was dropped before its file is always found."""
    ignore: tuple[Text, ...] = Field(default=(), examples=[["**/*.psd"]])
    """Patterns of files to leave alone, besides those that are always ignored."""


class Dispatch(_Table):
    """How a cluster is chosen."""

    status_every: Duration = _span("10s")
    """How often the clusters' load is asked for."""
    policy: Literal["expected-completion", "least-loaded"] = "expected-completion"
    """How a cluster is chosen among those that the route allows: by when it is expected to have finished the job, for
    which the daemon learns from earlier tasks and lets jobs wait for a better cluster; or by its load alone."""
    lag_after: Duration = _span("5m")
    """How long a task must have been pending, at the least, before it is said to lag behind those on other clusters.
    Longer than a cluster takes to boot an instance."""
    aging: Patience = _span("4h")
    """For so long a wait a job gains one step of priority, until it is level with the most urgent that wait, with whom
    it then takes turns; so nothing waits for ever. 0: priorities alone count."""
    max_tasks_per_day: int | None = Field(default=None, ge=1)
    """How many tasks all routes together may have in a day: the budget. Left out: any number."""


class InputTable(_Table):
    """One input: what is dropped for it, or the file of the operator's that feeds it in every job."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["media"]}, {"required": ["file"]}]})

    media: Takes | None = Field(default=None, examples=["image"])
    """What is dropped: "image", "video", "audio", "text", "any" or a list of name patterns."""
    suffix: Suffix | None = None
    """How the names of its files end before the extension: with "_mask", clip_mask.png goes with clip.jpg."""
    optional: bool = False
    """A job may go without it."""
    file: Location | None = Field(default=None, examples=["style.png"])
    """A file that is sent with every job; relative to the settings file. Instead of the other keys."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.media is None) == (self.file is None):
            raise ValueError('must have either media, such as "image", for what is dropped, or file, for a constant')
        if self.file is not None and self.model_fields_set != {"file"}:
            raise ValueError("must not have suffix or optional beside file: the same file is sent with every job")
        return self


def _as_table(value: object) -> object:
    """`"image"` and `["*.exr"]` are short for `{ media = … }`."""
    if isinstance(value, (Mapping, InputTable)):
        return value
    try:
        return {"media": accepts(value)}
    except ValueError as error:
        raise ValueError(f"{error}{_TABLES}") from None


class _ShortOrTable:
    """An input's JSON Schema: the short form or the table."""

    def __get_pydantic_json_schema__(
        self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [*ACCEPTS_SCHEMA["anyOf"], handler(core)]}


class PublishTable(_Table):
    """The S3-compatible store through which a model's pictures become public URLs for a while. Its credentials come
    from the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), ~/.aws or an instance role, never from here."""

    bucket: Bucket = Field(examples=["render-inputs"])
    """The bucket's name."""
    endpoint: Url = Field(examples=["https://oss-cn-shenzhen.aliyuncs.com"])
    """The store's address, without the bucket. The platform must be able to reach it."""
    prefix: Prefix = "renderdrop/"
    """How the names of the pictures begin in the bucket."""
    expires: Expiry = _span("1h")
    """How long a picture's URL can be used; longer than a task can take. At most "7d"."""
    region: Text | None = None
    """The store's region, where it wants one."""
    addressing: Literal["auto", "virtual", "path"] = "auto"
    """Where the bucket stands in URLs: "virtual" in the host's name (OSS), "path" behind it (MinIO)."""


class RouteTable(_Table):
    """One route: an inbox, the workflow it feeds and the outbox."""

    kind: Kind = "app"
    """What the route runs: a workflow published as an "app", a ComfyUI "graph" of your own, or a third party's
    "model"."""
    folder: Location | None = Field(default=None, examples=["/srv/share/portrait"])
    """The folder that holds inbox/, outbox/, done/ and failed/; relative to the settings file."""
    inbox: Location | None = None
    """Where files are dropped, if not FOLDER/inbox. It may be another route's outbox: a chain."""
    outbox: Location | None = None
    """Where results appear, if not FOLDER/outbox. It may be another route's inbox: a chain."""
    done: Location | None = None
    """Where sources go whose results were delivered, if not FOLDER/done."""
    failed: Location | None = None
    """Where sources go that failed, if not FOLDER/failed."""
    workflow_id: Ident | None = Field(default=None, examples=["1234"])
    """Apps only, and required there: the workflow's id on the platform."""
    version_id: Ident | None = None
    """Apps only: the workflow's version; the newest where left out."""
    graph: Location | None = Field(default=None, examples=["graphs/upscale_api.json"])
    """Graphs only, and required there: the graph as ComfyUI exports it in API format; relative to the settings file."""
    provider: Text | None = Field(default=None, examples=["google"])
    """Models only, and required there: whose model it is."""
    model: Text | None = Field(default=None, examples=["gemini-3-pro-image-preview"])
    """Models only, and required there: the model's name, as agreed with the platform's administrators."""
    type: TypeOfModel | None = Field(default=None, examples=["image2image"])
    """Models only, and required there: what the model makes of what."""
    clusters: Annotated[tuple[Text, ...], Field(min_length=1), AfterValidator(no_twins("a cluster"))] | None = Field(
        default=None, examples=[["GPU-4090", "GPU-A800"]], json_schema_extra={"uniqueItems": True}
    )
    """Apps and graphs, required there: the clusters that may run it, in order of preference."""
    inputs: dict[str, Annotated[InputTable, BeforeValidator(_as_table), _ShortOrTable()]] = Field(
        examples=[{"input_image": "image"}], json_schema_extra={"minProperties": 1}
    )
    """The workflow's input (of a graph: node.input) ← what is dropped: "image", "video", "audio", "text" (its content
    becomes the value), "any", a list of name patterns, or a table."""
    bundle: Bundling | None = None
    """Which files make a job: each "file" by itself (the default with one input), those with one "stem" in a folder
    (the default with several), or those in one "folder" of the inbox."""
    bundle_timeout: Patience = _span("30m")
    """After so long a bundle that lacks a file fails and says what is missing; 0: it waits for ever."""
    params: dict[str, Param] = Field(default={}, examples=[{"prompt": "oil painting"}])
    """Constants that every job of the route sends; a model's may be lists and tables."""
    matrix: dict[str, Axis] = Field(default={}, examples=[{"seed": [1, 2, 3]}])
    """Parameters with several values each: one job for every combination, at most 1000."""
    params_allowed: Annotated[tuple[Text, ...], AfterValidator(no_twins("a parameter"))] | None = Field(
        default=None, examples=[["prompt", "seed"]], json_schema_extra={"uniqueItems": True}
    )
    """The parameters that a ticket may set. Left out: those under params and matrix, and a model's pictures, for which
    a ticket may give public URLs."""
    publish: PublishTable | None = None
    """Models only: where dropped pictures are published for the model to fetch. Without it only .url files and
    tickets can name pictures."""
    duplicates: Duplicates = "run"
    """The same content with the same parameters and workflow once more: "run" it again, or "skip" it and give the
    earlier results."""
    after: After = "move"
    """What becomes of a source when its job has ended: "move" it to done/, "keep" it where it is and remember it, or
    "delete" it once its results are on disk."""
    priority: int = Field(default=0, ge=-1_000_000, le=1_000_000)
    """Jobs of a higher number go first; see also dispatch.aging."""
    attempts: int = Field(default=3, ge=1, le=100)
    """How many times a job is tried when faults are temporary."""
    silence: Duration = _span("30m")
    """A task whose status and progress have not changed for so long is held for a person."""
    submit_between: Between | None = Field(default=None, examples=["22:00-08:00"])
    """The hours of the day in which jobs are sent, by the machine's own clock; a list of several, too. What is dropped
    at other times waits; what is with the platform is followed and delivered at any time. Left out: always."""
    max_tasks_per_day: int | None = Field(default=None, ge=1)
    """How many tasks the route may have in a day, from midnight to midnight by the machine's own clock; the rest waits
    for the next day. Left out: any number."""
    max_in_flight: int | None = Field(default=None, ge=1)
    """How many of the route's tasks may be with the platform at once. Left out: any number."""
    rescue: bool = False
    """Apps and graphs only: a task that is still pending long after others elsewhere have begun (dispatch.lag_after) is
    sent once more, to another cluster, and whichever comes first is used. Both may be billed: the platform cannot
    cancel a task. Never more than once in a job's life."""
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
