"""Shares and disks in trouble, for real: mounts that vanish, disks that are full, errors of every kind.

Always the same: a daemon with jobs under way on the share that falls ill, a second route on a healthy one; the fault;
the healthy route goes on; the fault ends, and everything comes to its end by itself, each source rendered once.
"""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.rig.daemon import Daemon
from tests.rig.mounts import Ballast, Mounts
from tests.rig.platform import Platform
from tests.rig.share import Share
from tests.rig.sick_share import SickShare
from tests.torture.table import Tally
from tests.torture.trouble_on_shares import Ward, under_way

from renderdrop.model.job import Job, Outcome
from renderdrop.model.lifecycle import State

NewShare = Callable[[str], Share]
MakeTally = Callable[[str], Tally]
PLACES: Final = ("inbox", "outbox", "done", "failed")

MOMENTS: Final[tuple[tuple[State, ...], ...]] = (
    (State.QUEUED, State.SUBMITTING, State.SUBMITTED, State.RENDERED, State.DELIVERED),
    (State.SUBMITTED, State.RENDERED, State.DELIVERED),
    (State.RENDERED, State.DELIVERED),
    (State.DELIVERED,),
)
"""How far the first of the dropped files is when the fault begins; the others are somewhere behind it."""


def at_moment(number: int) -> Callable[[Job], bool]:
    """Whether a job is as far as the fault of this number wants it."""
    return lambda job: job.state in MOMENTS[number % len(MOMENTS)]


@pytest.fixture
def mounts() -> Iterator[Mounts]:
    with Mounts() as made:
        yield made


@pytest.fixture
def sick(tmp_path: Path) -> Iterator[SickShare]:
    for name in ("real", "mount"):
        (tmp_path / name).mkdir()
    (tmp_path / "real" / "portrait").mkdir()
    with SickShare(tmp_path / "real", tmp_path / "mount") as made:
        yield made


@pytest.fixture
def ward(daemon: Daemon, platform: Platform, sick: SickShare, new_share: NewShare) -> Iterator[Ward]:
    """The share with faults, and the daemon running."""
    made = Ward(daemon, platform, Share(sick.real / "portrait"), new_share("well"), folder=sick.mount / "portrait")
    daemon.start()
    yield made
    # A test that failed in the middle of a hang must not leave the daemon in the kernel.
    sick.heal()


def fall_ill(
    ward: Ward, sick: SickShare, count: Tally, number: int, *rules: tuple[str, str, dict[str, object]]
) -> None:
    """One run: these faults, as (operations, error, more), while jobs are under way."""
    under_way(ward, 3, at_moment(number))
    for op, error, more in rules:
        sick.fault(op, error, **more)  # type: ignore[arg-type]
    ward.drop(1)
    ward.daemon.wait(lambda: sick.struck() and ward.told(), "the fault is met and told", within=90)
    ward.others_go_on(1)
    ward.delivered_is_there()
    assert not [job for job in ward.jobs if job.state in (State.FAILED, State.HELD, State.CANCELLED)]
    sick.heal()
    ward.recovered()
    ward.delivered_is_there()
    ward.count(count)


@pytest.mark.parametrize("error", ["EIO", "ESTALE", "ENOTCONN"])
def test_errors_on_everything_and_on_single_calls(ward: Ward, sick: SickShare, tally: MakeTally, error: str) -> None:
    count = tally("shares: EIO, ESTALE, ENOTCONN")
    calls = (
        "any", "opendir|readdir", "getattr", "open", "read", "open_write|create", "write", "fsync|fsyncdir",
        "rename|link", "mkdir", "change",
    )  # fmt: skip
    for number, op in enumerate(calls):
        fall_ill(ward, sick, count, number, (op, error, {}))
    ward.check()
    ward.daemon.stop()


def test_a_share_whose_server_is_gone(ward: Ward, sick: SickShare, tally: MakeTally) -> None:
    count = tally("shares: the server is gone")
    for number in range(8):
        under_way(ward, 3, at_moment(number))
        sick.cut_off() if number % 2 else sick.die()
        ward.daemon.wait(ward.told, "the fault is told", within=90)
        ward.others_go_on(1)
        leaked = 0 if number % 2 else len(list(sick.mount.rglob("*")))
        sick.revive()
        ward.recovered()
        ward.count(count, leaked=leaked)
    ward.check()
    ward.daemon.stop()


