"""What is done about announcements now and then, by one process at a time: learn, announce to oneself, settle."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from server import announcements
from server.announced import LEARNED, Said
from server.fleet_view import refresh_quietly
from server.policy.followers import Expected, Followers, Pair
from server.policy.learned import entries_of
from server.records import DAY_S, expiry, key_of, put_multi
from server.records.announcement import PoolFollowers

if TYPE_CHECKING:
    from server.service import Service
    from server.sweep_schedule import Beat

log = structlog.get_logger(__name__)

PERIOD_S = 30.0
MOST_WRITES = 4
"""Pools' records that one sweep writes at most, so that many pools cost no more than a few; the others come next."""
KEPT_EVERY_S = 300.0
"""What was learned is written down that often."""
LATE_S = 3.0
"""Arrivals are in the view at most so long after its last look."""
RETAIN_S = 28 * DAY_S


@dataclass(slots=True)
class _Pupil:
    """What one pool's arrivals taught this process: `learned_s` is the time of the last that it took in."""

    followers: Followers
    learned_s: float
    kept_s: float
    changed: bool = False


class Learning:
    """What follows what in each pool, as the process that sweeps knows it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._pupils: dict[str, _Pupil] = {}
        self._swept_s = float("-inf")
        self._turn = 0

    def sweep(self, beat: Beat) -> None:
        """Takes in what came, announces what should follow, settles what has closed."""
        if beat.last_s != self._swept_s:
            self._pupils.clear()  # another process swept in between, and knows better
        self._swept_s = beat.now_s
        if self._service.view.age_s() > PERIOD_S:
            refresh_quietly(self._service.view)  # no bot polls here
        pools = self._service.announced.pools()
        self._turn += 1
        start = self._turn % max(1, len(pools))
        left = MOST_WRITES
        for pool in pools[start:] + pools[:start]:
            left -= self._announce(pool, self._learn(pool))
            if left > 0:
                left -= announcements.settle(self._service, pool, beat.up_since_s) > 0
                left -= self._keep(pool, beat.now_s)

    def pairs(self, pool: str) -> list[Pair]:
        """What follows what, for people, as it was written down last: one read."""
        return self._load(pool).followers.pairs(self._service.clock.now_s())

    def _learn(self, pool: str) -> list[Expected]:
        service = self._service
        now_s = service.clock.now_s()
        until_s = now_s - max(0.0, service.view.age_s()) - LATE_S
        pupil = self._pupils.get(pool)
        if pupil is None:
            if not service.announced.recent(pool, 0.0, until_s):
                return []
            pupil = self._pupils[pool] = self._load(pool)
        arrivals = service.announced.recent(pool, pupil.learned_s, until_s)
        most = service.view.count_bots(pool) / 2
        found = [one for arrival in arrivals for one in pupil.followers.arrive(arrival.family, arrival.at_s, most)]
        pupil.learned_s = max(pupil.learned_s, until_s)
        pupil.changed |= bool(arrivals)
        return found

    def _announce(self, pool: str, expected: Iterable[Expected]) -> bool:
        """Announces what nobody else has announced, of families that a spec makes; True if it wrote."""
        service = self._service
        now_s, made = service.clock.now_s(), service.view.specs()
        wanted = [one for one in expected if one.key in made]
        if not wanted:
            return False
        live = service.announced.book(pool).announcements(now_s, {})
        said = [Said(entry, "", LEARNED, one.leader) for entry, one in entries_of(wanted, live, now_s)]
        if said:
            announcements.add_learned(service, pool, said)
        return bool(said)

    def _keep(self, pool: str, now_s: float) -> bool:
        """Writes down what was learned, now and then; True if it did."""
        pupil = self._pupils.get(pool)
        if pupil is None or not pupil.changed or now_s - pupil.kept_s < KEPT_EVERY_S:
            return False
        pupil.kept_s, pupil.changed = now_s, False
        body, learned_s = pupil.followers.to_plain(), pupil.learned_s
        until = expiry(now_s, RETAIN_S)
        with self._service.store.context():
            put_multi([PoolFollowers(id=pool, body=body, learned_s=learned_s, kept_s=now_s, expire_at=until)])
        return True

    def _load(self, pool: str) -> _Pupil:
        now_s = self._service.clock.now_s()
        with self._service.store.context():
            record = key_of(PoolFollowers, pool).get()
        if record is not None:
            try:
                return _Pupil(Followers.from_plain(record.body), record.learned_s, record.kept_s)
            except (KeyError, TypeError, ValueError):
                log.warning("followers_not_readable", pool=pool)
        return _Pupil(Followers(since_s=now_s), 0.0, now_s)


def sweep(service: Service, beat: Beat) -> None:
    """The sweep of all pools."""
    service.announced.learning.sweep(beat)
