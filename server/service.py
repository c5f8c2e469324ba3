"""What one server process holds in memory: passed first to every use case, so that tests run many in one interpreter."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.bot_session import SessionSigner
    from server.clock import Clock
    from server.config import ConfigHolder
    from server.fleet_view import FleetView
    from server.jobs import Carrier
    from server.process_pages import ProcessPages
    from server.settings import Settings
    from server.store.client import Store
    from server.wakeup import Wakeup


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
    wakeup: Wakeup = field(init=False)
    carrier: Carrier = field(init=False)
