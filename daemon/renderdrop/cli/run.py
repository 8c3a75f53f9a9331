"""`renderdrop run`: the daemon itself, in the foreground.

Owns the order before the loops: settings, state directory, lock, ledger, logs. What follows is `app.serve`.
"""

import os
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from renderdrop.cli.opening import EX_CONFIG, Config, ledger_of, network_file_system, opened, read
from renderdrop.model.errors import BrokenSettings, LedgerBroken

if TYPE_CHECKING:
    from renderdrop.settings import Loaded

_DYING: Final = 3.0
"""Seconds that a daemon which was killed a moment ago may take to die."""


def run(
    config: Config = None,
    once: Annotated[
        bool, typer.Option("--once", help="Until every inbox is dealt with; then 0, or 3 if something failed.")
    ] = False,
) -> None:
    """Watch the inboxes and render what lands there."""
    loaded = opened(config, platform=True)
    from renderdrop.runtime.alone import let_go

    lock = _take_possession(loaded)
    try:
        code = _once(loaded) if once else _serve(loaded, once=False)
    finally:
        let_go(lock)
    raise typer.Exit(code)


def _take_possession(loaded: "Loaded") -> int:
    from renderdrop.ledger import engine
    from renderdrop.runtime import guardian
    from renderdrop.runtime.alone import hold_alone

    try:
        loaded.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = hold_alone(loaded.state_dir, _DYING, guardian.known_as())
    except OSError as error:
        raise LedgerBroken(
            f"the folder {loaded.state_dir} cannot be used ({error.strerror}); let the user that runs renderdrop "
            "write there, or name another with daemon.state_dir"
        ) from None
    engine.prepare(ledger_of(loaded), network_file_system)
    return lock


def _serve(loaded: "Loaded", *, once: bool) -> int:
    from renderdrop.runtime import logs

    logs.configure(loaded.settings.daemon.log_format, sys.stderr, loaded.token.get_secret_value())
    return _loop(loaded, once=once)


def _loop(loaded: "Loaded", *, once: bool) -> int:
    import asyncio

    import structlog

    from renderdrop.app import serve
    from renderdrop.runtime import logs

    logs.heed_threads()
    log = structlog.get_logger()
    for problem in loaded.warnings:
        log.warning("settings_warning", key=problem.key, reason=problem.message)
    try:
        return asyncio.run(serve(loaded, lambda: read(loaded.path, platform=True), once=once))
    except BrokenSettings as broken:
        log.critical("service_failed", reason=broken.sentence)
        return EX_CONFIG
    except LedgerBroken as broken:
        log.critical("service_failed", reason=broken.sentence)
        return 1


def _once(loaded: "Loaded") -> int:
    """With live progress where a person watches, else with logs; one line of summary at the end."""
    from renderdrop.cli import live
    from renderdrop.runtime import logs

    ledger = ledger_of(loaded)
    began = live.mark(ledger)
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and loaded.settings.daemon.log_format == "auto":
        with live.shown_live(ledger, began, loaded=loaded) as above:
            logs.configure("json", above, loaded.token.get_secret_value())
            code = _loop(loaded, once=True)
    else:
        code = _serve(loaded, once=True)
    print(live.summary(live.look(ledger, began)))
    return code
