"""The settings as JSON Schema, for editors and for whoever writes settings with a program.

Owns: the schema's form, made of the models in `keys` and the rules of `kinds`, so that it cannot say another thing
than the program does. It must never be edited by hand.
"""

from typing import Any, get_args

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from renderdrop.model.route import Kind
from renderdrop.settings.keys import RouteTable, Settings
from renderdrop.settings.kinds import foreign, needed
from renderdrop.settings.values import SCALAR_SCHEMA


def settings_schema() -> dict[str, Any]:
    """The settings as JSON Schema, draft 2020-12: what `renderdrop schema settings` prints."""
    schema = Settings.model_json_schema(schema_generator=_TomlSchema)
    schema["$defs"][RouteTable.__name__]["allOf"] = [_kind(kind) for kind in get_args(Kind)]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _kind(kind: Kind) -> dict[str, Any]:
    """The keys that a route of this kind must and must not have."""
    asked: dict[str, Any] = {"properties": {"kind": {"const": kind}}}
    if kind != RouteTable.model_fields["kind"].default:
        asked["required"] = ["kind"]
    rules: dict[str, Any] = dict.fromkeys(foreign(kind), False)
    if kind != "model":
        rules["params"] = {"additionalProperties": SCALAR_SCHEMA}
    return {"if": asked, "then": {"required": needed(kind), "properties": rules}}


class _TomlSchema(GenerateJsonSchema):
    """TOML has no null: a key that may be None is one that may be left out."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        return {key: value for key, value in made.items() if key != "default" or value is not None}

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False
