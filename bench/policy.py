"""Replays a folder of traces: `python -m bench.policy FOLDER [--policies affinity,off] [--replicas 5] …`.

Prints the table that `docs/policy.md` shows, one line per trace and cold cost: the mean overhead of each policy in
seconds, in the ideal world. The fleet of a trace is sized at `--utilization`, or given as `--bots NAME:COLD=N,…`.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from server import simulation
from server.policy.simulate import replay, report
from server.policy.simulate.options import Options


def fleets(text: str) -> dict[tuple[str, float], int]:
    """Fleet sizes that were given, by trace and cold cost."""
    found = {}
    for entry in filter(None, text.split(",")):
        name, _, rest = entry.partition(":")
        cold, _, bots = rest.partition("=")
        found[name, float(cold)] = int(bots)
    return found


def row(file: Path, cold_s: float, given: argparse.Namespace) -> str:
    """One line of the table."""
    name = file.name.removesuffix(".csv.gz")
    arrivals = simulation.load(file)
    options = Options(1, cold_s=cold_s, slots=given.slots)
    bots = fleets(given.bots).get((name, cold_s))
    if bots is None:
        bots = replay.fleet_size(arrivals, options, random.Random(given.seed), given.utilization)
    options = Options(bots, cold_s=cold_s, slots=given.slots)
    study = simulation.Study(given.policies.split(","), given.replicas, seed=given.seed)
    found = report.figures(simulation.run(arrivals, options, study, simulation.thresholds()))
    means = " | ".join(f"{figures['mean_s']:.3g}" for figures in found.values())
    return f"| {name} {cold_s:g} | {bots} | {means} |"


def main() -> None:
    """Reads the options, prints the table line by line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--policies", default="affinity,off,ceiling")
    parser.add_argument("--cold-s", default="60,600")
    parser.add_argument("--replicas", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--utilization", type=float, default=0.6)
    parser.add_argument("--bots", default="", help="NAME:COLD=N,… for traces whose fleet is not to be sized")
    given = parser.parse_args()
    names = given.policies.split(",")
    print("| trace / cold s | bots | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 2))
    for file in sorted(given.folder.glob("*.csv.gz")):
        for cold_s in map(float, given.cold_s.split(",")):
            print(row(file, cold_s, given), flush=True)


if __name__ == "__main__":
    main()
