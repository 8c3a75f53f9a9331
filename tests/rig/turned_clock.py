"""The wall clock of the real program, turned while it runs (libfaketime); its monotonic clock goes on as it is."""

import os
from pathlib import Path
from typing import Final

from tests.rig.daemon import Daemon

_WHERE: Final = ("lib/*/faketime", "lib/faketime", "lib64/faketime")
_SLEEP: Final = """
import threading, time

def sleep(seconds):
    # libfaketime refuses clock_nanosleep with an absolute time, which is how Python sleeps.
    threading.Event().wait(seconds)

time.sleep = sleep
"""


class TurnedClock:
    """The clock of every process that `daemon` starts from now on; it can be turned while they run."""

    def __init__(self, daemon: Daemon) -> None:
        found = [lib for where in _WHERE for lib in Path("/usr").glob(f"{where}/libfaketimeMT.so.1")]
        assert found, "this proof needs libfaketime (Debian's package faketime)"
        self._file = daemon.home / "clock"
        self.turn(0)
        around = daemon.home / "around"
        around.mkdir()
        (around / "sitecustomize.py").write_text(_SLEEP)
        daemon.environ |= {
            "LD_PRELOAD": str(found[0]), "FAKETIME_TIMESTAMP_FILE": str(self._file), "PYTHONPATH": str(around),
            # Read at each look at the clock, so that it is turned at once; nothing but that clock is touched.
            "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
        }  # fmt: skip

    def turn(self, seconds: int) -> None:
        """From now on its clock is so far ahead of ours (behind: negative)."""
        beside = self._file.with_name("clock.new")
        beside.write_text(f"{seconds:+d}\n")
        os.replace(beside, self._file)
