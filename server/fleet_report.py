"""The fleet, told: states of bots and pools, why a bot gets what it gets, why a task waits, what specs cost and saved.

Plain dictionaries for pages, the JSON API and the command line. The sentences come from the policy's own answers, made
now from the same view that decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from server import errors, shadow_scores, task_results
from server.access import Permission, Principal
from server.decisions import gate_row
from server.policy import model, waiting
from server.policy.model import Phase, Purpose
from server.policy.plan import claimable
from server.policy.words import count, duration
from server.records import task
from server.records.task import TaskResult
from server.seen_polls import Presence
from server.task_life import HANDED_BACK
from server.view_entries import BotEntry

if TYPE_CHECKING:
    from server.service import Service

LEDGER_COUNTS = ("prewarms", "used", "failed", "preempted", "background_s", "saved_s", "warm_starts", "cold_starts")
GONE = frozenset({"silent", "dead"})
"""What such bots hold is no stock."""
MOST_AT_ONCE = 1000
REFUSAL_TOLD_S = 60.0
"""For so long a bot with nothing planned is told what a gate refused it within a claim."""


def fleet(service: Service, principal: Principal, pool: str | None = None) -> dict[str, Any]:
    """Pools with their gates and stock, and bots with what they hold and do; only what the caller may see.

    Raises:
        PermissionDenied, Unauthenticated: the pool that is named is not the caller's to see.
    """
    principal.require(Permission.POOL_LIST_BOTS, pool or "")
    pools = [
        name for name in service.view.pools() if pool in (None, name) and principal.may(Permission.POOL_LIST_BOTS, name)
    ]
    bots = [entry for entry in service.view.bots(pool) if principal.may(Permission.POOL_LIST_BOTS, entry.pool)]
    return {
        "view_age_s": service.view.age_s(),
        "config_revision": service.config.revision,
        "stopped": service.view.switch().stopped,
        "pools": [pool_report(service, name, [entry for entry in bots if entry.pool == name]) for name in pools],
        "bots": [bot_report(service, entry) for entry in bots],
    }


BOT_STATUSES = ("idle", "busy", "background", "quiet", "silent", "maintenance", "quarantined", "dead")
"""All words that `bot_status` has."""


def bot_status(bot: model.Bot, now_s: float) -> tuple[str, str]:
    """A bot's state in a word, and in a few."""
    if not bot.alive:
        return "dead", "not seen any more"
    if bot.quarantined:
        return "quarantined", bot.quarantined
    if bot.maintenance:
        return "maintenance", bot.maintenance
    held = bot.held
    if held is None and _is_silent(bot, now_s):
        return "silent", "silent: its poll is overdue"
    if held is None:
        return ("quiet", "an old run may still end") if bot.quiet_until_s > now_s else ("idle", "idle")
    stopping = f", stopping: {held.stop}" if held.stop else ""
    if held.purpose is Purpose.REAL:
        return "busy", "runs a task" + stopping
    verb = "is cleaned" if held.purpose is Purpose.CLEAN else "is being warmed"
    return "background", f"{verb} for {held.family}@{held.generation}{stopping}"


def _is_silent(bot: model.Bot, now_s: float) -> bool:
    """Whether nobody counts on the bot until it polls; it is declared dead only after `death_timeout_s`."""
    return Presence(bot.last_seen_s, bot.next_poll_s, bot.held_poll, bot.polls_elsewhere).is_overdue(now_s)


def bot_report(service: Service, entry: BotEntry) -> dict[str, Any]:
    """One bot."""
    bot = entry.policy
    status, text = bot_status(bot, service.clock.now_s())
    return {
        "id": bot.id,
        "pool": entry.pool,
        "status": status,
        "status_text": text,
        "slots": {name: {**asdict(slot), "phase": slot.phase.value} for name, slot in sorted(bot.slots.items())},
        "task_id": bot.held.task_id if bot.held else "",
        "purpose": bot.held.purpose.value if bot.held else "",
        "held_since_s": bot.held.since_s if bot.held else 0.0,
        "last_seen_s": bot.last_seen_s,
        "idle_since_s": bot.idle_since_s,
        "dimensions": {key: sorted(values) for key, values in sorted(bot.dimensions.items())},
        "version": entry.version,
        "own_bot": not entry.foreign,
    }


