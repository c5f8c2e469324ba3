"""swarming.v2.Bots: the machines that run tasks."""

from __future__ import annotations

from handlers.prpc import convert
from handlers.prpc.transport import Call, Method, Methods
from server import bot_list
from server.access import Permission
from server.errors import InvalidArgument
from server.proto import swarming_pb2 as api
from server.service import Service

NAME = "swarming.v2.Bots"
TRUTH = {api.NULL: None, api.FALSE: False, api.TRUE: True}


def methods(service: Service) -> Methods:
    """What this service serves by now."""
    calls = Bots(service)
    table = {
        "GetBot": Method(api.BotRequest, api.BotInfo, calls.get_bot, Permission.POOL_LIST_BOTS),
        "ListBots": Method(api.BotsRequest, api.BotInfoListResponse, calls.list_bots, Permission.POOL_LIST_BOTS),
    }
    return {(NAME, name): method for name, method in table.items()}


class Bots:
    """The methods, bound to one process's service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def get_bot(self, call: Call, request: api.BotRequest) -> api.BotInfo:
        """One bot."""
        return convert.bot_info(bot_list.get_bot(self._service, call.principal, request.bot_id))

    def list_bots(self, call: Call, request: api.BotsRequest) -> api.BotInfoListResponse:
        """Bots in the order of their ids."""
        query = bot_list.BotQuery(
            limit=request.limit,
            cursor=request.cursor,
            dimensions=tuple((pair.key, pair.value) for pair in request.dimensions),
            quarantined=_truth(request, "quarantined"),
            in_maintenance=_truth(request, "in_maintenance"),
            is_dead=_truth(request, "is_dead"),
            is_busy=_truth(request, "is_busy"),
        )
        page = bot_list.list_bots(self._service, call.principal, query)
        return api.BotInfoListResponse(
            cursor=page.cursor,
            items=[convert.bot_info(bot) for bot in page.items],
            now=convert.timestamp(self._service.clock.now_s()),
            death_timeout=round(page.death_timeout_s),
        )


def _truth(request: api.BotsRequest, name: str) -> bool | None:
    value = getattr(request, name)
    if value not in TRUTH:
        raise InvalidArgument(f"{name}: {value} is none of NULL, FALSE, TRUE", field=name)
    return TRUTH[value]
