"""Tasks for the deployment's pool: made, waited for, read."""

from __future__ import annotations

import uuid

from client.api import Api, is_final
from server.proto import swarming_pb2 as swarming
from tests.app_engine.conftest import POOL, wait_for

LONG = ("python3", "-c", "import time; print('here', flush=True); time.sleep(60)")


def task(*command: str, cache: str = "", name: str = "task", **dimensions: str) -> swarming.NewTaskRequest:
    """A request for a task of the pool, which may ask for a named cache."""
    pairs = {"pool": POOL, **dimensions}.items()
    properties = swarming.TaskProperties(
        command=command,
        dimensions=[swarming.StringPair(key=key, value=value) for key, value in pairs],
        caches=[swarming.CacheEntry(name=cache, path="c")] if cache else [],
        execution_timeout_secs=120,
        grace_period_secs=1,
    )
    piece = swarming.TaskSlice(properties=properties, expiration_secs=600, wait_for_capacity=True)
    return swarming.NewTaskRequest(
        name=name, priority=100, user="ci", task_slices=[piece], request_uuid=str(uuid.uuid4())
    )


def ended(api: Api, task_id: str, timeout_s: float = 20.0) -> swarming.TaskResultResponse:
    """Waits for a task's end."""
    wait_for(lambda: is_final(api.result(task_id)), timeout_s, f"the end of {task_id}")
    return api.result(task_id)


def output(api: Api, task_id: str) -> str:
    """All that a task said."""
    return b"".join(api.stdout(task_id)).decode()