def pool_report(service: Service, pool: str, entries: list[BotEntry]) -> dict[str, Any]:
    """One pool: counts, gates as they stand, and the stock of each family; no utilization where no bot can work."""
    plan = service.view.plan(pool)
    now_s = service.clock.now_s()
    status = {entry.policy.id: bot_status(entry.policy, now_s)[0] for entry in entries}
    states = Counter(status.values())
    return {
        "pool": pool,
        "mode": service.config.thresholds(pool).mode,
        "self_shadow": service.view.watch(pool).to_plain() if service.view.watch(pool).is_shadow else None,
        "drained": service.config.pool(pool).drained,
        "bots": len(entries),
        "idle": states["idle"] + states["quiet"],
        "busy": states["busy"],
        "background": states["background"],
        "silent": states["silent"],
        "dead": states["dead"],
        "quarantined": states["quarantined"],
        "maintenance": states["maintenance"],
        "pending": len(service.view.pending(pool)),
        "utilization": next((check.value for check in plan.gates if check.gate is model.Gate.UTILIZATION), None),
        "reserve": plan.reserve,
        "gate_open": plan.gate_open,
        "gates": [gate_row(check) for check in plan.gates],
        "holds": [asdict(hold) for hold in plan.holds.values()],
        "families": _families(service, pool, [one for one in entries if status[one.policy.id] not in GONE]),
    }


def _families(service: Service, pool: str, entries: list[BotEntry]) -> list[dict[str, Any]]:
    specs = {family: spec for family, spec in service.view.specs().items() if spec.policy_pool == pool}
    stock: dict[tuple[str, str], Counter[str]] = {(s.family, s.generation): Counter() for s in specs.values()}
    for entry in entries:
        for slot in entry.policy.slots.values():
            if slot.family and slot.phase is not Phase.COLD:
                stock.setdefault((slot.family, slot.generation), Counter())[slot.phase.value] += 1
    wanted = Counter(wish.family for entry in service.view.pending(pool) for wish in entry.policy.wishes)
    rows = []
    for (family, generation), phases in sorted(stock.items()):
        spec = specs.get(family)
        current = spec is not None and spec.generation == generation
        rows.append(
            {
                "family": family,
                "generation": generation,
                "slot": spec.policy.slot if spec else "",
                "current": current,
                "state": spec.state if spec else "",
                "colour": spec.colour if spec else 0,
                "letters": spec.letters if spec else family[:2].upper(),
                "warm": phases[Phase.WARM.value],
                "warming": phases[Phase.WARMING.value],
                "in_use": phases[Phase.IN_USE.value],
                "stale": phases[Phase.STALE.value],
                "wanted": wanted[family] if current else 0,
            }
        )
    return rows


def ledger(service: Service, principal: Principal) -> dict[str, Any]:
    """Per spec that the caller may see: what background work cost and brought.

    `saved_s` is modelled: cold minus warm cost of a start on a state that was prewarmed. `measured` compares tasks that
    came while the spec was held out with all others.
    """
    counters = service.pages.counters()
    specs = []
    for family, spec in sorted(service.view.specs().items()):
        if not principal.may(Permission.SPEC_VIEW, spec.policy_pool):
            continue
        row: dict[str, Any] = {name: counters.get(f"{spec.policy_pool}/{family}/{name}", 0) for name in LEDGER_COUNTS}
        row["never_used"] = max(0, row["prewarms"] - row["used"])
        measured = service.pages.savings(spec.policy_pool, family).estimate()
        row["measured"] = {**asdict(measured), "is_proven": measured.is_proven, "text": measured.text()}
        row["shadow"] = _shadow(service, spec.policy_pool, family, counters)
        row["held_out_s"] = service.view.held_out_s(spec)
        specs.append({"family": family, "pool": spec.policy_pool, **row})
    return {"specs": specs, "savings": "modelled"}


