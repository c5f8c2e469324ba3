"""Who calls and what they may do. Providers (who) live in `handlers/auth.py`; routes name the permission they need."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from server import errors


class Permission(StrEnum):
    """What a route can demand, by the names of Swarming's realm permissions where there is one."""

    SERVER_PEEK = "servers.peek"
    BOT_CONNECT = "bots.connect"
    POOL_CREATE_TASK = "pools.createTask"
    POOL_HIGH_PRIORITY = "pools.createHighPriorityTask"
    POOL_LIST_TASKS = "pools.listTasks"
    POOL_LIST_BOTS = "pools.listBots"
    TASK_GET = "tasks.get"
    TASK_CANCEL = "tasks.cancel"
    SPEC_VIEW = "specs.view"
    SPEC_EDIT = "specs.edit"
    CONFIG_VIEW = "config.view"
    CONFIG_EDIT = "config.edit"
    SWITCH = "prewarm.switch"
    INTERNAL = "internal"


CLIENT = frozenset(
    {
        Permission.SERVER_PEEK,
        Permission.POOL_CREATE_TASK,
        Permission.POOL_LIST_TASKS,
        Permission.POOL_LIST_BOTS,
        Permission.TASK_GET,
        Permission.TASK_CANCEL,
        Permission.SPEC_VIEW,
        Permission.CONFIG_VIEW,
    }
)
OPERATOR = CLIENT | {Permission.SPEC_EDIT, Permission.SWITCH, Permission.POOL_HIGH_PRIORITY}
ADMIN = OPERATOR | {Permission.CONFIG_EDIT}
BOT = frozenset({Permission.BOT_CONNECT})
INTERNAL = frozenset({Permission.INTERNAL})


ALL_POOLS = "*"
"""Scope of what holds for every pool: callers that are confined to some pools have no permission for it."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller: `identity` is `kind:name` (user:mira@x, bot:whitelisted-ip, anonymous:anonymous)."""

    identity: str
    permissions: frozenset[Permission]
    pools: frozenset[str] | None = None
    """Pools that it is confined to; None means all."""

    def may(self, permission: Permission, pool: str = "") -> bool:
        """Whether this caller has the permission, in `pool` where one is named."""
        return permission in self.permissions and (self.pools is None or not pool or pool in self.pools)

    def require(self, permission: Permission, pool: str = "") -> None:
        """Raises Unauthenticated for nobody, PermissionDenied for somebody who may not."""
        if self.may(permission, pool):
            return
        where = f" in pool {pool!r}" if pool else ""
        if self.identity.startswith("anonymous:"):
            raise errors.Unauthenticated(f"{permission.value}{where} needs credentials")
        raise errors.PermissionDenied(f"{self.identity} has no permission {permission.value}{where}")


ANONYMOUS = Principal("anonymous:anonymous", frozenset())
LOCAL_USER = Principal("user:local", ADMIN)
"""The single user of a laptop: whoever reaches the loopback port."""
