"""Faults that can be asked for: which call goes wrong, how, and how often.

Owns: the rules' grammar and which rule fires. Pure but for the seeded generator; the harm itself is done by
`harm.py`. A rule that could never fire is refused, so that no test passes because its fault was misspelt.
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

TAKING: Final = ("run", "upload", "submit", "generate")
"""Calls that leave something behind: a task, an upload."""
TASKING: Final = ("run", "submit", "generate")
"""Calls that make a task."""
JSON: Final = (*TAKING, "poll", "poll_native", "result", "status")
"""Calls that answer JSON."""
CALLS: Final = (*JSON, "view")

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "status": CALLS,  # an HTTP status: "status", "retry_after", "headers", "envelope" with "code" and "msg"
    "unauthorized": CALLS,  # 401, before the body is read
    "reset_before": CALLS,  # connection reset, before the body is read
    "reset_after": CALLS,  # connection reset instead of the answer; what was sent IS taken
    "html": CALLS,  # 200 with a login page
    "refuse": CALLS,  # an envelope with "code" and "msg"
    "slow": CALLS,  # "seconds" late
    "hang": CALLS,  # never answers
    "garbage": JSON,  # JSON that ends half way; what was sent IS taken
    "null_progress": ("poll", "poll_native"),
    "fail_task": TASKING,  # accepted, and will end with `fail` and "msg"
    "stuck": TASKING,  # accepted, and never leaves `running`
    "cut": ("view",),  # full Content-Length, but the connection closes half way, or after "at" bytes
    "no_length": ("view",),  # chunked, no Content-Length
    "wrong_range": ("view",),  # a request with Range gets a 206 of other bytes than it asked for
}
"""What a rule may `do`, and on which calls."""

_WORDS: Final = {"for": "lasts"}
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "every": (int,), "chance": (int, float), "count": (int,), "lasts": (int, float), "status": (int,),
    "retry_after": (int, float, str), "envelope": (bool,), "code": (int,), "msg": (str,), "seconds": (int, float),
    "accept": (bool,), "headers": (dict,), "at": (int,), "call": (str,), "do": (str,),
}  # fmt: skip


@dataclass(slots=True)
class Rule:
    """One fault. Without `every` and `chance` it fires at each matching call, `count` times at most."""

    call: str
    do: str
    every: int = 1
    """Fires at each n-th matching call."""
    chance: float = 1.0
    count: int | None = None
    lasts: float | None = None
    """Seconds from when it was set; "for" in JSON."""
    status: int = 503
    retry_after: float | str | None = None
    envelope: bool = False
    code: int = 50000
    msg: str = "服务繁忙,请稍后再试 (busy, try again later)"
    seconds: float = 1.0
    accept: bool = False
    """On calls that take something: it is taken all the same, only the answer is this fault."""
    headers: dict[str, str] = field(default_factory=dict)
    at: int | None = None
    seen: int = 0
    fired: int = 0

    def concerns(self, call: str, ranged: bool) -> bool:
        """Whether it could go wrong here at all."""
        return self.call in (call, "any") and call in KINDS[self.do] and (ranged or self.do != "wrong_range")


def parse(raw: Mapping[str, Any]) -> Rule:
    """A rule out of JSON. Raises ValueError with a sentence for people."""
    if not isinstance(raw, Mapping):
        raise ValueError(f"a fault is an object like {{'call': 'run', 'do': 'status'}}, not {raw!r}")
    given = {_WORDS.get(key, key): value for key, value in raw.items()}
    known = {f.name for f in fields(Rule)} - {"seen", "fired"}
    if strange := given.keys() - known:
        raise ValueError(f"a fault has no {', '.join(sorted(strange))}")
    for key, value in given.items():
        if not isinstance(value, _TYPES[key]) or (isinstance(value, bool) and bool not in _TYPES[key]):
            raise ValueError(f"a fault's {key} cannot be {value!r}")
    call, do = str(given.get("call", "")), str(given.get("do", ""))
    if do not in KINDS:
        raise ValueError(f"a fault's do is one of {', '.join(KINDS)}, not {do!r}")
    if call != "any" and call not in KINDS[do]:
        raise ValueError(f"the fault {do} can befall {', '.join(KINDS[do])} or any, not {call!r}")
    if given.get("every", 1) < 1 or not 0 <= given.get("chance", 1) <= 1:
        raise ValueError("a fault's every is at least 1, its chance between 0 and 1")
    return Rule(**given)


class Faults:
    """The rules that are in force; the first that fires is the one."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._since = 0.0
        self.rules: list[Rule] = []

    def replace(self, raw: Iterable[Mapping[str, Any]], now: float) -> None:
        """All rules anew, counted from `now` (seconds, monotonic). Raises ValueError and changes nothing."""
        rules = [parse(entry) for entry in raw]
        self.rules = rules
        self._since = now

    def pick(self, call: str, now: float, *, ranged: bool = False) -> Rule | None:
        """The fault that befalls this call, None for none."""
        for rule in self.rules:
            spent = rule.count is not None and rule.fired >= rule.count
            over = rule.lasts is not None and now - self._since >= rule.lasts
            if spent or over or not rule.concerns(call, ranged):
                continue
            rule.seen += 1
            if rule.seen % rule.every == 0 and (rule.chance >= 1 or self._random.random() < rule.chance):
                rule.fired += 1
                return rule
        return None
