"""One ledger, killed and started again many times over: its routes, what was dropped into them, and its books.

A life drops files, has the daemon die at a commit point (`RENDERDROP_FAILPOINT`), looks at what lies on the disk in
that moment, and starts it again with the next point armed: the next start recovers from the last death. At the end it
comes to rest, and then the books must balance: every dropped byte, every task that was paid for, every result.
"""

import itertools
import json
import random
import shutil
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform, digest
from tests.rig.share import Share
from tests.rig.store import Store

from renderdrop.ledger import engine
from renderdrop.ledger.failpoints import Point
from renderdrop.model.job import Job, Outcome, Place
from renderdrop.model.lifecycle import ENDS, OPEN, State
from renderdrop.sandbox import ClusterSpec
from renderdrop.sandbox.farm import CLUSTERS

Moment = Literal["before", "after"]

GRAPH: Final = Path(__file__).parents[2] / "config" / "examples" / "graphs" / "upscale_api.json"
SLOW: Final = ClusterSpec("GPU-SLOW", "fifty times as slow", 1, 2, speed=0.02)
STUCK: Final = tuple(ClusterSpec(f"GPU-STUCK{n}", "looks empty and begins nothing", 0, 10, fixed=True) for n in (1, 2))
SPARE: Final = ClusterSpec("GPU-SPARE", "takes second tasks and nothing else", 1, 4)
"""On the others tasks fail on purpose: one that rests for it would have no place for a second task in time."""
_OTHERS: Final = 100
"""Instances of a stuck cluster that other people hold."""
_REST: Final = 150.0
"""Seconds until a life whose every fault is over has come to rest at the latest."""


