"""The platform's stand-in, beside a test: the sandbox in a thread with a loop of its own."""

import asyncio
import hashlib
import os
import threading
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from renderdrop.sandbox import Sandbox, SandboxOptions

T = TypeVar("T")

DEADLINE: Final = 180.0 if os.environ.get("RENDERDROP_TORTURE") else 60.0
"""Seconds until what does not come true fails its test: generous, machines are noisy, and most so in the torture."""


def digest(data: bytes | Path) -> str:
    """SHA-256 of bytes, or of a file."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with data.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Platform:
    """The sandbox, running beside the test; quick unless its options say otherwise."""

    def __init__(self, folder: Path, **options: Any) -> None:
        quick = {"render_seconds": (0.1, 0.4), "boot_seconds": 0.05, "scale_every": 0.1}
        self._sandbox = Sandbox(SandboxOptions(folder=folder, **{**quick, **options}))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="platform", daemon=True)
        self._thread.start()
        self._run(self._sandbox.start())

    def stop(self) -> None:
        """End it, and its thread."""
        self._run(self._sandbox.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return self._sandbox.base_url

    def faults(self, *rules: Mapping[str, Any]) -> None:
        """These faults from now on, and no others."""

        self._ask(lambda: setattr(self._sandbox, "faults", rules))

    def change(self, cluster: str, **figures: Any) -> None:
        """Change a cluster's curr_nodes, max_nodes, speed, fixed, active or foreign."""
        self._ask(lambda: self._sandbox.change_cluster(cluster, **figures))

    def hurry(self) -> None:
        """What is sent from now on is rendered in no time; what was sent before takes as long as it would have."""
        for cluster in self._sandbox.options.clusters:
            self.change(cluster.name, speed=50.0)

    def forget(self, *, late_missing: bool) -> list[str]:
        """Forget every upload; returns their names. `late_missing`: graphs that name them are taken, and then fail."""
        return self._ask(lambda: self._sandbox.forget(late_missing=late_missing))

    def ledger(self) -> dict[str, Any]:
        """What it was asked, and what it made of it."""
        return self._ask(self._sandbox.ledger)

    def tasks(self, data: bytes | None = None) -> list[dict[str, Any]]:
        """Every task it accepted, or those that were fed with these bytes."""
        tasks: list[dict[str, Any]] = self.ledger()["tasks"]
        if data is None:
            return tasks
        return [task for task in tasks if task["files"] and task["files"][0]["sha256"] == digest(data)]

    def fed(self) -> list[dict[str, str]]:
        """What each task was fed with, by parameter: the digests of its files. In the order of acceptance."""
        return [{file["name"]: file["sha256"] for file in task["files"]} for task in self.tasks()]

    def task(self, data: bytes) -> dict[str, Any]:
        """The one task that was fed with these bytes."""
        [task] = self.tasks(data)
        return task

    def _ask(self, question: Callable[[], T]) -> T:
        async def ask() -> T:
            return question()

        return self._run(ask())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE)
