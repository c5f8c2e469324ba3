"""The bot: what it reports, the session that owns its id, and the one run that it holds."""

from __future__ import annotations

from google.cloud import ndb

from server.records import Flag, Int, Record, Seconds, Text

SUPERSEDED_KEPT = 5


class Bot(Record):
    """Key: the bot's id.

    `held` is None or {task, n, stop, purpose, family, generation, slot, for, since_s, net}; `claim_no` is monotone.
    `slots` maps a slot to the fields of `policy.model.Slot`.
    """

    pool = ndb.StringProperty(indexed=True, default="")
    dimensions = ndb.JsonProperty(default={})
    state = ndb.JsonProperty(default={})
    version = Text()
    fingerprint = Text()
    session_id = Text()
    superseded = ndb.JsonProperty(default=[])
    """Former session ids, newest last: [{session, at_s, alive_after}]; a late handshake of one changes nothing."""
    claim_no = Int()
    held = ndb.JsonProperty(default=None)
    quiet_until_s = Seconds()
    quiet_n = Int()
    """Number of the run whose runner may still be alive: its last update ends the quiet time."""
    alive = Flag(default=True)
    quarantined = Text()
    """Reason given by the bot itself."""
    server_quarantined = Text()
    """Reason found by the server: a black hole, two machines with one id."""
    maintenance = Text()
    slots = ndb.JsonProperty(default={})
    failed_s = ndb.JsonProperty(default={})
    """Family → when a background run of it last failed here, until one succeeds."""
    out_of_turn = Int()
    """Real tasks started before an older one that had waited too long, since the last cold start."""
    quick_failures = ndb.JsonProperty(default=[])
    """Names of the real tasks that this bot failed in a row within seconds (a black hole)."""
    foreign = Flag()
    """True for a bot that is not our own: it gets longer claim timeouts."""
    first_seen_s = Seconds()
    last_seen_s = Seconds()
    idle_since_s = Seconds()
    external_ip = Text()
    authenticated_as = Text()
    changed_s = Seconds(indexed=True)
