"""Views and what was decided on them as plain JSON values, and back: a live pool's plans can be made again elsewhere.

A dataclass becomes an object with all of its fields, a mapping a list of pairs (keys may be tuples, and the order of a
mapping is kept), a tuple a list, a set a sorted list. Floats are the same afterwards to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from server.policy import model, outcome
from server.policy.bet_ledger import BetLedger
from server.policy.plan import claimable


def to_plain(value: Any) -> Any:
    """A value of the policy as JSON knows it."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return [[to_plain(key), to_plain(one)] for key, one in value.items()]
    if isinstance(value, frozenset):
        return sorted(to_plain(one) for one in value)
    if isinstance(value, tuple | list):
        return [to_plain(one) for one in value]
    return value


def view_from_plain(plain: Mapping[str, Any]) -> model.PoolView:
    """The view of which `to_plain()` made this.

    Raises:
        KeyError, TypeError, ValueError: it is not what `to_plain()` makes of a view.
    """
    return _made(model.PoolView, plain)  # type: ignore[no-any-return]


def decided(plan: outcome.PoolPlan, now_s: float) -> dict[str, Any]:
    """What a plan decides, without the words: starts and background work by bot, runs to stop, holds, levels."""
    advice = {
        bot: {
            "tasks": list(one.tasks),
            "may_claim": list(claimable(plan, bot, now_s)),
            "background": _hand_out(one.background),
            "refused": one.refused.gate.value if one.refused is not None else "",
            "sleep_s": one.sleep_s,
            "out_of_turn": one.out_of_turn,
        }
        for bot, one in sorted(plan.advice.items())
    }
    return {
        "advice": advice,
        "preempt": sorted([one.bot, one.n, one.task_id, one.for_task] for one in plan.preempt),
        "useless": sorted([one.bot, one.n, one.task_id] for one in plan.useless),
        "holds": {task: [hold.bot, hold.until_s] for task, hold in sorted(plan.holds.items())},
        "gates": {check.gate.value: check.passed for check in plan.gates},
        "utilization": plan.utilization,
        "reserve": plan.reserve,
        "below_since_s": plan.below_since_s,
        "gate_open": plan.gate_open,
    }


def _hand_out(made: outcome.HandOut | None) -> list[Any] | None:
    if made is None:
        return None
    net = made.value.net if made.value is not None else None
    return [made.purpose.value, made.family, made.generation, made.revision, made.for_task, net]


def _made(kind: Any, plain: Any) -> Any:
    """The value of this type, of which `plain` was made."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return None if plain is None else _made(inner[0], plain)
    if origin is None:
        if isinstance(kind, type) and is_dataclass(kind):
            return kind(**{name: _made(one, plain[name]) for name, one in _types_of(kind).items()})
        return kind(plain) if isinstance(kind, type) and issubclass(kind, Enum) else plain
    if origin is tuple:
        if inner[-1] is Ellipsis:
            return tuple([_made(inner[0], one) for one in plain])
        return tuple([_made(one_kind, one) for one_kind, one in zip(inner, plain, strict=True)])
    if origin is frozenset:
        return frozenset([_made(inner[0], one) for one in plain])
    if issubclass(origin, Mapping):
        return {_made(inner[0], key): _made(inner[1], one) for key, one in plain}
    raise TypeError(f"no values of type {kind} are recorded")


@cache
def _types_of(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind, localns={"BetLedger": BetLedger})
    return {field.name: hints[field.name] for field in fields(kind)}
