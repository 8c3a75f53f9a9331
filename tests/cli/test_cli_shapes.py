"""`schema` and `sandbox`: what they print is what it says it is."""

import asyncio
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest

from renderdrop.sandbox import GRAPHS, KNOWN, MODELS
from renderdrop.settings import load

if TYPE_CHECKING:
    from tests.cli.conftest import Call


@pytest.mark.parametrize("shape", ["settings", "sidecar", "ticket"])
async def test_every_shape_is_a_json_schema(shape: str, call: "Call") -> None:
    ended = await call("schema", shape)
    assert ended.code == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(ended.out))


async def test_a_graph_of_the_sandbox_is_printed_and_nothing_else(call: "Call") -> None:
    ended = await call("sandbox", "--graph", "upscale")
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out) == GRAPHS["upscale"]
    unknown = await call("sandbox", "--graph", "nothing")
    assert unknown.code == 2
    assert "upscale" in unknown.err


async def test_the_sandbox_tells_settings_that_can_be_tried(environ: dict[str, str], tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "renderdrop", "sandbox", "--port", "0", env=environ, cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(40):
        while not lines or not lines[-1].startswith("Forget uploads:"):
            lines.append((await process.stdout.readline()).decode())
    process.terminate()
    await process.communicate()
    told = "".join(lines)
    for name in (*KNOWN, *GRAPHS, *(model for _, model in MODELS)):
        assert name in told
    assert "/_sandbox/forget" in told
    settings = "\n".join(line.strip() for line in lines if re.match(r"  (\[|\w+ = )", line))
    assert list(tomllib.loads(settings)["routes"]) == ["portrait", "upscale", "imagine"]
    for name in ("portrait", "upscale", "imagine"):
        (tmp_path / name / "inbox").mkdir(parents=True)
    (tmp_path / "upscale.json").write_text(json.dumps(GRAPHS["upscale"]))
    (tmp_path / "renderdrop.toml").write_text(settings)
    loaded = load(tmp_path / "renderdrop.toml", {"RENDERDROP_TOKEN": "x", "HOME": str(tmp_path)})
    assert [route.kind for route in loaded.routes] == ["app", "graph", "model"]
