"""Where a queued job goes now, by whichever policy the settings name, and how many of those that wait could be begun.

Owns the asking: of a policy what it needs to know, for one job, and before any file is opened for all that wait. That
goes by pins, since jobs that a ticket or a rerun has pinned to a full cluster must keep nobody but their like waiting:
not their route's other jobs, and not by their number. It begins nothing, and it decides nothing: that is `expected` and
`choose`.
"""

from collections.abc import Collection

from renderdrop.dispatch.choose import Choice, Hold, choose
from renderdrop.dispatch.expected import expect
from renderdrop.dispatch.farm import Farm
from renderdrop.dispatch.outlook import Outlook
from renderdrop.dispatch.rescue import left_on
from renderdrop.ledger.queries import Unfinished
from renderdrop.ledger.store import Ledger
from renderdrop.model.errors import Refused, Temporary
from renderdrop.model.job import Job
from renderdrop.model.route import Route
from renderdrop.model.wishes import Pin
from renderdrop.runtime.clock import Clock
from renderdrop.runtime.troubles import Troubles


class Places:
    """The clusters, as jobs are sent to them. `learns`: the policy expected-completion, else least-loaded."""

    def __init__(self, ledger: Ledger, clock: Clock, troubles: Troubles, farm: Farm) -> None:
        self.learns = False
        self._clock = clock
        self._troubles = troubles
        self._farm = farm
        self._outlook = Outlook(ledger, clock, farm)
        self._sending: Collection[Route] = ()
        self._nowhere: dict[tuple[str, Pin], float] = {}
        """Routes and pins of jobs of whose clusters none was active a moment ago, and until when that counts."""

    async def rooms(self, sending: Collection[Route]) -> dict[tuple[str, Pin], int]:
        """How many jobs may be begun now, by route and pin; what is left out may have any number. `sending`: the routes
        that may send now: what waits in others is no reason to use a slow cluster. Raises PlatformDown."""
        self._sending = sending
        found: dict[tuple[str, Pin], int] = {}
        if self.learns and sending:
            try:
                found = await self._outlook.rooms(sending)
            except (Temporary, Refused):
                pass  # whoever chooses next asks again, and tells
        now = self._clock.monotonic()
        self._nowhere = {of: until for of, until in self._nowhere.items() if until > now}
        return found | dict.fromkeys(self._nowhere, 0)

    async def choose(self, route: Route, job: Job) -> Choice | Hold | None:
        """The cluster for this job; None: none of its route's clusters is active, which was told. Raises what
        `Farm.situation` does."""
        if route.kind == "model":
            return Choice("", "the platform itself places what is asked of a model")
        workflow, wanted = job.wishes.pin.on(route)
        left = left_on(job)
        allowed = tuple(name for name in wanted if name != left)
        choice: Choice | Hold | None
        if self.learns:
            situation = await self._outlook.situation(allowed, workflow, self._sending)
            choice = expect(situation)
            if isinstance(choice, Hold) and left is None:
                self._outlook.holds(workflow, allowed)
        else:
            situation = await self._farm.situation(allowed)
            choice = choose(situation)
        rests = isinstance(choice, Choice) and choice.cluster in situation.resting
        if left is not None and (choice is None or rests):
            return Hold("no other cluster can take a second task now")
        if choice is None and not situation.active.keys().isdisjoint(route.clusters):
            # Others of its route have where to go.
            self._nowhere[route.name, job.wishes.pin] = self._clock.monotonic() + self._farm.every
            return Hold(absent(allowed))
        if choice is None:
            await self._troubles.tell(
                "route",
                route.name,
                f"none of the route's clusters ({', '.join(route.clusters)}) is active on the platform now; "
                "its jobs wait until one is back",
                pause=self._farm.every,
            )
        return choice

    def begun(self, route: Route, job: Job, choice: Choice) -> None:
        """The job is sent there."""
        if choice.cluster:
            workflow, allowed = job.wishes.pin.on(route)
            self._outlook.begun(workflow, allowed, choice)
            self._farm.tried(choice.cluster)

    def is_nowhere(self, job: Unfinished) -> bool:
        """Whether something is to be submitted for it, and the clusters of its own to which it may go are not there."""
        return job.unsent and (job.route, job.pin) in self._nowhere


def absent(clusters: Collection[str]) -> str:
    """What a job waits for that may go to these clusters only, none of which is active."""
    return f"none of its own clusters ({', '.join(clusters)}) is active on the platform now; it waits until one is back"
