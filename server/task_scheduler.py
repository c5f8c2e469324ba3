"""The transactions of a task between its bot and its user: claim, deliver again, start, end, error, cancel.

What ends a run from elsewhere is in `task_stops`. Each public function is one transaction; afterwards it tells this
process's view and wakes held polls. A token is the fence: an update counts only if its (bot, session, claim) is the
task's claim (C0 of the protocol).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from server import bot_warmth, errors
from server.policy.dimensions import matches
from server.records import RETAIN_BOT_S, Record, expiry, get_multi, key_of
from server.records.bot import Bot
from server.records.task import OutputPacket, TaskRequest, TaskResult, TaskToRun
from server.task_life import HANDED_BACK, Event, NoSuchTransition, State
from server.task_transition import Touched, newer, state_of, transition

if TYPE_CHECKING:
    from server.bot_session import Token
    from server.service import Service


class SessionGone(Exception):
    """The store says that another session owns this bot's id: the bot has to start anew."""


class LostRace(Exception):
    """Somebody else has the task, or it is no longer what this bot can take.

    `found` are its place in the queue and the bot as they stand in the store; nothing when the task is gone.
    """

    def __init__(self, found: tuple[Record, ...] = ()) -> None:
        super().__init__()
        self.found = found


class HoldsRun(Exception):
    """The bot holds a run that this process did not know of."""


class NotNow(Exception):
    """The bot may not take work at the moment (quiet time, quarantine found by the server)."""


class StopReason:
    """Words stored as the reason of a stop."""

    KILL = "killed by a user"
    PREEMPT = "preempted for a real task"
    SWITCH = "prewarming was stopped"
    USELESS = "nobody needs it any more"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A run for a bot: what the `run` answer is made of."""

    task_id: str
    n: int
    slice: dict[str, Any]
    purpose: str
    bot_dimensions: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class EndReport:
    """What a bot says at the end of a run; durations in seconds."""

    exit_code: int | None = None
    duration_s: float | None = None
    hard_timeout: bool = False
    io_timeout: bool = False
    canceled: bool = False
    stats: dict[str, Any] = field(default_factory=dict)

    def event(self) -> Event:
        """The event of the table that this report is."""
        if self.canceled:
            return Event.CANCELED_BY_BOT
        return Event.TIMED_OUT if self.hard_timeout or self.io_timeout else Event.END


class Reply(Enum):
    """Answer to an update."""

    OK = auto()
    MUST_STOP = auto()


def is_claim(result: TaskResult, token: Token) -> bool:
    """Whether the token is that of the task's claim."""
    return result.claim == {"bot": token.bot, "session": token.session, "n": token.claim}


def run(service: Service, step: Callable[[Touched], Any]) -> Any:
    """Runs one transaction over `Touched`, then publishes what it changed."""
    last: list[Touched] = []

    def attempt() -> Any:
        touched = Touched()
        outcome = step(touched)
        touched.commit()
        last[:] = [touched]
        return outcome

    outcome = service.store.transaction(attempt)
    service.publish(last[0])
    return outcome


def usable_bot(bot: Bot | None, token: Token, now_s: float) -> Bot:
    """The bot of a claim, or the reason why it may not claim."""
    if bot is None or bot.session_id != token.session:
        raise SessionGone
    if bot.held:
        raise HoldsRun
    if bot.quiet_until_s > now_s or bot.server_quarantined or bot.quarantined or bot.maintenance:
        raise NotNow
    return bot


def next_claim_no(bot: Bot, now_s: float) -> int:
    """Monotone even across a bot that was deleted and came back."""
    return max(bot.claim_no + 1, int(now_s * 1000))


def claim_timeout_s(service: Service, bot: Bot, pool: str) -> float:
    """How long an offer stands without a delivery."""
    config = service.config.pool(pool)
    return config.foreign_claim_timeout_s if bot.foreign else config.claim_timeout_s


def offer(service: Service, touched: Touched, token: Token, held: dict[str, Any], why: str) -> int:
    """Writes the claim on TaskResult and Bot; both are in `touched`. Returns the claim's number."""
    bot, result = touched.bot, touched.result
    now_s = service.clock.now_s()
    n = next_claim_no(bot, now_s)
    result.claim = {"bot": token.bot, "session": token.session, "n": n}
    result.offered = True
    result.claim_until_s = now_s + claim_timeout_s(service, bot, result.pool)
    result.modified_s = now_s
    result.why_bot = why
    result.bot_dimensions = bot.dimensions
    result.bot_version = bot.version
    result.bot_idle_since_s = bot.idle_since_s
    result.warm_at_start = bot_warmth.at_start(bot, result.wishes)
    result.config_revision = service.config.revision
    bot.claim_no = n
    bot.alive, bot.last_seen_s, bot.expire_at = True, now_s, expiry(now_s, RETAIN_BOT_S)
    bot.held = {"task": result.key.id(), "n": n, "stop": "", "since_s": now_s, "purpose": result.purpose, **held}
    bot_warmth.on_claim(bot, result, now_s, service.view.specs())
    bot.changed_s = newer(bot.changed_s, now_s)
    touched.put(result, bot)
    return n


