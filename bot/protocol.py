"""The bot's side of the Swarming bot API: calls, retries, and the session token that goes round with them."""

from __future__ import annotations

import base64
import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from bot.transport import Answer, Transport, Unreachable

API = "/swarming/api/v1/bot/"
CALL_TIMEOUT_S = 60.0
UPDATE_TIMEOUT_S = 20.0  # shorter: an update that hangs also keeps the wish to stop from the bot, and repeating is safe
HOLD_MARGIN_S = 30.0
LISTEN_MARGIN_S = 10.0
RETRY_FOR_S = 240.0
MAX_PAUSE_S = 10.0
COMMANDS: Mapping[str, tuple[str, ...]] = {  # what `cmd` may say, and the fields that it then needs
    "sleep": ("duration",),
    "run": ("manifest",),
    "terminate": ("task_id",),
    "update": ("version",),
    "bot_restart": (),
    "host_reboot": (),
    "restart": (),
}

Json = Mapping[str, Any]
_log = logging.getLogger(__name__)


class CallFailed(Exception):
    """A call brought no usable answer.

    Attributes:
        transient: the same call may succeed later.
        status: HTTP status of the answer, or None when none came.
    """

    def __init__(self, text: str, *, transient: bool, status: int | None = None) -> None:
        super().__init__(text)
        self.transient = transient
        self.status = status


def never() -> bool:
    """The default of `give_up`: a call is retried until its time is over."""
    return False


