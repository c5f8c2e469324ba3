"""Who announced what, and how it turned out, as the API, the pages and the command line show it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from server.access import Permission
from server.policy.announce import UNKNOWN, Score
from server.policy.followers import LEAST_HITS

if TYPE_CHECKING:
    from server.access import Principal
    from server.announced import Said
    from server.service import Service

MOST_SHOWN = 500
"""Entries, refused tags and pairs of a pool that are shown; the sums count all."""


def report(service: Service, principal: Principal, pool: str = "") -> dict[str, Any]:
    """Everything about announcements, of one pool or of all that the caller may see; reads what was learned.

    Raises:
        PermissionDenied, Unauthenticated: the pool that is named is not the caller's to see.
    """
    if pool:
        principal.require(Permission.SPEC_VIEW, pool)
    known = [pool] if pool else sorted({*service.announced.pools(), *service.view.pools()})
    pools = [_pool(service, principal, one) for one in known if principal.may(Permission.SPEC_VIEW, one)]
    return {"now_s": service.clock.now_s(), "pools": pools}


def shown(service: Service, pool: str, said: Said) -> dict[str, Any]:
    """One entry: what it says, what has come, and how far it is believed."""
    now_s, board = service.clock.now_s(), service.announced
    score = board.posted(pool).scores.get(said.entry.source, UNKNOWN)
    came = board.book(pool).came(said.entry.id)
    believed = said.entry.confidence * score.share(now_s)
    return {**said.to_plain(), "pool": pool, "came": came, "left": said.entry.count - came, "believed": believed}


def notes_on(service: Service, pool: str, family: str, generation: str) -> list[str]:
    """What whoever announced should know: why nothing may come of it."""
    notes = []
    if not service.view.count_bots(pool):
        notes.append(f"no bot is in pool {pool}")
    spec = service.view.specs().get(family)
    if spec is None or spec.policy_pool != pool:
        notes.append(f"no spec makes {family} in pool {pool}, so nothing is warmed for it")
    elif generation in spec.policy.known_generations and all(generation != one.generation for one in spec.made):
        notes.append(f"{generation} of {family} is not made any more, so nothing is warmed for it")
    return notes


def _pool(service: Service, principal: Principal, pool: str) -> dict[str, Any]:
    board, now_s = service.announced, service.clock.now_s()
    posted = board.posted(pool)
    live = [one for one in board.said(pool) if one.entry.at_s <= now_s < one.entry.closes_s]
    live.sort(key=lambda one: (one.entry.from_s, one.entry.id))
    may_edit = principal.may(Permission.SPEC_EDIT, pool)
    rows = [
        {**shown(service, pool, one), "may_retract": may_edit or one.by == principal.identity}
        for one in live[:MOST_SHOWN]
    ]
    return {
        "pool": pool,
        "live": rows,
        "live_count": len(live),
        "schedules": [
            {**one.body.model_dump(mode="json"), "by": one.by, "saved_s": one.saved_s} for one in posted.schedules
        ],
        "sources": _sources(posted.scores.items(), now_s),
        "outcomes": [outcome.to_plain() for outcome in reversed(posted.outcomes)],
        "refused_tags": [asdict(tag) for tag in board.refused_tags(pool)[:MOST_SHOWN]],
        "learned": _learned(service, pool),
        "may_edit": may_edit,
    }


def _sources(scores: Iterable[tuple[str, Score]], now_s: float) -> list[dict[str, Any]]:
    """Sources, the least believed first."""
    found = []
    for source, score in scores:
        faded = score.faded(now_s)
        found.append({"source": source, "promised": faded.promised, "came": faded.came, "share": score.share(now_s)})
    return sorted(found, key=lambda one: (one["share"], one["source"]))


def _learned(service: Service, pool: str) -> list[dict[str, Any]]:
    """Pairs that are used, then those that were seen often enough to be of interest."""
    if pool not in service.announced.pools():
        return []
    pairs = [one for one in service.announced.learning.pairs(pool) if not one.refused or one.hits >= LEAST_HITS]
    return [asdict(pair) for pair in pairs[:MOST_SHOWN]]
