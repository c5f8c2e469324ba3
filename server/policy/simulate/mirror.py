"""The virtual fleet in the server's values: bots with slots and runs, and demand as the server's sums have it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache, lru_cache
from typing import Any, TypeVar

from server.policy.demand import DemandSums
from server.policy.model import Bot, Demand, Held, Phase, Purpose, Slot
from server.policy.queues import State
from server.policy.simulate import world as virtual
from server.policy.simulate.options import Options
from server.policy.simulate.parts import CLEAN
from server.policy.simulate.trace import split_key
from server.policy.simulate.world import World
from server.policy.words import named

EPOCH_S = 1_000_000_000.0
"""Time 0 of a trace; a time of 0 means "never" in the server's values."""
POOL = "replay"
DIMENSIONS = (("pool", (POOL,)),)
DIRT = "dirt"
"""The slot that is dirty after a task, beside those that hold states."""
ONLY = "current"
"""Generation of a family whose keys name none."""


Key = TypeVar("Key")


@lru_cache(maxsize=4096)
def state_of(key: str) -> State:
    """The server's name of the warm state that a key of a trace stands for."""
    family, generation = split_key(key)
    return family, generation or ONLY


@cache
def _dimensions(name: str) -> dict[str, frozenset[str]]:
    return {"pool": frozenset((POOL,)), "id": frozenset((name,))}


class _Lazily(Mapping[Key, Demand]):
    """Sums as the policy sees them, worked out when asked for."""

    def __init__(self) -> None:
        self.sums: dict[Key, DemandSums] = {}
        self._made: dict[Key, Demand] = {}

    def change(self, key: Key, step: Callable[[DemandSums], DemandSums]) -> None:
        """The next sums of one key."""
        self.sums[key] = step(self.sums.get(key) or DemandSums.watching(EPOCH_S))
        self._made.pop(key, None)

    def __getitem__(self, key: Key) -> Demand:
        found = self._made.get(key)
        if found is None:
            sums = self.sums[key]
            found = self._made[key] = sums.demand(sums.at_s)
        return found

    def get(self, key: Key, default: Any = None) -> Any:
        """As a mapping's own, without an exception for each key that is not there."""
        found = self._made.get(key)
        if found is None:
            return self[key] if key in self.sums else default
        return found

    def __iter__(self) -> Iterator[Key]:
        return iter(self.sums)

    def __len__(self) -> int:
        return len(self.sums)


class Demands:
    """Arrivals and lengths of a replay's tasks, by family and by generation."""

    def __init__(self) -> None:
        self.families: _Lazily[str] = _Lazily()
        self.states: _Lazily[State] = _Lazily()

    def add(self, family: str, generation: str, at_s: float, late: bool) -> None:
        """A task came, late if its generation had a successor already; "" is one that names none."""
        self.families.change(family, lambda sums: sums.add(at_s, late=late))
        if generation:
            self.states.change((family, generation), lambda sums: sums.add(at_s, late=late))
        if not generation or (family, "") not in self.states:
            sums = DemandSums.watching(EPOCH_S) if generation else self.families.sums[family]
            self.states.change((family, ""), lambda _: sums)

    def ran(self, family: str, duration_s: float) -> None:
        """A task of the family ended."""
        self.families.change(family, lambda sums: sums.observe(duration_s=duration_s))

    def rates(self, now_s: float) -> dict[str, dict[int, float]]:
        """Per family the rate that each memory gives."""
        return {family: sums.rates(now_s) for family, sums in self.families.sums.items()}


class Mirror:
    """Virtual bots as the server sees them. `keys` are the trace's names of the states."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.keys: dict[State, str] = {}
        self.nets: dict[int, float] = {}
        """Net value of the last bet on each bot."""

    def slot_of(self, state: State) -> str:
        """Where the state is kept: a bot that has room for several holds any of them side by side."""
        return "cache" if self._options.slots == 1 else "@".join(state)

    def bot(self, world: World, bot: virtual.Bot) -> Bot:
        """The bot as it is now."""
        name, run = str(bot.number), bot.run
        slots: dict[str, Slot] = {}
        for key, used_s in bot.states.items():
            family, generation = state_of(key)
            used = EPOCH_S + used_s
            used_by = run if run is not None and run.task is not None and run.key == key else None
            by_spec = family if key in bot.unused else ""
            slots[self.slot_of((family, generation))] = Slot(
                Phase.IN_USE if used_by is not None else Phase.WARM,
                family,
                generation,
                since_s=used,
                last_used_s=0.0 if by_spec else used,
                by_spec=by_spec,
                part=named(family, generation) if used_by is not None and used_by.is_cold else "",
            )
        held = None
        if run is not None:
            held = self._held(world, bot, run)
            if held.purpose not in (Purpose.REAL, Purpose.CLEAN):
                slots[held.slot] = Slot(
                    Phase.WARMING, held.family, held.generation, since_s=held.since_s, task_id=held.task_id
                )
        if bot.dirty:
            slots[DIRT] = Slot(Phase.DIRTY)
        if self._options.slots == 1 and not slots:
            slots["cache"] = Slot(Phase.COLD)
        sleeps = self._options.sleeping_polls
        return Bot(
            name,
            _dimensions(name),
            alive=bot.alive,
            idle_since_s=EPOCH_S + bot.free_since_s,
            slots=slots,
            held=held,
            next_poll_s=EPOCH_S + bot.next_poll_s if sleeps else 0.0,
            held_poll=not sleeps,
            most_states=self._options.slots if self._options.slots > 1 else 0,
            out_of_turn=bot.out_of_turn,
        )

    def _held(self, world: World, bot: virtual.Bot, run: virtual.Run) -> Held:
        if run.purpose == CLEAN:
            since_s, stop = EPOCH_S + run.began_s, "preempted" if run.wanted else ""
            return Held(f"run{run.serial}", run.serial, Purpose.CLEAN, CLEAN, "", DIRT, since_s=since_s, stop=stop)
        family, generation = state_of(run.key)
        return Held(
            str(run.task.number) if run.task is not None else f"run{run.serial}",
            run.serial,
            Purpose.REAL if run.task is not None else Purpose(run.purpose),
            family,
            generation,
            self.slot_of((family, generation)),
            since_s=EPOCH_S + run.began_s,
            stop="preempted" if run.wanted else "",
            net=self.nets.get(bot.number, 0.0) if run.task is None else 0.0,
        )
