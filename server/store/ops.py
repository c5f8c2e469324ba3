"""Counts what is asked of a store, at the one place that every request passes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields


@dataclass(slots=True)
class Ops:
    """How much was asked of the store.

    Attributes:
        reads: entities looked up by key, found or not.
        writes: entities written or deleted by commits that succeeded.
        queries: run_query calls; an `IN` of three values is three.
        results: entities and keys that queries returned.
        transactions: transactions begun; a repeated try is another one.
        calls: calls of any kind, begin and rollback among them.
    """

    reads: int = 0
    writes: int = 0
    queries: int = 0
    results: int = 0
    transactions: int = 0
    calls: int = 0


class OpCounter:
    """Sums over all threads that use one `Store`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals = Ops()

    def add(self, **amounts: int) -> None:
        """Adds to the fields of `Ops` that are named."""
        with self._lock:
            for name, amount in amounts.items():
                setattr(self._totals, name, getattr(self._totals, name) + amount)

    def totals(self) -> Ops:
        """Everything since the store was opened."""
        with self._lock:
            return Ops(*(getattr(self._totals, field.name) for field in fields(Ops)))

    @contextmanager
    def measure(self) -> Iterator[Ops]:
        """Gives an `Ops` that holds, once the block is left, what was asked while it ran."""
        measured = Ops()
        before = self.totals()
        try:
            yield measured
        finally:
            after = self.totals()
            for field in fields(Ops):
                setattr(measured, field.name, getattr(after, field.name) - getattr(before, field.name))
