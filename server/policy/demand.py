"""Arrivals of real tasks that wanted a state, and what is expected of them."""

from __future__ import annotations

from server.policy.model import Demand

PRIOR_S = 3600.0
"""The operator's guess counts as much as this long of watching."""


def forecast_rates(demand: Demand, prior_per_s: float) -> list[float]:
    """Expected arrivals per second, one rate per memory.

    The prior is one more observation, PRIOR_S long: rate = (observed_s · measured + PRIOR_S · prior) / (observed_s +
    PRIOR_S). An example: prior 60 per hour, nothing came in 3 hours: 15 per hour. While it is unknown for how long
    anybody watched, the larger of the two.
    """
    if demand.observed_s <= 0.0:
        return [max(rate, prior_per_s) for rate in demand.rates_per_s.values()] or [prior_per_s]
    faith = PRIOR_S / (PRIOR_S + demand.observed_s) if prior_per_s > 0 else 0.0
    measured = list(demand.rates_per_s.values()) or [0.0]
    return [(1.0 - faith) * rate + faith * prior_per_s for rate in measured]
