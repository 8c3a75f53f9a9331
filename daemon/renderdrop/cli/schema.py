"""`renderdrop schema`: the shapes that we publish, as JSON Schema."""

from enum import StrEnum
from typing import Annotated

import typer

from renderdrop.cli.paper import as_json


class Shape(StrEnum):
    """What has a published shape."""

    SETTINGS = "settings"
    SIDECAR = "sidecar"
    TICKET = "ticket"


def schema(
    shape: Annotated[
        Shape, typer.Argument(help="Of renderdrop.toml, of the JSON beside results, or of what lies beside a file.")
    ],
) -> None:
    """Print the JSON Schema of the settings, the sidecar or tickets."""
    if shape is Shape.SETTINGS:
        from renderdrop.settings import settings_schema

        as_json(settings_schema())
    elif shape is Shape.TICKET:
        from renderdrop.intake.ticket import ticket_schema

        as_json(ticket_schema())
    else:
        from renderdrop.model.sidecar import sidecar_schema

        as_json(sidecar_schema())
