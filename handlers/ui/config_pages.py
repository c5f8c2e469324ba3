"""The config: what holds in each pool, changed field by field, kept as revisions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import flask
from werkzeug.wrappers import Response

from handlers.ui import config_form, diffs, fleet_model, form_fields
from handlers.ui.chrome import refresh
from handlers.ui.config_form import ConfigForm, Scope
from handlers.ui.visit import Route, Visit
from server import config, errors, latest
from server.access import ALL_POOLS, Permission
from server.config import SavedConfig
from server.pool_config import pool_name

MOST_REVISIONS = 50


def overview(visit: Visit) -> Response:
    """All pools with the thresholds that matter most, and the history."""
    refresh(visit.service)
    service = visit.service
    service.config.refresh(service)
    current = service.config.current
    names = sorted({*current.pools, *service.view.pools()})
    pools = [
        {"name": name, "config": current.pool(name), "changes": len(current.overrides.get(name, {}))}
        for name in names
        if visit.principal.may(Permission.CONFIG_VIEW, name)
    ]
    bots = {pool["pool"]: pool["bots"] for pool in fleet_model.fleet(visit)["pools"]}
    return visit.render(
        "config.html",
        pools=pools,
        bots=bots,
        defaults=current.defaults,
        revision=service.config.revision,
        revisions=config.list_revisions(service, MOST_REVISIONS),
        may_edit=_may_edit(visit),
    )


def defaults(visit: Visit) -> Response:
    """The form of what holds for every pool."""
    return _edit(visit, Scope())


def save_defaults(visit: Visit) -> Response:
    """Saves it as a new revision."""
    return _save(visit, Scope())


def pool(visit: Visit, name: str) -> Response:
    """The form of what holds in one pool."""
    visit.principal.require(Permission.CONFIG_VIEW, name)
    return _edit(visit, _scope(name))


def save_pool(visit: Visit, name: str) -> Response:
    """Saves it as a new revision."""
    return _save(visit, _scope(name))


def open_pool(visit: Visit) -> Response:
    """To the form of the pool that was typed; it need not have bots yet."""
    return flask.redirect(_scope(visit.text("name").strip()).address, 302)


def revision(visit: Visit, number: str) -> Response:
    """One revision and what it changed."""
    saved = config.get_revision(visit.service, _whole(number, "revision"))
    before = next(iter(config.list_revisions(visit.service, 1, saved.revision)), None)
    newest = latest.read(visit.service).config_revision
    seen = partial(config.visible, principal=visit.principal)
    return visit.render(
        "revision.html",
        title="config",
        address="/config",
        saved=saved,
        diff=diffs.of(seen(before.body if before else {}), seen(saved.body)),
        restore="/config/restore" if saved.revision < newest else "",
        may_edit=_may_edit(visit),
        base=newest,
    )


def restore(visit: Visit) -> Response:
    """Saves an earlier revision again, as a new one."""
    wanted = config.get_revision(visit.service, _whole(visit.text("revision"), "revision"))
    body = config.parse(wanted.body, lenient=True).body()
    note = f"as in revision {wanted.revision}"
    base = _whole(visit.text("base_revision"), "base_revision")
    saved = config.save_config(visit.service, visit.principal, body, base, note)
    flask.flash(f"Revision {wanted.revision} holds again, as revision {saved.revision}.")
    return flask.redirect("/config", 303)


# ---- form


def _edit(visit: Visit, scope: Scope) -> Response:
    saved = _newest(visit)
    texts = scope.texts_of(saved.body)
    typed = config_form.prefilled(texts, visit.asked.args.getlist("set"))
    form = ConfigForm(typed, texts, inherited=scope.inherited(saved.body))
    return _form(visit, scope, form, saved)


def _save(visit: Visit, scope: Scope) -> Response:
    base = config.get_revision(visit.service, _whole(visit.text("base_revision"), "base_revision"))
    before, note = scope.texts_of(base.body), visit.text("note").strip()
    texts = form_fields.picked(form_fields.posted(visit.asked.form, config_form.DOCS), visit.asked.form, before)
    try:
        body = scope.into(base.body, texts)
        saved = config.save_config(visit.service, visit.principal, body, base.revision, note)
    except errors.FieldErrors as error:
        form = ConfigForm(
            texts, before, inherited=scope.inherited(base.body), wrong=scope.own_errors(error.errors), note=note
        )
        return _form(visit, scope, form, base, 400)
    except errors.EditConflict as error:
        newest = config.get_revision(visit.service, error.revision)
        if (newest.body, newest.author, newest.revision) != (
            config.parse(body).body(),
            visit.principal.identity,
            base.revision + 1,
        ):
            return _conflict(visit, scope, before, texts, note, error)
        saved = newest  # this very edit: a button pressed twice
    flask.flash(f"Saved as revision {saved.revision}. All servers know within about two seconds.")
    return flask.redirect(scope.address, 303)


def _conflict(
    visit: Visit,
    scope: Scope,
    before: Mapping[str, str],
    mine: Mapping[str, str],
    note: str,
    error: errors.EditConflict,
) -> Response:
    newest = config.get_revision(visit.service, error.revision)
    theirs = scope.texts_of(newest.body)
    merged = form_fields.merge(before, mine, theirs)
    form = ConfigForm(
        merged.texts, theirs, scope.inherited(newest.body), both=merged.both, taken=merged.taken, note=note
    )
    return _form(visit, scope, form, newest, 409, error)


def _form(
    visit: Visit,
    scope: Scope,
    form: ConfigForm,
    base: SavedConfig,
    status: int = 200,
    conflict: errors.EditConflict | None = None,
) -> Response:
    refresh(visit.service)
    report: dict[str, Any] | None = None
    if scope.pool:
        report = next((one for one in fleet_model.fleet(visit)["pools"] if one["pool"] == scope.pool), None)
    return visit.render(
        "config_edit.html",
        status,
        scope=scope,
        form=form,
        base=base,
        conflict=conflict,
        report=report,
        may_edit=_may_edit(visit),
    )


# ---- parts


def _newest(visit: Visit) -> SavedConfig:
    number = latest.read(visit.service).config_revision
    if not number:
        return SavedConfig(0, config.Config().body(), "", "", 0.0)
    return config.get_revision(visit.service, number)


def _may_edit(visit: Visit) -> bool:
    return visit.principal.may(Permission.CONFIG_EDIT, ALL_POOLS)


def _scope(name: str) -> Scope:
    try:
        return Scope(pool_name(name))
    except ValueError as error:
        raise errors.NotFound(f"no pool can be called {name[:80]!r}: it {error}") from error


def _whole(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise errors.InvalidArgument(f"{name}: must be a whole number; nothing was changed", field=name)
    return int(text)


ROUTES = (
    Route("GET", "/config", Permission.CONFIG_VIEW, overview),
    Route("GET", "/config/defaults", Permission.CONFIG_VIEW, defaults),
    Route("POST", "/config/defaults", Permission.CONFIG_EDIT, save_defaults, ALL_POOLS),
    Route("GET", "/config/pools/<name>", Permission.CONFIG_VIEW, pool),
    Route("POST", "/config/pools/<name>", Permission.CONFIG_EDIT, save_pool, ALL_POOLS),
    Route("GET", "/config/pool", Permission.CONFIG_VIEW, open_pool),
    Route("GET", "/config/revisions/<number>", Permission.CONFIG_VIEW, revision),
    Route("POST", "/config/restore", Permission.CONFIG_EDIT, restore, ALL_POOLS),
)