def claim(service: Service, token: Token, task_id: str, why: str, *, out_of_turn: bool = False) -> Delivery:
    """Claims a pending task for the token's bot: 3 reads, 3 writes.

    `out_of_turn`: it goes before an older one that had waited for too long; a bot lends itself to few such starts.

    Raises:
        SessionGone, HoldsRun, NotNow, LostRace.
    """

    def step(touched: Touched) -> Delivery:
        keys = [key_of(Bot, token.bot), key_of(TaskToRun, task_id), key_of(TaskResult, task_id)]
        bot, queue, result = get_multi(keys)
        now_s = service.clock.now_s()
        touched.bot = usable_bot(bot, token, now_s)
        if queue is None or result is None:
            raise LostRace
        waits = queue.status == "pending" and state_of(result) is State.PENDING and queue.deadline_s > now_s
        if not waits or not _fits(queue, bot):
            raise LostRace((queue, bot))
        touched.queue, touched.result = queue, result
        manifest = queue.slice
        transition(service, touched, Event.CLAIM)
        n = offer(service, touched, token, {}, why)
        _count_turn(bot, result, out_of_turn)
        return Delivery(task_id, n, manifest, "", bot.dimensions)

    return run(service, step)


def _count_turn(bot: Bot, result: TaskResult, out_of_turn: bool) -> None:
    """A cold start is where the count begins anew."""
    warm = [was["warm"] for was in result.warm_at_start.values()]
    if warm and not any(warm):
        bot.out_of_turn = 0
    elif out_of_turn:
        bot.out_of_turn += 1


def _fits(queue: TaskToRun, bot: Bot) -> bool:
    """Whether the bot still is what the task asks for: the view that chose it may be older than slice or bot."""
    asked = tuple((key, tuple(values)) for key, values in queue.dimensions)
    return matches(asked, {"id": frozenset((str(bot.key.id()),)), **bot.dimensions})


def poll_held(service: Service, token: Token, *, deliver: bool = True) -> Delivery | str:
    """What a poll by the token means for the run that the store says the bot holds.

    Returns the same run again (offered, token older), "sleep" (started, a delayed poll), or "free" (nothing held, or
    the poll itself shows that main has that run behind it). A bot that may take nothing is not delivered to
    (`deliver`); its offer lapses.

    Raises:
        SessionGone.
    """

    def step(touched: Touched) -> Delivery | str:
        bot = key_of(Bot, token.bot).get()
        if bot is None or bot.session_id != token.session:
            raise SessionGone
        touched.bot = bot
        if not bot.held:
            return "free"
        held = bot.held
        touched.result = result = key_of(TaskResult, held["task"]).get()
        if result is None or state_of(result) is State.FINAL or (result.claim or {}).get("n") != held["n"]:
            # Cannot happen by the table; free the bot rather than keep it busy for ever.
            bot.held, bot.changed_s = None, newer(bot.changed_s, service.clock.now_s())
            touched.put(bot)
            return "free"
        if token.claim >= held["n"]:
            transition(service, touched, Event.POLL_BACK, reason="its bot polled again without having finished it")
            return "free"
        if transition(service, touched, Event.POLL_OLDER).answer == "sleep" or not deliver:
            touched.changed.clear()
            return "sleep"
        result.claim_until_s = service.clock.now_s() + claim_timeout_s(service, bot, result.pool)
        return Delivery(held["task"], held["n"], _slice_of(touched), result.purpose, bot.dimensions)

    return run(service, step)


def _slice_of(touched: Touched) -> dict[str, Any]:
    result = touched.result
    if not result.purpose:
        return key_of(TaskToRun, result.key.id()).get().slice
    return key_of(TaskRequest, result.request_key).get().slices[result.slice_no]


def start(service: Service, token: Token, task_id: str) -> Reply:
    """The first update of a run, before any user code: 1 read, 1 write.

    Raises:
        UnknownTask.
    """

    def step(touched: Touched) -> Reply:
        touched.result = result = result_of(task_id)
        if not is_claim(result, token):
            return Reply.MUST_STOP
        touched.started_from_offer = state_of(result) is State.OFFERED
        try:
            row = transition(service, touched, Event.START)
        except NoSuchTransition:
            return Reply.MUST_STOP
        if not touched.started_from_offer:
            touched.changed.clear()
        return Reply.MUST_STOP if row.answer == "must_stop" else Reply.OK

    return run(service, step)


