"""Pilotlight's server: the application factory, the WSGI object `app`, and `python main.py serve`."""

from __future__ import annotations

import importlib
import os
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import flask
import structlog

from handlers import (
    announce_api,
    auth,
    bodies,
    bot_api,
    fleet_api,
    front_end,
    guards,
    internal,
    metrics,
    prewarm_api,
    prpc,
)
from handlers import errors as error_answers
from server import errors, log, simulation
from server.service import Service
from server.settings import Settings, from_environment

logger = structlog.get_logger(__name__)

FILE_PREFIX = "file:"


def create_app(service: Service) -> flask.Flask:
    """The application of one process.

    Raises:
        InvalidArgument: the file of client tokens is wrong.
    """
    app = flask.Flask("pilotlight", root_path=str(Path(__file__).parent), static_folder="static")
    authenticator = auth.Authenticator.from_settings(service.settings)
    if service.settings.app_engine:
        front_end.init_app(app)
    metrics.init_app(app, service)
    guards.init_app(app, service.settings, trusts_everybody=authenticator.trusts_everybody)
    bodies.init_app(app, authenticator.knows)
    error_answers.init_app(app)
    app.register_blueprint(internal.make_blueprint(service, authenticator.internal))
    app.register_blueprint(metrics.make_blueprint(service, authenticator.client))
    app.register_blueprint(bot_api.make_blueprint(service, authenticator.bot))
    app.register_blueprint(prpc.make_blueprint(service, authenticator.client))
    app.register_blueprint(prewarm_api.make_blueprint(service, authenticator.client))
    app.register_blueprint(announce_api.make_blueprint(service, authenticator.client))
    app.register_blueprint(fleet_api.make_blueprint(service, authenticator.client))
    _register_pages(app, service, authenticator.client)
    if service.settings.carrier != "thread":
        _turn_pages_by_polls(app, service)
    return app


def _register_pages(app: flask.Flask, service: Service, authenticate: auth.Authenticate) -> None:
    """The pages for people; a tree without them, or with a part of them, serves the APIs alone."""
    try:
        pages = importlib.import_module("handlers.ui")
        app.register_blueprint(pages.make_blueprint(service, authenticate))
    except (ImportError, AttributeError) as error:
        logger.warning("no_pages", reason=str(error))


def _turn_pages_by_polls(app: flask.Flask, service: Service) -> None:
    """Where no thread is promised, the requests themselves write and read the process pages when it is time."""

    @app.after_request
    def turn(response: flask.Response) -> flask.Response:
        try:
            service.pages.turn()
        except errors.PilotlightError as error:
            logger.warning("pages_wait", error=error.text)
        return response


def load_settings(environ: Mapping[str, str], **given: Any) -> Settings:
    """Settings from the environment; App Engine's PORT counts, and options that were given count more.

    A value may name other variables (`datastore:$GOOGLE_CLOUD_PROJECT`). A secret may be given as `file:PATH`: what the
    file holds, without white space around it.

    Raises:
        InvalidArgument: a value is wrong, or a file of a secret cannot be read.
    """
    from pydantic import ValidationError

    try:
        known = {"PILOTLIGHT_PORT": environ.get("PORT", "8080"), **environ}
        settings = from_environment({name: _expanded(value, environ) for name, value in known.items()})
        chosen = {name: value for name, value in given.items() if value is not None}
        settings = Settings.model_validate({**settings.model_dump(), **chosen})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise errors.InvalidArgument(f"settings: {wrong}") from error
    secrets = {name: _secret(name, getattr(settings, name)) for name in ("bot_secret", "internal_token")}
    return settings.model_copy(update=secrets)


def _expanded(value: str, environ: Mapping[str, str]) -> str:
    return string.Template(value).safe_substitute(environ)


def _secret(name: str, value: str) -> str:
    if not value.startswith(FILE_PREFIX):
        return value
    try:
        return Path(value.removeprefix(FILE_PREFIX)).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise errors.InvalidArgument(f"{name}: {error}") from error


def build_app(settings: Settings) -> flask.Flask:
    """A started process: its service built, its carrier running.

    Raises:
        FailedPrecondition: it would serve strangers without credentials.
        InvalidArgument: the settings, or the config file that they name, are wrong.
        StoreCorrupt, StoreUnavailable: the store cannot be used.
    """
    from server import assembly

    auth.check_listening(settings)
    service = assembly.build(settings)
    app = create_app(service)
    service.carrier.start()
    app.extensions["pilotlight"] = service
    return app


def _rehearse(settings: Settings) -> None:
    """What can go wrong at the start goes wrong here, once and with a clear word, not in every worker.

    Only with the embedded store: connections to others must not be open when the workers are forked.
    """
    from server import assembly, process_guard

    auth.Authenticator.from_settings(settings)
    if process_guard.folder_of(settings.store_url) is not None:
        service = assembly.build(settings)
        create_app(service)
        service.store.close()


def _worker(settings: Settings) -> flask.Flask:
    from server import process_guard, serving

    log.configure(json=True if settings.app_engine else None)
    lock = process_guard.join(settings)
    app = build_app(settings)
    app.extensions["pilotlight_lock"] = lock
    serving.end_cleanly(app.extensions["pilotlight"])
    return app


def __getattr__(name: str) -> Any:
    """`main:app`, for WSGI servers other than `serve`; made when it is asked for."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    settings = load_settings(os.environ)
    log.configure(json=True if settings.app_engine else None)
    globals()["app"] = build_app(settings)
    return globals()["app"]


@click.group(help=__doc__)
def cli() -> None:
    pass


@cli.command()
@click.option("--host", help="Address to listen on; anything but this machine's own needs tokens and a bot secret.")
@click.option("--port", type=int, help="Port to listen on.")
@click.option("--data", help="Folder of the embedded store.")
@click.option("--workers", type=int, help="Processes.")
@click.option("--threads", type=int, help="Threads of each; a held poll takes one.")
def serve(host: str | None, port: int | None, data: str | None, workers: int | None, threads: int | None) -> None:
    """Serves until it is stopped. Settings come from PILOTLIGHT_* variables; options count more."""
    from server import serving

    store_url = f"embedded:{data}" if data else None
    try:
        settings = load_settings(
            os.environ, host=host, port=port, store_url=store_url, workers=workers, threads=threads
        )
        log.configure(json=True if settings.app_engine else None)
        auth.check_listening(settings)
        serving.serve(settings, _rehearse, _worker)
    except errors.PilotlightError as error:
        raise click.ClickException(error.text) from error


cli.add_command(simulation.simulate)

if __name__ == "__main__":
    cli()
