"""Bots: handshake, the merging of a report into the record, sessions that were superseded, events, release."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from server import bot_warmth, errors, task_scheduler
from server.access import Principal
from server.bot_report import Report
from server.bot_session import Token
from server.records import RETAIN_BOT_S, expiry, key_of
from server.records.bot import SUPERSEDED_KEPT, Bot
from server.task_life import Event
from server.task_scheduler import SessionGone
from server.task_transition import Touched, newer
from server.view_entries import BotEntry

if TYPE_CHECKING:
    from server.service import Service

_SESSION_ID = re.compile(r"[a-z0-9\-_/]{1,50}")
MOST_CONFLICTS = 3
"""So many of the last sessions that lived on after they were superseded mean two machines with one id (A4). Of the
last ones: a poll that was delayed over a restart, now and then, makes no second machine."""
RENEW_S = RETAIN_BOT_S / 4
"""A bot that never has news is written anew this often, so that its record does not expire under it."""
KEPT_STATE = (
    "named_caches",
    "named_caches_lost",
    "named_caches_heads",
    "disks",
    "free_disk_bytes",
    "quarantined",
    "maintenance",
    "hostname",
    "pilotlight_bot",
    "started_ts",
)
"""The part of a bot's state that is stored; the rest is large and of no use to others."""


def check_session_id(text: object) -> str:
    """A bot's session id.

    Raises:
        InvalidArgument: it does not look like one.
    """
    if not isinstance(text, str) or not _SESSION_ID.fullmatch(text):
        raise errors.InvalidArgument("session_id: 1 to 50 of a-z, 0-9, -, _ and / are needed", field="session_id")
    return text


def handshake(service: Service, report: Report, session_id: str) -> Token:
    """Opens a session: what the bot's former session held ends in the same transaction.

    A repeat is the same; a late copy of a superseded session's handshake is answered and changes nothing (H7).
    """

    def step(touched: Touched) -> None:
        now_s = service.clock.now_s()
        bot = key_of(Bot, report.bot_id).get()
        if bot is None:
            bot = Bot(id=report.bot_id, first_seen_s=now_s, idle_since_s=now_s)
        elif any(old["session"] == session_id for old in bot.superseded):
            return
        touched.bot = bot
        if bot.session_id and bot.session_id != session_id:
            task_scheduler.end_held(service, touched, Event.HANDSHAKE, "its bot started anew")
            old = {"session": bot.session_id, "at_s": now_s, "alive_after": False}
            bot.superseded = [*bot.superseded, old][-SUPERSEDED_KEPT:]
            bot_warmth.on_restart(bot, service.view.specs(), now_s)
        bot.session_id = session_id
        bot.foreign = not report.own
        bot.alive = True
        _take_report(service, bot, report, now_s)
        touched.put(bot)

    task_scheduler.run(service, step)
    return Token(report.bot_id, session_id, 0)


def _take_report(service: Service, bot: Bot, report: Report, now_s: float) -> None:
    bot_warmth.on_report(bot, report, service.view.specs(), now_s)
    bot.dimensions = report.dimensions
    bot.pool = report.pool
    bot.state = {key: report.state[key] for key in KEPT_STATE if key in report.state}
    bot.version = report.version
    bot.quarantined = report.quarantined
    bot.maintenance = report.maintenance
    bot.fingerprint = report.fingerprint()
    bot.external_ip = report.external_ip
    bot.authenticated_as = report.authenticated_as
    bot.last_seen_s = now_s
    bot.expire_at = expiry(now_s, RETAIN_BOT_S)
    bot.changed_s = newer(bot.changed_s, now_s)


def merge_report(service: Service, token: Token, report: Report) -> BotEntry:
    """Takes in a poll's report: nothing is read or written while it says what the view knows.

    Raises:
        InvalidArgument: the token is another bot's.
        SessionGone: another session owns the id (read from the store, never from the view).
    """
    if token.bot != report.bot_id:
        raise errors.InvalidArgument(
            f"session: it belongs to bot {token.bot!r}, not {report.bot_id!r}", field="session"
        )
    entry = service.view.bot(token.bot)
    current = entry is not None and entry.session_id == token.session and entry.policy.alive
    recent = entry is not None and service.clock.now_s() - entry.changed_s < RENEW_S
    if entry is not None and current and recent and entry.fingerprint == report.fingerprint():
        return entry

    def step(touched: Touched) -> bool:
        now_s = service.clock.now_s()
        touched.bot = bot = key_of(Bot, token.bot).get()
        if bot is None:
            return False
        if bot.session_id != token.session:
            _mark_alive_after(bot, token.session, now_s, touched)
            return False
        if bot.fingerprint != report.fingerprint() or not bot.alive or now_s - bot.changed_s >= RENEW_S:
            bot.alive = True
            _take_report(service, bot, report, now_s)
            touched.put(bot)
        return True

    if not task_scheduler.run(service, step):
        raise SessionGone
    merged = service.view.bot(token.bot)
    if merged is None:
        raise SessionGone
    return merged


def _mark_alive_after(bot: Bot, session: str, now_s: float, touched: Touched) -> None:
    """A superseded session still lives: two machines may share the id."""
    marked = [dict(old) for old in bot.superseded]
    for old in marked:
        if old["session"] == session and not old["alive_after"]:
            old["alive_after"] = True
            bot.superseded = marked
            if sum(one["alive_after"] for one in marked) >= MOST_CONFLICTS:
                bot.server_quarantined = f"two machines use the bot id {bot.key.id()}"
            bot.changed_s = newer(bot.changed_s, now_s)
            touched.put(bot)


def is_quarantined_by_server(service: Service, bot_id: str) -> str:
    """Why the server quarantined the bot, "" when it did not."""
    entry = service.view.bot(bot_id)
    return entry.server_quarantined if entry else ""


def release(service: Service, principal: Principal, bot_id: str) -> None:
    """Lifts the server's own quarantine.

    Raises:
        UnknownBot.
    """
    from server.access import Permission

    def step(touched: Touched) -> None:
        bot = key_of(Bot, bot_id).get()
        if bot is None:
            raise errors.UnknownBot(f"no bot {bot_id}", field="bot_id")
        principal.require(Permission.SPEC_EDIT, bot.pool)
        touched.bot = bot
        bot.server_quarantined, bot.quick_failures = "", []
        bot.superseded = [{**old, "alive_after": False} for old in bot.superseded]
        bot.changed_s = newer(bot.changed_s, service.clock.now_s())
        touched.put(bot)

    task_scheduler.run(service, step)


def leave(service: Service, token: Token, message: str) -> None:
    """The bot says that it goes (shutdown, reboot): it is shown as gone, and given nothing until it is back.

    A run that it still holds goes on or ends by its own rules.
    """

    def step(touched: Touched) -> None:
        touched.bot = bot = key_of(Bot, token.bot).get()
        if bot is None or bot.session_id != token.session or bot.held:
            return
        now_s = service.clock.now_s()
        bot.alive = False
        bot.state = {**bot.state, "left": message[:500]}
        bot.changed_s = newer(bot.changed_s, now_s)
        touched.put(bot)

    task_scheduler.run(service, step)


def load(service: Service, bot_id: str) -> Bot:
    """The bot's record.

    Raises:
        UnknownBot.
    """
    with service.store.context():
        bot = key_of(Bot, bot_id).get()
    if bot is None:
        raise errors.UnknownBot(f"no bot {bot_id}", field="bot_id")
    return bot