def _shadow(service: Service, pool: str, family: str, counters: Mapping[str, float]) -> dict[str, Any] | None:
    """What the spec's bets would have become so far, while its pool is in shadow mode; None while it is not."""
    if not service.shadow.is_scored(pool):
        return None
    row = {name.removeprefix("shadow_"): counters.get(f"{pool}/{family}/{name}", 0) for name in shadow_scores.COUNTS}
    return {**row, "text": _would_have(row)}


def _would_have(row: Mapping[str, float]) -> str:
    if not row["prewarms"]:
        return "In shadow mode: no prewarm would have been made so far."
    made = f"{count(round(row['prewarms']), 'prewarm')} would have been made and {round(row['used']):,} used"
    gain = f"{duration(row['saved_s'])} of waiting saved"
    lost = f", {duration(row['lost_s'])} lost by what they displace" if row["lost_s"] else ""
    return f"In shadow mode: {made}, {gain}{lost}, for {duration(row['spent_s'])} of idle time."


def why_bot(service: Service, principal: Principal, bot_id: str) -> dict[str, Any]:
    """Why the bot gets what it gets, as the plan has it now.

    Raises:
        UnknownBot. PermissionDenied, Unauthenticated: it is in a pool that is not the caller's to see.
    """
    entry = next((one for one in service.view.bots() if one.policy.id == bot_id), None)
    if entry is None:
        raise errors.UnknownBot(f"no bot {bot_id}", field="bot_id")
    principal.require(Permission.POOL_LIST_BOTS, entry.pool)
    answer: dict[str, Any] = {
        "bot": bot_report(service, entry),
        "pool": entry.pool,
        "config_revision": service.config.revision,
        "view_age_s": service.view.age_s(),
        "verdict": "",
        "gate": "",
        "would_change": "",
        "gates": [],
        "values": [],
    }
    return answer | _why_this_run(service, entry)


def _why_this_run(service: Service, entry: BotEntry) -> dict[str, Any]:
    """What the bot holds, else what the plan advises it, else what refused it."""
    held, bot_id = entry.policy.held, entry.policy.id
    if held is not None:
        sentence = f"{bot_id} {bot_status(entry.policy, 0.0)[1]} ({held.task_id})."
        return {"verdict": "holds a run", "sentence": sentence}
    advice = service.view.plan(entry.pool).advice.get(bot_id)
    if advice is None:
        return {"verdict": "unknown", "sentence": f"{bot_id} is not in the plan yet; it is made anew within a second."}
    tasks = claimable(service.view.plan(entry.pool), bot_id, service.clock.now_s())
    if tasks:
        why = advice.why_task if tasks[0] == advice.tasks[0] else ""
        sentence = f"{bot_id} gets task {tasks[0]} when it polls. {why}".strip()
        return {"verdict": "real task", "sentence": sentence}
    if advice.background is not None:
        out = advice.background
        return {
            "verdict": "hand-out",
            "sentence": f"{bot_id} gets a background task when it polls: {out.text}",
            "values": [asdict(out.value)] if out.value else [],
        }
    late = service.view.refusal(bot_id)
    refused = advice.refused
    if late is not None and service.clock.now_s() - late[0] < REFUSAL_TOLD_S and refused is None:
        refused = late[1]
    if refused is None:
        return {"verdict": "idle", "sentence": f"{bot_id} is idle, and nothing is planned for it."}
    return {
        "verdict": "refused",
        "gate": refused.gate.value,
        "sentence": refused.text,
        "would_change": _release(entry) or refused.would_change,
        "gates": [gate_row(check) for check in refused.checks],
        "values": [asdict(value) for value in refused.values],
    }


