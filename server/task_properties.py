"""What a task may ask for: the fields of Swarming's NewTask with their rules. Source: the published validation."""

from __future__ import annotations

import base64
import itertools
import json
import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_serializer, field_validator, model_validator

from server.pool_config import pool_name

MOST_SLICES = 8
MOST_SECRET_BYTES = 20 * 1024
MOST_COMMAND_BYTES = 128 * 1024
"""What Linux takes as one argument."""
MOST_SLICE_BYTES = 256 * 1024
MOST_TAG_BYTES = 64 * 1024
"""As JSON in ASCII, as they are stored; a request with all that the server adds stays below the store's 1 MiB."""
_CACHE_NAME = re.compile(r"[a-z0-9_]{1,128}")
_ENV_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DIMENSION_KEY = re.compile(r"[a-zA-Z\-_.][0-9a-zA-Z\-_.]*")
_REALM = re.compile(r"[a-z0-9_\-]{1,100}:(?:[a-z0-9_.\-/]{1,400}|@[a-z]+)")
_CAS_INSTANCE = re.compile(r"projects/[a-z0-9-]+/instances/[a-z0-9-_]+")


def no_control(text: str, what: str) -> str:
    """Text without NUL, which no command line, environment or file name can carry.

    Raises:
        ValueError: there is one; `what` names the place.
    """
    if "\0" in text:
        raise ValueError(f"{what} must not have a NUL character")
    return text


def clean_path(path: str, *, longest: int = 256, what: str = "path") -> str:
    """A relative forward-slash path without `..`, `.` or doubled slashes.

    Raises:
        ValueError: says which rule it breaks.
    """
    no_control(path, what)
    if len(path) > longest:
        raise ValueError(f"{what} is longer than {longest} characters")
    if path.startswith("/") or "\\" in path or re.match(r"[A-Za-z]:", path):
        raise ValueError(f"{what} {path!r} is not relative with forward slashes")
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError(f"{what} {path!r} is not clean: no empty, . or .. parts")
    return path


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pair(_Model):
    """A key and its value."""

    key: str
    value: str


class ListPair(_Model):
    """A key and its values."""

    key: str
    value: tuple[str, ...]


class CacheEntry(_Model):
    """A named cache and where it is put, relative to the task's folder."""

    name: str
    path: str

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if not _CACHE_NAME.fullmatch(name):
            raise ValueError(f"{name[:140]!r} is not a cache name: 1 to 128 of a-z, 0-9 and _")
        return name

    @field_validator("path")
    @classmethod
    def _path(cls, path: str) -> str:
        return clean_path(path)


class Digest(_Model):
    """Hash and size of a blob."""

    hash: str = Field(min_length=1)
    size_bytes: int = Field(ge=0)


class CASReference(_Model):
    """A tree in a content-addressed store."""

    cas_instance: str
    digest: Digest

    @field_validator("cas_instance")
    @classmethod
    def _instance(cls, name: str) -> str:
        if not _CAS_INSTANCE.fullmatch(name):
            raise ValueError(f"{name!r} is not of the form projects/P/instances/I")
        return name


class CipdPackage(_Model):
    """A CIPD package and where it goes."""

    package_name: str = ""
    version: str = ""
    path: str = ""


class CipdInput(_Model):
    """CIPD packages of a task."""

    server: str = Field("", max_length=1024)
    client_package: CipdPackage | None = None
    packages: tuple[CipdPackage, ...] = Field((), max_length=64)


