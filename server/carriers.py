"""Carriers: who rings the bell for jobs and sweeps. A thread of the process, or Cloud Tasks and cron."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog

from server import errors, jobs

if TYPE_CHECKING:
    from server.service import Service
    from server.sweep_schedule import SweepSchedule

log = structlog.get_logger(__name__)

IDLE_S = 10.0
"""A thread looks for jobs at least so often: those whose process died before it rang."""
TROUBLE_S = 3.0
STOP_WAIT_S = 10.0
RING_TIMEOUT_S = 5.0
JOBS_PATH = "/internal/jobs/run"
CRON_PATH = "/internal/cron/"


class ThreadCarrier:
    """One daemon thread per process. It also turns the process pages, since nobody else need be awake."""

    def __init__(self, service: Service, sweeps: SweepSchedule) -> None:
        self.sweeps = sweeps
        self._service = service
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._busy = threading.Lock()
        self._rung = False
        self._jobs_s = float("-inf")
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to ring."""
        if self._thread is None and not self._stopping.is_set():
            self._thread = threading.Thread(target=self._loop, name="carrier", daemon=True)
            self._thread.start()

    def ring(self, due_s: float = 0.0) -> None:
        """Looks at once; what is due later is looked for again when it is due."""
        self._rung = True
        self._wake.set()

    def stop(self) -> None:
        """Finishes what runs, writes the last pages and gives the leases back."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(STOP_WAIT_S)
        _finally(self._service.pages.flush, self.sweeps.release)

    def tick(self) -> float:
        """Everything that is due, once; nothing if another thread is at it.

        Returns:
            Seconds until it is worth calling again.
        """
        if not self._busy.acquire(blocking=False):
            return TROUBLE_S
        try:
            # One after the other whatever happens: trouble with jobs must not stop the sweeps.
            return min([self._part(part) for part in (self._run_jobs, self.sweeps.run_due, self._turn_pages)])
        finally:
            self._busy.release()

    def _part(self, part: Callable[[], float]) -> float:
        try:
            return part()
        except (errors.StoreUnavailable, errors.Contention) as error:
            log.warning("carrier_waits", error=error.text)
        except Exception:  # the thread must outlive it
            log.exception("carrier_failed")
        return TROUBLE_S

    def _loop(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            wait_s = self.tick()
            if wait_s > 0.0:
                self._wake.wait(wait_s * self._service.rng.uniform(0.9, 1.1))

    def _run_jobs(self) -> float:
        clock = self._service.clock
        if self._rung or clock.monotonic_s() >= self._jobs_s:
            self._rung = False
            self._jobs_s = clock.monotonic_s() + TROUBLE_S
            next_s = jobs.run_due(self._service).next_due_s
            wait_s = min(IDLE_S, max(0.0, next_s - clock.now_s())) if next_s else IDLE_S
            self._jobs_s = clock.monotonic_s() + wait_s
        return max(0.0, self._jobs_s - clock.monotonic_s())

    def _turn_pages(self) -> float:
        self._service.pages.turn()
        return IDLE_S


class CloudTasksCarrier:
    """Cloud Tasks calls `/internal/jobs/run`; cron calls `/internal/cron/NAME`, and rings what Cloud Tasks lost."""

    def __init__(self, service: Service, sweeps: SweepSchedule, client: Any, *, url: str = "", token: str = "") -> None:
        """Args:
        service: whose settings name the queue.
        sweeps: run by cron.
        client: a `google.cloud.tasks_v2.CloudTasksClient`.
        url: of this server, for a queue that calls it over HTTP; "" for App Engine's own way.
        token: bearer token that such a call brings.
        """
        self.sweeps = sweeps
        self._service = service
        self._client = client
        self._queue = service.settings.cloud_tasks_queue
        self._url = url.rstrip("/")
        self._token = token

    def start(self) -> None:
        """Nothing to do: the bell is elsewhere."""

    def ring(self, due_s: float = 0.0) -> None:
        """Has `/internal/jobs/run` called at `due_s`. A lost ring is made good by cron, so failures are only logged."""
        self._call(JOBS_PATH, due_s)

    def ring_sweep(self, name: str, due_s: float) -> None:
        """Has a sweep run at `due_s`: cron itself comes once a minute at most."""
        self._call(CRON_PATH + name, due_s)

    def stop(self) -> None:
        """Writes the last pages; leases are given back after each sweep anyway."""
        _finally(self._service.pages.flush)

    def _call(self, path: str, due_s: float) -> None:
        from google.api_core.exceptions import GoogleAPICallError, RetryError

        try:
            self._client.create_task(
                request={"parent": self._queue, "task": self._task(path, due_s)}, timeout=RING_TIMEOUT_S, retry=None
            )
        except (GoogleAPICallError, RetryError) as error:
            log.warning("ring_failed", path=path, error=str(error)[:300])

    def _task(self, path: str, due_s: float) -> dict[str, Any]:
        if self._url:
            headers = {"Authorization": f"Bearer {self._token}"}
            call = {"http_request": {"http_method": "POST", "url": self._url + path, "headers": headers}}
        else:
            call = {"app_engine_http_request": {"http_method": "POST", "relative_uri": path}}
        due = {"schedule_time": datetime.datetime.fromtimestamp(due_s, datetime.UTC)} if due_s > 0 else {}
        return {**call, **due}


def _finally(*acts: Callable[[], object]) -> None:
    """Last acts of a process; one that fails keeps none of the others from being done."""
    for act in acts:
        try:
            act()
        except errors.PilotlightError as error:
            log.warning("carrier_stop_incomplete", error=error.text)
