"""Prewarm specs: list, register, look at, edit as a new revision, pause, resume, retire, roll back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flask
from werkzeug.wrappers import Response

from handlers.ui import diffs, fleet_model, form_fields, recent_tasks
from handlers.ui.chrome import refresh
from handlers.ui.spec_form import DOCS, NOTE, SpecForm, body_of, said_in, texts_of, yaml_of
from handlers.ui.visit import Route, Visit
from server import errors, prewarm_spec, spec_body
from server.access import Permission
from server.loaded_spec import RETIRED, LoadedSpec
from server.task_results import ListQuery, list_tasks

MOST_RUNS = 20
MOST_REVISIONS = 50
EXAMPLE = """family: my-src
generation: r1
pool: local
makes:
  named_cache: my_src
task:
  command: [git, clone, https://example.com/my.git, src]
  caches:
    - name: my_src
      path: src
  execution_timeout_s: 600
cold_cost_s: 60
run_s: 60
"""


def specs(visit: Visit) -> Response:
    """All specs with what each has ready, cost and saved."""
    refresh(visit.service)
    report, ledger = fleet_model.fleet(visit), fleet_model.ledger(visit)
    rows = [_row(visit, spec, report, ledger) for spec in prewarm_spec.list_specs(visit.service, visit.principal)]
    totals = fleet_model.Totals.of(ledger)
    return visit.render("specs.html", rows=rows, totals=totals, may_edit=visit.principal.may(Permission.SPEC_EDIT))


def _row(visit: Visit, spec: LoadedSpec, report: Mapping[str, Any], ledger: list[dict[str, Any]]) -> dict[str, Any]:
    stock = {"warm": 0, "warming": 0, "in_use": 0, "stale": 0, "wanted": 0}
    for pool in report["pools"]:
        for entry in pool["families"]:
            if entry["family"] == spec.family:
                for name in stock:
                    stock[name] += entry[name]
    booked = next((row for row in ledger if row["family"] == spec.family), None)
    return {"spec": spec, "stock": stock, "ledger": booked, "breaker": prewarm_spec.breaker_of(visit.service, spec)}


# ---- registering and editing


def new(visit: Visit) -> Response:
    """An empty form."""
    pools = sorted(pool for pool in visit.service.view.pools() if visit.principal.may(Permission.SPEC_EDIT, pool))
    texts = {"pool": pools[0] if len(pools) == 1 else "", "generation": "r1"}
    return _form(visit, SpecForm(texts))


def create(visit: Visit) -> Response:
    """Registers a family."""
    texts, yaml = form_fields.posted(visit.asked.form, DOCS), visit.text("yaml")
    try:
        spec = prewarm_spec.create(visit.service, visit.principal, body_of(texts, visit.service.config.pool, yaml))
    except errors.FieldErrors as error:
        return _form(visit, SpecForm(texts, wrong=error.errors, yaml=yaml), status=400)
    except errors.AlreadyExists as error:
        return _form(visit, SpecForm(texts, wrong={"family": error.text}, yaml=yaml), status=409)
    mode = visit.service.config.thresholds(spec.pool).mode
    then = f"Idle bots of {spec.pool} are prewarmed when the gates allow."
    if mode != "live":
        then = f"{spec.pool} is in {mode} mode, so nothing is handed out: its config can change that."
    flask.flash(f"{spec.family} is registered. {then}")
    return flask.redirect(f"/specs/{spec.family}", 303)


def edit(visit: Visit, family: str) -> Response:
    """The form with the current revision."""
    spec = prewarm_spec.get_spec(visit.service, visit.principal, family)
    texts = texts_of(spec.body)
    return _form(visit, SpecForm(texts, saved=texts), spec=spec, base=spec.revision)


def save(visit: Visit, family: str) -> Response:
    """Saves a new revision; when somebody else did meanwhile, shows both."""
    spec = prewarm_spec.get_spec(visit.service, visit.principal, family)
    base, yaml = _number(visit, "base_revision"), visit.text("yaml")
    saved = _texts_of_revision(visit, family, base)
    texts = form_fields.picked(form_fields.posted(visit.asked.form, DOCS), visit.asked.form, saved)
    try:
        body = body_of(texts, visit.service.config.pool, yaml)
        done = prewarm_spec.edit(visit.service, visit.principal, family, body, base)
    except errors.FieldErrors as error:
        form = SpecForm(texts, saved=saved, wrong=error.errors, yaml=yaml)
        return _form(visit, form, 400, spec=spec, base=base)
    except errors.EditConflict as error:
        parsed = spec_body.parse(body, visit.service.config.pool)[0]
        mine = texts_of(parsed) if yaml.strip() else texts
        if not _is_sent_twice(visit, error, base, parsed):
            return _conflict(visit, spec, saved, mine, error)
        done = prewarm_spec.get_spec(visit.service, visit.principal, family)
    flask.flash(f"Saved as revision {done.revision}. All servers know within about two seconds.")
    return flask.redirect(f"/specs/{family}", 303)


def _is_sent_twice(visit: Visit, error: errors.EditConflict, base: int, body: spec_body.SpecBody) -> bool:
    """Whether the other edit is this very one: a button pressed twice."""
    is_next = error.revision == base + 1 and error.author == visit.principal.identity
    return is_next and spec_body.stored(error.theirs)[0] == body


def _conflict(
    visit: Visit, spec: LoadedSpec, saved: Mapping[str, str], mine: Mapping[str, str], error: errors.EditConflict
) -> Response:
    theirs = texts_of(spec_body.stored(error.theirs)[0])
    merged = form_fields.merge(saved, {**mine, NOTE: ""}, theirs)
    form = SpecForm({**merged.texts, NOTE: mine.get(NOTE, "")}, saved=theirs, both=merged.both, taken=merged.taken)
    return _form(visit, form, 409, spec=spec, base=error.revision, conflict=error)


def _form(
    visit: Visit,
    form: SpecForm,
    status: int = 200,
    *,
    spec: LoadedSpec | None = None,
    base: int = 0,
    conflict: errors.EditConflict | None = None,
) -> Response:
    pools = sorted(visit.service.view.pools())
    return visit.render(
        "spec_edit.html",
        status,
        form=form,
        spec=spec,
        base=base,
        conflict=conflict,
        pools=pools,
        as_yaml=conflict is None and (bool(form.yaml) or visit.text("as") == "yaml"),
        yaml=form.yaml or (yaml_of(spec.body) if spec else EXAMPLE),
    )


# ---- one spec


def spec_page(visit: Visit, family: str) -> Response:
    """One spec: state, stock, ledger, generations, revisions, runs, the file."""
    refresh(visit.service)
    spec = prewarm_spec.get_spec(visit.service, visit.principal, family)
    report, ledger = fleet_model.fleet(visit), fleet_model.ledger(visit)
    runs = list_tasks(visit.service, visit.principal, ListQuery(limit=MOST_RUNS, tags=(f"spec:{family}",))).items
    return visit.render(
        "spec.html",
        **_row(visit, spec, report, ledger),
        revisions=prewarm_spec.revisions(visit.service, visit.principal, family, MOST_REVISIONS),
        runs=[recent_tasks.row(result) for result in runs],
        yaml=yaml_of(spec.body),
        retired=spec.state == RETIRED,
        may_edit=visit.principal.may(Permission.SPEC_EDIT, spec.pool),
        mode=visit.service.config.thresholds(spec.pool).mode,
        holdout_share=visit.service.config.pool(spec.pool).holdout_share,
        max_cost=visit.service.config.pool(spec.pool).ledger_max_cost,
    )


def revision(visit: Visit, family: str, number: str) -> Response:
    """One revision and what it changed."""
    spec = prewarm_spec.get_spec(visit.service, visit.principal, family)
    wanted = _whole(number, "revision")
    found = prewarm_spec.revisions(visit.service, visit.principal, family, 2, wanted + 1)
    saved = {one.revision: one for one in found}
    if wanted not in saved:
        raise errors.NotFound(f"{family} has no revision {wanted}")
    before = said_in(saved[wanted - 1].body) if wanted - 1 in saved else {}
    return visit.render(
        "revision.html",
        title=family,
        address=f"/specs/{family}",
        saved=saved[wanted],
        diff=diffs.of(before, said_in(saved[wanted].body)),
        restore=f"/specs/{family}/rollback" if 0 < wanted < spec.revision and spec.state != RETIRED else "",
        may_edit=visit.principal.may(Permission.SPEC_EDIT, spec.pool),
        base=spec.revision,
    )


def pause(visit: Visit, family: str) -> Response:
    """No more prewarming by this spec until it is resumed."""
    prewarm_spec.pause(visit.service, visit.principal, family, visit.text("why"))
    return visit.back(f"/specs/{family}", f"{family} is paused. Bots that are warm stay so.")


def resume(visit: Visit, family: str) -> Response:
    """Lets it go on, and closes its breaker."""
    prewarm_spec.resume(visit.service, visit.principal, family, visit.text("why"))
    return visit.back(f"/specs/{family}", f"{family} is active.")


def retire(visit: Visit, family: str) -> Response:
    """Ends it; its history stays."""
    prewarm_spec.retire(visit.service, visit.principal, family, visit.text("why"))
    return visit.back(f"/specs/{family}", f"{family} is retired. Its history stays, and it can be resumed.")


def roll_back(visit: Visit, family: str) -> Response:
    """Makes an earlier revision the current one, as a new revision."""
    wanted = _number(visit, "revision")
    done = prewarm_spec.roll_back(visit.service, visit.principal, family, wanted, visit.text("why"))
    flask.flash(f"Revision {wanted} is current again, as revision {done.revision}, generation {done.generation}.")
    return flask.redirect(f"/specs/{family}", 303)


# ---- parts


def _texts_of_revision(visit: Visit, family: str, number: int) -> dict[str, str]:
    found = next(iter(prewarm_spec.revisions(visit.service, visit.principal, family, 1, number + 1)), None)
    if found is None or found.revision != number:
        raise errors.NotFound(f"{family} has no revision {number}, which the form says was edited; nothing was changed")
    return texts_of(spec_body.stored(found.body)[0])


def _number(visit: Visit, name: str) -> int:
    return _whole(visit.text(name), name)


def _whole(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise errors.InvalidArgument(f"{name}: must be a whole number; nothing was changed", field=name)
    return int(text)


ROUTES = (
    Route("GET", "/specs", Permission.SPEC_VIEW, specs),
    Route("GET", "/specs/new", Permission.SPEC_EDIT, new),
    Route("POST", "/specs/new", Permission.SPEC_EDIT, create),
    Route("GET", "/specs/<family>", Permission.SPEC_VIEW, spec_page),
    Route("GET", "/specs/<family>/edit", Permission.SPEC_EDIT, edit),
    Route("POST", "/specs/<family>/edit", Permission.SPEC_EDIT, save),
    Route("GET", "/specs/<family>/revisions/<number>", Permission.SPEC_VIEW, revision),
    Route("POST", "/specs/<family>/pause", Permission.SPEC_EDIT, pause),
    Route("POST", "/specs/<family>/resume", Permission.SPEC_EDIT, resume),
    Route("POST", "/specs/<family>/retire", Permission.SPEC_EDIT, retire),
    Route("POST", "/specs/<family>/rollback", Permission.SPEC_EDIT, roll_back),
)
"""`prewarm_spec` asks again with the pool of the spec."""
