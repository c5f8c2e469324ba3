"""Style sheet, scripts and font under addresses that change with their content, so that browsers may keep them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import flask

YEAR_S = 365 * 24 * 3600


def init_app(app: flask.Flask) -> None:
    """Templates write `asset('ui.js')`."""
    folder = Path(app.static_folder or "")
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    version = digest.hexdigest()[:12]
    app.extensions["pilotlight_assets"] = version
    app.jinja_env.globals["asset"] = lambda name: f"/assets/{version}/{name}"


def serve(digest: str, name: str) -> flask.Response:
    """A file of `static/`; for good when the address is today's, else until asked again."""
    current = digest == flask.current_app.extensions["pilotlight_assets"]
    response = flask.send_from_directory(flask.current_app.static_folder or "", name, max_age=YEAR_S if current else 0)
    if current:
        response.cache_control.public, response.cache_control.immutable = True, True
    return response
