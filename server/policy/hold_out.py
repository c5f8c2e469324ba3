"""The hold-out: windows of time in which a spec's bets are withheld by chance, so that what they save can be measured.

The unit is a spec and a window of half an hour or more, not a task or a bot: warm bots are shared, so a single chance
withheld is made good by the next poll, and a task of one group would use what was warmed for the other. Whether a
window is held out is a function of the spec's name and the window's number alone, so that all processes agree and
nobody can choose. The windows of different specs begin at different times, none of them at the full hour.

It is a switchback experiment. What is decided in a window shows once its warm-ups are done, so tasks that come within
one run after the groups changed belong to neither. docs/decisions/0011 has the reasons.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from server.policy.model import Gate, Spec
from server.policy.outcome import GateCheck, Refused
from server.policy.words import duration, share

SHORTEST_S = 1800.0
SAYS = "The hold-out refused:"
RUNS = 4.0
"""A window has room for so many of the spec's runs, one after the other."""


class Arm(StrEnum):
    """To which group a task belongs. NEITHER: the groups changed a moment ago."""

    TREATED = "treated"
    HELD_OUT = "held_out"
    NEITHER = ""


@dataclass(frozen=True, slots=True)
class Window:
    """One window of one spec."""

    number: int
    begins_s: float
    ends_s: float
    held_out: bool


def draw(*parts: object) -> float:
    """A number in [0, 1) that depends on nothing but the parts."""
    text = "\t".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest()) / 2**56


def window(spec: Spec, hold_out: float, at_s: float) -> Window:
    """The window of a moment. A larger `hold_out`, the share of windows held out, only adds to them."""
    length_s = max(SHORTEST_S, RUNS * spec.run_s)
    number = math.floor(at_s / length_s - draw(spec.family, "begins"))
    begins_s = (number + draw(spec.family, "begins")) * length_s
    return Window(number, begins_s, begins_s + length_s, _is_held_out(spec, hold_out, number))


def _is_held_out(spec: Spec, hold_out: float, number: int) -> bool:
    return draw(spec.family, "window", number) < hold_out


def arm(spec: Spec, hold_out: float, submitted_s: float) -> Arm:
    """To which group a task belongs that wants the spec's state and came then."""
    found = window(spec, hold_out, submitted_s)
    changed = found.held_out != _is_held_out(spec, hold_out, found.number - 1)
    if changed and submitted_s - found.begins_s < spec.run_s:
        return Arm.NEITHER
    return Arm.HELD_OUT if found.held_out else Arm.TREATED


def check(spec: Spec, hold_out: float, pool: str, now_s: float) -> GateCheck:
    """Whether a bet for the spec may be made now, as a gate's answer."""
    found = window(spec, hold_out, now_s)
    if not found.held_out:
        return GateCheck(Gate.LEDGER, True, f"{spec.family} is not held out now.")
    left = duration(found.ends_s - now_s)
    return GateCheck(
        Gate.LEDGER,
        False,
        f"{SAYS} for another {left} nothing is prewarmed for {spec.family}, so that what prewarming "
        f"saves can be measured; {share(hold_out)} of all times are chosen by chance.",
        would_change=f"Another {left}, or holdout_share 0 in the configuration of {pool}.",
    )


def is_refusal(refused: Refused) -> bool:
    """Whether the hold-out, and not another part of the ledger, refused."""
    return refused.gate is Gate.LEDGER and refused.text.startswith(SAYS)


def held_out(specs: Iterable[Spec], hold_out: float, now_s: float) -> tuple[frozenset[str], float]:
    """Families that are held out now, and until when that stays so."""
    if hold_out <= 0.0:
        return frozenset(), math.inf
    found, until_s = set(), math.inf
    for spec in specs:
        here = window(spec, hold_out, now_s)
        until_s = min(until_s, here.ends_s)
        if here.held_out:
            found.add(spec.family)
    return frozenset(found), until_s
