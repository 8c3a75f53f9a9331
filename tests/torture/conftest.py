"""The proofs of the three promises: a quick size in `make test`, the whole in `make torture` (RENDERDROP_TORTURE=1).

What needs a machine of its own (FUSE, strace, mounts, a turned clock) is not collected in the quick size: files
named `test_whole_*.py`. Every proof ends in a row of the table (`tally`, see `table.py`).
"""

from tests.rig.fixtures import *  # noqa: F403
from tests.torture.table import WHOLE, tally

__all__ = ["tally"]

collect_ignore_glob = [] if WHOLE else ["test_whole_*.py"]
