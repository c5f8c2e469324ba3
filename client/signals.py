"""Ctrl-C, SIGTERM and the end of the terminal, for commands that have something to stop first."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

HANG_UP: int | None = getattr(signal, "SIGHUP", None)
"""Windows has none."""
NUMBERS = (signal.SIGINT, signal.SIGTERM, *([HANG_UP] if HANG_UP else []))
SIGNAL_BASE = 128
"""A shell's exit code of a command that a signal ended is this and the signal's number."""


class Leave(BaseException):
    """Told to end. No Exception: nothing on the way out may swallow it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = SIGNAL_BASE + number


@contextmanager
def raising_leave() -> Iterator[None]:
    """In here the signals raise `Leave`, but for a hang-up that we were started to ignore (nohup)."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise Leave(number)

    heard = [n for n in NUMBERS if n != HANG_UP or signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, leave) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ignored() -> Iterator[None]:
    """In here they do nothing: everything is being stopped already."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in NUMBERS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
