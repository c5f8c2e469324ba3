"""Records → messages of the API, value by value; no store, no clock, no rules."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from server.bot_list import ListedBot
from server.proto import swarming_pb2
from server.records.task import TaskRequest, TaskResult
from server.task_ids import run_id

LARGEST_TIME_S = 253_402_300_799.0  # The last second of the year 9999, where Timestamp ends.
REDACTED = b"<REDACTED>"


def timestamp(at_s: float) -> Timestamp | None:
    """A point in time to the microsecond; None for 0, which means never."""
    if at_s <= 0 or not math.isfinite(at_s):
        return None
    result = Timestamp()
    result.FromMicroseconds(round(min(at_s, LARGEST_TIME_S) * 1e6))
    return result


def seconds(at: Timestamp) -> float:
    """The same backwards; an unset timestamp is 0."""
    return at.seconds + at.nanos / 1e9


def text(value: object) -> str:
    """A string that the wire can carry. What bots report is JSON, which can hold half a surrogate pair."""
    return str(value).encode("utf-8", errors="replace").decode("utf-8")


def string_list_pairs(values: Mapping[str, Iterable[str]]) -> list[swarming_pb2.StringListPair]:
    """A map of lists, sorted by key and within each list."""
    return [
        swarming_pb2.StringListPair(key=text(key), value=sorted(text(item) for item in items))
        for key, items in sorted(values.items())
    ]


def task_state(state: str) -> swarming_pb2.TaskState:
    """The number of a state's name."""
    return swarming_pb2.TaskState.Value(state)


def task_result(
    record: TaskResult, *, server_version: str, include_performance_stats: bool = False
) -> swarming_pb2.TaskResultResponse:
    """What became of a task. Its bot is shown from the start on, not before: an offer may be taken back."""
    task_id = record.key.id()
    result = swarming_pb2.TaskResultResponse(
        task_id=task_id,
        name=text(record.name),
        tags=sorted(text(tag) for tag in record.tags),
        user=text(record.user),
        state=task_state(record.state),
        current_task_slice=record.slice_no,
        created_ts=timestamp(record.created_s),
        modified_ts=timestamp(record.modified_s),
        started_ts=timestamp(record.started_s),
        completed_ts=timestamp(record.completed_s),
        abandoned_ts=timestamp(record.abandoned_s),
        exit_code=record.exit_code or 0,
        duration=record.duration_s or 0.0,
        failure=record.failure,
        internal_failure=record.internal_failure,
        server_versions=[server_version],
    )
    if record.started_s:
        result.run_id = run_id(task_id)
        result.bot_id = text(record.bot_id)
        result.bot_version = text(record.bot_version)
        result.bot_dimensions.extend(string_list_pairs(record.bot_dimensions))
        _set(result, "bot_idle_since_ts", timestamp(record.bot_idle_since_s))
    _add_missing(result, record.missing)
    _add_stats(result, record.stats)
    if include_performance_stats and record.stats:
        result.performance_stats.CopyFrom(performance_stats(record.stats))
    return result


def task_request(record: TaskRequest, *, with_id: bool = True) -> swarming_pb2.TaskRequestResponse:
    """What was asked for.

    Args:
        record: the request; its slices keep the API's names.
        with_id: False for a request that was only evaluated.
    """
    result = swarming_pb2.TaskRequestResponse(
        task_id=record.task_id if with_id else "",
        name=record.name,
        parent_task_id=run_id(record.parent_task_id) if record.parent_task_id else "",
        priority=record.priority,
        tags=record.tags,
        created_ts=timestamp(record.created_s),
        user=record.user,
        authenticated=record.authenticated,
        service_account=record.service_account,
        realm=record.realm,
        bot_ping_tolerance_secs=round(record.bot_ping_tolerance_s),
    )
    for kept in record.slices:
        piece = result.task_slices.add(
            expiration_secs=kept["expiration_s"], wait_for_capacity=kept["wait_for_capacity"]
        )
        json_format.ParseDict(kept["properties"], piece.properties)
        if piece.properties.secret_bytes:
            piece.properties.secret_bytes = REDACTED
        result.expiration_secs += piece.expiration_secs
    if result.task_slices:
        result.properties.CopyFrom(result.task_slices[0].properties)
    return result


def _set(message: Message, name: str, value: Message | None) -> None:
    if value is not None:
        getattr(message, name).CopyFrom(value)


