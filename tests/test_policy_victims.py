"""Who loses least: one index that is kept up while bots, tasks and time move says what one made anew says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.policy.fleet import Fleet
from server.policy.minds import Minds
from server.policy.model import Announcement, Bot, PendingTask, Phase, Slot, Spec
from server.policy.simulate.trace import DAY_S
from server.policy.stock import Stock
from tests.policy_world import NOW_S, POOL, bot, demand, held, spec, task, view, warm

FAMILIES = ("a", "b", "c")
FAST = (*POOL, ("fast", ("yes",)))
BY_NAME = (*POOL, ("id", ("b2", "b3")))
SPECS = [spec("a", fresh_for_s=1200.0), spec("b"), spec("c", slot="disk", dimensions=FAST)]
DEMAND = {
    "a": demand(2.0, at_s=NOW_S),
    "b": demand(2.5, at_s=NOW_S),
    "c": demand(2.2, duration_s=200.0, at_s=NOW_S),
}
SLOW = {family: replace(known, duration_s=DAY_S, first_hour_s=300.0) for family, known in DEMAND.items()}
"""Of tasks so long that it does not matter for how long they have run: that is as of the last look at their family."""

slots = st.dictionaries(
    st.sampled_from(("cache", "disk")),
    st.builds(
        lambda family, phase, used_s: Slot(phase, family, "g1", since_s=NOW_S - used_s, last_used_s=NOW_S - used_s),
        st.sampled_from(FAMILIES),
        st.sampled_from((Phase.WARM, Phase.WARM, Phase.STALE, Phase.DIRTY, Phase.COLD)),
        st.sampled_from((10.0, 500.0, 1100.0)),
    ),
    max_size=2,
)
moves = st.tuples(
    st.sampled_from(("hold", "hold", "run", "begin", "warm", "wish", "pass", "announce", "drop", "die", "spec")),
    st.integers(0, 7),
    st.sampled_from(FAMILIES),
    slots,
    st.booleans(),
    st.sampled_from((0.0, 45.0, 700.0)),  # this demand has no last task: looks hold for half a minute
)


def idle_bot(number: int, holds: dict[str, Slot], waits: bool, next_poll_s: float = NOW_S) -> Bot:
    """Bots from 3 on are fast, bot 4 has room for one state."""
    return bot(
        f"b{number}",
        *holds.items(),
        extra={"fast": ["yes" if number > 2 else "no"]},
        held_poll=waits,
        next_poll_s=next_poll_s,
        most_states=1 if number == 4 else 0,
    )


class World:
    """A fleet that is kept up, and what it takes to make the same one anew."""

    def __init__(self) -> None:
        self.now_s, self.announced = NOW_S, ()
        self.bots = {f"b{number}": idle_bot(number, dict([warm(FAMILIES[number % 3])]), True) for number in range(8)}
        self.tasks: dict[str, PendingTask] = {}
        self.specs = {one.family: one for one in SPECS}
        self.given: dict[str, Callable[[Fleet], None]] = {}
        self.kept = Minds.about(Fleet(self.view()))

    def view(self):
        said = {"announcements": self.announced, "now_s": self.now_s}
        return view(self.bots.values(), tasks=self.tasks.values(), specs=self.specs.values(), demand=SLOW, **said)

    def fresh(self) -> Minds:
        fleet = Fleet(self.view())
        for give in self.given.values():
            give(fleet)
        return Minds.about(fleet)

    def put(self, changed: Bot) -> None:
        self.bots[changed.id] = changed
        self.given.pop(changed.id, None)
        self.kept.fleet.put_bot(changed)

    def move(self, what: str, number: int, family: str, holds: dict[str, Slot], flag: bool, seconds: float) -> None:
        fleet, name = self.kept.fleet, f"b{number}"
        if what == "hold":
            self.put(idle_bot(number, holds, flag, self.now_s - 20.0 + seconds))
        elif what == "run":
            self.put(replace(idle_bot(number, holds, True), held=held(family=family)))
        elif what == "die":
            self.put(replace(self.bots[name], alive=flag))
        elif what == "spec":
            kept = self.specs[family]
            self.specs[family] = replace(kept, fresh_for_s=seconds + 300.0, sequence=kept.sequence + 1)
            fleet.put_spec(self.specs[family])
        elif what in ("begin", "warm") and name in fleet.idle:
            self.give(name, family, is_task=what == "begin")
        elif what == "wish":
            wanted = self.tasks[f"t{number}"] = task(f"t{number}", family)
            fleet.put_task(wanted)
        elif what == "drop" and f"t{number}" in self.tasks:
            fleet.drop_task(self.tasks.pop(f"t{number}"))
        elif what == "pass":
            self.now_s += seconds
            fleet.advance(self.now_s)
        elif what == "announce":
            due_s = self.now_s + seconds
            one = Announcement(family, "", 2, due_s, due_s + 90.0, 0.9, "ci")
            self.announced = (one,) if flag else ()
            fleet.advance(self.now_s, replace(fleet.view, announcements=self.announced))

    def give(self, name: str, family: str, *, is_task: bool) -> None:
        made = self.specs[family]

        def step(fleet: Fleet) -> None:
            if is_task:
                fleet.begin(task(f"for-{name}", family), fleet.by_id[name], (family, "g1"))
            else:
                fleet.begin_warm_up(fleet.by_id[name], made)

        self.given[name] = step
        step(self.kept.fleet)


def cheapest(minds: Minds, requirement, slot: str, wanted: Spec | None, busy: str) -> str | None:
    """Its name, where one bot may not be taken."""
    minds.outlook.look()
    found = minds.victims.cheapest(requirement, slot, wanted, lambda one: one.id != busy)
    return found.id if found is not None else None


@settings(max_examples=300)
@given(st.lists(moves, min_size=4, max_size=25), st.sampled_from(("", "b0", "b3")))
def test_kept_up_it_says_what_one_made_anew_says(steps: list, busy: str) -> None:
    world = World()
    for fits in (POOL, FAST, BY_NAME):
        world.kept.fleet._know(fits)
    for step in steps:
        world.move(*step)
        once = world.fresh()
        for fits in (POOL, FAST, BY_NAME):
            once.fleet._know(fits)
            for slot, wanted in (("", None), ("cache", None), ("cache", SPECS[0]), ("disk", SPECS[2])):
                told = cheapest(world.kept, fits, slot, wanted, busy)
                assert told == cheapest(once, fits, slot, wanted, busy)
        for state in [(family, "g1") for family in FAMILIES]:
            assert world.kept.stock.worth_s(state) == pytest.approx(once.stock.worth_s(state))


# ---- what an operator would expect of it


def victim(*bots: Bot, **world: object) -> str | None:
    minds = Minds.about(Fleet(view(bots, specs=SPECS, demand=DEMAND, **world)))  # type: ignore[arg-type]
    return cheapest(minds, POOL, "cache", None, "")


def test_an_empty_bot_comes_before_one_that_holds_something_and_what_is_seldom_wanted_before_the_rest() -> None:
    often, seldom = bot("b1", warm("b")), bot("b2", warm("a"))
    assert victim(often, seldom, bot("b3")) == "b3"
    assert victim(often, seldom) == "b2"


def test_of_copies_that_are_worth_the_same_the_one_that_was_used_longest_ago_goes() -> None:
    assert victim(bot("b1", warm("b", used_s=50)), bot("b2", warm("b", used_s=500))) == "b2"


def test_where_the_first_bot_of_a_kind_may_not_be_taken_the_next_of_that_kind_is_and_not_a_dearer_one() -> None:
    alike = [bot("b1", warm("a", used_s=500)), bot("b2", warm("a", used_s=50))]
    minds = Minds.about(Fleet(view([*alike, bot("b3", warm("b"))], specs=SPECS, demand=DEMAND)))
    assert cheapest(minds, POOL, "cache", None, "") == "b1"
    assert cheapest(minds, POOL, "cache", None, "b1") == "b2"


def test_the_last_copy_of_what_a_task_waits_for_is_spared() -> None:
    bots = bot("b1", warm("b")), bot("b2", warm("a"))
    assert victim(*bots, tasks=[task("t1", "a")]) == "b1"


@pytest.mark.parametrize(("late_s", "first"), [(5.0, "b1"), (15.0, "b2")])
def test_a_bot_whose_poll_is_long_overdue_comes_last(late_s: float, first: str) -> None:
    assert victim(bot("b1", next_poll_s=NOW_S - late_s), bot("b2", next_poll_s=NOW_S + 1.0)) == first


def test_a_bot_comes_last_once_its_poll_is_long_overdue() -> None:
    minds = Minds.about(Fleet(view([bot("b1", next_poll_s=NOW_S), bot("b2", next_poll_s=NOW_S + 20.0)], specs=SPECS)))
    told = []
    for _ in range(3):
        told.append(cheapest(minds, POOL, "cache", None, ""))
        minds.fleet.advance(minds.fleet.now_s + 8.0)
    assert told == ["b1", "b1", "b2"]


def test_worths_are_worked_out_anew_only_for_families_of_which_something_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    work_out = Stock._work_out
    monkeypatch.setattr(Stock, "_work_out", lambda *args: asked.append(args[1][0]) or work_out(*args))
    bots = [bot(f"b{number}", warm(FAMILIES[number % 3], slot="cache")) for number in range(9)]
    minds = Minds.about(Fleet(view(bots, specs=SPECS, demand=DEMAND)))
    cheapest(minds, POOL, "cache", None, "")
    assert sorted(asked) == ["a", "b", "c"]
    asked.clear()
    minds.fleet.put_bot(replace(bots[0], slots=dict([warm("a", used_s=5.0)])))
    cheapest(minds, POOL, "cache", None, "")
    assert asked == ["a"]


def test_what_a_copy_is_worth_falls_as_soon_as_the_task_that_was_announced_for_it_has_not_come() -> None:
    said = (Announcement("a", "", 1, NOW_S, NOW_S + 5.0, 0.9, "ci"),)
    minds = Minds.about(Fleet(view([bot("b1", warm("a"))], specs=SPECS, announcements=said)))
    minds.outlook.look()
    assert minds.stock.worth_s(("a", "g1")) == pytest.approx(0.9 * 58.0)
    minds.fleet.advance(NOW_S + 6.0)
    assert minds.stock.worth_s(("a", "g1")) == 0.0


def test_what_a_copy_is_worth_falls_when_the_task_that_waited_for_it_wants_something_else() -> None:
    minds = Minds.about(Fleet(view([bot("b1", warm("a"))], specs=SPECS, tasks=[task("t1", "a")])))
    assert minds.stock.worth_s(("a", "g1")) == pytest.approx(58.0)
    minds.fleet.put_task(task("t1", "b"))
    assert minds.stock.worth_s(("a", "g1")) == 0.0
