"""Pools in any state, for what must hold of every plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from server.policy.model import (
    Announcement,
    Bot,
    Demand,
    Held,
    PendingTask,
    Phase,
    PoolView,
    Purpose,
    Slot,
    Spec,
    Thresholds,
    Victim,
    Wish,
)
from tests.policy_world import NOW_S, POOL, bot, busy, demand, gate, held, spec, task, view, warm

FAMILIES = ["src", "lib", "fw"]
KINDS = ["a", "b"]


CALM_PHASES = [Phase.WARM, Phase.WARM, Phase.COLD, Phase.STALE]


@st.composite
def slots(draw: Any, calm: bool) -> dict[str, Slot]:
    """Up to two slots, in any phase unless the pool is calm."""
    found = {}
    for name in draw(st.sets(st.sampled_from(["cache", "disk"]), max_size=2)):
        family = draw(st.sampled_from(FAMILIES))
        generation = draw(st.sampled_from(["g1", "g2"] if calm else ["g1", "g2", "g3"]))
        phase = draw(st.sampled_from(CALM_PHASES if calm else list(Phase)))
        used_s = draw(st.sampled_from([0.0, 60.0, 5000.0]))
        found[name] = warm(family, generation, phase=phase, slot=name, used_s=used_s)[1]
    return found


@st.composite
def at_work(draw: Any, number: int) -> Bot:
    """A bot whose real task uses a state, or makes it first: just begun, under way, or a straggler."""
    ran_s, is_cold = draw(st.sampled_from([0.0, 2.0, 30.0, 100.0, 5000.0])), draw(st.booleans())
    kind = {"kind": frozenset((draw(st.sampled_from(KINDS)),))}
    found = busy(f"b{number}", draw(st.sampled_from(["src", *FAMILIES])), ran_s, is_cold=is_cold)
    return replace(found, dimensions={**found.dimensions, **kind})


@st.composite
def runs(draw: Any, number: int) -> Held:
    """A run of any purpose."""
    purpose = draw(st.sampled_from([Purpose.REAL, Purpose.REAL, *list(Purpose)]))
    family = draw(st.sampled_from(FAMILIES)) if purpose is not Purpose.REAL else ""
    generation, stop = draw(st.sampled_from(["g1", "g2"])), draw(st.sampled_from(["", "", "preempt"]))
    return held(purpose, family, generation, task_id=f"d{number}", n=number, stop=stop)


@st.composite
def bots(draw: Any, number: int, calm: bool) -> Bot:
    """A bot in any condition, most of them idle and healthy where the pool is calm."""
    often = 12 if calm else 2

    def seldom(usual: Any, rare: Any) -> Any:
        return rare if draw(st.integers(1, often)) == 1 else usual

    return bot(
        f"b{number}",
        *draw(slots(calm)).items(),
        run=seldom(None, draw(runs(number))),
        idle_s=seldom(60.0, 0.0),
        extra={"kind": [draw(st.sampled_from(KINDS))]},
        alive=seldom(True, False),
        quarantined=seldom("", "disk"),
        held_poll=seldom(True, draw(st.booleans())),
        next_poll_s=NOW_S + draw(st.sampled_from([-NOW_S, 1.0, 30.0])),
        failed_s=seldom({}, {"src": NOW_S - 60}),
    )


HOLDING_PAYS = {"src": demand(0.2, duration_s=5.0), "lib": demand(60, duration_s=300.0), "fw": demand(0.0)}
"""Tasks of src are short and come rarely, one on many of lib: it waits for a busy bot rather than displace lib."""


@st.composite
def demands(draw: Any, waiting: bool) -> dict[str, Demand]:
    """What is asked of each family."""
    if waiting and draw(st.integers(1, 4)) > 1:
        return HOLDING_PAYS
    found = {family: demand(draw(st.sampled_from([0.0, 1.0, 5.0, 20.0]))) for family in FAMILIES}
    return {family: replace(one, duration_s=draw(st.sampled_from([None, 30.0]))) for family, one in found.items()}


@st.composite
def announced(draw: Any) -> Announcement:
    """Tasks that somebody said would come, soon or within the hour."""
    family, due_s = draw(st.sampled_from(FAMILIES)), NOW_S + draw(st.sampled_from([0.0, 30.0, 300.0, 3000.0]))
    generation, count = draw(st.sampled_from(["", "", "g1", "g2"])), draw(st.sampled_from([1.0, 3.0]))
    return Announcement(family, generation, count, due_s, due_s + 90.0, draw(st.sampled_from([0.2, 0.9])), "ci")


@st.composite
def tasks(draw: Any, number: int) -> PendingTask:
    """A pending task of any kind."""
    kind = draw(st.sampled_from([*[()] * 5, (("kind", ("a",)),), (("kind", ("c",)),), (("id", ("b0", "b1")),)]))
    wish = draw(st.sampled_from([(), (Wish("src"),), (Wish("src"),), (Wish("src", "g1"), Wish("fw"))]))
    victim = draw(st.sampled_from([None, None, Victim("b1", 1, NOW_S + 50)]))
    return task(
        f"t{number}",
        dimensions=POOL + kind,
        wishes=wish,
        victim=victim,
        priority=draw(st.sampled_from([10, 100])),
        age_s=draw(st.sampled_from([0.0, 5.0, 500.0])),
    )


@st.composite
def specs(draw: Any, calm: bool) -> list[Spec]:
    """Specs of some families, some with two generations, one perhaps cleaning."""
    found = []
    for family in draw(st.sets(st.sampled_from(FAMILIES), min_size=2 if calm else 0)) | ({"src"} if calm else set()):
        for number in range(1, 1 + draw(st.integers(1, 2))):
            kind = draw(st.sampled_from([(), (), (), (("kind", ("a",)),)]))
            found.append(
                spec(
                    family,
                    f"g{number}",
                    sequence=number,
                    slot=draw(st.sampled_from(["cache", "disk"])),
                    dimensions=POOL + kind,
                    active=calm or draw(st.booleans()),
                    run_s=draw(st.sampled_from([20.0, 60.0, 60.0, 300.0])),
                    max_running=draw(st.sampled_from([0, 0, 1])),
                    known_generations={"g1": 1, "g2": 2, "g3": 3},
                )
            )
    if draw(st.booleans()):
        found.append(spec("clean", "", purpose=Purpose.CLEAN, slot=draw(st.sampled_from(["cache", ""]))))
    return found


@st.composite
def calm_pools(draw: Any) -> PoolView:
    """A pool with much idle time, in which bets are placed until the reserve or a share ends them."""
    return draw(pools(calm=True))


@st.composite
def waiting_bots(draw: Any) -> list[Bot]:
    """Few or many that work on what is asked for, and idle ones that hold something else."""
    busy_ones = [draw(at_work(number)) for number in range(draw(st.integers(1, 8)))]
    names = [f"b{number + len(busy_ones)}" for number in range(draw(st.integers(2, 4)))]
    return busy_ones + [
        bot(name, warm(draw(st.sampled_from(["lib", "lib", "lib", "fw"]))), held_poll=True) for name in names
    ]


@st.composite
def pools(draw: Any, calm: bool | None = None) -> PoolView:
    """A pool of up to fourteen bots in any state, with thresholds that matter at that size.

    It is calm, wild, or one in which tasks wait for bots that are busy with their state.
    """
    mood = draw(st.sampled_from(["calm", "wild", "waiting"])) if calm is None else "calm" if calm else "wild"
    calm, usual = mood == "calm", mood != "wild"

    def either(often: list, others: list) -> Any:
        return draw(st.sampled_from(often if usual else often + others))

    thresholds = Thresholds(
        mode=either(["live"], ["shadow", "off"]),
        reserve_share=draw(st.sampled_from([0.0, 0.1, 0.3])),
        reserve_min=draw(st.integers(0, 2)),
        background_share=either([0.3, 0.6, 1.0], [0.0]),
        spec_share=draw(st.sampled_from([0.2, 0.5, 1.0])),
        hand_outs_per_min=draw(st.sampled_from([2, 60, 60])),
    )
    state = gate(
        stopped=either([False], [False, True]),
        open=either([True], [False]),
        open_breakers=either([{}, {}, {}, {}, {"src": "it failed"}], []),
        ledger_losing=either([""], ["", "it loses"]),
        growth_p90=either([0.0, 0.0, 2.5], []),
    )
    newer = {("src", "g3"): Demand(arrivals=1, first_arrival_s=NOW_S)}
    return view(
        draw(waiting_bots())
        if mood == "waiting"
        else [draw(bots(number, calm)) for number in range(draw(st.integers(5 if calm else 0, 14)))],
        tasks=[draw(tasks(number)) for number in range(0 if calm else draw(st.integers(int(usual), 4)))],
        specs=draw(specs(usual)),
        demand=draw(demands(mood == "waiting")),
        announcements=() if calm else tuple(draw(st.lists(announced(), max_size=3))),
        generation_demand=either([{}], [{}, newer]),
        thresholds=thresholds,
        state=state,
        view_age_s=either([0.5], [0.5, 90.0]),
    )
