"""SIGKILL at the n-th fsync, rename, unlink, link, … of a whole job, for every n: found by strace, without our help.

The real program is traced while it takes one file from the inbox to its end, and dies on entering the n-th call of one
kind; n grows until a job has no n-th such call. The next life, which is not traced until everything is at its end
again, must find everything. strace counts by thread, so every pool of threads has one thread only here; a job that is
merely counted beforehand says how many deaths there must be.
"""

import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import DEADLINE, Platform
from tests.rig.share import Share
from tests.torture.table import Tally

from renderdrop.model.job import Place

_ONE_THREAD: Final = """\
from concurrent.futures.thread import ThreadPoolExecutor as Pool
Pool.__init__ = lambda self, workers=None, *rest, begin=Pool.__init__, **more: begin(self, 1, *rest, **more)
from renderdrop.__main__ import main
main()
"""

_CALLS: Final = (
    "fsync", "fdatasync", "rename", "renameat", "renameat2", "unlink", "unlinkat", "link", "linkat", "mkdirat", "rmdir",
    "ftruncate", "fchmod",
)  # fmt: skip
"""What makes something last, or gives or takes a name; and what is cheap to add."""


class _Traced(Daemon):
    """The real program with one thread in each pool, so that the n-th call of a thread is the n-th call."""

    def _argv(self, command: str, *options: str) -> list[str]:
        return [sys.executable, "-c", _ONE_THREAD, command, "-c", str(self.settings_file), *options]

    def family(self) -> list[int]:
        """The process that was started, and its children."""
        assert self.process is not None
        pids = [self.process.pid]
        for pid in pids:
            pids += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return pids


