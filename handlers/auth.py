"""Request → Principal. What the principal may do is in `server.access`; nothing else decides it.

Three audiences, each with providers by configuration:

- clients (people and their programs): the single user of this machine, or a token from a file;
- bots: the shared secret, or anybody on this machine;
- internal calls: App Engine's own headers, or the internal token.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from flask import Request
from werkzeug.datastructures import Authorization

from handlers.guards import is_loopback
from server import access, errors
from server.access import ANONYMOUS, LOCAL_USER, Permission, Principal
from server.settings import Settings

Authenticate = Callable[[Request], Principal]

ROLES: dict[str, frozenset[Permission]] = {
    "client": access.CLIENT,
    "operator": access.OPERATOR,
    "admin": access.ADMIN,
}
BOT = Principal("bot:secret", access.BOT)
LOCAL_BOT = Principal("bot:local", access.BOT)
CRON = Principal("service:app-engine", access.INTERNAL)
BELL = Principal("service:internal", access.INTERNAL)
SHORTEST_SECRET = 16
HASH_PREFIX = "sha256:"


@dataclass(frozen=True, slots=True)
class ClientToken:
    """A token as it is kept, its hash, and whom it stands for."""

    digest: bytes = field(repr=False)
    principal: Principal


def parse_tokens(text: str, name: str = "tokens") -> tuple[ClientToken, ...]:
    """Client tokens out of a file's text.

    A line is `TOKEN IDENTITY ROLE [POOL,POOL…]`; the token may stand as `sha256:HEX`. Empty lines and # are skipped.

    Raises:
        InvalidArgument: a line is wrong; the text has its number, never the token.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words and not words[0].startswith("#"):
            found.append(_parse_line(words, f"{name}, line {number}"))
    if not found:
        raise errors.InvalidArgument(f"{name} holds no token; a line is: TOKEN IDENTITY ROLE [POOL,POOL]")
    return tuple(found)


def _parse_line(words: list[str], where: str) -> ClientToken:
    if len(words) not in (3, 4):
        raise errors.InvalidArgument(f"{where}: expected TOKEN IDENTITY ROLE [POOL,POOL], found {len(words)} words")
    token, identity, role = words[:3]
    if role not in ROLES:
        raise errors.InvalidArgument(f"{where}: role {role!r} is none of {', '.join(ROLES)}")
    pools = frozenset(words[3].split(",")) if len(words) == 4 else None
    principal = Principal(identity if ":" in identity else f"user:{identity}", ROLES[role], pools)
    if token.startswith(HASH_PREFIX):
        try:
            digest = bytes.fromhex(token.removeprefix(HASH_PREFIX))
        except ValueError:
            digest = b""
        if len(digest) != hashlib.sha256().digest_size:
            raise errors.InvalidArgument(f"{where}: {HASH_PREFIX} is followed by 64 hexadecimal digits")
        return ClientToken(digest, principal)
    if len(token) < SHORTEST_SECRET:
        raise errors.InvalidArgument(f"{where}: a token has at least {SHORTEST_SECRET} characters")
    return ClientToken(_digest(token), principal)


