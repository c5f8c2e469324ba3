"""What follows from a pool as it stands: dispatch, background work, and the runs that are to stop."""

from __future__ import annotations

from dataclasses import dataclass

from server.policy import preemption
from server.policy.background import Background
from server.policy.dispatch import Dispatch, Dispatcher
from server.policy.minds import Minds
from server.policy.outcome import HandOut, Preempt, Useless
from server.policy.queues import State


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome. In shadow mode hand-outs stand here, too, though they are not to be made."""

    assigned: Dispatch
    background: Background
    preempt: tuple[Preempt, ...]
    useless: tuple[Useless, ...]

    @property
    def hand_outs(self) -> dict[str, HandOut]:
        """Background work by bot."""
        return self.assigned.hand_outs | self.background.hand_outs


def decide(minds: Minds, superseded: dict[State, str], *, thinks_ahead: bool = True) -> Decision:
    """Dispatch first, then background work for the bots that are left. Moves the fleet.

    Args:
        minds: the fleet, and what thinks about it.
        superseded: says per state why it is not warmed any more.
        thinks_ahead: whether warm-ups for what is announced or forecast are considered, too, beside what is owed.
    """
    fleet = minds.fleet
    minds.outlook.look()
    gate, thresholds = fleet.view.gate, fleet.view.thresholds
    off = "prewarming is stopped" if gate.stopped else "prewarming is off" if thresholds.mode == "off" else ""
    useless = preemption.useless_runs(fleet, minds.outlook, superseded, off) if fleet.background else ()
    marks = preemption.marks(fleet) if fleet.queues.marked else {}
    assigned = Dispatcher(minds).run()
    stop = preemption.preemptions(fleet, assigned, marks) if assigned.unserved and fleet.background else ()
    background = Background(minds, assigned, superseded)
    background.decide(thinks_ahead=thinks_ahead)
    return Decision(assigned, background, stop, useless)
