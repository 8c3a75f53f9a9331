"""A file that is still being written is not taken, however it is written."""

import os
import time

from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share

PIECES = 40
PAUSE = 0.12


def pieces(data: bytes) -> list[bytes]:
    step = len(data) // PIECES + 1
    return [data[at : at + step] for at in range(0, len(data), step)]


def test_a_file_that_is_appended_to_by_many_short_writes_is_not_taken_early(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    # Nobody has it open between two writes, so only the settle time protects it: generous against a slow machine.
    daemon.configure("intake", settle="2s")
    daemon.start()
    data = share.picture(size=(600, 400))
    for piece in pieces(data):
        with (share.inbox / "appended.png").open("ab") as file:
            file.write(piece)
        time.sleep(PAUSE)
    daemon.wait_at_rest(done=1)
    share.check_delivered(platform, {"appended.png": data})
    assert len(platform.tasks()) == 1


def test_a_file_of_full_size_from_the_beginning_is_not_taken_before_it_is_filled(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.start()
    data = share.picture(size=(600, 400))
    with (share.inbox / "filled.png").open("wb", buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, len(data))
        for piece in pieces(data):
            file.write(piece)
            time.sleep(PAUSE)
    daemon.wait_at_rest(done=1)
    share.check_delivered(platform, {"filled.png": data})
    assert len(platform.tasks()) == 1


def test_a_file_that_stands_still_for_long_while_its_writer_has_it_open_is_not_taken(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    daemon.start()
    data = share.picture()
    with (share.inbox / "paused.png").open("wb", buffering=0) as file:
        file.write(data[:50])
        daemon.wait(lambda: daemon.events("file_still_written"), "the open writer is noticed")
        file.write(data[50:])
    daemon.wait_at_rest(done=1)
    share.check_delivered(platform, {"paused.png": data})
    assert len(platform.tasks()) == 1


def test_a_file_that_changes_while_it_is_uploaded_is_abandoned_and_taken_anew(
    platform: Platform, daemon: Daemon, share: Share
) -> None:
    platform.faults({"call": "run", "do": "slow", "seconds": 3.0, "count": 1})
    daemon.start()
    # More than the sockets' buffers hold, so that the upload has to wait for the platform in its middle.
    first = share.drop("a.png", share.picture() + bytes(16 * 2**20))
    daemon.wait(lambda: daemon.events("job_submitting"), "the upload has begun")
    with (share.inbox / "a.png").open("ab") as file:
        file.write(b"more")
    daemon.wait_at_rest(done=1)
    share.check_delivered(platform, {"a.png": first + b"more"})
    assert len(platform.tasks()) == 1


def test_an_empty_file_waits_for_its_bytes(platform: Platform, daemon: Daemon, share: Share) -> None:
    daemon.start()
    (share.inbox / "empty.png").touch()
    daemon.wait(lambda: daemon.events("file_empty"), "the empty file is noticed")
    data = share.picture()
    (share.inbox / "empty.png").write_bytes(data)
    daemon.wait_at_rest(done=1)
    share.check_delivered(platform, {"empty.png": data})
