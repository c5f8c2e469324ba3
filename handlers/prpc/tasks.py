"""swarming.v2.Tasks: handing work in, following it, stopping it."""

from __future__ import annotations

from handlers.prpc import convert
from handlers.prpc.new_task import new_task_input
from handlers.prpc.status import status_of
from handlers.prpc.transport import Call, Method, Methods
from server import task_output, task_request, task_results, task_scheduler
from server.access import Permission
from server.errors import InvalidArgument, PilotlightError, Unimplemented
from server.proto import swarming_pb2 as api
from server.records.task import TaskResult
from server.service import Service
from server.version import VERSION

NAME = "swarming.v2.Tasks"
MOST_IN_A_BATCH = 1000


def methods(service: Service) -> Methods:
    """What this service serves by now."""
    calls = Tasks(service)
    get, create = Permission.TASK_GET, Permission.POOL_CREATE_TASK
    cancel, list_tasks = Permission.TASK_CANCEL, Permission.POOL_LIST_TASKS
    table = {
        "NewTask": Method(api.NewTaskRequest, api.TaskRequestMetadataResponse, calls.new_task, create),
        "GetRequest": Method(api.TaskIdRequest, api.TaskRequestResponse, calls.get_request, get),
        "GetResult": Method(api.TaskIdWithPerfRequest, api.TaskResultResponse, calls.get_result, get),
        "BatchGetResult": Method(api.BatchGetResultRequest, api.BatchGetResultResponse, calls.batch_get_result, get),
        "GetStdout": Method(api.TaskIdWithOffsetRequest, api.TaskOutputResponse, calls.get_stdout, get),
        "CancelTask": Method(api.TaskCancelRequest, api.CancelResponse, calls.cancel_task, cancel),
        "ListTasks": Method(api.TasksWithPerfRequest, api.TaskListResponse, calls.list_tasks, list_tasks),
    }
    return {(NAME, name): method for name, method in table.items()}


class Tasks:
    """The methods, bound to one process's service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def new_task(self, call: Call, request: api.NewTaskRequest) -> api.TaskRequestMetadataResponse:
        """Makes a task, or gives the one that the same caller made with this request_uuid."""
        created = task_request.new_task(self._service, call.principal, new_task_input(request))
        if request.evaluate_only:
            return api.TaskRequestMetadataResponse(request=convert.task_request(created.request, with_id=False))
        return api.TaskRequestMetadataResponse(
            task_id=created.request.task_id,
            request=convert.task_request(created.request),
            task_result=_result(created.result),
        )

    def get_request(self, call: Call, request: api.TaskIdRequest) -> api.TaskRequestResponse:
        """What was asked for."""
        return convert.task_request(task_results.get_request(self._service, call.principal, request.task_id))

    def get_result(self, call: Call, request: api.TaskIdWithPerfRequest) -> api.TaskResultResponse:
        """What became of it so far."""
        result = task_results.get_result(self._service, call.principal, request.task_id)
        return _result(result, request.include_performance_stats)

    def batch_get_result(self, call: Call, request: api.BatchGetResultRequest) -> api.BatchGetResultResponse:
        """The same of many tasks, in the order and with the texts of the ids asked for."""
        task_ids = list(request.task_ids)
        if not 1 <= len(task_ids) <= MOST_IN_A_BATCH:
            text = f"task_ids: {len(task_ids)} ids; 1 to {MOST_IN_A_BATCH} are allowed"
            raise InvalidArgument(text, field="task_ids")
        if len(set(task_ids)) != len(task_ids):
            raise InvalidArgument("task_ids: an id is given twice", field="task_ids")
        answer = api.BatchGetResultResponse()
        found = task_results.get_results(self._service, call.principal, task_ids)
        for task_id, outcome in zip(task_ids, found, strict=True):
            item = answer.results.add(task_id=task_id)
            if isinstance(outcome, PilotlightError):
                item.error.CopyFrom(status_of(outcome))
            else:
                item.result.CopyFrom(_result(outcome, request.include_performance_stats))
        return answer

    def get_stdout(self, call: Call, request: api.TaskIdWithOffsetRequest) -> api.TaskOutputResponse:
        """A window of the output. The state is read first, so that a final one has all of the output with it."""
        result = task_results.get_result(self._service, call.principal, request.task_id)
        if request.length < 0:
            raise InvalidArgument(f"length: {request.length} is negative", field="length")
        output = task_output.read(self._service, str(result.key.id()), request.offset, request.length)
        return api.TaskOutputResponse(output=output, state=convert.task_state(result.state))

    def cancel_task(self, call: Call, request: api.TaskCancelRequest) -> api.CancelResponse:
        """Withdraws a waiting task; stops a running one only if asked to."""
        result = task_results.get_result(self._service, call.principal, request.task_id)
        call.principal.require(Permission.TASK_CANCEL, result.pool)
        canceled, was_running = task_scheduler.cancel(self._service, str(result.key.id()), request.kill_running)
        return api.CancelResponse(canceled=canceled, was_running=was_running)

    def list_tasks(self, call: Call, request: api.TasksWithPerfRequest) -> api.TaskListResponse:
        """Results, newest task first."""
        if request.sort != api.QUERY_CREATED_TS:
            raise Unimplemented("sort: lists come by QUERY_CREATED_TS only", field="sort")
        if request.state not in api.StateQuery.values():
            raise InvalidArgument(f"state: {request.state} is not a state query", field="state")
        query = task_results.ListQuery(
            limit=request.limit,
            cursor=request.cursor,
            state=api.StateQuery.Name(request.state),
            tags=tuple(request.tags),
            start_s=convert.seconds(request.start),
            end_s=convert.seconds(request.end),
        )
        page = task_results.list_tasks(self._service, call.principal, query)
        items = [_result(result, request.include_performance_stats) for result in page.items]
        now = convert.timestamp(self._service.clock.now_s())
        return api.TaskListResponse(cursor=page.cursor, items=items, now=now)


def _result(record: TaskResult, include_performance_stats: bool = False) -> api.TaskResultResponse:
    return convert.task_result(record, server_version=VERSION, include_performance_stats=include_performance_stats)
