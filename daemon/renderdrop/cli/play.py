"""The demo's play: a stand-in of the platform, a real daemon, and pictures dropped in waves.

Owns everything that has to be put away again: the sandbox lives in this process, the daemon is a child that is ended
by its pid, however the play ends. The folder belongs to whoever calls.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Final

from renderdrop.cli import live
from renderdrop.cli.init import First, make
from renderdrop.cli.paper import on_terminal
from renderdrop.cli.samples import NAMES, picture
from renderdrop.model.lifecycle import State
from renderdrop.model.names import shown
from renderdrop.runtime.clock import Clock
from renderdrop.sandbox import ClusterSpec, Sandbox, SandboxOptions

ROUTE: Final = "portrait"
WRONG: Final = "notes.txt"
"""A file that the route does not take."""

_TOKEN: Final = "AI-sandbox"  # noqa: S105  the stand-in's, and no secret
_WITHIN: Final = 50.0
"""Seconds after which the play gives up waiting."""
_LOG_LINES: Final = 25
_QUICK: Final = """
# The demo is in a hurry.
[intake]
settle = "1s"
ticket_wait = 0

[dispatch]
status_every = "1s"
"""


async def play(folder: Path) -> bool:
    """Play up to the last delivery; whether all arrived. Raises Fault where the folder cannot be used."""
    # SIGTERM puts everything away as Ctrl-C does.
    me = asyncio.current_task()
    assert me is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)
    clusters = (
        ClusterSpec("GPU-4090", "GPU-4090-24GB-单卡(推荐)", 4, 10),
        ClusterSpec("GPU-A800", "GPU-A800-80GB-单卡(推荐)", 2, 8),
    )
    ledger = folder / "state" / "ledger.sqlite"
    began = live.mark(ledger)
    async with Sandbox(SandboxOptions(token=_TOKEN, clusters=clusters, boot_seconds=0.5)) as sandbox:
        first = First(ROUTE, "1234", [c.name for c in clusters], base_url=sandbox.base_url)
        config = make(folder, first, _QUICK)
        print(f"A stand-in of the platform at {sandbox.base_url}, a route in {folder / ROUTE}.")
        async with _daemon(config) as process:
            with live.shown_live(ledger, began) if on_terminal() else nullcontext():
                async with asyncio.TaskGroup() as group:
                    group.create_task(_drop(folder / ROUTE / "inbox"))
                    missing = group.create_task(_arrival(ledger, began, process))
    if why := missing.result():
        _tell_log(folder, why)
    return not why


@asynccontextmanager
async def _daemon(config: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """`renderdrop run` as a child in a process group of its own: Ctrl-C reaches us first, and we end it."""
    with open(config.parent / "daemon.log", "wb") as log:  # noqa: ASYNC230  nothing else runs yet
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "renderdrop", "run", "-c", str(config),
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, process_group=0,
            env=_environment(os.environ, config.parent / "state"),
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 12)
        except TimeoutError:
            process.kill()
            await process.wait()


def _environment(environ: Mapping[str, str], state: Path) -> dict[str, str]:
    """Ours without what would change the demo's settings or speak to a service manager."""
    foreign = ("RENDERDROP_", "NOTIFY_SOCKET", "WATCHDOG_", "CREDENTIALS_DIRECTORY", "STATE_DIRECTORY")
    return {key: value for key, value in environ.items() if not key.startswith(foreign)} | {
        "RENDERDROP_TOKEN": _TOKEN,
        "RENDERDROP_DAEMON__STATE_DIR": str(state),
    }


async def _drop(inbox: Path) -> None:
    """The waves: some by rename, as good programs do, one copied slowly, and one file of a wrong kind."""
    *quick, slow = NAMES
    await asyncio.sleep(1.5)
    async with asyncio.TaskGroup() as group:
        group.create_task(_copy_slowly(inbox / slow, await asyncio.to_thread(picture, slow, len(quick))))
        for number, name in enumerate(quick):
            if number in (4, 8):
                await asyncio.sleep(2)
            data = await asyncio.to_thread(picture, name, number)
            await asyncio.to_thread(_put, inbox / name, data)
        await asyncio.to_thread(_put, inbox / WRONG, b"This folder takes pictures.\n")


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.rename(path)


async def _copy_slowly(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    step = len(data) // 8 + 1
    with open(path, "wb", buffering=0) as file:  # noqa: ASYNC230  a few bytes at a time
        for start in range(0, len(data), step):
            file.write(data[start : start + step])
            await asyncio.sleep(0.5)


async def _arrival(ledger: Path, began: int, process: asyncio.subprocess.Process) -> str:
    """Wait until every sample is delivered and the wrong file told; returns why that did not happen, "" if it did."""
    clock = Clock()
    started, told = clock.monotonic(), ""
    while clock.monotonic() - started < _WITHIN and process.returncode is None:
        found = await asyncio.to_thread(live.look, ledger, began)
        if not on_terminal() and (now := live.plain(found)) and now != told:
            told = now
            print(f"{clock.monotonic() - started:5.1f} s  {now}", flush=True)
        ended = found.counts.get(State.DELIVERED, 0), found.counts.get(State.FAILED, 0)
        if ended == (len(NAMES), 1) and not found.unfinished:
            return ""
        await asyncio.sleep(0.25)
    if process.returncode is not None:
        return f"The daemon ended by itself (exit code {process.returncode})."
    return f"Not everything arrived within {_WITHIN:.0f} s."


def _tell_log(folder: Path, why: str) -> None:
    log = (folder / "daemon.log").read_text("utf-8", "replace").splitlines()
    print(f"{why} The end of the daemon's log:", file=sys.stderr)
    for one in log[-_LOG_LINES:]:
        print(f"  {shown(one)}", file=sys.stderr)
