"""Brings the warmth table to the bot's record: which events a claim, an end, a report, a restart are for which slots.

The table itself is `server.policy.warmth`; here are slots as JSON, and the specs that say what the evidence is.
Every function changes `bot.slots` of a record within the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import structlog

from server import bot_evidence
from server.policy import warmth, warmth_events
from server.policy.model import Phase, Purpose, Slot, Wish
from server.records import task
from server.records.bot import Bot
from server.records.task import TaskResult

if TYPE_CHECKING:
    from server.bot_evidence import Shown
    from server.bot_report import Report
    from server.loaded_spec import LoadedSpec

log = structlog.get_logger(__name__)

Specs = Mapping[str, "LoadedSpec"]


def slots_of(bot: Bot) -> dict[str, Slot]:
    """The slots of a bot's record, as values."""
    return {name: _slot(values) for name, values in bot.slots.items()}


def _slot(values: Mapping[str, Any]) -> Slot:
    return Slot(**{**values, "phase": Phase(values["phase"])})


def _happens(bot: Bot, name: str, event: warmth_events.Event) -> tuple[warmth_events.Effect, ...]:
    """Applies an event to one slot; one that does not fit is logged and changes nothing."""
    known = bot.slots.get(name)
    moved, note = warmth.apply_or_ignore(_slot(known) if known else Slot(), event)
    if note:
        log.info("warmth event ignored", bot=bot.key.id(), slot=name, note=note)
        return ()
    bot.slots = {**bot.slots, name: {**asdict(moved.slot), "phase": moved.slot.phase.value}}
    return moved.effects


def at_start(bot: Bot, wishes: Iterable[Iterable[str]]) -> dict[str, Any]:
    """Per wished family: what the bot held of it when the run was claimed, and whether that was warm for the wish."""
    slots = slots_of(bot)
    found: dict[str, Any] = {}
    for family, generation in wishes:
        slot = next((slot for slot in slots.values() if slot.family == family), None)
        warm = slot is not None and slot.phase in (Phase.WARM, Phase.STALE) and generation in ("", slot.generation)
        found[family] = {
            "wanted": generation,
            "warm": warm,
            "phase": slot.phase.value if slot else Phase.COLD.value,
            "generation": slot.generation if slot else "",
            "by_spec": slot.by_spec if slot else "",
            "first_use": bool(slot and slot.by_spec and not slot.last_used_s),
            "since_s": slot.since_s if slot else 0.0,
        }
    return found


def on_claim(bot: Bot, result: TaskResult, now_s: float, specs: Specs) -> None:
    """A run was given to the bot. What its slots were before stays in `held`, for a run that never starts."""
    task_id = result.key.id()
    if result.purpose:
        events: dict[str, warmth_events.Event] = {}
        events[result.slot] = warmth_events.BackgroundStarted(
            now_s, task_id, result.spec_family, result.generation, result.spec_family
        )
    else:
        events = {
            name: warmth_events.RealTaskStarted(now_s, task_id, wish)
            for name, wish in _used_slots(bot, result, specs).items()
        }
    before = {name: bot.slots.get(name) for name in events}
    for name, event in events.items():
        _happens(bot, name, event)
    bot.held = {**bot.held, "slots_before": before}


def _used_slots(bot: Bot, result: TaskResult, specs: Specs) -> dict[str, Wish | None]:
    """Which slots a real task uses: those of what it wants, and those that are to be cleaned after any task."""
    used: dict[str, Wish | None] = {}
    for name, _ in _cleaning(bot, specs):
        used[name] = None
    for family, generation in result.wishes:
        spec = specs.get(family)
        if spec is not None and spec.policy_pool == result.pool:
            used[spec.policy.slot] = Wish(family, generation)
    return used


def _cleaning(bot: Bot, specs: Specs) -> list[tuple[str, LoadedSpec]]:
    return [
        (spec.policy.slot, spec)
        for spec in specs.values()
        if spec.policy_pool == bot.pool and spec.policy.purpose is Purpose.CLEAN and spec.policy.active
    ]


