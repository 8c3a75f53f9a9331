"""The stand-in of the rendering platform: its calls, its token, its envelope, on a real socket.

Owns: the wiring of desk, calls, faults and books into one aiohttp application. Written from
the platform's own page alone; imports nothing of the product, so that both cannot err alike. Must never
forgive: a request that the real platform might not understand is refused here first.
"""

import asyncio
import hmac
import shutil
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from renderdrop.sandbox import harm, view
from renderdrop.sandbox.apps import Apps
from renderdrop.sandbox.books import Books
from renderdrop.sandbox.desk import Desk
from renderdrop.sandbox.farm import Farm
from renderdrop.sandbox.faults import TAKING, Faults, Rule
from renderdrop.sandbox.generate import Generate
from renderdrop.sandbox.intake import Incomplete, Refusal, read_json
from renderdrop.sandbox.models import MODELS
from renderdrop.sandbox.native import Native
from renderdrop.sandbox.nodes import NODES
from renderdrop.sandbox.options import SandboxOptions
from renderdrop.sandbox.studio import Studio
from renderdrop.sandbox.uploads import Uploads
from renderdrop.sandbox.workflows import KNOWN

Serve = Callable[[web.Request, Rule | None], Awaitable[web.StreamResponse]]


class Sandbox:
    """The platform's stand-in: `async with Sandbox() as sandbox: … sandbox.base_url …`."""

    def __init__(self, options: SandboxOptions | None = None) -> None:
        self.options = options or SandboxOptions()
        self.base_url = ""
        self._books = Books()
        self._faults = Faults(self.options.seed)
        self._desk = Desk()
        self._uploads = Uploads(late_missing=self.options.late_missing)
        self._stopping = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen. Raises OSError where the port is taken."""
        options = self.options
        farm = Farm(
            options.clusters,
            now=time.monotonic(),
            render_seconds=options.render_seconds,
            boot_seconds=options.boot_seconds,
            scale_every=options.scale_every,
            idle_seconds=options.idle_seconds,
            seed=options.seed,
            foreign_load=options.foreign_load,
        )
        if options.folder is not None:
            options.folder.mkdir(parents=True, exist_ok=True)
        # A folder of its own each time: a second start in the same place must not meet the first one's files.
        self._folder = Path(tempfile.mkdtemp(prefix="renderdrop-sandbox-", dir=options.folder))
        for name in ("uploads", "outputs"):
            (self._folder / name).mkdir()
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.5)
        try:
            await self._runner.setup()
            await web.TCPSite(self._runner, options.host, options.port, backlog=512).start()
        except OSError:
            await self.stop()
            raise
        self.port = int(self._runner.addresses[0][1])
        self.base_url = self._url(options.host)
        shown = self._url(options.output_host or options.host)
        self._desk.open(farm, Studio(self._folder / "outputs", shown, native_urls=options.native_urls))

    async def stop(self) -> None:
        """Close every connection and forget everything that no caller gave a folder for."""
        self._stopping.set()
        await self._desk.close()
        if self._runner is not None:
            await self._runner.cleanup()
        if self.options.folder is None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def _url(self, host: str) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  a name for people, not a bind
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    # What tests and trials ask and set.

    @property
    def faults(self) -> list[dict[str, Any]]:
        """The rules in force; assigning replaces all of them. Raises ValueError for one that makes no sense."""
        return [asdict(rule) for rule in self._faults.rules]

    @faults.setter
    def faults(self, rules: Sequence[Mapping[str, Any]]) -> None:
        self._faults.replace(rules, time.monotonic())

    def ledger(self) -> dict[str, Any]:
        """What was asked, taken, refused and made, as plain JSON values."""
        return {**self._books.told(), "tasks": self._desk.told(), "uploads": self._uploads.told()}

    def change_cluster(self, name: str, **figures: Any) -> None:
        """Change curr_nodes, max_nodes, speed, fixed, active or foreign. Raises KeyError, TypeError."""
        self._desk.change_cluster(name, **figures)

    def forget(self, filename: str | None = None, *, late_missing: bool | None = None) -> list[str]:
        """Forget one upload, or all of them: graphs that name them are refused, or fail late where `late_missing`.

        Returns the names. Raises KeyError for an upload that never was.
        """
        forgotten = self._uploads.forget(filename)
        if late_missing is not None:
            self._uploads.late_missing = late_missing
        return forgotten

    # The calls.

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[_enveloped], client_max_size=1 << 20)
        options, uploads = self.options, self._folder / "uploads"
        apps = Apps(self._desk, {**KNOWN, **options.workflows}, uploads)
        native = Native(self._desk, self._uploads, {**NODES, **options.nodes}, uploads)
        generate = Generate(self._desk, {**MODELS, **options.models}, fetch_images=options.fetch_images)
        workflow, models = "/openapi/v1/workflow", "/openapi/v1/generate"
        for method, path, call, serve in (
            ("POST", f"{workflow}/apps/run", "run", apps.run),
            ("GET", f"{workflow}/apps/task/{{task_id}}", "poll", apps.poll),
            ("GET", f"{workflow}/cluster/all_active_clusters_status", "status", self._status),
            ("POST", f"{workflow}/upload/file", "upload", native.upload),
            ("POST", f"{workflow}/task/submit", "submit", native.submit),
            ("GET", f"{workflow}/task/{{task_id}}", "poll_native", native.poll),
            ("POST", f"{models}/image", "generate", generate.image),
            ("GET", f"{models}/result/{{task_id}}", "result", generate.result),
            ("GET", "/api/view", "view", self._view),
        ):
            app.router.add_route(method, path, self._call(call, serve))
        app.router.add_route("POST", "/_sandbox/faults", self._set_faults)
        app.router.add_route("POST", "/_sandbox/clusters", self._set_clusters)
        app.router.add_route("POST", "/_sandbox/forget", self._forget)
        app.router.add_route("GET", "/_sandbox/ledger", self._tell)
        return app

    def _call(self, call: str, serve: Serve) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            now = time.monotonic()
            self._books.came(call, "Authorization" in request.headers, now)
            rule = self._faults.pick(call, now, ranged="Range" in request.headers)
            if rule is None:
                return await self._strict(call, serve, request, None)
            self._books.harmed(call, rule.do)
            return await self._harmed(call, serve, request, rule)

        return answer

    async def _strict(self, call: str, serve: Serve, request: web.Request, rule: Rule | None) -> web.StreamResponse:
        """The right answer, which may be a refusal."""
        needs_token = call != "view" or self.options.view_needs_token
        sent = request.headers.getall("Authorization", [])
        if needs_token and not (len(sent) == 1 and _same(sent[0], f"Bearer {self.options.token}")):
            self._books.rejected(call, 40100, "the token is missing or wrong")
            return harm.unauthorized()
        try:
            return await serve(request, rule)
        except Refusal as refusal:
            self._books.rejected(call, refusal.code, refusal.message)
            return harm.envelope(None, refusal.code, refusal.message, refusal.status)
        except Incomplete as lost:
            self._books.incomplete(lost.received, request.content_length)
            return web.Response(status=400)

    async def _harmed(self, call: str, serve: Serve, request: web.Request, rule: Rule) -> web.StreamResponse:
        match rule.do:
            case "slow":
                await harm.pause(rule.seconds, self._stopping)
                return await self._strict(call, serve, request, rule)
            case "null_progress" | "garbage":
                return harm.spoilt(rule, await self._strict(call, serve, request, rule))
            case "fail_task" | "stuck" | "cut" | "no_length" | "wrong_range":
                return await self._strict(call, serve, request, rule)
            case "reset_before":
                return harm.reset(request)
        if call in TAKING and (rule.accept or rule.do == "reset_after"):
            await self._strict(call, serve, request, rule)
        elif rule.do != "unauthorized":
            await harm.drain(request)
        match rule.do:
            case "reset_after":
                return harm.reset(request)
            case "hang":
                return await harm.silence(request, self._stopping)
        return harm.answered(rule)

    async def _status(self, request: web.Request, rule: Rule | None) -> web.StreamResponse:
        return harm.envelope(self._desk.clusters())

    async def _view(self, request: web.Request, rule: Rule | None) -> web.StreamResponse:
        output = self._desk.output(request.query.get("filename", ""))
        if output is None or request.query.get("type") != "output":
            raise Refusal(40404, "文件不存在", "there is no such output", 404)
        return await view.send(request, output, rule)

    # The sandbox's own.

    async def _set_faults(self, request: web.Request) -> web.StreamResponse:
        try:
            self.faults = await request.json()
        except (ValueError, TypeError) as error:
            raise Refusal(40000, "故障规则无效", str(error), 400) from None
        return harm.envelope(self.faults)

    async def _set_clusters(self, request: web.Request) -> web.StreamResponse:
        try:
            told = await request.json()
            for figures in told if isinstance(told, list) else [told]:
                self.change_cluster(**figures)
        except (ValueError, TypeError, KeyError) as error:
            raise Refusal(40000, "集群设置无效", f"not a cluster's figures: {error}", 400) from None
        return harm.envelope(self._desk.clusters())

    async def _forget(self, request: web.Request) -> web.StreamResponse:
        told = await read_json(request)
        if (
            not isinstance(told, dict)
            or not told.keys() <= {"filename", "late_missing"}
            or not isinstance(told.get("filename", ""), str)
            or not isinstance(told.get("late_missing", False), bool)
        ):
            raise Refusal(40000, "请求无效", "forget takes filename, or nothing for all, and late_missing", 400)
        try:
            return harm.envelope({"forgotten": self.forget(**told)})
        except KeyError as error:
            raise Refusal(40000, "文件不存在", f"there is no upload {error}", 400) from None

    async def _tell(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self.ledger())


def _same(sent: str, wanted: str) -> bool:
    return hmac.compare_digest(sent.encode("utf-8", "surrogateescape"), wanted.encode())


@web.middleware
async def _enveloped(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refusal as refusal:
        return harm.envelope(None, refusal.code, refusal.message, refusal.status)
    except web.HTTPException as error:  # no such path, wrong method
        return harm.envelope(None, error.status * 100, f"请求无效 ({error.reason})", error.status)


async def serve(options: SandboxOptions, announce: Callable[[str], None]) -> None:
    """Run until SIGINT or SIGTERM; `announce` gets one line with the base URL and the token."""
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with Sandbox(options) as sandbox:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, asked_to_stop.set)
        announce(f"sandbox of the rendering platform at {sandbox.base_url}, token {options.token}")
        try:
            await asked_to_stop.wait()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
