"""The same at its whole size: files swapped as fast as the kernel can, rewritten under the reader, devices, trees
without end, folders and inboxes of many thousands."""

import ctypes
import os
import random
import shutil
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform, digest
from tests.rig.share import Share
from tests.rig.tap import Tap
from tests.torture.table import Tally

from renderdrop.model.job import Place
from renderdrop.model.lifecycle import ENDS, State

Tallies = Callable[[str], Tally]

CANARY: Final = b"CANARY-7d41f0c2-not-yours"
SECRET: Final = (CANARY + b"\n") * 40_000
SWAPPING: Final = 30.0
"""Seconds."""
MANY: Final = 100_000
IN_ONE_FOLDER: Final = 10_000
OTHERS_WITHIN: Final = 30.0
"""Seconds that a file of another route may take beside them, from its drop to its place in done/, on a busy machine."""

_libc: Final = ctypes.CDLL(None, use_errno=True)
_EXCHANGE: Final = 2


@pytest.fixture
def tap(platform: Platform, daemon: Daemon) -> Iterator[Tap]:
    """Between the daemon and the platform."""
    made = Tap(platform.base_url, [CANARY])
    daemon.configure("platform", base_url=made.base_url)
    yield made
    made.stop()


def exchange(a: Path, b: Path) -> bool:
    """Two names change places in one step; False where one is not there."""
    return bool(_libc.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), _EXCHANGE) == 0)


def files_with_the_secret(*roots: Path) -> int:
    """How many files hold the secret; links are not followed."""
    return sum(
        CANARY in path.read_bytes()
        for root in roots
        for at, _, names in os.walk(root)
        for path in [Path(at, name) for name in names]
        if stat.S_ISREG(path.lstat().st_mode) and path.stat().st_nlink == 1
    )


