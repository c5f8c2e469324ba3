"""What the API answers as rows for the screen."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import yaml

from client.api import ran_s, seconds, state_name
from client.screen import ACCENT, BAD, DIM, GOOD, WARN, Cell, Sheet
from client.words import ago, duration, one_line, share
from server.proto import swarming_pb2 as swarming

STYLE_OF_STATE = {
    swarming.RUNNING: ACCENT,
    swarming.PENDING: WARN,
    swarming.COMPLETED: GOOD,
    swarming.CANCELED: DIM,
    swarming.KILLED: WARN,
}
STYLE_OF_SPEC = {"active": GOOD, "paused": WARN, "retired": DIM}
HASH = re.compile(r"\b[0-9a-f]{20,}\b")


def of_tasks(found: Iterable[swarming.TaskResultResponse], now_s: float, handed_back: Collection[str] = ()) -> Sheet:
    """Tasks; background ones are set off. `handed_back` are those whose bots were shut down in the middle."""
    sheet = Sheet(["task", "state", "~name", "bot", ">made", ">waited", ">ran"])
    for task in found:
        kind = value_of_tag(task.tags, "purpose")
        created_s, started_s = seconds(task.created_ts), seconds(task.started_ts)
        sheet.add(
            task.task_id,
            Cell("handed back", WARN) if task.task_id in handed_back else Cell(_state_text(task), _state_style(task)),
            Cell(short(one_line(task.name)), ACCENT if kind else ""),
            task.bot_id,
            ago(created_s, now_s),
            duration(started_s - created_s) if started_s else "",
            duration(ran_s(task, now_s)) if started_s else "",
        )
    return sheet


def _state_text(task: swarming.TaskResultResponse) -> str:
    failed = task.state == swarming.COMPLETED and task.exit_code
    return f"exit code {task.exit_code}" if failed else state_name(task).lower().replace("_", " ")


def _state_style(task: swarming.TaskResultResponse) -> str:
    if task.state == swarming.COMPLETED and task.exit_code:
        return BAD
    return STYLE_OF_STATE.get(task.state, BAD)


def value_of_tag(tags: Iterable[str], key: str) -> str:
    """Value of the first tag with this key, "" without one."""
    return next((tag.partition(":")[2] for tag in tags if tag.startswith(f"{key}:")), "")


def of_bots(found: Iterable[swarming.BotInfo], fleet: Mapping[str, Any], now_s: float) -> Sheet:
    """Bots; `fleet` adds what each is warm for."""
    known = {bot["id"]: bot for bot in fleet.get("bots", [])}
    sheet = Sheet(["bot", "state", "pool", "warm for", "task", ">last seen"])
    for bot in found:
        pools = next((list(pair.value) for pair in bot.dimensions if pair.key == "pool"), [])
        own = known.get(bot.bot_id, {})
        sheet.add(
            bot.bot_id,
            _bot_state(bot, own),
            " ".join(pools),
            _slots(own.get("slots") or {}),
            own.get("task_id") or bot.task_id,
            ago(own.get("last_seen_s") or seconds(bot.last_seen_ts), now_s),
        )
    return sheet


def _bot_state(bot: swarming.BotInfo, own: Mapping[str, Any]) -> Cell:
    if bot.is_dead:
        return Cell("dead", BAD)
    if bot.quarantined:
        return Cell("quarantined", BAD)
    if bot.maintenance_msg:
        return Cell("maintenance", WARN)
    status = str(own.get("status") or ("busy" if bot.task_id else "idle"))
    if status == "background":
        return Cell("being cleaned" if own.get("purpose") == "clean" else "being warmed", ACCENT)
    return Cell(status, BAD if status in ("dead", "quarantined") else WARN if status == "silent" else "")


def _slots(slots: Mapping[str, Mapping[str, Any]]) -> str:
    parts = []
    for slot in slots.values():
        phase = slot.get("phase") or ""
        if slot.get("family"):
            state = name_of_state(slot)
            parts.append(state if phase == "warm" else f"{state} ({phase.replace('_', ' ')})")
    return ", ".join(parts)


def name_of_state(holds: Mapping[str, Any]) -> str:
    """The warm state of whatever has a family and perhaps a generation: `src@r7`, or `src`."""
    generation = short(str(holds.get("generation") or ""))
    return f"{holds['family']}@{generation}" if generation else str(holds["family"])


def short(text: str) -> str:
    """A generation, or what names one, on a narrow screen: hashes lose their tails."""
    return HASH.sub(lambda found: found[0][:10], text)


def sentence_of_pool(pool: Mapping[str, Any]) -> str:
    """How a pool stands, in one line."""
    mode = "shadow by itself" if pool.get("self_shadow") else pool["mode"]
    if not pool["bots"]:
        return f"{pool['pool']} ({mode}): no bots."
    bots = "1 bot" if pool["bots"] == 1 else f"{pool['bots']} bots"
    parts = [f"{pool['idle']} of {bots} idle", f"{pool['busy']} busy"]
    if pool.get("background"):
        parts.append(f"{pool['background']} being made ready")
    if pool.get("silent"):
        parts.append(f"{pool['silent']} silent")
    text = f"{pool['pool']} ({mode}): {', '.join(parts)}"
    if pool["utilization"] is None:
        return f"{text}, none that can take work."
    return f"{text}; {share(pool['utilization'])} busy or asked for, reserve {pool['reserve']}."


def of_families(pools: Iterable[Mapping[str, Any]]) -> Sheet:
    """Stock per family."""
    sheet = Sheet(["pool", "family", "generation", "slot", ">warm", ">warming", ">in use", ">stale", ">wanted"])
    for pool in pools:
        for family in pool.get("families") or []:
            counts = [str(family.get(name) or 0) for name in ("warm", "warming", "in_use", "stale", "wanted")]
            generation = short(str(family.get("generation") or ""))
            sheet.add(pool["pool"], Cell(family["family"], ACCENT), generation, str(family.get("slot") or ""), *counts)
    return sheet


def refusals_of_pool(pool: Mapping[str, Any]) -> list[str]:
    """Sentences of the gates that hold back more."""
    refused = [gate for gate in pool.get("gates") or [] if not gate.get("passed", True)]
    return [gate["text"] + _would_change(gate) for gate in refused]


def _would_change(gate: Mapping[str, Any]) -> str:
    return f" Would change it: {gate['would_change']}" if gate.get("would_change") else ""


def of_gates(gates: Iterable[Mapping[str, Any]]) -> Sheet:
    """All gates in the model's order."""
    sheet = Sheet(["gate", "", "because"])
    for gate in gates:
        passed = bool(gate.get("passed"))
        sheet.add(
            str(gate.get("gate", "")),
            Cell("passed" if passed else "refused", GOOD if passed else BAD),
            short(str(gate.get("text", ""))),
        )
    return sheet


