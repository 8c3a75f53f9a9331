"""`renderdrop schema`: the shapes that we publish, as JSON Schema."""

from enum import StrEnum
from typing import Annotated

import typer

from renderdrop.cli.paper import as_json


class Shape(StrEnum):
    """What has a published shape."""

    SETTINGS = "settings"
    SIDECAR = "sidecar"


def schema(shape: Annotated[Shape, typer.Argument(help="Of renderdrop.toml, or of the JSON beside results.")]) -> None:
    """Print the JSON Schema of the settings or the sidecar."""
    if shape is Shape.SETTINGS:
        from renderdrop.settings import settings_schema

        as_json(settings_schema())
    else:
        from renderdrop.model.sidecar import sidecar_schema

        as_json(sidecar_schema())
