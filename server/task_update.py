"""Updates of a running task: which of start, keep-alive, output and end one is, and what the bot is told.

A keep-alive reads and writes nothing: the stop flag comes from the view, which may say "go on" or show a stop of this
very claim, and never "no" on its own.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class UpdateAnswer:
    """What the bot is told."""

    must_stop: bool
    ok: bool = True
    reason: str = ""


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
    return _stop_flag(service, token, wanted.task_id)


def _stop_flag(service: Service, token: Token, task_id: str) -> UpdateAnswer:
    refresh_quietly(service.view, eager=True)
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
    if task_scheduler.still_running(service, token, task_id) is Reply.OK:
        return UpdateAnswer(must_stop=False)
    return UpdateAnswer(must_stop=True, ok=False, reason="this run is over for the server")