class Properties(_Model):
    """How and where a task runs; durations in seconds."""

    caches: tuple[CacheEntry, ...] = Field((), max_length=32)
    cipd_input: CipdInput | None = None
    command: tuple[str, ...] = Field(min_length=1, max_length=128)
    relative_cwd: str = ""
    dimensions: tuple[Pair, ...] = Field(min_length=1)
    env: tuple[Pair, ...] = Field((), max_length=64)
    env_prefixes: tuple[ListPair, ...] = Field((), max_length=64)
    execution_timeout_secs: int = Field(ge=30, le=601_140)
    grace_period_secs: int = Field(0, ge=0, le=3600)
    idempotent: bool = False
    cas_input_root: CASReference | None = None
    io_timeout_secs: int = Field(0, ge=0, le=601_140)
    outputs: tuple[str, ...] = Field((), max_length=4096)
    secret_bytes: bytes = Field(b"", max_length=MOST_SECRET_BYTES)
    containment: dict[str, Any] | None = None

    @field_serializer("secret_bytes", when_used="json")
    def _secret(self, secret: bytes) -> str:
        return base64.b64encode(secret).decode()

    @field_validator("io_timeout_secs")
    @classmethod
    def _io_timeout(cls, value: int) -> int:
        if 0 < value < 30:
            raise ValueError("must be 0 or at least 30 seconds")
        return value

    @field_validator("command")
    @classmethod
    def _command(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        for position, argument in enumerate(command):
            no_control(argument, f"argument {position}")
        size = sum(len(argument.encode(errors="surrogatepass")) for argument in command)
        if size > MOST_COMMAND_BYTES:
            raise ValueError(f"has {size} bytes in all; at most {MOST_COMMAND_BYTES}")
        return command

    @field_validator("relative_cwd")
    @classmethod
    def _cwd(cls, path: str) -> str:
        return clean_path(path, what="relative_cwd") if path else path

    @field_validator("caches")
    @classmethod
    def _caches(cls, caches: tuple[CacheEntry, ...]) -> tuple[CacheEntry, ...]:
        names = [cache.name for cache in caches]
        if len(set(names)) != len(names):
            raise ValueError("a cache is named twice")
        paths = sorted(cache.path for cache in caches)
        for before, after in itertools.pairwise(paths):
            if after == before or after.startswith(before + "/"):
                raise ValueError(f"paths {before!r} and {after!r} contain one another")
        return caches

    @field_validator("env")
    @classmethod
    def _env(cls, pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
        _check_env_keys([pair.key for pair in pairs])
        for pair in pairs:
            no_control(pair.value, f"the value of {pair.key}")
            if len(pair.value) > 1024:
                raise ValueError(f"the value of {pair.key} is longer than 1024 characters")
        return pairs

    @field_validator("env_prefixes")
    @classmethod
    def _env_prefixes(cls, pairs: tuple[ListPair, ...]) -> tuple[ListPair, ...]:
        _check_env_keys([pair.key for pair in pairs])
        for pair in pairs:
            if not pair.value:
                raise ValueError(f"{pair.key} has no path")
            for path in pair.value:
                clean_path(path, longest=1024)
        return pairs

    @field_validator("outputs")
    @classmethod
    def _outputs(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            clean_path(path, longest=512)
        return paths

    @field_validator("dimensions")
    @classmethod
    def _dimensions(cls, pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
        check_dimensions([(pair.key, pair.value) for pair in pairs])
        return pairs

    def pool(self) -> str:
        """The one pool that the dimensions name."""
        return next(pair.value for pair in self.dimensions if pair.key == "pool")

    def requirement(self) -> list[list[Any]]:
        """Dimensions as [key, [alternatives]], the form that records and policy share."""
        return [[pair.key, pair.value.split("|")] for pair in self.dimensions]


def _check_env_keys(keys: list[str]) -> None:
    if len(set(keys)) != len(keys):
        raise ValueError("a key is given twice")
    for key in keys:
        if not _ENV_KEY.fullmatch(key) or len(key) > 64:
            raise ValueError(f"{key[:80]!r} is not a variable's name of at most 64 characters")


def check_dimensions(pairs: list[tuple[str, str]]) -> None:
    """The rules for the dimensions that a task asks for.

    Raises:
        ValueError: says which rule is broken, by which key.
    """
    if len(set(pairs)) != len(pairs):
        raise ValueError("a constraint is repeated")
    pools = [value for key, value in pairs if key == "pool"]
    if len(pools) != 1:
        raise ValueError("exactly one `pool` dimension is needed")
    if sum(1 for key, _ in pairs if key == "id") > 1:
        raise ValueError("at most one `id` dimension")
    product, total = 1, 0
    for key, value in pairs:
        if not _DIMENSION_KEY.fullmatch(key) or len(key) > 64:
            raise ValueError(f"{key[:80]!r} is not a dimension's key of at most 64 characters")
        alternatives = value.split("|")
        for alternative in alternatives:
            no_control(alternative, f"value of {key!r}")
            if not 1 <= len(alternative) <= 256 or alternative != alternative.strip():
                raise ValueError(f"value of {key!r} must have 1 to 256 characters and no outer spaces")
            if key in ("id", "pool") and ":" in alternative:
                raise ValueError(f"value of {key!r} must not have a colon")
        if key == "pool" and len(alternatives) > 1:
            raise ValueError("`pool` takes one value")
        if key == "pool":
            _check_pool(value)
        product *= len(alternatives)
        total += len(alternatives)
    if product > 8:
        raise ValueError(f"{product} combinations of alternatives; at most 8")
    if total > 512:
        raise ValueError(f"{total} values; at most 512")


def _check_pool(value: str) -> None:
    try:
        pool_name(value)
    except ValueError as error:
        raise ValueError(f"`pool` {value[:80]!r} {error}") from error


class Slice(_Model):
    """One way to run the task, and how long it may wait for that."""

    properties: Properties
    expiration_secs: int = Field(ge=30, le=604_800)
    wait_for_capacity: bool = True


class NewTask(_Model):
    """What NewTask takes; names are the API's."""

    name: str = Field(min_length=1, max_length=1024)
    parent_task_id: str = ""
    priority: int = Field(ge=1, le=255)
    task_slices: tuple[Slice, ...] = Field(min_length=1, max_length=MOST_SLICES)
    tags: tuple[str, ...] = Field((), max_length=256)
    user: str = Field("", max_length=256)
    service_account: Annotated[str, Field(max_length=128)] = ""
    realm: str = Field("", max_length=256)
    bot_ping_tolerance_secs: int = 0
    request_uuid: str = Field("", max_length=128)
    evaluate_only: bool = False

    @field_validator("name", "user", "request_uuid")
    @classmethod
    def _text(cls, text: str, info: ValidationInfo) -> str:
        return no_control(text, str(info.field_name))

    @field_validator("realm")
    @classmethod
    def _realm(cls, realm: str) -> str:
        if realm and not _REALM.fullmatch(realm):
            raise ValueError(f"{realm[:80]!r} is not of the form project:realm, in small letters")
        return realm

    @field_validator("bot_ping_tolerance_secs")
    @classmethod
    def _tolerance(cls, value: int) -> int:
        if value and not 60 <= value <= 1200:
            raise ValueError("must be 0 or 60 to 1200 seconds")
        return value or 1200

    @field_validator("task_slices")
    @classmethod
    def _slices(cls, slices: tuple[Slice, ...]) -> tuple[Slice, ...]:
        size = len(json.dumps([piece.model_dump(mode="json", exclude_defaults=True) for piece in slices]))
        if size > MOST_SLICE_BYTES:
            raise ValueError(f"have {size} bytes as JSON; at most {MOST_SLICE_BYTES}")
        return slices

    @field_validator("tags")
    @classmethod
    def _tags(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        for tag in tags:
            no_control(tag, f"{tag[:80]!r}")
            key, colon, value = tag.partition(":")
            if not colon or not 1 <= len(key) <= 64 or len(value) > 256 or value != value.strip():
                raise ValueError(
                    f"{tag[:80]!r} is not key:value with a key of 1 to 64 and a value of at most 256 characters"
                )
            if key == "swarming.terminate":
                raise ValueError("the tag swarming.terminate is reserved")
        size = len(json.dumps(tags))
        if size > MOST_TAG_BYTES:
            raise ValueError(f"have {size} bytes as JSON; at most {MOST_TAG_BYTES}")
        return tags

    @field_validator("service_account")
    @classmethod
    def _account(cls, account: str) -> str:
        if account not in ("", "none", "bot") and not re.fullmatch(r"[^@\s]+@[^@\s]+", account):
            raise ValueError("must be none, bot or an email address")
        return account

    @model_validator(mode="after")
    def _same_pool(self) -> NewTask:
        pools = {piece.properties.pool() for piece in self.task_slices}
        if len(pools) > 1:
            raise ValueError(f"the slices name different pools: {', '.join(sorted(pools))}")
        seen = [piece.properties for piece in self.task_slices]
        if any(seen[i] == seen[j] for i in range(len(seen)) for j in range(i)):
            raise ValueError("two slices are identical")
        return self

    def pool(self) -> str:
        """The pool of all its slices."""
        return self.task_slices[0].properties.pool()
