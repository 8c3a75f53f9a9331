"""When a task is looked at next. Pure.

Owns the one rule: a task is looked at again when the delay that is to be expected since the last look has grown to
the price of a look. It must never know who is asked, how many others wait, or what was learned of whom: it is given a
distribution of the run time (`Odds`) and a price, and answers in seconds.

**The rule.** A task was seen running at the age s. Its result, if it comes at the age T, has lain unnoticed for u - T
seconds at the age u. So not to look before u costs an expected delay of

    A(u) = E[(u - T)+ | T > s] = (u - s) - (G(s) - G(u)) / S(s),    S(x) = P(T > x),  G(x) = E[(T - x)+]

seconds. The next look is at the u with A(u) = price.

**Why.** For a hazard h that hardly changes between two looks, A(u) = h I²/2 with I = u - s, hence I = √(2 price / h):
the interval goes with 1/√hazard. That is what minimises the delay of many tasks within a budget: task i gathers delay
at the rate hᵢ Iᵢ/2; minimise Σ hᵢ Iᵢ/2 subject to Σ 1/Iᵢ ≤ B. Lagrange: hᵢ/2 = λ/Iᵢ², hence Iᵢ = √(2λ/hᵢ) with one λ
for all, which is the price: the seconds of delay that one look more must save. (Keller's density of looks, √(h c₂ /
2c₁), is the same: Optimum checking schedules for systems subject to random failure, Management Science 21, 1974.)
Written as A(u) = price the rule also holds where the hazard leaps between two looks: once a task has almost surely
ended, A grows by a second a second, while a hazard "if it still runs" would say nothing of that.

**The price** follows from the budget (`plan`): all intervals go with √price, so that Σ 1/Iᵢ can be made to fit. With
few tasks the budget is no limit, and the price has a floor of its own, `FREE`.
"""

import math
from collections.abc import Sequence
from math import erfc
from typing import Final, NamedTuple

FREE: Final = 0.02
"""Seconds of delay that a look must save even where the budget has room: a render of a minute that may end any second
of twenty (h = 0.05/s) is then looked at about once a second."""
LEAST: Final = 0.3
"""Seconds between two looks, at the least: with a tick and the way there and back an end is known within 0.7 s."""
FINE: Final = 0.004
"""Nor is a delay of less than this share of its age worth a look at any task: in an hour's render 14 s are nothing."""
MOST: Final = 30.0
"""Seconds between two looks at the most, while the budget has room: whatever was learned may be wrong this time."""
FIRST: Final = 0.7
"""Seconds from a task's submission to its first look: that tells of early failures, and whether it has begun."""
FRONT: Final = 0.15
"""Of its usual run time: how well a task's start is to be known."""
PATIENCE: Final = 0.05
"""Of the time that it has waited: whoever waited long may wait as long again."""
DOUBT: Final = 0.05
"""The chance that a task's own progress means nothing."""
_STEPS: Final = 60
_CLOSE: Final = 0.01


class Bell(NamedTuple):
    """A share of the odds: the logarithm of the run time in seconds is normal, with this mean and variance."""

    weight: float
    mean: float
    variance: float


Odds = Sequence[Bell]
"""How long a run may take: a mixture, its weights adding up to 1. Logarithms, because a cluster's speed, a picture's
size and a busy machine all multiply a run time."""


class Hint(NamedTuple):
    """What a task's own progress says: the logarithm of its whole run time, and that figure's variance."""

    mean: float
    variance: float


def next_look(odds: Odds, age: float, price: float, most: float = MOST) -> float:
    """Seconds until the next look, `most` at the most, at a task that was seen running at `age` seconds. `price` in
    seconds of delay."""
    least = min(MOST, max(LEAST, FINE * age))  # however old: silence is counted by looks
    terms = [(w, m, math.sqrt(2.0 * v), w * math.exp(m + v / 2.0)) for w, m, v in odds]
    still, beyond = _tail(terms, age)
    if still < 1e-100:  # older than anything can be said of
        return max(least, min(most, 0.1 * age))
    low, wait = 0.0, most
    for _ in range(_STEPS):
        left, further = _tail(terms, age + wait)
        unnoticed = wait - (beyond - further) / still
        if unnoticed <= price:
            if wait >= most:
                return max(least, most)
            low = wait
        ended = 1.0 - left / still
        # Newton from the right of a convex curve never leaves the root; rounding might, so it is kept in bounds.
        better = wait - (unnoticed - price) / ended if ended > 0.0 else low
        if not low <= better <= wait:
            better = (low + wait) / 2
        if abs(wait - better) <= _CLOSE * wait or better <= least:
            wait = better
            break
        wait = better
    return max(least, min(most, wait))


