"""Puts a process together: everything that a `Service` holds, in the order in which it needs one another."""

from __future__ import annotations

import functools
import random
from typing import TYPE_CHECKING, Any

from server import errors, process_guard, sweeps, switch
from server.announcement_board import AnnouncementBoard
from server.bot_session import SessionSigner
from server.carriers import CloudTasksCarrier, ThreadCarrier
from server.clock import Clock, SystemClock
from server.config import ConfigHolder, ensure_first
from server.decisions import Decisions
from server.fleet_view import FleetView
from server.process_pages import ProcessPages
from server.service import Service
from server.settings import Settings
from server.shadow_scores import ShadowScores
from server.store.client import Store
from server.sweep_schedule import SweepSchedule
from server.task_update import Started
from server.wakeup import Wakeup

if TYPE_CHECKING:
    from server.jobs import Carrier

MODULES_WITH_JOBS = (switch,)
"""Imported so that every process knows the handlers of all jobs."""
CRON_PERIOD_S = 60.0
"""Cron comes at most so often."""


def build(
    settings: Settings,
    clock: Clock | None = None,
    rng: random.Random | None = None,
    store: Store | None = None,
    process_id: str = "",
) -> Service:
    """One process, ready to be asked; its carrier is not started.

    Args:
        settings: of the process.
        clock: the machine's own if None.
        rng: seeded by the machine if None.
        store: opened by the settings if None.
        process_id: made up if "".

    Raises:
        InvalidArgument: the settings contradict each other.
        StoreCorrupt, StoreUnavailable: the store cannot be used.
    """
    rng = rng or random.Random()
    service = Service(
        store=store or Store.open(settings.store_url, synchronous=settings.sqlite_synchronous, rng=rng),
        clock=clock or SystemClock(),
        rng=rng,
        settings=settings,
        process_id=process_id or process_guard.new_process_id(settings.generation),
    )
    service.config = ConfigHolder()
    service.started = Started()
    service.sessions = SessionSigner(service)
    service.pages = ProcessPages(service)
    service.decisions = Decisions(service)
    service.shadow = ShadowScores(service)
    service.announced = AnnouncementBoard(service)
    service.view = FleetView(service)
    service.wakeup = Wakeup(service)
    service.carrier = _carrier(service)
    ensure_first(service)
    return service


def _carrier(service: Service) -> Carrier:
    settings = service.settings
    if settings.carrier == "thread":
        is_gone = functools.partial(process_guard.is_gone, settings=settings)
        return ThreadCarrier(service, SweepSchedule(service, sweeps.SWEEPS, is_gone=is_gone))
    if not settings.cloud_tasks_queue:
        raise errors.InvalidArgument("PILOTLIGHT_CARRIER=cloud_tasks needs PILOTLIGHT_CLOUD_TASKS_QUEUE")
    url = "" if settings.app_engine else settings.public_url
    if not settings.app_engine and not (url and settings.internal_token):
        raise errors.InvalidArgument(
            "Cloud Tasks outside of App Engine needs PILOTLIGHT_PUBLIC_URL and PILOTLIGHT_INTERNAL_TOKEN to call back"
        )
    schedule = SweepSchedule(service, sweeps.SWEEPS, at_least_s=CRON_PERIOD_S)
    client = _cloud_tasks(settings.cloud_tasks_emulator)
    return CloudTasksCarrier(service, schedule, client, url=url, token=settings.internal_token)


def _cloud_tasks(emulator: str) -> Any:
    """Google's Cloud Tasks, or a stand-in for it."""
    from google.cloud import tasks_v2  # slow to import, and only here of use

    if not emulator:
        return tasks_v2.CloudTasksClient()
    import grpc
    from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport

    return tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=grpc.insecure_channel(emulator)))
