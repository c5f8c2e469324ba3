"""Ctrl-C and SIGTERM for commands that have children to stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Leave(BaseException):
    """Told to end. No Exception: nothing on the way out may swallow it."""


@contextmanager
def raising_leave() -> Iterator[None]:
    """In here both signals raise `Leave`."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        raise Leave

    before = {number: signal.signal(number, leave) for number in NUMBERS}
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
