"""Specs, config and stop switch as an API: JSON or YAML in, JSON out; a change names the revision that it is based on.

The answer to GET carries the revision as ETag; PUT sends it back in If-Match (428 without, 412 when somebody else saved
meanwhile, with what they saved). With `Accept: application/yaml` GET answers with the file alone, as PUT takes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from flask import Blueprint, Request, Response, request
from pydantic import StrictBool
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from handlers import errors as error_answers
from server import config, documents, errors, latest, pool_watch, prewarm_spec, switch
from server.access import ALL_POOLS, Permission, Principal
from server.documents import Document, Whole
from server.fleet_view import refresh_quietly

if TYPE_CHECKING:
    from server.loaded_spec import LoadedSpec
    from server.service import Service

Form = TypeVar("Form", bound=Document)

MOST_LISTED = 100
NOTE_LENGTH = config.NOTE_LENGTH


class Why(Document):
    """Body of pause, resume, retire, and of starting a pool."""

    why: str = ""


class RollBack(Document):
    """Body of rollback: the revision to go back to."""

    revision: Whole
    why: str = ""


class Switch(Document):
    """Body of POST /switch."""

    stopped: StrictBool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let in."""

    service: Service
    principal: Principal
    asked: Request

    def body(self) -> dict[str, Any]:
        """The mapping in the body, JSON or YAML by its Content-Type.

        A type must be named: a page of another site can send a body without one unasked.
        """
        self.asked.max_content_length = documents.MAX_BYTES
        try:
            data = self.asked.get_data(cache=False)
        except RequestEntityTooLarge as error:
            raise errors.TooLarge(f"the body may have at most {documents.MAX_BYTES // 1024} KiB") from error
        except ClientDisconnected as error:
            raise errors.InvalidArgument("the body ended before its announced length") from error
        return documents.load(data, self.asked.headers.get("Content-Type", ""))

    def form(self, model: type[Form]) -> Form:
        """The body as one of the small forms above."""
        return documents.checked(model, self.body())

    def base_revision(self) -> int:
        """The revision that was edited, from If-Match."""
        given = self.asked.headers.get("If-Match", "").strip()
        if not given:
            text = 'send the ETag of the revision that you edited as If-Match, such as "12"; nothing was changed'
            raise errors.PreconditionRequired(text)
        found = re.fullmatch(r'(?:W/)?"([0-9]{1,9})"|([0-9]{1,9})', given)
        if not found:
            raise errors.InvalidArgument(f"If-Match {given[:60]!r} is not the ETag of a revision", field="If-Match")
        return int(found[1] or found[2])

    def page(self) -> tuple[int, int | None]:
        """How many revisions are asked for, and below which one."""
        limit, before = self._number("limit", 20), self._number("before", None)
        if not 1 <= (limit or 0) <= MOST_LISTED:
            raise errors.InvalidArgument(f"limit must be 1 to {MOST_LISTED}", field="limit")
        return limit or 0, before

    def _number(self, name: str, default: int | None) -> int | None:
        text = self.asked.args.get(name)
        if text is None:
            return default
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise errors.InvalidArgument(f"{name} must be a whole number", field=name)
        return int(text)


# ---- specs


def list_specs(call: Call) -> Response:
    """All specs that the caller may see."""
    refresh_quietly(call.service.view, eager=True)
    found = prewarm_spec.list_specs(call.service, call.principal)
    return json_answer({"specs": [_shown(call, spec) for spec in found]})


def create_spec(call: Call) -> Response:
    """Registers a family."""
    spec = prewarm_spec.create(call.service, call.principal, call.body())
    response = _spec(call, spec, 201)
    response.headers["Location"] = f"/api/v1/specs/{spec.family}"
    return response


def get_spec(call: Call, family: str) -> Response:
    """One spec, its current revision as ETag."""
    spec = prewarm_spec.get_spec(call.service, call.principal, family)
    if _wants_yaml(call):
        return _yaml(spec.body.model_dump(mode="json", exclude_defaults=True), spec.revision)
    refresh_quietly(call.service.view, eager=True)
    return _spec(call, spec)


