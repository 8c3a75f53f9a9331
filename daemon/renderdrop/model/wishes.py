"""What a job asks for beyond its route, and what comes of both. Pure.

Owns the precedence: route < matrix < batch < ticket < dropped text, and that every parameter knows where it came
from. A route's constants are laid under the wishes at the moment of sending, so that mended settings count for
jobs that still wait.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import product
from typing import Any, Final, NamedTuple

from renderdrop.model.names import clean
from renderdrop.model.route import Route, Scalar, Value

ROUTE: Final = "route"
MATRIX: Final = "matrix"
BATCH: Final = "batch"
TICKET: Final = "ticket"
TEXT: Final = "text"
RERUN: Final = "rerun"
"""Where a parameter's value came from, as the sidecar says it."""


class Pin(NamedTuple):
    """What of a job's own decides where it can go: its workflow (None = the route's) and clusters (none = all of the
    route's)."""

    workflow_id: str | None = None
    clusters: tuple[str, ...] = ()

    def on(self, route: Route) -> tuple[str, tuple[str, ...]]:
        """What runs, and where it may, as the route is set now: clusters count as far as it still allows them."""
        allowed = tuple(name for name in self.clusters if name in route.clusters)
        return self.workflow_id or route.workflow_id, allowed or route.clusters


NO_PIN: Final = Pin()


@dataclass(frozen=True, slots=True)
class Wishes:
    """One job's own parameters and choices. `origins` has a word for each of `params`."""

    params: Mapping[str, Value] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    clusters: tuple[str, ...] = ()
    """Those of the route's that the job may use; empty = all of them."""
    workflow_id: str | None = None
    version_id: str | None = None
    whole: bool = False
    """`params` is all there is: the route's own are left out (a rerun sends what the sidecar says)."""
    label: str = ""
    """Tells a matrix's combinations apart in the names of their results."""
    notes: tuple[str, ...] = ()
    """What whoever dropped the files should know, for the sidecar's warnings."""

    @property
    def pin(self) -> Pin:
        """What decides where the job can go."""
        return Pin(self.workflow_id, self.clusters)

    def over(self, params: Mapping[str, Value], origin: str) -> "Wishes":
        """The same with these parameters laid over."""
        return self.with_(
            params={**self.params, **params}, origins={**self.origins, **dict.fromkeys(params, origin)}
        )  # fmt: skip

    def with_(self, **changes: Any) -> "Wishes":
        """The same but for these fields."""
        return Wishes(**{name: getattr(self, name) for name in self.__dataclass_fields__} | changes)

    def as_json(self) -> dict[str, Any]:
        """A JSON object, without what says nothing."""
        return {name: value for name, value in asdict(self).items() if value}

    @classmethod
    def of_json(cls, found: Mapping[str, Any] | None) -> "Wishes":
        """Back from `as_json`."""
        found = dict(found or {})
        for name in ("clusters", "notes"):
            found[name] = tuple(found.get(name, ()))
        return cls(**found)


def params_of(route: Route, wishes: Wishes) -> tuple[dict[str, Value], dict[str, str]]:
    """What is sent with a job, and where each parameter came from."""
    base = {} if wishes.whole else dict(route.params)
    return {**base, **wishes.params}, {**dict.fromkeys(base, ROUTE), **wishes.origins}


def combinations(matrix: Mapping[str, tuple[Scalar, ...]], pinned: Mapping[str, Value]) -> list[dict[str, Scalar]]:
    """One table of parameters for each combination, in the order of the settings; keys that are pinned (a ticket gives
    their value) are no axis. Without an axis there is one empty combination."""
    axes = [[(key, value) for value in values] for key, values in matrix.items() if key not in pinned]
    return [dict(chosen) for chosen in product(*axes)]


def label(chosen: Mapping[str, Scalar]) -> str:
    """A combination as a part of a file name: `seed-1`, `seed-1_style-oil`."""
    spelled = (
        f"{key.rpartition('.')[2]}-{str(value).lower() if isinstance(value, bool) else value}"
        for key, value in chosen.items()
    )
    return "_".join(clean(part, "x")[:40].strip(" .") for part in spelled)
