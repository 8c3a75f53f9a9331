"""One daemon a state directory; the kernel lets go of the lock when the process dies, however it dies."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from renderdrop.model.errors import LedgerBroken
from renderdrop.runtime.alone import hold_alone

HOLD = """
import sys
from pathlib import Path
from renderdrop.runtime.alone import hold_alone
hold_alone(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_holder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    fd = hold_alone(tmp_path)
    with pytest.raises(LedgerBroken, match=f"process {os.getpid()}\\)"):
        hold_alone(tmp_path)
    os.close(fd)
    os.close(hold_alone(tmp_path))


def test_another_directory_is_another_daemons(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    held = [hold_alone(tmp_path), hold_alone(tmp_path / "b")]
    for fd in held:
        os.close(fd)


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdin is not None
    with child.stdout, child.stdin:
        assert child.stdout.readline() == "held\n"
        with pytest.raises(LedgerBroken, match=f"process {child.pid}\\)"):
            hold_alone(tmp_path)
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    os.close(hold_alone(tmp_path))


def test_the_lock_is_not_inherited_by_what_the_daemon_starts(tmp_path: Path) -> None:
    fd = hold_alone(tmp_path)
    assert not os.get_inheritable(fd)
    os.close(fd)