def put_spec(call: Call, family: str) -> Response:
    """Saves a new revision."""
    base_revision, body = call.base_revision(), call.body()
    return _spec(call, prewarm_spec.edit(call.service, call.principal, family, body, base_revision))


def pause_spec(call: Call, family: str) -> Response:
    """No more prewarming by this spec until it is resumed."""
    return _spec(call, prewarm_spec.pause(call.service, call.principal, family, call.form(Why).why))


def resume_spec(call: Call, family: str) -> Response:
    """Lets it go on."""
    return _spec(call, prewarm_spec.resume(call.service, call.principal, family, call.form(Why).why))


def retire_spec(call: Call, family: str) -> Response:
    """Ends it."""
    return _spec(call, prewarm_spec.retire(call.service, call.principal, family, call.form(Why).why))


def roll_back_spec(call: Call, family: str) -> Response:
    """Makes an earlier revision the current one, as a new revision."""
    form = call.form(RollBack)
    return _spec(call, prewarm_spec.roll_back(call.service, call.principal, family, form.revision, form.why))


def list_spec_revisions(call: Call, family: str) -> Response:
    """Revisions, newest first; `?limit=` and `?before=`."""
    limit, before = call.page()
    found = prewarm_spec.revisions(call.service, call.principal, family, limit, before)
    return json_answer({"revisions": [asdict(saved) for saved in found]})


# ---- config and switch


def get_config(call: Call) -> Response:
    """The newest config, its revision as ETag."""
    revision = latest.read(call.service).config_revision
    saved = config.get_revision(call.service, revision) if revision else config.SavedConfig(0, {}, "", "", 0.0)
    return _config(call, saved)


def put_config(call: Call) -> Response:
    """Saves a new revision; `?note=` says why."""
    base_revision, body = call.base_revision(), call.body()
    note = call.asked.args.get("note", "")
    return _config(call, config.save_config(call.service, call.principal, body, base_revision, note))


def list_config_revisions(call: Call) -> Response:
    """Revisions, newest first; `?limit=` and `?before=`."""
    limit, before = call.page()
    found = config.list_revisions(call.service, limit, before)
    shown = [asdict(saved) | {"body": config.visible(saved.body, call.principal)} for saved in found]
    return json_answer({"revisions": shown})


def get_switch(call: Call) -> Response:
    """Whether prewarming is stopped, since when, by whom, why."""
    return _switch(latest.read(call.service))


def set_switch(call: Call) -> Response:
    """Stops all prewarming, or lets it begin again."""
    form = call.form(Switch)
    return _switch(switch.set_switch(call.service, call.principal, form.stopped, form.why))


def start_pool(call: Call, pool: str) -> Response:
    """Lets a pool that went to shadow mode by itself hand out again."""
    started = pool_watch.start_again(call.service, call.principal, pool, call.form(Why).why)
    return json_answer({"pool": pool, "started": started})


Routes = tuple[tuple[str, str, Permission, str, Callable[..., Response]], ...]

ROUTES: Routes = (
    ("GET", "/specs", Permission.SPEC_VIEW, "", list_specs),
    ("POST", "/specs", Permission.SPEC_EDIT, "", create_spec),
    ("GET", "/specs/<family>", Permission.SPEC_VIEW, "", get_spec),
    ("PUT", "/specs/<family>", Permission.SPEC_EDIT, "", put_spec),
    ("POST", "/specs/<family>/pause", Permission.SPEC_EDIT, "", pause_spec),
    ("POST", "/specs/<family>/resume", Permission.SPEC_EDIT, "", resume_spec),
    ("POST", "/specs/<family>/retire", Permission.SPEC_EDIT, "", retire_spec),
    ("POST", "/specs/<family>/rollback", Permission.SPEC_EDIT, "", roll_back_spec),
    ("GET", "/specs/<family>/revisions", Permission.SPEC_VIEW, "", list_spec_revisions),
    ("GET", "/config", Permission.CONFIG_VIEW, "", get_config),
    ("PUT", "/config", Permission.CONFIG_EDIT, ALL_POOLS, put_config),
    ("GET", "/config/revisions", Permission.CONFIG_VIEW, "", list_config_revisions),
    ("GET", "/switch", Permission.SPEC_VIEW, "", get_switch),
    ("POST", "/switch", Permission.SWITCH, ALL_POOLS, set_switch),
    ("POST", "/pools/<pool>/start", Permission.SPEC_EDIT, "", start_pool),
)
"""Method, path, the permission that it takes, its scope, who answers; without scope the use case asks with the pool."""


