"""renderdrop: drop a file into a shared folder, get the render back in another.

This module owns the version and nothing else: importing the package must stay
cheap, because every `renderdrop --help` pays for it.
"""

__version__ = "0.4.0"
