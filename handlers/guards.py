"""Guards of a server that trusts whoever reaches it: against names that other sites point at us, and their forms.

A browser on the user's own machine reaches the loopback port too, whatever page it shows. A page of another site can
have its name resolved to 127.0.0.1 (so the Host header must be ours), and can send us a POST (so its origin must be).
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from flask import Flask, Request, request

from server import errors
from server.settings import Settings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def is_loopback(host: str) -> bool:
    """Whether a host name or address, without port, means this machine alone."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def host_of(authority: str) -> str:
    """The host out of `host:port`; "" if it is neither."""
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""


def check_host(asked: Request, settings: Settings) -> None:
    """Refuses a Host header that does not mean this machine.

    Raises:
        PermissionDenied: it names something else.
    """
    authority = asked.headers.get("Host", "")
    host = host_of(authority)
    if is_loopback(host) or (settings.public_url and host == urlsplit(settings.public_url).hostname):
        return
    raise errors.PermissionDenied(
        f"this server is for its own machine only, and was asked for as {authority[:200]!r}; "
        "use http://localhost, or set PILOTLIGHT_CLIENT_TOKENS and PILOTLIGHT_BOT_SECRET to serve others"
    )


def check_origin(asked: Request, settings: Settings) -> None:
    """Refuses a change that a page of another site asks for.

    Requests with a bearer token pass: no other site's page knows it. Programs send neither header.

    Raises:
        PermissionDenied: the browser says that the request comes from elsewhere.
    """
    if asked.method in SAFE_METHODS or asked.headers.get("Authorization", "").lower().startswith("bearer "):
        return
    site = asked.headers.get("Sec-Fetch-Site", "")
    if site not in ("", "same-origin", "none"):
        raise errors.PermissionDenied(f"pages of other sites may not change anything here (they are {site[:40]!r})")
    origin = asked.headers.get("Origin")
    ours = {asked.headers.get("Host", "").lower(), _authority(settings.public_url)} - {""}
    if origin is not None and _authority(origin) not in ours:
        raise errors.PermissionDenied(f"a page of {origin[:200]!r} may not change anything here")


def init_app(app: Flask, settings: Settings, *, trusts_everybody: bool) -> None:
    """Guards every request.

    Args:
        app: gets the guards.
        settings: of this process.
        trusts_everybody: some callers need no credentials (a single user's machine).
    """

    @app.before_request
    def guard() -> None:
        if trusts_everybody:
            check_host(request, settings)
        check_origin(request, settings)


def _authority(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""
