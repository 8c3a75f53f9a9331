"""The power goes at every sync of a whole job, on a disk that then forgets whatever was not synced.

Ledger and share lie on one such disk (`tests/rig/forgetful.py`), which stops at the n-th sync of a job, for every n
until a job has no n-th any more. The daemon dies there, the disk forgets, and what is left is held against what was
promised: to whoever read the log, to the platform, and by the ledger. Then the daemon begins again, and everything
comes to its end. One life of the daemon recovers what the last one left and dies with a job of its own.
"""

import hashlib
import os
import shutil
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
from tests.rig.daemon import Daemon
from tests.rig.forgetful import Forgetful
from tests.rig.platform import DEADLINE, Platform
from tests.rig.share import Share
from tests.torture.table import Tally

from renderdrop.ledger import engine, queries
from renderdrop.model.job import Job, Place
from renderdrop.model.lifecycle import State

_LOCAL: Final = """\
from renderdrop.cli import opening, run
# FUSE is a network to the product; this one stands for a disk.
run.network_file_system = opening.network_file_system = lambda path: None
from renderdrop.__main__ import main
main()
"""

_DELIVERED: Final = (State.DELIVERED,)
_SUBMITTED: Final = (State.SUBMITTED, State.RENDERED, *_DELIVERED, State.FAILED)
_ACKNOWLEDGED: Final = {"job_submitted": _SUBMITTED, "job_delivered": _DELIVERED, "job_failed": (State.FAILED,)}
"""What the log said of a job, and where that job must be found for it."""


class _OnDisk(Daemon):
    """The real program, which takes the disk for a local one."""

    def _argv(self, command: str, *options: str) -> list[str]:
        return [sys.executable, "-c", _LOCAL, command, "-c", str(self.settings_file), *options]