class Swapper:
    """Swaps what lies in an inbox for something else as often as it can, and puts new ones there when they are gone."""

    def __init__(self, share: Share, outside: Path) -> None:
        self.side = share.folder / "side"
        self.side.mkdir()
        self.inbox, self.outside, self.share = share.inbox, outside, share
        self.mine: set[str] = set()
        """Digests of what the dropper himself put there."""
        self.swaps = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            for name in ("link.png", "pipe.png", "hard.png", "device.png", "folder", "way"):
                for _ in range(25):
                    if not exchange(self.inbox / name, self.side / name):
                        self._renew(name)
                        break
                    self.swaps += 1

    def _renew(self, name: str) -> None:
        for at in (self.inbox / name, self.side / name):
            if at.is_dir() and not at.is_symlink():
                shutil.rmtree(at)
            else:
                at.unlink(missing_ok=True)
        if name in ("folder", "way"):
            for root in (self.inbox, self.side):
                (root / name / "deep").mkdir(parents=True, exist_ok=True)
            self._file(self.inbox / name / "deep" / "x.png")
            if name == "folder":
                shutil.rmtree(self.side / name)
                os.symlink(self.outside / "folder", self.side / name)
            else:
                (self.side / name / "deep").rmdir()
                os.symlink(self.outside / "folder" / "deep", self.side / name / "deep")
            return
        self._file(self.inbox / name)
        other = self.side / name
        if name == "link.png":
            os.symlink(self.outside / "secret.png", other)
        elif name == "pipe.png":
            os.mkfifo(other)
        elif name == "device.png":
            os.mknod(other, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
        else:
            own = self.outside / f"own-{len(self.mine)}.png"
            self._file(own)
            os.link(own, other)

    def _file(self, at: Path) -> None:
        """One of the very size and mtime of the secret: nothing but the way to it tells them apart."""
        data = self.share.picture()
        data += bytes(len(SECRET) - len(data))
        self.mine.add(digest(data))
        side = self.side / "new"
        side.write_bytes(data)
        now = (self.outside / "secret.png").stat()
        os.utime(side, ns=(now.st_atime_ns, now.st_mtime_ns))
        os.replace(side, at)


@pytest.mark.parametrize("platform", [{"render_seconds": (0.05, 0.1)}], indirect=True)
def test_nothing_foreign_is_sent_however_fast_files_are_swapped(
    platform: Platform, daemon: Daemon, share: Share, tap: Tap, tmp_path: Path, tally: Tallies
) -> None:
    count = tally("dropped: files swapped while they are read")
    outside = tmp_path / "outside"
    (outside / "folder" / "deep").mkdir(parents=True)
    secrets = [outside / "secret.png", outside / "folder" / "deep" / "x.png", outside / "folder" / "x.png"]
    for path in secrets:
        path.write_bytes(SECRET)
        os.utime(path, ns=(10**18, 10**18))
    daemon.configure("intake", settle="50ms", sweep="100ms")
    daemon.start()
    swapper = Swapper(share, outside)
    honest: dict[str, bytes] = {}
    swapper.start()
    until = time.monotonic() + SWAPPING
    try:
        while time.monotonic() < until:
            name = f"honest-{len(honest)}.png"
            honest[name] = share.drop(name)
            time.sleep(1.0)
    finally:
        swapper.stop()
    here = share.files(share.inbox)
    print(f"{swapper.swaps} swaps, {len(platform.tasks())} tasks, {tap.sent} bytes sent")
    assert swapper.swaps > 1000 * SWAPPING / 2
    daemon.wait(lambda: not [p for p in share.files(share.inbox) if p.startswith("honest")], "the honest ones are done")
    for path in here.values():
        shutil.rmtree(share.inbox / path.relative_to(share.inbox).parts[0], ignore_errors=True)
    daemon.wait(lambda: not [j for j in daemon.jobs() if j.state not in ENDS], "all jobs are over")
    daemon.stop()
    known = swapper.mine | set(map(digest, honest.values()))
    foreign = [t for t in platform.tasks() if t["files"][0]["sha256"] not in known]
    done = {digest(at) for at in share.files(share.done).values() if at.is_file() and not at.is_symlink()}
    found = tap.leaked + len(foreign)
    found += files_with_the_secret(tmp_path / "platform", share.outbox, daemon.state_dir)
    changed = sum(path.read_bytes() != SECRET or path.stat().st_mtime_ns != 10**18 for path in secrets)
    own = {digest(path) for path in outside.glob("own-*.png")}
    count.lost += sum(digest(data) not in done for data in honest.values()) + changed + len(own - swapper.mine)
    count.leaked += found
    count.paid_twice += sum(len(platform.tasks(data)) - 1 for data in honest.values())
    for _ in range(swapper.swaps):
        count.run()


@pytest.mark.parametrize("platform", [{"render_seconds": (0.05, 0.1)}], indirect=True)
@pytest.mark.parametrize("way", ["in place, its time set back", "in place", "grown", "shrunk", "replaced"])
def test_no_mix_of_two_versions_is_ever_accepted(
    platform: Platform, daemon: Daemon, share: Share, tally: Tallies, way: str
) -> None:
    count = tally("dropped: files rewritten while they are uploaded")
    rounds, size = 5, 12 * 2**20
    versions: set[str] = set()
    daemon.start()
    for n in range(rounds):
        platform.faults({"call": "run", "do": "slow", "seconds": 1.0, "count": 1})
        before = len(daemon.events("job_submitting"))
        one = share.drop(f"{n}.png", share.picture() + bytes([65 + n]) * size)
        path = share.inbox / f"{n}.png"
        stood = path.stat()
        daemon.wait(lambda before=before: len(daemon.events("job_submitting")) > before, "the upload has begun")  # type: ignore[misc]
        time.sleep(random.uniform(0.0, 0.6))
        other = one[:-size] + bytes([97 + n]) * size
        if way == "grown":
            other = one + b"more"
        elif way == "shrunk":
            other = one[: size // 2]
        try:
            if way == "replaced":
                share.drop(f"{n}.png", other)
            else:
                with path.open("rb+", buffering=0) as file:
                    file.write(other) if way.startswith("in place") else file.truncate(len(other))
                    if way == "grown":
                        file.seek(len(one))
                        file.write(b"more")
                    if way.endswith("back"):
                        os.utime(file.fileno(), ns=(stood.st_atime_ns, stood.st_mtime_ns))
        except FileNotFoundError:
            other = one  # it was quicker, and is done
        daemon.wait_at_rest(done=len(share.files(share.done)) + bool(share.files(share.inbox)), within=90)
        versions |= {digest(one), digest(other)}
        tasks = [t["files"][0]["sha256"] for t in platform.tasks()[-2:]]
        kept = {digest(at) for at in share.files(share.done).values()}
        mixed = [t for t in platform.tasks() if t["files"][0]["sha256"] not in versions]
        count.run(lost=digest(other) not in kept, leaked=len(mixed), paid_twice=len(tasks) - len(set(tasks)))
    daemon.stop()


def test_devices_and_files_that_cannot_be_moved_are_told_and_others_go_on(
    platform: Platform, daemon: Daemon, share: Share, tally: Tallies
) -> None:
    count = tally("dropped: devices, files that cannot be moved")
    daemon.start()
    devices = {"null.png": (1, 3), "zero.png": (1, 5), "urandom.png": (1, 9), "tty.png": (5, 0), "console.png": (5, 1)}
    for name, (major, minor) in devices.items():
        os.mknod(share.inbox / name, 0o666 | stat.S_IFCHR, os.makedev(major, minor))
    os.mknod(share.inbox / "disk.png", 0o600 | stat.S_IFBLK, os.makedev(7, 250))
    fixed = share.drop("fixed.png")
    subprocess.run(["chattr", "+i", share.inbox / "fixed.png"], check=True)
    try:
        honest = share.drop("honest.png")
        daemon.wait(lambda: "honest.png" in share.files(share.done), "the honest one is done")
        names = [*devices, "disk.png"]
        daemon.wait(lambda: all((share.failed / f"{n}.error.txt").exists() for n in names), "devices are refused")
        daemon.wait(lambda: daemon.events("archive_waits"), "the one that cannot be moved is told")
        assert (share.outbox / "fixed.json").exists()
    finally:
        subprocess.run(["chattr", "-i", share.inbox / "fixed.png"], check=True)
    daemon.wait(lambda: "fixed.png" in share.files(share.done), "it is filed by itself")
    for name in names:
        assert "device" in (share.failed / f"{name}.error.txt").read_text()
        mode = (share.failed / name).lstat().st_mode
        count.run(lost=not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)))
    for name, data in (("fixed.png", fixed), ("honest.png", honest)):
        lost = (share.done / name).read_bytes() != data
        count.run(lost=lost, paid_twice=len(platform.tasks(data)) - 1)
    daemon.stop()


