"""Replays a folder of traces under all policies, and writes the tables and targets of `docs/policy.md`.

    python -m bench.policy TRACES --out RESULTS                     # all of it: hours; goes on where it was cut
    python -m bench.policy TRACES --out RESULTS --slots 1 --utilization 0.6 --variants ideal,announced
    python -m bench.policy TRACES --out RESULTS --only-write docs/policy.md

Variants: ideal (everybody hears at once, nothing fails), announced (half of the tasks 600 s ahead, 10 % false), clean
(60 s after each task), real (delays, failures, deaths), seeds (20 paths of the fleet that may collapse), cost (a
made-up week of 200,000 tasks on 500 bots).
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from pathlib import Path

from bench import cells, page
from bench.cells import Cell, Unit
from bench.targets import Results


def fleets(text: str) -> dict[tuple[str, float], int]:
    """Fleet sizes that were given, by trace and cold cost."""
    found = {}
    for entry in filter(None, text.split(",")):
        name, _, rest = entry.partition(":")
        cold, _, bots = rest.partition("=")
        found[name, float(cold)] = int(bots)
    return found


def results_of(units: list[Unit], out: Path) -> tuple[Results, list[str]]:
    """Figures that stand in the folder, and what is to be said of them."""
    figures, replicas, older = {}, set(), 0
    for unit, content in cells.stored(units, out):
        rows = [{**row, "bots": content["bots"]} for row in content["replicas"]]
        figures[unit.cell, unit.variant, unit.policy] = rows
        replicas.add(len(rows))
        older += content["code"] != cells.code_of(unit.policy)
    count = f"{min(replicas)} to {max(replicas)}" if len(replicas) > 1 else f"{min(replicas, default=0)}"
    notes = [f"{len(figures)} of {len(units)} parts are measured; medians of {count} replicas."]
    if older:
        notes.append(f"{older} of the parts were measured with an earlier state of the code.")
    return Results(figures), notes


def replay_all(units: list[Unit], given: argparse.Namespace) -> None:
    """Replays what is missing, and tells of each unit."""
    sizes = fleets(given.bots)
    with ProcessPoolExecutor(given.jobs) as pool:
        waiting = [
            pool.submit(cells.run, unit, given.folder, given.out, given.replicas, sizes.get(_place(unit)))
            for unit in units
        ]
        for number, done in enumerate(as_completed(waiting), start=1):
            if done.result():
                print(f"{number} of {len(units)}: {done.result()}", flush=True)


def _place(unit: Unit) -> tuple[str, float]:
    return unit.cell.trace, unit.cell.cold_s


def chosen(given: argparse.Namespace) -> list[Unit]:
    """The units that the options name."""
    names = sorted(file.name.removesuffix(".csv.gz") for file in given.folder.glob("*.csv.gz"))
    names = [name for name in names if not given.traces or name in given.traces.split(",")]
    options = [map(float, given.cold_s.split(",")), map(int, given.slots.split(","))]
    found = [Cell(*one) for one in product(names, *options, map(float, given.utilization.split(",")))]
    wanted = given.policies.split(",") if given.policies else None
    units = cells.units(found, given.variants.split(","))
    return [unit for unit in units if wanted is None or unit.policy in wanted]


def main() -> None:
    """Reads the options, replays, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of traces, *.csv.gz")
    parser.add_argument("--out", type=Path, required=True, help="folder of figures; what is there is not replayed")
    parser.add_argument("--traces", default="", help="only these, by name")
    parser.add_argument("--policies", default="", help="only these")
    parser.add_argument("--variants", default=",".join(cells.POLICIES))
    parser.add_argument("--cold-s", default="60,600")
    parser.add_argument("--slots", default="1,5")
    parser.add_argument("--utilization", default="0.3,0.6,0.85")
    parser.add_argument("--replicas", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 1) - 1))
    parser.add_argument("--bots", default="", help="NAME:COLD=N,… for traces whose fleet is not to be sized")
    parser.add_argument("--write", type=Path, help="page between whose marks the tables go; else they are printed")
    parser.add_argument("--only-write", type=Path, help="the same, without replaying anything")
    given = parser.parse_args()
    units = chosen(given)
    if given.only_write is None:
        replay_all(units, given)
    made = page.page(*results_of(units, given.out))
    page.put(made, given.write or given.only_write)


if __name__ == "__main__":
    main()
