"""What a warm state is worth: V(k, j), the probability that its j-th idle copy is needed while it would still be there.

With arrivals at rate λ of tasks that occupy a bot for d + w seconds, the j-th copy is needed by the arrivals that the
first j − 1 cannot serve and j can: Erlang's loss B(a, j − 1) − B(a, j), with a = λ · min(E[min(D, 1 h)] + w, T), where
D is a task's length and d its mean. Within the residence time T (how long a state stays on a bot before something
displaces it) that gives

    V(k, j) = 1 − exp(−T · Σ_s w_s · λ_s · [B(a_s, x − 1) − B(a_s, x)]),   x = j + Σ_busy T / (T + max(d + w, age))

over several memories s of the arrival rate with weights w_s. A probability, not hits × T: a lost copy costs at most one
miss, since the miss makes it again. The formulas are those of the agreed design of the policy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

LONGEST_RESIDENCE_S = 3600.0
"""Over no longer than this a forecast is made: T."""
LONGEST_STAY_S = 4 * 3600.0
"""What would be needed later than so counts for nothing: by then other tasks and bets have moved everything."""
NEGLIGIBLE = 1e-9
RESCUED = 0.25
"""Share of the busy copies on whose end a task that missed can count: others want them too."""


def erlang_b(load: float, servers: int) -> float:
    """Share of arrivals that find all servers busy: B(0) = 1, B(i) = a·B(i − 1) / (i + a·B(i − 1)).

    An example: a load of 1 on 2 servers loses 20 %.
    """
    lost = 1.0
    for server in range(1, servers + 1):
        lost = load * lost / (server + load * lost)
    return lost


def served_by(load: float, x: float) -> float:
    """B(a, x − 1) − B(a, x), linear between whole numbers: what the x-th server serves of the arrivals. x ≥ 1."""
    whole = int(x)
    before = 1.0
    for server in range(1, whole):
        offered = load * before
        before = offered / (server + offered)
        if before < NEGLIGIBLE:
            return 0.0
    offered = load * before
    at = offered / (whole + offered)
    part = x - whole
    if not part:
        return before - at
    offered = load * at
    after = offered / (whole + 1 + offered)
    return (1.0 - part) * (before - at) + part * (at - after)


def needed(
    rates_per_s: Sequence[float], weights: Sequence[float], load_s: float, residence_s: float, x: float
) -> float:
    """V: the probability that the x-th copy is needed within the residence time.

    `load_s` is for how long a task that comes keeps a copy; the weights are those of the rates and add up to 1.
    """
    load_s = min(load_s, residence_s)
    served_per_s = 0.0
    for rate, weight in zip(rates_per_s, weights, strict=True):
        load = rate * load_s
        if load > NEGLIGIBLE:
            served_per_s += weight * rate * served_by(load, x)
    return 1.0 - math.exp(-residence_s * served_per_s)


def coming_free(ages_s: Iterable[float], occupied_s: float, residence_s: float) -> float:
    """How many busy copies are expected to come free within the residence: Σ T / (T + max(d + w, age)).

    The idle copies stand behind those: the j-th of them is copy x = j + that. What has run for long will run for long
    yet, where lengths differ much (decision 36). An example: of tasks that take 300 s, 0.92 and 0.5 within an hour,
    where one has just begun and the other has run for an hour.

    Args:
        ages_s: for how long each has worked.
        occupied_s: d + w.
        residence_s: T.
    """
    return math.fsum([residence_s / (residence_s + max(occupied_s, age_s)) for age_s in ages_s])


def rescuers(x: float) -> float:
    """u: how many busy copies a task that misses the x-th copy can count on, ¼ · (x − 1)."""
    return RESCUED * (x - 1.0)


def miss_s(cold_s: float, copies: float, duration_s: float, rank: int = 1) -> float:
    """m: what a task loses that finds no idle warm bot, in seconds.

    It starts cold or takes one of n busy copies that frees up before that is done, so m = (d/n)(1 − e^(−cn/d)); c with
    no copy. An example: a cold start of 600 s, two copies in tasks of 300 s: 147 s. For the u-th of those that miss at
    once it is E[min(c, T)], T ~ Erlang(u, n/d): the third of them loses 398 s.

    Args:
        cold_s: c, the cold cost.
        copies: n, copies that are busy or being made.
        duration_s: d, how long tasks hold a copy.
        rank: u, the task's place among those that miss.
    """
    if copies <= NEGLIGIBLE or duration_s <= 0.0:
        return cold_s if copies <= NEGLIGIBLE else 0.0
    turns_s = duration_s / copies
    if rank > 1:
        return rank * turns_s - erlang_excess(rank, 1.0 / turns_s, cold_s)
    return -turns_s * math.expm1(-cold_s / turns_s)


def stay_s(states: int, put_per_s: float, cold_s: float, fresh_for_s: float) -> float:
    """How long a state stays on a bot, = states held in all / states put on bots per second.

    Within [cold cost, four hours], never beyond the spec's freshness; an hour when nothing is known of puts.
    """
    stays_s = states / put_per_s if put_per_s > 0 else LONGEST_RESIDENCE_S
    return min(max(stays_s, cold_s), LONGEST_STAY_S, max(fresh_for_s, 1.0))


def erlang_excess(rank: int, rate_per_s: float, patience_s: float) -> float:
    """E[(T − c)⁺] for T ~ Erlang(rank, rate): how much longer than c the rank-th of random ends lets one wait.

    = (u/r) · Q(u + 1, rc) − c · Q(u, rc), with Q(u, x) = e^−x Σ_{i<u} x^i / i!. An example: one end per 100 s, c 60 s:
    100 · e^−0.6 = 55 s.
    """
    x = rate_per_s * patience_s
    if x > 700.0:
        return 0.0
    term = math.exp(-x)
    below = 0.0
    for i in range(rank):
        below += term
        term *= x / (i + 1)
    return rank / rate_per_s * (below + term) - patience_s * below


def needed_soon(arrivals: float, spare: int) -> float:
    """Probability that more than `spare` tasks come when `arrivals` are expected (Poisson)."""
    if arrivals <= 1e-12 or spare > arrivals + 8.0 * math.sqrt(arrivals) + 8.0:
        return 0.0
    if arrivals > 30:
        return 0.5 * math.erfc((spare + 0.5 - arrivals) / math.sqrt(2 * arrivals))
    term = below = math.exp(-arrivals)
    for number in range(1, spare + 1):
        term *= arrivals / number
        below += term
    return max(0.0, 1.0 - below)
