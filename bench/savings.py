"""How sure measured savings are: `python -m bench.savings [--experiments 400]`.

Simulated weeks of half-hour windows, 5 % of them held out, in which prewarming saves each task 15 s. All tasks of a
window share a part of their wait (exponential, 40 s on average) and have a part of their own (20 s). Printed: how often
the 95 % interval has the truth in it, when tasks are taken for independent ones (Welch) and as `server.policy.savings`
does it; for what part of the experiments it says anything; and half the interval's width. Measured, 400 experiments:

    tasks       weeks   Welch by task   by windows   says anything   ± s
    even            1            82 %         92 %            99 %    28
    even            2            82 %         94 %           100 %    19
    even            4            84 %         94 %           100 %    13
    in bursts       1            34 %         89 %            67 %    42
    in bursts       2            32 %         90 %            98 %    30
    in bursts       4            32 %         94 %           100 %    21
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
from collections.abc import Sequence

from server.policy.hold_out import Arm
from server.policy.savings import Estimate, Savings

WINDOWS_OF_A_WEEK = 7 * 48
SAVED_S = 15.0
TASKS = {"even": (0, 1, 1, 2, 3), "in bursts": (0, 1, 1, 2, 30)}
"""Tasks of a window, each number as likely as the others."""


def experiment(seed: int, windows: int, sizes: Sequence[int]) -> tuple[Estimate, bool | None]:
    """What the ledger says of so many windows, and whether Welch's interval by tasks has the truth in it."""
    rng, sums = random.Random(seed), Savings()
    waits_s: dict[Arm, list[float]] = {Arm.TREATED: [], Arm.HELD_OUT: []}
    for number in range(windows):
        arm = Arm.HELD_OUT if rng.random() < 0.05 else Arm.TREATED
        luck_s = rng.expovariate(1 / 40)
        for _ in range(rng.choice(sizes)):
            waited_s = luck_s + rng.expovariate(1 / 20) + (SAVED_S if arm is Arm.HELD_OUT else 0.0)
            waits_s[arm].append(waited_s)
            sums = sums.add(arm, number, waited_s, 0.0)
    one, other = waits_s[Arm.TREATED], waits_s[Arm.HELD_OUT]
    if min(len(one), len(other)) < 2:
        return sums.estimate(), None
    error_s = math.sqrt(statistics.variance(one) / len(one) + statistics.variance(other) / len(other))
    return sums.estimate(), abs(statistics.mean(other) - statistics.mean(one) - SAVED_S) <= 1.98 * error_s


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=400)
    experiments = parser.parse_args().experiments
    print("tasks       weeks   Welch by task   by windows   says anything   ± s")
    for name, sizes in TASKS.items():
        for weeks in (1, 2, 4):
            found = [experiment(seed, weeks * WINDOWS_OF_A_WEEK, sizes) for seed in range(experiments)]
            known = [one for one, _ in found if one.is_known]
            by_task = [right for _, right in found if right is not None]
            right = sum(one.low_s <= SAVED_S <= one.high_s for one in known) / len(known)
            half_s = statistics.median((one.high_s - one.low_s) / 2 for one in known)
            shares = f"{sum(by_task) / len(by_task):>11.0%} {right:>12.0%} {len(known) / len(found):>15.0%}"
            print(f"{name:<12}{weeks:>5} {shares} {half_s:>7.0f}")


if __name__ == "__main__":
    main()
