"""Decisions made again: from a view alone, from the same in another order, and on a fleet that is kept up."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from server.policy.fleet import Fleet
from server.policy.minds import Minds
from server.policy.model import PoolView
from server.policy.plan import plan_of
from server.policy.recorded import decided, view_from_plain

Decided = dict[str, Any]


def recorded(folder: Path) -> Iterator[tuple[PoolView, Decided]]:
    """The views that the processes of a server wrote down, each with what was decided on it."""
    for file in sorted(folder.glob("plans-*.jsonl")):
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                plain = json.loads(line)
                yield view_from_plain(plain["view"]), plain["decided"]


def decide_on(fleet: Fleet, minds: Minds | None = None) -> Decided:
    """What a fleet's plan decides, as it would be read back; by minds that were kept, or new ones."""
    made = decided(plan_of(minds or Minds.about(fleet)), fleet.now_s)
    return json.loads(json.dumps(made))


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """The places in which two plain values differ. Sums in another order may differ in the last digits."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted({*one, *other})
        return [text for key in keys for text in differences(one.get(key), other.get(key), f"{where}.{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [text for at, both in pairs for text in differences(*both, f"{where}.{at}")]
    if isinstance(one, float) and isinstance(other, float):
        return [] if math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9) else [f"{where}: {one} and {other}"]
    return [] if one == other else [f"{where}: {one} and {other}"]


def shuffled(view: PoolView, dice: random.Random) -> PoolView:
    """The same pool: what has no order of its own (bots, tasks, specs, mappings) comes in another one."""
    made = _mixed(view, dice)
    bots, pending, specs = list(made.bots), list(made.pending), list(made.specs)
    for several in (bots, pending, specs):
        dice.shuffle(several)
    return replace(made, bots=tuple(bots), pending=tuple(pending), specs=tuple(specs))


def _mixed(value: Any, dice: random.Random) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _mixed(getattr(value, field.name), dice) for field in fields(value)})
    if isinstance(value, Mapping):
        pairs = [(key, _mixed(one, dice)) for key, one in value.items()]
        dice.shuffle(pairs)
        return dict(pairs)
    if isinstance(value, tuple):
        return tuple([_mixed(one, dice) for one in value])
    return value


class KeptFleet:
    """One index for a row of views, changed by what changed, as the simulator does it. `made` counts fresh starts."""

    def __init__(self) -> None:
        self.made = 0
        self._fleet: Fleet | None = None
        self._seen: PoolView | None = None
        self._began: PoolView | None = None
        self._asked: set[str] = set()
        self._minds: Minds | None = None

    def decide(self, view: PoolView) -> Decided:
        """What is decided by minds that are kept as well, and told that demand is another."""
        fleet = self.at(view)
        if self._minds is None or self._minds.fleet is not fleet:
            self._minds = Minds.about(fleet)
        self._minds.outlook.turned()
        for family in {*view.demand, *fleet.specs}:
            self._minds.outlook.stirred((family, ""))
        return decide_on(fleet, self._minds)

    def at(self, view: PoolView) -> Fleet:
        """The fleet as the view has it."""
        fleet, seen = self._fleet, self._seen
        self._seen = view
        self._asked |= {key for one in (*view.pending, *view.specs) for key, _ in one.dimensions}
        if fleet is None or seen is None or self._is_another(view, seen):
            self.made += 1
            self._began, self._fleet = view, Fleet(view)
            return self._fleet
        fleet.advance(view.now_s, view)
        for spec in sorted([spec for spec in view.specs if spec not in seen.specs], key=lambda spec: spec.sequence):
            fleet.put_spec(spec)
        waiting = {task.id: task for task in view.pending}
        for gone in [name for name in fleet.queues.by_id if name not in waiting]:
            fleet.drop_task(fleet.queues.by_id[gone])
        for task in view.pending:
            if fleet.queues.by_id.get(task.id) != task:
                fleet.put_task(task)
        before = {bot.id: bot for bot in seen.bots}
        for bot in view.bots:
            was_given = before[bot.id].held is None and (bot.id in fleet.real or bot.id in fleet.background)
            if was_given or bot != before[bot.id]:
                fleet.put_bot(bot)
        return fleet

    def _is_another(self, view: PoolView, seen: PoolView) -> bool:
        """Whether bots came or went, or look otherwise to requirements, or a family went: no index follows that."""
        families = [{spec.family for spec in one.specs} for one in (view, seen)]
        return not families[1] <= families[0] or self._looks(view) != self._looks(self._began or seen)

    def _looks(self, view: PoolView) -> dict[str, list[frozenset[str] | None]]:
        """What requirements may ask for, by bot."""
        keys = sorted(self._asked)
        return {bot.id: [bot.dimensions.get(key) for key in keys] for bot in view.bots}
