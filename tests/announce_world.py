"""Two processes that know of a pool with a bot, and what tests of announcements do with them."""

from __future__ import annotations

from pathlib import Path

from server import announcements
from server.access import CLIENT, Principal
from server.announce_body import Announce, NewSchedule
from server.announced import Said
from server.announcement_sweep import PERIOD_S
from server.policy.model import Announcement
from server.records.announcement import PoolAnnouncements
from server.service import Service
from server.sweep_schedule import Beat, SweepSchedule
from server.sweeps import SWEEPS
from tests import life_world
from tests.life_world import POOL, LifeWorld, Machine

MIRA, NOAH = Principal("user:mira", CLIENT), Principal("user:noah", CLIENT)


def opened(folder: Path) -> LifeWorld:
    """Two processes that know of a pool with a bot."""
    made = LifeWorld(folder)
    Machine(made, "bot0").handshake()
    made.fresh()
    return made


def announce(
    world: LifeWorld, service: Service | None = None, who: Principal = MIRA, **fields: object
) -> tuple[Said, bool]:
    """Three tasks that want src are due in eighty seconds."""
    body = {"pool": POOL, "family": "src", "count": 3, "in_s": 80.0, **fields}
    return announcements.announce(service or world.p1, who, Announce.model_validate(body))


def live(world: LifeWorld, service: Service) -> list[tuple[str, float]]:
    """The same in short: source and what is left."""
    return [(one.source, one.count) for one in seen(world, service)]


def seen(world: LifeWorld, service: Service) -> tuple[Announcement, ...]:
    """What the policy of a process is told."""
    return service.view.pool_view(POOL).announcements


def task(world: LifeWorld, service: Service, family: str = "src", **changes: object) -> str:
    """A task comes that wants a family."""
    tags = [f"warm:{family}", *changes.pop("tags", [])]  # type: ignore[misc]
    return world.new_task(service, tags=tags, **changes)


def exchange(world: LifeWorld) -> None:
    """Half a minute passes, and pages go round."""
    world.clock.advance(30.0)
    life_world.exchange(world)
    world.fresh()


def sweep(world: LifeWorld, *services: Service, seconds: float = 0.0) -> None:
    """The sweep of announcements, at the one of these processes that has it; again and again for so long."""
    passed = 0.0
    while True:
        for service in services or (world.p1,):
            service.view.refresh(force=True)
            schedules = world.__dict__.setdefault("schedules", {})
            only = [one for one in SWEEPS if one[0] == "announcements"]
            schedules.setdefault(service.process_id, SweepSchedule(service, only)).run_due()
        if passed >= seconds:
            return
        world.clock.advance(PERIOD_S)
        passed += PERIOD_S


def record(world: LifeWorld) -> PoolAnnouncements:
    return world.record(PoolAnnouncements, POOL)


def nightly(**fields: object) -> NewSchedule:
    """The clock of the tests begins on a Friday at 08:00 UTC."""
    body = {"pool": POOL, "family": "src", "name": "nightly", "count": 5, "at": ["08:30"], **fields}
    return NewSchedule.model_validate(body)


def learn(world: LifeWorld, service: Service | None = None) -> None:
    """What the sweep does, at whichever process has it."""
    service, now_s = service or world.p1, world.clock.now_s()
    service.view.refresh(force=True)
    service.announced.learning.sweep(Beat(now_s, world.__dict__.get("swept_s", 0.0), now_s - 86_400.0))
    world.__dict__["swept_s"] = now_s