def test_answers_that_are_errors_although_the_work_was_done(ward: Ward, sick: SickShare, tally: MakeTally) -> None:
    count = tally("shares: done, and told as an error")
    for number, op in enumerate(("rename|link", "fsync|fsyncdir", "mkdir", "create", "unlink", "write") * 2):
        under_way(ward, 3, at_moment(number))
        sick.fault(op, "EIO", after=True, count=3)
        ward.drop(1)
        ward.recovered()
        sick.heal()
        ward.count(count)
    ward.check()
    ward.daemon.stop()


def test_no_space_at_20_moments(ward: Ward, sick: SickShare, tally: MakeTally) -> None:
    count = tally("shares: no space, at the n-th call")
    for number in range(20):
        op = ("write", "create", "mkdir", "rename", "space")[number % 5]
        ward.drop(3, 1)
        # It lasts until it is healed, as a full disk does.
        sick.fault(op, "ENOSPC", when=1 + number // 5 * 2)

        def met() -> bool:
            if not sick.struck():
                ward.drop(1)
                return False
            return ward.told()

        ward.daemon.wait(met, "the fault is met and told", within=90)
        ward.others_go_on(1)
        ward.delivered_is_there()
        sick.heal()
        ward.recovered()
        ward.count(count)
    ward.check()
    ward.daemon.stop()


def test_a_read_only_share_is_waited_for_and_nothing_is_submitted_for_it(
    ward: Ward, sick: SickShare, tally: MakeTally, platform: Platform
) -> None:
    count = tally("shares: read-only")
    for number in range(8):
        fall_ill(ward, sick, count, number, ("change", "EROFS", {}))
    # The trouble does not come and go with every probe: what is dropped now is not paid for.
    sick.fault("change", "EROFS")
    ward.drop(2)
    ward.daemon.wait(ward.told, "the fault is told")
    before = len(platform.tasks())
    ward.drop(2)
    told = len(ward.daemon.events("share_goes_on"))
    ward.others_go_on(3)
    assert len(platform.tasks()) - len(ward.others) <= before - len(ward.others) + 3
    assert len(ward.daemon.events("share_goes_on")) == told
    sick.heal()
    ward.recovered()
    ward.count(count)
    ward.check()
    ward.daemon.stop()


@pytest.mark.parametrize("error", ["EACCES", "EPERM"])
@pytest.mark.parametrize("after", ["move", "delete"])
def test_without_leave_to_delete_a_job_is_delivered_and_never_run_again(
    ward: Ward, sick: SickShare, tally: MakeTally, platform: Platform, error: str, after: str
) -> None:
    count = tally("shares: no permission to delete")
    ward.configure(folder=str(sick.mount / "portrait"), after=after)
    ward.daemon.reload()
    sick.fault("rename|unlink|link", error, path="portrait/inbox/*")
    ward.drop(5)
    ward.daemon.wait(lambda: len([j for j in ward.jobs if j.state is State.DELIVERED]) == 5, "all are delivered", 90)
    ward.daemon.wait(lambda: len(ward.daemon.events("archive_waits")) >= 5, "the operator is told")
    ward.daemon.wait(
        lambda: all("stays in the inbox" in str(row["error"]) for row in ward.daemon.rows()), "rows tell it"
    )
    ward.delivered_is_there()
    for life in (2, 3):
        ward.daemon.stop()
        ward.daemon.start()
        told = 5 * life
        ward.daemon.wait(lambda told=told: len(ward.daemon.events("archive_waits")) >= told, "it is tried again")  # type: ignore[misc]
    assert len(ward.sick.files(ward.sick.inbox)) == 5
    assert len(platform.tasks()) == 5
    sick.heal()
    ward.daemon.reload()  # else the next try is made within five minutes
    ward.daemon.wait(lambda: not ward.sick.files(ward.sick.inbox), "all are taken away", 90)
    ward.daemon.wait(lambda: all(row["error"] is None for row in ward.daemon.rows()), "nothing is left to tell")
    kept = len(ward.sick.files(ward.sick.done))
    assert kept == (5 if after == "move" else 0)
    for _ in range(5):
        count.run(paid_twice=ward.paid_twice(), lost=5 - kept if after == "move" else 0)
    ward.daemon.stop()


class Vault(Share):
    """A share whose inbox is a disk of its own."""

    def drop(self, path: str, data: bytes | None = None) -> bytes:
        """As a careful program does, by a rename on that disk."""
        data = self.picture() if data is None else data
        hidden = self.inbox / ".dropping"
        hidden.write_bytes(data)
        hidden.rename(self.inbox / path)
        return data


def bound(tmp_path: Path, mounts: Mounts, *, disks: bool, size: int = 2**26) -> tuple[Share, Share]:
    """A share of four mounts, each on a disk of its own or all on one; and how it looks to people elsewhere."""
    vault = Vault(tmp_path / "vault")
    share = Share(tmp_path / "share" / "portrait")
    if not disks:
        mounts.disk(vault.folder, size)
    for name in PLACES:
        place = vault.folder / name
        if disks:
            mounts.disk(place, size)
        place.mkdir(exist_ok=True)
        mounts.bind(place, share.folder / name)
    return share, vault


def beneath(tmp_path: Path, mounts: Mounts, share: Share) -> list[Path]:
    """What lies in the folders that the mounts of the share cover."""
    peek = mounts.bind(share.folder, tmp_path / "peek")
    found = [path for path in peek.rglob("*") if path.name not in PLACES]
    mounts.vanish(peek)
    return found


@pytest.mark.parametrize("disks", [True, False], ids=["a disk each", "one disk"])
def test_mounts_that_vanish_and_come_back(
    tmp_path: Path,
    daemon: Daemon,
    platform: Platform,
    new_share: NewShare,
    mounts: Mounts,
    tally: MakeTally,
    disks: bool,
) -> None:
    count = tally("shares: umount -l of inbox, outbox, done, failed, all")
    share, vault = bound(tmp_path, mounts, disks=disks)
    # Dropped from beside, through the disk itself: renamed on one file system.
    ward = Ward(daemon, platform, vault, new_share("well"), folder=share.folder)
    daemon.start()
    for number in range(20):
        gone = PLACES if number % 5 == 4 else (PLACES[number % 5],)
        under_way(ward, 3, at_moment(number // 5))
        for name in gone:
            mounts.vanish(share.folder / name)
        daemon.wait(ward.told, "the trouble is told", 90)
        ward.others_go_on(1)
        ward.delivered_is_there()
        leaked = beneath(tmp_path, mounts, share)
        for name in gone:
            mounts.bind(vault.folder / name, share.folder / name)
        ward.recovered()
        ward.count(count, leaked=len(leaked))
    assert beneath(tmp_path, mounts, share) == []
    ward.check()
    daemon.stop()


def test_places_that_are_remounted_read_only(
    tmp_path: Path, daemon: Daemon, platform: Platform, new_share: NewShare, mounts: Mounts, tally: MakeTally
) -> None:
    count = tally("shares: remount ro of inbox, outbox, done")
    share, vault = bound(tmp_path, mounts, disks=False)
    ward = Ward(daemon, platform, vault, new_share("well"), folder=share.folder)
    daemon.start()
    for number in range(9):
        place = share.folder / PLACES[number % 3]
        under_way(ward, 3, at_moment(number // 3))
        mounts.remount(place, read_only=True)
        ward.drop(1)
        daemon.wait(ward.told, "the trouble is told", 90)
        ward.others_go_on(1)
        ward.delivered_is_there()
        mounts.remount(place, read_only=False)
        ward.recovered()
        ward.count(count)
    ward.check()
    daemon.stop()


def test_disks_that_are_really_full(
    tmp_path: Path, daemon: Daemon, platform: Platform, new_share: NewShare, mounts: Mounts, tally: MakeTally
) -> None:
    count = tally("shares: outbox or done really full")
    share, vault = bound(tmp_path, mounts, disks=True, size=2**21)
    ward = Ward(daemon, platform, vault, new_share("well"), folder=share.folder)
    daemon.start()
    for number in range(8):
        ballast = Ballast(vault.folder / ("outbox", "done")[number % 2] / ".ballast")
        under_way(ward, 3, at_moment(number // 2))
        ballast.fill()
        ward.drop(1)
        daemon.wait(ward.told, "the trouble is told", 90)
        ward.others_go_on(1)
        ward.delivered_is_there()
        ballast.shed()
        ward.recovered()
        ward.count(count)
    ward.check()
    daemon.stop()


def run_out(ward: Ward, ballast: Ballast, *, greedy: bool) -> None:
    """Fill the state folder, and drop files until the ledger has met it. `greedy`: somebody else takes every block that
    comes free, the ledger's reserve too."""
    before = len(ward.daemon.events("daemon_waits"))
    ballast.fill()

    def met() -> bool:
        if greedy:
            ballast.fill()
        ward.drop(1)
        return len(ward.daemon.events("daemon_waits")) > before

    ward.daemon.wait(met, "the full disk is told", 90)
    if greedy:
        ballast.fill()


def all_end(ward: Ward) -> None:
    """Both shares come to rest."""
    ward.daemon.wait(lambda: ward.well.at_rest(len(ward.others)), "the healthy share has caught up", 120)
    ward.recovered()


def test_the_state_directory_is_full(
    daemon: Daemon, platform: Platform, share: Share, new_share: NewShare, mounts: Mounts, tally: MakeTally
) -> None:
    count = tally("state directory full")
    mounts.disk(daemon.state_dir, 2**23)
    ballast = Ballast(daemon.state_dir / "ballast")
    ward = Ward(daemon, platform, share, new_share("well"), folder=share.folder)
    daemon.start()
    for number in range(12):
        greedy = number % 3 == 1
        under_way(ward, 3, at_moment(number))
        run_out(ward, ballast, greedy=greedy)
        if not greedy:
            # What runs is kept: every task comes to its end; nothing new is begun. What was on the wire by then counts.
            daemon.wait(
                lambda: not any(_on_the_wire(job) for job in daemon.jobs(State.SUBMITTING)), "it is answered", 90
            )
            tasks = len(platform.tasks())
            ward.drop(2, 1)
            daemon.wait(lambda: done(ward) == len(platform.tasks()), "what runs is delivered", 90)
            assert len(platform.tasks()) == tasks
            assert "The daemon waits" in daemon.run("jobs").stderr
        ward.delivered_is_there()
        ballast.shed()
        all_end(ward)
        ward.count(count)
    ward.check()
    daemon.stop()


def _on_the_wire(job: Job) -> bool:
    return bool(job.submissions) and job.submissions[-1].complete


def done(ward: Ward) -> int:
    """How many sources lie in done/, on both shares."""
    return sum(len(share.files(share.done)) for share in (ward.sick, ward.well))


def test_the_daemon_ends_on_a_full_state_directory(
    daemon: Daemon, platform: Platform, share: Share, new_share: NewShare, mounts: Mounts, tally: MakeTally
) -> None:
    count = tally("state directory full, and the daemon ends")
    mounts.disk(daemon.state_dir, 2**23)
    ballast = Ballast(daemon.state_dir / "ballast")
    ward = Ward(daemon, platform, share, new_share("well"), folder=share.folder)
    for number in range(12):
        daemon.start()
        under_way(ward, 3, at_moment(number // 3))
        twice = ward.paid_twice()
        run_out(ward, ballast, greedy=number % 3 > 0)
        if number % 3 < 2:
            failures = len(daemon.events("service_failed"))
            daemon.signal(signal.SIGTERM)
            assert daemon.ended(20) == (1 if len(daemon.events("service_failed")) > failures else 0)
        else:
            daemon.kill()
        ballast.shed()
        daemon.start()
        all_end(ward)
        # A task whose id could not be written down before the end was one without an answer.
        unknown = sum(s.outcome is Outcome.UNKNOWN for job in daemon.jobs() for s in job.submissions)
        more = ward.paid_twice() - twice
        assert ward.paid_twice() <= unknown
        count.open_window += more
        count.run(lost=ward.lost(), paid_twice=more)
        daemon.stop()


@pytest.mark.parametrize("reserve", [True, False], ids=["with its reserve", "without"])
def test_a_start_on_a_full_state_directory_waits_says_so_and_can_be_stopped(
    reserve: bool, daemon: Daemon, platform: Platform, share: Share, new_share: NewShare, mounts: Mounts,
    tally: MakeTally,
) -> None:  # fmt: skip
    count = tally("state directory full, and the daemon starts")
    mounts.disk(daemon.state_dir, 2**23)
    ballast = Ballast(daemon.state_dir / "ballast")
    ward = Ward(daemon, platform, share, new_share("well"), folder=share.folder)
    daemon.start()
    ward.drop(2, 2)
    all_end(ward)
    daemon.stop()
    if not reserve:
        (daemon.state_dir / "ledger.reserve").unlink()
    ballast.fill()
    ward.drop(2, 2)
    tasks = len(platform.tasks())
    daemon.launch()
    if reserve:
        # What was kept back is enough to begin on; what is dropped waits for room.
        ready = len(daemon.events("service_ready"))
        daemon.wait(
            lambda: daemon.events("daemon_waits") or len(daemon.events("service_ready")) > ready,
            "it begins, or says why",
        )
        ballast.fill()
        daemon.signal(signal.SIGTERM)
        assert daemon.ended(15) == 0
    else:
        assert daemon.ended(15) == 1
        assert "is full" in daemon.tail()
    count.run(lost=ward.lost(), paid_twice=ward.paid_twice())
    assert len(platform.tasks()) <= tasks + 4
    ballast.shed()
    daemon.start()
    all_end(ward)
    ward.count(count)
    ward.check()
    daemon.stop()
