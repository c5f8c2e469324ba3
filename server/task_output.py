"""Output as packets keyed by byte offset: a repeated packet overwrites itself, nothing is ever appended."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING

from server import errors
from server.records import RETAIN_TASK_S, expiry, get_multi, key_of
from server.records.task import OutputPacket, TaskResult, packet_key

if TYPE_CHECKING:
    from server.service import Service

LARGEST_PACKET = 900_000
LARGEST_WINDOW = 160 * 100 * 1024
LARGEST_OUTPUT = 1 << 40
MOST_KEPT = 100 * 1024 * 1024
"""Bytes of a task's output that are kept; one that never stops talking must not fill the store."""
LAST_WORDS = b"\n... the server keeps the first 100 MiB of a task's output, and no more\n"
MOST_IN_TAIL = 256
"""Packets of which a tail may consist."""


def packet(service: Service, task_id: str, offset: int, data: bytes) -> OutputPacket | None:
    """The record of a packet at its offset; None for one that is empty, or beyond what is kept.

    Raises:
        InvalidArgument: a negative or absurd offset.
        TooLarge: a packet beyond the limit.
    """
    if not 0 <= offset <= LARGEST_OUTPUT:
        raise errors.InvalidArgument(
            f"output_chunk_start: {offset} is not within 0 and {LARGEST_OUTPUT}", field="output_chunk_start"
        )
    if len(data) > LARGEST_PACKET:
        raise errors.TooLarge(f"output: {len(data)} bytes; at most {LARGEST_PACKET} in one packet", field="output")
    if offset <= MOST_KEPT < offset + len(data):
        data = data[: MOST_KEPT - offset] + LAST_WORDS
    if not data or offset > MOST_KEPT:
        return None
    with service.store.context():
        keep = expiry(service.clock.now_s(), RETAIN_TASK_S)
        return OutputPacket(key=packet_key(task_id, offset), data=data, expire_at=keep)


def write(service: Service, task_id: str, offset: int, data: bytes) -> None:
    """Stores a packet at its offset: one write, no read. Raises as `packet` does."""
    made = packet(service, task_id, offset, data)
    if made is not None:
        with service.store.context():
            made.put()


def read(service: Service, task_id: str, offset: int = 0, length: int = 0) -> bytes:
    """`length` bytes of output from `offset`; 0 or too large a length means the largest window.

    A hole (a packet that has not arrived) reads as zero bytes, so that offsets stay true.
    """
    if offset < 0:
        raise errors.InvalidArgument(f"offset: {offset} is negative", field="offset")
    if length <= 0 or length > LARGEST_WINDOW:
        length = LARGEST_WINDOW
    with service.store.context():
        parent = key_of(TaskResult, task_id)
        # Packets are at most LARGEST_PACKET long: none that starts earlier can reach into the window.
        first = packet_key(task_id, max(0, offset - LARGEST_PACKET))
        query = OutputPacket.query(ancestor=parent).filter(OutputPacket._key >= first).order(OutputPacket._key)
        query = query.filter(OutputPacket._key < packet_key(task_id, offset + length))
        return _joined(query.fetch(), offset)[:length]


def tail(service: Service, task_id: str, length: int) -> tuple[int, bytes]:
    """Where the last `length` bytes of output begin, and they: one query of keys, and the packets that hold them.

    They are fewer where packets are so small that more than MOST_IN_TAIL would be read.
    """
    with service.store.context():
        query = OutputPacket.query(ancestor=key_of(TaskResult, task_id)).order(-OutputPacket._key)
        keys = query.fetch(MOST_IN_TAIL, keys_only=True)[::-1]
        last = keys[-1].get() if keys else None
        if last is None:
            return 0, b""
        from_ = int(last.key.id()) + len(last.data) - length
        wanted = [*(key for key, behind in pairwise(keys) if int(behind.id()) > from_), last.key]
        offset = max(from_, int(wanted[0].id()))
        return offset, _joined([*get_multi(wanted[:-1]), last], offset)


def _joined(packets: Iterable[OutputPacket | None], offset: int) -> bytes:
    """What packets, in their order, hold from `offset` on; a hole reads as zero bytes, so that offsets stay true."""
    out = bytearray()
    for packet in packets:
        if packet is None:
            continue
        start, piece = int(packet.key.id()) - offset, packet.data
        if start < 0:
            piece, start = piece[-start:], 0
        if start > len(out):
            out.extend(b"\0" * (start - len(out)))
        out[start : start + len(piece)] = piece
    return bytes(out)
