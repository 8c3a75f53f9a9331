"""Commands pay for what they use, and for nothing else."""

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import pytest

from renderdrop.ledger import queries
from renderdrop.model import sidecar
from renderdrop.model.lifecycle import State

if TYPE_CHECKING:
    from tests.cli.conftest import Desk

_PROGRAM = """
import sys
from renderdrop.__main__ import main
try:
    main()
except SystemExit as ended:
    code = ended.code
import json
sys.stderr.write("\\n" + json.dumps([code, sorted(sys.modules)]))
"""
_HEAVY = {"aiohttp", "PIL", "httpx", "watchdog", "apscheduler", "alembic"}


@pytest.mark.parametrize(
    ("argv", "never"),
    [
        (["--help"], _HEAVY | {"sqlalchemy", "pydantic", "structlog", "asyncio", "rich"}),
        (["--version"], _HEAVY | {"sqlalchemy", "pydantic", "structlog", "asyncio", "rich"}),
        (["demo", "--help"], _HEAVY | {"sqlalchemy", "structlog", "asyncio"}),
        (["jobs"], _HEAVY | {"structlog", "rich"}),
        (["show", "0"], _HEAVY | {"structlog", "rich"}),
        (["explain", "x.png"], _HEAVY | {"structlog", "rich"}),
        (["explain", "first/inbox/film.mp4"], _HEAVY | {"structlog", "rich", "boto3"}),
        (["rerun", "sidecar.json"], _HEAVY | {"structlog", "rich", "boto3"}),
        (["check", "--offline"], {"aiohttp", "PIL", "watchdog", "apscheduler", "alembic", "structlog"}),
    ],
)
async def test_no_command_imports_what_it_does_not_need(
    argv: list[str], never: set[str], desk: "Desk", environ: dict[str, str]
) -> None:
    desk.job("01a", "a.png", State.FAILED)
    with desk.ledger() as conn:
        found = queries.job(conn, "01a")
    assert found is not None
    (desk.folder / "sidecar.json").write_bytes(sidecar.write(found, success=False))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROGRAM, *argv, env={**environ, "RENDERDROP_CONFIG": str(desk.config)},
        cwd=desk.folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, err = await process.communicate()
    code, loaded = json.loads(err.decode().splitlines()[-1])
    assert code in (None, 0, 1, 2)
    assert never & {name.partition(".")[0] for name in loaded} == set()
