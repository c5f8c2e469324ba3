"""Datastore v1 in this process: the six calls that ndb makes, answered from one SQLite file.

Transactions are optimistic. A transaction remembers the version of everything it looked up, also of what it found
missing; a commit goes through only if all of that is unchanged, so neither updates nor write skew are lost. Every later
look-up checks the earlier ones too: what a transaction sees was true at one moment, even when it will not commit.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from google.api_core import exceptions as google_exceptions
from google.cloud import ndb
from google.cloud.datastore_v1.types import datastore as types
from google.cloud.datastore_v1.types import entity as entity_types
from google.cloud.datastore_v1.types import query as query_types
from google.protobuf.message import DecodeError

from server import errors
from server.store import encoding, expiry, queries
from server.store.indexes import CompositeIndexes, Index, Row, rows, rows_in
from server.store.queries import Plan, unimplemented
from server.store.sqlite import Hit, Position, Stored, View
from server.store.storage import Change, Precondition, Storage, VersionChanged

PROJECT = "pilotlight"
# Datastore's limits.
_MAX_ENTITY_BYTES = 1_048_572
_MAX_MUTATIONS = 500
_MAX_LOOKUPS = 1_000
# How many results one run_query answers; ndb then asks for the rest.
_BATCH = 1_000
# Begun transactions that are remembered; older ones were abandoned.
_MAX_TRANSACTIONS = 4_096

_EntityPb = entity_types.Entity.pb()
_More = query_types.QueryResultBatch.MoreResultsType
_ResultType = query_types.EntityResult.ResultType


class EmbeddedClient(ndb.Client):
    """An ndb client whose Datastore is a file."""

    def __init__(self, storage: Storage, composites: CompositeIndexes) -> None:
        # The constructor of the base class would look for credentials and open a channel.
        self.project = PROJECT
        self.namespace = None
        self.database = None
        self.host = "embedded"
        self.secure = False
        self.stub = EmbeddedStub(storage, composites)


class Answer:
    """A call that has ended; what ndb wants to see of a gRPC future."""

    def __init__(self, result: Any = None, error: Exception | None = None) -> None:
        self._result = result
        self._error = error

    def result(self, timeout: float | None = None) -> Any:
        """The response, or the error raised."""
        if self._error is not None:
            raise self._error
        return self._result

    def exception(self, timeout: float | None = None) -> Exception | None:
        """The error, if it was one."""
        return self._error

    def add_done_callback(self, callback: Callable[[Answer], None]) -> None:
        """Calls back at once."""
        callback(self)

    def cancel(self) -> bool:
        """Too late."""
        return False


@dataclass(frozen=True, slots=True)
class Method:
    """One call of the stub; errors end in the answer."""

    run: Callable[[Any], Any]

    def future(self, request: Any, timeout: float | None = None, metadata: Any = ()) -> Answer:
        """Runs the call in this thread."""
        try:
            return Answer(self.run(request))
        except DecodeError as error:
            return Answer(error=errors.StoreCorrupt(f"a record of the store is damaged: {error}; restore a backup"))
        except Exception as error:
            return Answer(error=error)


@dataclass(slots=True)
class _Transaction:
    """What a transaction saw: version of each key, 0 for a missing one."""

    read_only: bool
    seen: dict[bytes, int] = field(default_factory=dict)


class EmbeddedStub:
    """The six calls."""

    def __init__(self, storage: Storage, composites: CompositeIndexes) -> None:
        self.storage = storage
        self._composites = composites
        storage.declare({index.text(): Index(index.kind).text() for index in composites.all()}, self._rows_of)
        self._transactions: OrderedDict[bytes, _Transaction] = OrderedDict()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self.lookup = Method(self._lookup)
        self.commit = Method(self._commit)
        self.begin_transaction = Method(self._begin_transaction)
        self.rollback = Method(self._rollback)
        self.run_query = Method(self._run_query)
        self.allocate_ids = Method(self._allocate_ids)

    def sweep_expired(self, now_s: float, batch: int) -> tuple[int, bool]:
        """Deletes at most `batch` entities that expired before `now_s`; how many, and whether there may be more."""
        ranges = expiry.ranges(now_s)
        keys = self.storage.expired(expiry.INDEX_END, ranges, batch)
        if not keys:
            return 0, False
        deleted = self.storage.delete_all(keys, lambda stored: expiry.past(_parse(stored), ranges), self._rows_of)
        return deleted, len(keys) == batch

    def _begin_transaction(self, request: Any) -> Any:
        options = types.BeginTransactionRequest.pb(request).transaction_options
        if options.read_only.HasField("read_time"):
            unimplemented("read_time")
        name = f"{os.getpid()}-{next(self._numbers)}".encode()
        with self._lock:
            self._transactions[name] = _Transaction(options.WhichOneof("mode") == "read_only")
            if len(self._transactions) > _MAX_TRANSACTIONS:
                self._transactions.popitem(last=False)
        return types.BeginTransactionResponse(transaction=name)

    def _rollback(self, request: Any) -> Any:
        with self._lock:
            self._transactions.pop(request.transaction, None)
        return types.RollbackResponse()

    def _lookup(self, request: Any) -> Any:
        pb = types.LookupRequest.pb(request)
        if pb.HasField("property_mask"):
            unimplemented("property_mask")
        if len(pb.keys) > _MAX_LOOKUPS:
            raise google_exceptions.InvalidArgument(f"{len(pb.keys)} keys in one look-up; at most {_MAX_LOOKUPS}")
        transaction = self._transaction_of(pb.read_options)
        keys = [_encode_key(key) for key in pb.keys]
        seen = transaction.seen if transaction else {}
        found = self.storage.entities([*keys, *seen])
        _check_seen(seen, found)
        response = types.LookupResponse.pb()()
        for key, key_pb in zip(keys, pb.keys, strict=True):
            stored = found.get(key)
            seen[key] = stored.version if stored else 0
            result = response.found.add() if stored else response.missing.add()
            if stored:
                result.entity.MergeFromString(stored.data)
                result.version = stored.version
            result.entity.key.CopyFrom(key_pb)  # ndb finds its future by these very bytes
        return types.LookupResponse.wrap(response)

    def _commit(self, request: Any) -> Any:
        pb = types.CommitRequest.pb(request)
        if pb.HasField("single_use_transaction"):
            unimplemented("single_use_transaction")
        if len(pb.mutations) > _MAX_MUTATIONS:
            raise google_exceptions.InvalidArgument(f"{len(pb.mutations)} mutations; at most {_MAX_MUTATIONS}")
        transactional = pb.mode == types.CommitRequest.Mode.TRANSACTIONAL
        transaction = self._end_transaction(pb.transaction) if transactional else None
        if transaction and transaction.read_only and pb.mutations:
            raise google_exceptions.InvalidArgument("a read-only transaction has mutations")
        completed = self._complete([_key_of(mutation) for mutation in pb.mutations])
        changes = [self._change(mutation) for mutation in pb.mutations]
        if not transactional and len({change.key for change in changes}) < len(changes):
            raise google_exceptions.InvalidArgument("a commit without transaction changes an entity twice")
        version = self._apply(transaction.seen if transaction else {}, changes) if changes else 0
        response = types.CommitResponse.pb()()
        for mutation, was_completed in zip(pb.mutations, completed, strict=True):
            result = response.mutation_results.add(version=version)
            if was_completed:
                result.key.CopyFrom(_key_of(mutation))
        return types.CommitResponse.wrap(response)

    def _apply(self, seen: dict[bytes, int], changes: list[Change]) -> int:
        try:
            return self.storage.commit(seen, changes, self._rows_of)
        except VersionChanged:
            raise google_exceptions.Aborted("another transaction committed first") from None
        except Precondition as error:
            if error.exists:
                raise google_exceptions.AlreadyExists("entity already exists") from None
            raise google_exceptions.NotFound("no entity to update") from None

    def _allocate_ids(self, request: Any) -> Any:
        response = types.AllocateIdsResponse.pb()()
        response.keys.extend(types.AllocateIdsRequest.pb(request).keys)
        self._complete(response.keys)
        return types.AllocateIdsResponse.wrap(response)

    def _run_query(self, request: Any) -> Any:
        pb = types.RunQueryRequest.pb(request)
        self._refuse_query_options(pb)
        plan = queries.plan(pb.query, self._composites)
        wanted = _BATCH if plan.limit is None else min(plan.limit, _BATCH)
        with self.storage.reading() as view:
            bounds, skipped, last = self._skip(view, plan)
            hits = self._walk(view, plan, bounds, wanted + 1, plan.keys_only) if skipped == plan.offset else []
        more = len(hits) > wanted
        hits = hits[:wanted]
        return types.RunQueryResponse.wrap(self._query_response(plan, hits, more, skipped, last))

    def _skip(self, view: View, plan: Plan) -> tuple[tuple[Position, Position], int, Position | None]:
        """Leaves out the plan's offset: the bounds of the rest, how many there were, and where the last one stood."""
        bounds = plan.bounds()
        if not plan.offset:
            return bounds, 0, None
        skipped = self._walk(view, plan, bounds, plan.offset, keys_only=True)
        if not skipped:
            return bounds, 0, None
        last = _position(plan, skipped[-1])
        return plan.behind(last, bounds), len(skipped), last

    def _walk(
        self, view: View, plan: Plan, bounds: tuple[Position, Position], wanted: int, keys_only: bool
    ) -> list[Hit]:
        """At most `wanted` results, each entity once."""
        found: list[Hit] = []
        also = [(index.text(), value) for index, value in plan.also]
        while len(found) < wanted:
            size = min(wanted - len(found), _BATCH + 1)
            hits = view.scan(
                plan.index.text(), *bounds, limit=size, also=also, reverse=plan.reverse, keys_only=keys_only
            )
            found.extend(hit for hit in hits if plan.exact or not hit.several or self._is_first(view, plan, hit))
            if len(hits) < size:
                break
            bounds = plan.behind(_position(plan, hits[-1]), bounds)
        return found

    def _is_first(self, view: View, plan: Plan, hit: Hit) -> bool:
        """Whether no other row of this entity comes before this one in the plan's range."""
        entity = _parse(hit.entity or view.entities([hit.key])[hit.key])
        values = [value for value in rows_in(entity, plan.index) if plan.low[0] <= value < plan.high[0]]
        return bool(values) and hit.value == (values[-1] if plan.reverse else values[0])

    def _query_response(self, plan: Plan, hits: list[Hit], more: bool, skipped: int, last: Position | None) -> Any:
        response = types.RunQueryResponse.pb()()
        batch = response.batch
        batch.entity_result_type = _ResultType.KEY_ONLY if plan.keys_only else _ResultType.FULL
        batch.skipped_results = skipped
        for hit in hits:
            last = _position(plan, hit)
            result = batch.entity_results.add(cursor=plan.cursor(last))
            if hit.entity is None:
                result.entity.key.CopyFrom(encoding.decode_key(hit.key, PROJECT))
            else:
                result.entity.MergeFromString(hit.entity.data)
                result.version = hit.entity.version
        last = last or plan.start
        batch.end_cursor = plan.cursor(last) if last else b""
        if skipped:
            batch.skipped_cursor = batch.end_cursor
        reached = plan.limit is not None and len(hits) == plan.limit
        batch.more_results = (
            _More.NO_MORE_RESULTS if not more else _More.MORE_RESULTS_AFTER_LIMIT if reached else _More.NOT_FINISHED
        )
        return response

    def _refuse_query_options(self, pb: Any) -> None:
        if pb.WhichOneof("query_type") != "query":
            unimplemented("GQL")
        if pb.partition_id.namespace_id:
            unimplemented("namespaces")
        for name in ("property_mask", "explain_options"):
            if pb.HasField(name):
                unimplemented(name)
        if self._transaction_of(pb.read_options):
            unimplemented("queries in a transaction")

    def _transaction_of(self, options: Any) -> _Transaction | None:
        kind = options.WhichOneof("consistency_type")
        if kind in ("read_time", "new_transaction"):
            unimplemented(kind)
        if kind != "transaction":
            return None
        with self._lock:
            found = self._transactions.get(options.transaction)
        if found is None:
            raise google_exceptions.Aborted("the transaction has ended")
        return found

    def _end_transaction(self, name: bytes) -> _Transaction:
        with self._lock:
            found = self._transactions.pop(name, None)
        if found is None:
            raise google_exceptions.Aborted("the transaction has ended")
        return found

    def _complete(self, keys: Iterable[Any]) -> list[bool]:
        """Gives ids to the keys that have none; tells for each whether it was one of them."""
        keys = list(keys)
        incomplete = [not key.path or key.path[-1].WhichOneof("id_type") is None for key in keys]
        if any(incomplete):
            number = self.storage.allocate(sum(incomplete))
            for key in itertools.compress(keys, incomplete):
                key.path[-1].id = number
                number += 1
        return incomplete

    def _change(self, mutation: Any) -> Change:
        operation = mutation.WhichOneof("operation")
        _refuse_mutation_parts(mutation)
        key = _encode_key(_key_of(mutation))
        if operation == "delete":
            return Change(key, None, frozenset())
        entity = getattr(mutation, operation)
        data = entity.SerializeToString()
        if len(data) > _MAX_ENTITY_BYTES:
            raise google_exceptions.InvalidArgument(f"an entity has {len(data)} bytes; at most {_MAX_ENTITY_BYTES}")
        try:
            found = rows(entity, self._composites.of_kind(entity.key.path[-1].kind))
        except ValueError as error:
            raise google_exceptions.InvalidArgument(str(error)) from None
        return Change(key, data, found, {"insert": False, "update": True}.get(operation))

    def _rows_of(self, stored: Stored) -> set[Row]:
        entity = _parse(stored)
        return rows(entity, self._composites.of_kind(entity.key.path[-1].kind))


