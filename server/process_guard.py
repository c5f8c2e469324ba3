"""Keeps generations apart: one master per data folder and port, and no worker that outlives its master.

A master that is killed with -9 leaves its workers behind, which would go on answering; a new server on the same port
would even share the traffic with them. So each worker watches its parent and ends with it, each holds a lock of the
data folder while it lives, and a new master waits until the last of them is gone.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from server import errors
from server.clock import Clock, SystemClock
from server.settings import Settings
from server.store.generation import FolderInUse, Generation, join_generation, lock_generation

LOOK_EVERY_S = 0.25
WAIT_FOR_OLD_S = 5.0
"""How long a new master waits for a killed one's workers to go."""
WAIT_ANYWAY_S = 1.0
"""How long it waits for a folder or port that somebody living seems to have: process ids are used again."""
ORPHANED = 70
"""Exit code of a worker whose master is gone."""


@dataclass(slots=True)
class Held:
    """What a master holds while it serves.

    Attributes:
        generation: its name, which the workers are told and `/healthz` shows.
        lock: of the data folder; None when the store is no folder.
    """

    generation: str
    lock: Generation | None

    def release(self) -> None:
        """Gives the folder back, or in a forked worker its copy of the master's lock."""
        if self.lock is not None:
            self.lock.release()


def folder_of(store_url: str) -> Path | None:
    """The data folder of an embedded store; None for others."""
    scheme, _, place = store_url.partition(":")
    return Path(place) if scheme == "embedded" and place else None


def begin_generation(settings: Settings, clock: Clock | None = None) -> Held:
    """Takes the data folder and makes sure that the port is free; for the master, before it has workers.

    Raises:
        FolderInUse: another server has the folder; the text names its process id.
        FailedPrecondition: the port is in use.
    """
    clock = clock or SystemClock()
    folder = folder_of(settings.store_url)
    lock = _lock(folder, clock) if folder else None
    try:
        _wait_for_port(settings.host, settings.port, clock)
    except errors.FailedPrecondition:
        if lock is not None:
            lock.release()
        raise
    return Held(str(lock.number) if lock else secrets.token_hex(4), lock)


def join(settings: Settings) -> Generation | None:
    """Says that this worker serves the folder; keep the result as long as it does.

    Raises:
        FolderInUse: the worker's generation has ended.
    """
    folder = folder_of(settings.store_url)
    return join_generation(folder, int(settings.generation)) if folder and settings.generation.isdigit() else None


def end_with_parent(parent_pid: int, on_orphaned: Callable[[], None] | None = None) -> threading.Thread:
    """Starts a thread that ends this process, at once and without clean-up, when its parent is another than that."""

    def die() -> None:
        os._exit(ORPHANED)

    def watch() -> None:
        pause = threading.Event()
        while os.getppid() == parent_pid:
            pause.wait(LOOK_EVERY_S)
        (on_orphaned or die)()

    thread = threading.Thread(target=watch, name="parent-watch", daemon=True)
    thread.start()
    return thread


def new_process_id(generation: str) -> str:
    """A name for this process that no other ever has: generation, process id, and something random."""
    return f"{generation or 'single'}.{os.getpid()}.{secrets.token_hex(3)}"


def is_gone(process_id: str, settings: Settings) -> bool:
    """Whether a process that had this name surely is dead; only a data folder's processes are on this machine."""
    if folder_of(settings.store_url) is None or not settings.generation:
        return False
    generation, _, rest = process_id.partition(".")
    pid = rest.partition(".")[0]
    if not generation.isdigit() or not pid.isdigit():
        return False
    # The folder's lock lets no two generations live at once.
    return generation != settings.generation or not is_alive(int(pid))


def is_alive(pid: int) -> bool:
    """Whether there is a process of that id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _lock(folder: Path, clock: Clock) -> Generation:
    began_s = clock.monotonic_s()
    while True:
        try:
            return lock_generation(folder, wait_for_workers_s=WAIT_FOR_OLD_S, clock=clock)
        except FolderInUse as error:
            # A killed master's forked workers have its lock too, until they notice.
            patience_s = WAIT_ANYWAY_S if error.pid is None or is_alive(error.pid) else WAIT_FOR_OLD_S
            if clock.monotonic_s() - began_s >= patience_s:
                raise
        clock.sleep(LOOK_EVERY_S)


def _wait_for_port(host: str, port: int, clock: Clock) -> None:
    """Workers share their port with whoever asks, so a second server would not be refused by the kernel."""
    deadline_s = clock.monotonic_s() + WAIT_ANYWAY_S
    while True:
        reason = _why_taken(host, port)
        if not reason:
            return
        if clock.monotonic_s() >= deadline_s:
            raise errors.FailedPrecondition(f"cannot listen on {host}:{port}: {reason}")
        clock.sleep(LOOK_EVERY_S)


def _why_taken(host: str, port: int) -> str:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return ""
