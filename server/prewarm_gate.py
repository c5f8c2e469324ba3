"""PoolGate: the only door through which background work leaves, and the place where its runs are counted.

A background claim reads and writes the pool's one record in its own transaction and checks the gates again there,
with the record's own count: processes that each saw the same spare bot hand it out once. Claims of real tasks do not
touch it, so a bet counts the idle bots of a look at the store that began after its poll came.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from server import decisions, gate_recheck
from server.policy import gates, model, outcome
from server.records import RETAIN_TASK_S, expiry, get_multi, key_of
from server.records.bot import Bot
from server.records.pool import PoolGate
from server.records.spec import Spec
from server.records.task import PENDING, TaskRequest, TaskResult, TaskToRun
from server.task_ids import new_task_id

if TYPE_CHECKING:
    from server.bot_session import Token
    from server.config import PoolConfig
    from server.gate_recheck import Asked
    from server.policy.outcome import HandOut, Preempt
    from server.prewarm_spec import LoadedSpec
    from server.service import Service
    from server.task_scheduler import Delivery
    from server.task_transition import Touched
    from server.view_entries import Standing

MOST_HAND_OUTS_KEPT = 200
NOT_SEEN = outcome.Refused(
    model.Gate.FRESH_VIEW,
    "The view refused: bots may have left since the server last looked at the fleet, and it may not look again yet.",
    "A poll in a second or two.",
)
COVERED = outcome.Refused(model.Gate.PENDING, "The task waits no more, or a run warms or is stopped for it already.")


class GateRefused(Exception):
    """The gate refused within its transaction; `refused` says why."""

    def __init__(self, refused: outcome.Refused) -> None:
        super().__init__(refused.text)
        self.refused = refused


def take_out(gate: PoolGate, task_id: str, n: int) -> None:
    """Removes the entry of an ended background run."""
    gate.entries = [entry for entry in gate.entries if (entry["task"], entry["n"]) != (task_id, n)]


def may_preempt(gate: PoolGate, wanted: Preempt, is_as_urgent: Callable[[str], bool]) -> bool:
    """Whether the run may be stopped for that task: nobody warms for the task, nor the run for one as urgent (H17)."""
    entry = next((e for e in gate.entries if (e["task"], e["n"]) == (wanted.task_id, wanted.n)), None)
    if entry is None or any(e["for"] == wanted.for_task for e in gate.entries):
        return False
    return not (entry["for"] and is_as_urgent(entry["for"]))


def _may_cover(gate: PoolGate, task_id: str, waiting: TaskToRun | None, now_s: float) -> bool:
    """Whether a warm-up may begin for that task: it waits, nobody warms for it yet, no run is being stopped for it."""
    if waiting is None or waiting.status != "pending" or any(entry["for"] == task_id for entry in gate.entries):
        return False
    return not waiting.victim or waiting.victim["until_s"] <= now_s


def _adopt(touched: Touched, hand_out: HandOut, pending: Callable[[str], bool], changed_s: float) -> bool:
    """Lets a warm-up of the same state whose task has gone count for this one, instead of starting another (H16).

    Whose task has gone is asked of the view first, so that this costs look-ups only when there is something to adopt.
    """
    gate = touched.gate
    assert gate is not None
    state = hand_out.family, hand_out.generation
    left = [e for e in gate.entries if e["for"] and (e["family"], e["generation"]) == state and not pending(e["for"])]
    if not left:
        return False
    entry = left[0]
    gone, bot = get_multi([key_of(TaskToRun, entry["for"]), key_of(Bot, entry["bot"])])
    if gone is not None and gone.status == "pending":
        return False
    adopted = {**entry, "for": hand_out.for_task}
    gate.entries = [adopted if other is entry else other for other in gate.entries]
    touched.put(gate)
    if bot is not None and bot.held and bot.held["n"] == entry["n"]:
        bot.held = {**bot.held, "for": hand_out.for_task}
        bot.changed_s = max(changed_s, bot.changed_s + 1e-6)
        touched.bot = bot
        touched.put(bot)
    return True


def learn(gate: PoolGate | None, family: str, bot_id: str, failed: bool, config: PoolConfig, now_s: float) -> None:
    """Counts a run's outcome for the spec's circuit breaker: failures in a row, over several bots, open it."""
    if gate is None:
        return
    known = gate.breakers.get(family, {})
    others = {name: value for name, value in gate.breakers.items() if name != family}
    if not failed:
        if not known.get("open_since_s"):
            gate.breakers = others
        return
    bots = sorted({*known.get("bots", []), bot_id})[:20]
    failures = known.get("failures", 0) + 1
    opened_s, why = known.get("open_since_s", 0.0), known.get("why", "")
    if not opened_s and failures >= config.breaker_failures and len(bots) >= config.breaker_bots:
        opened_s = now_s
        why = f"{failures} runs in a row failed on {len(bots)} bots"
    gate.breakers = {**others, family: {"failures": failures, "bots": bots, "open_since_s": opened_s, "why": why}}


def claim_background(
    service: Service,
    token: Token,
    pool: str,
    hand_out: HandOut,
    plan: outcome.PoolPlan,
    standing: Standing | None = None,
) -> Delivery:
    """Creates a background task for the token's bot and claims it: at most 4 reads and 4 writes.

    A warm-up on demand for a task that a run left behind can serve hands that run over instead, and is refused.

    Args:
        service: this process.
        token: of the bot's poll.
        pool: the bot's.
        hand_out: what the plan advises.
        plan: with the state of the utilization gate.
        standing: the pool as `FleetView.catch_up` gave it for this poll. What is owed needs none, a bet does.

    Raises:
        GateRefused: a gate refused with the record's own counts, the spec moved on, or the task is covered.
        SessionGone, HoldsRun, NotNow: as for a real claim.
    """
    from server import task_scheduler  # its transitions use this module's entries

    current = service.view.specs().get(hand_out.family)
    spec = _revision_of(current, hand_out)
    if current is None or spec is None:
        raise GateRefused(outcome.Refused(model.Gate.NO_SPEC, f"{hand_out.family} has a newer revision."))
    if standing is None and hand_out.purpose in gates.BETS:
        raise GateRefused(NOT_SEEN)
    thresholds, found = service.config.thresholds(pool), standing or service.view.standing(pool)
    share = service.config.pool(pool).holdout_share
    asked = gate_recheck.Asked(token.bot, pool, spec.policy, hand_out, plan, thresholds, found, current.policy, share)
    delivery = task_scheduler.run(
        service, lambda touched: _claim(service, touched, token, spec, asked, current.revision)
    )
    if delivery is None:
        raise GateRefused(COVERED)
    return delivery


def _revision_of(current: LoadedSpec | None, hand_out: HandOut) -> LoadedSpec | None:
    """The revision that the hand-out names: the current one, or for a straggler the last of the generation before.

    A straggler is a task that waits, or one that was announced: nobody bets on the generation before.
    """
    for_straggler = hand_out.purpose in (model.Purpose.ON_DEMAND, model.Purpose.ANNOUNCED)
    known = (current.made if for_straggler else (current,)) if current is not None else ()
    return next((spec for spec in known if spec.policy.revision == hand_out.revision), None)


def _claim(
    service: Service, touched: Touched, token: Token, spec: LoadedSpec, asked: Asked, revision: int
) -> Delivery | None:
    """Within the transaction; None when a run of before serves instead. `revision` is the spec's current one."""
    from server import switch, task_scheduler

    hand_out = asked.hand_out
    keys = [key_of(Bot, token.bot), key_of(PoolGate, asked.pool), key_of(Spec, hand_out.family)]
    keys += [key_of(TaskToRun, hand_out.for_task)] if hand_out.for_task else []
    bot, gate, head, *waiting = get_multi(keys)
    now_s = service.clock.now_s()
    touched.bot = task_scheduler.usable_bot(bot, token, now_s)
    if head is None or head.state != "active" or head.revision != revision:
        raise GateRefused(outcome.Refused(model.Gate.NO_SPEC, f"{hand_out.family} was changed, paused or retired."))
    touched.gate = gate = gate or switch.new_gate(asked.pool)
    if refused := gate_recheck.refusal(gate, asked, now_s):
        raise GateRefused(refused)
    if hand_out.for_task:
        if not _may_cover(gate, hand_out.for_task, waiting[0], now_s):
            raise GateRefused(COVERED)
        if _adopt(touched, hand_out, service.view.is_pending, now_s):
            return None
    request, touched.result = _records(service, spec, hand_out, asked, now_s)
    run = {
        "family": hand_out.family,
        "generation": hand_out.generation,
        "slot": spec.policy.slot,
        "for": hand_out.for_task,
    }
    net = hand_out.value.net if hand_out.value is not None else 0.0
    held = {**run, "resumable": spec.policy.resumable, "net": net}
    n = task_scheduler.offer(service, touched, token, held, hand_out.text)
    entry = {"task": request.task_id, "bot": token.bot, "n": n, "revision": hand_out.revision, "since_s": now_s, **run}
    gate.entries = [*gate.entries, {**entry, "purpose": hand_out.purpose.value}]
    gate.hand_outs_s = [*(t for t in gate.hand_outs_s if t > now_s - gates.WINDOW_S), now_s][-MOST_HAND_OUTS_KEPT:]
    gate.open, gate.below_since_s = asked.plan.gate_open, asked.plan.below_since_s
    touched.put(request, gate)
    return task_scheduler.Delivery(request.task_id, n, request.slices[0], hand_out.purpose.value, bot.dimensions)


