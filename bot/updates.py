"""The thread that tells the server how a run goes."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.control import Event
from bot.output import CHUNK_BYTES, OutputBuffer
from bot.protocol import CallFailed, output_fields

COALESCE_S = 0.25
EARLY_S = 60.0
EARLY_FLUSH_S = 1.0
FLUSH_S = 4.0
BACKGROUND_S = 1.0


@dataclass(frozen=True)
class Cadence:
    """When the next packet is due; all times monotonic seconds.

    Somebody may watch the beginning of a run, so output flows every second then, and every four seconds later. A run
    in the background speaks every second, since the answer may tell it to make room. One that says nothing speaks
    every `keep_alive_s`, since the answer may tell it to stop.
    """

    background: bool
    started_s: float
    keep_alive_s: float

    def due_s(self, last_packet_s: float, last_output_s: float, pending_since_s: float | None) -> float:
        """Time of the next packet, given the last one, the last one with output, and the oldest byte that waits."""
        if self.background:
            return last_packet_s + BACKGROUND_S
        due_s = last_packet_s + self.keep_alive_s
        if pending_since_s is None:
            return due_s
        early = pending_since_s - self.started_s < EARLY_S
        flush_s = last_output_s + (EARLY_FLUSH_S if early else FLUSH_S)
        return min(due_s, max(pending_since_s + COALESCE_S, flush_s))


class UpdateSender:
    """Sends output and keep-alives of one run until it is finished, and passes on what the server answers."""

    def __init__(
        self,
        send: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        buffer: OutputBuffer,
        events: queue.SimpleQueue[Event],
        background: bool,
        keep_alive_s: float,
        close: Callable[[], None],
    ) -> None:
        """Args:
        send: sends the fields of one update and returns the answer.
        buffer: where the output comes from.
        events: where the server's wish to stop, and a failure, are told.
        background: whether real work may preempt the run.
        keep_alive_s: longest silence.
        close: called in the sending thread when it ends.
        """
        self.must_stop = False
        self.failure: CallFailed | None = None
        self._send, self._buffer, self._events = send, buffer, events
        self._cadence = Cadence(background, time.monotonic(), keep_alive_s)
        self._finishing = False
        self._close = close
        self._thread = threading.Thread(target=self._run, name="update-sender", daemon=True)

    def start(self) -> None:
        """Begins, after the start update was acknowledged."""
        self._thread.start()

    def finish(self) -> None:
        """Waits for the packet under way; none is sent after that."""
        self._finishing = True
        self._buffer.kick()
        if self._thread.is_alive():
            self._thread.join()

    def send_packet(self, **fields: Any) -> None:
        """Sends up to one chunk of output, and `fields`.

        Raises:
            CallFailed: the server refused it, or could not be reached for too long.
        """
        offset, data = self._buffer.take(CHUNK_BYTES)
        answer = self._send({**output_fields(offset, data), **fields})
        if answer.get("must_stop") and not self.must_stop:
            self.must_stop = True
            self._events.put(Event.MUST_STOP)

    def send_rest(self, **fields: Any) -> None:
        """After `finish`: sends all output that is left, the last of it together with `fields`.

        Raises:
            CallFailed: as `send_packet`; also when an earlier packet had failed.
        """
        if self.failure is not None:
            raise self.failure
        while self._buffer.pending() > CHUNK_BYTES:
            self.send_packet()
        self.send_packet(**fields)

    def _run(self) -> None:
        try:
            self._loop()
        except CallFailed as error:
            self.failure = error
            self._buffer.abandon()
            self._events.put(Event.UPDATE_FAILED)
        finally:
            self._close()

    def _loop(self) -> None:
        last_packet_s = self._cadence.started_s
        last_output_s = last_packet_s - FLUSH_S  # the first output need not wait
        while not self._finishing:
            since_s = self._buffer.pending_since_s()
            left_s = self._cadence.due_s(last_packet_s, last_output_s, since_s) - time.monotonic()
            if left_s > 0 and self._buffer.pending() < CHUNK_BYTES:
                self._buffer.wait(left_s, CHUNK_BYTES, for_first=since_s is None)
                continue
            last_packet_s = time.monotonic()
            last_output_s = last_output_s if since_s is None else last_packet_s
            self.send_packet()
