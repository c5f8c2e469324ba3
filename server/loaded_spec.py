"""A spec as processes hold it: head, current revision, and what the policy and real tasks make of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from server import errors, spec_body
from server.policy.model import Order, Purpose, Wish
from server.policy.model import Spec as PolicySpec
from server.spec_body import SpecBody

if TYPE_CHECKING:
    from server.pool_config import PoolConfig
    from server.records.spec import Spec, SpecRevision
    from server.task_properties import Properties

ACTIVE, PAUSED, RETIRED = "active", "paused", "retired"
MOST_WISHES = 16
TAG = "warm:"
"""Beginning of a task's tag that names a state: `warm:FAMILY` or `warm:FAMILY@GENERATION`."""


@dataclass(frozen=True, slots=True)
class LoadedSpec:
    """A family's head and its current revision.

    `generations` is the registry, oldest first: {generation, sequence, revision, at_s}. `colour` is 8 × pattern + hue.
    """

    family: str
    pool: str
    state: str
    state_why: str
    revision: int
    generation: str
    generations: tuple[Mapping[str, Any], ...]
    colour: int
    letters: str
    changed_s: float
    body: SpecBody
    policy: PolicySpec
    properties: Properties
    former: LoadedSpec | None = None
    """The generation before, in its last revision: it may still be made for tasks that wait or are announced."""

    @property
    def policy_pool(self) -> str:
        """The pool whose plan it belongs to."""
        return self.pool

    @property
    def made(self) -> tuple[LoadedSpec, ...]:
        """What is still made: the current generation, and after it the one before, where it is."""
        return (self, self.former) if self.former is not None else (self,)

    def slice_record(self, now_s: float, config: PoolConfig | None = None) -> dict[str, Any]:
        """Its task as a slice, as records keep it; `config` bounds what was saved under another one."""
        properties = self.properties
        if config:
            bounded = {
                "grace_period_secs": min(properties.grace_period_secs, int(config.max_background_grace_s)),
                "execution_timeout_secs": min(properties.execution_timeout_secs, int(config.max_background_run_s)),
            }
            properties = properties.model_copy(update=bounded)
        return {
            "properties": properties.model_dump(mode="json", exclude_defaults=True),
            "dimensions": properties.requirement(),
            "wishes": [],
            "expiration_s": 0,
            "deadline_s": now_s,
            "wait_for_capacity": False,
        }


def loaded(head: Spec, revision: SpecRevision | None) -> LoadedSpec:
    """A head with its revision.

    Raises:
        FailedPrecondition: the revision is missing, or was saved by another version and breaks a rule of this one.
    """
    family = str(head.key.id())
    if revision is None:
        raise errors.FailedPrecondition(f"revision {head.revision} of {family} is missing")
    try:
        body, properties = spec_body.stored(revision.body)
    except errors.FieldErrors as error:
        raise errors.FailedPrecondition(f"this version cannot read {family}: {error.text}") from error
    return LoadedSpec(
        family=family,
        pool=head.pool,
        state=head.state,
        state_why=head.state_why,
        revision=head.revision,
        generation=head.generation,
        generations=tuple(head.generations),
        colour=head.colour,
        letters=head.letters,
        changed_s=head.changed_s,
        body=body,
        policy=to_policy(head, body),
        properties=properties,
    )


def former_revision(head: Spec) -> tuple[str, int] | None:
    """The generation before the current one, and its last revision; None when there is none."""
    ordered = sorted(head.generations, key=lambda entry: entry["sequence"])
    sequence = _sequence(head, head.generation)
    before = [entry for entry in ordered if entry["sequence"] < sequence]
    own = next((entry for entry in ordered if entry["sequence"] == sequence), None)
    if not before or own is None or before[-1]["generation"] == head.generation:
        return None
    return before[-1]["generation"], own["revision"] - 1


