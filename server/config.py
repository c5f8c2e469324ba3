"""The config: read from what people write, kept as revisions in the store, held merged by every process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import Field

from server import audit, documents, errors, latest
from server.access import Permission, Principal
from server.documents import Document, attempted
from server.pool_config import PoolConfig, PoolName
from server.records import Key, get_multi, key_of, put_multi
from server.records.config import ConfigRevision

if TYPE_CHECKING:
    from server.policy.model import Thresholds
    from server.records.config import Latest
    from server.service import Service

__all__ = ["Config", "ConfigHolder", "PoolConfig", "SavedConfig", "parse"]

log = structlog.get_logger()

SYSTEM = Principal("service:pilotlight", frozenset())
"""Author of the first revision."""
NOTE_LENGTH = 1000


class _Shape(Document):
    defaults: dict[str, Any] = {}
    pools: dict[PoolName, dict[str, Any]] = Field({}, max_length=2000)


@dataclass(frozen=True, slots=True)
class Config:
    """The whole config: `defaults` for every pool, `overrides` by pool and field, and both merged in `pools`."""

    defaults: PoolConfig = field(default_factory=PoolConfig)
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pools: Mapping[str, PoolConfig] = field(default_factory=dict)

    def pool(self, name: str) -> PoolConfig:
        """Settings of one pool; a pool without overrides has the defaults."""
        return self.pools.get(name, self.defaults)

    def body(self) -> dict[str, Any]:
        """What `parse` reads: all defaults, and of each pool what differs."""
        return {
            "defaults": self.defaults.model_dump(),
            "pools": {name: dict(changes) for name, changes in self.overrides.items()},
        }


@dataclass(frozen=True, slots=True)
class SavedConfig:
    """A revision of the config in the store."""

    revision: int
    body: Mapping[str, Any]
    author: str
    note: str
    created_s: float


def parse(body: Any, *, lenient: bool = False) -> Config:
    """Checks a config as people write it: {defaults: {…}, pools: {NAME: {…}}}, each with any of the fields.

    Args:
        body: the mapping.
        lenient: leave out fields that this version does not know (a revision saved by another version).

    Raises:
        FieldErrors: everything that is wrong, by path (`pools.builders.sleep_max_s`).
    """
    shape, wrong = attempted(_Shape, body)
    if shape is None:
        raise errors.FieldErrors(wrong)
    defaults, wrong = attempted(PoolConfig, _known(shape.defaults, lenient), "defaults")
    base = (defaults or PoolConfig()).model_dump()
    overrides, pools = {}, {}
    for name, given in shape.pools.items():
        changes = _known(given, lenient)
        merged, wrong_here = attempted(PoolConfig, {**base, **changes}, f"pools.{name}")
        wrong |= wrong_here
        if merged:
            pools[name] = merged
            overrides[name] = {key: getattr(merged, key) for key in changes}
    if wrong or defaults is None:
        raise errors.FieldErrors(wrong)
    return Config(defaults, overrides, pools)


def _known(values: dict[str, Any], lenient: bool) -> dict[str, Any]:
    return documents.known_only(PoolConfig, values) if lenient else values


class ConfigHolder:
    """The newest config that this process knows. Before the first `refresh` these are the defaults, revision 0."""

    def __init__(self) -> None:
        self._held: tuple[int, Config] = (0, Config())
        self.problem = ""
        """Why the newest revision is not the one in use, "" when it is."""

    @property
    def current(self) -> Config:
        """The config in use."""
        return self._held[1]

    @property
    def revision(self) -> int:
        """Its revision, which every decision names."""
        return self._held[0]

    def pool(self, name: str) -> PoolConfig:
        """Settings of one pool, overrides merged into the defaults."""
        return self.current.pool(name)

    def thresholds(self, name: str) -> Thresholds:
        """The part of a pool's settings that the policy reads."""
        return self.pool(name).thresholds()

    def refresh(self, service: Service, record: Latest | None = None) -> latest.Head:
        """Takes up a newer revision: one look-up, one more when there is one. Answers with all heads.

        With `record` the caller has looked the heads up already. A revision that this version cannot read is left
        aside, and `problem` says so: a bad config must not stop real work.

        Raises:
            StoreUnavailable: the store cannot be reached; the config in use stays.
        """
        head = latest.read(service) if record is None else latest.head_of(record)
        if head.config_revision != self.revision and head.config_revision:
            self._take(service, head.config_revision)
        return head

    def _take(self, service: Service, revision: int) -> None:
        try:
            config = parse(get_revision(service, revision).body, lenient=True)
        except (errors.InvalidArgument, errors.NotFound) as error:
            if not self.problem:
                log.error("config revision not readable", revision=revision, reason=error.text)
            self.problem = f"revision {revision} cannot be read by this version: {error.text}"
            return
        if revision >= self.revision:
            self._held, self.problem = (revision, config), ""


