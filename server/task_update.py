"""Updates of a running task: which of start, keep-alive, output and end one is, and what the bot is told.

A keep-alive reads and writes nothing: the stop flag comes from the view, which may say "go on" or show a stop of this
very claim, and never "no" on its own. Our own bot lets it be held open, as polls are, so that a stop is heard at once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from server import task_output, task_scheduler, task_to_run
from server.bot_session import Token
from server.fleet_view import refresh_quietly
from server.task_scheduler import EndReport, Reply

if TYPE_CHECKING:
    from server.service import Service

MOST_REMEMBERED = 200_000


@dataclass(frozen=True, slots=True)
class Update:
    """One update of a task; `end` is None while it runs."""

    task_id: str
    output: bytes = b""
    offset: int = 0
    end: EndReport | None = None
    internal_failure: bool = False
    """An update without exit code that a task_error will follow: ends nothing."""
    hold_s: float = 0.0
    """For how long a keep-alive may be held."""


@dataclass(frozen=True, slots=True)
class UpdateAnswer:
    """What the bot is told."""

    must_stop: bool
    ok: bool = True
    reason: str = ""
    held: bool = False
    """Whether it was held: the bot may ask again at once."""


class Started:
    """Runs whose start this process has seen commit; forgetting one costs a read, nothing else."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: OrderedDict[tuple[str, int], None] = OrderedDict()

    def add(self, task_id: str, n: int) -> None:
        """The start of claim `n` of the task is committed."""
        with self._lock:
            self._runs[(task_id, n)] = None
            while len(self._runs) > MOST_REMEMBERED:
                self._runs.popitem(last=False)

    def __contains__(self, run: tuple[str, int]) -> bool:
        return run in self._runs

    def discard(self, task_id: str, n: int) -> None:
        """The run is over."""
        with self._lock:
            self._runs.pop((task_id, n), None)


def update(service: Service, token: Token, wanted: Update) -> UpdateAnswer:
    """Takes in an update.

    Raises:
        UnknownTask, InvalidArgument, TooLarge; StoreUnavailable, upon which the bot tries again.
    """
    if wanted.end is not None:
        packet = task_output.packet(service, wanted.task_id, wanted.offset, wanted.output)
        reply = task_scheduler.end(service, token, wanted.task_id, wanted.end, packet)
        service.started.discard(wanted.task_id, token.claim)
        answer = UpdateAnswer(must_stop=reply is Reply.MUST_STOP, ok=reply is Reply.OK)
    elif wanted.internal_failure:
        known = (wanted.task_id, token.claim) in service.started
        if known or task_scheduler.still_running(service, token, wanted.task_id) is Reply.OK:
            task_output.write(service, wanted.task_id, wanted.offset, wanted.output)
        return UpdateAnswer(must_stop=False)
    else:
        answer = _go_on(service, token, wanted)
    if answer.ok:
        service.view.saw_update(token.bot)
    return answer


def _go_on(service: Service, token: Token, wanted: Update) -> UpdateAnswer:
    """Start, output or keep-alive: all but the first say the same to a run that this process has seen start."""
    if (wanted.task_id, token.claim) not in service.started:
        if task_scheduler.start(service, token, wanted.task_id) is Reply.MUST_STOP:
            return UpdateAnswer(must_stop=True, ok=False, reason="this run is not, or no longer, the task's claim")
        service.started.add(wanted.task_id, token.claim)
    task_output.write(service, wanted.task_id, wanted.offset, wanted.output)
    refresh_quietly(service.view, eager=True)
    if wanted.hold_s > 0 and not wanted.output:
        return _held(service, token, wanted)
    return _stop_flag(service, token, wanted.task_id) or _ask_store(service, token, wanted.task_id)


def _stop_flag(service: Service, token: Token, task_id: str) -> UpdateAnswer | None:
    """What the view says; None when it knows the bot without this run."""
    entry = service.view.bot(token.bot)
    if entry is not None and entry.held is not None and entry.held["purpose"]:
        # Where every bot is busy nobody polls: then it is the background runs that see that they must give way.
        task_to_run.act(service, entry.pool, service.view.plan(entry.pool))
        entry = service.view.bot(token.bot)
    if entry is None or entry.claim_no < token.claim:
        return UpdateAnswer(must_stop=False)
    held = entry.held
    if held is not None and held["n"] == token.claim and held["task"] == task_id:
        return UpdateAnswer(must_stop=bool(held["stop"]), reason=held["stop"])
    return None


def _ask_store(service: Service, token: Token, task_id: str) -> UpdateAnswer:
    if task_scheduler.still_running(service, token, task_id) is Reply.OK:
        return UpdateAnswer(must_stop=False)
    return UpdateAnswer(must_stop=True, ok=False, reason="this run is over for the server")


def _held(service: Service, token: Token, wanted: Update) -> UpdateAnswer:
    """Holds a keep-alive until its run is to stop, or its time is over. While it is held only the view is looked at."""
    entry = service.view.bot(token.bot)
    pool_s = service.config.pool(entry.pool).held_poll_s if entry is not None else 0.0
    until_s = service.clock.monotonic_s() + min(wanted.hold_s, task_to_run.LONGEST_HOLD_S, pool_s)
    holding = False
    try:
        while True:
            seen = service.wakeup.changes()
            answer = _stop_flag(service, token, wanted.task_id)
            if answer is None:
                return _ask_store(service, token, wanted.task_id)
            left_s = until_s - service.clock.monotonic_s()
            holding = holding or (not answer.must_stop and left_s > 0.01 and service.wakeup.enter(poll=False))
            if answer.must_stop or left_s <= 0.01 or not holding or service.wakeup.draining:
                return replace(answer, held=holding)
            service.view.saw_update(token.bot)
            service.wakeup.wait(seen, left_s)
    finally:
        if holding:
            service.wakeup.leave()
