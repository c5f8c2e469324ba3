"""The form of a pool's settings, or of the defaults of all pools: fields in groups, and what the config is then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from handlers.ui import form_fields
from handlers.ui.form_fields import Shown
from server import config
from server.field_docs import FieldDoc, describe
from server.pool_config import PoolConfig

DOCS: tuple[FieldDoc, ...] = tuple(describe(PoolConfig))
NAMES = tuple(doc.path for doc in DOCS)
GROUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Whether", "what is decided, and what is handed out", ("mode", "drained")),
    (
        "Gates",
        "what holds a hand-out back",
        ("utilization_stop", "utilization_start", "utilization_for_s", "reserve_share", "reserve_min", "min_idle_s"),
    ),
    ("Shares", "how much background work at once", ("background_share", "spec_share", "hand_outs_per_min")),
    (
        "Worth",
        "what is worth a prewarm",
        ("value_threshold", "ledger_max_cost", "holdout_share", "affinity_hold_s", "view_max_age_s"),
    ),
    (
        "Background tasks",
        "how long they may run and how they give way",
        (
            "max_background_run_s",
            "max_background_grace_s",
            "preempt_valid_s",
            "bot_backoff_s",
            "breaker_failures",
            "breaker_bots",
        ),
    ),
    ("Polls", "how often bots call", ("polls_per_s", "sleep_min_s", "sleep_max_s", "held_poll_s", "keep_alive_s")),
    (
        "Faults",
        "when a bot or a task counts as lost",
        (
            "claim_timeout_s",
            "foreign_claim_timeout_s",
            "claims_without_start",
            "death_timeout_s",
            "death_alarm_share",
            "black_hole_failures",
            "black_hole_within_s",
            "max_pending",
        ),
    ),
)
"""A field that no group names stands in a last one."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose settings: a pool's, or with "" the defaults of all."""

    pool: str = ""

    @property
    def address(self) -> str:
        """Of its form."""
        return f"/config/pools/{self.pool}" if self.pool else "/config/defaults"

    @property
    def prefix(self) -> str:
        """Of the paths of its errors."""
        return f"pools.{self.pool}." if self.pool else "defaults."

    def texts_of(self, body: Mapping[str, Any]) -> dict[str, str]:
        """What a config says of it; empty where it leaves a field to the defaults."""
        found = config.parse(body, lenient=True)
        own: Mapping[str, Any] = found.overrides.get(self.pool, {}) if self.pool else _differing(found.defaults)
        return form_fields.texts_of(own, DOCS)

    def inherited(self, body: Mapping[str, Any]) -> dict[str, str] | None:
        """What an empty field of a pool means; None for the defaults themselves."""
        if not self.pool:
            return None
        return form_fields.texts_of(config.parse(body, lenient=True).defaults.model_dump(), DOCS)

    def into(self, body: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
        """The whole config with this scope as the form has it."""
        whole = config.parse(body, lenient=True).body()
        own, unread = form_fields.body_of(texts, DOCS)
        assert not unread, "a pool's settings have neither lists nor mappings"
        if not self.pool:
            return {**whole, "defaults": own}
        pools = {name: changes for name, changes in whole["pools"].items() if name != self.pool}
        return {**whole, "pools": {**pools, self.pool: own} if own else pools}

    def own_errors(self, wrong: Mapping[str, str]) -> dict[str, str]:
        """Errors by the form's paths; those of other scopes keep their own."""
        return {path.removeprefix(self.prefix): text for path, text in wrong.items()}


def _differing(defaults: PoolConfig) -> dict[str, Any]:
    return defaults.model_dump(exclude_defaults=True)


@dataclass(frozen=True, slots=True)
class Group:
    """Fields under a heading."""

    title: str
    note: str
    fields: list[Shown]


@dataclass(slots=True)
class ConfigForm:
    """What the form's template shows."""

    texts: Mapping[str, str]
    saved: Mapping[str, str]
    inherited: Mapping[str, str] | None = None
    wrong: Mapping[str, str] = field(default_factory=dict)
    both: Mapping[str, str] = field(default_factory=dict)
    taken: tuple[str, ...] = ()
    note: str = ""

    def groups(self) -> list[Group]:
        """All fields in groups."""
        shown = form_fields.shown(
            DOCS, self.texts, saved=self.saved, wrong=self.wrong, both=self.both, inherited=self.inherited
        )
        every = {one.path: one for one in shown}
        found = [Group(title, note, [every.pop(path) for path in paths]) for title, note, paths in GROUPS]
        return [*found, Group("Others", "", list(every.values()))] if every else found

    def problems(self) -> list[tuple[str, str, str]]:
        """Errors for the summary: where the link leads, the field, what is wrong."""
        found = sorted(self.wrong.items(), key=lambda one: NAMES.index(one[0]) if one[0] in NAMES else -1)
        return [(f"f-{path}" if path in (*NAMES, "note") else "", path, text) for path, text in found]


def prefilled(texts: Mapping[str, str], asked: list[str]) -> dict[str, str]:
    """The form with what a link has typed already: `?set=field:value`."""
    found = dict(texts)
    for text in asked:
        name, _, value = text.partition(":")
        if name in NAMES:
            found[name] = value
    return found