def with_former(spec: LoadedSpec, head: Spec, generation: str, revision: SpecRevision | None) -> LoadedSpec:
    """The spec beside the generation before it; alone where that cannot be made any more, or not be told from reports.

    How long a state is fresh is the family's, so the current revision says it.
    """
    if revision is None:
        return spec
    try:
        body, properties = spec_body.stored(revision.body)
    except errors.FieldErrors:
        return spec
    if body.generation != generation or not _is_told(spec.body, body):
        return spec
    policy = replace(to_policy(head, body), revision=revision.revision, fresh_for_s=spec.policy.fresh_for_s)
    former = replace(
        spec, generation=generation, revision=revision.revision, body=body, policy=policy, properties=properties
    )
    return replace(spec, former=former)


def _is_told(current: SpecBody, former: SpecBody) -> bool:
    """Whether bots that hold the former generation are known by the current spec's evidence, which is all that is read.

    Else what was just made would be taken for gone with the next report.
    """
    if (current.slot, current.makes.named_cache) != (former.slot, former.makes.named_cache):
        return False
    if not current.makes.dimension or not former.makes.dimension:
        return current.makes.dimension == former.makes.dimension
    key, _, value = current.makes.dimension.partition(":")
    return value == current.generation and former.makes.dimension == f"{key}:{former.generation}"


def to_policy(head: Spec, body: SpecBody) -> PolicySpec:
    """What the policy sees of a spec: inactive while paused or retired. Of a retired one nothing is expected."""
    return PolicySpec(
        family=body.family,
        generation=body.generation,
        revision=head.revision,
        slot=body.slot,
        dimensions=(("pool", (body.pool,)), *((key, tuple(values)) for key, values in body.dimensions.items())),
        sequence=_sequence(head, body.generation),
        active=head.state == ACTIVE,
        purpose=Purpose.CLEAN if body.purpose == "clean" else Purpose.FORECAST,
        cold_cost_s=body.cold_cost_s,
        warm_cost_s=body.warm_cost_s,
        run_s=body.run_s,
        fresh_for_s=body.fresh_for_s,
        expected_per_h=body.expected_per_h if head.state != RETIRED else 0.0,
        resumable=body.resumable,
        max_running=body.max_running,
        run_cost_s=body.run_cost_s,
        may_serve_on_demand=body.purpose == "prewarm",
        order=Order(body.order),
        registered_s=_registered_s(head, body.generation),
        resumed_s=head.resumed_s,
        known_generations={entry["generation"]: entry["sequence"] for entry in head.generations},
    )


def wishes_of(specs: Mapping[str, LoadedSpec], properties: Properties, tags: Iterable[str]) -> tuple[Wish, ...]:
    """The warm states that a real task wants, those of its tags first.

    By its tags `warm:FAMILY[@GENERATION]`, which need no spec and decide the generation of their family; then by the
    specs of its pool: a dimension that names the current generation or the one before, a named cache, a tag that the
    spec serves.
    """
    tags = list(tags)
    found: dict[str, Wish] = {}
    for tag in tags:
        family, _, generation = tag.removeprefix(TAG).partition("@")
        named = tag.startswith(TAG) and spec_body.is_family(family)
        if named and (not generation or spec_body.is_generation(generation)):
            found[family] = Wish(family, generation)
    given = set(tags)
    caches = {cache.name for cache in properties.caches}
    pairs = {f"{key}:{alternatives[0]}" for key, alternatives in properties.requirement() if len(alternatives) == 1}
    pool = properties.pool()
    for spec in specs.values():
        if spec.family in found or spec.pool != pool or spec.state == RETIRED:
            continue
        asked = next((one for one in spec.made if one.body.makes.dimension in pairs), None)
        if asked is not None:
            found[spec.family] = Wish(spec.family, asked.generation)
        elif caches & spec.body.served_caches() or not given.isdisjoint(spec.body.serves.tags):
            found[spec.family] = Wish(spec.family)
    return tuple(found.values())[:MOST_WISHES]


def _registered_s(head: Spec, generation: str) -> float:
    """When this generation was registered last."""
    return max((entry["at_s"] for entry in head.generations if entry["generation"] == generation), default=0.0)


def _sequence(head: Spec, generation: str) -> int:
    """Place of a generation in its family's order; the last registration counts."""
    return max((entry["sequence"] for entry in head.generations if entry["generation"] == generation), default=0)
