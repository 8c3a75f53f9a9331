"""A route: one inbox → workflow → outbox, as the rest of the program sees it.

Owns: the plain value that `settings` builds after every check passed. It must never touch its
folders (`share` does) nor hold the token.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from renderdrop.model.hours import Hours
from renderdrop.model.media import Accepts

Scalar = str | int | float | bool
Value = Any
"""A parameter's value: a scalar; for models also lists and tables of JSON."""
Kind = Literal["app", "graph", "model"]
Bundling = Literal["file", "stem", "folder"]
After = Literal["move", "keep", "delete"]
OnUnknown = Literal["resubmit", "hold"]
Duplicates = Literal["run", "skip"]


@dataclass(frozen=True, slots=True)
class Input:
    """One input that a dropped file feeds. `suffix` ends the stem of its files ("_mask")."""

    name: str
    accepts: Accepts
    suffix: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Publish:
    """The S3-compatible store through which a model's pictures become URLs. `expires` in seconds."""

    bucket: str
    endpoint: str
    prefix: str
    expires: float
    region: str | None = None
    addressing: Literal["auto", "virtual", "path"] = "auto"


@dataclass(frozen=True, slots=True)
class ModelType:
    """What a type of model makes (the platform's word for the call), and whether it takes pictures, by public URLs."""

    makes: str
    needs_images: bool


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        "text2image": ModelType("image", needs_images=False),
        "image2image": ModelType("image", needs_images=True),
    }
)
"""Every type that can be asked for. Video models cost a row each, once the platform publishes their call."""


@dataclass(frozen=True, slots=True)
class Model:
    """A third-party model as the platform names it. `type` is a key of MODEL_TYPES."""

    provider: str
    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Route:
    """One configured route. Paths are absolute; durations are seconds; sizes are bytes."""

    name: str
    kind: Kind
    inbox: Path
    outbox: Path
    done: Path
    failed: Path
    workflow_id: str
    """The app's id; for a graph its file's name, for a model provider/model: what people call the workflow."""
    version_id: str | None
    clusters: tuple[str, ...]
    """Empty for models, which the platform places itself."""
    inputs: tuple[Input, ...]
    """What is dropped, in the order of the settings; never empty."""
    params: Mapping[str, Value]
    after: After
    priority: int
    attempts: int
    silence: float
    on_unknown_submit: OnUnknown
    output_name: str
    max_output: int
    constants: Mapping[str, Path] = field(default_factory=dict)
    """Inputs that a file of the operator's feeds, the same for every job."""
    bundle: Bundling = "file"
    bundle_timeout: float = 1800.0
    """Seconds until an incomplete bundle fails; 0 = it waits for ever."""
    matrix: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    params_allowed: tuple[str, ...] = ()
    """What tickets may set."""
    duplicates: Duplicates = "run"
    graph: Path | None = None
    model: Model | None = None
    publish: Publish | None = None
    submit_between: tuple[Hours, ...] = ()
    """The hours of the day in which its jobs are sent; none = always."""
    max_tasks_per_day: int | None = None
    max_in_flight: int | None = None
    """How many of its tasks may be with the platform at once; None = any number."""
    rescue: bool = False
    """Whether a task that lags may be left behind for a second one on another cluster."""
    feeds: str | None = None
    """The route whose inbox is this one's outbox."""
    fed_by: tuple[str, ...] = ()
    """The routes whose outbox is this one's inbox."""

    def input(self, name: str) -> Input | None:
        """The input of that name, if files are dropped for it."""
        return next((i for i in self.inputs if i.name == name), None)


def end_of_chain(route: Route, routes: Mapping[str, Route]) -> Route:
    """The last route of the chain that this one is in; itself where it feeds no other."""
    while route.feeds is not None and route.feeds in routes:
        route = routes[route.feeds]
    return route