def _release(entry: BotEntry) -> str:
    """What to do about a quarantine that only a person ends, "" where there is none."""
    if not entry.server_quarantined:
        return ""
    how = f"./pilot release {entry.policy.id}, or the button on its page"
    return f"An operator who has seen to the machine, or given each its own id, lets it go: {how}."


def why_task(service: Service, principal: Principal, task_id: str) -> dict[str, Any]:
    """Why a task waits, or why the bot that it got, and why it ended where it should not have.

    Raises:
        UnknownTask, InvalidArgument, PermissionDenied.
    """
    return _why(service, task_results.get_result(service, principal, task_id))


def why_tasks(service: Service, principal: Principal, task_ids: Sequence[str]) -> list[dict[str, Any]]:
    """The same of several, without those that cannot be had.

    Raises:
        InvalidArgument: too many.
    """
    if len(task_ids) > MOST_AT_ONCE:
        raise errors.InvalidArgument(f"ids: {len(task_ids)} ids; at most {MOST_AT_ONCE} are allowed", field="ids")
    found = task_results.get_results(service, principal, task_ids)
    return [_why(service, result) for result in found if isinstance(result, TaskResult)]


def _why(service: Service, result: TaskResult) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "task_id": result.key.id(),
        "state": result.state,
        "bot": result.bot_id,
        "wishes": result.wishes,
        "warm_at_start": result.warm_at_start,
        "config_revision": result.config_revision,
        "purpose": result.purpose,
        "error": result.error,
        "handed_back": is_handed_back(result),
        "steps": [],
        **result.terms,
    }
    if result.state != task.PENDING:
        return answer | {"sentence": _why_this_bot(result), "verdict": "decided"}
    if result.offered and result.claim:
        text = f"It was offered to {result.claim['bot']}, which has not started it yet."
        return answer | {"sentence": text, "verdict": "offered"}
    return answer | _why_pending(service, result)


def is_handed_back(result: TaskResult) -> bool:
    """Whether the task ended since its bot had to leave: clients see BOT_DIED, Swarming has no other word for it."""
    return result.state == task.BOT_DIED and result.error == HANDED_BACK


def _why_this_bot(result: TaskResult) -> str:
    if not result.bot_id:
        if result.error and result.claim and result.state in (task.BOT_DIED, task.CLIENT_ERROR):
            return f"{result.claim['bot']} was given it and did not start it: {result.error}."
        return f"No bot got it: {result.error or result.state.lower()}."
    warm = [family for family, was in result.warm_at_start.items() if was["warm"]]
    cold = [family for family, was in result.warm_at_start.items() if not was["warm"]]
    parts = [result.decision or result.why_bot or f"{result.bot_id} polled first."]
    if warm:
        parts.append(f"The bot was warm for {', '.join(warm)}.")
    if cold:
        parts.append(f"The bot was cold for {', '.join(cold)}.")
    if result.error:
        ran = f" after {duration(result.completed_s - result.started_s)}" if result.completed_s else ""
        parts.append(f"It ended{ran} because {result.error}.")
    return " ".join(parts)


def _why_pending(service: Service, result: TaskResult) -> dict[str, Any]:
    pool, task_id = result.pool, str(result.key.id())
    if service.config.pool(pool).drained:
        return {"sentence": f"{pool} is drained: its tasks wait until an admin ends that.", "verdict": "drained"}
    try:
        why = waiting.why_waiting(service.view.pool_view(pool), service.view.plan(pool), task_id)
    except KeyError:
        return {"sentence": "It is new; this process has not seen it yet.", "verdict": "new"}
    steps = [{"key": step.key, "value": "|".join(step.values), "left": step.bots_left} for step in why.steps]
    return {"sentence": why.text, "verdict": "pending", "would_change": why.would_change, "steps": steps}
