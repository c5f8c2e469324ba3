"""What the store costs: `python -m bench.store [--url embedded:DIR] [--seconds 2] [--entities 10000] [--processes 4]`.

Measures, on one thread unless it says otherwise: a claim-like transaction (3 look-ups, 3 writes of real records), a
small one (1 and 1), a look-up, a delta query, and claims by several processes at once. Bounded by `--seconds` per line.

Measured on a 2-core machine (Python 3.11, ndb 2.7.1, SQLite 3.40, 10,000 tasks in the store, synchronous=NORMAL):

    claim: 3 look-ups, 3 writes      p50 2.4 ms   p99 6.5 ms    of which our share, SQLite included, is 0.4 ms
    small: 1 look-up, 1 write        p50 1.0 ms   p99 1.3 ms    the rest is ndb turning records into messages
    look-up of 1                     p50 0.26 ms  p99 0.4 ms
    delta query, about 20 results    p50 2.1 ms   p99 2.9 ms
    delta query, nothing new         p50 0.23 ms  p99 0.4 ms
    data_version                     p50 3 µs
    claim, 4 processes at once       p50 4.8 ms   p99 25 ms     670 claims/s together
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial

from google.cloud import ndb

from server import errors
from server.records.bot import Bot
from server.records.task import TaskResult, TaskToRun
from server.store.client import Store

DIMENSIONS = {f"dimension{number}": ["some", "values"] for number in range(12)}


def fill(store: Store, entities: int) -> None:
    """Tasks and bots enough that indexes have depth."""
    with store.context():
        for start in range(0, entities, 150):
            records: list[ndb.Model] = []
            for number in range(start, min(start + 150, entities)):
                records.append(TaskToRun(id=f"t{number}", priority=100, changed_s=float(number), expires_s=2e9))
                tags = [f"tag:{number % 50}", "all:1"]
                records.append(TaskResult(id=f"t{number}", tags=tags, created_s=float(number)))
            ndb.put_multi(records)
        ndb.put_multi([Bot(id=f"b{number}", dimensions=DIMENSIONS, changed_s=1.0) for number in range(200)])


def claim(task: int, bot: int) -> None:
    """What a claim reads and writes."""
    keys = [ndb.Key(TaskToRun, f"t{task}"), ndb.Key(TaskResult, f"t{task}"), ndb.Key(Bot, f"b{bot}")]
    to_run, result, owner = ndb.get_multi(keys)
    to_run.status, to_run.expires_s, to_run.changed_s = "claimed", 0.0, to_run.changed_s + 1
    result.claim, result.claim_until_s = {"bot": f"b{bot}", "n": 1}, 2e9
    owner.held, owner.claim_no = {"task": f"t{task}", "n": 1}, owner.claim_no + 1
    ndb.put_multi([to_run, result, owner])


def small(bot: int) -> None:
    """One record, read and written back."""
    owner = ndb.Key(Bot, f"b{bot}").get()
    owner.last_seen_s += 1.0
    owner.put()


def measure(title: str, work: Callable[[int], object], seconds: float) -> None:
    """Runs `work` again and again and prints its times."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        work(len(times))
        times.append(time.perf_counter() - began)
    times.sort()
    report(title, times, seconds)


def report(title: str, times: list[float], seconds: float) -> None:
    """One line: median, 99th percentile, longest, rate."""
    p50, p99 = statistics.median(times), times[int(len(times) * 0.99)]
    print(
        f"{title:<44} p50 {p50 * 1e3:6.2f} ms  p99 {p99 * 1e3:6.2f} ms  max {times[-1] * 1e3:7.2f} ms"
        f"  {len(times) / seconds:7.0f}/s",
        flush=True,
    )


def worker(store: Store, number: int, seconds: float, entities: int) -> None:
    """Claims tasks of its own until the time is up; prints the times in ms."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    task = number
    while (began := time.perf_counter()) < end:
        task = (task + 97) % entities
        try:
            store.transaction(partial(claim, task, (task * 7 + number) % 200))
        except errors.Contention:
            print("contention", file=sys.stderr)
        times.append(time.perf_counter() - began)
    print(" ".join(f"{value:.6f}" for value in times))


def together(url: str, processes: int, seconds: float, entities: int) -> None:
    """Several processes claim at once."""
    options = ["--url", url, "--seconds", str(seconds), "--entities", str(entities)]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.store", *options, "--worker", str(number)], stdout=subprocess.PIPE, text=True
        )
        for number in range(processes)
    ]
    times = sorted(float(value) for process in running for value in process.communicate()[0].split())
    report(f"claim, {processes} processes at once", times, seconds)


def alone(store: Store, seconds: float, entities: int) -> None:
    """What one thread gets."""
    recent = TaskToRun.query(TaskToRun.changed_s > entities - 20)
    none = TaskToRun.query(TaskToRun.changed_s > 1e9)
    works: dict[str, Callable[[int], object]] = {
        "claim: 3 look-ups, 3 writes": lambda n: store.transaction(lambda: claim(n % entities, n % 200)),
        "small: 1 look-up, 1 write": lambda n: store.transaction(lambda: small(n % 200)),
        "look-up of 1": lambda n: ndb.Key(Bot, f"b{n % 200}").get(),
        "delta query, about 20 results": lambda n: recent.fetch(),
        "delta query, nothing new": lambda n: none.fetch(),
        "data_version": lambda n: store.data_version(),
    }
    for title, work in works.items():
        measure(title, work, seconds)


def main() -> None:
    """Fills a store and measures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--entities", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--worker", type=int)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.url or f"embedded:{folder}"
        store = Store.open(url)
        if options.worker is not None:
            worker(store, options.worker, options.seconds, options.entities)
            return
        began = time.perf_counter()
        fill(store, options.entities)
        rate = 2 * options.entities / (time.perf_counter() - began)
        print(f"filled with {options.entities} tasks: {rate:.0f} records/s")
        with store.context():
            alone(store, options.seconds, options.entities)
        together(url, options.processes, options.seconds, options.entities)
        store.close()


if __name__ == "__main__":
    main()
