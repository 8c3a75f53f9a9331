"""The real program as a child process: its settings, its process, its log.

Nothing here reaches into it: it is started, signalled, and looked at through its command line, its log and its
ledger, which is only read.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from tests.rig import forks
from tests.rig.platform import DEADLINE
from tests.rig.share import Share

from renderdrop.ledger import engine, queries
from renderdrop.model.errors import LedgerBroken
from renderdrop.model.job import Job, Outcome
from renderdrop.model.lifecycle import State

T = TypeVar("T")

_TAIL: Final = 60


class Daemon:
    """The program: its settings, its process, its log."""

    def __init__(self, home: Path, share: Share, base_url: str) -> None:
        self.home = home
        self.share = share
        self.state_dir = home / "state"
        self.settings_file = home / "renderdrop.toml"
        self.log_file = home / "daemon.log"
        self.process: forks.Process | None = None
        self.environ: dict[str, str] = {}
        """What its environment has beside the test's own."""
        self._tables: dict[str, dict[str, Any]] = {
            "platform": {"base_url": base_url, "requests_per_second": 60},
            "daemon": {"state_dir": str(self.state_dir)},
            # No wait for tickets: where they are what is tested, they get their time.
            "intake": {"settle": "300ms", "sweep": "1s", "ticket_wait": 0},
            "dispatch": {"status_every": "1s"},
            "routes.portrait": {
                "folder": str(share.folder),
                "workflow_id": "1234",
                "clusters": ["GPU-4090", "GPU-A800"],
                "inputs": {"input_image": "image"},
                "params": {"prompt": "oil painting"},
            },
        }
        self.log_file.touch()
        self.configure()

    def configure(self, table: str = "daemon", **keys: Any) -> None:
        """Set keys of a table and write the settings file."""
        self._tables[table] = {**self._tables.get(table, {}), **keys}
        lines = []
        for name, values in self._tables.items():
            lines += [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in values.items()), ""]
        self.settings_file.write_text("\n".join(lines))

    def route(self, **keys: Any) -> None:
        """Set keys of the one route; None takes a key out."""
        table = {**self._tables["routes.portrait"], **keys}
        self.routes(portrait={key: value for key, value in table.items() if value is not None})

    def routes(self, **tables: Mapping[str, Any]) -> None:
        """These routes and no others."""
        kept = {name: table for name, table in self._tables.items() if not name.startswith("routes.")}
        self._tables = {**kept, **{f"routes.{name}": dict(table) for name, table in tables.items()}}
        self.configure()

    def start(self, *options: str) -> None:
        """Start it, and go on once its inboxes are there and watched."""
        wanted = len(self.events("inbox_open")) + sum(name.startswith("routes.") for name in self._tables)
        self.launch(*options)
        self.wait(lambda: len(self.events("inbox_open")) >= wanted, "the daemon is ready")

    def launch(self, *options: str) -> None:
        """Start it without waiting."""
        with self.log_file.open("ab") as log:
            self.process = forks.start(self._argv("run", *options), stdout=log, stderr=log, env=self._environ())

    def once(self) -> int:
        """`run --once` to its end; returns the exit code."""
        self.launch("--once")
        return self.ended()

    def ended(self, within: float = DEADLINE) -> int:
        """Wait for its end; returns the exit code."""
        assert self.process is not None
        process, self.process = self.process, None
        try:
            return process.wait(within)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"the daemon did not end within {within:g} s")

    def stop(self) -> None:
        """End it as a service manager does."""
        self.signal(signal.SIGTERM)
        assert self.ended(15.0) == 0

    def kill(self) -> None:
        """End it as a power cut does: the daemon proper dies with its guardian."""
        family = self.family()
        self.signal(signal.SIGKILL)
        self.ended()
        deadline = time.monotonic() + DEADLINE
        while any(Path(f"/proc/{pid}").exists() for pid in family):
            assert time.monotonic() < deadline, "the daemon outlived its guardian"
            time.sleep(0.005)

    def reload(self) -> None:
        """Have it read its settings again, and wait until they hold."""
        before = len(self.events("settings_reloaded"))
        self.signal(signal.SIGHUP)
        self.wait(lambda: len(self.events("settings_reloaded")) > before, "the settings are reloaded")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """A command beside it, to its end."""
        return forks.run(self._argv(*command), env=self._environ(), timeout=DEADLINE)

    def wait(self, holds: Callable[[], T], what: str, within: float = DEADLINE) -> T:
        """Wait until something holds; returns it. Fails after `within` seconds, or at once if the daemon died."""
        deadline = time.monotonic() + within
        while True:
            began = time.monotonic()
            if found := holds():
                return found
            took = time.monotonic() - began
            if self.process is not None and self.process.poll() is not None:
                pytest.fail(f"the daemon ended with {self.process.returncode} while waiting until {what}")
            if time.monotonic() > deadline:
                pytest.fail(f"not within {within:g} s: {what}")
            # A look costs something, and the program under test needs the machine more; but what lasts for a second
            # must not be missed.
            time.sleep(min(0.5, max(0.05, took)))

    def wait_at_rest(self, done: int, failed: int = 0, within: float = DEADLINE) -> None:
        """Wait until so many sources are in done/ and failed/ and nothing is left to do."""
        self.wait(lambda: self.share.at_rest(done, failed), f"{done} sources are done and {failed} failed", within)

    def wait_with_a_person(self, done: int, within: float = DEADLINE) -> None:
        """The same, with a person at hand who releases what has lost two answers: no daemon may decide that."""

        def settled() -> bool:
            for job in self.jobs(State.HELD):
                assert [s.outcome for s in job.submissions].count(Outcome.UNKNOWN) > 1
                self.run("release", job.id)
            return self.share.at_rest(done)

        self.wait(settled, f"{done} sources are done", within)

    def wait_for(self, state: State, number: int = 1, within: float = DEADLINE) -> list[Job]:
        """Wait until so many jobs are in a state; returns them."""
        what = f"{number} jobs are {state.value}"
        return self.wait(lambda: jobs if len(jobs := self.jobs(state)) >= number else [], what, within)

    def jobs(self, *states: State) -> list[Job]:
        """The ledger's jobs, the newest first."""
        try:
            with engine.view(engine.ledger_path(self.state_dir)) as conn:
                return queries.listed(conn, states=states)
        except LedgerBroken:
            return []  # not made yet

    def rows(self) -> list[dict[str, Any]]:
        """What `jobs --json` says, the newest first."""
        found: list[dict[str, Any]] = json.loads(self.run("jobs", "--json").stdout)
        return found

    def events(self, name: str) -> list[dict[str, Any]]:
        """Every log line of this event, of all its runs."""
        wanted = f'"event": "{name}"'.encode()
        with self.log_file.open("rb") as log:
            return [json.loads(line) for line in log if wanted in line and line.endswith(b"}\n")]

    def memory(self) -> int:
        """The most memory that it, or the guardian before it, has had, in bytes."""
        return max(
            int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) * 1024 for pid in self.family()
        )

    def family(self) -> list[int]:
        """The process that was started (the guardian), and its child, the daemon proper."""
        assert self.process is not None
        pid = self.process.pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(self.log_file.read_text("utf-8", "replace").splitlines()[-_TAIL:])

    def put_away(self) -> None:
        """Whatever it does: it is over."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _argv(self, command: str, *options: str) -> list[str]:
        return [*forks.PROGRAM, command, "-c", str(self.settings_file), *options]

    def _environ(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("RENDERDROP_")}
        own = {"RENDERDROP_TOKEN": "AI-sandbox", "PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1"}
        return {**kept, **own, **self.environ}


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)
