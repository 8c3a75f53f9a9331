"""`renderdrop rerun`: a job once more, from what its sidecar says, with other parameters where that is wished.

Owns the one transaction that makes the new job, and what is told of it. It touches no file: where a source lies in
done/, the daemon brings it back as it does for `retry`, and whoever else needs the same file keeps it.
"""

import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from renderdrop.cli.opening import Config, ledger_of, no_ledger, opened
from renderdrop.cli.paper import as_json, fact, hint, line, parameter, spelled
from renderdrop.model.errors import Fault
from renderdrop.model.names import shown

if TYPE_CHECKING:
    from renderdrop.cli.earlier import Earlier
    from renderdrop.cli.found import Found
    from renderdrop.model.job import Job
    from renderdrop.model.route import Route, Value
    from renderdrop.model.wishes import Wishes
    from renderdrop.settings import Loaded

_TAKEN_UP: Final = "A running daemon takes this up within seconds; if none runs, start `renderdrop run`."


def rerun(
    sidecar: Annotated[Path, typer.Argument(metavar="SIDECAR", help="NAME.json, or NAME.EXT.error.json in failed/.")],
    config: Config = None,
    set: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a parameter; may be repeated.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Repeat a job from its sidecar.

    Its sources are found by their content, wherever they lie now. It is rendered anew, which is paid for again.
    """
    loaded = opened(config)
    from renderdrop.cli.earlier import BadChange, changes, split_change
    from renderdrop.cli.repeat import differences, unchangeable, wishes_of

    try:
        for text in set or ():
            split_change(text)  # a slip of the pen is told before the sidecar is looked at
        earlier = _read(sidecar)
        route = _route(loaded, earlier)
        changed = changes(earlier.params, set or (), unchangeable(route, earlier))
    except BadChange as fault:
        raise typer.BadParameter(fault.sentence, param_hint="--set") from None
    wishes = wishes_of(route, earlier, changed)
    notes = differences(route, earlier, wishes)
    job, found = _make(loaded, route, earlier, wishes)
    if json:
        as_json(_whole(job, earlier, found, changed, notes))
    else:
        _tell(job, earlier, found, changed, notes)


def _read(path: Path) -> "Earlier":
    from renderdrop.cli.earlier import SIZE_CAP, read_earlier

    name = shown(str(path))
    try:
        # Not blocking: a named pipe would be waited for until somebody writes into it.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Fault(f"{name} is no ordinary file, so it is no sidecar of renderdrop")
            return read_earlier(name, file.read(SIZE_CAP + 1))
    except (OSError, ValueError) as error:
        raise Fault(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _route(loaded: "Loaded", earlier: "Earlier") -> "Route":
    name = shown(earlier.route)
    route = next((route for route in loaded.routes if route.name == earlier.route), None)
    if route is None:
        why = "is disabled in the settings" if earlier.route in loaded.settings.routes else "is not in the settings"
        raise Fault(f"the route {name} of this job {why}, so it cannot run again")
    if route.kind != earlier.kind:
        kinds = f"is of kind {route.kind} now, and this job was of kind {earlier.kind}"
        raise Fault(f"the route {name} {kinds}, so it cannot run again")
    return route


def _make(loaded: "Loaded", route: "Route", earlier: "Earlier", wishes: "Wishes") -> "tuple[Job, list[Found]]":
    from renderdrop.cli.found import Search
    from renderdrop.cli.repeat import beside_others, job_of
    from renderdrop.ledger import engine, queries
    from renderdrop.ledger.adopt import insert_rerun
    from renderdrop.model import ids
    from renderdrop.runtime.clock import Clock
    from renderdrop.share.ignore import Ignore
    from renderdrop.share.marker import Folders, online

    path, clock = ledger_of(loaded), Clock()
    try:
        with engine.view(path) as conn:
            known = queries.job(conn, earlier.job_id)
            seen = queries.seen_folders(conn)
    except engine.NoLedger:
        raise Fault(no_ledger(path)) from None
    if route.inbox in seen:
        online(Folders(route.inbox, route.outbox, route.done, route.failed))
    # Found before the transaction: reading may take long, and nobody else could write meanwhile.
    search = Search(
        route, known if known and known.route == route.name else None, Ignore(loaded.settings.intake.ignore)
    )
    found = search.all(earlier.sources)
    new = ids.job_id(int(clock.now().timestamp() * 1000), secrets.randbits(ids.RANDOM_BITS))
    with engine.transaction(path) as conn:
        at = clock.text()
        job = beside_others(conn, route, job_of(route, earlier, wishes, found, new, at), found, search)
        insert_rerun(conn, at, job)
    return job, found


def _whole(
    job: "Job", earlier: "Earlier", found: "Sequence[Found]", changed: "dict[str, Value]", notes: list[str]
) -> dict[str, Any]:
    return {
        "id": job.id,
        "rerun_of": earlier.job_id,
        "route": job.route,
        "state": job.state.value,
        "params": dict(job.params),
        "params_from": dict(job.wishes.origins),
        "changed": changed,
        "sources": [{"input": f.said.input, "path": f.path, "place": f.place.value, "found": f.at} for f in found],
        "workflow_id": job.workflow_id,
        "version_id": job.version_id,
        "bundle": job.bundle,
        "derived_from": job.derived_from,
        "notes": notes,
    }


def _tell(
    job: "Job", earlier: "Earlier", found: "Sequence[Found]", changed: "dict[str, Value]", notes: list[str]
) -> None:
    fact("job", f"{job.id}, on route {job.route}")
    fact("rerun of", shown(earlier.job_id))
    for name, value in changed.items():
        before = f"was {spelled(earlier.params[name])}" if name in earlier.params else "was not set"
        fact("changed", f"{name} = {spelled(value)} ({before})")
    for name, value in job.params.items():
        if name not in changed:
            parameter(name, value, job.wishes.origins[name])
    for f in found:
        back = "" if f.place == "inbox" else "; it is brought back into the inbox"
        fact(f"source {f.said.input}", f"{f.path} (found in {f.place.value}/{back})")
    for note in notes:
        line(f"note: {note}", "yellow")
    line("It is rendered anew, which is paid for again.")
    hint(_TAKEN_UP)
