"""Parts of a page with a mark for each, so that a page can say what it shows and get only what is new."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from handlers.ui.visit import Visit

_PASSING = re.compile(r"(<time [^>]*>)[^<]*</time>")
"""Relative times: the page's own script moves them on, so they are no change."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Rendered parts by name, in the order in which `revision` marks them."""

    html: Mapping[str, Markup]
    marks: tuple[str, ...]

    @property
    def revision(self) -> str:
        """What a page sends back to say that it shows these."""
        return ".".join(self.marks)

    def news(self, since: str) -> dict[str, str]:
        """The parts that differ from what a page of that revision shows; all, when it says nothing of use."""
        known = since.split(".")
        if len(known) != len(self.marks):
            return dict(self.html)
        pairs = zip(self.html.items(), self.marks, known, strict=True)
        return {name: html for (name, html), mark, old in pairs if mark != old}


def rendered(visit: Visit, templates: Mapping[str, str], model: Mapping[str, Any]) -> Parts:
    """Renders templates, by name, with one model."""
    html = {name: Markup(visit.fragment(template, model)) for name, template in templates.items()}
    marks = (hashlib.sha256(_PASSING.sub(r"\1", text).encode()).hexdigest()[:10] for text in html.values())
    return Parts(html, tuple(marks))