@contextmanager
def _strace(daemon: _Traced, log: Path, *options: str) -> Iterator[None]:
    """Traces the running daemon from now on."""
    pids = [option for pid in daemon.family() for option in ("-p", str(pid))]
    tracer = subprocess.Popen(
        ["strace", "-f", "-o", str(log), *options, *pids], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert tracer.stderr is not None
    try:
        for _ in daemon.family():
            assert b"attached" in tracer.stderr.readline()
        yield
    finally:
        if tracer.poll() is None:
            tracer.send_signal(signal.SIGINT)
        tracer.wait(DEADLINE)
        tracer.stderr.close()


def _seen(log: Path) -> Counter[str]:
    """How often each call was begun, by the thread that made most of them."""
    calls = Counter(re.findall(r"^(\d+) +(\w+)\(", log.read_text("utf-8", "replace"), re.MULTILINE))
    most = Counter[str]()
    for (_, call), times in calls.items():
        most[call] = max(most[call], times)
    return most


@dataclass(frozen=True)
class Errand:
    """A kind of job: how it ends, and which calls are worth a death each."""

    calls: tuple[str, ...]
    fails: bool = False
    across: bool = False


_NAMING: Final = tuple(call for call in _CALLS if call not in ("fdatasync", "fchmod", "ftruncate"))

ERRANDS: Final[Mapping[str, Errand]] = {
    "killed at each system call of a job": Errand(_CALLS),
    "killed at each system call of a job that fails": Errand(_NAMING, fails=True),
    "killed at each system call of an archive across file systems": Errand(_NAMING, across=True),
}


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of its own."""
    place = tmp_path / "far"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@dataclass
class Lives:
    """One daemon's lives: each takes up what the one before left, and dies with a job of its own."""

    daemon: _Traced
    share: Share
    platform: Platform
    home: Path
    dropped: dict[str, bytes]
    fails: bool

    def rest(self) -> None:
        """Wait until everything that was dropped is at its end."""
        number = len(self.dropped)
        done, failed = (0, number) if self.fails else (number, 0)

        def filed() -> bool:
            jobs = self.daemon.jobs()
            return len(jobs) >= number and all(source.filed for job in jobs for source in job.sources)

        self.daemon.wait(lambda: filed() and self._at_rest(done, failed), f"{number} files are at their end")

    def _at_rest(self, done: int, failed: int) -> bool:
        # A daemon that was killed between the last removal and the ledger's word for it has no staging left to remove.
        return self.share.at_rest(done, failed)

    def job(self, *options: str) -> bool:
        """One more job, traced; whether the daemon lived through it."""
        log = self.home / "strace.log"
        path = f"{len(self.dropped)}/{len(self.dropped)}.png"
        with _strace(self.daemon, log, *options):
            self.dropped[path] = self.share.drop(path)
            deadline = time.monotonic() + DEADLINE
            while not any(event["path"] == path for event in self.daemon.events("source_filed")):
                assert time.monotonic() < deadline, self.daemon.tail()
                assert self.daemon.process is not None
                if self.daemon.process.poll() is not None:
                    assert self.daemon.ended() == -signal.SIGKILL
                    return False
                time.sleep(0.05)
        return True

    def check_killed(self) -> None:
        """What the dead left: nothing half under a final name, and every source whole in exactly one place."""
        self.share.check_unbroken(self.platform)
        homes = (self.share.inbox, self.share.done, self.share.failed)
        found = Counter(
            self.share.digest(at) for home in homes for path, at in self.share.files(home).items()
            if not path.endswith((".error.txt", ".error.json")) and "/.renderdrop" not in path
        )  # fmt: skip
        for path, data in self.dropped.items():
            # A copy across file systems is in two places for a moment.
            assert found[self.share.digest(data)] >= 1, f"{path} is lost"

    def check_end(self, rows: Tally) -> None:
        """All came to its right end, and no source cost more than one task but for the window."""
        for path, data in self.dropped.items():
            jobs = [job for job in self.daemon.jobs() if job.source.path == path]
            assert len(jobs) == 1
            [job] = jobs
            again = len(self.platform.tasks(data)) - 1
            unknown = sum(submission.outcome == "unknown" for submission in job.submissions)
            rows.paid_twice += again
            rows.open_window += min(again, unknown)
            if self.fails:
                assert job.source.place is Place.FAILED
                assert (self.share.failed / path).read_bytes() == data
                text, sidecar = self.share.told(path)
                assert job.id in text
                assert sidecar["job_id"] == job.id
        if not self.fails:
            self.share.check_delivered(self.platform, self.dropped)


@pytest.mark.parametrize("platform", [{"render_seconds": (0.05, 0.1)}], indirect=True)
@pytest.mark.parametrize("name", ERRANDS)
def test_a_daemon_that_is_killed_at_any_system_call_of_a_job_loses_and_doubles_nothing(
    name: str, platform: Platform, share: Share, far: Path, tmp_path: Path, tally: Callable[[str], Tally]
) -> None:
    errand, rows = ERRANDS[name], tally(name)
    daemon = _Traced(tmp_path, share, platform.base_url)
    if errand.across:
        share.done = far / "done"
        folders = {"inbox": share.inbox, "outbox": share.outbox, "done": share.done, "failed": share.failed}
        daemon.route(folder=None, **{role: str(place) for role, place in folders.items()})
        share.inbox.mkdir()
    if errand.fails:
        platform.faults({"call": "run", "do": "fail_task"})
    lives = Lives(daemon, share, platform, tmp_path, {}, errand.fails)
    try:
        daemon.start()
        assert lives.job("-e", f"trace={','.join(errand.calls)}")
        seen = _seen(tmp_path / "strace.log")
        assert seen["fsync"] > 5
        assert seen["renameat2"] > 1
        for call in errand.calls:
            for n in count(1):
                lives.rest()
                if lives.job("-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={n}"):
                    break
                lives.check_killed()
                rows.run()
                daemon.start()
            # The ledger's own syncs vary by a look at the platform more or less; the share's do not.
            assert n - 1 == seen[call] or (call == "fdatasync" and abs(n - 1 - seen[call]) <= 3), (call, n, seen)
        lives.rest()
        lives.check_end(rows)
        daemon.stop()
    finally:
        print(seen, daemon.tail())
        daemon.put_away()
