"""`renderdrop sandbox`: a stand-in of the platform, so that routes can be tried without spending money.

Owns: the command's options and how its use is explained. Imports the sandbox late: other commands do not pay.
"""

from typing import Annotated

import typer


def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes any free one.")] = 8188,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    token: Annotated[str, typer.Option(help="The token that callers must send.")] = "AI-sandbox",  # noqa: S107  a stand-in's, and no secret
    fast: Annotated[float, typer.Option(min=0, help="Shortest run of a task, in seconds.")] = 1.0,
    slow: Annotated[float, typer.Option(min=0, help="Longest run of a task, in seconds.")] = 3.0,
) -> None:
    """Serve a stand-in of the platform, for trials without cost.

    Ctrl-C stops it."""
    import asyncio

    from renderdrop.sandbox import SandboxOptions, serve

    if slow < fast:
        raise typer.BadParameter("the longest run is shorter than the shortest", param_hint="--slow")
    options = SandboxOptions(token=token, host=host, port=port, render_seconds=(fast, slow))
    try:
        asyncio.run(serve(options, lambda line: print(_usage(line, token), flush=True)))
    except OSError as error:
        typer.echo(
            f"The sandbox cannot listen on {host}:{port} ({error.strerror}); choose another port with --port.", err=True
        )
        raise typer.Exit(1) from None


def _usage(line: str, token: str) -> str:
    from renderdrop.sandbox import KNOWN

    base_url = line.split(" at ", 1)[1].split(",", 1)[0]
    known = "\n".join(f"  {name:8} {spec.title}: {', '.join(spec.parameters)}" for name, spec in KNOWN.items())
    return f"""{line}

Export RENDERDROP_TOKEN={token} and point a settings file here:

  [platform]
  base_url = "{base_url}"

  [routes.portrait]
  folder = "portrait"
  workflow_id = "1234"
  clusters = ["GPU-4090", "GPU-A800"]
  inputs = {{ input_image = "image" }}
  params = {{ prompt = "oil painting" }}

Workflows that it knows, and their parameters:
{known}

What came and went: GET {base_url}/_sandbox/ledger
Ask for faults:     POST {base_url}/_sandbox/faults  [{{"call": "run", "do": "status", "status": 502, "every": 3}}]
Change a cluster:   POST {base_url}/_sandbox/clusters  {{"name": "GPU-4090", "active": false}}"""
