"""`renderdrop demo`: the whole way in half a minute, without a platform, a share or a penny.

Owns the folder of the play and what is told at its end. It leaves nothing behind unless asked to.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from renderdrop.model.names import shown

if TYPE_CHECKING:
    from rich.console import Console


def demo(
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Play in this new folder, and leave everything there.")
    ] = None,
) -> None:
    """Show the whole way in half a minute, with sample pictures.

    Starts a stand-in of the platform and a daemon, drops pictures in waves and shows what becomes of them.
    """
    import asyncio
    import shutil
    import tempfile

    from renderdrop.cli.play import play

    folder = keep.absolute() if keep is not None else Path(tempfile.mkdtemp(prefix="renderdrop-demo-"))
    arrived = False
    try:
        arrived = asyncio.run(play(folder))
        if arrived:
            _tell(folder, kept=keep is not None)
    except asyncio.CancelledError:  # SIGTERM; all is ended already
        pass
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    raise typer.Exit(0 if arrived else 1)


def _tell(folder: Path, *, kept: bool) -> None:
    from rich.console import Console

    from renderdrop.cli.play import ROUTE, WRONG
    from renderdrop.cli.samples import NAMES

    console = Console(highlight=False, soft_wrap=True)
    home = folder / ROUTE
    console.print()
    _tree(home, console)
    sidecar = home / "outbox" / "肖像.json"
    console.print(f"\n{sidecar.relative_to(home)}, written last, so its presence says that the job is complete:")
    console.print_json(sidecar.read_text("utf-8"), ensure_ascii=False)
    notice = home / "failed" / f"{WRONG}.error.txt"
    console.print(f"\n{notice.relative_to(home)}:")
    for one in notice.read_text("utf-8").splitlines():
        console.print(f"  {shown(one)}", markup=False)
    console.print(
        f"\n{len(NAMES)} pictures were dropped into inbox/ and came back rendered in outbox/, each with its sidecar; "
        f"their sources lie in done/. {WRONG} is no picture: failed/ says so beside it."
    )
    if kept:
        console.print(f"Everything is in {home}; the daemon's log is {folder / 'daemon.log'}.", markup=False)
    else:
        console.print("All of it was put away again. To look at the files: renderdrop demo --keep demo-1", markup=False)


def _tree(home: Path, console: "Console") -> None:
    from rich.text import Text
    from rich.tree import Tree

    def grow(branch: Tree, folder: Path) -> None:
        for path in sorted(folder.iterdir(), key=lambda p: (p.is_dir(), p.name)):
            if path.name.startswith("."):
                continue
            if path.is_dir():
                grow(branch.add(Text(shown(path.name) + "/", style="bold")), path)
            else:
                branch.add(Text(shown(path.name)))

    tree = Tree(Text(home.name + "/", style="bold"))
    for role in ("inbox", "outbox", "done", "failed"):
        grow(tree.add(Text(role + "/", style="bold")), home / role)
    console.print(tree)
