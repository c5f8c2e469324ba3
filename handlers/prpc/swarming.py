"""swarming.v2.Swarming: the server itself."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from handlers.prpc.transport import Call, Method, Methods
from server import bot_code
from server.access import Permission
from server.proto import swarming_pb2 as api
from server.service import Service
from server.version import VERSION

NAME = "swarming.v2.Swarming"


def methods(service: Service) -> Methods:
    """What this service serves by now."""

    def get_details(call: Call, request: Empty) -> api.ServerDetails:
        """Versions of the server and of the bot that it hands out."""
        return api.ServerDetails(server_version=VERSION, bot_version=bot_code.version())

    return {(NAME, "GetDetails"): Method(Empty, api.ServerDetails, get_details, Permission.SERVER_PEEK)}
