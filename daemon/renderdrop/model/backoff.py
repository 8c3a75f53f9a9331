"""How long to wait before the same thing is tried again. Pure: chance is passed in.

Owns the one formula and its bounds, so that every room waits alike.
"""

from typing import Final

FIRST: Final = 0.5
CAP: Final = 30.0
RETRY_AFTER_CAP: Final = 120.0
"""All three in seconds, from DESIGN 4."""


def backoff(failures: int, chance: float, retry_after: float | None = None, cap: float = CAP) -> float:
    """Seconds to wait after the n-th failure in a row (n ≥ 1): 0.5·2ⁿ, capped, with full jitter.

    Full jitter (a uniform draw between nothing and the bound) spreads a crowd of clients best:
    M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. `chance` is uniform in [0, 1).
    A `retry_after` that the server named is honoured, up to RETRY_AFTER_CAP, as the least wait.
    """
    wait = chance * min(cap, FIRST * 2.0 ** min(failures, 32))
    return max(wait, min(retry_after, RETRY_AFTER_CAP)) if retry_after is not None else wait