def _records(
    service: Service, spec: LoadedSpec, hand_out: HandOut, asked: Asked, now_s: float
) -> tuple[TaskRequest, TaskResult]:
    """Request and result of a background task; it has no place in the queue."""
    pool = asked.pool
    task_id = new_task_id(now_s, service.rng, background=True)
    piece = spec.slice_record(now_s, service.config.pool(pool))
    purpose = hand_out.purpose.value
    tags = sorted(
        {
            f"pool:{pool}",
            f"purpose:{purpose}",
            f"spec:{hand_out.family}",
            f"spec_revision:{hand_out.revision}",
            "priority:255",
        }
    )
    name = f"{purpose}: {hand_out.family}@{hand_out.generation}"
    keep = expiry(now_s, RETAIN_TASK_S)
    request = TaskRequest(
        id=task_id,
        task_id=task_id,
        name=name,
        slices=[piece],
        priority=255,
        tags=tags,
        user="pilotlight",
        authenticated="service:pilotlight",
        service_account="none",
        bot_ping_tolerance_s=1200.0,
        created_s=now_s,
        purpose=purpose,
        spec_family=hand_out.family,
        spec_revision=hand_out.revision,
        expire_at=keep,
    )
    result = TaskResult(
        id=task_id,
        request_key=task_id,
        name=name,
        tags=tags,
        user="pilotlight",
        pool=pool,
        priority=255,
        state=PENDING,
        created_s=now_s,
        modified_s=now_s,
        grace_period_s=float(piece["properties"].get("grace_period_secs", 0)),
        purpose=purpose,
        spec_family=hand_out.family,
        spec_revision=hand_out.revision,
        generation=hand_out.generation,
        slot=spec.policy.slot,
        for_task=hand_out.for_task,
        decision=hand_out.text,
        terms=decisions.terms(hand_out, asked.plan.gates),
        expire_at=keep,
    )
    return request, result