class Authenticator:
    """Who calls, for each audience. Missing credentials make nobody of the caller; wrong ones are an error."""

    def __init__(self, settings: Settings, tokens: Iterable[ClientToken] = ()) -> None:
        self._settings = settings
        self._tokens = tuple(tokens)

    @classmethod
    def from_settings(cls, settings: Settings) -> Authenticator:
        """With the tokens of the settings' file.

        Raises:
            InvalidArgument: the file cannot be read, or a line of it is wrong.
        """
        if not settings.client_tokens:
            return cls(settings)
        path = Path(settings.client_tokens)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise errors.InvalidArgument(f"the file of client tokens cannot be read: {error}") from error
        return cls(settings, parse_tokens(text, str(path)))

    @property
    def trusts_everybody(self) -> bool:
        """Whether some callers need no credentials."""
        return not self._tokens or not self._settings.bot_secret

    def knows(self, request: Request) -> bool:
        """Whether the request has the credentials of any audience."""
        for audience in (self.client, self.bot, self.internal):
            with contextlib.suppress(errors.Unauthenticated):
                if audience(request) is not ANONYMOUS:
                    return True
        return False

    def client(self, request: Request) -> Principal:
        """A person or a program of theirs.

        Raises:
            Unauthenticated: there are credentials, and they are not valid.
        """
        if not self._tokens:
            return LOCAL_USER if self._is_this_machine(request) else ANONYMOUS
        secret = _secret(request.authorization)
        if secret is None:
            return ANONYMOUS
        digest, found = _digest(secret), None
        for token in self._tokens:  # all of them, so that the time taken tells nothing
            if hmac.compare_digest(token.digest, digest):
                found = token.principal
        if found is None:
            raise errors.Unauthenticated("the token is not one that this server knows")
        return found

    def bot(self, request: Request) -> Principal:
        """A bot.

        Raises:
            Unauthenticated: there is a secret, and it is not the bots'.
        """
        if not self._settings.bot_secret:
            return LOCAL_BOT if self._is_this_machine(request) else ANONYMOUS
        secret = _secret(request.authorization)
        if secret is None:
            return ANONYMOUS
        if not hmac.compare_digest(_digest(secret), _digest(self._settings.bot_secret)):
            raise errors.Unauthenticated("the secret is not the one of this server's bots")
        return BOT

    def internal(self, request: Request) -> Principal:
        """Cloud Tasks, cron, or whoever has the internal token.

        Raises:
            Unauthenticated: there is a token, and it is not the internal one.
        """
        if self._settings.app_engine and _is_app_engine(request):
            return CRON
        secret = _secret(request.authorization)
        if secret is None or not self._settings.internal_token:
            return ANONYMOUS
        if not hmac.compare_digest(_digest(secret), _digest(self._settings.internal_token)):
            raise errors.Unauthenticated("the token is not the internal one")
        return BELL

    def _is_this_machine(self, request: Request) -> bool:
        # Even if somebody has this application listen elsewhere than `check_listening` saw.
        # No address at all: a call within this process, or a Unix socket.
        return not self._settings.app_engine and (not request.remote_addr or is_loopback(request.remote_addr))


def check_listening(settings: Settings) -> None:
    """Refuses to serve others than this machine to everybody.

    Raises:
        FailedPrecondition: callers from elsewhere can come in, and credentials are missing; the text says which.
    """
    if is_loopback(settings.host) and not settings.app_engine:
        return
    missing = []
    if not settings.client_tokens:
        missing.append("PILOTLIGHT_CLIENT_TOKENS (a file of tokens for clients)")
    if not settings.bot_secret:
        missing.append("PILOTLIGHT_BOT_SECRET (the secret of the bots)")
    elif len(settings.bot_secret) < SHORTEST_SECRET:
        missing.append(f"a PILOTLIGHT_BOT_SECRET of at least {SHORTEST_SECRET} characters")
    if missing:
        where = "on App Engine" if settings.app_engine else f"on {settings.host}"
        raise errors.FailedPrecondition(
            f"refusing to listen {where}, where others than this machine can come in, without "
            f"{' and '.join(missing)}; listen on 127.0.0.1 or set what is missing"
        )


def _is_app_engine(request: Request) -> bool:
    """App Engine takes these headers out of requests from outside, and sets them on its own."""
    return request.headers.get("X-Appengine-Cron") == "true" or bool(request.headers.get("X-AppEngine-QueueName"))


def _secret(authorization: Authorization | None) -> str | None:
    """What the Authorization header brings: a bearer token, or a browser's password."""
    if authorization is None:
        return None
    if authorization.type == "bearer":
        return authorization.token or ""
    return authorization.password or "" if authorization.type == "basic" else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8")).digest()