def informed(odds: Odds, hint: Hint | None) -> Odds:
    """The odds once the task's own progress is known: Bayes, term by term, for a bell times a bell is a bell.

    With the chance `DOUBT` progress means nothing this time (an instance that first loads a model, a counter that
    stands still); it would then be anywhere within ten e-folds. So progress that fits nothing known is not believed.
    """
    if hint is None:
        return odds
    told: list[Bell] = []
    for bell in odds:
        spread = bell.variance + hint.variance
        off = bell.mean - hint.mean
        likely = bell.weight * math.exp(-off * off / (2.0 * spread)) / math.sqrt(2.0 * math.pi * spread)
        if likely > 1e-4:
            mean = (bell.mean * hint.variance + hint.mean * bell.variance) / spread
            told.append(Bell(likely, mean, bell.variance * hint.variance / spread))
    believed = (1.0 - DOUBT) * sum(bell.weight for bell in told)
    doubted = DOUBT * 0.1
    whole = believed + doubted
    share = (1.0 - DOUBT) / whole
    mean, variance = _as_one(odds)
    return [*(Bell(b.weight * share, b.mean, b.variance) for b in told), Bell(doubted / whole, mean, variance)]


def blurred(odds: Odds, unsure: float) -> Odds:
    """The odds where the start is only known to lie within `unsure` seconds. Evenly spread, that is a variance of
    unsure²/12 of the run time T, and (d ln T = dT/T) of unsure²/12T² of its logarithm."""
    if unsure <= 0.0:
        return odds
    return [
        Bell(b.weight, b.mean, b.variance + min(1.0, unsure * unsure / 12.0 * math.exp(-2.0 * b.mean))) for b in odds
    ]


def usual(odds: Odds) -> float:
    """A run time in the middle of the odds, in seconds."""
    return math.exp(sum(bell.weight * bell.mean for bell in odds))


def next_look_pending(
    odds: Odds, waited: float, ahead: int, gap: float | None, price: float, most: float = MOST
) -> float:
    """Seconds until the next look, `most` at the most, at a task that has not begun after `waited` seconds.

    `ahead`: tasks of ours that wait before it on its cluster; `gap`: seconds between two starts there, None where that
    is not known. The start of the one with n before it is the sum of n + 1 such gaps: (n + 1) gap on average, with a
    spread of √(n + 1) gap (Erlang). So it is hardly to be expected before (n + 1 - √(n + 1)) gap; from then on it is
    looked at as often as it takes to know its start well, and at the latest when it may well be over.
    """
    place = ahead + 1
    front = max(FIRST, FRONT * usual(odds), PATIENCE * waited)
    wait = place * (gap if gap is not None else front)
    quiet = wait - wait / math.sqrt(place) if gap is not None else ahead * front
    start = min(most, max(front * math.sqrt(price / FREE), quiet))
    return min(start, next_look(delayed(odds, wait, wait * wait / place), 0.0, price, most))


def delayed(odds: Odds, mean: float, variance: float) -> Odds:
    """The odds of the time until the end of a run that begins only after a wait of this mean and variance: each bell as
    the one with the mean and the variance of that sum (Fenton and Wilkinson 1960)."""
    later: list[Bell] = []
    for bell in odds:
        run = math.exp(bell.mean + bell.variance / 2)
        whole = run + mean
        spread = math.log1p((run * run * math.expm1(bell.variance) + variance) / (whole * whole))
        later.append(Bell(bell.weight, math.log(whole) - spread / 2, max(1e-4, spread)))
    return later


def _as_one(odds: Odds) -> tuple[float, float]:
    """Mean and variance of the whole mixture."""
    mean = sum(w * m for w, m, _ in odds)
    return mean, sum(w * (v + (m - mean) ** 2) for w, m, v in odds)


def _tail(terms: Sequence[tuple[float, float, float, float]], age: float) -> tuple[float, float]:
    """S and G: the chance of a longer run, and the expected seconds beyond. G of a log-normal is known from pricing
    options (Black and Scholes): exp(m + v/2) Φ(√v - z) - age Φ(-z) with z = (ln age - m)/√v. The terms are
    weight, m, √2v and weight exp(m + v/2); Φ(-x) = erfc(x/√2)/2."""
    if age <= 0.0:
        return 1.0, sum(part for _, _, _, part in terms)
    log, chance, beyond = math.log(age), 0.0, 0.0
    for weight, mean, root, part in terms:
        z = (log - mean) / root
        if z < -6.0:
            chance += weight
            beyond += part - weight * age
        elif z < 18.0:
            over = 0.5 * weight * erfc(z)
            chance += over
            beyond += 0.5 * part * erfc(z - root / 2.0) - age * over
    return chance, beyond
