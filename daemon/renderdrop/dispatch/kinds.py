"""How a job of each kind is put to the platform: an app in one request, a graph after its uploads, a model by URLs.

Owns what comes before the one request that may cost money (uploading, publishing), and its shape. Whatever is done
before that request is free and may be repeated; the request itself is sent once, by whoever calls.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from renderdrop.dispatch.graphs import Graphs
from renderdrop.dispatch.opened import Opened
from renderdrop.dispatch.publish import Publisher
from renderdrop.dispatch.upload import Upload
from renderdrop.ledger import moves, queries
from renderdrop.ledger.store import Ledger
from renderdrop.model.errors import NotTakeable, RouteDown
from renderdrop.model.job import Job, Sent
from renderdrop.model.route import Route, Value
from renderdrop.platform import apps, graph_json, graphs, models
from renderdrop.platform.client import Client
from renderdrop.runtime.clock import Clock

BeforeLast = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Errand:
    """One submission: what it needs, and what is learned on the way."""

    route: Route
    job: Job
    number: int
    """Of the submission, in the ledger."""
    cluster: str
    params: Mapping[str, Value]
    files: Opened
    graph_sha256: str | None = None
    uploads: list[str] = field(default_factory=list)
    """Names that the platform gave to uploads."""
    remembered: bool = False
    """One of them was given for an earlier job, and may be forgotten by now."""

    def sent(self) -> Sent:
        """What the ledger keeps of an accepted request."""
        return Sent(self.graph_sha256, self.files.constants_sent(), tuple(self.uploads), self.remembered)


class Kinds:
    """The ways to submit. `submit` returns the task's id; it raises what the platform's calls raise, RouteDown, and
    what reading the files raises."""

    def __init__(self, client: Client, ledger: Ledger, clock: Clock, graphs: Graphs, publisher: Publisher) -> None:
        self._client = client
        self._ledger = ledger
        self._clock = clock
        self._publisher = publisher
        self._graphs = graphs

    async def ready(self, route: Route, files: Opened) -> None:
        """Look at what the settings name, before a submission begins: its trouble is no try of the job. Raises
        RouteDown."""
        if route.kind == "graph":
            await self._graphs.read(route)
        if route.kind == "model" and files.uploads and route.publish is None:
            raise RouteDown(
                "the route has no `publish`, so the platform could not fetch what is dropped; set publish in the "
                "settings, or drop .url files"
            )

    async def submit(self, errand: Errand, before_last: BeforeLast) -> str:
        """Send the errand's one request; everything that is free comes first."""
        kind = {"app": self._app, "graph": self._graph, "model": self._model}[errand.route.kind]
        return await kind(errand, before_last)

    async def _app(self, errand: Errand, before_last: BeforeLast) -> str:
        workflow_id = errand.job.wishes.workflow_id or errand.route.workflow_id
        version_id = errand.job.wishes.version_id or errand.route.version_id
        parts = [upload.part() for upload in errand.files.uploads]
        request = apps.Request(workflow_id, version_id, errand.cluster, errand.params, parts)
        return await apps.run(self._client, request, before_last, self._clock.now())

    async def _graph(self, errand: Errand, before_last: BeforeLast) -> str:
        graph = await self._graphs.read(errand.route)
        errand.graph_sha256 = graph.sha256
        values = dict(errand.params)
        for upload in errand.files.uploads:
            values[upload.input] = await self._uploaded(errand, upload)
            errand.uploads.append(values[upload.input])
        if missing := graph_json.missing_inputs(graph.nodes, values):
            raise NotTakeable(f"the graph does not have what this job sets: {'; '.join(missing)}")
        filled = graph_json.with_values(graph.nodes, values)
        return await graphs.submit(self._client, filled, errand.cluster, before_last, self._clock.now())

    async def _uploaded(self, errand: Errand, upload: Upload) -> str:
        """The platform's name for a file: the one that it gave to the same content before, or a new one."""
        if await self._ledger.read(lambda c: queries.uploaded_size(c, upload.size)):
            sha256 = await upload.digest()
            known = await self._ledger.read(lambda c: queries.upload_of(c, sha256))
            if known is not None:
                errand.remembered = True
                return known
        name = await graphs.upload(self._client, upload.part(), upload.check, self._clock.now())
        await self._ledger.write(
            partial(
                moves.remember_upload, sha256=upload.sha256, size=upload.size, filename=name, at=self._clock.text()
            ),
            point="uploaded",
        )
        return name

    async def _model(self, errand: Errand, before_last: BeforeLast) -> str:
        model = errand.route.model
        assert model is not None
        params = {name: as_list(name, value) if errand.route.input(name) else value
                  for name, value in errand.params.items()}  # fmt: skip
        for upload in errand.files.uploads:
            url = await self._publisher.publish(errand.route, errand.job, errand.number, upload)
            params[upload.input] = as_list(upload.input, url)
        return await models.submit(
            self._client, model.provider, model.name, model.type, params, before_last, self._clock.now()
        )


def as_list(name: str, value: Value) -> Value:
    """One address for an input whose name is a plural (`images`) is a list of one: so the platform takes them."""
    return [value] if name.endswith("s") and isinstance(value, str) and "://" in value[:10] else value
