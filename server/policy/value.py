"""What a warm state is worth: V(k, j), the probability that its j-th idle copy is needed while it would still be there.

With arrivals at rate λ of tasks that occupy a bot for d + w seconds, the j-th copy is needed by the arrivals that the
first j − 1 cannot serve and j can: Erlang's loss B(a, j − 1) − B(a, j), with a = λ · min(d + w, T). Within the
residence time T (how long a state stays on a bot before something displaces it) that gives

    V(k, j) = 1 − exp(−T · Σ_s w_s · λ_s · [B(a_s, x − 1) − B(a_s, x)]),   x = j + busy · T / (T + d + w)

over several memories s of the arrival rate, equally weighted for now. A probability, not hits × T: a lost copy costs at
most one miss, since the miss makes it again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_RESIDENCE_S = 3600.0
NEGLIGIBLE = 1e-12


def erlang_b(load: float, servers: int) -> float:
    """Share of arrivals that find all servers busy: B(0) = 1, B(i) = a·B(i − 1) / (i + a·B(i − 1)).

    An example: a load of 1 on 2 servers loses 20 %.
    """
    lost = 1.0
    for server in range(1, servers + 1):
        lost = _next_loss(load, lost, server)
    return lost


def _next_loss(load: float, lost: float, server: int) -> float:
    offered = load * lost
    return offered / (server + offered)


@dataclass(frozen=True, slots=True)
class Needs:
    """What V needs to know of a state: arrival rates by memory, task time d, warm start w, residence T, busy copies."""

    rates_per_s: Sequence[float]
    duration_s: float
    warm_s: float
    residence_s: float
    busy: float = 0.0


class Curve:
    """V(k, ·) of one state. `promised` are the least probabilities of its first copies, from announcements."""

    __slots__ = ("_loads", "_losses", "_needs", "_offset", "_promised", "_served")

    def __init__(self, needs: Needs, promised: Sequence[tuple[float, float]] = ()) -> None:
        occupied_s = needs.duration_s + needs.warm_s
        self._needs = needs
        self._promised = promised
        self._offset = needs.busy * needs.residence_s / (needs.residence_s + occupied_s)
        self._loads = [rate * min(occupied_s, needs.residence_s) for rate in needs.rates_per_s]
        self._losses = [1.0] * len(self._loads)
        self._served = [0.0]

    def _served_per_s(self, server: int) -> float:
        """What the server of this number serves of what those before it could not, averaged over the memories."""
        served = self._served
        while len(served) <= server:
            number = len(served)
            if number > 1 and served[-1] < NEGLIGIBLE:
                return 0.0
            in_all = 0.0
            for at, (rate, load) in enumerate(zip(self._needs.rates_per_s, self._loads, strict=True)):
                before = self._losses[at]
                after = self._losses[at] = _next_loss(load, before, number)
                in_all += rate * (before - after)
            served.append(in_all / len(self._loads) if self._loads else 0.0)
        return served[server]

    def forecast(self, copy: int) -> float:
        """V of the copy-th idle copy (from 1) by arrivals alone; linear between whole numbers of copies."""
        x = copy + self._offset
        whole = int(x)
        part = x - whole
        served = self._served_per_s(whole)
        if part:
            served += part * (self._served_per_s(whole + 1) - served)
        return 1.0 - math.exp(-self._needs.residence_s * served)

    def announced(self, copy: int) -> float:
        """The confidence with which somebody announced that the copy-th copy will be needed, 0 when nobody did."""
        reached = 0.0
        for number, confidence in self._promised:
            reached += number
            if copy <= reached + NEGLIGIBLE:
                return confidence
        return 0.0

    def at(self, copy: int) -> float:
        """The larger of the two."""
        return max(self.forecast(copy), self.announced(copy)) if self._promised else self.forecast(copy)


def residence_s(states: int, put_per_s: float, cold_s: float, fresh_for_s: float) -> float:
    """T: how long a state stays on a bot, = states held in all / states put on bots per second.

    Within [cold cost, one hour], never beyond the spec's freshness; an hour when nothing is known of puts.
    """
    stays_s = states / put_per_s if put_per_s > 0 else LONGEST_RESIDENCE_S
    return min(max(stays_s, cold_s), LONGEST_RESIDENCE_S, max(fresh_for_s, 1.0))


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
