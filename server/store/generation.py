"""One live generation of the server per data folder.

The master holds the folder for as long as it lives; its workers hold a second lock that says "somebody still serves".
Both are kernel locks on files, so they end with the process, however it ends. A new master first waits until the last
worker of the one before is gone: no two generations ever answer at once.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import IO

from server import errors
from server.clock import Clock, SystemClock

_MASTER, _WORKERS = "serving.lock", "workers.lock"
_LOOK_AGAIN_S = 0.05


class FolderInUse(errors.FailedPrecondition):
    """Another server serves this folder.

    Attributes:
        pid: its process id, or None if it left none.
    """

    def __init__(self, text: str, pid: int | None) -> None:
        super().__init__(text)
        self.pid = pid


class Generation:
    """The right to serve a folder; ends with `release`, or with the process.

    Attributes:
        number: grows by one with every generation of the folder.
        pid: the master's process id.
    """

    def __init__(self, file: IO[str], number: int, pid: int) -> None:
        self._file = file
        self.number = number
        self.pid = pid

    def release(self) -> None:
        """Gives the lock back; doing it twice does no harm."""
        self._file.close()

    def __enter__(self) -> Generation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def lock_generation(folder: Path | str, *, wait_for_workers_s: float = 10.0, clock: Clock | None = None) -> Generation:
    """Takes the folder for this process, the master, which keeps it while it lives.

    Args:
        folder: the data folder; created if missing.
        wait_for_workers_s: how long workers of a master that died may take to leave.

    Raises:
        FolderInUse: another server has it; the text names its process id.
        StoreUnavailable: the folder cannot be used.
    """
    clock = clock or SystemClock()
    folder = Path(folder)
    file = _open(folder, _MASTER)
    if not _try_lock(file, fcntl.LOCK_EX):
        pid = _read(file).get("pid")
        file.close()
        raise FolderInUse(f"the data folder {folder} is served by process {pid or '(unknown)'} already", pid)
    before = _read(file)
    with _open(folder, _WORKERS) as workers:
        deadline_s = clock.monotonic_s() + wait_for_workers_s
        while not _try_lock(workers, fcntl.LOCK_EX):
            if clock.monotonic_s() >= deadline_s:
                file.close()
                pid = before.get("pid")
                raise FolderInUse(f"workers of process {pid or '(unknown)'} still serve the data folder {folder}", pid)
            clock.sleep(_LOOK_AGAIN_S)
        found = Generation(file, before.get("generation", 0) + 1, os.getpid())
        # Said before the workers' lock is given up, or a late worker of the generation before could still get in.
        _write(file, {"pid": found.pid, "generation": found.number})
    return found


def join_generation(folder: Path | str, number: int) -> Generation:
    """Says that this worker serves the folder as part of a generation.

    A folder that is gone, as a disk that is unplugged, is not made anew: it would be an empty one.

    Raises:
        FolderInUse: the folder has another generation by now; the worker must not serve.
        StoreUnavailable: the folder cannot be used.
    """
    folder = Path(folder)
    file = _open(folder, _WORKERS, make=False)
    locked = _try_lock(file, fcntl.LOCK_SH)
    with _open(folder, _MASTER, make=False) as master:
        current = _read(master)
    if not locked or current.get("generation") != number:
        file.close()
        raise FolderInUse(
            f"generation {number} of {folder} has ended; now there is {current.get('generation')}", current.get("pid")
        )
    return Generation(file, number, current["pid"])


def current_generation(folder: Path | str) -> dict[str, int]:
    """The last generation's number and master as {"generation", "pid"}; empty if there was none."""
    with _open(Path(folder), _MASTER) as file:
        return _read(file)


def _open(folder: Path, name: str, *, make: bool = True) -> IO[str]:
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_RDWR | (os.O_CREAT if make else 0)
        return os.fdopen(os.open(folder / name, flags, 0o600), "r+", encoding="utf-8")
    except OSError as error:
        raise errors.StoreUnavailable(f"the data folder {folder} cannot be used: {error}") from error


def _try_lock(file: IO[str], mode: int) -> bool:
    try:
        fcntl.flock(file, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(file: IO[str]) -> dict[str, int]:
    file.seek(0)
    try:
        found = json.loads(file.read() or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _write(file: IO[str], found: dict[str, int]) -> None:
    # Overwritten before it is cut: a process killed in between must not leave an empty file, for the number only grows.
    file.seek(0)
    file.write(json.dumps(found))
    file.flush()
    file.truncate()
