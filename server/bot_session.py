"""Session tokens: signed, opaque to bots, trusted without a look-up.

A token holds the bot, its session and the number of the run that the bot was last given (C0 of the protocol): a token
minted for a later answer copies session and claim from the token that came in.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import itsdangerous
import orjson

from server import errors
from server.records.config import SigningKeys

if TYPE_CHECKING:
    from server.clock import Clock
    from server.service import Service

TOKEN_LIFE_S = 24 * 3600.0
ROTATE_AFTER_S = 7 * 24 * 3600.0
RELOAD_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Token:
    """What a session token says: `claim` is the number of the last run handed to this session, 0 for none."""

    bot: str
    session: str
    claim: int = 0
    issued_s: float = 0.0

    def with_claim(self, number: int) -> Token:
        """The token of the answer that hands out run `number`."""
        return replace(self, claim=number)


class _Orjson:
    """The serializer that itsdangerous wants."""

    @staticmethod
    def dumps(value: object) -> bytes:
        return orjson.dumps(value)

    @staticmethod
    def loads(data: bytes | str) -> object:
        return orjson.loads(data)


class SessionSigner:
    """Mints and checks tokens with two keys that live in the store; the newest signs."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._clock: Clock = service.clock
        self._lock = threading.Lock()
        self._loaded_s = float("-inf")
        self._serializer = self._load()

    def mint(self, token: Token) -> str:
        """The text of a token, valid for a day from now."""
        signed = self._serializer.dumps([token.bot, token.session, token.claim, round(self._clock.now_s(), 3)])
        return signed.decode() if isinstance(signed, bytes) else signed

    def verify(self, text: str) -> Token:
        """The token behind the text.

        Raises:
            Unauthenticated: forged, damaged or older than a day.
        """
        try:
            bot, session, claim, issued_s = self._read(text)
        except (itsdangerous.BadData, ValueError, TypeError) as error:
            raise errors.Unauthenticated("session: the token is not one of ours", field="session") from error
        if self._clock.now_s() - issued_s > TOKEN_LIFE_S:
            raise errors.Unauthenticated("session: the token is older than a day", field="session")
        return Token(bot, session, claim, issued_s)

    def rotate(self) -> None:
        """Makes a new key once the newest is a week old; tokens of the one before stay valid."""
        now_s = self._clock.now_s()

        def change() -> None:
            record = SigningKeys.get_by_id("session") or SigningKeys(id="session")
            if not record.keys or now_s - record.rotated_s > ROTATE_AFTER_S:
                record.keys = [secrets.token_urlsafe(32), *record.keys][:2]
                record.rotated_s = now_s
                record.put()

        self._service.store.transaction(change)
        self._serializer = self._load()

    def _read(self, text: str) -> list:
        try:
            return self._serializer.loads(text)
        except itsdangerous.BadSignature:
            # Another process may have rotated the keys.
            with self._lock:
                if self._clock.monotonic_s() - self._loaded_s > RELOAD_EVERY_S:
                    self._serializer = self._load()
            return self._serializer.loads(text)

    def _load(self) -> itsdangerous.URLSafeSerializer:
        def read_or_make() -> list[str]:
            record = SigningKeys.get_by_id("session")
            if record is None:
                record = SigningKeys(id="session", keys=[secrets.token_urlsafe(32)], rotated_s=self._clock.now_s())
                record.put()
            return list(record.keys)

        keys = self._service.store.transaction(read_or_make)
        self._loaded_s = self._clock.monotonic_s()
        # itsdangerous wants the oldest key first.
        return itsdangerous.URLSafeSerializer(keys[::-1], salt="pilotlight.session", serializer=_Orjson())
