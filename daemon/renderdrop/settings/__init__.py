"""What an operator may set, and every check of it: `renderdrop.toml`, the environment, the token.

The room: `keys` (the shape) · `source` (file and environment) · `words` (structural problems told)
· `checks` and `places` (what values and folders mean) · `disk` and `secret` (the looks outside)
· `load` (all of it in order). Nothing above the model is known here.
"""

from renderdrop.settings.keys import Settings, settings_schema
from renderdrop.settings.load import Loaded, find_config, load

__all__ = ["Loaded", "Settings", "find_config", "load", "settings_schema"]
