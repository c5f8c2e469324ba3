"""Watches one running command: its limits, its stop, and the end of its whole process group."""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from dataclasses import dataclass

from bot import processes
from bot.control import Event
from bot.output import OutputBuffer

READ_BYTES = 65536
DRAIN_S = 1.0
STEP_S = 0.05


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    exit_code: int  # negative: minus the signal's number
    duration_s: float
    hard_timeout: bool = False
    io_timeout: bool = False
    handed_back: bool = False


class Supervisor:
    """Runs from the moment the command was started until nothing of its group is left."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        buffer: OutputBuffer,
        events: queue.SimpleQueue[Event],
        *,
        hard_timeout_s: float,
        io_timeout_s: float,
        grace_s: float,
    ) -> None:
        self._process, self._buffer, self._events = process, buffer, events
        self._hard_timeout_s, self._io_timeout_s, self._grace_s = hard_timeout_s, io_timeout_s, grace_s
        self._started_s = self._ended_s = time.monotonic()
        self._reason = ""  # the first reason to stop counts
        self._kill_at_s: float | None = None
        self._reader = threading.Thread(target=self._read, name="output-reader", daemon=True)

    def watch(self) -> Ended:
        """Blocks until the end; output is in the buffer then."""
        self._reader.start()
        threading.Thread(target=self._wait, name="exit-waiter", daemon=True).start()
        while True:
            event = self._next_event()
            if event is Event.EXITED:
                break
            if event is Event.HURRY:
                self._kill_at_s = time.monotonic()
            elif event is not None:
                self._stop(event.value)
            self._check_limits()
        self._end_group()
        self._drain()
        return Ended(
            exit_code=self._process.returncode,
            duration_s=self._ended_s - self._started_s,
            hard_timeout=self._reason == "hard_timeout",
            io_timeout=self._reason == "io_timeout",
            handed_back=self._reason == Event.HAND_BACK.value,
        )

    def _next_event(self) -> Event | None:
        times = []
        if self._reason:
            if self._kill_at_s is not None:
                times.append(self._kill_at_s)
        else:
            if self._hard_timeout_s:
                times.append(self._started_s + self._hard_timeout_s)
            if self._io_timeout_s:
                times.append(self._silent_since_s() + self._io_timeout_s)
        try:
            timeout_s = max(0.0, min(times) - time.monotonic()) if times else None
            return self._events.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def _check_limits(self) -> None:
        now_s = time.monotonic()
        if not self._reason:
            if self._hard_timeout_s and now_s - self._started_s >= self._hard_timeout_s:
                self._stop("hard_timeout")
            elif self._io_timeout_s and now_s - self._silent_since_s() >= self._io_timeout_s:
                self._stop("io_timeout")
        if self._kill_at_s is not None and now_s >= self._kill_at_s:
            self._kill_at_s = None
            processes.kill_group(self._process.pid)

    def _stop(self, reason: str) -> None:
        if self._reason:
            return
        self._reason = reason
        self._kill_at_s = time.monotonic() + self._grace_s
        if self._grace_s > 0:
            processes.terminate_group(self._process.pid)

    def _silent_since_s(self) -> float:
        return max(self._started_s, self._buffer.silent_since_s())

    def _end_group(self) -> None:
        """Children of a command that was stopped have the rest of its grace; of one that ended by itself, none."""
        pid = self._process.pid
        if self._kill_at_s is None or not processes.wait_for_group(pid, self._kill_at_s):
            processes.kill_group(pid)

    def _drain(self) -> None:
        """Waits for the end of the output, but not for a process outside the group that keeps the pipe open."""
        left_s = DRAIN_S
        while self._reader.is_alive() and left_s > 0:
            self._reader.join(STEP_S)
            if not self._buffer.is_full():  # a slow server is no reason to lose what the pipe still holds
                left_s -= STEP_S
        self._buffer.abandon()

    def _read(self) -> None:
        with processes.output_of(self._process) as pipe:
            while data := pipe.read(READ_BYTES):
                self._buffer.write(data)

    def _wait(self) -> None:
        self._process.wait()
        self._ended_s = time.monotonic()
        self._events.put(Event.EXITED)
