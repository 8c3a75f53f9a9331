"""`renderdrop sandbox`: a stand-in of the platform, so that routes can be tried without spending money.

Owns: the command's options and how its use is explained. Imports the sandbox late: other commands do not pay.
"""

import json
from typing import Annotated

import typer


def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes any free one.")] = 8188,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    token: Annotated[str, typer.Option(help="The token that callers must send.")] = "AI-sandbox",  # noqa: S107  a stand-in's, and no secret
    fast: Annotated[float, typer.Option(min=0, help="Shortest run of a task, in seconds.")] = 1.0,
    slow: Annotated[float, typer.Option(min=0, help="Longest run of a task, in seconds.")] = 3.0,
    graph: Annotated[
        str | None, typer.Option(metavar="NAME", help="Print a graph that it knows, for a route's `graph`, and end.")
    ] = None,
) -> None:
    """Serve a stand-in of the platform, for trials without cost.

    Ctrl-C stops it."""
    import asyncio

    from renderdrop.sandbox import GRAPHS, SandboxOptions, serve

    if graph is not None:
        if graph not in GRAPHS:
            raise typer.BadParameter(f"there is no graph {graph}; it knows {', '.join(GRAPHS)}", param_hint="--graph")
        print(json.dumps(GRAPHS[graph], indent=2))
        return
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
    from renderdrop.sandbox import GRAPHS, KNOWN, MODELS

    base_url = line.split(" at ", 1)[1].split(",", 1)[0]
    known = "\n".join(f"  {name:8} {spec.title}: {', '.join(spec.parameters)}" for name, spec in KNOWN.items())
    models = "\n".join(f"  {provider}/{name}: {spec.title}" for (provider, name), spec in MODELS.items())
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

  [routes.upscale]                       # renderdrop sandbox --graph upscale > upscale.json
  kind = "graph"
  graph = "upscale.json"
  folder = "upscale"
  clusters = ["GPU-4090", "GPU-A800"]
  inputs = {{ "73.image" = "image" }}
  params = {{ "3.seed" = 42 }}

  [routes.imagine]                       # drop a prompt as a .txt file
  kind = "model"
  provider = "google"
  model = "gemini-3-pro-image-preview"
  type = "text2image"
  folder = "imagine"
  inputs = {{ prompt = "text" }}

Workflows that it knows, and their parameters:
{known}

Graphs that it knows (--graph NAME prints one): {", ".join(GRAPHS)}

Models that it knows:
{models}

What came and went: GET {base_url}/_sandbox/ledger
Ask for faults:     POST {base_url}/_sandbox/faults  [{{"call": "run", "do": "status", "status": 502, "every": 3}}]
Change a cluster:   POST {base_url}/_sandbox/clusters  {{"name": "GPU-4090", "active": false}}
Forget uploads:     POST {base_url}/_sandbox/forget  {{}}, or {{"filename": "…"}} for one of them"""