def on_release(bot: Bot, result: TaskResult, held: Mapping[str, Any], outcome: str, now_s: float, specs: Specs) -> None:
    """The bot's run is over, or was taken back before it began."""
    before = held.get("slots_before") or {}
    if not result.started_s:
        slots = {name: values for name, values in bot.slots.items() if name not in before}
        bot.slots = slots | {name: values for name, values in before.items() if values is not None}
        return
    if result.purpose:
        _background_ended(bot, result, outcome, now_s)
        return
    dirty = {name for name, _ in _cleaning(bot, specs)}
    used = _used_slots(bot, result, specs)
    for name in before:
        left = used.get(name) if outcome == task.COMPLETED else None
        _happens(bot, name, warmth_events.RealTaskFinished(now_s, result.key.id(), dirty=name in dirty, used=left))


def _background_ended(bot: Bot, result: TaskResult, outcome: str, now_s: float) -> None:
    task_id = result.key.id()
    event: warmth_events.Event
    if outcome == task.COMPLETED and not result.failure:
        _happens(bot, result.slot, warmth_events.BackgroundFinished(now_s, task_id))
        if result.purpose == Purpose.CLEAN:
            _happens(bot, result.slot, warmth_events.Cleaned(now_s, result.spec_family, result.generation))
        return
    if outcome in (task.KILLED, task.CANCELED):
        event = warmth_events.BackgroundPreempted(now_s, task_id)
    else:
        event = warmth_events.BackgroundFailed(now_s, task_id)
    _happens(bot, result.slot, event)


def on_report(bot: Bot, report: Report, specs: Specs, now_s: float) -> None:
    """What the bot says that it holds: a state whose evidence is missing is gone, whatever once ran there.

    Before the report is taken into the record: what the bot said the last time tells what is news.
    """
    mine = [spec for spec in specs.values() if spec.policy_pool == report.pool]
    evident = {spec.family: bot_evidence.shown(spec, mine, report, bot.dimensions) for spec in mine}
    for name in {spec.policy.slot for spec in mine}:
        here = [(spec, found) for spec in mine if spec.policy.slot == name and (found := evident[spec.family])]
        slot = slots_of(bot).get(name, Slot())
        for spec, found in here:
            if spec.family == slot.family:
                other = bot_evidence.moved(spec, slot, report, bot.state) if found.present else ""
                _shows(bot, name, spec, replace(found, generation=other) if other else found, now_s)
        if here and slots_of(bot).get(name, Slot()).phase in (Phase.UNKNOWN, Phase.COLD):
            # A slot of which nothing is known may hold what its evidence shows.
            _shows(bot, name, *next((one for one in here if one[1].present), here[0]), now_s)


def _shows(bot: Bot, name: str, spec: LoadedSpec, found: Shown, now_s: float) -> None:
    before = slots_of(bot).get(name, Slot())
    family = spec.family if found.present else ""
    _happens(bot, name, warmth_events.Reported(now_s, found.present, family, found.generation))
    after = slots_of(bot).get(name, Slot())
    is_other = found.present and found.generation not in ("", spec.generation)
    if is_other and not found.is_news and after != before:
        # It was there before anybody looked, so it is not first seen now.
        bot.slots = {**bot.slots, name: {**bot.slots[name], "since_s": min(now_s, spec.policy.registered_s)}}


def on_restart(bot: Bot, specs: Specs, now_s: float) -> None:
    """A new session: states that do not survive a reboot are taken as gone, since the machine may have had one."""
    for name, slot in slots_of(bot).items():
        spec = specs.get(slot.family)
        if slot.family:
            survives = spec is None or spec.body.survives_reboot
            _happens(bot, name, warmth_events.Rebooted(now_s, survives))


def on_lost(bot: Bot, now_s: float) -> None:
    """The bot is gone; nothing is known until it reports."""
    for name in bot.slots:
        _happens(bot, name, warmth_events.Lost(now_s, "silent"))
