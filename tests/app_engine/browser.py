"""A browser at a server that asks for a name and a password: pages, forms, cookies."""

from __future__ import annotations

import base64
import http.client
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urlsplit

from bs4 import BeautifulSoup


@dataclass(frozen=True, slots=True)
class Page:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    html: BeautifulSoup

    @property
    def text(self) -> str:
        """Its words, white space as one blank."""
        return " ".join(self.html.get_text(" ").replace("\u00a0", " ").split())

    def value(self, field_name: str) -> str:
        """What stands in a field."""
        control = self.html.find(attrs={"name": field_name})
        return control.get_text() if control.name == "textarea" else control.get("value", "")


@dataclass
class Browser:
    """One person. What is sent to any of several servers goes with the same cookies."""

    password: str
    cookies: SimpleCookie = field(default_factory=SimpleCookie)

    def get(self, url: str) -> Page:
        """Loads a page."""
        return self._ask("GET", url)

    def send(self, page: str, fields: dict[str, str], url: str = "") -> Page:
        """Loads the page at `page`, fills in its form and sends it to `url`, or to where it came from.

        Everything that stands in the form is sent along, as browsers do.
        """
        form = next(
            one for one in self.get(page).html.find_all("form", method="post") if _leads_to(one, url or page, page)
        )
        filled = {}
        for control in form.find_all(["input", "textarea", "select"]):
            if control.get("name") and control.get("type") not in ("submit", "checkbox", "radio"):
                filled[control["name"]] = _value(control)
        return self._ask("POST", url or page, urlencode({**filled, **fields}))

    def _ask(self, method: str, url: str, body: str | None = None) -> Page:
        parts = urlsplit(url)
        name = base64.b64encode(f"mira:{self.password}".encode()).decode()
        headers = {
            "Authorization": f"Basic {name}",
            "Cookie": "; ".join(f"{one.key}={one.value}" for one in self.cookies.values()),
            "Origin": f"{parts.scheme}://{parts.netloc}",
            "Sec-Fetch-Site": "same-origin",
            "X-Forwarded-Proto": "https",
        }
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPConnection(parts.netloc, timeout=30)
        try:
            connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), body, headers)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        for line in answer.headers.get_all("Set-Cookie", []):
            self.cookies.load(line)
        return Page(answer.status, answer.headers, BeautifulSoup(data, "html.parser"))


def _leads_to(form: object, url: str, page: str) -> bool:
    return (form.get("action") or urlsplit(page).path) == urlsplit(url).path  # type: ignore[attr-defined]


def _value(control: object) -> str:
    if control.name == "textarea":  # type: ignore[attr-defined]
        return control.get_text().removeprefix("\n")  # type: ignore[attr-defined]
    if control.name == "select":  # type: ignore[attr-defined]
        options = control.find_all("option")  # type: ignore[attr-defined]
        chosen = next((one for one in options if one.has_attr("selected")), options[0] if options else None)
        return (chosen.get("value") if chosen.has_attr("value") else chosen.get_text()) if chosen else ""
    return control.get("value", "")  # type: ignore[attr-defined]
