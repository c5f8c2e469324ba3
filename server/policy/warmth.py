"""The warmth of one slot of one bot, as a table: (phase, event) → handler; events in, the next slot and effects out.

Warmth is what the bot reports that it holds, joined with what the server saw complete. It is residency and not memory:
a state whose evidence is missing from a report is gone, whatever once ran there. The table has no clock and no store.
Slots are persisted with their bot, so they are the whole state of the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from server.policy.model import Phase, Slot, Wish
from server.policy.warmth_events import (
    BackgroundFailed,
    BackgroundFinished,
    BackgroundPreempted,
    BackgroundStarted,
    Cleaned,
    CleanUpOwed,
    Effect,
    Event,
    Loss,
    Lost,
    PrewarmUsed,
    RealTaskFinished,
    RealTaskStarted,
    Rebooted,
    Reinstated,
    Reported,
    RunUseless,
    StateLost,
    StateMade,
    Superseded,
    TooOld,
)
from server.policy.words import named


@dataclass(frozen=True, slots=True)
class Transition:
    """The slot after an event, and what follows from it."""

    slot: Slot
    effects: tuple[Effect, ...] = ()


class InvalidTransition(Exception):
    """An event that cannot have happened to this slot, or comes too late; says what the slot was doing."""

    def __init__(self, slot: Slot, event: Event, reason: str = "") -> None:
        self.slot, self.event, self.reason = slot, event, reason
        super().__init__(
            f"{type(event).__name__} at {event.at_s:.3f} does not fit {_story(slot)}"
            + (f": {reason}" if reason else "")
        )


def _story(slot: Slot) -> str:
    state = f" {named(slot.family, slot.generation)}" if slot.family else ""
    run = f" by run {slot.task_id}" if slot.task_id else ""
    made = f", made by {slot.by_spec}" if slot.by_spec else ""
    part = f", with a part of {slot.part}" if slot.part else ""
    return f"a slot that is {slot.phase}{state}{run} since {slot.since_s:.3f}{made}{part}"


def apply(slot: Slot, event: Event) -> Transition:
    """What the event makes of the slot.

    Raises:
        InvalidTransition: the pair is not in the table, or the event speaks of another run or state.
    """
    handler = TRANSITIONS.get((slot.phase, type(event)))
    if handler is None:
        raise InvalidTransition(slot, event)
    return handler(slot, event)


def apply_or_ignore(slot: Slot, event: Event) -> tuple[Transition, str]:
    """The same, but an event that does not fit changes nothing and is told in the note ("" when it fitted)."""
    try:
        return apply(slot, event), ""
    except InvalidTransition as invalid:
        return Transition(slot), str(invalid)


def _holds(slot: Slot) -> bool:
    """Whether the slot has the state that it names, whole."""
    return bool(slot.family) and not slot.part and slot.phase in (Phase.WARM, Phase.STALE, Phase.IN_USE)


def _lost(slot: Slot, why: Loss) -> tuple[Effect, ...]:
    if not _holds(slot):
        return ()
    return (StateLost(slot.family, slot.generation, why, slot.by_spec, slot.last_used_s > 0.0),)


def _no(slot: Slot, event: Event, reason: str) -> NoReturn:
    raise InvalidTransition(slot, event, reason)


def _same_run(slot: Slot, event: Any) -> None:
    if event.task_id != slot.task_id:
        _no(slot, event, f"it speaks of run {event.task_id}")


def _unchanged(slot: Slot, event: Event) -> Transition:
    return Transition(slot)


def _starts_warming(slot: Slot, event: BackgroundStarted) -> Transition:
    made = Slot(
        Phase.WARMING,
        event.family,
        event.generation,
        since_s=event.at_s,
        task_id=event.task_id,
        by_spec=event.spec or event.family,
        part=slot.part,
        owes_clean_up=slot.phase is Phase.DIRTY,
    )
    return Transition(made, _lost(slot, Loss.DISPLACED))


def _becomes_warm(slot: Slot, event: BackgroundFinished) -> Transition:
    _same_run(slot, event)
    made = StateMade(slot.family, slot.generation, slot.by_spec, slot.task_id)
    return Transition(Slot(Phase.WARM, slot.family, slot.generation, since_s=event.at_s, by_spec=slot.by_spec), (made,))


def _leaves_a_part(slot: Slot, event: BackgroundFailed | BackgroundPreempted) -> Transition:
    _same_run(slot, event)
    return Transition(_part_of(slot, event.at_s))


def _part_of(slot: Slot, at_s: float) -> Slot:
    if slot.owes_clean_up:
        return Slot(Phase.DIRTY, since_s=at_s)
    return Slot(Phase.COLD, since_s=at_s, part=named(slot.family, slot.generation))


def _comes_in_use(slot: Slot, event: RealTaskStarted) -> Transition:
    wish = event.wish
    if wish is not None and not _meets(slot, wish):
        made = Slot(
            Phase.IN_USE,
            wish.family,
            wish.generation,
            since_s=event.at_s,
            last_used_s=event.at_s,
            task_id=event.task_id,
            part=named(wish.family, wish.generation),
            owes_clean_up=slot.phase is Phase.DIRTY,
        )
        return Transition(made, _lost(slot, Loss.DISPLACED))
    used = replace(slot, phase=Phase.IN_USE, task_id=event.task_id, owes_clean_up=slot.phase is Phase.DIRTY)
    if wish is None:
        return Transition(used)
    first = bool(slot.by_spec) and slot.last_used_s == 0.0
    effects = (PrewarmUsed(slot.family, slot.generation, slot.by_spec, event.task_id),) if first else ()
    return Transition(replace(used, since_s=event.at_s, last_used_s=event.at_s), effects)


def _meets(slot: Slot, wish: Wish) -> bool:
    return _holds(slot) and slot.family == wish.family and wish.generation in ("", slot.generation)


def _is_left(slot: Slot, event: RealTaskFinished) -> Transition:
    _same_run(slot, event)
    if event.dirty or slot.owes_clean_up:
        return Transition(Slot(Phase.DIRTY, since_s=event.at_s), (*_lost(slot, Loss.DIRTIED), CleanUpOwed()))
    used = event.used
    if used is None:
        return _left_as_it_was(slot, event.at_s)
    if _meets(slot, used):
        return Transition(replace(slot, phase=Phase.WARM, since_s=event.at_s, last_used_s=event.at_s, task_id=""))
    made = Slot(Phase.WARM, used.family, used.generation, since_s=event.at_s, last_used_s=event.at_s)
    effects = (*_lost(slot, Loss.DISPLACED), StateMade(used.family, used.generation, "", event.task_id))
    return Transition(made, effects)


def _left_as_it_was(slot: Slot, at_s: float) -> Transition:
    if slot.part or not slot.family:
        return Transition(Slot(Phase.COLD, since_s=at_s, part=slot.part))
    return Transition(replace(slot, phase=Phase.WARM, task_id=""))


def _is_found(slot: Slot, event: Reported) -> Transition:
    """A report about a slot of which nothing is known, or that was empty."""
    if event.at_s < slot.since_s:
        _no(slot, event, "the report is older than what is known")
    if not event.present:
        since_s = slot.since_s if slot.phase is Phase.COLD else event.at_s
        return Transition(Slot(Phase.COLD, since_s=since_s))
    if slot.part and not event.generation:
        return Transition(slot)  # What is there is what a run left unfinished.
    found = Slot(Phase.WARM, event.family, event.generation, since_s=event.at_s, last_used_s=event.last_used_s)
    return Transition(found, (StateMade(event.family, event.generation),))


def _is_compared(slot: Slot, event: Reported) -> Transition:
    """A report about a slot that is thought to be warm."""
    if event.at_s < slot.since_s:
        _no(slot, event, "the report is older than what is known")
    if not event.present:
        return Transition(Slot(Phase.COLD, since_s=event.at_s), _lost(slot, Loss.EVICTED))
    if event.family == slot.family and event.generation in ("", slot.generation):
        return Transition(slot)
    found = Slot(Phase.WARM, event.family, event.generation, since_s=event.at_s, last_used_s=event.last_used_s)
    return Transition(found, (*_lost(slot, Loss.DISPLACED), StateMade(event.family, event.generation)))


def _same_state(slot: Slot, event: Superseded | Reinstated) -> None:
    if (event.family, event.generation) != (slot.family, slot.generation):
        _no(slot, event, f"it speaks of {named(event.family, event.generation)}")


def _is_superseded(slot: Slot, event: Superseded) -> Transition:
    _same_state(slot, event)
    return Transition(replace(slot, phase=Phase.STALE))


def _makes_the_past(slot: Slot, event: Superseded) -> Transition:
    _same_state(slot, event)
    return Transition(slot, (RunUseless(slot.task_id),))


def _is_used_up(slot: Slot, event: Superseded) -> Transition:
    _same_state(slot, event)
    return Transition(slot)


def _is_current_again(slot: Slot, event: Reinstated) -> Transition:
    _same_state(slot, event)
    return Transition(replace(slot, phase=Phase.WARM))


def _gets_old(slot: Slot, event: TooOld) -> Transition:
    return Transition(replace(slot, phase=Phase.STALE))


def _reboots(slot: Slot, event: Rebooted) -> Transition:
    if event.survives:
        return Transition(slot)
    return Transition(Slot(Phase.COLD, since_s=event.at_s), _lost(slot, Loss.REBOOT))


def _is_interrupted(slot: Slot, event: Rebooted) -> Transition:
    """A reboot in the middle of a run: what it used or made is not to be trusted, whatever survives."""
    if not slot.owes_clean_up and not (slot.family and event.survives):
        return Transition(Slot(Phase.COLD, since_s=event.at_s), _lost(slot, Loss.REBOOT))
    return Transition(_part_of(slot, event.at_s), _lost(slot, Loss.INTERRUPTED))


def _is_lost(slot: Slot, event: Lost) -> Transition:
    """Nothing is known any more, but for dirt: only a machine set up anew takes that away unseen."""
    if not event.wiped and (slot.owes_clean_up or slot.phase is Phase.DIRTY):
        return Transition(Slot(Phase.DIRTY, since_s=event.at_s))
    return Transition(Slot(since_s=event.at_s), _lost(slot, Loss.LOST))


def _is_cleaned(slot: Slot, event: Cleaned) -> Transition:
    if slot.family and (slot.family, slot.generation) == (event.family, event.generation):
        return Transition(replace(slot, phase=Phase.WARM, since_s=event.at_s))
    lost = _lost(slot, Loss.CLEANED)
    if not event.family:
        return Transition(Slot(Phase.COLD, since_s=event.at_s), lost)
    made = Slot(Phase.WARM, event.family, event.generation, since_s=event.at_s)
    return Transition(made, (*lost, StateMade(event.family, event.generation)))


Handler = Callable[[Slot, Any], Transition]

TRANSITIONS: Mapping[tuple[Phase, type[Event]], Handler] = {
    (Phase.UNKNOWN, BackgroundStarted): _starts_warming,
    (Phase.UNKNOWN, RealTaskStarted): _comes_in_use,
    (Phase.UNKNOWN, Reported): _is_found,
    (Phase.UNKNOWN, Rebooted): _unchanged,
    (Phase.UNKNOWN, Lost): _is_lost,
    (Phase.UNKNOWN, Cleaned): _is_cleaned,
    (Phase.COLD, BackgroundStarted): _starts_warming,
    (Phase.COLD, RealTaskStarted): _comes_in_use,
    (Phase.COLD, Reported): _is_found,
    (Phase.COLD, Rebooted): _reboots,
    (Phase.COLD, Lost): _is_lost,
    (Phase.COLD, Cleaned): _is_cleaned,
    (Phase.WARMING, BackgroundFinished): _becomes_warm,
    (Phase.WARMING, BackgroundFailed): _leaves_a_part,
    (Phase.WARMING, BackgroundPreempted): _leaves_a_part,
    (Phase.WARMING, Reported): _unchanged,  # A run has its cache moved out of the folder that is reported.
    (Phase.WARMING, Superseded): _makes_the_past,
    (Phase.WARMING, Rebooted): _is_interrupted,
    (Phase.WARMING, Lost): _is_lost,
    (Phase.WARM, BackgroundStarted): _starts_warming,
    (Phase.WARM, RealTaskStarted): _comes_in_use,
    (Phase.WARM, Reported): _is_compared,
    (Phase.WARM, Superseded): _is_superseded,
    (Phase.WARM, TooOld): _gets_old,
    (Phase.WARM, Rebooted): _reboots,
    (Phase.WARM, Lost): _is_lost,
    (Phase.WARM, Cleaned): _is_cleaned,
    (Phase.IN_USE, RealTaskFinished): _is_left,
    (Phase.IN_USE, Reported): _unchanged,
    (Phase.IN_USE, Superseded): _is_used_up,
    (Phase.IN_USE, Rebooted): _is_interrupted,
    (Phase.IN_USE, Lost): _is_lost,
    (Phase.DIRTY, BackgroundStarted): _starts_warming,
    (Phase.DIRTY, RealTaskStarted): _comes_in_use,
    (Phase.DIRTY, Reported): _unchanged,
    (Phase.DIRTY, Rebooted): _unchanged,
    (Phase.DIRTY, Lost): _is_lost,
    (Phase.DIRTY, Cleaned): _is_cleaned,
    (Phase.STALE, BackgroundStarted): _starts_warming,
    (Phase.STALE, RealTaskStarted): _comes_in_use,
    (Phase.STALE, Reported): _is_compared,
    (Phase.STALE, Superseded): _is_superseded,
    (Phase.STALE, Reinstated): _is_current_again,
    (Phase.STALE, TooOld): _gets_old,
    (Phase.STALE, Rebooted): _reboots,
    (Phase.STALE, Lost): _is_lost,
    (Phase.STALE, Cleaned): _is_cleaned,
}
"""The whole machine. A pair that is not here is an error in tests, and logged and ignored in the server."""