def of_refusals(now: Iterable[Mapping[str, Any]]) -> Sheet:
    """What keeps bots from background work now."""
    sheet = Sheet(["refused by", ">bots", "for example"])
    for row in now:
        sheet.add(plain_kind(row["kind"]), str(row["bots"]), short(row["text"]))
    return sheet


def of_counts(counts: Mapping[str, Mapping[str, float]]) -> Sheet:
    """A pool's decisions so far, by number."""
    sheet = Sheet(["decided so far", ">times"])
    rows = {
        f"{head}.{name}" if head != "others" else name: n for head, part in counts.items() for name, n in part.items()
    }
    for kind, number in sorted(rows.items(), key=lambda row: -row[1]):
        sheet.add(plain_kind(kind), f"{number:,.0f}")
    return sheet


def of_bets(rows: Iterable[Mapping[str, Any]]) -> Sheet:
    """What came of forecast prewarms of each worth."""
    sheet = Sheet([">forecasts worth", ">cold starts staked", ">came back", "closed for"])
    for row in rows:
        worth = f"{share(row['low'])} to {share(row['high'])}"
        closed = duration(row["opens_in_s"]) if row["opens_in_s"] else ""
        sheet.add(worth, f"{row['staked']:.1f}", f"{row['won']:.1f}", closed)
    return sheet


def of_decisions(kept: Iterable[Mapping[str, Any]], now_s: float) -> Sheet:
    """Decisions that were kept whole, newest first."""
    sheet = Sheet([">when", "bot", "decision", "because"])
    for one in kept:
        sheet.add(ago(one["at_s"], now_s), one["bot"], plain_kind(one["kind"]), short(one["text"]))
    return sheet


def plain_kind(kind: str) -> str:
    """`refused.fresh_view` in words: "refused: fresh view"."""
    head, _, tail = kind.partition(".")
    return f"{head}: {tail}".replace("_", " ") if tail else kind.replace("_", " ")


def of_specs(found: Sequence[Mapping[str, Any]], ledger: Mapping[str, Mapping[str, Any]]) -> Sheet:
    """Specs with what each cost and saved."""
    sheet = Sheet(
        [
            "family",
            "state",
            "pool",
            "~generation",
            ">rev",
            ">prewarms",
            ">unused",
            ">failed",
            ">spent",
            ">saved",
            ">measured",
        ]
    )
    for spec in found:
        row = ledger.get(spec["family"], {})
        counts = [str(row[name]) if name in row else "" for name in ("prewarms", "never_used", "failed")]
        times = [duration(row[name]) if name in row else "" for name in ("background_s", "saved_s")]
        state = Cell(spec["state"], STYLE_OF_SPEC.get(spec["state"], ""))
        if spec["breaker"] and spec["state"] == "active":
            state = Cell("breaker open", BAD)
        sheet.add(
            spec["family"],
            state,
            spec["pool"],
            short(spec["generation"]),
            str(spec["revision"]),
            *counts,
            *times,
            _measured(row.get("measured")),
        )
    return sheet


def _measured(found: Mapping[str, Any] | None) -> str:
    """What a task saves, with half its 95 % interval; a saving that may be none is no figure."""
    if not found or not found["is_known"]:
        return ""
    if not found["is_proven"]:
        return "not proven"
    return f"{duration(found['saved_s'])} ± {duration((found['high_s'] - found['low_s']) / 2)} a task"


def sentences_of_savings(ledger: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What was measured of each spec for which anything was held out."""
    found = {family: row["measured"] for family, row in ledger.items() if row.get("measured")}
    return [f"{family}: {short(one['text'])}" for family, one in found.items() if one["held_out"] >= 1]


def sentences_of_shadow(ledger: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What prewarms of each spec would have become in a pool in shadow mode."""
    return [f"{family}: {short(row['shadow']['text'])}" for family, row in ledger.items() if row.get("shadow")]


def sentences_of_breakers(found: Iterable[Mapping[str, Any]]) -> list[str]:
    """Which specs stopped by themselves, why, and what makes them go on."""
    return [
        f"The circuit breaker of {spec['family']} is open: {spec['breaker']}. "
        f"Repair it, then ./pilot specs resume {spec['family']}"
        for spec in found
        if spec["breaker"]
    ]


def as_yaml(value: Any) -> str:
    """What people edit."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
