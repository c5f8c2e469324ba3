"""Serves the application: a granian master and its workers, each a process with threads.

The master takes the data folder, then forks. A worker that dies is replaced, however often and fast that happens; one
that cannot even start ends the server, since the next one could not either. Where it is the store that is gone, the
next one tries again.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import structlog
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import MPServer

from server import errors, process_guard
from server.clock import SystemClock
from server.service import Service
from server.settings import Settings

log = structlog.get_logger(__name__)

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Where the workers add up what they counted, if there are several (`handlers/metrics.py`)."""
METRICS_PREFIX = "pilotlight-metrics-"
KILL_AFTER_S = 10
"""Workers that do not end within so many seconds of SIGTERM are killed."""
MANY_CONNECTIONS = 1024
SOON_S = 1.0
"""A worker that dies within so short a time is given a pause; several in a row mean that none can start."""
FEWEST_EARLY_DEATHS = 5


class Master(MPServer):
    """Granian's server with another opinion of workers that die: they are replaced at once, and go on being replaced.

    Granian gives up when a worker dies twice within seconds, and would end a server of which somebody kills workers.
    """

    def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
        clock, early = SystemClock(), 0
        while True:
            self.main_loop_interrupt.wait()
            self.main_loop_interrupt.clear()
            if self.interrupt_signal:
                return
            dead = sorted({index for index in self.interrupt_children if not self.wrks[index].is_alive()})
            self.interrupt_children.clear()
            for index in dead:
                lived_s = clock.monotonic_s() - self.wrks[index].birth
                early = early + 1 if lived_s < SOON_S else 0
                log.warning("worker_died", worker=index + 1, pid=self.wrks[index]._id(), lived_s=round(lived_s, 1))
                if early >= FEWEST_EARLY_DEATHS:
                    log.error("workers_cannot_start")
                    self.interrupt_children.append(index)
                    return
                if early:
                    clock.sleep(0.2 * early)
            if dead:
                self._respawn_workers(dead, spawn_target, target_loader)


def serve(
    settings: Settings,
    rehearse: Callable[[Settings], None],
    make_application: Callable[[Settings], WsgiApplication],
) -> None:
    """Serves until SIGTERM or SIGINT.

    Args:
        settings: of the server; its generation is set here.
        rehearse: called once the folder is ours and before there are workers; what it raises ends the server.
        make_application: called once in each worker.

    Raises:
        FolderInUse: another server has the data folder.
        FailedPrecondition: the port is in use.
    """
    held = process_guard.begin_generation(settings)
    settings = settings.model_copy(update={"generation": held.generation})
    master_pid = os.getpid()

    def load() -> WsgiApplication:
        # In the worker: it has a copy of the master's lock, which must not outlive the master by it.
        held.release()
        process_guard.end_with_parent(master_pid)
        try:
            return make_application(settings)
        except errors.PilotlightError as error:
            log.error("worker_cannot_start", reason=error.text)
            if isinstance(error, errors.StoreUnavailable):
                SystemClock().sleep(SOON_S)  # it may come back; this is no early death
            raise SystemExit(1) from error

    try:
        rehearse(settings)
    except BaseException:
        held.release()
        raise
    multiprocessing.set_start_method("fork", force=True)
    logging.getLogger("_granian").addFilter(_is_news)
    server = Master(
        "pilotlight",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.WSGI,
        workers=settings.workers,
        blocking_threads=settings.threads,
        backpressure=settings.threads,
        backlog=MANY_CONNECTIONS,
        websockets=False,
        workers_kill_timeout=KILL_AFTER_S,
        respawn_failed_workers=True,
        log_level=LogLevels.warning,
        log_dictconfig={"loggers": {"_granian": {"propagate": True}}, "handlers": {}, "formatters": {}},
    )
    log.info(
        "serving",
        url=f"http://{settings.host}:{settings.port}",
        store=settings.store_url,
        workers=settings.workers,
        threads=settings.threads,
        generation=held.generation,
    )
    try:
        with _counting_together(settings):
            server.serve(target_loader=load, wrap_loader=False)
    finally:
        held.release()


@contextlib.contextmanager
def _counting_together(settings: Settings) -> Iterator[None]:
    """Where several workers add up what they counted: in the data folder, if any, which is ours alone by now.

    So what a killed server leaves is its successor's to remove.
    """
    if settings.workers == 1:
        yield
        return
    data = process_guard.folder_of(settings.store_url)
    for left in data.glob(f"{METRICS_PREFIX}*") if data else ():
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=METRICS_PREFIX, dir=data) as folder:
        os.environ[METRICS_FOLDER] = str(Path(folder).absolute())
        yield


def end_cleanly(service: Service) -> None:
    """Has the service leave well when this worker is told to: held polls go home at once, then the carrier stops.

    Call it in the worker's main thread. The server's own handler of the signal is not in the way: the kernel's byte in
    the wake-up pipe comes first.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

    def drain() -> None:
        with writer:  # the pipe lives as long as this thread
            while (told := reader.recv(1)) and told[0] not in (signal.SIGTERM, signal.SIGINT):
                pass
            service.wakeup.drain()

    threading.Thread(target=drain, name="drain", daemon=True).start()
    multiprocessing.util.Finalize(None, leave, args=(service,), exitpriority=100)


def leave(service: Service) -> None:
    """The last acts of a process: what its carrier runs is finished, pages are written, leases given back."""
    service.carrier.stop()
    service.store.close()


def _is_news(record: logging.LogRecord) -> bool:
    """Leaves out advice about numbers of threads: held polls need many."""
    return "Configuration allows spawning" not in str(record.msg) and "number of workers appears" not in str(record.msg)
