"""How answers are written: tables for people on a terminal, plain lines for pipes, JSON for programs.

Owns the three forms. Every text that strangers chose (names of files, the platform's words) passes `shown` on its
way to a line, so that it can neither forge one nor colour it. JSON is UTF-8 whatever the terminal speaks, and
names that are no UTF-8 come out of it unchanged (as the escapes of lone surrogates).
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from renderdrop.model.names import shown

STYLES: Final[Mapping[str, str]] = {
    "queued": "cyan", "submitting": "blue", "submitted": "blue", "rendered": "magenta", "delivered": "green",
    "failed": "red", "cancelled": "dim", "held": "yellow", "OK": "green", "warning": "yellow", "problem": "red",
}  # fmt: skip
"""Words that have a colour wherever they stand alone."""

NOTHING: Final = "-"


def on_terminal() -> bool:
    """Whether a person reads stdout."""
    return sys.stdout.isatty()


def as_json(value: Any) -> None:
    """A value and nothing else on stdout."""
    text = json.dumps(value, ensure_ascii=False, indent=2) + "\n"
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
    sys.stdout.flush()


def hint(text: str) -> None:
    """A word beside the answer: on stderr, so that pipes carry the answer alone."""
    print(shown(text), file=sys.stderr)


def rows(columns: Sequence[str], cells: Iterable[Sequence[str | None]], title: str = "") -> None:
    """A table; where nobody reads it, one row a line, separated by tabs, without a head."""
    lines = [[shown(cell) if cell else NOTHING for cell in row] for row in cells]
    if not on_terminal():
        for line in lines:
            print("\t".join(line))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    table.columns[0].no_wrap = True
    for line in lines:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in line))
    Console(highlight=False).print(table)


def fact(name: str, value: str | None, *, indent: int = 0) -> None:
    """One line of a longer answer: `name: value`; nothing where there is no value."""
    if not value:
        return
    room, value = " " * indent, shown(value)
    if not on_terminal():
        print(f"{room}{name}: {value}")
        return
    from rich.console import Console
    from rich.text import Text

    line = Text.assemble(room, (f"{name}:", "bold"), " ", (value, STYLES.get(value, "")))
    Console(highlight=False).print(line, soft_wrap=True)


def line(text: str, style: str = "") -> None:
    """One line; `style` (of Rich) where a person reads it."""
    if not on_terminal():
        print(shown(text))
        return
    from rich.console import Console
    from rich.text import Text

    Console(highlight=False).print(Text(shown(text), style=style), soft_wrap=True)
