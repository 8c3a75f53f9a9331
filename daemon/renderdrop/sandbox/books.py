"""What the sandbox remembers of the requests themselves, for tests that ask how politely it was called.

Owns: counts, the densest second of the calls that only ask, refusals, lost uploads. Must never hold a token.
"""

from collections import Counter, deque
from typing import Any, Final

_ASKING: Final = frozenset({"status", "poll", "poll_native", "result"})


class Books:
    """Book-keeping of requests; `now` is monotonic seconds, passed in."""

    def __init__(self) -> None:
        self._calls: Counter[str] = Counter()
        self._authorization: dict[str, Counter[str]] = {}
        self._recent: deque[float] = deque()
        self._densest = 0
        self._faults: Counter[str] = Counter()
        self._rejected: list[dict[str, Any]] = []
        self._incomplete: list[dict[str, Any]] = []

    def came(self, call: str, with_token: bool, now: float) -> None:
        """One request; with_token: whether it carried any Authorization header."""
        self._calls[call] += 1
        self._authorization.setdefault(call, Counter())["with" if with_token else "without"] += 1
        if call in _ASKING:
            self._recent.append(now)
            while self._recent[0] <= now - 1:
                self._recent.popleft()
            self._densest = max(self._densest, len(self._recent))

    def harmed(self, call: str, do: str) -> None:
        """A fault befell a call."""
        self._faults[f"{call}:{do}"] += 1

    def rejected(self, call: str, code: int, reason: str) -> None:
        """A request was refused by the sandbox's own strictness, not by a fault."""
        self._rejected.append({"call": call, "code": code, "reason": reason})

    def incomplete(self, received: int, expected: int | None) -> None:
        """An upload whose connection went; sizes in bytes of the whole body."""
        self._incomplete.append({"received": received, "expected": expected})

    def told(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        return {
            "calls": dict(self._calls),
            "max_requests_per_second": self._densest,
            "authorization_seen": {call: dict(seen) for call, seen in self._authorization.items()},
            "faults": dict(self._faults),
            "rejected": list(self._rejected),
            "incomplete_uploads": list(self._incomplete),
        }