@dataclass
class Bench:
    """The disk, the platform, and a daemon that has both."""

    disk: Forgetful
    platform: Platform
    home: Path
    daemon: _OnDisk = field(init=False)
    share: Share = field(init=False)
    dropped: dict[str, bytes] = field(default_factory=dict)
    lives: int = 0

    def begin(self, name: str) -> None:
        """A daemon with a ledger and a share of its own, not started yet."""
        where = self.disk.mount / name
        folder = where / "share" / "portrait"
        folder.mkdir(parents=True)
        self.disk.settle(folder)
        home = self.home / name
        home.mkdir()
        self.share, self.dropped = Share(folder), {}
        self.daemon = _OnDisk(home, self.share, self.platform.base_url)
        self.daemon.state_dir = where / "state"
        self.daemon.state_dir.mkdir()
        self.disk.settle(self.daemon.state_dir)
        self.daemon.configure(state_dir=str(self.daemon.state_dir))
        self.daemon.configure("intake", settle_network="200ms", sweep_network="300ms", ticket_wait=0)

    def below(self, where: str) -> str:
        """A path on the disk of this daemon's, as the disk calls it."""
        return f"/{(self.share.folder.parents[1] / where).relative_to(self.disk.mount)}".rstrip("/")

    def drop(self, path: str) -> bytes:
        """A file that has been in the inbox for long, as far as the disk goes."""
        self.dropped[path] = data = self.share.picture()
        target = self.share.inbox / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        self.disk.settle(target)
        return data

    def at_rest(self) -> bool:
        """Whether all that was dropped is filed. Looks at the disk, so never while it may freeze."""
        jobs = self.daemon.jobs()
        return len(jobs) >= len(self.dropped) and all(source.filed for job in jobs for source in job.sources)

    def is_filed(self, path: str) -> bool:
        """Whether that file is; looks at the log alone, which lies elsewhere."""
        return any(event["path"] == path for event in self.daemon.events("source_filed"))

    def slay(self) -> None:
        """SIGKILL to all of it, while the disk stands still: nothing of it runs any more when this returns."""
        assert self.daemon.process is not None
        family = [self.daemon.process.pid]
        for pid in family:
            family += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        for pid in family:
            os.kill(pid, signal.SIGKILL)
        self.disk.refuse()
        self.daemon.ended()
        deadline = time.monotonic() + DEADLINE
        while any(_runs(pid) for pid in family):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def jobs(self) -> list[Job]:
        """What the ledger says, read from a copy: the next life must find it as the last one left it."""
        copy = self.home / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for name in ("ledger.sqlite", "ledger.sqlite-wal"):
            if (self.daemon.state_dir / name).exists():
                shutil.copy(self.daemon.state_dir / name, copy)
        with sqlite3.connect(copy / "ledger.sqlite") as conn:
            assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        conn.close()
        with engine.view(copy / "ledger.sqlite") as view:
            return queries.listed(view)

    def check_after_cut(self) -> None:
        """What was promised holds, with nobody there to mend anything."""
        jobs = {job.id: job for job in self.jobs()}
        for event, states in _ACKNOWLEDGED.items():
            for line in self.daemon.events(event):
                assert jobs[line["job"]].state in states, (event, line)
        for line in self.daemon.events("source_filed"):
            assert all(source.filed for source in jobs[line["job"]].sources)
        bodies = Counter[str]()
        for job in jobs.values():
            bodies[job.source.path] += sum(submission.complete for submission in job.submissions)
        for path, data in self.dropped.items():
            # No request may have been whole of which the ledger does not know.
            assert len(self.platform.tasks(data)) <= bodies[path]
        self.check_files(jobs.values())
        self.share.check_unbroken(self.platform)

    def check_files(self, jobs: Any, *, saved: bool = False) -> None:
        """What the ledger calls delivered is there, byte for byte, and every source lies somewhere, whole. `saved`: it
        would be if the power went now."""
        base = f"{self.share.folder.relative_to(self.disk.mount)}/"
        tree = self.disk.tree(saved=saved).items()
        files = {path.removeprefix(base): sha256 for path, sha256 in tree if path.startswith(base)}
        for job in jobs:
            folder = f"outbox/{job.folder}/" if job.folder else "outbox/"
            if job.state is State.DELIVERED:
                assert f"{folder}{job.base}.json" in files, job
                for output in job.outputs:
                    assert files.get(f"{folder}{output.file}") == output.sha256, (job.id, output.file)
            for source in job.sources:
                if source.filed and source.place in (Place.DONE, Place.FAILED):
                    stored = f"{source.place.value}/{source.stored}"
                    assert files.get(stored) == hashlib.sha256(self.dropped[source.path]).hexdigest(), stored
                    assert f"inbox/{source.path}" not in files, source.path
        homes = {sha for path, sha in files.items() if not path.startswith("outbox/")}
        for path, data in self.dropped.items():
            assert hashlib.sha256(data).hexdigest() in homes, f"{path} is lost"

    def paid_twice(self) -> tuple[int, int]:
        """Tasks beyond the first of each source, and how many of them the window allows: each told in its sidecar."""
        again, allowed = 0, 0
        for sidecar in self.share.sidecars():
            tasks = len(self.platform.tasks(self.dropped[sidecar["sources"][0]["path"]]))
            again += tasks - 1
            unknown = [submission["outcome"] for submission in sidecar["submissions"]].count("unknown")
            allowed += min(tasks - 1, unknown)
        return again, allowed


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


@pytest.fixture
def bench(platform: Platform, tmp_path: Path) -> Iterator[Bench]:
    mount = tmp_path / "disk"
    mount.mkdir()
    with Forgetful(mount) as disk:
        made = Bench(disk, platform, tmp_path)
        try:
            yield made
        finally:
            print(made.daemon.tail())  # seen where the proof fails
            made.daemon.put_away()


@dataclass(frozen=True)
class Cut:
    """Where the syncs are counted, which part of the disk forgets ("-": none), and whether names are forgotten too."""

    counted: str
    forgets: str
    after: bool = True
    names: bool = True


