"""A share that hangs for a minute, at its worst moments: other shares do not slow down, everything goes on by itself,
nothing is lost or run again; and the daemon ends in time even then, and may be started again at once."""

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share
from tests.rig.sick_share import SickShare
from tests.torture.table import Tally

from renderdrop.model.lifecycle import State

HUNG = 60.0
"""Seconds for which the share hangs (issue 4)."""
FRAMES = 20
BIG = 24 * 2**20


@dataclass
class House:
    """One daemon with two routes: `ill` on a share that can hang, `well` on a healthy one."""

    daemon: Daemon
    platform: Platform
    sick: SickShare
    ill: Share
    real: Share
    well: Share

    def told(self) -> bool:
        return any("does not answer" in event["reason"] for event in self.daemon.events("share_waits"))

    def feed(self, begin: str) -> tuple[dict[str, bytes], float]:
        """20 frames through the healthy route; returns them and how long they took, seconds."""
        began, before = time.monotonic(), len(self.well.files(self.well.done))
        frames = {f"{begin}-{n}.png": self.well.drop(f"{begin}-{n}.png") for n in range(FRAMES)}
        self.daemon.wait(lambda: len(self.well.files(self.well.done)) == before + FRAMES, "the healthy route is done")
        return frames, time.monotonic() - began

    def drop(self, name: str, data: bytes | None = None) -> bytes:
        return self.real.drop(name, data)

    def lost(self, dropped: dict[str, bytes]) -> int:
        """Sources whose very bytes are nowhere, or at more places than one."""
        there = [self.real.digest(p) for root in (self.real.inbox, self.real.done, self.real.failed)
                 for p in self.real.files(root).values()]  # fmt: skip
        return sum(there.count(self.real.digest(data)) != 1 for data in dropped.values())

    def run_again(self, dropped: dict[str, bytes]) -> int:
        return sum(max(0, len(self.platform.tasks(data)) - 1) for data in dropped.values())


@pytest.fixture
def house(
    tmp_path: Path, platform: Platform, daemon: Daemon, new_share: Callable[[str], Share]
) -> Iterator[House]:  # fmt: skip
    (tmp_path / "real").mkdir()
    (tmp_path / "mount").mkdir()
    well = new_share("well")
    (tmp_path / "real" / "ill").mkdir()
    table: dict[str, Any] = {
        "workflow_id": "1234", "clusters": ["GPU-4090", "GPU-A800"], "inputs": {"input_image": "image"},
        "params": {"prompt": "oil"},
    }  # fmt: skip
    with SickShare(tmp_path / "real", tmp_path / "mount") as sick:
        ill, real = Share(tmp_path / "mount" / "ill"), Share(tmp_path / "real" / "ill")
        daemon.routes(
            ill={"folder": str(ill.folder), **table}, well={"folder": str(well.folder), **table}
        )  # fmt: skip
        daemon.configure("intake", settle_network="300ms", sweep_network="1s")
        real._pictures = 1000  # no picture of one share is like one of the other's
        made = House(daemon, platform, sick, ill, real, well)
        daemon.start()
        try:
            yield made
        finally:
            sick.heal()
            daemon.put_away()


MOMENTS: Final[dict[str, dict[str, Any]]] = {
    "before the sweep": {"op": "any"},
    "in the middle of an upload": {"op": "read", "path": "*.png", "when": 8},
    "in the middle of a download": {"op": "write|fsync", "path": "*output-*"},
    "at the publishing": {"op": "rename", "path": "*.png"},
    "at the archive": {"op": "rename", "path": "*done*"},
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_share_that_hangs_for_a_minute_holds_up_no_other_and_goes_on(
    house: House, moment: str, tally: Callable[[str], Tally]
) -> None:
    count = tally("share hung for a minute")
    _, alone = house.feed("alone")
    house.sick.hang(**MOMENTS[moment])
    dropped = {"big.png": house.drop("big.png", house.real.picture() + bytes(BIG))}
    dropped |= {f"{n}.png": house.drop(f"{n}.png") for n in range(4)}
    house.daemon.wait(lambda: house.sick.hanging() > 0, "the share hangs")
    began = time.monotonic()
    # More than it can be chance: the share answers nothing any more.
    house.sick.hang()
    times = [house.feed(f"beside-{n}")[1] for n in range(3)]
    house.daemon.wait(house.told, "the share is told as hanging")
    rows = house.daemon.rows()
    assert any(row["route"] == "ill" for row in rows) or moment == "before the sweep"
    while time.monotonic() - began < HUNG:
        times.append(house.feed(f"on-{len(times)}")[1])
    house.sick.heal()
    house.daemon.wait(lambda: house.real.at_rest(done=5), "the share has gone on", 120)
    house.real.check_whole(house.platform)
    count.run(
        lost=house.lost(dropped), paid_twice=house.run_again(dropped),
        recovered=median(times) < 2.5 * alone + 2.0,
    )  # fmt: skip
    assert max(times) < 4 * alone + 6.0, (alone, times)
    house.daemon.stop()


@pytest.mark.parametrize("moment", MOMENTS)
def test_while_a_share_hangs_the_daemon_ends_in_time_and_may_start_at_once(
    house: House, moment: str, tally: Callable[[str], Tally]
) -> None:
    count = tally("stopped while a share hung")
    house.sick.hang(**MOMENTS[moment])
    dropped = {"big.png": house.drop("big.png", house.real.picture() + bytes(BIG))}
    dropped |= {f"{n}.png": house.drop(f"{n}.png") for n in range(4)}
    house.daemon.wait(lambda: house.sick.hanging() > 0, "the share hangs")
    house.sick.hang()
    began = time.monotonic()
    house.daemon.signal(signal.SIGTERM)
    code = house.daemon.ended(30.0)
    took = time.monotonic() - began
    assert (code, took < 10.0) == (0, True), (code, took)
    assert house.daemon.events("service_stopped")
    house.daemon.launch()
    frames, _ = house.feed("after")
    house.daemon.wait(house.told, "the new daemon has found that the share does not answer")
    house.sick.heal()
    house.daemon.wait(lambda: house.real.at_rest(done=5), "the share has gone on", 120)
    count.run(lost=house.lost(dropped), paid_twice=house.run_again(dropped) + house.run_again(frames))
    assert not house.daemon.jobs(State.HELD)
    house.daemon.stop()
