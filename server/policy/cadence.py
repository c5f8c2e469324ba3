"""How long a bot that got nothing sleeps until its next poll.

The pool has a budget of polls per second, whatever its size. It is split by worth: bots whose warmth is likely to be
wanted poll often, interchangeable ones seldom.
"""

from __future__ import annotations

from collections.abc import Mapping

from server.policy.model import Thresholds

MOST_OFTEN = 4.0
"""The bot of most worth polls this many times as often as one of none."""
JITTER = 0.2


def sleeps(worth_s: Mapping[str, float], thresholds: Thresholds) -> dict[str, float]:
    """Seconds to sleep per idle bot, before jitter, within the pool's bounds.

    `worth_s` is what each bot's warmth is worth, in seconds of waiting that it is expected to save. A bot's share of
    the budget is 1 + 3 × (its worth / the largest worth). An example: 100 equal bots and 20 polls per second: 5 s each.
    """
    top = max(worth_s.values(), default=0.0)
    shares = {
        bot: 1.0 + (MOST_OFTEN - 1.0) * (max(0.0, worth) / top if top > 0 else 0.0) for bot, worth in worth_s.items()
    }
    in_all = sum(shares.values())
    budget = max(thresholds.polls_per_s, 1e-9)
    return {bot: bounded(in_all / (budget * share), thresholds) for bot, share in shares.items()}


def bounded(sleep_s: float, thresholds: Thresholds) -> float:
    """The sleep within the pool's bounds."""
    return min(thresholds.sleep_max_s, max(thresholds.sleep_min_s, sleep_s))


def jittered(sleep_s: float, fraction: float) -> float:
    """The sleep with ± 20 % of jitter, from a fraction drawn evenly from 0 to 1: 0 → −20 %, 0.5 → none, 1 → +20 %.

    Raises:
        ValueError: the fraction is not within 0 to 1.
    """
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"jitter fraction {fraction} is not within 0 to 1")
    return sleep_s * (1.0 - JITTER + 2.0 * JITTER * fraction)
