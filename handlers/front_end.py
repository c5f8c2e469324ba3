"""What stands before the application on App Engine, and how a request looked before it passed there.

The front end speaks https to callers and http to us, and names the caller in headers of its own, which it takes out of
requests from outside. Without this, bots would be told an http address, whose redirection loses what they post.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

SCHEME_HEADER, ADDRESS_HEADER = "HTTP_X_FORWARDED_PROTO", "HTTP_X_APPENGINE_USER_IP"


def init_app(app: Flask) -> None:
    """Has requests carry the scheme and the address of the caller. Only behind App Engine's front end."""
    app.wsgi_app = _as_it_was_asked(app.wsgi_app)  # type: ignore[method-assign, assignment]


def _as_it_was_asked(inner: Wsgi) -> Wsgi:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get(SCHEME_HEADER) in ("http", "https"):
            environ["wsgi.url_scheme"] = environ[SCHEME_HEADER]
        if environ.get(ADDRESS_HEADER):
            environ["REMOTE_ADDR"] = environ[ADDRESS_HEADER]
        return inner(environ, start_response)

    return application