def save_config(
    service: Service, principal: Principal, body: Mapping[str, Any], base_revision: int, note: str = ""
) -> SavedConfig:
    """Saves a config as a new revision; takes effect everywhere with the next refresh of each process.

    Args:
        service: this process.
        principal: the author; the caller has checked that it may.
        body: the config as people write it.
        base_revision: the revision that was edited.
        note: why, for the history.

    Raises:
        FieldErrors: what is wrong, by field.
        EditConflict: `base_revision` is not the newest any more; it carries the newest.
    """
    config = parse(body)
    if len(note) > NOTE_LENGTH:
        raise errors.FieldErrors({"note": f"may have at most {NOTE_LENGTH} characters"})

    def save() -> SavedConfig:
        head = latest.record()
        if head.config_revision != base_revision:
            raise _conflict(head.config_revision, base_revision)
        return _write(service, principal, head, config, note)

    saved = service.store.transaction(save)
    service.config.refresh(service)
    return saved


def visible(body: Mapping[str, Any], principal: Principal) -> dict[str, Any]:
    """A config without the pools that are not the caller's to see."""
    pools = {name: own for name, own in body.get("pools", {}).items() if principal.may(Permission.CONFIG_VIEW, name)}
    return {**body, **({"pools": pools} if "pools" in body else {})}


def list_revisions(service: Service, limit: int = 20, before: int | None = None) -> list[SavedConfig]:
    """Revisions, newest first; `before` goes on below that revision. Point reads only."""
    with service.store.context():
        newest = latest.record().config_revision
        first = newest if before is None else min(newest, before - 1)
        keys = [_key(number) for number in range(first, max(0, first - limit), -1)]
        return [_saved(found) for found in get_multi(keys) if found]


def get_revision(service: Service, revision: int) -> SavedConfig:
    """One revision.

    Raises:
        NotFound: there is none of this number.
    """
    with service.store.context():
        found = _key(revision).get()
    if found is None:
        raise errors.NotFound(f"the config has no revision {revision}")
    return _saved(found)


def ensure_first(service: Service) -> None:
    """Makes the first revision from `settings.config_file`, or of the defaults, unless there is one; then reads it.

    Two processes may do this at the same time: the second finds the first one's.

    Raises:
        InvalidArgument: the file is missing, broken or wrong; the text names it.
    """
    if not service.config.refresh(service).config_revision:
        config, note = _imported(service.settings.config_file)

        def save() -> None:
            head = latest.record()
            if not head.config_revision:
                _write(service, SYSTEM, head, config, note)

        service.store.transaction(save)
        service.config.refresh(service)


def _imported(file: str) -> tuple[Config, str]:
    if not file:
        return Config(), "the defaults"
    try:
        return parse(documents.load_yaml(Path(file).read_bytes())), f"imported from {file}"
    except OSError as error:
        raise errors.InvalidArgument(f"{file} cannot be read: {error.strerror}") from error
    except errors.InvalidArgument as error:
        raise errors.InvalidArgument(f"{file}: {error.text}", field=error.field) from error


def _write(service: Service, principal: Principal, head: Any, config: Config, note: str) -> SavedConfig:
    """Within a transaction: the next revision, its number in the head record, and the audit entry."""
    head.config_revision += 1
    revision = ConfigRevision(
        key=_key(head.config_revision),
        revision=head.config_revision,
        body=config.body(),
        author=principal.identity,
        note=note,
        created_s=service.clock.now_s(),
    )
    put_multi([head, revision])
    audit.write(service, principal, "config.save", f"revision {head.config_revision}", {"note": note})
    return _saved(revision)


def _conflict(newest: int, base: int) -> errors.EditConflict:
    found = _key(newest).get() if newest else None
    author = found.author if found else ""
    text = f"revision {newest} by {author} was saved after revision {base}, which was edited; nothing was changed"
    if base > newest:
        text = f"there is no revision {base}, the newest is {newest}; nothing was changed"
    return errors.EditConflict(text, revision=newest, author=author, theirs=found.body if found else {})


def _key(revision: int) -> Key:
    return key_of("ConfigRevision", f"{revision:06d}")


def _saved(found: ConfigRevision) -> SavedConfig:
    return SavedConfig(found.revision, found.body, found.author, found.note, found.created_s)
