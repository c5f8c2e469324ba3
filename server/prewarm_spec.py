"""Prewarm specs: registered, edited as revisions, paused, rolled back; a transaction and an audit entry per change.

Whoever is confined to some pools sees and changes the specs of these: everything here that takes a principal asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from server import audit, errors, latest, spec_body, swatches
from server.access import ALL_POOLS, Permission
from server.loaded_spec import (
    ACTIVE,
    PAUSED,
    RETIRED,
    LoadedSpec,
    former_revision,
    loaded,
    to_policy,
    wishes_of,
    with_former,
)
from server.records import get_multi, put_multi
from server.records.pool import PoolGate
from server.records.spec import Spec, SpecRevision, revision_key
from server.spec_body import SpecBody

if TYPE_CHECKING:
    from server.access import Principal
    from server.service import Service

__all__ = [
    "LoadedSpec",
    "SavedSpec",
    "breaker_of",
    "create",
    "edit",
    "get_spec",
    "list_specs",
    "load_all",
    "pause",
    "resume",
    "retire",
    "revisions",
    "roll_back",
    "to_policy",
    "wishes_of",
]

log = structlog.get_logger(__name__)

TRIES = 5
GENERATIONS_KEPT = 500
"""Registered generations that a family remembers; older ones count as new if they come again."""


@dataclass(frozen=True, slots=True)
class SavedSpec:
    """A revision of a spec in the store."""

    family: str
    revision: int
    body: Mapping[str, Any]
    author: str
    note: str
    created_s: float


# ---- reading


def load_all(service: Service) -> dict[str, LoadedSpec]:
    """Every family by name, retired ones too: one query and two look-ups each, the second for the generation before.

    Whoever reads Latest.spec_changes *before* this gets specs that are at least as new. A spec that this version cannot
    read is left out, and the log says so.
    """
    with service.store.context():
        heads = Spec.query().fetch()
        found = get_multi([revision_key(head.key.id(), head.revision) for head in heads])
        before = {head.key.id(): last for head in heads if (last := former_revision(head))}
        formers = dict(
            zip(before, get_multi([revision_key(name, last[1]) for name, last in before.items()]), strict=True)
        )
    specs = {}
    for head, revision in zip(heads, found, strict=True):
        family = head.key.id()
        try:
            specs[family] = loaded(head, revision)
            if family in before:
                specs[family] = with_former(specs[family], head, before[family][0], formers[family])
        except errors.PilotlightError as error:
            log.error("spec_not_readable", family=head.key.id(), reason=error.text)
    return specs


def list_specs(service: Service, principal: Principal) -> list[LoadedSpec]:
    """All specs that the caller may see, by name."""
    found = sorted(load_all(service).items())
    return [spec for _, spec in found if principal.may(Permission.SPEC_VIEW, spec.pool)]


def get_spec(service: Service, principal: Principal, family: str) -> LoadedSpec:
    """One spec.

    Raises:
        UnknownSpec: there is none of this name.
        PermissionDenied, Unauthenticated.
        FailedPrecondition: another version of the server saved it, and this one cannot read it.
    """
    with service.store.context():
        head = _head(family)
        principal.require(Permission.SPEC_VIEW, head.pool)
        return loaded(head, revision_key(family, head.revision).get())


def breaker_of(service: Service, spec: LoadedSpec) -> str:
    """Why the spec's circuit breaker is open, as of the last refresh; "" while it is closed."""
    breakers = service.view.gate(spec.pool).open_breakers
    return breakers[spec.family] or "its runs failed in a row" if spec.family in breakers else ""


def revisions(
    service: Service, principal: Principal, family: str, limit: int = 20, before: int | None = None
) -> list[SavedSpec]:
    """Revisions of a spec, newest first; `before` goes on below that revision. Point reads only.

    Raises:
        UnknownSpec: there is none of this name.
        PermissionDenied, Unauthenticated.
    """
    with service.store.context():
        head = _head(family)
        principal.require(Permission.SPEC_VIEW, head.pool)
        newest = head.revision
        first = newest if before is None else min(newest, before - 1)
        found = get_multi([revision_key(family, number) for number in range(first, max(0, first - limit), -1)])
    return [
        SavedSpec(family, saved.revision, saved.body, saved.author, saved.note, saved.created_s)
        for saved in found
        if saved
    ]


# ---- changing: each raises PermissionDenied or Unauthenticated for whoever may not edit in the spec's pool


def create(service: Service, principal: Principal, body: Mapping[str, Any] | SpecBody) -> LoadedSpec:
    """Registers a family.

    Raises:
        FieldErrors: what is wrong, by field.
        AlreadyExists: there is a spec of this family, perhaps a retired one.
    """
    _require_pool_of(principal, body)
    wanted, _ = spec_body.parse(body, service.config.pool)

    def step(others: list[Spec]) -> LoadedSpec:
        known = Spec.get_by_id(wanted.family)
        if known:
            text = f"{wanted.family} exists already: revision {known.revision}, {known.state}"
            raise errors.AlreadyExists(text, field="family")
        head = Spec(id=wanted.family, colour=swatches.free_colour(other.colour for other in others))
        return _save(service, principal, head, wanted, others, "spec.create", wanted.note)

    return _change_among(service, step)


