"""What stands between ndb and a Datastore stub: counts the calls and gives their errors our types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.api_core import exceptions as google_exceptions
from google.cloud.datastore_v1.types import datastore as types

from server import errors
from server.store.ops import OpCounter

_GONE = google_exceptions.ServerError | google_exceptions.Cancelled | google_exceptions.TooManyRequests
# A call that ndb makes without a time limit; a server that hangs must not hang us for good.
_TIMEOUT_S = 15.0
MOST_ENTITY_BYTES = 1_048_487
"""An entity, and any property of one, that is larger than this is refused by Datastore."""


class Conflict(errors.Contention):
    """A commit lost its race once; `Store.transaction` tries again."""


class CountingStub:
    """The six calls of a Datastore stub."""

    def __init__(self, stub: Any, ops: OpCounter) -> None:
        self.lookup = _Method(stub.lookup, ops, _count_lookup)
        self.commit = _Method(stub.commit, ops, _count_commit)
        self.begin_transaction = _Method(stub.begin_transaction, ops, _count_begin)
        self.rollback = _Method(stub.rollback, ops, forgive=types.RollbackResponse)
        self.run_query = _Method(stub.run_query, ops, _count_query)
        self.allocate_ids = _Method(stub.allocate_ids, ops)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise errors.Unimplemented(f"the store does not implement the call {name}")


class _Method:
    def __init__(
        self,
        method: Any,
        ops: OpCounter,
        count: Callable[[Any, Any], dict[str, int]] | None = None,
        forgive: Callable[[], Any] | None = None,
    ) -> None:
        self._method = method
        self._ops = ops
        self._count = count
        self._forgive = forgive

    def future(self, request: Any, timeout: float | None = None, metadata: Any = ()) -> _Call:
        call = self._method.future(request, timeout=timeout or _TIMEOUT_S, metadata=metadata)
        typed = _Call(call, request, self._forgive)
        call.add_done_callback(lambda _: self._done(typed))
        return typed

    def _done(self, call: _Call) -> None:
        amounts = {"calls": 1}
        if self._count and call.exception() is None:
            amounts.update(self._count(call.request, call.result()))
        self._ops.add(**amounts)


class _Call:
    """A call under way or ended, with our errors in place of Google's.

    A failed roll-back counts as done: the transaction ends by itself, and the reason for the roll-back is what the
    caller has to hear.
    """

    def __init__(self, call: Any, request: Any, forgive: Callable[[], Any] | None) -> None:
        self._call = call
        self._forgive = forgive
        self.request = request

    def result(self, timeout: float | None = None) -> Any:
        error = self.exception()
        if error is not None:
            raise error
        return self._forgive() if self._forgive and self._call.exception() else self._call.result()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        error = self._call.exception()
        if error is None or self._forgive:
            return None
        return typed(error, self.request)

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._call.add_done_callback(lambda _: callback(self))

    def cancel(self) -> bool:
        return bool(self._call.cancel())


def typed(error: BaseException, request: Any) -> BaseException:
    """Our error for what a stub raised; ndb would retry Google's own after sleeping for seconds."""
    if isinstance(error, errors.PilotlightError):
        return error
    if not isinstance(error, google_exceptions.GoogleAPICallError) and hasattr(error, "code"):
        error = google_exceptions.from_grpc_error(error)
    if isinstance(error, google_exceptions.Aborted):
        return _caused(Conflict(f"lost a race in the store: {error.message}"), error)
    if isinstance(error, google_exceptions.MethodNotImplemented):
        return _caused(errors.Unimplemented(error.message), error)
    if isinstance(error, google_exceptions.InvalidArgument) and _has_cursor(request):
        return _caused(errors.InvalidArgument("the page token does not belong to this query"), error)
    if isinstance(error, google_exceptions.InvalidArgument) and (size := _largest(request)) > MOST_ENTITY_BYTES:
        text = f"this is more than one record can hold: {size} bytes; at most {MOST_ENTITY_BYTES}"
        return _caused(errors.TooLarge(text), error)
    if isinstance(error, _GONE):
        return _caused(errors.StoreUnavailable(f"the store does not answer: {error.message}"), error)
    return error


def _caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def _has_cursor(request: Any) -> bool:
    return isinstance(request, types.RunQueryRequest) and bool(request.query.start_cursor or request.query.end_cursor)


def _largest(request: Any) -> int:
    """Bytes of the largest entity that a commit writes."""
    if not isinstance(request, types.CommitRequest):
        return 0
    return max((mutation.ByteSize() for mutation in types.CommitRequest.pb(request).mutations), default=0)


def _count_lookup(request: Any, response: Any) -> dict[str, int]:
    return {"reads": len(types.LookupRequest.pb(request).keys)}


def _count_commit(request: Any, response: Any) -> dict[str, int]:
    return {"writes": len(types.CommitRequest.pb(request).mutations)}


def _count_begin(request: Any, response: Any) -> dict[str, int]:
    return {"transactions": 1}


def _count_query(request: Any, response: Any) -> dict[str, int]:
    return {"queries": 1, "results": len(types.RunQueryResponse.pb(response).batch.entity_results)}
