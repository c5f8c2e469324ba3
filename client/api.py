"""One server as the command line sees it: Swarming's calls over pRPC, and Pilotlight's own JSON API beside them."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from client.prpc import PrpcClient, PrpcError, Retry
from server.proto import swarming_pb2 as swarming

DEFAULT_SERVER = "http://localhost:8080"
LIVE = frozenset({swarming.PENDING, swarming.RUNNING})
PAGE = 1000
STDOUT_WINDOW = 1_000_000
WHY_AT_ONCE = 200
JSON_TIMEOUT_S = 30.0


class ApiError(Exception):
    """The JSON API refused, or did not answer.

    Attributes:
        status: of HTTP; 0 when there was no answer.
        text: what the server said.
        errors: what is wrong by field, where it said that.
    """

    def __init__(self, status: int, text: str, errors: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.errors = dict(errors or {})


@dataclass(frozen=True, slots=True)
class Document:
    """An answer of the JSON API, and the revision that it names (0 when it names none)."""

    body: dict[str, Any]
    revision: int = 0


class Api:
    """Calls of one server with one identity; safe to share between threads."""

    def __init__(self, client: PrpcClient) -> None:
        self._client = client

    @property
    def server_url(self) -> str:
        """Scheme, host and port."""
        return self._client.server_url

    def wait_out(self, retry: Retry, on_retry: Callable[[PrpcError, float], None] | None = None) -> None:
        """From now on repeats calls that failed for a reason that may pass so long, and tells of it."""
        self._client.retry = retry
        self._client.on_retry = on_retry

    # ---- Swarming's API

    def new_task(self, request: swarming.NewTaskRequest) -> str:
        """Hands a task in; returns its id. The request must have a request_uuid, since the call may be repeated."""
        answer = self._tasks("NewTask", request, swarming.TaskRequestMetadataResponse)
        return str(answer.task_id)

    def result(self, task_id: str) -> swarming.TaskResultResponse:
        """What became of a task so far."""
        return self._tasks("GetResult", swarming.TaskIdWithPerfRequest(task_id=task_id), swarming.TaskResultResponse)

    def results(self, task_ids: Sequence[str]) -> list[swarming.TaskResultResponse]:
        """The same of several, in this order.

        Raises:
            ApiError: one of them cannot be had.
        """
        request = swarming.BatchGetResultRequest(task_ids=task_ids)
        found = self._tasks("BatchGetResult", request, swarming.BatchGetResultResponse).results
        for item in found:
            if item.HasField("error"):
                raise ApiError(0, f"task {item.task_id}: {item.error.message}")
        return [item.result for item in found]

    def stdout(self, task_id: str, offset: int = 0) -> Iterator[bytes]:
        """Output from a byte on, piece by piece, until nothing more is there now."""
        while True:
            request = swarming.TaskIdWithOffsetRequest(task_id=task_id, offset=offset, length=STDOUT_WINDOW)
            piece = self._tasks("GetStdout", request, swarming.TaskOutputResponse).output
            if not piece:
                return
            yield piece
            offset += len(piece)

    def cancel(self, task_id: str, kill_running: bool) -> swarming.CancelResponse:
        """Withdraws a waiting task, stops a running one if asked to."""
        request = swarming.TaskCancelRequest(task_id=task_id, kill_running=kill_running)
        return self._tasks("CancelTask", request, swarming.CancelResponse)

    def tasks(
        self, *, state: str = "QUERY_ALL", tags: Sequence[str] = (), limit: int = PAGE, since_s: float = 0.0
    ) -> list[swarming.TaskResultResponse]:
        """Tasks, newest first, background ones among them."""
        items: list[swarming.TaskResultResponse] = []
        cursor = ""
        while len(items) < limit:
            request = swarming.TasksWithPerfRequest(
                limit=min(PAGE, limit - len(items)), cursor=cursor, state=swarming.StateQuery.Value(state), tags=tags
            )
            if since_s > 0:
                request.start.FromNanoseconds(int(since_s * 1e9))
            page = self._tasks("ListTasks", request, swarming.TaskListResponse)
            items += page.items
            cursor = page.cursor
            if not cursor:
                break
        return items[:limit]

    def bot(self, bot_id: str) -> swarming.BotInfo:
        """One bot."""
        return self._bots("GetBot", swarming.BotRequest(bot_id=bot_id), swarming.BotInfo)

    def bots(self, dimensions: Sequence[tuple[str, str]] = ()) -> list[swarming.BotInfo]:
        """All bots that have these dimensions, by id."""
        items: list[swarming.BotInfo] = []
        cursor = ""
        while True:
            pairs = [swarming.StringPair(key=key, value=value) for key, value in dimensions]
            request = swarming.BotsRequest(limit=PAGE, cursor=cursor, dimensions=pairs)
            page = self._bots("ListBots", request, swarming.BotInfoListResponse)
            items += page.items
            cursor = page.cursor
            if not cursor:
                return items

    def has_bots(self, pool: str) -> bool:
        """Whether any bot of the pool is known, alive or not."""
        request = swarming.BotsRequest(limit=1, dimensions=[swarming.StringPair(key="pool", value=pool)])
        return bool(self._bots("ListBots", request, swarming.BotInfoListResponse).items)

    def _tasks(self, method: str, request: Any, response_class: Any) -> Any:
        return self._client.call("swarming.v2.Tasks", method, request, response_class)

    def _bots(self, method: str, request: Any, response_class: Any) -> Any:
        return self._client.call("swarming.v2.Bots", method, request, response_class)

    # ---- Pilotlight's own API

    def handed_back(self, found: Sequence[swarming.TaskResultResponse]) -> set[str]:
        """Those of these tasks whose bot was not lost but shut down: to Swarming's API both are BOT_DIED.

        Raises:
            ApiError: no answer.
        """
        ids = [task.task_id for task in found if task.state == swarming.BOT_DIED]
        chunks = [ids[at : at + WHY_AT_ONCE] for at in range(0, len(ids), WHY_AT_ONCE)]
        try:
            told = [why for chunk in chunks for why in self.get("/why/tasks", ids=",".join(chunk)).body["tasks"]]
        except ApiError as error:
            if not error.status:
                raise
            return set()  # a server that has this not, or does not tell us
        return {str(why["task_id"]) for why in told if why["handed_back"]}

    def get(self, path: str, **query: str) -> Document:
        """GET below /api/v1; empty values of the query are left out.

        Raises:
            ApiError: refused, or no answer.
        """
        words = urlencode({key: value for key, value in query.items() if value})
        return self._json("GET", path + (f"?{words}" if words else ""))

    def post(self, path: str, body: Mapping[str, Any] | bytes) -> Document:
        """POST below /api/v1; bytes are YAML, for the server to read. Raises as `get`."""
        return self._json("POST", path, body)

    def put(self, path: str, body: Mapping[str, Any] | bytes, base_revision: int) -> Document:
        """PUT below /api/v1 over the revision that was edited. Raises as `get`."""
        return self._json("PUT", path, body, {"If-Match": f'"{base_revision}"'})

    def _json(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Document:
        is_yaml = isinstance(body, bytes)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.server_url}/api/v1{path}", data, method=method)
        for name, value in {
            "Accept": "application/json",
            "Content-Type": "application/yaml" if is_yaml else "application/json",
            **(headers or {}),
        }.items():
            request.add_header(name, value)
        if self._client.token:
            request.add_header("Authorization", f"Bearer {self._client.token}")
        try:
            with urllib.request.urlopen(request, timeout=JSON_TIMEOUT_S) as answer:
                return Document(json.load(answer), _revision(answer.headers.get("ETag", "")))
        except urllib.error.HTTPError as error:
            raise _refusal(error) from error
        except (OSError, ValueError) as error:
            raise ApiError(0, f"no answer from {self.server_url}: {getattr(error, 'reason', error)}") from error


def quoted(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")


def connect(server_url: str, token: str | None = None) -> Api:
    """A server by its address.

    Raises:
        ValueError: it is no address of a server.
    """
    return Api(PrpcClient(server_url, token))


def seconds(timestamp: Any) -> float:
    """A Timestamp as seconds since the epoch, 0 when it is not set."""
    return timestamp.seconds + timestamp.nanos / 1e9


def state_name(result: swarming.TaskResultResponse) -> str:
    """`COMPLETED`, or the number of a state that this client does not know."""
    known = swarming.TaskState.values()
    return swarming.TaskState.Name(result.state) if result.state in known else str(result.state)


def ran_s(result: swarming.TaskResultResponse, now_s: float) -> float:
    """Seconds that it ran: as its bot measured, else from its start to its end, or to now; 0 if it did not start."""
    started_s, ended_s = seconds(result.started_ts), seconds(result.completed_ts) or seconds(result.abandoned_ts)
    if not started_s:
        return 0.0
    return result.duration or max(0.0, (ended_s if is_final(result) else now_s) - started_s)


def is_final(result: swarming.TaskResultResponse) -> bool:
    """Whether nothing more becomes of it."""
    return result.state not in LIVE


def wait_for_end(api: Api, task_id: str, timeout_s: float) -> swarming.TaskResultResponse:
    """Polls until a task is final.

    Raises:
        TimeoutError: it is not within so many seconds.
    """
    deadline_s = time.monotonic() + timeout_s
    for pause_s in pauses_s():
        result = api.result(task_id)
        if is_final(result):
            return result
        if time.monotonic() >= deadline_s:
            raise TimeoutError(f"task {task_id} is {state_name(result)} after {timeout_s:g} s")
        time.sleep(pause_s)
    raise AssertionError("pauses never end")


def pauses_s() -> Iterator[float]:
    """0.2 s at first, growing to 1 s."""
    pause_s = 0.2
    while True:
        yield pause_s
        pause_s = min(1.0, pause_s * 1.1)


def _revision(etag: str) -> int:
    digits = etag.strip('W/"')
    return int(digits) if digits.isdecimal() else 0


def _refusal(error: urllib.error.HTTPError) -> ApiError:
    try:
        said = json.load(error)["error"]
        errors = {str(key): str(value) for key, value in said.get("errors", {}).items()}
        return ApiError(error.code, str(said["message"]), errors)
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return ApiError(error.code, f"HTTP {error.code} {error.reason}")
