"""What an operator may set, and every check of it: `renderdrop.toml`, the environment, the token.

The room: `values` and `keys` (the shape) · `schema` (the same for editors) · `source` (file and environment) · `words`
(structural problems told) · `checks` with `kinds` and `inputs` (what values mean) · `places` and `files` (what folders
and files mean) · `disk` and `secret` (the looks outside) · `build` (tables become routes) · `load` (all in order).
Nothing above the model is known here.
"""

from renderdrop.settings.keys import Settings
from renderdrop.settings.load import Loaded, find_config, load
from renderdrop.settings.schema import settings_schema

__all__ = ["Loaded", "Settings", "find_config", "load", "settings_schema"]
