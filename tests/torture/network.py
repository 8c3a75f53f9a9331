"""What the proofs of the network share: the proxy before the platform, and the weighing of what came of each file."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform, digest
from tests.rig.share import Share
from tests.rig.wire import ASKING, CALLS, TAKING, Rule, Wire
from tests.torture.table import Tally

from renderdrop.model.job import Outcome
from renderdrop.model.lifecycle import State

MAKING: Final = ("run", "submit", "generate")
"""Calls that make a task."""

NOT_TAKEN: Final = ("reset_early", "reset_in_body", "close_early", "busy_early", "429", "503", "503_date", "503_odd")
"""Harms after which the platform has certainly not seen the whole request, and a client can know it."""
LOST: Final = ("lost_close", "lost_reset", "lost_half")
SPOILT: Final = ("html", "huge", "broken", "not_utf8", "deep", "bad_chunks", "two_lengths", "no_http")
"""Answers that are none; to a submission they are as good as lost."""
RIGHT: Final = ("continue", "http10", "same_length_twice", "chunked_and_length")
"""Odd answers, and right."""
CUTS: Final = ("cut", "cut_chunked", "cut_untold")
RANGES: Final = ("range_shifted", "range_total", "range_none", "range_nonsense", "range_416", "range_ignored")
REDIRECTS: Final = ("redirect_itself", "redirect_loop", "redirect_elsewhere", "redirect_elsewhere_308")


@pytest.fixture
def wire(platform: Platform, daemon: Daemon) -> Iterator[Wire]:
    """The proxy, and a daemon that knows no other way to the platform."""
    made = Wire(platform)
    daemon.configure("platform", base_url=made.base_url, requests_per_second=100)
    yield made
    made.stop()


def everywhere(*harms: str, calls: tuple[str, ...], chance: float, count: int | None = None) -> list[Rule]:
    """A rule for each of these harms on all of these calls."""
    # POST bodies alone can be cut half way.
    return [Rule(h, calls, chance, count) for h in harms if h != "reset_in_body" or set(calls) <= set(TAKING)]


def unwell(size: int, chance: float) -> list[Rule]:
    """Everything at once but what takes long, each harm up to `size` times on each kind of call."""
    refused = (*NOT_TAKEN, "gateway")
    few = max(1, size // 4)
    return [
        *everywhere(*NOT_TAKEN, calls=TAKING, chance=chance, count=size),
        *everywhere(*LOST, *SPOILT, "gateway", calls=TAKING, chance=chance / 10, count=few),
        *everywhere(*RIGHT, calls=CALLS, chance=chance, count=size),
        *everywhere(*SPOILT, *LOST, calls=ASKING, chance=chance / 2, count=size),
        *everywhere(*refused, calls=ASKING, chance=chance / 3, count=size),
        *everywhere("status_word", calls=("poll", "poll_native", "result"), chance=chance, count=size),
        *everywhere(*REDIRECTS, calls=("view",), chance=chance, count=size),
        *everywhere(*RANGES, calls=("view",), chance=0.4, count=size),
        *everywhere(*CUTS, calls=("view",), chance=max(chance, 0.1), count=size * 3),
        *everywhere(*refused, *LOST, "html", "bad_chunks", "two_lengths", calls=("view",), chance=chance, count=size),
        *everywhere(*REDIRECTS, calls=(*TAKING, *ASKING), chance=chance / 12, count=few),
    ]


@dataclass
class File:
    """One dropped file and what became of it."""

    job: str
    tasks: int
    unknown: int
    """Submissions without an answer, as its sidecar tells them."""
    whole: bool
    """Its source lies in done/ and its results and sidecar in the outbox, all as they should be."""
    submissions: list[str]


def weigh(platform: Platform, share: Share, dropped: Mapping[str, bytes]) -> list[File]:
    """What became of each file, measured: sources by their bytes, results by what the platform rendered, tasks by what
    they were fed with."""
    ledger = platform.ledger()["tasks"]
    fed = Counter(_fed(task) for task in ledger)
    rendered = {task["task_id"]: [out["sha256"] for out in task["outputs"]] for task in ledger}
    kept = {digest(path) for path in share.files(share.done).values()}
    told: dict[str, Any] = {}
    for sidecar in share.sidecars():
        told[sidecar["sources"][0]["path"]] = sidecar
    files = []
    for path, data in dropped.items():
        sidecar = told.get(
            path, {"job_id": "", "submissions": [], "outputs": [], "status": "", "task_id": None, "at": share.outbox}
        )
        results = [digest(sidecar["at"] / out["file"]) for out in sidecar["outputs"]]
        whole = (
            sidecar["status"] == "success"
            and digest(data) in kept
            and bool(results)
            and results == [out["sha256"] for out in sidecar["outputs"]] == rendered.get(sidecar["task_id"])
        )
        outcomes = [submission["outcome"] for submission in sidecar["submissions"]]
        files.append(File(sidecar["job_id"], fed[_key(path, data)], outcomes.count("unknown"), whole, outcomes))
    return files


def tell(count: Tally, files: list[File], wire: Wire, released: Collection[str] = ()) -> None:
    """Count each file as a run. A further task is in the open window as far as the sidecar tells an answer that never
    came; two of them in one job are a person's doing, or a breach."""
    for file in files:
        twice = max(0, file.tasks - 1)
        window = file.unknown if file.job in released else min(file.unknown, 1)
        count.run(lost=not file.whole, paid_twice=twice, recovered=file.whole)
        count.open_window += min(twice, window)
    count.leaked += wire.leaks


class Person:
    """Who looks at the platform's own page now and then, and lets go on what has lost two answers: nothing else may
    need a person."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.released: list[str] = []

    def looks(self, shares: Mapping[Share, int]) -> bool:
        """Whether all of it is done."""
        if held := self.daemon.jobs(State.HELD):
            assert all([s.outcome for s in job.submissions].count(Outcome.UNKNOWN) > 1 for job in held), held
            ids = [job.id for job in held]
            assert self.daemon.run("release", *ids).returncode == 0
            self.released += ids
        return all(share.at_rest(done) for share, done in shares.items())


def _fed(task: Mapping[str, Any]) -> str:
    return str(task["files"][0]["sha256"] if task["files"] else task["parameters"]["prompt"])


def _key(path: str, data: bytes) -> str:
    return data.decode() if path.endswith(".txt") else digest(data)
