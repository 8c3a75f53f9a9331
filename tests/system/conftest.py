"""The real program as a subprocess against the sandbox; what the tests stand on is `tests/rig`."""

from tests.rig.fixtures import *  # noqa: F403
