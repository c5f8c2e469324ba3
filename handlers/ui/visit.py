"""A request for a page that was let in, and how its answer is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import flask
from werkzeug.wrappers import Response

from handlers.ui import chrome

if TYPE_CHECKING:
    from server.access import Permission, Principal
    from server.service import Service


@dataclass(frozen=True, slots=True)
class Visit:
    """Who asks this process for which page."""

    service: Service
    principal: Principal
    asked: flask.Request

    @property
    def now_s(self) -> float:
        """The server's time."""
        return self.service.clock.now_s()

    def text(self, name: str, default: str = "") -> str:
        """A field of the form or, failing that, of the address."""
        return self.asked.form.get(name, self.asked.args.get(name, default))

    def render(self, template: str, status: int = 200, /, **model: Any) -> Response:
        """A page: its own model and what stands around it."""
        text = flask.render_template(template, **chrome.around(self), **model)
        return flask.Response(text, status, content_type="text/html; charset=utf-8")

    def fragment(self, template: str, model: Mapping[str, Any]) -> str:
        """A part of a page, as live updates send it."""
        return flask.render_template(template, visit=self, **model)

    def back(self, default: str, said: str = "") -> Response:
        """After a change: to the page it was made on, with a word about what was done."""
        if said:
            flask.flash(said)
        return flask.redirect(local_path(self.text("next")) or default, 303)


@dataclass(frozen=True, slots=True)
class Route:
    """An address: its permission, in which scope ("" where the view asks again with the pool), and who answers."""

    method: str
    path: str
    permission: Permission
    view: Callable[..., Response]
    scope: str = ""


def local_path(text: str) -> str:
    """The text if it is an address on this server, else ""."""
    parts = urlsplit(text)
    safe = text.startswith("/") and not text.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return text if safe and "\\" not in text and text.isprintable() else ""
