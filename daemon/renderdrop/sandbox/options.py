"""How a sandbox is set up: everything that a test or a trial may choose.

Owns: SandboxOptions. Data alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from renderdrop.sandbox.farm import CLUSTERS, ClusterSpec
from renderdrop.sandbox.models import ModelSpec
from renderdrop.sandbox.nodes import NodeClass
from renderdrop.sandbox.workflows import WorkflowSpec


@dataclass(frozen=True)
class SandboxOptions:
    """How the sandbox is set up; times in seconds."""

    token: str = "AI-sandbox"  # noqa: S105  a stand-in's, and no secret
    host: str = "127.0.0.1"
    port: int = 0
    """0: any free port, see `Sandbox.base_url`."""
    clusters: tuple[ClusterSpec, ...] = CLUSTERS
    render_seconds: tuple[float, float] = (1.0, 3.0)
    """Shortest and longest run of a task."""
    boot_seconds: float = 1.0
    scale_every: float = 0.5
    idle_seconds: float = 5.0
    """How long an instance above the warm ones stays without work."""
    seed: int = 7
    folder: Path | None = None
    """Where uploads and outputs lie; None: a temporary folder, removed at stop."""
    foreign_load: Mapping[str, int] = field(default_factory=dict)
    """Cluster name → instances that other users hold: shown, but never ours."""
    workflows: Mapping[str, WorkflowSpec] = field(default_factory=dict)
    """Known beside, or instead of, the built-in ones of the same id."""
    nodes: Mapping[str, NodeClass] = field(default_factory=dict)
    """Classes of graph nodes known beside, or instead of, the built-in ones."""
    models: Mapping[tuple[str, str], ModelSpec] = field(default_factory=dict)
    """Models known beside, or instead of, the built-in ones; the key is provider and model."""
    native_urls: bool = False
    """A graph's outputs are told as full URLs; else as bare file names."""
    late_missing: bool = False
    """A graph that names a forgotten upload is accepted, and its task fails; else it is refused at once."""
    fetch_images: bool = True
    """The URLs of a model's `images` are really fetched; else a picture is drawn instead."""
    view_needs_token: bool = False
    output_host: str = ""
    """The host name in output URLs where it is not to be base_url's."""
