"""The thread that sends the output of a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.output import CHUNK_BYTES, OutputBuffer
from bot.protocol import CallFailed, output_fields
from bot.verdict import Verdict

COALESCE_S = 0.25
EARLY_S = 60.0
EARLY_FLUSH_S = 1.0
FLUSH_S = 4.0


@dataclass(frozen=True)
class Cadence:
    """When the next packet is due; all times monotonic seconds.

    Somebody may watch the beginning of a run, so output flows every second then, and every four seconds later.
    """

    started_s: float

    def due_s(self, last_packet_s: float, pending_since_s: float | None) -> float | None:
        """Time of the next packet, given the last one and the oldest byte that waits; None when none waits."""
        if pending_since_s is None:
            return None
        early = pending_since_s - self.started_s < EARLY_S
        return max(pending_since_s + COALESCE_S, last_packet_s + (EARLY_FLUSH_S if early else FLUSH_S))


class UpdateSender:
    """Sends the output of one run until it is finished, and passes on what the server answers."""

    def __init__(
        self,
        send: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        buffer: OutputBuffer,
        verdict: Verdict,
        close: Callable[[], None],
    ) -> None:
        """Args:
        send: sends the fields of one update and returns the answer.
        buffer: where the output comes from.
        verdict: what the answers are told, and a failure.
        close: called in the sending thread when it ends.
        """
        self._send, self._buffer, self._verdict = send, buffer, verdict
        self._cadence = Cadence(time.monotonic())
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
        self._verdict.heed(self._send({**output_fields(offset, data), **fields}))

    def send_rest(self, **fields: Any) -> None:
        """After `finish`: sends all output that is left, the last of it together with `fields`.

        Raises:
            CallFailed: as `send_packet`; also when an earlier update had failed.
        """
        if self._verdict.failure is not None:
            raise self._verdict.failure
        while self._buffer.pending() > CHUNK_BYTES:
            self.send_packet()
        self.send_packet(**fields)

    def _run(self) -> None:
        try:
            self._loop()
        except CallFailed as error:
            self._buffer.abandon()
            self._verdict.fail(error)
        finally:
            self._close()

    def _loop(self) -> None:
        last_packet_s = self._cadence.started_s - FLUSH_S  # the first output need not wait
        while not self._finishing:
            since_s = self._buffer.pending_since_s()
            due_s = self._cadence.due_s(last_packet_s, since_s)
            left_s = None if due_s is None else due_s - time.monotonic()
            if (left_s is None or left_s > 0) and self._buffer.pending() < CHUNK_BYTES:
                self._buffer.wait(left_s, CHUNK_BYTES, for_first=since_s is None)
                continue
            last_packet_s = time.monotonic()
            self.send_packet()
