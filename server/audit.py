"""Who changed what: written in the transaction that makes the change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from server.records import RETAIN_AUDIT_S, expiry
from server.records.config import Audit

if TYPE_CHECKING:
    from server.access import Principal
    from server.service import Service


@dataclass(frozen=True, slots=True)
class Entry:
    """One change: `what` is a verb with its subject (`spec.pause`), `target` the thing, `detail` says how."""

    at_s: float
    who: str
    what: str
    target: str
    detail: Mapping[str, Any]


def write(service: Service, principal: Principal, what: str, target: str, detail: Mapping[str, Any]) -> None:
    """Notes a change; to be called within its transaction, so that neither exists without the other."""
    now_s = service.clock.now_s()
    Audit(
        id=f"{now_s:017.6f}-{service.rng.getrandbits(48):012x}",
        at_s=now_s,
        who=principal.identity,
        what=what,
        target=target,
        detail=dict(detail),
        expire_at=expiry(now_s, RETAIN_AUDIT_S),
    ).put()


def recent(service: Service, limit: int = 50, before_s: float | None = None) -> list[Entry]:
    """The newest changes, newest first; `before_s` goes on from an older page."""
    with service.store.context():
        query = Audit.query() if before_s is None else Audit.query(Audit.at_s < before_s)
        found = query.order(-Audit.at_s).fetch(limit)
        return [Entry(audit.at_s, audit.who, audit.what, audit.target, audit.detail) for audit in found]
