"""Job ids: short, sortable by time, safe as a file name and easy to read aloud.

Ten characters of milliseconds and six of chance in Crockford's base 32 (no i, l, o, u).
Time and chance are passed in; uniqueness is the ledger's primary key.
"""

from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
RANDOM_BITS: Final = 30


def job_id(milliseconds: int, chance: int) -> str:
    """An id from the time in ms since 1970 and RANDOM_BITS random bits."""
    return _digits(milliseconds, 10) + _digits(chance, 6)


def _digits(number: int, width: int) -> str:
    return "".join(_ALPHABET[(number >> (5 * i)) & 31] for i in reversed(range(width)))