def edit(
    service: Service, principal: Principal, family: str, body: Mapping[str, Any] | SpecBody, base_revision: int
) -> LoadedSpec:
    """Saves a new revision of a spec; a generation that is not the current one is registered as its successor.

    Args:
        service: this process.
        principal: the author; it must be allowed to edit in the pool that the spec is in and in the one that it names.
        family: which spec.
        body: all of it, as people write it.
        base_revision: the revision that was edited.

    Raises:
        UnknownSpec: there is none of this name.
        FieldErrors: what is wrong, by field; also a generation that was superseded (see `roll_back`).
        EditConflict: `base_revision` is not the current one any more; it carries the current one.
        FailedPrecondition: the spec is retired.
    """
    with service.store.context():
        _head_to_edit(principal, family)
    _require_pool_of(principal, body)
    wanted, _ = spec_body.parse(body, service.config.pool)
    if wanted.family != family:
        raise errors.FieldErrors({"family": f"must stay {family}; register {wanted.family} as a spec of its own"})

    def step(others: list[Spec]) -> LoadedSpec:
        head = _head_to_edit(principal, family)
        if head.revision != base_revision:
            raise _conflict(head, base_revision)
        _refuse_retired(head)
        _refuse_superseded(head, wanted)
        return _save(service, principal, head, wanted, others, "spec.edit", wanted.note)

    return _change_among(service, step)


def roll_back(service: Service, principal: Principal, family: str, revision: int, why: str = "") -> LoadedSpec:
    """Makes an earlier revision the current one again, as a new revision; its generation becomes the newest.

    Raises:
        UnknownSpec: there is none of this name.
        NotFound: it has no such revision.
        FieldErrors: that revision breaks a limit that holds today.
        FailedPrecondition: the spec is retired.
    """
    _check_why(why)

    def step(others: list[Spec]) -> LoadedSpec:
        head = _head_to_edit(principal, family)
        _refuse_retired(head)
        saved = revision_key(family, revision).get() if 0 < revision < head.revision else None
        if saved is None:
            raise errors.NotFound(f"{family} has no revision {revision} before the current one, {head.revision}")
        wanted, _ = spec_body.parse(spec_body.stored(saved.body)[0], service.config.pool)
        note = f"roll back to revision {revision}" + (f": {why}" if why else "")
        return _save(service, principal, head, wanted, others, "spec.roll_back", note)

    return _change_among(service, step)


def pause(service: Service, principal: Principal, family: str, why: str = "") -> LoadedSpec:
    """Stops prewarming by this spec until it is resumed; what runs is stopped by the next plan.

    Raises:
        UnknownSpec: there is none of this name.
        FailedPrecondition: it is retired.
    """
    return _move(service, principal, family, PAUSED, why, allowed=(ACTIVE, PAUSED))


def resume(service: Service, principal: Principal, family: str, why: str = "") -> LoadedSpec:
    """Lets a paused or retired spec go on, closes its circuit breaker, and has it tried again where it failed so far.

    Raises:
        UnknownSpec: there is none of this name.
    """
    return _move(service, principal, family, ACTIVE, why, allowed=(ACTIVE, PAUSED, RETIRED))


def retire(service: Service, principal: Principal, family: str, why: str = "") -> LoadedSpec:
    """Ends a spec: no prewarming, no demand counted for it; its history stays.

    Raises:
        UnknownSpec: there is none of this name.
    """
    return _move(service, principal, family, RETIRED, why, allowed=(ACTIVE, PAUSED, RETIRED))


# ---- within


def _change_among(service: Service, step: Callable[[list[Spec]], LoadedSpec]) -> LoadedSpec:
    """One transaction that knows all other specs, though a transaction cannot query.

    They are read before it; if any spec was changed in between, all is done again.

    Raises:
        Contention: others were faster five times.
    """
    for _ in range(TRIES):
        with service.store.context():
            changes = latest.record().spec_changes
            others = Spec.query().fetch()

        def attempt(changes: int = changes, others: list[Spec] = others) -> LoadedSpec | None:
            return step(others) if latest.record().spec_changes == changes else None

        done = service.store.transaction(attempt)
        if done:
            service.note_change()
            return done
    raise errors.Contention(f"other specs were changed {TRIES} times in between; nothing was saved")


