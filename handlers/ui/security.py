"""What keeps pages safe: the content security policy, signed forms, cookies that only this server reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import flask
from flask_wtf.csrf import CSRFError, validate_csrf
from wtforms import ValidationError

from server import errors
from server.page_secret import page_secret

if TYPE_CHECKING:
    from server.service import Service

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
FORM_LIFE_S = 7 * 24 * 3600
"""How long a form may stand open; the store's own revisions guard against stale edits."""


def init_app(app: flask.Flask, service: Service) -> None:
    """Keys and cookies; the secret is the store's, so that any process takes any other's forms."""
    app.secret_key = page_secret(service)
    app.config["WTF_CSRF_TIME_LIMIT"] = FORM_LIFE_S
    app.config["SESSION_COOKIE_NAME"] = "pilotlight"
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
    app.config["SESSION_COOKIE_SECURE"] = is_secure(service)


def is_secure(service: Service) -> bool:
    """Whether browsers reach this server by https."""
    return service.settings.app_engine or service.settings.public_url.startswith("https:")


def check_form(asked: flask.Request) -> None:
    """Refuses a form that this server did not make for this browser.

    Raises:
        PermissionDenied: no signature, another browser's, or too old.
    """
    try:
        validate_csrf(asked.form.get("csrf_token"))
    except (ValidationError, CSRFError) as error:
        text = "the form is too old or was not made here, so nothing was changed; go back, load the page again, send it"
        raise errors.PermissionDenied(text) from error


def strict_headers(response: flask.Response) -> flask.Response:
    """The policy on every page, and no page in a cache."""
    if response.mimetype == "text/html":
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response
