"""What is expected of one warm state, from one look at its demand to the next."""

from __future__ import annotations

from collections.abc import Sequence

from server.policy.costs import Costs
from server.policy.value import LONGEST_RESIDENCE_S, coming_free, miss_s, needed, rescuers


class Expected:
    """The rates of one state, how long it stays, and what was worked out of that while the same tasks use it.

    `tasks_per_s` and `weights` go by memory. `stay_s` is for how long a copy stays, `horizon_s` for how long of that
    it is judged: T.
    """

    __slots__ = (
        "_ages_s",
        "_beside",
        "_bets",
        "_free",
        "_needs",
        "horizon_s",
        "in_use",
        "stay_s",
        "tasks_per_s",
        "weights",
    )

    def __init__(self, tasks_per_s: list[float], weights: list[float], stay_s: float, matters_s: float) -> None:
        self.tasks_per_s, self.weights = tasks_per_s, weights
        self.stay_s, self.horizon_s = stay_s, min(stay_s, LONGEST_RESIDENCE_S, matters_s)
        self.forget()

    def forget(self) -> None:
        """What tasks take has changed: nothing that was worked out holds."""
        self.see_uses(-1, (), 0.0)

    def see_uses(self, version: int, ages_s: Sequence[float], beside: float) -> None:
        """Other tasks use the state now, which have worked for so long; `version` tells them from others.

        So many copies are expected to come free within the horizon on bots that work on something else.
        """
        self.in_use, self._ages_s, self._beside = version, ages_s, beside
        self._free: dict[float, float] = {}
        self._needs: dict[int, float] = {}
        self._bets: dict[int, tuple[float, float]] = {}

    def need(self, copy: int, costs: Costs) -> float:
        """V(k, j) of the copy-th idle copy within the horizon."""
        found = self._needs.get(copy)
        if found is None:
            x = copy + self._free_within(self.horizon_s, costs)
            found = self._needs[copy] = needed(self.tasks_per_s, self.weights, costs.load_s, self.horizon_s, x)
        return found

    def need_in_all(self, copy: int, costs: Costs) -> float:
        """The probability that the copy-th idle copy is needed in all the time for which it would stay."""
        x = copy + self._free_within(self.stay_s, costs)
        return needed(self.tasks_per_s, self.weights, costs.load_s, self.stay_s, x)

    def need_and_miss(self, copy: int, costs: Costs) -> tuple[float, float]:
        """V(k, j) and m of a copy that is yet to be made: behind those, too, on bots that work on something else.

        m is what a task pays that misses it, in seconds.
        """
        found = self._bets.get(copy)
        if found is None:
            x = copy + self._free_within(self.horizon_s, costs) + self._beside
            need = needed(self.tasks_per_s, self.weights, costs.load_s, self.horizon_s, x)
            found = self._bets[copy] = need, miss_s(costs.cold_s, rescuers(x), costs.occupied_s)
        return found

    def _free_within(self, residence_s: float, costs: Costs) -> float:
        found = self._free.get(residence_s)
        if found is None:
            found = self._free[residence_s] = coming_free(self._ages_s, costs.occupied_s, residence_s)
        return found
