"""What is going on, as it goes on: the view of `run --once` and of the demo.

Owns one short look at the ledger and how it is drawn, in colours on a terminal or as a plain line. It only ever
reads, from a thread of its own, so that a slow terminal or a busy ledger never holds up the work it shows.
"""

import io
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO, cast

from renderdrop.cli.paper import STYLES
from renderdrop.cli.waits import Moment
from renderdrop.model.errors import Fault
from renderdrop.model.lifecycle import ENDS, IN_MOTION, State
from renderdrop.model.names import shown

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from renderdrop.model.job import Job
    from renderdrop.settings import Loaded

_EVERY: Final = 0.5
_TASKS_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Look:
    """Jobs by state (ended ones since the beginning of the view), those on the platform, and what makes work wait, one
    line each."""

    counts: Mapping[State, int] = field(default_factory=dict)
    tasks: "tuple[Job, ...]" = ()
    troubles: tuple[str, ...] = ()
    unfinished: int = 0


def mark(ledger: Path) -> int:
    """The beginning of a view, for `look`; 0 while there is no ledger yet."""
    from renderdrop.ledger import engine, queries

    try:
        with engine.view(ledger) as conn:
            return queries.mark(conn)
    except Fault:
        return 0


def look(ledger: Path, since: int, loaded: "Loaded | None" = None) -> Look:
    """One look; an empty one while there is no ledger yet. With `loaded`, what closes its routes is told too."""
    from renderdrop.ledger import engine, queries

    try:
        with engine.view(ledger) as conn:
            closed = {} if loaded is None else Moment(conn, loaded).closed(lasting=True)
            counts = queries.counts(conn) | dict.fromkeys(ENDS, 0)
            return Look(
                counts | queries.ended_since(conn, since),
                tuple(queries.listed(conn, states=[State.SUBMITTING, State.SUBMITTED], limit=_TASKS_SHOWN)),
                (
                    *(f"waits: {trouble.sentence}" for trouble in queries.present_troubles(conn)),
                    *(f"route {name}: {why}" for name, why in closed.items()),
                ),
                len(queries.unfinished(conn)),
            )
    except Fault:
        return Look()


def summary(found: Look) -> str:
    """ "5 delivered, 1 failed, 0 held", and what else there is."""
    told = [f"{found.counts.get(s, 0)} {s.value}" for s in (State.DELIVERED, State.FAILED, State.HELD)]
    if cancelled := found.counts.get(State.CANCELLED, 0):
        told.append(f"{cancelled} cancelled")
    if waiting := sum(found.counts.get(state, 0) for state in IN_MOTION):
        told.append(f"{waiting} left waiting")
    return ", ".join(told)


def plain(found: Look) -> str:
    """The counts on one line: "queued 3, submitted 2, delivered 1"."""
    return ", ".join(f"{state.value} {found.counts[state]}" for state in State if found.counts.get(state))


def drawn(found: Look) -> "RenderableType":
    """The same for a terminal, with a bar a task."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    head = Text("  ").join(
        Text.assemble((f"{state.value} ", STYLES.get(state.value, "")), (str(found.counts[state]), "bold"))
        for state in State
        if found.counts.get(state)
    )
    tasks = Table.grid(padding=(0, 2))
    for job in reversed(found.tasks):
        doing = "uploading" if job.state is State.SUBMITTING else job.status or "sent"
        tasks.add_row(
            Text(shown(job.source.path), no_wrap=True, overflow="ellipsis"),
            Text(job.cluster or "", style="dim"),
            ProgressBar(total=100, completed=job.progress or 0, width=24),
            Text(doing, style="dim"),
        )
    waits = [Text(shown(sentence), style="yellow") for sentence in found.troubles]
    return Group(head if head.plain else Text("watching the inboxes …", style="dim"), tasks, *waits)


@contextmanager
def shown_live(
    ledger: Path, since: int, console: "Console | None" = None, loaded: "Loaded | None" = None
) -> Iterator[TextIO]:
    """Show the view until the block ends. Gives a stream for JSON log lines: warnings in them appear above it."""
    from rich.console import Console
    from rich.live import Live

    console = console or Console()
    over = threading.Event()
    with Live(drawn(Look()), console=console, auto_refresh=False, transient=True) as view:

        def keep() -> None:
            while not over.is_set():
                view.update(drawn(look(ledger, since, loaded)), refresh=True)
                over.wait(_EVERY)

        thread = threading.Thread(target=keep, name="live view", daemon=True)
        thread.start()
        try:
            yield cast(TextIO, _Above(console))
        finally:
            over.set()
            thread.join()


class _Above(io.TextIOBase):
    """Takes the log's JSON lines; those that are warnings or worse are printed in plain words."""

    def __init__(self, console: "Console") -> None:
        self._console = console

    def write(self, text: str) -> int:
        from rich.text import Text

        for one in text.splitlines():
            try:
                event = json.loads(one)
            except ValueError:
                continue
            if event.get("level") in ("warning", "error", "critical"):
                name = str(event.get("event", "")).replace("_", " ")
                why = event.get("reason") or event.get("message") or event.get("error") or ""
                what = event.get("path") or event.get("key") or event.get("job") or ""
                words = ": ".join(str(part) for part in (name, what, why) if part)
                style = "yellow" if event["level"] == "warning" else "red"
                self._console.print(Text(words, style=style))
        return len(text)
