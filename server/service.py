"""What one server process holds in memory; every use case takes it first, so that tests run many in one interpreter."""

from __future__ import annotations

import contextlib
import random
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from server import errors, ledger

if TYPE_CHECKING:
    from server.announcement_board import AnnouncementBoard
    from server.bot_session import SessionSigner
    from server.clock import Clock
    from server.config import ConfigHolder
    from server.decisions import Decisions
    from server.fleet_view import FleetView
    from server.jobs import Carrier
    from server.process_pages import ProcessPages
    from server.records.task import TaskToRun
    from server.settings import Settings
    from server.shadow_scores import ShadowScores
    from server.store.client import Store
    from server.task_transition import Touched
    from server.task_update import Started
    from server.wakeup import Wakeup

log = structlog.get_logger(__name__)


@dataclass
class Service:
    """One process. Built by `server.assembly.build()`; everything in it is safe to share between request threads."""

    store: Store
    clock: Clock
    rng: random.Random
    settings: Settings
    process_id: str
    config: ConfigHolder = field(init=False)
    sessions: SessionSigner = field(init=False)
    view: FleetView = field(init=False)
    pages: ProcessPages = field(init=False)
    decisions: Decisions = field(init=False)
    shadow: ShadowScores = field(init=False)
    announced: AnnouncementBoard = field(init=False)
    wakeup: Wakeup = field(init=False)
    carrier: Carrier = field(init=False)
    started: Started = field(init=False)

    @property
    def alarm(self) -> str:
        """What a person should look at: many bots silent at once, whichever process found it. "" when fine."""
        return self.view.switch().alarm

    def publish(self, touched: Touched) -> None:
        """After a commit: this process's view takes in what was read or written, and held polls look again."""
        self.view.apply([record for record in (touched.bot, touched.queue, touched.gate) if record is not None])
        if touched.changed:
            try:
                ledger.book(self, touched)
            except Exception:  # it is committed: whoever caused it must be told so
                log.exception("not_booked")
            self.wakeup.notify()

    def note_change(self) -> None:
        """After what an operator changed: this process shows it at once, the others within about two seconds."""
        with contextlib.suppress(errors.StoreUnavailable, errors.Contention):
            self.view.refresh(force=True)

    def note_new_task(self, queue: TaskToRun) -> None:
        """A new real task: plan for it at once, so that a run that must give way is told without waiting for a poll."""
        from server import fleet_view, task_to_run

        fleet_view.refresh_quietly(self.view)  # a process that no bot polls has nobody else to ask for it
        self.view.apply([queue])
        task_to_run.act(self, queue.pool, self.view.plan(queue.pool))
        self.wakeup.notify()

    def refuse_when_full(self) -> None:
        """Raises ResourceExhausted while the embedded store's disk is nearly full; running tasks go on."""
        scheme, _, folder = self.settings.store_url.partition(":")
        if scheme != "embedded":
            return
        free = shutil.disk_usage(folder).free
        if free < self.settings.free_disk_floor_bytes:
            raise errors.ResourceExhausted(
                f"the server's disk is nearly full ({free // 1_000_000} MB free); no new tasks"
            )

    def count(self, pool: str, name: str, amount: float = 1) -> None:
        """Adds to one of the pool's counters."""
        self.pages.count(f"{pool}/{name}", amount)