def _parse(stored: Stored) -> Any:
    return _EntityPb.FromString(stored.data)


def _key_of(mutation: Any) -> Any:
    operation = mutation.WhichOneof("operation")
    if operation is None:
        raise google_exceptions.InvalidArgument("a mutation without operation")
    return mutation.delete if operation == "delete" else getattr(mutation, operation).key


def _refuse_mutation_parts(mutation: Any) -> None:
    if mutation.WhichOneof("conflict_detection_strategy"):
        unimplemented(mutation.WhichOneof("conflict_detection_strategy"))
    for name in ("property_mask", "property_transforms"):
        if name in {descriptor.name for descriptor, _ in mutation.ListFields()}:
            unimplemented(name)


def _encode_key(key: Any) -> bytes:
    if key.partition_id.namespace_id:
        unimplemented("namespaces")
    if not key.path or any(not part.kind or part.WhichOneof("id_type") is None for part in key.path):
        raise google_exceptions.InvalidArgument("a key without kind or id")
    return encoding.encode_key(key)


def _check_seen(seen: dict[bytes, int], found: dict[bytes, Stored]) -> None:
    for key, version in seen.items():
        stored = found.get(key)
        if (stored.version if stored else 0) != version:
            raise google_exceptions.Aborted("something that this transaction read has changed")


def _position(plan: Plan, hit: Hit) -> Position:
    """Where a result stands; a scan for one value may have used another index than the plan's."""
    return (plan.low[0] if plan.exact else hit.value), hit.key