class BotApi:
    """Calls of one bot. Thread-safe: the main loop and the sender of a task's updates share it.

    The session token is the newest that any answer carried and goes with every POST. So the token of a `run` answer
    goes into the start update, and the poll after the run carries the last token that the run got.
    """

    def __init__(self, server_url: str, bot_id: str, secret: str | None, rng: random.Random | None = None) -> None:
        headers = {"X-Luci-Swarming-Bot-ID": bot_id, "User-Agent": "pilotlight_bot/1"}
        if secret:
            headers["Authorization"] = f"Bearer {secret}"
        self.server_url = server_url
        self.bot_id = bot_id
        self.session: str | None = None
        self._transport, self._listening = Transport(server_url, headers), Transport(server_url, headers)
        self._rng = rng or random.Random()

    def server_ping(self) -> bool:
        """Whether the server answers."""
        try:
            return self._transport.request("GET", API + "server_ping", None, timeout_s=10.0, bare=True).status == 200
        except Unreachable:
            return False

    def handshake(self, report: Json, session_id: str) -> Json:
        """Opens a session, in one attempt; forgets the token of any session before.

        Raises:
            CallFailed: the server refused, or is not there.
        """
        self.session = None
        answer = self._attempt("handshake", encode({**report, "session_id": session_id}), CALL_TIMEOUT_S)
        if not answer:
            raise CallFailed("the answer to the handshake is empty", transient=True)
        return answer

    def poll(self, report: Json, request_uuid: str, hold_s: int) -> Json:
        """Asks for work, in one attempt; the server may keep the call open for `hold_s` seconds.

        Raises:
            CallFailed: no answer, or none that a bot understands.
        """
        body = {**report, "request_uuid": request_uuid, "session": self.session}
        if hold_s > 0:
            body["hold_s"] = hold_s
        answer = self._attempt("poll", encode(body), hold_s + HOLD_MARGIN_S)
        needed = COMMANDS.get(str(answer.get("cmd")))
        if "error" in answer or needed is None or any(key not in answer for key in needed):
            raise CallFailed(f"poll was answered with {str(answer)[:200]}", transient=True)
        return answer

    def task_update(self, task_id: str, fields: Json, give_up: Callable[[], bool] = never) -> Json:
        """Tells the server about a run; retried with the same bytes for up to 240 s.

        Raises:
            CallFailed: the server refused it for good, or could not be reached for too long.
        """
        body = {"id": self.bot_id, "task_id": task_id, "session": self.session, **fields}
        return _usable(self._call(f"task_update/{task_id}", body, RETRY_FOR_S, give_up))

    def listen(self, task_id: str, hold_s: float, give_up: Callable[[], bool]) -> Json:
        """A word that a run is still there, which the server may keep open for `hold_s` until it is to stop.

        Has a connection of its own, so that output does not wait for it; `stop_listening` breaks it off.

        Raises:
            CallFailed: as for `task_update`; or it was broken off.
        """
        body: dict[str, Any] = {"id": self.bot_id, "task_id": task_id, "session": self.session}
        if hold_s > 0:
            body["hold_s"] = hold_s
        timeout_s = hold_s + LISTEN_MARGIN_S
        return _usable(self._call(f"task_update/{task_id}", body, RETRY_FOR_S, give_up, timeout_s, self._listening))

    def stop_listening(self) -> None:
        """For another thread than the one that listens."""
        self._listening.cut()

    def task_error(
        self, task_id: str, message: str, retry_for_s: float = RETRY_FOR_S, *, handed_back: bool = False
    ) -> None:
        """Reports that the bot, not the task, failed, or (`handed_back`) has to leave before the task's end.

        Raises:
            CallFailed: as for `task_update`.
        """
        body: dict[str, Any] = {
            "id": self.bot_id,
            "task_id": task_id,
            "session": self.session,
            "message": message,
            "client_error": {"missing_cas": [], "missing_cipd": []},
        }
        if handed_back:
            body["handed_back"] = True
        self._call(f"task_error/{task_id}", body, retry_for_s, never)

    def give_up_run(self, task_id: str, session: str, message: str) -> bool:
        """Tells, with the token of a former session, that its run is over; whether the server took it."""
        self.session = session
        try:
            self.task_error(task_id, message, retry_for_s=5.0)
        except CallFailed:
            return False
        return True

    def event(self, report: Json, event: str, message: str, retry_for_s: float = 10.0) -> bool:
        """Tells what happened to the bot; whether the server took it."""
        body: dict[str, Any] = {**report, "event": event, "message": message, "session": self.session}
        try:
            self._call("event", body, retry_for_s, never, timeout_s=max(3.0, retry_for_s))
        except CallFailed:
            return False
        return True

    def bot_code(self, version: str) -> bytes:
        """The bot's zip of this version.

        Raises:
            CallFailed: there is none, or the server is not there.
        """
        try:
            answer = self._transport.request("GET", f"{API}bot_code/{version}", None, timeout_s=CALL_TIMEOUT_S)
        except Unreachable as error:
            raise CallFailed(str(error), transient=True) from error
        if answer.status != 200:
            raise CallFailed(f"bot_code was answered with HTTP {answer.status}", transient=True, status=answer.status)
        return answer.body

    def close(self) -> None:
        """Closes the calling thread's connections."""
        self._transport.close()
        self._listening.close()

    def _call(
        self,
        path: str,
        body: Json,
        retry_for_s: float,
        give_up: Callable[[], bool],
        timeout_s: float = UPDATE_TIMEOUT_S,
        transport: Transport | None = None,
    ) -> Json:
        data = encode(body)
        until = time.monotonic() + retry_for_s
        pause_s = 0.3
        while True:
            try:
                return self._attempt(path, data, timeout_s, transport)
            except CallFailed as error:
                if not error.transient or give_up() or time.monotonic() >= until:
                    raise
                _log.warning("will be repeated: %s", error)
            self._pause(pause_s * self._rng.uniform(0.8, 1.2), give_up)
            pause_s = min(MAX_PAUSE_S, pause_s * 1.7)

    def _attempt(self, path: str, data: bytes, timeout_s: float, transport: Transport | None = None) -> Json:
        try:
            answer = (transport or self._transport).request("POST", API + path, data, timeout_s=timeout_s)
        except Unreachable as error:
            raise CallFailed(str(error), transient=True) from error
        if answer.status != 200:
            text = f"{path} was answered with HTTP {answer.status}: {answer.body[:200]!r}"
            raise CallFailed(text, transient=is_transient(answer), status=answer.status)
        value = answer.json()
        if not isinstance(value, dict):
            raise CallFailed(f"the answer to {path} is no JSON object", transient=True, status=200)
        if isinstance(value.get("session"), str) and value["session"]:
            self.session = value["session"]
        return value

    @staticmethod
    def _pause(duration_s: float, give_up: Callable[[], bool]) -> None:
        until = time.monotonic() + duration_s
        while not give_up() and (left_s := until - time.monotonic()) > 0:
            time.sleep(min(left_s, 0.1))


def _usable(answer: Json) -> Json:
    """The answer to an update.

    Raises:
        CallFailed: it is none.
    """
    if not answer or "error" in answer:
        raise CallFailed(f"task_update was answered with {str(answer)[:200]}", transient=False)
    return answer


def is_transient(answer: Answer) -> bool:
    """Whether asking again makes sense: overload, server errors, and a 404 that is not the API's own."""
    if answer.status == 404:
        return not answer.headers.get("content-type", "").startswith("application/json")
    return answer.status in (408, 429) or answer.status >= 500


def encode(body: Json) -> bytes:
    """Compact JSON with sorted keys."""
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode("utf-8")


def output_fields(offset: int, data: bytes) -> Json:
    """The fields of a packet of output that starts at byte `offset`; none when there is no output."""
    if not data:
        return {}
    return {"output": base64.b64encode(data).decode("ascii"), "output_chunk_start": offset}
