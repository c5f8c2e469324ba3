"""Figures over replicas: medians, shares of the ceiling's gain, and what was saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from server.policy.simulate.replay import Path

Figures = dict[str, float | None]
BASE, OFF, CEILING = "affinity", "off", "ceiling"


def quantile(ordered: Sequence[float], share: float) -> float:
    """Nearest rank in a sorted sequence; 0 when it is empty."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def mean_s(path: Path) -> float:
    """Mean perceived overhead in seconds."""
    return path.total_s / max(1, len(path.overhead))


def figures(paths: Mapping[str, Sequence[Path]]) -> dict[str, Figures]:
    """Per policy the medians over its replicas. The replicas of all policies are of the same arrivals, in order.

    `ceiling_share`: the share of the clairvoyant's gain over affinity that it has. `saved_s`: waiting saved against
    `off`. Both are None where what they are compared with was not replayed, or gains nothing.
    """
    return {name: _figures_of(name, paths) for name in paths}


def _figures_of(name: str, paths: Mapping[str, Sequence[Path]]) -> Figures:
    own = paths[name]

    def over(values: Sequence[float]) -> float:
        return median(values)

    shares = [share for number in range(len(own)) if (share := _ceiling_share(name, number, paths)) is not None]
    saved = [off.total_s - path.total_s for path, off in zip(own, paths.get(OFF, ()), strict=False)]
    return {
        "mean_s": over([mean_s(path) for path in own]),
        "p50_s": over([quantile(path.overhead, 0.5) for path in own]),
        "p95_s": over([quantile(path.overhead, 0.95) for path in own]),
        "p99_s": over([quantile(path.overhead, 0.99) for path in own]),
        "queue_p99_s": over([quantile(path.queue, 0.99) for path in own]),
        "warm_rate": over([path.warm_rate for path in own]),
        "ceiling_share": over(shares) if shares else None,
        "background_s": over([path.background_s for path in own]),
        "on_demand_s": over([path.on_demand_s for path in own]),
        "saved_s": over(saved) if saved else None,
        "prewarms": over([path.prewarms for path in own]),
        "used": over([path.used for path in own]),
        "stale": over([path.stale for path in own]),
        "preempted": over([path.preempted for path in own]),
    } | _cleaning_of(own)


def _cleaning_of(own: Sequence[Path]) -> Figures:
    """Of a replay with clean-ups: bot seconds in the background, and the share of them that no task waited for."""
    hidden = [path.clean_hidden for path in own if path.clean_hidden is not None]
    return {"clean_s": median([path.clean_s for path in own]), "clean_hidden": median(hidden)} if hidden else {}


def _ceiling_share(name: str, number: int, paths: Mapping[str, Sequence[Path]]) -> float | None:
    if BASE not in paths or CEILING not in paths:
        return None
    base_s, best_s = mean_s(paths[BASE][number]), mean_s(paths[CEILING][number])
    if base_s - best_s < 1e-6:
        return None
    return (base_s - mean_s(paths[name][number])) / (base_s - best_s)
