"""The warmth of a slot: each row of the table as a sentence, then the machine as a whole."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from server.policy import warmth_events as ev
from server.policy.model import Phase, Slot, Wish
from server.policy.warmth import TRANSITIONS, InvalidTransition, apply, apply_or_ignore

COLD = Slot(Phase.COLD, since_s=10)
WARMING = Slot(Phase.WARMING, "src", "g1", since_s=10, task_id="d1", by_spec="src")
WARM = Slot(Phase.WARM, "src", "g1", since_s=10, by_spec="src")
USED = Slot(Phase.IN_USE, "src", "g1", since_s=10, last_used_s=10, task_id="t1", by_spec="src")
MAKING = Slot(Phase.IN_USE, "src", "g1", since_s=10, last_used_s=10, task_id="t1", part="src@g1")
DIRTY = Slot(Phase.DIRTY, since_s=10)
STALE = Slot(Phase.STALE, "src", "g1", since_s=10, by_spec="src")
UNKNOWN = Slot()

SRC1 = Wish("src", "g1")
STARTED = ev.BackgroundStarted(20, "d1", "src", "g1")
FINISHED = ev.RealTaskFinished(20, "t1", used=SRC1)

ROWS: list[tuple[str, Slot, ev.Event, dict[str, Any], list[type]]] = [
    ("an empty slot is being warmed", COLD, STARTED, {"phase": Phase.WARMING, "task_id": "d1"}, []),
    (
        "a run that ended well leaves the slot warm",
        WARMING,
        ev.BackgroundFinished(20, "d1"),
        {"phase": Phase.WARM, "family": "src", "generation": "g1", "since_s": 20, "by_spec": "src", "task_id": ""},
        [ev.StateMade],
    ),
    (
        "a failed run leaves a part",
        WARMING,
        ev.BackgroundFailed(20, "d1"),
        {"phase": Phase.COLD, "family": "", "part": "src@g1", "by_spec": ""},
        [],
    ),
    (
        "a preempted run leaves a part",
        WARMING,
        ev.BackgroundPreempted(20, "d1"),
        {"phase": Phase.COLD, "part": "src@g1"},
        [],
    ),
    (
        "a part alone is no warmth",
        Slot(Phase.COLD, part="src@g1"),
        ev.Reported(20, True, "src"),
        {"phase": Phase.COLD, "part": "src@g1"},
        [],
    ),
    (
        "a part that is gone is forgotten",
        Slot(Phase.COLD, part="src@g1"),
        ev.Reported(20, False),
        {"phase": Phase.COLD, "part": ""},
        [],
    ),
    (
        "a report that names the generation counts in spite of a part",
        Slot(Phase.COLD, part="fw@2"),
        ev.Reported(20, True, "fw", "2"),
        {"phase": Phase.WARM, "generation": "2", "part": ""},
        [ev.StateMade],
    ),
    (
        "the first real task on a prewarmed state counts as its use",
        WARM,
        ev.RealTaskStarted(20, "t1", Wish("src")),
        {"phase": Phase.IN_USE, "generation": "g1", "last_used_s": 20},
        [ev.PrewarmUsed],
    ),
    (
        "the second one does not",
        Slot(Phase.WARM, "src", "g1", last_used_s=5, by_spec="src"),
        ev.RealTaskStarted(20, "t1", SRC1),
        {"phase": Phase.IN_USE},
        [],
    ),
    (
        "a task that wants something else displaces the state",
        WARM,
        ev.RealTaskStarted(20, "t1", Wish("lib")),
        {"phase": Phase.IN_USE, "family": "lib", "part": "lib"},
        [ev.StateLost],
    ),
    (
        "a task that wants a newer generation displaces the old",
        WARM,
        ev.RealTaskStarted(20, "t1", Wish("src", "g2")),
        {"phase": Phase.IN_USE, "generation": "g2"},
        [ev.StateLost],
    ),
    (
        "a task that wants nothing in the slot leaves its age as it is",
        WARM,
        ev.RealTaskStarted(20, "t1"),
        {"phase": Phase.IN_USE, "since_s": 10, "last_used_s": 0},
        [],
    ),
    (
        "after a task the state is warm and fresh",
        USED,
        FINISHED,
        {"phase": Phase.WARM, "since_s": 20, "last_used_s": 20, "task_id": ""},
        [],
    ),
    (
        "a cold task warms the bot by itself",
        MAKING,
        FINISHED,
        {"phase": Phase.WARM, "part": "", "by_spec": ""},
        [ev.StateMade],
    ),
    (
        "a cold task that came to nothing leaves the bot cold",
        MAKING,
        ev.RealTaskFinished(20, "t1"),
        {"phase": Phase.COLD, "family": "", "part": "src@g1"},
        [],
    ),
    (
        "a task can move the state to a newer generation",
        USED,
        ev.RealTaskFinished(20, "t1", used=Wish("src", "g2")),
        {"phase": Phase.WARM, "generation": "g2", "by_spec": ""},
        [ev.StateLost, ev.StateMade],
    ),
    (
        "a task that leaves dirt makes a clean-up due",
        USED,
        ev.RealTaskFinished(20, "t1", dirty=True, used=SRC1),
        {"phase": Phase.DIRTY, "family": ""},
        [ev.StateLost, ev.CleanUpOwed],
    ),
    (
        "a bot that reports the cache gone is cold, whatever ran there",
        WARM,
        ev.Reported(20, False),
        {"phase": Phase.COLD, "family": "", "by_spec": ""},
        [ev.StateLost],
    ),
    ("a bot that reports the cache stays warm", WARM, ev.Reported(20, True, "src"), {"phase": Phase.WARM}, []),
    (
        "a bot that reports another firmware is warm for that",
        WARM,
        ev.Reported(20, True, "src", "g7"),
        {"phase": Phase.WARM, "generation": "g7", "by_spec": ""},
        [ev.StateLost, ev.StateMade],
    ),
    ("a missing cache does not count while a task uses it", USED, ev.Reported(20, False), {"phase": Phase.IN_USE}, []),
    (
        "a missing cache does not count while it is being made",
        WARMING,
        ev.Reported(20, False),
        {"phase": Phase.WARMING},
        [],
    ),
    (
        "an unknown bot that reports the cache is warm",
        UNKNOWN,
        ev.Reported(20, True, "src", last_used_s=7),
        {"phase": Phase.WARM, "generation": "", "last_used_s": 7},
        [ev.StateMade],
    ),
    ("an unknown bot that reports none is cold", UNKNOWN, ev.Reported(20, False), {"phase": Phase.COLD}, []),
    ("a superseded state is stale", WARM, ev.Superseded(20, "src", "g1"), {"phase": Phase.STALE}, []),
    (
        "a run that makes a superseded state is useless",
        WARMING,
        ev.Superseded(20, "src", "g1"),
        {"phase": Phase.WARMING},
        [ev.RunUseless],
    ),
    (
        "a straggler still finds a stale state",
        STALE,
        ev.RealTaskStarted(20, "t1", SRC1),
        {"phase": Phase.IN_USE, "generation": "g1"},
        [ev.PrewarmUsed],
    ),
    ("a roll-back makes it current again", STALE, ev.Reinstated(20, "src", "g1"), {"phase": Phase.WARM}, []),
    ("an old state is stale", WARM, ev.TooOld(20), {"phase": Phase.STALE}, []),
    ("a reboot that the state survives changes nothing", WARM, ev.Rebooted(20), {"phase": Phase.WARM}, []),
    ("a reboot can take the state", WARM, ev.Rebooted(20, survives=False), {"phase": Phase.COLD}, [ev.StateLost]),
    (
        "a reboot in the middle of a task leaves a part",
        USED,
        ev.Rebooted(20),
        {"phase": Phase.COLD, "part": "src@g1"},
        [ev.StateLost],
    ),
    (
        "a reboot in the middle of a run leaves a part",
        WARMING,
        ev.Rebooted(20),
        {"phase": Phase.COLD, "part": "src@g1"},
        [],
    ),
    ("of a lost bot nothing is known", WARM, ev.Lost(20, "dead"), {"phase": Phase.UNKNOWN}, [ev.StateLost]),
    ("a lost bot stays dirty", DIRTY, ev.Lost(20, "dead"), {"phase": Phase.DIRTY}, []),
    ("a machine set up anew is not dirty", DIRTY, ev.Lost(20, "new", wiped=True), {"phase": Phase.UNKNOWN}, []),
    (
        "a clean-up starts on a dirty slot",
        DIRTY,
        ev.BackgroundStarted(20, "c1", "clean"),
        {"phase": Phase.WARMING, "family": "clean", "owes_clean_up": True},
        [],
    ),
    (
        "a clean-up that failed leaves it dirty",
        Slot(Phase.WARMING, "clean", task_id="c1", owes_clean_up=True),
        ev.BackgroundFailed(20, "c1"),
        {"phase": Phase.DIRTY, "part": ""},
        [],
    ),
    (
        "a clean-up that ended well leaves it clean",
        Slot(Phase.WARMING, "clean", task_id="c1", owes_clean_up=True),
        ev.BackgroundFinished(20, "c1"),
        {"phase": Phase.WARM, "family": "clean", "owes_clean_up": False},
        [ev.StateMade],
    ),
    (
        "a task on a dirty slot does not clean it",
        Slot(Phase.IN_USE, "src", task_id="t1", part="src", owes_clean_up=True),
        FINISHED,
        {"phase": Phase.DIRTY},
        [ev.CleanUpOwed],
    ),
    ("a cleaned slot is empty", WARM, ev.Cleaned(20), {"phase": Phase.COLD, "family": ""}, [ev.StateLost]),
    (
        "a cleaned slot holds the clean state where there is one",
        DIRTY,
        ev.Cleaned(20, "clean"),
        {"phase": Phase.WARM, "family": "clean"},
        [ev.StateMade],
    ),
]


@pytest.mark.parametrize(
    ("slot", "event", "wanted", "effects"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_row(slot: Slot, event: ev.Event, wanted: dict[str, Any], effects: list[type]) -> None:
    after = apply(slot, event)
    assert {name: getattr(after.slot, name) for name in wanted} == wanted
    assert [type(effect) for effect in after.effects] == effects


def test_every_pair_of_phase_and_event_is_in_the_table_or_refused() -> None:
    for phase in Phase:
        for event in ev.Event.__args__:
            samples = [(slot, e) for _, slot, e, _, _ in ROWS if slot.phase is phase and type(e) is event]
            if (phase, event) not in TRANSITIONS:
                assert samples == []


def test_a_wasted_prewarm_can_be_told_from_a_used_one() -> None:
    wasted = apply(WARM, ev.Reported(20, False)).effects[0]
    used = apply(Slot(Phase.WARM, "src", "g1", last_used_s=5, by_spec="src"), ev.Reported(20, False)).effects[0]
    assert wasted == ev.StateLost("src", "g1", ev.Loss.EVICTED, "src", used=False)
    assert used == ev.StateLost("src", "g1", ev.Loss.EVICTED, "src", used=True)


def test_an_event_that_does_not_fit_tells_the_story() -> None:
    with pytest.raises(InvalidTransition) as caught:
        apply(USED, ev.BackgroundFinished(20, "d1"))
    assert str(caught.value) == (
        "BackgroundFinished at 20.000 does not fit a slot that is in_use src@g1 by run t1 since 10.000, made by src"
    )


def test_a_late_end_of_another_run_is_ignored_with_a_note() -> None:
    after, note = apply_or_ignore(WARMING, ev.BackgroundFinished(20, "d0"))
    assert after.slot is WARMING
    assert note.endswith("a slot that is warming src@g1 by run d1 since 10.000, made by src: it speaks of run d0")


def test_a_report_from_before_the_warm_up_ended_is_ignored() -> None:
    after, note = apply_or_ignore(WARM, ev.Reported(9, False))
    assert after.slot is WARM
    assert "the report is older than what is known" in note


FAMILIES = st.sampled_from(["src", "lib"])
BACKGROUND_ENDS = [ev.BackgroundFinished, ev.BackgroundFailed, ev.BackgroundPreempted]
GENERATIONS = st.sampled_from(["", "g1", "g2"])


class WarmthMachine(RuleBasedStateMachine):
    """Events in any order: what the slot says of itself always holds together, and what follows adds up."""

    def __init__(self) -> None:
        super().__init__()
        self.slot, self.now_s, self.runs = Slot(), 100.0, 0
        self.at_hand: tuple[str, str] | None = None
        self.prewarm_uses_left = 0
        self.last: ev.Event | None = None

    def _feed(self, event: ev.Event) -> None:
        after, note = apply_or_ignore(self.slot, event)
        if note:
            assert after.slot is self.slot and after.effects == ()
        for effect in after.effects:
            self._book(effect)
        self.slot, self.last = after.slot, event

    def _book(self, effect: ev.Effect) -> None:
        if isinstance(effect, ev.StateMade):
            assert self.at_hand is None, "a state is made while another is still there"
            self.at_hand = effect.family, effect.generation
            self.prewarm_uses_left = 1 if effect.by_spec else 0
        elif isinstance(effect, ev.StateLost):
            assert self.at_hand == (effect.family, effect.generation), "a state is lost that was not there"
            assert not (effect.by_spec and effect.used and self.prewarm_uses_left), "used, and nobody was told"
            self.at_hand = None
        elif isinstance(effect, ev.PrewarmUsed):
            assert self.prewarm_uses_left == 1
            self.prewarm_uses_left = 0

    @rule(seconds=st.integers(1, 100))
    def time_passes(self, seconds: int) -> None:
        self.now_s += seconds

    @rule(family=FAMILIES, generation=GENERATIONS)
    def background_starts(self, family: str, generation: str) -> None:
        self.runs += 1
        self._feed(ev.BackgroundStarted(self.now_s, f"d{self.runs}", family, generation))

    @rule(kind=st.sampled_from(BACKGROUND_ENDS), late=st.booleans())
    def background_ends(self, kind: Any, late: bool) -> None:
        self._feed(kind(self.now_s, "d0" if late else self.slot.task_id))

    @rule(family=st.none() | FAMILIES, generation=GENERATIONS)
    def task_starts(self, family: str | None, generation: str) -> None:
        self.runs += 1
        self._feed(ev.RealTaskStarted(self.now_s, f"t{self.runs}", Wish(family, generation) if family else None))

    @rule(dirty=st.booleans(), family=st.none() | FAMILIES, generation=GENERATIONS)
    def task_ends(self, dirty: bool, family: str | None, generation: str) -> None:
        used = Wish(family, generation) if family else None
        self._feed(ev.RealTaskFinished(self.now_s, self.slot.task_id, dirty, used))

    @rule(present=st.booleans(), family=FAMILIES, generation=GENERATIONS, age_s=st.integers(0, 50))
    def bot_reports(self, present: bool, family: str, generation: str, age_s: int) -> None:
        self._feed(ev.Reported(self.now_s - age_s, present, family, generation))

    @rule(kind=st.sampled_from([ev.Superseded, ev.Reinstated]), other=st.booleans())
    def generation_moves(self, kind: Any, other: bool) -> None:
        self._feed(kind(self.now_s, self.slot.family, "other" if other else self.slot.generation))

    @rule(survives=st.booleans())
    def reboots(self, survives: bool) -> None:
        self._feed(ev.Rebooted(self.now_s, survives))

    @rule(wiped=st.booleans())
    def is_lost(self, wiped: bool) -> None:
        self._feed(ev.Lost(self.now_s, "dead", wiped))

    @rule(family=st.sampled_from(["", "clean"]))
    def is_cleaned(self, family: str) -> None:
        self._feed(ev.Cleaned(self.now_s, family))

    @rule()
    def gets_old(self) -> None:
        self._feed(ev.TooOld(self.now_s))

    @invariant()
    def it_names_a_state_only_where_it_may(self) -> None:
        if self.slot.phase in (Phase.WARM, Phase.STALE):
            assert self.at_hand == (self.slot.family, self.slot.generation)
        if self.slot.phase in (Phase.COLD, Phase.UNKNOWN, Phase.DIRTY, Phase.WARMING):
            assert self.at_hand is None
        if self.slot.phase in (Phase.COLD, Phase.UNKNOWN, Phase.DIRTY):
            assert self.slot.family == "" and self.slot.by_spec == ""

    @invariant()
    def it_names_a_run_exactly_while_one_is_on(self) -> None:
        assert bool(self.slot.task_id) == (self.slot.phase in (Phase.WARMING, Phase.IN_USE))

    @invariant()
    def it_is_not_warm_right_after_a_report_that_nothing_is_there(self) -> None:
        if isinstance(self.last, ev.Reported) and not self.last.present and self.last.at_s >= self.slot.since_s:
            assert self.slot.phase not in (Phase.WARM, Phase.STALE)

    @invariant()
    def dirt_goes_only_by_cleaning(self) -> None:
        assert not (self.slot.owes_clean_up and self.slot.phase not in (Phase.WARMING, Phase.IN_USE))


TestWarmthMachine = WarmthMachine.TestCase
TestWarmthMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
