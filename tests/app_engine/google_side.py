"""Google's side as far as instances notice it: the front end, cron, and Cloud Tasks."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
import urllib.request
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import grpc
import yaml
from google.cloud import tasks_v2

from tests.faults.proxy import _HOP, Passing, Proxy
from tests.server_process import ROOT

CALLER = "198.51.100.7"
"""Address of everybody who comes through the front end."""


class FrontEnd(Proxy):
    """Spreads requests over the instances in turn; speaks https as far as these can tell.

    Headers of App Engine's own are taken out of what comes from outside.
    """

    def __init__(self, urls: list[str]) -> None:
        super().__init__(urls[0])
        self.targets = [urlsplit(url).netloc for url in urls]
        self._turn = itertools.count()

    def forward(self, passing: Passing, headers: dict[str, str]) -> bool:
        own = {"Host": urlsplit(self.url).netloc, "X-Forwarded-Proto": "https", "X-Appengine-User-Ip": CALLER}
        kept = {name: text for name, text in headers.items() if not name.lower().startswith("x-appengine-")}
        target = self.targets[next(self._turn) % len(self.targets)]
        connection = http.client.HTTPConnection(target, timeout=30)
        try:
            connection.request(passing.method, passing.path, passing.body or None, {**kept, **own})
            answer = connection.getresponse()
            passing.status, passing.answer = answer.status, answer.read()
            passing.headers = [(name, text) for name, text in answer.getheaders() if name.lower() not in _HOP]
            return True
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def call(url: str, method: str, headers: dict[str, str]) -> int:
    """A request of App Engine's own; its status, 0 when nobody answers."""
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def cron_urls() -> list[str]:
    """The paths that cron calls."""
    return [entry["url"] for entry in yaml.safe_load((ROOT / "cron.yaml").read_text())["cron"]]


def cron(base_url: str, path: str) -> int:
    """Cron calls; the status."""
    return call(base_url + path, "GET", {"X-Appengine-Cron": "true", "X-Appengine-User-Ip": "0.1.0.1"})


@dataclass(frozen=True, slots=True)
class Delivered:
    """A call that Cloud Tasks made."""

    path: str
    url: str
    status: int


@dataclass
class CloudTasks(grpc.GenericRpcHandler):
    """Calls over HTTP what it was asked to over gRPC: when it is due, at the instances in turn, again if it failed."""

    queue: str
    urls: list[str]
    delivered: list[Delivered] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = {one["name"]: one for one in yaml.safe_load((ROOT / "queue.yaml").read_text())["queue"]}
        self._retry = settings[self.queue.rpartition("/")[2]]["retry_parameters"]
        self._turn = itertools.count()
        self._ended = threading.Event()
        self._server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[self])
        self.host = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> CloudTasks:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.stop(None)

    def service(self, handler_call_details: Any) -> Any:
        """gRPC asks which function answers a call."""
        if handler_call_details.method != "/google.cloud.tasks.v2.CloudTasks/CreateTask":
            return None
        return grpc.unary_unary_rpc_method_handler(
            self._create, tasks_v2.CreateTaskRequest.deserialize, tasks_v2.Task.serialize
        )

    def _create(self, request: tasks_v2.CreateTaskRequest, context: grpc.ServicerContext) -> tasks_v2.Task:
        if request.parent != self.queue:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no queue {request.parent}")
        due_s = request.task.schedule_time.timestamp() if request.task.schedule_time else 0.0
        threading.Thread(target=self._deliver, args=(request.task.app_engine_http_request, due_s), daemon=True).start()
        return request.task

    def _deliver(self, wanted: tasks_v2.AppEngineHttpRequest, due_s: float) -> None:
        if self._ended.wait(max(0.0, due_s - time.time())):
            return
        for tries in range(self._retry["task_retry_limit"] + 1):
            url = self.urls[next(self._turn) % len(self.urls)]
            headers = {
                "X-AppEngine-QueueName": self.queue.rpartition("/")[2],
                "X-AppEngine-TaskRetryCount": str(tries),
                "X-Appengine-User-Ip": "0.1.0.2",
            }
            status = call(url + wanted.relative_uri, tasks_v2.HttpMethod(wanted.http_method).name, headers)
            self.delivered.append(Delivered(wanted.relative_uri, url, status))
            if 200 <= status < 300 or self._ended.wait(self._retry["min_backoff_seconds"] * 2**tries):
                return
