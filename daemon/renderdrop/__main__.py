"""argv → one call, and what becomes of it: the exit code.

Owns the program's outermost edge: foreseen trouble leaves as one sentence and a code, never as a traceback,
and whatever encoding the terminal has, no name breaks the output. It imports next to nothing: every
`renderdrop --help` pays for it.
"""

import io
import sys

from renderdrop.model.errors import Fault


def main() -> None:
    """Run the command of `sys.argv`; always ends by SystemExit (DESIGN 6: 0, 1, 2, 3, 78)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    from renderdrop.cli.program import program

    try:
        program(prog_name="renderdrop")
    except Fault as fault:
        sys.stderr.write(f"renderdrop: {fault.sentence}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
