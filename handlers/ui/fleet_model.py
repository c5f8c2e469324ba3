"""The fleet page in numbers and sentences, from what `server.fleet_report` tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from handlers.ui.chrome import STALE_AFTER_S
from handlers.ui.visit import Visit
from handlers.ui.words import percent_of
from server import fleet_report
from server.policy.words import count, duration, seconds, share

MOST_ROWS = 25
"""Bots in the table of the fleet page; `/bots` has them all."""
MOST_NEEDS = 7
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tile:
    """A number beside its limit or rival. `bar` and `mark` are percent of the width, None without."""

    label: str
    value: str
    note: str
    small: str = ""
    bar: float | None = None
    mark: float | None = None
    tone: str = "real"
    known: bool = True


@dataclass(frozen=True, slots=True)
class Need:
    """What a person can change: what it is (a sentence without its end), what follows, and one thing to do."""

    tone: str
    title: str
    text: str
    action: str
    address: str

    @property
    def clause(self) -> str:
        """The title within a sentence."""
        return "t" + self.title[1:] if self.title.startswith("The ") else self.title


@dataclass(frozen=True, slots=True)
class Totals:
    """The ledger summed up. Times are seconds."""

    prewarms: float
    used: float
    failed: float
    stopped: float
    spent_s: float
    saved_s: float
    warm: float
    cold: float

    @classmethod
    def of(cls, specs: Iterable[Row]) -> Totals:
        """Sums rows of the ledger."""
        rows = list(specs)
        names = ("prewarms", "used", "failed", "preempted", "background_s", "saved_s", "warm_starts", "cold_starts")
        return cls(*(sum(row[name] for row in rows) for name in names))


def fleet(visit: Visit) -> dict[str, Any]:
    """What `server.fleet_report` tells the visitor."""
    report = fleet_report.fleet(visit.service, visit.principal)
    config = visit.service.config
    pools = [
        {**pool, "utilization_start": config.thresholds(pool["pool"]).utilization_start} for pool in report["pools"]
    ]
    return {**report, "pools": pools, "alarm": visit.service.alarm}


def ledger(visit: Visit) -> list[dict[str, Any]]:
    """Rows of the ledger that the visitor may see."""
    rows: list[dict[str, Any]] = fleet_report.ledger(visit.service, visit.principal)["specs"]
    return rows


def verdict(report: Row, totals: Totals, needs: Sequence[Need]) -> str:
    """The sentence on top: how the fleet is, and what prewarming has brought so far."""
    return f"{health(report, needs)} {_brought(totals)}"


def health(report: Row, needs: Sequence[Need]) -> str:
    """Healthy, Busy or Degraded, by fixed thresholds: never healthy over an old view, lost bots or what is broken.

    Args:
        report: of the fleet.
        needs: what a person can change, worst first.
    """
    bots, pools = report["bots"], report["pools"]
    lost, silent = (_count_of(bots, *states) for states in (("dead", "quarantined", "silent"), ("silent",)))
    if report["view_age_s"] > STALE_AFTER_S:
        return "Degraded: the picture below is old."
    if report["alarm"]:
        return "Degraded: many bots fell silent at once."
    if lost * 10 >= len(bots) > 0 and lost:
        return f"Degraded: {count(lost, 'bot')} of {len(bots):,} {'silent or lost' if silent else 'lost'}."
    if needs and needs[0].tone == "bad":
        return f"Degraded: {needs[0].clause}."
    closed = [pool["pool"] for pool in pools if _is_busy(pool)]
    state = f"Busy in {', '.join(closed)}" if closed else "Healthy"
    return f"{state}, but {needs[0].clause}." if needs else f"{state}."


def _count_of(bots: Iterable[Row], *states: str) -> int:
    return sum(bot["status"] in states for bot in bots)


def _is_busy(pool: Row) -> bool:
    """Whether utilization keeps its gate closed; a gate that has yet to open after a start is no business."""
    closed = any(gate["gate"] == "utilization" and not gate["passed"] for gate in pool["gates"])
    return closed and pool["utilization"] is not None and pool["utilization"] >= pool["utilization_start"]


def _brought(totals: Totals) -> str:
    if totals.used:
        return (
            f"Prewarming saved about {duration(totals.saved_s)} of waiting (modelled) "
            f"and spent {duration(totals.spent_s)} of idle time."
        )
    if totals.prewarms:
        runs = count(int(totals.prewarms), "prewarm")
        return f"{runs} made, none used by a task yet: what they save is not yet measured."
    return "Nothing was prewarmed yet."


def summary(report: Row) -> str:
    """The line below the verdict."""
    bots, pools = report["bots"], report["pools"]
    states = {name: sum(pool[name] for pool in pools) for name in ("busy", "background", "pending")}
    parts = [f"{count(len(bots), 'bot')} in {count(len(pools), 'pool')}"]
    if bots:
        parts.append(f"{share(states['busy'] / len(bots))} busy with real tasks")
    if states["background"]:
        parts.append(f"{states['background']} in background work")
    if silent := _count_of(bots, "silent"):
        parts.append(f"{silent} silent")
    if states["pending"]:
        parts.append(f"{count(states['pending'], 'task')} waiting")
    return " · ".join(parts)


def tiles(totals: Totals, max_cost: float) -> list[Tile]:
    """The tiles for which there are numbers."""
    return [_saved(totals), _spent(totals, max_cost), _used(totals), _stopped(totals), _started_warm(totals)]


def _saved(totals: Totals) -> Tile:
    if not totals.used:
        return Tile("Waiting saved", "–", "No task has used a prewarm yet", known=False)
    both = totals.saved_s + totals.spent_s
    note = "Modelled; specs tell what is measured"
    return Tile("Waiting saved", duration(totals.saved_s), note, bar=percent_of(totals.saved_s, both), tone="good")


def _spent(totals: Totals, max_cost: float) -> Tile:
    limit = f"limit {max_cost:g}"
    if not totals.saved_s:
        return Tile("Idle time spent", duration(totals.spent_s), "Nothing saved by it yet")
    cost = totals.spent_s / totals.saved_s
    note = f"{seconds(cost)} per saved second, {limit}"
    bar = percent_of(cost, max_cost)
    return Tile("Idle time spent", duration(totals.spent_s), note, bar=bar, mark=100.0, tone="bg")


def _used(totals: Totals) -> Tile:
    if not totals.prewarms:
        return Tile("Prewarms used", "–", "None has finished yet", known=False)
    small = f"of {totals.prewarms:,.0f}"
    note = f"{totals.prewarms - totals.used:,.0f} unused so far, {totals.failed:,.0f} failed"
    return Tile("Prewarms used", f"{totals.used:,.0f}", note, small, percent_of(totals.used, totals.prewarms))


def _stopped(totals: Totals) -> Tile:
    runs = totals.prewarms + totals.failed + totals.stopped
    note = "For a real task, or no longer of use"
    if not runs:
        return Tile("Preempted", "–", "No background run has ended yet", known=False)
    small = f"of {runs:,.0f} runs"
    return Tile("Preempted", f"{totals.stopped:,.0f}", note, small, percent_of(totals.stopped, runs))


def _started_warm(totals: Totals) -> Tile:
    every = totals.warm + totals.cold
    if not every:
        return Tile("Started warm", "–", "No task has wanted a warm state yet", known=False)
    note = f"{totals.warm:,.0f} of {totals.warm + totals.cold:,.0f} starts that wanted a state"
    bar = percent_of(totals.warm, every)
    return Tile("Started warm", share(totals.warm / every), note, bar=bar, tone="good")


def needs(visit: Visit, report: Row) -> list[Need]:
    """What a person can change, worst first."""
    found = [need for pool in report["pools"] for need in _needs_of(visit, pool)]
    return sorted(found, key=lambda need: need.tone != "bad")


def _needs_of(visit: Visit, pool: Row) -> Iterable[Need]:
    name = pool["pool"]
    config = f"/config/pools/{name}"
    bots = f"/bots?pool={name}"
    for family, why in sorted(visit.service.view.gate(name).open_breakers.items()):
        text = f"{why or 'Its runs failed in a row'}. It is not prewarmed until it is resumed."
        yield Need("bad", f"The circuit breaker of {family} is open", text, "See the spec", f"/specs/{family}")
    if pool["quarantined"]:
        who = "It takes" if pool["quarantined"] == 1 else "They take"
        text = f"{who} no work until the cause is gone."
        yield Need(
            "warn",
            f"{count(pool['quarantined'], f'bot in {name} is', f'bots in {name} are')} quarantined",
            text,
            "See the bots",
            f"{bots}&state=quarantined",
        )
    if pool["silent"]:
        text = "No poll came when it was due, so nothing is planned for them. After death_timeout_s they count as gone."
        title = f"{count(pool['silent'], f'bot in {name} is', f'bots in {name} are')} silent"
        yield Need("warn", title, text, "See the bots", f"{bots}&state=silent")
    if pool["dead"]:
        text = "Not seen for longer than death_timeout_s, or signed off."
        title = f"{count(pool['dead'], f'bot in {name} is', f'bots in {name} are')} gone"
        yield Need("warn", title, text, "See the bots", f"{bots}&state=dead")
    if pool["drained"] and pool["pending"]:
        waits = count(pool["pending"], f"task in {name} waits", f"tasks in {name} wait")
        text = f"{waits} until drained is false."
        yield Need("warn", f"{name} is drained", text, "Change it", f"{config}?set=drained:false")
    elif pool["pending"] and not pool["bots"]:
        text = f"{count(pool['pending'], 'task asks', 'tasks ask')} for {name}, where no bot is."
        yield Need("bad", f"{name} has no bots", text, "How to start one", "/start")
    for gate in pool["gates"]:
        if gate["gate"] == "ledger" and not gate["passed"]:
            title = f"{name} went to shadow mode by itself"
            yield Need("warn", title, gate["text"], "See its decisions", f"/pools/{name}")


def rows_of_bots(visit: Visit, bots: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows of the table of bots: what each holds, what it does."""
    specs = visit.service.view.specs()
    rows = []
    for bot in bots:
        held = [
            _chip(specs, name, slot) for name, slot in bot["slots"].items() if slot["phase"] not in ("cold", "unknown")
        ]
        rows.append({**bot, "holds": held, "since_s": bot["held_since_s"] or bot["idle_since_s"]})
    return rows


def slots_of(visit: Visit, bot: Row) -> list[dict[str, Any]]:
    """All slots of a bot, cold ones too."""
    specs = visit.service.view.specs()
    return [_chip(specs, name, slot) for name, slot in bot["slots"].items()]


def _chip(specs: Mapping[str, Any], name: str, slot: Row) -> dict[str, Any]:
    spec = specs.get(slot["family"])
    colour, letters = (spec.colour, spec.letters) if spec else (0, slot["family"][:2].upper())
    phase = slot["phase"].replace("_", " ")
    return {**slot, "slot": name, "colour": colour, "letters": letters, "phase": phase, "spec": spec is not None}


def sentence_of_pool(pool: Row) -> str:
    """How a pool's gates stand, in one sentence."""
    if not pool["bots"]:
        return "No bots yet."
    refused = next((gate for gate in pool["gates"] if not gate["passed"]), None)
    if refused is None:
        return f"All gates are open. {count(pool['idle'], 'bot')} idle, reserve {pool['reserve']}."
    return str(refused["text"])
