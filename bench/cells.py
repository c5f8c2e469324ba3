"""The cells of the policy bench: which replays there are, and their figures in a folder, one file per cell and policy.

A run that is cut goes on where it was: replicas that stand in the folder are not replayed again. To measure anew,
delete files: `rm OUT/*/*-pilotlight.json` after a change of the policy.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench import made
from server import simulation
from server.policy import simulate
from server.policy.simulate import replay, report, trace
from server.policy.simulate.announced import Heralds, announcements
from server.policy.simulate.options import REAL_FAILURES, REAL_HEAR_S, REAL_LIVES_S, Options

IDEAL, ANNOUNCED, CLEAN, REAL, SEEDS, COST = "ideal", "announced", "clean", "real", "seeds", "cost"
POLICIES = {
    IDEAL: ("none", "affinity", "off", "ewma", "histogram", "ceiling", "pilotlight"),
    ANNOUNCED: ("pilotlight",),
    CLEAN: ("off", replay.CLEAN_AT_ONCE, "pilotlight"),
    REAL: ("affinity", "off", "pilotlight"),
    SEEDS: ("pilotlight",),
    COST: ("affinity", "off", "pilotlight"),
}
"""Variant → the policies that are compared in it."""
MAIN = (1, 0.6)
"""States per bot and busy hour that the design's figures are of; replayed first."""
HERALDS = Heralds(share=0.5, lead_s=600.0, false_share=0.1)
CLEAN_S = 60.0
SEEDS_OF = ("faas_genai", 600.0)
"""The trace and cold cost on which a fleet may collapse, and that so is replayed with many seeds."""
MANY_SEEDS = 20
SEED, JITTER_S = 1, 60.0
DRAWING = {"chart", "figure", "svg", "watch"}
THE_SERVERS = {"pilotlight", "off", replay.CLEAN_AT_ONCE}
"""Policies that decide by the server's code …"""
OTHERS_LACK = {"pilotlight", "mirror", "learning", "off"}
"""… and what no other policy uses of the simulator. DRAWING decides nothing."""


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One configuration: a trace, its cold cost, states per bot, and how busy the fleet is in the busy hour."""

    trace: str
    cold_s: float
    slots: int = 1
    utilization: float = 0.6

    @property
    def name(self) -> str:
        """As files are called."""
        return f"{self.cold_s:g}-{self.slots}-{self.utilization:.0%}".rstrip("%")


@dataclass(frozen=True, slots=True)
class Unit:
    """What is replayed in one go: a policy in a variant of a cell."""

    cell: Cell
    variant: str
    policy: str

    def file(self, out: Path) -> Path:
        """Where its figures stand."""
        return out / self.cell.trace / f"{self.cell.name}-{self.variant}-{self.policy}.json"


def units(cells: Iterable[Cell], variants: Iterable[str]) -> list[Unit]:
    """What there is to replay, the design's own configurations first, and of each what is quick first."""
    found = [
        Unit(cell, variant, policy)
        for variant in variants
        for cell in ([Cell(made.NAME, 60.0)] if variant == COST else cells)
        if variant != SEEDS or ((cell.trace, cell.cold_s) == SEEDS_OF and cell.utilization == MAIN[1])
        for policy in POLICIES[variant]
    ]
    return sorted(found, key=lambda one: ((one.cell.slots, one.cell.utilization) != MAIN, one.policy == "pilotlight"))


def options_of(unit: Unit, bots: int) -> Options:
    """The world of a unit."""
    ideal = Options(bots, cold_s=unit.cell.cold_s, slots=unit.cell.slots)
    if unit.variant == CLEAN:
        return replace(ideal, clean_s=CLEAN_S)
    if unit.variant == REAL:
        return replace(ideal, hear_s=REAL_HEAR_S, prewarm_failures=REAL_FAILURES, bot_lives_s=REAL_LIVES_S)
    return ideal


# ---- replays


@lru_cache(maxsize=2)
def _arrivals(file: Path) -> list[trace.Arrival]:
    return made.made_week() if file.name == f"{made.NAME}.csv.gz" else simulation.load(file)


def run(unit: Unit, folder: Path, out: Path, replicas: int, bots: int | None) -> str:
    """Replays what is missing of a unit, replica by replica; what was done, for people."""
    file = unit.file(out)
    known = read(file) or {"code": code_of(unit.policy), "replicas": []}
    wanted = {SEEDS: MANY_SEEDS, COST: 1}.get(unit.variant, replicas)
    bots = made.BOTS if unit.variant == COST else bots
    missing = range(len(known["replicas"]), wanted)
    if not missing:
        return ""
    arrivals = _arrivals(folder / f"{unit.cell.trace}.csv.gz")
    known["bots"] = known.get("bots") or bots or _fleet(unit.cell, arrivals, out)
    for number in missing:
        known["replicas"].append(_replica(unit, arrivals, options_of(unit, known["bots"]), number))
        write(file, known)
    took_s = sum(one["cpu_s"] for one in known["replicas"][-len(missing) :])
    return f"{unit.cell.trace} {unit.cell.name} {unit.variant} {unit.policy}: {len(missing)} replicas in {took_s:.0f} s"


def _replica(unit: Unit, arrivals: list[trace.Arrival], options: Options, number: int) -> dict[str, Any]:
    seed = 1000 * SEED + number
    path = trace.jittered(arrivals, random.Random(seed), JITTER_S)
    said = announcements(path, HERALDS, random.Random(seed + 700)) if unit.variant == ANNOUNCED else ()
    began_s = time.process_time()
    found = replay.replay(unit.policy, path, options, random.Random(seed + 500), simulation.thresholds(), said)
    cpu_s = time.process_time() - began_s
    figures = report.figures({unit.policy: [found]})[unit.policy]
    kept = {name: value for name, value in figures.items() if value is not None}
    return {**kept, "total_s": found.total_s, "tasks": len(found.overhead), "cpu_s": cpu_s}


def _fleet(cell: Cell, arrivals: list[trace.Arrival], out: Path) -> int:
    file = out / cell.trace / f"{cell.name}-bots.json"
    known = read(file)
    if known is None:
        options = Options(1, cold_s=cell.cold_s, slots=cell.slots)
        known = {"bots": replay.fleet_size(arrivals, options, random.Random(SEED), cell.utilization)}
        write(file, known)
    return int(known["bots"])


# ---- files


def read(file: Path) -> dict[str, Any] | None:
    """What stands in a file; None when it is not there."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def write(file: Path, content: dict[str, Any]) -> None:
    """Whole or not at all, whoever ends the run."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(content, indent=1), encoding="utf-8")
    part.replace(file)


def stored(found: Iterable[Unit], out: Path) -> Iterator[tuple[Unit, dict[str, Any]]]:
    """Units of which the folder has figures, with them."""
    for unit in found:
        content = read(unit.file(out))
        if content is not None and content["replicas"]:
            yield unit, content


@lru_cache
def code_of(policy: str) -> str:
    """A digest of the code that decides what figures come out, so that one sees which were measured with another."""
    own = Path(simulate.__file__).parent
    if policy in THE_SERVERS:
        files, left_out = own.parent.rglob("*.py"), DRAWING
    else:
        files, left_out = own.glob("*.py"), {*DRAWING, *OTHERS_LACK}
    digest = hashlib.sha256()
    for file in sorted(file for file in files if file.stem not in left_out):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
