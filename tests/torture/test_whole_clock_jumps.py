"""The wall clock is set while jobs are under way, by hours and by days: nothing ends early, comes twice or is stuck.

Each jump is made while several jobs stand at stages of their own; what came of each is one run. The monotonic clock is
left alone, as the kernel leaves it when somebody sets the time.
"""

import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share
from tests.rig.turned_clock import TurnedClock
from tests.torture.table import Tally

from renderdrop.model.job import Job
from renderdrop.model.lifecycle import State

T = TypeVar("T")
Count = Callable[[str], Tally]

JUMPS: Final = pytest.mark.parametrize("jump", [7200, -7200, -3 * 86400], ids=["2h", "-2h", "-3d"])
SLOW: Final = pytest.mark.parametrize("platform", [{"render_seconds": (4.0, 4.0)}], indirect=True)
BOTH: Final = {"input_image": "image", "input_video": "video"}
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def clock(daemon: Daemon) -> TurnedClock:
    """The daemon's wall clock."""
    return TurnedClock(daemon)


class Life:
    """A daemon with four routes, the shares below them, and what was dropped where."""

    def __init__(self, daemon: Daemon, platform: Platform, share: Share, new_share: Callable[[str], Share]) -> None:
        self.daemon, self.platform = daemon, platform
        self.portrait = share
        self.dance, self.brief, self.quiet = (new_share(name) for name in ("dance", "brief", "quiet"))
        self.dropped: dict[tuple[Share, str], bytes] = {}
        self.configure(brief="9s", quiet="20s")

    def configure(self, *, brief: str, quiet: str) -> None:
        """How long the one route waits for partners, and the other for news of a task."""
        common = {"clusters": ["GPU-4090"], "silence": "1h"}
        pair = {**common, "workflow_id": "88", "inputs": BOTH, "bundle": "stem"}
        one = {**common, "workflow_id": "1234", "inputs": {"input_image": "image"}, "params": {"prompt": "oil"}}
        self.daemon.routes(
            portrait={**one, "folder": str(self.portrait.folder)},
            dance={**pair, "folder": str(self.dance.folder), "bundle_timeout": "3h"},
            brief={**pair, "folder": str(self.brief.folder), "bundle_timeout": brief},
            quiet={**one, "folder": str(self.quiet.folder), "silence": quiet},
        )

    def drop(self, share: Share, path: str) -> bytes:
        """Put a picture there that is like no other of any share."""
        data = self.portrait.picture("JPEG" if path.endswith(".jpg") else "PNG")
        self.dropped[share, path] = share.drop(path, data)
        return data

    def job(self, path: str) -> Job | None:
        return next((job for job in self.daemon.jobs() if any(s.path == path for s in job.sources)), None)

    def reach(self, path: str, *states: State) -> Job:
        """Wait until the file's job is in one of these states."""

        def there() -> list[Job]:
            return [job for job in self.daemon.jobs(*states) if any(s.path == path for s in job.sources)]

        return self.wait(there, f"{path} is {' or '.join(states)}")[0]

    def wait(self, holds: Callable[[], T], what: str) -> T:
        """Wait until something holds: long, but not for as long as a clock that was set back would take."""
        return self.daemon.wait(holds, what, within=300)

    def account(self, count: Tally, share: Share, path: str, *, at: Path, tasks: int = 1) -> None:
        """One run, what became of one file: `lost` where it does not lie there with its very bytes, or no sidecar tells
        of what was rendered of it; `paid_twice`: tasks beyond those that it needs."""
        data = self.dropped[share, path]
        there = at / path
        lost = int(not there.is_file() or there.read_bytes() != data)
        made = len(self.platform.tasks(data))
        if at == share.done and tasks:
            told = [s for s in share.sidecars() if any(source["path"] == path for source in s["sources"])]
            lost += int(
                len(told) != 1 or not all((told[0]["at"] / out["file"]).is_file() for out in told[0]["outputs"])
            )
        count.run(lost=lost, paid_twice=max(0, made - tasks), recovered=not lost)

    def check(self) -> None:
        """Nothing partial, ids that are alike to none, times that are times."""
        for share in (self.portrait, self.dance, self.brief, self.quiet):
            share.check_whole(self.platform)
            assert not share.staging()
            for sidecar in share.sidecars():
                check_times(sidecar["times"])
        jobs = self.daemon.jobs()
        assert len({job.id for job in jobs}) == len(jobs)
        assert not self.daemon.events("unforeseen_error")


def check_times(times: Mapping[str, str | None]) -> None:
    for name, at in times.items():
        assert at is not None or name == "started"
        if at is not None:
            assert _TIME.fullmatch(at)
            assert datetime.fromisoformat(at)


@pytest.fixture
def life(daemon: Daemon, platform: Platform, share: Share, new_share: Callable[[str], Share]) -> Life:
    return Life(daemon, platform, share, new_share)