def still_running(service: Service, token: Token, task_id: str) -> Reply:
    """Reads the store for an update that this process's view cannot vouch for."""
    with service.store.context():
        result = result_of(task_id)
    running = is_claim(result, token) and state_of(result) is State.RUNNING
    return Reply.OK if running else Reply.MUST_STOP


def end(service: Service, token: Token, task_id: str, report: EndReport, packet: OutputPacket | None = None) -> Reply:
    """The last update of a run: 2 reads and 2 writes, background 3 and 3. A repeat or another claim's changes nothing.

    `packet` is the last of the output: one write more, so that who sees the final state sees all of it.

    Raises:
        UnknownTask.
    """

    def step(touched: Touched) -> Reply:
        touched.result = result = result_of(task_id)
        claimed = is_claim(result, token)
        event = report.event()
        if claimed and state_of(result) is State.OFFERED and event is Event.END and is_terminate(result):
            event = Event.TERMINATED
        if claimed and state_of(result) in (State.RUNNING, State.STOPPING, State.OFFERED):
            result.exit_code = report.exit_code
            result.duration_s = report.duration_s
            result.failure = report.hard_timeout or report.io_timeout or report.exit_code not in (0, None)
            result.stats = report.stats
            try:
                transition(service, touched, event)
            except NoSuchTransition:
                return Reply.MUST_STOP
            if packet is not None:
                touched.put(packet)
            return Reply.OK
        _end_quiet(service, touched, token)
        return Reply.OK if claimed else Reply.MUST_STOP

    return run(service, step)


def _end_quiet(service: Service, touched: Touched, token: Token) -> None:
    """The last word of a run that was given up ends the quiet time that waits for it (H20), and for no other.

    Asks the store: the view of another process than the one that began the quiet time may not know of it.
    """
    bot = key_of(Bot, token.bot).get()
    if bot is not None and bot.quiet_until_s and bot.quiet_n == token.claim:
        bot.quiet_until_s = 0.0
        bot.changed_s = newer(bot.changed_s, service.clock.now_s())
        touched.bot = bot
        touched.put(bot)


def is_terminate(result: TaskResult) -> bool:
    """Whether this is a task that only tells its bot to leave."""
    return "swarming.terminate:1" in result.tags


def task_error(
    service: Service, token: Token, task_id: str, message: str, missing: dict[str, Any], *, handed_back: bool = False
) -> None:
    """The bot failed to run the task: BOT_DIED, or CLIENT_ERROR when inputs are missing. Of another claim: ignored.

    With `handed_back` it did not fail, it has to leave: a run not yet started goes back into the queue.
    """

    def step(touched: Touched) -> None:
        touched.result = result = result_of(task_id)
        if not is_claim(result, token) or state_of(result) is State.FINAL:
            _end_quiet(service, touched, token)
            return
        if handed_back:
            transition(service, touched, Event.HAND_BACK, reason=HANDED_BACK)
            return
        result.missing = missing
        transition(service, touched, Event.CLIENT_ERROR if missing else Event.TASK_ERROR, reason=message[:4000])

    run(service, step)


def cancel(service: Service, task_id: str, kill_running: bool) -> tuple[bool, bool]:
    """Cancels a task that has not started, kills one that has when asked. Returns (canceled, was_running).

    Raises:
        UnknownTask.
    """

    def step(touched: Touched) -> tuple[bool, bool]:
        touched.result = result = result_of(task_id)
        state = state_of(result)
        if state is State.FINAL:
            return False, False
        if state in (State.PENDING, State.OFFERED):
            transition(service, touched, Event.CANCEL)
            return True, False
        if state is State.STOPPING or not kill_running:
            return False, True
        transition(service, touched, Event.KILL, reason=StopReason.KILL)
        return True, True

    return run(service, step)


def end_held(service: Service, touched: Touched, event: Event, reason: str) -> None:
    """Ends or takes back what `touched.bot` holds, within the caller's transaction (death, handshake)."""
    bot = touched.bot
    if not bot.held:
        return
    held = bot.held
    touched.result = result = key_of(TaskResult, held["task"]).get()
    if result is not None and (result.claim or {}).get("n") == held["n"]:
        try:
            transition(service, touched, event, reason=reason)
        except NoSuchTransition:
            touched.changed.clear()
    bot.held = None
    touched.put(bot)


def result_of(task_id: str) -> TaskResult:
    result = key_of(TaskResult, task_id).get()
    if result is None:
        raise errors.UnknownTask(f"no task {task_id}", field="task_id")
    return result
