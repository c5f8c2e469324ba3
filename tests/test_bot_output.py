"""Output between reader and sender, and when packets are due."""

from __future__ import annotations

import threading

from bot.output import OutputBuffer
from bot.updates import Cadence

START_S = 1000.0


def test_offsets_count_bytes_of_the_whole_output() -> None:
    buffer = OutputBuffer()
    buffer.write(b"hello ")
    buffer.write("wörld".encode())
    assert buffer.take(7) == (0, b"hello w")
    assert buffer.take(100) == (7, "örld".encode())
    assert buffer.take(100) == (12, b"")


def test_a_full_buffer_slows_the_writer_down_and_loses_nothing() -> None:
    buffer = OutputBuffer(limit_bytes=10)
    buffer.write(b"x" * 10)
    writer = threading.Thread(target=buffer.write, args=(b"y" * 5,))
    writer.start()
    writer.join(0.05)
    assert writer.is_alive() and buffer.is_full()
    assert buffer.take(10) == (0, b"x" * 10)
    writer.join(2)
    assert buffer.take(10) == (10, b"y" * 5)


def test_waiting_for_room_is_not_silence() -> None:
    buffer = OutputBuffer(limit_bytes=1)
    before_s = buffer.silent_since_s()
    buffer.write(b"x")
    assert buffer.silent_since_s() >= before_s
    first_s, second_s = buffer.silent_since_s(), buffer.silent_since_s()
    assert second_s >= first_s  # the present moment, again and again
    assert buffer.is_full()


def test_an_abandoned_buffer_takes_no_more_and_keeps_what_it_has() -> None:
    buffer = OutputBuffer(limit_bytes=3)
    buffer.write(b"abc")
    writer = threading.Thread(target=buffer.write, args=(b"late",))
    writer.start()
    buffer.abandon()
    writer.join(2)
    assert not writer.is_alive()
    assert buffer.take() == (0, b"abc")
    assert buffer.take() == (3, b"")


def test_the_first_output_flows_within_a_second() -> None:
    due_s = Cadence(START_S).due_s(START_S, START_S + 0.2)
    assert due_s is not None and due_s <= START_S + 1.2


def test_steady_output_flows_every_second_at_first_and_every_four_later() -> None:
    cadence = Cadence(START_S)
    assert cadence.due_s(START_S + 10, START_S + 10.1) == START_S + 11
    assert cadence.due_s(START_S + 100, START_S + 100.1) == START_S + 104


def test_no_packet_is_due_without_output() -> None:
    assert Cadence(START_S).due_s(START_S + 100, None) is None