def _save(
    service: Service, principal: Principal, head: Spec, body: SpecBody, others: list[Spec], what: str, note: str
) -> LoadedSpec:
    """Within a transaction: the next revision of `head`, its registry, head record and audit entry."""
    now_s = service.clock.now_s()
    family = body.family
    before = {"revision": head.revision, "generation": head.generation}
    head.letters = _letters(head, body, [other for other in others if other.key.id() != family])
    head.pool = body.pool
    head.revision += 1
    if body.generation != head.generation:
        sequence = 1 + max((entry["sequence"] for entry in head.generations), default=0)
        entry = {"generation": body.generation, "sequence": sequence, "revision": head.revision, "at_s": now_s}
        head.generations = [*head.generations, entry][-GENERATIONS_KEPT:]
        head.generation = body.generation
    revision = SpecRevision(
        key=revision_key(family, head.revision),
        family=family,
        revision=head.revision,
        body=body.model_dump(mode="json"),
        author=principal.identity,
        note=note,
        created_s=now_s,
    )
    revision.put()
    after = {"to_revision": head.revision, "to_generation": body.generation, "note": note}
    _commit(service, principal, head, what, before | after)
    return loaded(head, revision)


def _move(
    service: Service, principal: Principal, family: str, state: str, why: str, allowed: tuple[str, ...]
) -> LoadedSpec:
    _check_why(why)

    def step() -> LoadedSpec:
        head = _head_to_edit(principal, family)
        if head.state not in allowed:
            raise errors.FailedPrecondition(f"{family} is {head.state}; nothing was changed")
        if state == ACTIVE:
            head.resumed_s = service.clock.now_s()
            _close_breaker(head)
        detail = {"from": head.state, "to": state, "why": why}
        head.state, head.state_why = state, why
        verb = {PAUSED: "pause", ACTIVE: "resume", RETIRED: "retire"}[state]
        _commit(service, principal, head, f"spec.{verb}", detail)
        return loaded(head, revision_key(family, head.revision).get())

    done = service.store.transaction(step)
    service.note_change()
    return done


def _commit(service: Service, principal: Principal, head: Spec, what: str, detail: Mapping[str, Any]) -> None:
    """Every change of a spec ends here: all processes read the specs again when `spec_changes` moved."""
    head.changed_s = service.clock.now_s()
    newest = latest.record()
    newest.spec_changes += 1
    put_multi([head, newest])
    audit.write(service, principal, what, str(head.key.id()), detail)


def _close_breaker(head: Spec) -> None:
    gate = PoolGate.get_by_id(head.pool)
    if gate and head.key.id() in gate.breakers:
        gate.breakers = {family: state for family, state in gate.breakers.items() if family != head.key.id()}
        gate.put()


def _head(family: str) -> Spec:
    head = Spec.get_by_id(family) if spec_body.is_family(family) else None
    if head is None:
        raise errors.UnknownSpec(f"there is no spec {family[:80]!r}")
    return head


def _head_to_edit(principal: Principal, family: str) -> Spec:
    head = _head(family)
    principal.require(Permission.SPEC_EDIT, head.pool)
    return head


def _require_pool_of(principal: Principal, body: Mapping[str, Any] | SpecBody) -> None:
    """A pool that is no text is refused as a field later."""
    pool = body.pool if isinstance(body, SpecBody) else body.get("pool")
    principal.require(Permission.SPEC_EDIT, pool if isinstance(pool, str) and pool else ALL_POOLS)


def _letters(head: Spec, body: SpecBody, others: list[Spec]) -> str:
    """The two letters of a spec: those that it asks for, else those that it has, else free ones.

    Raises:
        FieldErrors: another family has the letters that it asks for.
    """
    taken = {other.letters.upper(): str(other.key.id()) for other in others if other.state != RETIRED}
    if body.letters:
        if body.letters.upper() in taken:
            raise errors.FieldErrors({"letters": f"{body.letters} are taken by {taken[body.letters.upper()]}"})
        return body.letters
    return head.letters or swatches.free_letters(body.family, taken)


def _refuse_retired(head: Spec) -> None:
    if head.state == RETIRED:
        raise errors.FailedPrecondition(f"{head.key.id()} is retired; resume it before you change it")


def _refuse_superseded(head: Spec, body: SpecBody) -> None:
    """Only a roll-back brings an old generation back: an edit that names one is a slip."""
    old = [entry for entry in head.generations if entry["generation"] == body.generation]
    if old and body.generation != head.generation:
        text = f"{body.generation} was superseded by {head.generation}; roll back to revision {old[-1]['revision']}"
        raise errors.FieldErrors({"generation": f"{text} to bring it back"})


def _conflict(head: Spec, base_revision: int) -> errors.EditConflict:
    saved = revision_key(str(head.key.id()), head.revision).get()
    author = saved.author if saved else ""
    text = (
        f"revision {head.revision} by {author} is current, not {base_revision}, which was edited; nothing was changed"
    )
    return errors.EditConflict(text, revision=head.revision, author=author, theirs=saved.body if saved else {})


def _check_why(why: str) -> None:
    if len(why) > 1000:
        raise errors.FieldErrors({"why": "may have at most 1000 characters"})
