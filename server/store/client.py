"""The store that the server works with: which one it is, contexts, transactions, and what was asked of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from google.cloud import ndb
from google.cloud.ndb import _retry
from google.cloud.ndb import context as ndb_context

from server import errors
from server.clock import SystemClock
from server.store.embedded import EmbeddedClient
from server.store.indexes import CompositeIndexes
from server.store.ops import OpCounter
from server.store.sqlite_pool import Synchronous
from server.store.storage import Storage
from server.store.stub import Conflict, CountingStub

Result = TypeVar("Result")

INDEX_FILE = Path(__file__).parents[2] / "index.yaml"
_TRIES = 5
_PAUSE_S = (0.002, 0.020)

# ndb's own retries sleep for seconds while they hold a request's thread; `transaction` has better ones.
_retry._DEFAULT_RETRIES = 0


class Store:
    """One connection to the records, shared by all threads of a process.

    Attributes:
        ops: what was asked of the store, see `OpCounter`.
        stub: the six calls, for records that go past ndb; each is `stub.lookup.future(request).result()` and so on.
        project: the project that keys carry.
    """

    def __init__(self, client: ndb.Client, rng: random.Random | None = None) -> None:
        """Use `Store.open`."""
        self.ops = OpCounter()
        self._embedded = client.stub if isinstance(client, EmbeddedClient) else None
        self.stub = CountingStub(client.stub, self.ops)
        self.project: str = client.project
        client.stub = self.stub
        self._client = client
        self._rng = rng or random.Random()
        self._clock = SystemClock()

    @classmethod
    def open(
        cls,
        url: str,
        *,
        index_file: Path | str = INDEX_FILE,
        synchronous: Synchronous = "NORMAL",
        connections: int = 8,
        busy_timeout_s: float = 5.0,
        rng: random.Random | None = None,
    ) -> Store:
        """Opens "embedded:FOLDER" or "datastore:PROJECT" (Google's emulator if DATASTORE_EMULATOR_HOST is set).

        Args:
            url: which store.
            index_file: the composite indexes; the embedded store keeps exactly these.
            synchronous: "NORMAL" loses nothing when the process is killed, "FULL" nothing when the power fails.
            connections: how many threads the embedded store serves at once.
            busy_timeout_s: how long a call waits for the embedded store before it is StoreUnavailable.
            rng: for the pauses between tries of a transaction.

        Raises:
            ValueError: not a store's URL, or a broken index file.
            StoreCorrupt: the embedded store is damaged or of a newer version; its file was left as it is.
            StoreUnavailable: the embedded store cannot be opened.
        """
        scheme, _, place = url.partition(":")
        if scheme == "datastore" and place:
            return cls(ndb.Client(project=place), rng)
        if scheme != "embedded" or not place:
            raise ValueError(f"not a store: {url!r}; expected embedded:FOLDER or datastore:PROJECT")
        composites = CompositeIndexes.from_file(index_file)
        storage = Storage(Path(place), connections=connections, busy_timeout_s=busy_timeout_s, synchronous=synchronous)
        return cls(EmbeddedClient(storage, composites), rng)

    def close(self) -> None:
        """Ends the connection; calls after it fail."""
        if self._embedded:
            self._embedded.storage.close()

    @contextmanager
    def context(self) -> Iterator[None]:
        """An ndb context around store work; within another one of this thread it does nothing.

        Raises:
            RuntimeError: the thread works with another store at the moment.
        """
        current = ndb_context.get_context(False)
        if current is not None:
            if current.client is not self._client:
                raise RuntimeError("this thread is in the context of another store")
            yield
            return
        with self._client.context(cache_policy=_never, global_cache=None, legacy_data=False):
            yield

    def transaction(self, function: Callable[[], Result]) -> Result:
        """Runs `function` as one transaction and returns its result; it may run several times.

        It reads by key only, sees nothing of its own writes, and has no side effects. If it raises, nothing is written.

        Raises:
            RuntimeError: called within a transaction.
            Contention: five tries in a row lost their race.
            StoreUnavailable: the store cannot be reached.
        """
        with self.context():
            if ndb.in_transaction():
                raise RuntimeError("a transaction within a transaction")
            for attempt in range(_TRIES):
                if attempt:
                    self._clock.sleep(self._rng.uniform(*_PAUSE_S))
                try:
                    return ndb.transaction(function, retries=0)
                except Conflict as error:
                    conflict = error
            raise errors.Contention(f"a transaction lost its race {_TRIES} times") from conflict

    def data_version(self) -> int | None:
        """A number that changes when anybody has changed the embedded store; None if the store cannot tell."""
        return self._embedded.storage.data_version() if self._embedded else None

    def backup(self, target: Path | str) -> None:
        """Copies the embedded store into the new file `target` while it is in use; put in a folder, it is restored.

        Raises:
            AlreadyExists: there is something at `target`.
            StoreUnavailable: it cannot be written.
            Unimplemented: the store is not the embedded one; Datastore has exports.
        """
        if not self._embedded:
            raise errors.Unimplemented("only the embedded store has backups of its own; export the Datastore instead")
        self._embedded.storage.backup(Path(target))

    def sweep_expired(self, now_s: float, *, batch: int = 200, most: int = 10_000) -> int:
        """Deletes entities of any kind whose indexed `expire_at`, a time or seconds since the epoch, is past.

        In production a TTL policy on `expire_at` does this, so for a Datastore nothing is done.

        Args:
            now_s: entities that expire before this go.
            batch: how many are deleted in one transaction, so that others get between.
            most: when to stop and leave the rest for the next sweep.

        Returns:
            how many were deleted.
        """
        deleted = 0
        while self._embedded and deleted < most:
            swept, more = self._embedded.sweep_expired(now_s, min(batch, most - deleted))
            self.ops.add(calls=1, writes=swept)
            deleted += swept
            if not more:
                break
        return deleted


def _never(key: Any) -> bool:
    return False
