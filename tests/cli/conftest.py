"""The real program as a subprocess, a settings folder of its own, and ledgers made without a daemon."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from tests.rig import forks

from renderdrop.ledger import engine, moves
from renderdrop.ledger.adopt import adopt
from renderdrop.model.arrival import Arrival
from renderdrop.model.job import Role, Source
from renderdrop.model.lifecycle import State
from renderdrop.model.wishes import Wishes
from renderdrop.sandbox import Sandbox, SandboxOptions
from renderdrop.settings import Loaded, load

TOKEN = "AI-sandbox"


@dataclass(frozen=True)
class Ended:
    """How a call of the program ended."""

    code: int
    out: str
    err: str


Call = Callable[..., Awaitable[Ended]]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment of the program: nothing of the tester's own settings, a home of its own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RENDERDROP_", "XDG_"))}
    home = tmp_path / "home"
    home.mkdir()
    return {**kept, "HOME": str(home), "RENDERDROP_TOKEN": TOKEN}


@pytest.fixture
def call(environ: dict[str, str], tmp_path: Path) -> Call:
    """Runs `python -m renderdrop …` to its end; keyword arguments are variables (None takes one away)."""

    async def run(*argv: str | Path, cwd: Path = tmp_path, **variables: str | None) -> Ended:
        env = {key: value for key, value in {**environ, **variables}.items() if value is not None}
        ended = await asyncio.to_thread(
            forks.run, [*forks.PROGRAM, *map(str, argv)], env=env, cwd=cwd, timeout=60
        )  # fmt: skip
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    return run


Eventually = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


@pytest.fixture
def eventually() -> Eventually:
    """Waits until an asynchronous look gives something true, and gives that; forty seconds at most."""

    async def wait(look: Callable[[], Awaitable[Any]]) -> Any:
        async with asyncio.timeout(40):
            while True:
                if found := await look():
                    return found
                await asyncio.sleep(0.05)

    return wait


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A quick stand-in of the platform."""
    async with Sandbox(SandboxOptions(token=TOKEN, render_seconds=(0.05, 0.1), boot_seconds=0.05)) as running:
        yield running


class Desk:
    """A settings folder with one route, and a ledger that tests fill by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "renderdrop.toml"
        self.home = folder / "first"
        self._at = 0

    def write(
        self, base_url: str = "http://127.0.0.1:9", route: str = "", top: str = "", whole: str | None = None
    ) -> None:
        """The settings file; `route` and `top` are further lines of the route and before it, `whole` is all of it
        but for its folder."""
        for name in ("inbox", "outbox", "done", "failed"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        usual = (
            'workflow_id = "1234"\nclusters = ["GPU-4090", "GPU-A800"]\n'
            f'inputs = {{ input_image = "image" }}\n{route}\n'
        )
        self.config.write_text(
            f'[platform]\nbase_url = "{base_url}"\n[daemon]\nstate_dir = "state"\n[intake]\nsettle = "100ms"\n{top}\n'
            f'[routes.first]\nfolder = "first"\n{usual if whole is None else whole}\n'
        )

    @property
    def loaded(self) -> Loaded:
        return load(self.config, {"RENDERDROP_TOKEN": TOKEN})

    @contextmanager
    def ledger(self) -> Iterator[Connection]:
        """One transaction; makes the ledger at the first."""
        path = engine.ledger_path(self.folder / "state")
        path.parent.mkdir(exist_ok=True)
        engine.prepare(path)
        with engine.transaction(path) as conn:
            yield conn

    def at(self) -> str:
        """The next moment."""
        self._at += 1
        return f"2026-01-01T00:00:00.{self._at:03}Z"

    def drop(self, path: str, data: bytes = b"x", place: str = "inbox") -> Path:
        """A file in one of the route's folders."""
        file = self.home / place / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return file

    def source(self, path: str, name: str = "input_image", role: Role = Role.FILE, **changes: Any) -> Source:
        """The source of a file that lies in the inbox."""
        now = (self.home / "inbox" / path).stat()
        return Source(name, path, now.st_size, now.st_mtime_ns, role=role, **changes)

    def adopt(self, *jobs: tuple[str, Wishes], sources: tuple[Source, ...], **changes: Any) -> None:
        """Jobs made of the same files."""
        with self.ledger() as conn:
            [adopted] = adopt(conn, self.at(), self.loaded.routes[0], [Arrival(jobs, sources, self.at(), **changes)])
            assert adopted is not None

    def job(self, job_id: str, path: str, *states: State, drop: bool = True, **changes: Any) -> None:
        """A job that went through these states; `changes` come with the last. `drop`: its file lies in the inbox."""
        if drop:
            self.drop(path)
        source = self.source(path) if drop else Source("input_image", path, 1, 1)
        self.adopt((job_id, Wishes()), sources=(source,))
        with self.ledger() as conn:
            frm = State.QUEUED
            for to in states:
                more = changes if to is states[-1] else {}
                assert moves.move(conn, job_id, frm, to, self.at(), f"to {to}", **more)
                frm = to


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A settings folder, its file written."""
    made = Desk(tmp_path / "desk")
    made.folder.mkdir()
    made.write()
    return made
