"""How answers are written: tables for people on a terminal, plain lines for pipes, JSON for programs.

Owns the three forms. Every text that strangers chose (names of files, the platform's words) passes `shown` on its
way to a line, so that it can neither forge one nor colour it. JSON is UTF-8 whatever the terminal speaks, and
names that are no UTF-8 come out of it unchanged (as the escapes of lone surrogates).
"""

import json
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from renderdrop.model.names import harmless, shown

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
    text = harmless(json.dumps(value, ensure_ascii=False, indent=2)) + "\n"
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
    sys.stdout.flush()


def hint(text: str) -> None:
    """A word beside the answer: on stderr, so that pipes carry the answer alone."""
    print(shown(text), file=sys.stderr)


def rows(columns: Sequence[str], cells: Iterable[Sequence[str | None]], wrapped: Collection[int]) -> None:
    """A table; where nobody reads it, one row a line, separated by tabs, without a head.

    `wrapped` are the columns that give way where room is short: by further lines, the last one by being cut.
    """
    lines = [[shown(cell) if cell else NOTHING for cell in row] for row in cells]
    if not on_terminal():
        for line in lines:
            print("\t".join(line))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # A person is spared columns that say nothing.
    used = [i for i in range(len(columns)) if any(line[i] != NOTHING for line in lines)]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for i in used:
        table.add_column(columns[i], overflow="fold", no_wrap=i not in wrapped)
    for line in lines:
        cells_used = [Text(line[i], style=STYLES.get(line[i], "")) for i in used]
        if used and used[-1] in wrapped:
            cells_used[-1].no_wrap, cells_used[-1].overflow = True, "ellipsis"
        table.add_row(*cells_used)
    if lines:
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


def shortened(text: str, most: int = 200) -> str:
    """A text of at most so many characters; what was cut leaves an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def spelled(value: Any) -> str:
    """A parameter's value for people: a text as it is, everything else as JSON, what is long cut."""
    return shortened(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def parameter(name: str, value: Any, origin: str) -> None:
    """One parameter and where it came from: `param: seed = 7 (ticket)`."""
    fact("param", f"{name} = {spelled(value)} ({origin})")


def line(text: str, style: str = "") -> None:
    """One line; `style` (of Rich) where a person reads it."""
    if not on_terminal():
        print(shown(text))
        return
    from rich.console import Console
    from rich.text import Text

    Console(highlight=False).print(Text(shown(text), style=style), soft_wrap=True)