@JUMPS
@SLOW
def test_while_files_settle_and_wait_for_tickets_and_partners(
    jump: int, clock: TurnedClock, life: Life, daemon: Daemon, platform: Platform, tally: Count
) -> None:
    count = tally("clock turned while files settle or wait for others")
    daemon.configure("intake", settle="2s", sweep="1s", ticket_wait="12s")
    daemon.start()
    portrait, dance, brief = life.portrait, life.dance, life.brief
    life.drop(dance, "clip.jpg")
    life.reach("clip.jpg", State.QUEUED)
    waits_since = time.monotonic()
    life.drop(brief, "alone.jpg")
    life.reach("alone.jpg", State.QUEUED)
    life.drop(portrait, "ticketed.png")
    whole = portrait.picture(size=(200, 100))
    growing = portrait.inbox / "growing.png"
    growing.write_bytes(whole[:100])
    time.sleep(1.0)  # the beginning of a copy: seen once or twice, and far from settled
    clock.turn(jump)
    time.sleep(1.5)  # more would be enough to settle by a clock that was set forward
    with growing.open("ab") as file:
        file.write(whole[100:])
    life.dropped[portrait, "growing.png"] = whole
    life.drop(dance, "clip.jpg")  # dropped anew: whoever waits is looked at again
    portrait.drop("ticketed.png.job.toml", b'[params]\nprompt = "ink"\n')
    failed = life.reach("alone.jpg", State.FAILED)
    waited = time.monotonic() - waits_since
    assert failed.error is not None
    assert 9.0 <= waited <= 120.0, waited
    life.wait(
        lambda: (job := life.job("clip.jpg")) and job.source.size == len(life.dropped[dance, "clip.jpg"]), "it is met"
    )
    clock.turn(-jump)
    daemon.reload()  # the settings are read again: whoever waits, waits on
    again = life.job("clip.jpg")
    assert again is not None
    assert again.state is State.QUEUED, again.error
    life.drop(dance, "clip.mp4")
    life.wait(lambda: portrait.at_rest(3), "what was dropped alone is done")
    life.wait(lambda: dance.at_rest(2), "what waited is done")
    life.wait(lambda: brief.at_rest(0, 1), "what lacked a partner is told")
    life.check()
    assert platform.task(life.dropped[portrait, "ticketed.png"])["fields"]["prompt"] == "ink"
    for share, path, at, tasks in (
        (portrait, "growing.png", portrait.done, 1), (portrait, "ticketed.png", portrait.done, 1),
        (dance, "clip.jpg", dance.done, 1), (brief, "alone.jpg", brief.failed, 0),
    ):  # fmt: skip
        life.account(count, share, path, at=at, tasks=tasks)


@JUMPS
@SLOW
def test_while_jobs_upload_render_say_nothing_back_off_and_are_downloaded(
    jump: int, clock: TurnedClock, life: Life, daemon: Daemon, platform: Platform, tally: Count
) -> None:
    count = tally("clock turned while jobs are with the platform")
    life.configure(brief="9s", quiet="40s")
    daemon.start()
    portrait, quiet = life.portrait, life.quiet
    view = {"call": "view", "do": "slow", "seconds": 20, "count": 1}
    platform.faults({"call": "run", "do": "stuck", "count": 1})
    silent_since = time.monotonic()
    life.drop(quiet, "silent.png")
    life.reach("silent.png", State.SUBMITTED)
    platform.faults(view)
    life.drop(portrait, "downloaded.png")
    life.reach("downloaded.png", State.RENDERED)
    platform.faults(view, {"call": "run", "do": "slow", "seconds": 10, "count": 1})
    life.drop(portrait, "uploaded.png")
    life.reach("uploaded.png", State.SUBMITTING)
    platform.faults(view)
    life.drop(portrait, "rendering.png")
    life.reach("rendering.png", State.SUBMITTED)
    platform.faults(view, {"call": "run", "do": "status", "status": 503, "retry_after": 12, "count": 1})
    life.drop(portrait, "backoff.png")
    life.wait(
        lambda: (job := life.job("backoff.png")) and job.submissions and job.submissions[-1].outcome, "it is refused"
    )
    clock.turn(jump)
    platform.faults()
    held = life.reach("silent.png", State.HELD)
    assert 40.0 <= time.monotonic() - silent_since <= 220.0
    life.wait(lambda: portrait.at_rest(4), "all but the silent one is done")
    assert not [job for job in daemon.jobs(State.HELD, State.FAILED) if job.id != held.id]
    assert daemon.run("cancel", held.id).returncode == 0
    life.wait(lambda: quiet.at_rest(0, 1), "the silent one is put away")
    life.check()
    for path in ("downloaded.png", "backoff.png", "uploaded.png", "rendering.png"):
        life.account(count, portrait, path, at=portrait.done)
    life.account(count, quiet, "silent.png", at=quiet.failed)
    assert daemon.events("clock_jumped")


