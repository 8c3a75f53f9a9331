"""The two processes of `run`, with which a daemon can be ended even while a share hangs: whichever of them is killed,
the other ends too, and a new daemon goes on at once. (A share that really hangs: `test_whole_hung_shares.py`.)"""

import os
import signal
from collections.abc import Callable

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share
from tests.torture.table import Tally

from renderdrop.model.lifecycle import State


@pytest.mark.parametrize("platform", [{"render_seconds": (1.0, 1.5)}], indirect=True)
def test_whichever_process_is_killed_both_end_and_the_next_daemon_goes_on_at_once(
    platform: Platform, daemon: Daemon, share: Share, tally: Callable[[str], Tally]
) -> None:
    count = tally("guardian or daemon killed")
    dropped: dict[str, bytes] = {}
    for turn in range(2):
        daemon.start()
        name = f"{turn}.png"
        dropped[name] = share.drop(name)
        daemon.wait_for(State.SUBMITTED)
        guardian, proper = daemon.family()
        if turn == 0:
            daemon.kill()
        else:
            os.kill(proper, signal.SIGKILL)
            assert daemon.ended() == -signal.SIGKILL
        assert not os.path.exists(f"/proc/{guardian}")
    daemon.start()
    daemon.wait_at_rest(done=2)
    share.check_delivered(platform, dropped)
    count.run(paid_twice=len(platform.tasks()) - 2)
    daemon.stop()
