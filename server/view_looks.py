"""When a view looks at the store: about once a second for polls, at this very moment for a bet, within its budget.

Where the store can tell that nobody changed it since the last look, the view is as new as a look would make it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from server import errors
from server.view_budget import KEPT_FOR_BETS, RefreshBudget

if TYPE_CHECKING:
    from server.fleet_view import FleetView
    from server.service import Service

OVERLAP_S = 10.0
"""Delta queries look back this far: `changed_s` is set before its commit (A1)."""
FULL_EVERY_S = 600.0
REFRESH_EVERY_S = 1.0
LOOK_EVERY_S = 5.0
"""The store is looked at this often though it says that nothing changed: so that its loss is noticed."""
LONGEST_WAIT_S = 1.0
"""How long a bet waits for the looks of others."""


class Looks:
    """The looks of one view; one thread looks at a time."""

    def __init__(self, service: Service, view: FleetView) -> None:
        self._service = service
        self._view = view
        self._looking = threading.Lock()
        self._budget = RefreshBudget()
        self._begun = self._done = 0
        self._version: int | None = None
        self._current_s = self._looked_s = self._full_due_s = float("-inf")
        self.store_lost = False
        """Whether the last look failed."""

    def age_s(self) -> float:
        """Seconds since the view was current; infinite before the first look."""
        return self._service.clock.now_s() - self._current_s

    def has_seen(self, version: int | None) -> bool:
        """Whether the view knows all that was written up to this data version of the store."""
        return version == self._version

    def refresh(self, *, eager: bool = False, force: bool = False) -> bool:
        """See `FleetView.refresh`."""
        due = force or abs(self.age_s()) >= REFRESH_EVERY_S  # a clock set back makes the view old too
        if not due and not (eager and self._service.store.data_version() not in (None, self._version)):
            return False
        if not self._looking.acquire(blocking=force):
            return False
        try:
            return self._look(force=force, keep=KEPT_FOR_BETS)
        finally:
            self._looking.release()

    def catch_up(self) -> bool:
        """Sees to it that the view knows all that was committed before this call; False when that cannot be now.

        It cannot when the budget has no look left, or others take too long with theirs. Who calls while somebody looks
        shares the next look with all others who do.

        Raises:
            StoreUnavailable: the store is gone.
        """
        begun = self._begun
        if not self._looking.acquire(timeout=LONGEST_WAIT_S):
            return False
        try:
            return self._done > begun or self._look()
        finally:
            self._looking.release()

    def _look(self, *, force: bool = False, keep: int = 0) -> bool:
        service, now_s = self._service, self._service.clock.now_s()
        try:
            version = service.store.data_version()
            if not force and self._is_current(version, now_s):
                self._current_s = now_s
                self._view.time_passed()
                return True
            if not force and not self._budget.take(service.clock.monotonic_s(), keep):
                return False
            full = now_s >= self._full_due_s or now_s < self._current_s
            self._begun += 1
            self._view.take_in(now_s, None if full else self._looked_s - OVERLAP_S)
        except errors.StoreUnavailable:
            self.store_lost = True
            raise
        if full:
            self._full_due_s = now_s + FULL_EVERY_S * service.rng.uniform(0.9, 1.1)
        self._version = version  # what was written since is for the next look
        self._current_s = self._looked_s = now_s
        self._done = self._begun
        self.store_lost = False
        return True

    def _is_current(self, version: int | None, now_s: float) -> bool:
        """Whether nobody changed the store since the last look. It is asked itself now and then: it may be gone."""
        unchanged = version is not None and version == self._version and not self.store_lost
        return unchanged and 0.0 <= now_s - self._looked_s < LOOK_EVERY_S and now_s < self._full_due_s
