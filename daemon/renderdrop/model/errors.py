"""What can go wrong, sorted by how far it reaches; the sentence of each is for people.

Owns: the exceptions that rooms raise to each other. A reach decides what the stages do
(DESIGN 4): a job's fault costs that job an attempt or ends it, a platform's or a share's
fault makes work wait and costs nobody anything. No message may hold the token or a host path.
"""

from dataclasses import dataclass


class Fault(Exception):
    """Base of all foreseen trouble. `str(fault)` is one plain sentence."""

    @property
    def sentence(self) -> str:
        return str(self)


class Temporary(Fault):
    """Reaches one request: the same may work in a moment. `retry_after` in seconds, when the server said so."""

    def __init__(self, sentence: str, retry_after: float | None = None) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class Busy(Temporary):
    """The platform asks to come back later (429, 503 with Retry-After): nothing accepted, no attempt burnt."""


class Unknown(Fault):
    """A submission that was fully sent and whose answer never came: it may be running and paid for."""


class Refused(Fault):
    """The platform understood and said no; `message` is its own wording, shown unchanged."""

    def __init__(self, message: str, code: str = "", http_status: int = 200) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.http_status = http_status


class PlatformDown(Fault):
    """Reaches every job: refused connection, unknown host, refused token, no cluster. Everything waits."""


class ShareOffline(Fault):
    """Reaches one route: its folders cannot be reached, read or written now. Its jobs wait where they are."""


class NoPlace(ShareOffline):
    """Reaches one job wherever somebody looks at it so closely: the share is well, but what is to lie there cannot: a
    file or a link stands where its folder belongs, or the file system refuses its name or its size."""


class RouteDown(Fault):
    """Reaches one route: something that its settings name (a constant file, its graph, its object store) cannot be used
    now. Its jobs wait, nothing is burnt."""


class StoreDown(RouteDown):
    """Reaches one route: the object store that its pictures are published on cannot be used now."""


class SourceChanged(Fault):
    """The file is no longer the one that settled: the upload is abandoned, the file settles again."""


class SourceGone(Fault):
    """The file is not there any more although its share is."""


class NotTakeable(Fault):
    """What lies there must not be read: a link, a pipe, a socket, a device, or a kind the route does not take."""


class Undeliverable(Fault):
    """The result exists but can never be put on the share under the present settings (too large, gone, no media)."""


class LedgerBroken(Fault):
    """The ledger cannot be opened, read or written: the daemon stops loudly."""


class LedgerFull(Fault):
    """The ledger's disk is full, and this commit cannot wait for room: what was to follow it is not done."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the settings: the dotted `key`, what is wrong with it and the way out."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"


class BrokenSettings(Fault):
    """Settings that cannot be run with; carries every problem, not the first (exit 78)."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = problems