def below(root: Path, names: list[str]) -> int:
    """A descriptor for a folder however deep, made where it is missing."""
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for name in names:
        try:
            os.mkdir(name, dir_fd=at)
        except FileExistsError:
            pass
        deeper = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
        os.close(at)
        at = deeper
    return at


def put(root: Path, names: list[str], name: str, data: bytes) -> None:
    at = below(root, names)
    with open(os.open(name, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=at), "wb") as file:
        file.write(data)
    os.close(at)


def lies(root: Path, names: list[str], name: str) -> bytes | None:
    """What a file holds, however deep; None where it is not there."""
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for each in names:
            deeper = os.open(each, os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
            os.close(at)
            at = deeper
        with open(os.open(name, os.O_RDONLY, dir_fd=at), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    finally:
        os.close(at)


def test_deep_trees_are_taken_and_endless_ones_hold_up_nobody(
    platform: Platform, daemon: Daemon, share: Share, tally: Tallies
) -> None:
    count = tally("dropped: deep trees")
    daemon.start()
    deep = {60: [f"folder {n:02}" for n in range(60)], 40: ["x" * 200 + str(n) for n in range(40)]}
    endless = ["d"] * 5000
    dropped = {}
    for depth, names in deep.items():
        dropped[depth] = share.picture()
        put(share.inbox, names, f"{depth}.png", dropped[depth])
    put(share.inbox, endless, "never.png", share.picture())
    honest = share.drop("honest.png")
    daemon.wait(lambda: "honest.png" in os.listdir(share.done), "the honest one is done")
    for depth, names in deep.items():
        daemon.wait(lambda n=names, d=depth: lies(share.done, n, f"{d}.png") is not None, f"{depth} is done", 120)  # type: ignore[misc]
        daemon.wait(lambda n=names, d=depth: lies(share.outbox, n, f"{d}.json"), f"{depth} is delivered")  # type: ignore[misc]
        lost = lies(share.done, names, f"{depth}.png") != dropped[depth]
        count.run(lost=lost, paid_twice=len(platform.tasks(dropped[depth])) - 1)
    daemon.wait(lambda: daemon.events("folder_unreadable"), "the endless one is told")
    began = time.monotonic()
    late = share.drop("late.png")
    daemon.wait(lambda: "late.png" in os.listdir(share.done), "a late one is done")
    assert time.monotonic() - began < 30
    count.run(lost=lies(share.inbox, endless, "never.png") is None)
    for data in (honest, late):
        count.run(paid_twice=len(platform.tasks(data)) - 1)
    daemon.stop()
    for root in (share.inbox, share.done, share.outbox):
        subprocess.run(["rm", "-rf", *(str(root / name) for name in os.listdir(root) if len(name) > 50 or name == "d")])


def test_a_folder_of_ten_thousand_files_fails_as_one_and_holds_up_nobody(
    platform: Platform, daemon: Daemon, share: Share, new_share: Callable[[str], Share], tally: Tallies
) -> None:
    count = tally("dropped: a bundle of 10,000 files")
    other = new_share("other")
    app = {"workflow_id": "1234", "clusters": ["GPU-4090"], "inputs": {"input_image": "image"}}
    daemon.routes(
        portrait={**app, "folder": str(share.folder), "bundle": "folder"}, other={**app, "folder": str(other.folder)}
    )
    daemon.start()
    (share.folder / "huge").mkdir()
    for n in range(IN_ONE_FOLDER):
        (share.folder / "huge" / f"{n:05}.png").write_bytes(b"%d" % n)
    os.symlink("/etc", share.folder / "huge" / "link")
    (share.folder / "huge").rename(share.inbox / "huge")
    slowest, n = 0.0, 0
    while not (share.failed / "huge.error.txt").exists() or n < 3:
        began = time.monotonic()
        data = other.drop(f"{n}.png")
        daemon.wait(lambda n=n: other.at_rest(n + 1), "the other route goes on", OTHERS_WITHIN)  # type: ignore[misc]
        slowest = max(slowest, time.monotonic() - began)
        count.run(paid_twice=len(platform.tasks(data)) - 1)
        n += 1
        assert n < 300
    daemon.wait(lambda: not share.files(share.inbox) and not share.staging(), "all of it is put away", 300)
    kept = {path: at for path, at in share.files(share.failed).items() if path.startswith("huge/")}
    lost = IN_ONE_FOLDER - len(kept) + (not (share.failed / "huge" / "link").is_symlink())
    lost += sum(at.read_bytes() != b"%d" % int(at.stem) for at in kept.values())
    count.run(lost=lost)
    text = (share.failed / "huge.error.txt").read_text()
    print(f"slowest beside it: {slowest:.1f} s; {daemon.memory() >> 20} MB; {text[:300]}")
    assert len(text) < 2000
    assert daemon.memory() < 500 * 2**20
    daemon.stop()


@pytest.mark.parametrize("platform", [{"render_seconds": (0.01, 0.02)}], indirect=True)
def test_a_hundred_thousand_files_at_once_are_all_taken_and_nobody_waits_for_them(
    platform: Platform, daemon: Daemon, share: Share, new_share: Callable[[str], Share], tally: Tallies
) -> None:
    count = tally("dropped: 100,000 files at once")
    other = new_share("other")
    app = {"workflow_id": "1234", "clusters": ["GPU-4090"], "inputs": {"input_image": "image"}}
    daemon.configure("platform", requests_per_second=300)
    daemon.configure("intake", sweep="60s")
    daemon.routes(
        # Its cluster is not there, so its jobs wait.
        portrait={**app, "folder": str(share.folder), "clusters": ["GPU-AWAY"]},
        other={**app, "folder": str(other.folder)},
    )
    daemon.start()
    heap = share.folder / "heap"
    heap.mkdir()
    for n in range(MANY):
        (heap / f"{n:06}.png").write_bytes(b"%d" % n)
    began = time.monotonic()
    heap.rename(share.inbox / "heap")
    waited, n = [], 0
    while (seen := len(daemon.events("job_queued")) - n) < MANY:
        at = time.monotonic()
        other.drop(f"{n}.png")
        daemon.wait(lambda n=n: other.at_rest(n + 1), "the other route goes on", OTHERS_WITHIN)  # type: ignore[misc]
        waited.append(time.monotonic() - at)
        n += 1
        assert time.monotonic() - began < 900, seen
    took = time.monotonic() - began
    at = time.monotonic()
    assert daemon.run("jobs", "--limit", "50", "--json").returncode == 0
    answered = time.monotonic() - at
    print(
        f"{MANY} taken in {took:.0f} s; beside it {n} files of another route, the slowest {max(waited):.1f} s; "
        f"`jobs` answered in {answered:.1f} s; {daemon.memory() >> 20} MB"
    )
    assert answered < 10
    assert daemon.memory() < 500 * 2**20
    daemon.stop()
    jobs = [job for job in daemon.jobs(State.QUEUED) if job.route == "portrait"]
    paths = {source.path for job in jobs for source in job.sources if source.place is Place.INBOX}
    lost = MANY - len(paths) + MANY - len(os.listdir(share.inbox / "heap"))
    for _ in range(MANY):
        count.run()
    count.lost += lost
    count.paid_twice += len(platform.tasks()) - n + len(jobs) - len(paths)
    subprocess.run(["rm", "-rf", str(share.inbox / "heap")], check=True)