class Life:
    """One ledger with its shares. `routes` are those it has; every choice comes from `seed`."""

    def __init__(self, home: Path, seed: int, store: Store | None, *routes: str) -> None:
        self.chance = random.Random(seed)
        self.platform = Platform(
            home / "platform", render_seconds=(0.05, 0.15), clusters=(*CLUSTERS, SLOW, SPARE, *STUCK),
            foreign_load={cluster.name: _OTHERS for cluster in STUCK},
        )  # fmt: skip
        self.store = store
        self.after = self.chance.choice(["move", "move", "keep", "delete"])
        """What the route `portrait` does with sources whose results are delivered."""
        self.workflow = self.chance.choice(["1234", "several"])
        self.shares = {name: Share(home / "share" / name) for name in routes}
        for share in self.shares.values():
            share.folder.mkdir(parents=True)
        if "first" in self.shares:
            self.shares["first"].outbox = self.shares["last"].inbox
        self.daemon = Daemon(home, self.shares[routes[0]], self.platform.base_url)
        self.daemon.configure("intake", settle="50ms", sweep="1s", ticket_wait=0)
        self.daemon.configure("dispatch", lag_after="1s")
        self.settle()
        self.kills: list[tuple[Point, Moment]] = []
        self.held = 0
        """Jobs whose answer was lost and that were held, as their route says."""
        self.held_and_paid = 0
        """Of those: tasks that came of them beyond the one before a person released them."""
        self._numbers = itertools.count(1)
        self._dropped: Counter[str] = Counter()
        self._taken: Counter[str] = Counter()
        self._may_pay: Counter[str] = Counter()
        self._the_same: set[str] = set()
        self._names: dict[str, list[str]] = {name: [] for name in routes}
        self._foreign: dict[Path, str] = {}
        self._window: set[int] = set()
        self._hashed: dict[tuple[Path, int, int], str] = {}

    # What people do.

    def settle(self, cap: str = "1GB", hedged: Sequence[str] = (STUCK[0].name, SPARE.name)) -> None:
        """Write the settings; `cap` is the `max_output` of the route `tight`, `hedged` the clusters of the route that
        sends once more what lags."""
        shutil.copy(GRAPH, self.daemon.home / GRAPH.name)
        tables = self._tables(cap)
        tables["hedged"] |= {"clusters": list(hedged)}
        self.daemon.routes(
            **{
                name: {**tables.get(name, tables["careful"]), "folder": str(s.folder)}
                for name, s in self.shares.items()
            }
        )

    def _tables(self, cap: str) -> dict[str, dict[str, Any]]:
        # Whatever is stuck is held before long.
        common = {"clusters": ["GPU-4090", "GPU-A800"], "silence": "3s"}
        app = {**common, "workflow_id": "1234", "inputs": {"input_image": "image"}}
        last = {"outbox": str(self.shares["last"].inbox)} if "last" in self.shares else {}
        tables: dict[str, dict[str, Any]] = {
            "portrait": {**app, "workflow_id": self.workflow, "after": self.after},
            "careful": {**app, "on_unknown_submit": "hold"},
            "slow": {**app, "clusters": [SLOW.name]},
            "tight": {**app, "max_output": cap},
            "hedged": {**app, "rescue": True, "silence": "15s"},
            "grid": {**app, "matrix": {"seed": [1, 2]}},
            "thrifty": {**app, "duplicates": "skip"},
            "first": {**app, **last},
            "last": app,
            "pair": {**app, "workflow_id": "88", "inputs": {"input_image": "image", "input_video": "video"}},
            "graph": {**common, "kind": "graph", "graph": GRAPH.name, "inputs": {"73.image": "image"}},
        }
        if self.store is not None:
            tables["repaint"] = {
                "kind": "model", "provider": "google", "model": "gemini-3-pro-image-preview", "type": "image2image",
                "inputs": {"prompt": "text", "images": "image"}, "silence": "3s",
                "publish": {"bucket": self.store.bucket, "endpoint": self.store.endpoint, "addressing": "path"},
            }  # fmt: skip
        return tables

    def picture(self) -> bytes:
        """A picture like no other of this life."""
        return next(iter(self.shares.values())).picture()

    def name(self, route: str) -> str:
        """A path for a new file; now and then one that was used before, of which the results have the name already."""
        share, used = self.shares[route], self._names[route]
        again = self.chance.choice(used) if used and self.chance.random() < 0.3 else None
        if again is not None and not (share.inbox / again).exists():
            return again
        folder = self.chance.choice(["", "", "sub/"])
        used.append(folder + self.fresh())
        return used[-1]

    def fresh(self) -> str:
        """A path that nothing had before."""
        return f"{next(self._numbers)}.png"

    def drop(self, route: str, path: str | None = None, data: bytes | None = None, may_pay: int = 1) -> str:
        """Drop a file; returns its path. `may_pay`: tasks that may come of it, answers that were lost aside."""
        path = path or self.name(route)
        data = self.picture() if data is None else data
        self.shares[route].drop(path, data)
        self._dropped[digest(data)] += 1
        self._may_pay[digest(data)] += may_pay
        if self._dropped[digest(data)] > 1:
            self._the_same.add(digest(data))
        return path

    def take(self, path: Path) -> bytes:
        """A person takes a file out of a share; returns its bytes."""
        data = path.read_bytes()
        path.unlink()
        self._taken[digest(data)] += 1
        return data

    def write_on(self, path: Path) -> None:
        """A person writes more into a file that lies there: what it held so far is no file any more."""
        self._taken[digest(path)] += 1
        with path.open("ab") as file:
            file.write(b"more")
        self._dropped[digest(path)] += 1
        self._may_pay[digest(path)] += 1

    def allow(self, sha256: str | None, tasks: int = 1) -> None:
        """So many tasks more may come of what was dropped: a person wants it again, or the platform failed."""
        assert sha256 is not None
        self._may_pay[sha256] += tasks

    def put_in_the_way(self, path: Path) -> None:
        """Somebody puts a file of their own there, which must stay what it is."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"somebody's own {len(self._foreign)}")
        self._foreign[path] = digest(path)

    def out_of_the_way(self, path: Path) -> None:
        """Its owner finds it as it was, and takes it away."""
        assert digest(path) == self._foreign.pop(path)
        path.unlink()

    def open_route(self) -> str:
        """One more route like `careful`, from the next start on; returns its name."""
        name = f"new-{next(self._numbers)}"
        self.shares[name] = Share(self.daemon.home / "share" / name)
        self.shares[name].folder.mkdir()
        self._names[name] = []
        self.shares[name].inbox.mkdir()
        self.settle()
        return name

    def retry(self, job: Job) -> None:
        """A person wants an ended job to run again."""
        done = self.daemon.run("retry", job.id)
        assert done.returncode == 0, done.stderr
        if not job.paid or job.state is State.DELIVERED:
            for source in job.inputs:
                self.allow(source.sha256 or self.sha256(job))

    def let_begin(self, *, begins: bool) -> None:
        """The first stuck cluster begins what waits there from now on, or nothing any more."""
        self.platform.change(STUCK[0].name, foreign=0 if begins else _OTHERS)

    def harm(self, do: str, **how: Any) -> None:
        """This happens to every submission of an app job from now on, until the next death."""
        self.platform.faults({"call": "run", "do": do, **how})

    def ended(self, route: str, *states: State, failing: bool = False) -> Job:
        """An ended job of a route whose source lies in done/ or failed/; made, if there is none. `failing`: its task
        fails."""
        for _ in range(4):
            if (found := self._ended(route, states)) is not None:
                return found
            if failing:
                self.harm("fail_task")
            self.drop(route)
            self.rest()
        raise AssertionError(f"no job of {route} ends that way")

    def _ended(self, route: str, states: tuple[State, ...]) -> Job | None:
        jobs = [job for job in self.daemon.jobs(*states) if job.route == route and all(s.filed for s in job.sources)]
        return next((j for j in jobs if j.source.place in (Place.DONE, Place.FAILED) and self.where(j).is_file()), None)

    def holds(self, job: Job) -> bool:
        """Whether a job's route holds what has lost its answer."""
        return job.route == "careful" or job.route.startswith("new-")

    def where(self, job: Job) -> Path:
        """Where a job's source lies, as the ledger has it."""
        share, source = self.shares[job.route], job.source
        root = {Place.DONE: share.done, Place.FAILED: share.failed}.get(source.place, share.inbox)
        return root / (source.path if source.place is Place.INBOX else source.stored or source.path)

    def sha256(self, job: Job) -> str:
        """What a job's source holds."""
        return self._digest(self.where(job))

    # Death, and the looks at what it left.

    def die(
        self, point: Point, moment: Moment, nth: int = 1, meanwhile: Callable[[], object] = lambda: None
    ) -> None:  # fmt: skip
        """Start the daemon, see it die there, and look at what lies on the disk."""
        self.daemon.environ["RENDERDROP_FAILPOINT"] = f"{point}:{moment}:{nth}"
        self.daemon.launch()
        del self.daemon.environ["RENDERDROP_FAILPOINT"]
        meanwhile()
        try:
            assert self.daemon.ended(_REST) == -signal.SIGKILL
        except (AssertionError, pytest.fail.Exception):
            pytest.fail(f"it did not die at {point}:{moment}\n{self.daemon.tail()}")
        self.platform.faults()
        self.kills.append((point, moment))
        self._look()

    def die_until(self, point: Point, moment: Moment, holds: Callable[[], object]) -> None:
        """Die there, and again while it was another job's commit: what waits before it may die there twice each."""
        for _ in range(20):
            self.die(point, moment)
            if holds():
                return
        pytest.fail(f"no death at {point} was the one")

    def _look(self) -> None:
        """Right after a death: nothing partial under a final name, every source whole, delivered means delivered."""
        jobs = self.daemon.jobs()
        for job in jobs:
            if job.state is State.SUBMITTING and job.submissions[-1].complete:
                self._window.add(job.submissions[-1].id)
            if job.state is State.DELIVERED and job.route != "first":
                outbox = self.shares[job.route].outbox / job.folder
                assert (outbox / f"{job.base}.json").is_file(), job
                for output in job.outputs:
                    assert self._digest(outbox / str(output.file)) == output.sha256, job
        rendered = {out["sha256"] for task in self.platform.tasks() for out in task["outputs"]}
        for share in self.shares.values():
            for path in share.files(share.outbox).values():
                if path.suffix == ".json":
                    json.loads(path.read_bytes())
                else:
                    assert self._digest(path) in rendered or path in self._foreign, path
        assert self.missing(jobs) == []

    def missing(self, jobs: list[Job]) -> list[str]:
        """Contents that were dropped and are not there as often as they were, each whole; deleted with good reason are
        those that were delivered by a route that deletes."""
        there: Counter[str] = Counter()
        for share in self.shares.values():
            for root in (share.inbox, share.done, share.failed):
                there.update(self._digest(p) for p in share.files(root).values() if p.is_file() and not p.is_symlink())
        gone = self._dropped - self._taken
        gone.subtract({sha256: number for sha256, number in there.items() if sha256 in self._dropped})
        if self.after == "delete":
            for job in jobs:
                if job.route == "portrait" and job.state is State.DELIVERED and gone[str(job.source.sha256)] > 0:
                    gone[str(job.source.sha256)] -= 1
        return [sha256 for sha256, number in gone.items() if number]

    def _digest(self, path: Path) -> str:
        stat = path.stat()
        key = (path, stat.st_mtime_ns, stat.st_size)
        if key not in self._hashed:
            self._hashed[key] = digest(path)
        return self._hashed[key]

    # The end.

    def rest(self) -> None:
        """Run until nothing is left to do. What is held is decided by a person, who finds what the route promises."""
        for _ in range(4):
            self.daemon.launch("--once")
            code = self.daemon.ended(_REST)
            assert code in (0, 3), f"{code}\n{self.daemon.tail()}"
            self.platform.faults()
            if not (held := self.daemon.jobs(State.HELD)):
                return
            for job in held:
                if "said nothing new" in str(job.error):
                    assert self.daemon.run("cancel", job.id).returncode == 0
                    continue
                unknown = [s for s in job.submissions if s.outcome is Outcome.UNKNOWN]
                assert unknown, job
                assert len(unknown) > (not self.holds(job)), job
                if self.holds(job):
                    self.held += 1
                    fed = sum(self.sha256(job) in _fed(task) for task in self.platform.tasks())
                    self.held_and_paid += max(0, fed - self._may_pay[self.sha256(job)])
                assert self.daemon.run("release", job.id).returncode == 0
        raise AssertionError("it does not come to rest")

    def balance(self) -> tuple[int, int, int]:
        """What is lost, what was paid twice, and how much of that the open window explains. All else is asserted."""
        self.rest()
        for path in list(self._foreign):
            self.out_of_the_way(path)
        jobs = self.daemon.jobs()
        for job in jobs:
            assert job.state not in OPEN or job.waiting_for is not None, job
            assert job.state not in ENDS or all(source.filed for source in job.sources), job
        for name, share in self.shares.items():
            assert not share.staging(), name
            if name != "first":
                share.check_whole(self.platform)
        assert self.store is None or not self.store.objects()
        lost = len(self.missing(jobs)) + self._results_lost(jobs)
        twice, explained = self._paid_twice(jobs)
        with sqlite3.connect(engine.ledger_path(self.daemon.state_dir)) as conn:
            assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        conn.close()
        return lost, twice, explained

    def _results_lost(self, jobs: list[Job]) -> int:
        """Tasks that ended in success and whose results nobody has, although nobody gave them up either."""
        whole = {self._digest(p) for share in self.shares.values() for root in (share.outbox, share.done, share.failed)
                 for p in share.files(root).values() if p.is_file()}  # fmt: skip
        tasks = {str(task["task_id"]): task for task in self.platform.tasks()}
        lost = 0
        for job in jobs:
            if job.state is State.DELIVERED and job.task_id is not None:
                lost += any(out["sha256"] not in whole for out in tasks[job.task_id]["outputs"])
        return lost

    def _paid_twice(self, jobs: list[Job]) -> tuple[int, int]:
        """Tasks beyond what each content may cost, and how many of them are lost answers, each told in its sidecar."""
        unknown: Counter[str] = Counter()
        known: set[str] = set()
        for job in jobs:
            for submission in job.submissions:
                known.add(str(submission.task_id))
                if submission.outcome is Outcome.UNKNOWN:
                    assert submission.id in self._window, "an answer is said to be lost that was not"
                    unknown.update({str(s.sha256) for s in job.inputs})
                    if job.state is State.DELIVERED and job.route != "first":
                        sidecar = json.loads(
                            self.shares[job.route].outbox.joinpath(job.folder, f"{job.base}.json").read_bytes()
                        )
                        assert Outcome.UNKNOWN in [told["outcome"] for told in sidecar["submissions"]]
        paid: Counter[str] = Counter()
        for task in self.platform.tasks():
            fed = _fed(task)
            # Of several with the same contents the next one is rendered where the one before has come to nothing.
            paid.update(fed if task["status"] == "success" else fed - self._the_same)
            assert str(task["task_id"]) in known or any(unknown[sha256] for sha256 in fed), "a task nobody knows of"
        # A chain's next route renders what the one before has made, and two sources may come to the same bytes.
        chained = Counter(str(s.sha256) for job in jobs if job.derived_from is not None for s in job.inputs)
        more = {sha256: n - (self._may_pay.get(sha256, 0) + chained[sha256] or 1) for sha256, n in paid.items()}
        for sha256 in [sha256 for sha256, n in more.items() if n > unknown[sha256]]:
            print("paid twice:", *(job for job in jobs if sha256 in {s.sha256 for s in job.sources}), sep="\n")
        return sum(max(0, n) for n in more.values()), sum(min(max(0, n), unknown[sha256]) for sha256, n in more.items())

    def put_away(self) -> None:
        """Whatever became of it: it is over."""
        self.daemon.put_away()
        self.platform.stop()


def _fed(task: dict[str, Any]) -> set[str]:
    """What a task was fed with."""
    return {file["sha256"] for file in task["files"]}
