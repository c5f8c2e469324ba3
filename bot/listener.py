"""The thread that says of a run that it is still there, and hears of it when the run is to stop."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from bot.protocol import BotApi, CallFailed
from bot.verdict import Verdict

FIRST_AFTER_S = 1.0
BACKGROUND_S = 1.0
CUT_AGAIN_S = 0.1


@dataclass(frozen=True)
class Rhythm:
    """How often a run says that it is still there; seconds.

    A server that can holds the call until the run is to stop, or for `hold_s`; the next one follows at once. Where it
    answers at once instead, a run in the background speaks every second, since the answer may tell it to make room,
    and any other every `keep_alive_s`.
    """

    background: bool
    keep_alive_s: float
    hold_s: float

    def pause_s(self, held: bool, took_s: float) -> float:
        """Until the next call, after one that took so long."""
        return 0.0 if held else max(0.0, (BACKGROUND_S if self.background else self.keep_alive_s) - took_s)


class Listener:
    """Keeps one call open from a second after the start of a run until its end, beside the one that sends output."""

    def __init__(self, api: BotApi, task_id: str, verdict: Verdict, rhythm: Rhythm) -> None:
        self._api, self._task_id, self._verdict, self._rhythm = api, task_id, verdict, rhythm
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        """Begins, after the start update was acknowledged."""
        self._thread.start()

    def finish(self) -> None:
        """Breaks off the call under way; none is made after that, and no answer is taken."""
        self._over.set()
        while self._thread.is_alive():
            self._api.stop_listening()
            self._thread.join(CUT_AGAIN_S)

    def _run(self) -> None:
        try:
            pause_s = FIRST_AFTER_S
            while not self._over.wait(pause_s):
                began_s = time.monotonic()
                answer = self._api.listen(self._task_id, self._rhythm.hold_s, self._over.is_set)
                self._verdict.heed(answer)
                pause_s = self._rhythm.pause_s(bool(answer.get("held")), time.monotonic() - began_s)
        except CallFailed as error:
            if not self._over.is_set():
                self._verdict.fail(error)
        finally:
            self._api.close()
