"""The options of benches that replay a folder of traces and write a table into a page."""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from bench.cells import MAIN, SEED
from server import simulation
from server.policy.simulate.options import Options
from server.policy.simulate.replay import fleet_size


def options(about: str | None) -> argparse.ArgumentParser:
    """Which traces, at which cold costs, how often, on how many processors, and where the table goes."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of traces, *.csv.gz")
    parser.add_argument("--traces", default="", help="only these, by name")
    parser.add_argument("--cold-s", default="60,600")
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 1) - 1))
    parser.add_argument("--write", type=Path, help="page between whose marks the table goes; else it is printed")
    return parser


def traces(given: argparse.Namespace) -> list[Path]:
    """The files that were asked for, by name."""
    names = given.traces.split(",") if given.traces else []
    return [file for file in sorted(given.folder.glob("*.csv.gz")) if not names or file.name.partition(".")[0] in names]


def fleets(given: argparse.Namespace) -> Iterator[tuple[Path, float, int]]:
    """Each trace at each cold cost, and the bots that it calls for: sized as the bench's main ones."""
    for file, cold_s in product(traces(given), map(float, given.cold_s.split(","))):
        yield file, cold_s, fleet_size(simulation.load(file), Options(1, cold_s=cold_s), random.Random(SEED), MAIN[1])
