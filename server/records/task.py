"""One task, few records: the request, its place in the queue, its result, and packets of output."""

from __future__ import annotations

from google.cloud import ndb

from server.records import Flag, Int, Record, Seconds, Text

# States of TaskResult, by the names of Swarming's TaskState.
PENDING, RUNNING = "PENDING", "RUNNING"
EXPIRED, TIMED_OUT, BOT_DIED, CANCELED = "EXPIRED", "TIMED_OUT", "BOT_DIED", "CANCELED"
COMPLETED, KILLED, NO_RESOURCE, CLIENT_ERROR = "COMPLETED", "KILLED", "NO_RESOURCE", "CLIENT_ERROR"
LIVE = (PENDING, RUNNING)
FINAL = (EXPIRED, TIMED_OUT, BOT_DIED, CANCELED, COMPLETED, KILLED, NO_RESOURCE, CLIENT_ERROR)


class TaskRequest(Record):
    """What was asked for; never changes. Key: `caller:request_uuid` when there is one, else the task's id.

    So a repeated request finds the first task by one point read, without a record of its own.
    """

    task_id = Text()
    name = Text()
    slices = ndb.JsonProperty(default=[], compressed=True)
    priority = Int()
    tags = ndb.JsonProperty(default=[])
    user = Text()
    authenticated = Text()
    realm = Text()
    service_account = Text()
    parent_task_id = Text()
    bot_ping_tolerance_s = Seconds()
    pubsub = ndb.JsonProperty(default={})
    created_s = Seconds()
    purpose = Text()
    spec_family = Text()
    spec_revision = Int()


class TaskToRun(Record):
    """The current slice's place in the queue. Key: the task's id. Background tasks have none.

    `status` is pending, claimed or gone; gone ones stay for a while so that every process sees them leave.
    `slice` is the manifest's part of the current slice, so that a claim needs no TaskRequest.
    """

    pool = Text()
    priority = Int()
    created_s = Seconds()
    slice_no = Int()
    slice = ndb.JsonProperty(default={}, compressed=True)
    dimensions = ndb.JsonProperty(default=[])
    wishes = ndb.JsonProperty(default=[])
    status = ndb.StringProperty(indexed=True, default="pending")
    expires_s = Seconds(indexed=True)
    """When the current slice expires; 0 while it cannot (claimed or gone)."""
    deadline_s = Seconds()
    """The same, kept while a claim suspends it."""
    victim = ndb.JsonProperty(default=None)
    changed_s = Seconds(indexed=True)


class TaskResult(Record):
    """What became of a task; the arbiter of every transition. Key: the task's id.

    `state` PENDING with a `claim` and `offered` is an offered task: shown as PENDING until its start commits.
    `claim` is {bot, session, n}; it stays after the end, to tell late updates of this run from others.
    """

    request_key = Text()
    name = Text()
    tags = ndb.StringProperty(indexed=True, repeated=True)
    user = Text()
    pool = Text()
    priority = Int()
    state = ndb.StringProperty(indexed=True, default=PENDING)
    offered = Flag()
    claim = ndb.JsonProperty(default=None)
    claim_until_s = Seconds(indexed=True)
    claims_without_start = Int()
    stop = Text()
    slice_no = Int()
    created_s = Seconds(indexed=True)
    modified_s = Seconds()
    started_s = Seconds()
    completed_s = Seconds()
    abandoned_s = Seconds()
    exit_code = ndb.IntegerProperty(indexed=False, default=None)
    duration_s = ndb.FloatProperty(indexed=False, default=None)
    bot_id = Text()
    bot_dimensions = ndb.JsonProperty(default={})
    bot_version = Text()
    bot_idle_since_s = Seconds()
    failure = Flag()
    internal_failure = Flag()
    error = Text()
    stats = ndb.JsonProperty(default={})
    missing = ndb.JsonProperty(default={})
    grace_period_s = Seconds()
    purpose = ndb.StringProperty(indexed=True, default="")
    """"" for a real task, else why this background task exists."""
    spec_family = Text()
    spec_revision = Int()
    generation = Text()
    slot = Text()
    for_task = Text()
    wishes = ndb.JsonProperty(default=[])
    """Demand key: [[family, generation]…], recorded from the first day; history cannot be made afterwards."""
    warm_at_start = ndb.JsonProperty(default={})
    """Per wished family: phase, generation, and which task and spec made the bot warm, when the run was claimed."""
    why_bot = Text()
    """Why this bot got it."""
    decision = Text()
    terms = ndb.JsonProperty(default={}, compressed=True)
    """Of a background run: what the hand-out rested on, as `server.decisions.terms` has it."""
    config_revision = Int()


class OutputPacket(Record):
    """A packet of output. Key: child of the TaskResult, id = byte offset, 15 digits; a repeat overwrites itself."""

    data = ndb.BlobProperty(default=b"")


def packet_key(task_id: str, offset: int) -> ndb.Key:
    """Key of the packet of `task_id` at byte `offset`."""
    return ndb.Key("TaskResult", task_id, "OutputPacket", f"{offset:015d}")