@JUMPS
def test_while_the_share_or_the_platform_is_away(
    jump: int, clock: TurnedClock, life: Life, daemon: Daemon, platform: Platform, tally: Count
) -> None:
    count = tally("clock turned while the share or the platform is away")
    daemon.start()
    portrait, quiet = life.portrait, life.quiet
    platform.faults({"call": "any", "do": "unauthorized"})
    life.drop(portrait, "platform.png")
    life.wait(lambda: daemon.events("platform_waits"), "the platform is told to be away")
    life.drop(quiet, "share.png")
    life.reach("share.png", State.QUEUED)
    marker = quiet.inbox / ".renderdrop"
    marker.rename(quiet.folder / "marker")
    life.wait(lambda: daemon.events("share_waits"), "the share is told to be away")
    clock.turn(jump)
    life.wait(lambda: daemon.events("clock_jumped"), "the jump is seen")
    (quiet.folder / "marker").rename(marker)
    platform.faults()
    life.wait(lambda: portrait.at_rest(1), "the platform's is done")
    life.wait(lambda: quiet.at_rest(1), "the share's is done")
    life.check()
    life.account(count, portrait, "platform.png", at=portrait.done)
    life.account(count, quiet, "share.png", at=quiet.done)


@JUMPS
@SLOW
def test_between_a_stop_and_a_start(
    jump: int, clock: TurnedClock, life: Life, daemon: Daemon, platform: Platform, tally: Count
) -> None:
    count = tally("clock turned between a stop and a start")
    life.configure(brief="3h", quiet="1h")
    daemon.start()
    portrait, dance, brief, quiet = life.portrait, life.dance, life.brief, life.quiet
    platform.faults({"call": "view", "do": "slow", "seconds": 60, "count": 1})
    life.drop(portrait, "downloaded.png")
    life.reach("downloaded.png", State.RENDERED)
    platform.faults({"call": "run", "do": "stuck", "count": 1})
    life.drop(quiet, "silent.png")
    life.reach("silent.png", State.SUBMITTED)
    platform.faults()
    for share, path in ((dance, "clip.jpg"), (brief, "late.jpg"), (brief, "alone.jpg")):
        life.drop(share, path)
        life.reach(path, State.QUEUED)
    life.drop(portrait, "rendering.png")
    life.reach("rendering.png", State.SUBMITTED)
    daemon.stop()
    clock.turn(jump)
    # A partner that came while the daemon was away is in time, whatever the clock says.
    life.drop(brief, "late.mp4")
    life.configure(brief="9s", quiet="20s")
    silent_since = time.monotonic()
    daemon.start()
    held = life.reach("silent.png", State.HELD)
    assert 20.0 <= time.monotonic() - silent_since <= 200.0
    life.reach("alone.jpg", State.FAILED)
    life.drop(dance, "clip.mp4")
    life.wait(lambda: portrait.at_rest(2), "what was with the platform is done")
    life.wait(lambda: dance.at_rest(2), "what waited is done")
    life.wait(lambda: brief.at_rest(2, 1), "what came late is done, and what did not come is told")
    assert daemon.run("cancel", held.id).returncode == 0
    life.wait(lambda: quiet.at_rest(0, 1), "the silent one is put away")
    life.check()
    for share, path, at, tasks in (
        (portrait, "downloaded.png", portrait.done, 1), (portrait, "rendering.png", portrait.done, 1),
        (dance, "clip.jpg", dance.done, 1), (brief, "late.jpg", brief.done, 1), (brief, "alone.jpg", brief.failed, 0),
        (quiet, "silent.png", quiet.failed, 1),
    ):  # fmt: skip
        life.account(count, share, path, at=at, tasks=tasks)


@JUMPS
@pytest.mark.parametrize("platform", [{"render_seconds": (2.5, 2.5)}], indirect=True)
def test_while_everything_is_dealt_with_once(
    jump: int, clock: TurnedClock, daemon: Daemon, platform: Platform, share: Share, tally: Count
) -> None:
    count = tally("clock turned during `run --once`")
    for fails, summary in ((False, "1 delivered, 0 failed"), (True, "0 delivered, 1 failed")):
        name = f"fails-{fails}.png"
        if fails:
            platform.faults({"call": "run", "do": "fail_task", "msg": "no", "count": 1})
        data = share.drop(name)
        daemon.launch("--once")
        daemon.wait(lambda: len(daemon.jobs(State.SUBMITTED)) == 1, "it is with the platform", within=300)
        clock.turn(jump * (2 if fails else 1))
        code = daemon.ended(within=300)
        assert code == (3 if fails else 0), code
        assert summary in daemon.log_file.read_text()
        at: dict[str, Any] = share.files(share.failed if fails else share.done)
        count.run(lost=int(at[name].read_bytes() != data), paid_twice=len(platform.tasks(data)) - 1)
    share.check_whole(platform)
