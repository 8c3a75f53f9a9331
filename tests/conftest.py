"""Ground for every room's tests: a clock that stands still, a route with real folders, a real ledger and its jobs."""

import asyncio
import itertools
import shutil
import signal
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import Connection
from tests.torture.table import pytest_terminal_summary

from renderdrop.ledger import engine, moves, queries
from renderdrop.ledger.adopt import adopt
from renderdrop.ledger.store import Ledger
from renderdrop.model.arrival import Arrival
from renderdrop.model.ids import job_id
from renderdrop.model.job import Job, Outcome, Output, Source
from renderdrop.model.lifecycle import State
from renderdrop.model.route import Input, Route
from renderdrop.model.wishes import Wishes
from renderdrop.runtime.clock import Clock
from renderdrop.share.marker import Folders, prepare

__all__ = ["pytest_terminal_summary"]

# A busy machine is no finding: no test fails because its examples took long.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

_LONG = ("tests/torture/", "tests/system/", "tests/cli/")
"""Rooms that start the program. Their files hold few tests, and those are long, most of it waiting."""


def pytest_configure(config: pytest.Config) -> None:
    """Files go to the workers in the order of collection; else xdist begins those with the fewest tests last, and the
    whole run waits for one of them in the end."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is long begins first. (A sort that is stable: what stands in one file stays together.)"""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONG))


# A shell that starts the tests in the background has them ignore Ctrl-C, and each program they start would inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class FakeClock(Clock):
    """Both clocks stand still until a test lets time pass; the dice always show `luck`."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.wall = datetime(2026, 11, 22, 14, 18, tzinfo=UTC)
        self.luck = 0.5

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.at

    def chance(self) -> float:
        return self.luck

    def run(self, seconds: float) -> None:
        self.at += seconds
        self.wall += timedelta(seconds=seconds)


class Books:
    """The ledger's jobs, brought where a test wants them by the very moves that bring them there in earnest."""

    def __init__(self, ledger: Ledger, clock: FakeClock, route: Route) -> None:
        self.ledger = ledger
        self.clock = clock
        self.route = route
        self._numbers = itertools.count(1)

    async def job(
        self,
        state: State = State.QUEUED,
        path: str = "a.png",
        *,
        size: int = 3,
        mtime_ns: int = 5,
        route: Route | None = None,
        task: str = "230",
        outputs: int = 1,
        **changes: Any,
    ) -> Job:
        """A new job in this state; `changes` are columns set at the end."""
        number, at, home = next(self._numbers), self.clock.text(), route or self.route
        new = job_id(int(self.clock.now().timestamp() * 1000), number)

        def bring(c: Connection) -> None:
            assert adopt(
                c, at, home, [Arrival(((new, Wishes()),), (Source("input_image", path, size, mtime_ns),), at)]
            )[0]
            _bring(c, new, state, at, task, outputs)
            if changes:
                assert moves.change(c, new, state, at, **changes)

        await self.ledger.write(bring)
        return await self.see(new)

    async def see(self, job: str | Job) -> Job:
        """The job as the ledger has it now."""
        wanted = job if isinstance(job, str) else job.id
        found = await self.ledger.read(lambda c: queries.job(c, wanted))
        assert found is not None
        return found

    async def all(self) -> list[Job]:
        return list(reversed(await self.ledger.read(queries.listed)))

    async def history(self, job: Job) -> list[tuple[State | None, State]]:
        steps = await self.ledger.read(lambda c: queries.steps(c, job.id))
        return [(step.frm, step.to) for step in steps]


def _bring(c: Connection, new: str, state: State, at: str, task: str, outputs: int) -> None:
    if state is State.QUEUED:
        return
    if state in (State.FAILED, State.HELD):
        assert moves.move(c, new, State.QUEUED, state, at, "why", error="why")
        return
    if state is State.CANCELLED:
        assert moves.cancel(c, new, State.QUEUED, at, "why")
        return
    number = moves.begin_submission(
        c, new, at, cluster="GPU-4090", note="", workflow_id="1234", version_id=None, params={}, priority=0
    )
    assert number is not None
    if state is State.SUBMITTING:
        return
    moves.complete_body(c, number)
    moves.end_submission(c, number, at, Outcome.ACCEPTED, task_id=task)
    assert moves.move(c, new, State.SUBMITTING, State.SUBMITTED, at, task_id=task, submitted_at=at)
    if state is State.SUBMITTED:
        return
    rows = [Output(i, str(9 + i), "Save Image", f"http://platform/out{i}.png") for i in range(outputs)]
    moves.set_results(c, new, rows, ())
    assert moves.move(c, new, State.SUBMITTED, State.RENDERED, at, paid=True, finished_at=at)
    if state is State.RENDERED:
        return
    assert moves.move(c, new, State.RENDERED, State.DELIVERED, at, delivered_at=at)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make_route(tmp_path: Path) -> Callable[..., Route]:
    """A route below tmp_path; its folders are not made."""

    def make(name: str = "portrait", **changes: Any) -> Route:
        home = tmp_path / name
        given: dict[str, Any] = {
            "name": name, "kind": "app", "inbox": home / "inbox", "outbox": home / "outbox", "done": home / "done",
            "failed": home / "failed", "workflow_id": "1234", "version_id": None,
            "clusters": ("GPU-4090", "GPU-A800"),
            "inputs": (Input("input_image", "image"),), "params_allowed": ("prompt",), "params": {"prompt": "oil"},
            "after": "move", "priority": 0, "attempts": 3, "silence": 1800.0,
            "on_unknown_submit": "resubmit", "output_name": "{stem}", "max_output": 10**9,
        }  # fmt: skip
        return Route(**{**given, **changes})

    return make


@pytest.fixture
def route(make_route: Callable[..., Route]) -> Route:
    """The route `portrait`, its folders made and marked."""
    made = make_route()
    made.inbox.parent.mkdir()
    prepare(Folders(made.inbox, made.outbox, made.done, made.failed), seen=False)
    return made


@pytest.fixture(scope="session")
def new_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrated once and copied from then on: making one costs as much as most tests."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    engine.prepare(path)
    return path


@pytest.fixture
def ledger_file(tmp_path: Path, new_ledger: Path) -> Path:
    """A new ledger, at the newest revision."""
    return Path(shutil.copy(new_ledger, tmp_path / "ledger.sqlite"))


@pytest.fixture
def ledger(ledger_file: Path) -> Iterator[Ledger]:
    opened = Ledger(ledger_file)
    yield opened
    opened.close()


@pytest.fixture
def books(ledger: Ledger, clock: FakeClock, route: Route) -> Books:
    return Books(ledger, clock, route)


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Waits until something holds, ten seconds at most."""

    async def wait(holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while True:
                if holds():
                    return
                await asyncio.sleep(0.005)

    return wait
