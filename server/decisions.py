"""Decisions about background work, remembered: every one is counted, and of each kind a few are kept whole.

What is kept lies on this process's pages, so that 100,000 bots that are refused every few seconds cost one more page
every half minute and no more: of each kind (a gate that refused, a purpose handed out) one of each of the last four
minutes, quarters of an hour, and four hours. A hand-out is kept whole with its run besides, however many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from server.page_kinds import DECISIONS
from server.policy import hold_out, outcome
from server.process_pages import SEPARATOR

if TYPE_CHECKING:
    from server.service import Service

STEPS_S = (60, 900, 14_400)
KEPT = 4
"""So many of each step are kept."""
MOST_KINDS = 100
"""Kinds of decisions of all pools of which one process keeps any: twelve each, some 500 bytes."""
SHADOW = "shadow: "
"""How the policy's text of what shadow mode did not hand out begins."""

Body = dict[str, Any]


def kind_of(refused: outcome.Refused) -> str:
    """By what refusals are counted: the gate; hand-outs that shadow mode and the hold-out did not make apart."""
    if refused.text.startswith(SHADOW):
        return "shadow"
    return "hold_out" if hold_out.is_refusal(refused) else refused.gate.value


def gate_row(check: outcome.GateCheck) -> Body:
    """One gate as it stood."""
    return {
        "gate": check.gate.value,
        "passed": check.passed,
        "text": check.text,
        "value": check.value,
        "limit": check.limit,
        "would_change": check.would_change,
    }


def terms(hand_out: outcome.HandOut, gates: Iterable[outcome.GateCheck]) -> Body:
    """What a hand-out rested on: its value with all terms, and the pool's gates as the plan saw them."""
    value = [asdict(hand_out.value)] if hand_out.value is not None else []
    return {"values": value, "gates": [gate_row(check) for check in gates]}


class Decisions:
    """What one process counts and keeps; shared by its threads."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._steps: dict[tuple[str, str], list[int]] = {}

    def refused(self, pool: str, bot_id: str, refused: outcome.Refused) -> None:
        """A poll got no background work."""
        kind = f"refused.{kind_of(refused)}"
        self._service.count(pool, kind)
        self._keep(pool, kind, bot_id, lambda: _of_refusal(refused))

    def handed_out(
        self, pool: str, bot_id: str, task_id: str, hand_out: outcome.HandOut, plan: outcome.PoolPlan
    ) -> None:
        """A poll got background work."""
        kind = f"handed_out.{hand_out.purpose.value}"
        self._service.count(pool, kind)
        self._keep(pool, kind, bot_id, lambda: _of_hand_out(task_id, hand_out, plan))

    def stopped(self, pool: str, bot_id: str, kind: str, task_id: str, text: str, for_task: str = "") -> None:
        """A background run was told to stop: `preempted` for a real task, or `stopped` since nobody needs it."""
        self._service.count(pool, kind)
        self._keep(pool, kind, bot_id, lambda: {"text": text, "task_id": task_id, "for_task": for_task})

    def held_back(self, pool: str, bot_id: str, hold: outcome.Hold) -> None:
        """A task that the bot could take waits for a warmer one."""
        self._service.count(pool, "held_back")
        self._keep(pool, "held_back", bot_id, lambda: {"text": hold.text, "task_id": hold.task_id})

    def kept(self, pool: str) -> list[Body]:
        """What all processes kept of the pool's decisions, newest first."""
        values = self._service.pages.values(DECISIONS, pool + SEPARATOR).values()
        once = {(at_s, bot_id, body["kind"]): (at_s, bot_id, body) for at_s, bot_id, body in values}
        newest = sorted(once.values(), key=lambda one: (-one[0], one[1]))
        return [{"at_s": at_s, "bot": bot_id, **body} for at_s, bot_id, body in newest]

    def _keep(self, pool: str, kind: str, bot_id: str, make: Callable[[], Body]) -> None:
        """Keeps the decision where it is the first of a step; quick where it is not."""
        now_s = self._service.clock.now_s()
        steps = [int(now_s // step_s) for step_s in STEPS_S]
        known = self._steps.get((pool, kind))
        if known == steps or (known is None and len(self._steps) >= MOST_KINDS):
            return
        self._steps[pool, kind] = steps
        body = {"kind": kind, "config_revision": self._service.config.revision, **make()}
        for place, step in enumerate(steps):
            if known is None or known[place] != step:
                key = SEPARATOR.join((pool.replace(SEPARATOR, " "), kind, f"{place}.{step % KEPT}"))
                self._service.pages.put(DECISIONS, key, [now_s, bot_id, body])


def _of_refusal(refused: outcome.Refused) -> Body:
    return {
        "gate": refused.gate.value,
        "text": refused.text,
        "would_change": refused.would_change,
        "gates": [gate_row(check) for check in refused.checks],
        "values": [asdict(value) for value in refused.values],
    }


def _of_hand_out(task_id: str, hand_out: outcome.HandOut, plan: outcome.PoolPlan) -> Body:
    of = {"family": hand_out.family, "generation": hand_out.generation, "revision": hand_out.revision}
    return {"text": hand_out.text, "task_id": task_id, **of, **terms(hand_out, plan.gates)}


def counts(counters: Mapping[str, float], pool: str) -> dict[str, dict[str, float]]:
    """A pool's decisions so far: `refused` by gate, `handed_out` by purpose, and the `others`."""
    found: dict[str, dict[str, float]] = {"refused": {}, "handed_out": {}, "others": {}}
    for name, number in sorted(counters.items()):
        head, _, tail = name.removeprefix(f"{pool}/").partition(".")
        if not name.startswith(f"{pool}/") or "/" in head:
            continue
        if tail and head in found:
            found[head][tail] = number
        elif head in ("preempted", "stopped", "held_back"):
            found["others"][head] = number
    return found
