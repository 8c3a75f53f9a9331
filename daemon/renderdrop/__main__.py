"""argv → one call, and what becomes of it: the exit code.

Owns the program's outermost edge: foreseen trouble leaves as one sentence and a code, never as a traceback,
and whatever encoding the terminal has, no name breaks the output. It imports next to nothing: every
`renderdrop --help` pays for it.
"""

import io
import sys
import threading
from collections.abc import Sequence
from typing import Final

from renderdrop.model.errors import Fault
from renderdrop.runtime import guardian

_LOOKING: Final = frozenset(
    {"run", "check", "jobs", "show", "retry", "release", "cancel", "rerun", "clusters", "explain"}
)  # fmt: skip


def main() -> None:
    """Run the command of `sys.argv`; always ends by SystemExit (DESIGN 6: 0, 1, 2, 3, 78)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if _may_hang(sys.argv):
        guardian.guard()
    from renderdrop.cli.program import program

    try:
        program(prog_name="renderdrop")
    except Fault as fault:
        sys.stderr.write(f"renderdrop: {fault.sentence}\n")
        code = 1
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        code = end.code
    if guardian.is_guarded() and threading.active_count() > 1:
        guardian.leave(code)  # a thread may hang in the kernel, and nobody should wait for it
    sys.exit(code)


def _may_hang(argv: Sequence[str]) -> bool:
    """Whether the command reads settings, and so looks at shares: one that hangs must not keep it from ending."""
    return next((word for word in argv[1:] if not word.startswith("-")), "") in _LOOKING


if __name__ == "__main__":
    main()