def make_blueprint(
    service: Service,
    authenticate: Callable[[Request], Principal],
    name: str = "prewarm_api",
    routes: Routes = ROUTES,
) -> Blueprint:
    """The API below /api/v1, or another one of such routes; `authenticate` says who calls."""
    api = Blueprint(name, __name__, url_prefix="/api/v1")

    def serve(permission: Permission, scope: str, answer: Callable[..., Response], **parts: str) -> Response:
        principal = authenticate(request)
        principal.require(permission, scope)
        return answer(Call(service, principal, request), **parts)

    for method, path, permission, scope, answer in routes:
        view = partial(serve, permission, scope, answer)
        api.add_url_rule(path, endpoint=answer.__name__, view_func=view, methods=[method])
    api.register_error_handler(errors.FieldErrors, _field_errors)
    api.register_error_handler(errors.EditConflict, _conflict)
    return api


def _shown(call: Call, spec: LoadedSpec) -> dict[str, Any]:
    names = ("family", "pool", "state", "state_why", "revision", "generation", "generations", "colour", "letters")
    shown = {name: getattr(spec, name) for name in names}
    shown |= {"breaker": prewarm_spec.breaker_of(call.service, spec), "changed_s": spec.changed_s}
    return {**shown, "body": spec.body.model_dump(mode="json")}


def _spec(call: Call, spec: LoadedSpec, status: int = 200) -> Response:
    return json_answer(_shown(call, spec), status, revision=spec.revision)


def _config(call: Call, saved: config.SavedConfig) -> Response:
    body = config.visible(config.parse(saved.body, lenient=True).body(), call.principal)
    if _wants_yaml(call):
        return _yaml(body, saved.revision)
    return json_answer({**asdict(saved), "body": body}, revision=saved.revision)


def _switch(head: latest.Head) -> Response:
    return json_answer(
        {
            "stopped": head.stopped,
            "by": head.stopped_by,
            "since_s": head.stopped_since_s,
            "why": head.stopped_why,
            "epoch": head.switch_epoch,
        }
    )


def _wants_yaml(call: Call) -> bool:
    offered = ("application/json", *documents.YAML_TYPES)
    return call.asked.accept_mimetypes.best_match(offered, "application/json") != "application/json"


def json_answer(value: Any, status: int = 200, revision: int | None = None) -> Response:
    """The value as JSON that nobody keeps; a revision as ETag."""
    return _answer(orjson.dumps(value), "application/json", status, revision)


def _yaml(value: Mapping[str, Any], revision: int) -> Response:
    return _answer(documents.dump_yaml(value).encode(), "application/yaml", 200, revision)


def _answer(data: bytes, kind: str, status: int, revision: int | None) -> Response:
    response = Response(data, status, content_type=f"{kind}; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    if revision is not None:
        response.headers["ETag"] = f'"{revision}"'
    return response


def _field_errors(error: errors.FieldErrors) -> Response:
    """The usual answer, and every field with what is wrong with it."""
    return _with(error_answers.answer(error), errors=error.errors)


def _conflict(error: errors.EditConflict) -> Response:
    """The usual answer, and what the others saved."""
    answer = _with(error_answers.answer(error), revision=error.revision, author=error.author, theirs=error.theirs)
    answer.headers["ETag"] = f'"{error.revision}"'
    return answer


def _with(answer: Response, **more: Any) -> Response:
    body = orjson.loads(answer.get_data())
    answer.set_data(orjson.dumps({"error": {**body["error"], **more}}))
    return answer