def _add_missing(result: swarming_pb2.TaskResultResponse, missing: Mapping[str, Any]) -> None:
    """Inputs that a bot did not find; it names a blob as `hash/size`."""
    for blob in _parts(missing, "missing_cas"):
        digest, _, size = str(blob.get("digest", "")).partition("/")
        reference = result.missing_cas.add(cas_instance=text(blob.get("instance", "")))
        reference.digest.hash = text(digest)
        reference.digest.size_bytes = int(size) if size.isascii() and size.isdecimal() and len(size) <= 18 else 0
    for package in _parts(missing, "missing_cipd"):
        names = {name: text(package.get(name) or "") for name in ("package_name", "version", "path")}
        result.missing_cipd.add(**names)


def _add_stats(result: swarming_pb2.TaskResultResponse, stats: Mapping[str, Any]) -> None:
    """What a bot sent with its last update and the API shows without being asked."""
    if _number(stats.get("cost_usd")):
        result.costs_usd.append(_number(stats["cost_usd"]))
    for name in ("cas_output_root", "cipd_pins"):
        if _part(stats, name):
            try:
                json_format.ParseDict(_part(stats, name), getattr(result, name), ignore_unknown_fields=True)
            except (json_format.ParseError, ValueError, TypeError):
                result.ClearField(name)


def performance_stats(stats: Mapping[str, Any]) -> swarming_pb2.PerformanceStats:
    """Where the time around the command went, from what a bot sends with its last update; the rest is left out."""
    result = swarming_pb2.PerformanceStats(bot_overhead=_number(stats.get("bot_overhead")))
    caches = _part(stats, "named_caches_stats")
    operations = {
        "package_installation": _part(stats, "cipd_stats"),
        "cache_trim": _part(stats, "cache_trim_stats"),
        "named_caches_install": _part(caches, "install"),
        "named_caches_uninstall": _part(caches, "uninstall"),
        "cleanup": _part(stats, "cleanup_stats"),
    }
    for name, operation in operations.items():
        if operation:
            getattr(result, name).duration = _number(operation.get("duration"))
    transfers = _part(stats, "isolated_stats")
    for name, transfer in (("isolated_download", "download"), ("isolated_upload", "upload")):
        if _part(transfers, transfer):
            _fill_transfer(getattr(result, name), _part(transfers, transfer))
    return result


def _fill_transfer(result: swarming_pb2.CASOperationStats, transfer: Mapping[str, Any]) -> None:
    result.duration = _number(transfer.get("duration"))
    for name in ("items_cold", "items_hot"):
        try:
            setattr(result, name, base64.b64decode(str(transfer.get(name) or "")))
        except (binascii.Error, ValueError):
            continue
    for field in result.DESCRIPTOR.fields:
        most = {field.TYPE_INT32: 2**31 - 1, field.TYPE_INT64: 2**63 - 1}.get(field.type)
        if most is not None:
            setattr(result, field.name, min(int(_number(transfer.get(field.name))), most))


def _part(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = values.get(name)
    return part if isinstance(part, Mapping) else {}


def _parts(values: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    parts = values.get(name)
    return [part for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []


def _number(value: Any) -> float:
    """A number of a bot's, not negative; 0 for anything else."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
    return value if usable else 0


def bot_info(bot: ListedBot) -> swarming_pb2.BotInfo:
    """A bot. Why it is quarantined stands in its state, as if the bot had said so itself."""
    entry, policy = bot.entry, bot.entry.policy
    state = {**entry.state, **({"quarantined": policy.quarantined} if policy.quarantined else {})}
    return swarming_pb2.BotInfo(
        bot_id=text(policy.id),
        task_id=run_id(entry.held["task"]) if entry.held else "",
        task_name=text(bot.task_name),
        external_ip=text(entry.external_ip),
        authenticated_as=text(entry.authenticated_as),
        first_seen_ts=timestamp(entry.first_seen_s),
        last_seen_ts=timestamp(policy.last_seen_s),
        is_dead=not policy.alive,
        quarantined=bool(policy.quarantined),
        maintenance_msg=text(policy.maintenance),
        dimensions=string_list_pairs(policy.dimensions),
        version=text(entry.version),
        state=json.dumps(state, sort_keys=True),
        session_id=text(entry.session_id),
    )
