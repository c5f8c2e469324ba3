"""Why is nothing warming? What a pool's bots are given now, what was decided so far, and a few decisions whole."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from server import decisions, errors
from server.decisions import gate_row
from server.policy import bet_ledger, model, outcome
from server.policy.words import count

if TYPE_CHECKING:
    from server.service import Service

MOST_KEPT = 50
MOST_LOOKED_AT = 300
"""Bots whose advice is put into words, evenly chosen: it is made when somebody asks, and takes a while."""


def why_pool(service: Service, pool: str) -> dict[str, Any]:
    """The pool's gates, what its bots without a run get at their next poll and why, and its decisions.

    Raises:
        NotFound: no such pool.
    """
    if pool not in service.view.pools():
        raise errors.NotFound(f"no pool {pool}")
    plan = service.view.plan(pool)
    looked_at = _advice(plan)
    now = _now(looked_at)
    return {
        "pool": pool,
        "mode": service.config.thresholds(pool).mode,
        "self_shadow": service.view.watch(pool).to_plain() if service.view.watch(pool).is_shadow else None,
        "sentence": _sentence(pool, looked_at, now, _running(service, pool)),
        "would_change": now[0]["would_change"] if now and not _given(looked_at) else "",
        "config_revision": service.config.revision,
        "view_age_s": service.view.age_s(),
        "gates": [gate_row(check) for check in plan.gates],
        "now": now,
        "counts": decisions.counts(service.pages.counters(), pool),
        "bets": _bets(service, pool),
        "decisions": service.decisions.kept(pool)[:MOST_KEPT],
    }


def _bets(service: Service, pool: str) -> list[dict[str, Any]]:
    """What came of forecasts of each worth, in cold starts, the least first; `opens_in_s` is 0 while more are made."""
    now_s = service.clock.now_s()
    ledger = service.pages.bets(pool).at(now_s)
    rows = []
    for number, sums in sorted(ledger.buckets.items()):
        low, high = bet_ledger.worth_of(number)
        opens_in_s = ledger.standing_of(number, now_s).opens_in_s
        rows.append({"low": low, "high": high, "staked": sums.staked, "won": sums.won, "opens_in_s": opens_in_s})
    return rows


def _advice(plan: outcome.PoolPlan) -> list[outcome.Advice]:
    """Of the bots without a run, or of some of them."""
    names = list(plan.advice)
    step = max(1, len(names) // MOST_LOOKED_AT)
    return [plan.advice[name] for name in names[::step]]


def _now(looked_at: list[outcome.Advice]) -> list[dict[str, Any]]:
    """Per kind of refusal: how many bots it keeps from background work, with the words for one; most first."""
    refused = [advice.refused for advice in looked_at if advice.refused is not None]
    bots = Counter(decisions.kind_of(one) for one in refused)
    example = {decisions.kind_of(one): one for one in reversed(refused)}
    return [
        {"kind": kind, "bots": number, "text": example[kind].text, "would_change": example[kind].would_change}
        for kind, number in bots.most_common()
    ]


def _given(looked_at: list[outcome.Advice]) -> int:
    return sum(1 for advice in looked_at if advice.background is not None)


def _running(service: Service, pool: str) -> int:
    """Bots that do background work now."""
    held = (entry.policy.held for entry in service.view.bots(pool))
    return sum(1 for one in held if one is not None and one.purpose is not model.Purpose.REAL)


def _sentence(pool: str, looked_at: list[outcome.Advice], now: list[dict[str, Any]], running: int) -> str:
    given = _given(looked_at)
    if given:
        return f"{count(given, f'bot of {pool} gets', f'bots of {pool} get')} background work at the next poll."
    if not looked_at:
        return f"No bot of {pool} is without a run."
    if not now:
        return f"The bots of {pool} get real tasks, or nothing is planned for them."
    most = now[0]
    who = f"{most['bots']:,} of {count(len(looked_at), f'bot of {pool}', f'bots of {pool}')} without a run"
    refused = f"{who} {'is' if most['bots'] == 1 else 'are'} refused. {most['text']}"
    if running:
        busy = count(running, f"bot of {pool} does", f"bots of {pool} do")
        return f"{busy} background work now, and no more: {refused}"
    return f"Nothing is prewarmed in {pool} now: {refused}"
