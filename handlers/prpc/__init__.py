"""The client API: Swarming v2 over pRPC. `transport` has the protocol, a module for each service its methods."""

from __future__ import annotations

from flask import Blueprint

from handlers.prpc import bots, swarming, tasks, transport
from server.proto import swarming_pb2
from server.service import Service


def make_blueprint(service: Service, authenticate: transport.Authenticate) -> Blueprint:
    """The routes below /prpc/ of one process."""
    methods = {**tasks.methods(service), **bots.methods(service), **swarming.methods(service)}
    services = swarming_pb2.DESCRIPTOR.services_by_name.values()
    return transport.blueprint(methods, services, authenticate=authenticate)