CUTS: Final = {
    "power cut after each sync, all forgotten": Cut("", ""),
    "power cut before each sync, bytes forgotten": Cut("", "", after=False, names=False),
    "power cut on the share's disk alone": Cut("share", "share"),
    "power cut on the state directory's disk alone": Cut("state", "state", after=False),
    "killed before each sync of the share, cut later": Cut("share", "-", after=False),
}


@pytest.mark.parametrize("platform", [{"render_seconds": (0.05, 0.1)}], indirect=True)
@pytest.mark.parametrize("name", CUTS)
def test_a_power_cut_at_any_sync_of_a_job_loses_nothing_that_was_acknowledged(
    name: str, bench: Bench, tally: Callable[[str], Tally]
) -> None:
    cut, rows = CUTS[name], tally(name)
    bench.begin("one")
    daemon, disk = bench.daemon, bench.disk
    daemon.start()
    for n in count(1):
        path = f"{n}/{n}.png"
        daemon.wait(bench.at_rest, "what was interrupted is at its end")
        bench.check_files(bench.jobs(), saved=True)
        disk.arm(n, bench.below(cut.counted), after=cut.after)
        bench.drop(path)
        daemon.wait(lambda path=path: disk.frozen or bench.is_filed(path), f"the sync {n} or the end")  # type: ignore[misc]
        if not disk.frozen:
            break
        bench.slay()
        disk.cut(None if cut.forgets == "-" else bench.below(cut.forgets), names=cut.names)
        bench.check_after_cut()
        rows.run()
        daemon.start()
    print(f"a job has {n - 1} syncs:", *disk.syncs(), sep="\n")
    assert n > 5
    disk.arm(0)
    daemon.stop()
    bench.share.check_delivered(bench.platform, bench.dropped)
    again, allowed = bench.paid_twice()
    rows.paid_twice += again
    rows.open_window += allowed


@pytest.mark.parametrize("platform", [{"render_seconds": (0.05, 0.1)}], indirect=True)
@pytest.mark.parametrize("cut", [True, False])
def test_a_power_cut_at_any_sync_of_the_very_first_start_is_followed_by_another_first_start(
    cut: bool, bench: Bench, tally: Callable[[str], Tally]
) -> None:
    rows = tally(f"{'power cut' if cut else 'killed'} at each sync of the first start")
    disk, marked = bench.disk, ("inbox", "done", "failed")
    for n in count(1):
        bench.begin(f"first-{n}")
        daemon = bench.daemon
        disk.arm(n, bench.below(""), after=cut)
        daemon.launch()
        wanted = partial(_frozen_or, disk, daemon, "service_ready", 1)
        daemon.wait(wanted, f"sync {n}, or ready")
        if not disk.frozen:
            break
        bench.slay()
        disk.cut(bench.below("") if cut else None)
        opened = len(daemon.events("inbox_open"))
        daemon.launch()
        daemon.wait(partial(_frozen_or, disk, daemon, "inbox_open", opened + 1), f"it begins after a cut at sync {n}")
        daemon.kill()
        # Whatever the ledger counts on from now on must still be there if the power goes now.
        saved = disk.tree(saved=True)
        for needed in ("state/ledger.sqlite", *(f"share/portrait/{place}/.renderdrop" for place in marked)):
            assert f"first-{n}/{needed}" in saved
        rows.run()
    print(f"a first start has {n - 1} syncs:", *disk.syncs(), sep="\n")
    assert n > 5
    disk.arm(0)
    bench.drop("a.png")
    daemon.wait(bench.at_rest, "a job of the last of them")
    daemon.stop()
    bench.share.check_delivered(bench.platform, bench.dropped)


def _frozen_or(disk: Forgetful, daemon: Daemon, event: str, times: int) -> bool:
    return disk.frozen or len(daemon.events(event)) >= times
