"""A stand-in of the rendering platform, for trials, the demo, tests and authors of routes.

Written from the platform's own API page alone. Imports nothing of the product, so that client and stand-in
cannot err alike; it is strict, so that the client cannot drift. Importing it costs the web server: do so late.
"""

from renderdrop.sandbox.farm import ClusterSpec
from renderdrop.sandbox.models import MODELS, ModelSpec
from renderdrop.sandbox.nodes import NODES, NodeClass
from renderdrop.sandbox.options import SandboxOptions
from renderdrop.sandbox.samples import GRAPHS
from renderdrop.sandbox.server import Sandbox, serve
from renderdrop.sandbox.workflows import KNOWN, Parameter, Row, WorkflowSpec

__all__ = [
    "GRAPHS",
    "KNOWN",
    "MODELS",
    "NODES",
    "ClusterSpec",
    "ModelSpec",
    "NodeClass",
    "Parameter",
    "Row",
    "Sandbox",
    "SandboxOptions",
    "WorkflowSpec",
    "serve",
]
