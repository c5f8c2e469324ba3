"""Whatever a bot sends: a clear typed answer, nothing lost, nothing changed."""

from __future__ import annotations

from typing import Any

import pytest

from handlers.bot_api import STATS
from handlers.prpc import convert
from server import task_output
from server.task_ids import run_id
from tests.life_world import LifeWorld
from tests.wire_bot import API, WireBot, b64


@pytest.fixture
def bot(world: LifeWorld) -> WireBot:
    bot = WireBot(world)
    bot.handshake()
    return bot


def running(world: LifeWorld, bot: WireBot) -> str:
    task = world.new_task()
    bot.poll()
    assert bot.run == run_id(task)
    assert bot.update().json["must_stop"] is False
    return task


# ---- bodies


@pytest.mark.parametrize("path", ["handshake", "poll", "event", "task_update", "task_error"])
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nonsense", b"[]", b"7", b"null", b'"text"', b'{"a": \xff}', b'{"a": "\\ud800"}', b"[" * 100_000],
    ids=["empty", "cut", "words", "list", "number", "null", "text", "not UTF-8", "half a character", "deep"],
)
def test_a_body_that_is_no_json_object_is_refused_and_changes_nothing(bot: WireBot, path: str, body: bytes) -> None:
    before = bot.world.store.ops.totals().writes
    error = bot.post(f"{API}/{path}", body, 400).json["error"]
    assert error["code"] == "INVALID_ARGUMENT"
    assert error["message"]
    assert bot.world.store.ops.totals().writes == before


@pytest.mark.parametrize("path", [f"{API}/handshake", f"{API}/poll", "/poll", f"{API}/task_update"])
def test_a_body_beyond_a_mebibyte_is_refused_with_the_limit(bot: WireBot, path: str) -> None:
    error = bot.post(path, b'{"x": "' + b"x" * 1_048_576 + b'"}', 413).json["error"]
    assert "1048576" in error["message"]


def test_the_largest_packet_of_a_real_bot_fits(world: LifeWorld, bot: WireBot) -> None:
    task = running(world, bot)
    data = bytes(range(256)) * 1000
    assert bot.update(output=b64(data), output_chunk_start=0).json["ok"]
    assert task_output.read(world.p2, task) == data


def test_unknown_fields_are_ignored_everywhere(world: LifeWorld, bot: WireBot) -> None:
    task = world.new_task()
    odd = {"later_version": {"a": [1]}, "": None}
    bot.handshake(**odd)
    bot.poll(**odd)
    bot.update(**odd)
    assert bot.update(exit_code=0, duration=0.5, **odd).json["ok"]
    assert world.state(task) == "COMPLETED"


# ---- fields of an update


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({"output": 7}, "output"),
        ({"output": ["aGk="]}, "output"),
        ({"output": "not base64!"}, "output"),
        ({"output": "aGk"}, "output"),
        ({"output": "aGk=", "output_chunk_start": "0"}, "output_chunk_start"),
        ({"output": "aGk=", "output_chunk_start": 1.5}, "output_chunk_start"),
        ({"output": "aGk=", "output_chunk_start": True}, "output_chunk_start"),
        ({"output": "aGk=", "output_chunk_start": -1}, "output_chunk_start"),
        ({"output": "aGk=", "output_chunk_start": 2**62}, "output_chunk_start"),
        ({"exit_code": "0", "duration": 1}, "exit_code"),
        ({"exit_code": True, "duration": 1}, "exit_code"),
        ({"exit_code": 1.5, "duration": 1}, "exit_code"),
        ({"exit_code": 2**63, "duration": 1}, "exit_code"),
        ({"exit_code": 0}, "duration"),
        ({"duration": 1.0}, "duration"),
        ({"exit_code": 0, "duration": "1"}, "duration"),
        ({"exit_code": 0, "duration": -1}, "duration"),
        ({"exit_code": 0, "duration": True}, "duration"),
        ({"task_id": 7}, "task_id"),
        ({"task_id": "x"}, "task_id"),
        ({"task_id": "7d312dd800b75c12"}, "task_id"),
        ({"task_id": "7d312dd800b75c11"}, "task_id"),
        ({"session": 7}, "session"),
        ({"session": None}, "session"),
        ({"id": "bot2"}, "id"),
        ({"id": 7}, "id"),
    ],
)
def test_a_field_of_the_wrong_kind_is_named_and_the_run_goes_on(
    world: LifeWorld, bot: WireBot, fields: dict[str, Any], at_fault: str
) -> None:
    task = running(world, bot)
    assert bot.update(400, **fields).json["error"]["field"] == at_fault
    assert world.state(task) == "RUNNING"
    assert task_output.read(world.p1, task) == b""
    assert bot.update().json["must_stop"] is False


def test_a_forged_or_damaged_token_is_refused(world: LifeWorld, bot: WireBot) -> None:
    task = running(world, bot)
    for session in ("nonsense", bot.session[:-1], bot.session + "x", "." + bot.session):
        error = bot.update(401, session=session).json["error"]
        assert (error["code"], error["field"]) == ("UNAUTHENTICATED", "session")
    assert world.state(task) == "RUNNING"


def test_a_token_older_than_a_day_is_refused_and_a_run_longer_than_a_day_is_not(world: LifeWorld, bot: WireBot) -> None:
    task = running(world, bot)
    old = bot.session
    for _ in range(3):
        world.clock.advance(86_000)
        assert bot.update().json["must_stop"] is False
    bot.update(401, session=old)
    assert world.state(task) == "RUNNING"


def test_an_update_for_an_unknown_task_is_not_found_in_json(bot: WireBot) -> None:
    bot.run = "7d312dd800b75c11"
    assert bot.update(404).json["error"]["code"] == "NOT_FOUND"
    assert bot.update(404, exit_code=0, duration=1).json["error"]["code"] == "NOT_FOUND"


def test_an_update_without_the_id_in_its_path_is_the_same(world: LifeWorld, bot: WireBot) -> None:
    task = running(world, bot)
    body = {"id": "bot1", "task_id": bot.run, "session": bot.session, "exit_code": 0, "duration": 1}
    assert bot.post(f"{API}/task_update", body).json["ok"]
    assert world.state(task) == "COMPLETED"


def test_an_update_for_a_task_of_another_bot_must_stop_and_changes_nothing(world: LifeWorld, bot: WireBot) -> None:
    task = running(world, bot)
    other = WireBot(world, "bot2")
    other.handshake()
    other.run = bot.run
    for fields in ({}, {"output": b64(b"lies"), "output_chunk_start": 0}, {"exit_code": 0, "duration": 1}):
        answer = other.update(**fields).json
        assert (answer["must_stop"], answer["ok"]) == (True, False)
    assert other.update(canceled=True).json["must_stop"] is True
    other.post(f"{API}/task_error/{bot.run}", {"id": "bot2", "session": other.session, "task_id": bot.run})
    assert (world.state(task), task_output.read(world.p1, task)) == ("RUNNING", b"")


@pytest.mark.parametrize(
    "stats",
    [
        {"isolated_stats": 7, "bot_overhead": "much", "cost_usd": None},
        {"named_caches_stats": [1], "cleanup_stats": {"duration": "x"}, "cipd_pins": "y"},
        {"cas_output_root": {"digest": {"size_bytes": "z"}}, "cache_trim_stats": {"duration": -1e300}},
        {"isolated_stats": {"download": {"items_cold": "x" * 500_000}}},
    ],
    ids=["kinds", "more kinds", "numbers", "half a megabyte"],
)
def test_odd_statistics_do_not_keep_a_run_from_ending_or_a_client_from_seeing_it(
    world: LifeWorld, bot: WireBot, stats: dict[str, Any]
) -> None:
    task = running(world, bot)
    assert bot.update(exit_code=3, duration=1, **stats).json["ok"]
    result = convert.task_result(world.result(task), server_version="v", include_performance_stats=True)
    assert (result.exit_code, result.failure) == (3, True)


@pytest.mark.parametrize("field", ["hard_timeout", "io_timeout", "canceled"])
@pytest.mark.parametrize("value", ["false", "no", "", "true", 0, 1, [], {}])
def test_an_end_that_is_not_true_or_false_is_refused_and_the_task_runs_on(
    world: LifeWorld, bot: WireBot, field: str, value: Any
) -> None:
    task = running(world, bot)
    error = bot.update(400, **{field: value}).json["error"]
    assert error["field"] == field and "true or false" in error["message"]
    assert world.result(task).state == "RUNNING"


@pytest.mark.parametrize("client_error", [7, "x", [], {"missing_cas": "x"}, {"missing_cipd": [7, None]}, None])
def test_an_odd_error_still_ends_the_task(world: LifeWorld, bot: WireBot, client_error: Any) -> None:
    task = running(world, bot)
    body = {"id": "bot1", "session": bot.session, "task_id": bot.run, "message": ["no"], "client_error": client_error}
    assert bot.post(f"{API}/task_error/{bot.run}", body).json == {"resp": 1}
    result = convert.task_result(world.result(task), server_version="v")
    assert result.state in (convert.task_state("BOT_DIED"), convert.task_state("CLIENT_ERROR"))
    assert world.holds() == ""


@pytest.mark.parametrize(("word", "ended"), [(True, False), ("yes", True), (1, True), (None, True)])
def test_only_the_plain_word_hands_a_task_back(world: LifeWorld, bot: WireBot, word: Any, ended: bool) -> None:
    task = world.new_task()
    bot.poll()
    body = {"id": "bot1", "session": bot.session, "task_id": bot.run, "message": "m", "handed_back": word}
    assert bot.post(f"{API}/task_error/{bot.run}", body).json == {"resp": 1}
    assert world.state(task) == ("BOT_DIED" if ended else "PENDING")


# ---- reports


@pytest.mark.parametrize(
    "dimensions",
    [None, [], "x", {}, {"id": "bot1"}, {"id": []}, {"id": ["a", "b"]}, {"id": [7]}, {"id": [""]}, {"id": ["x" * 257]}],
)
@pytest.mark.parametrize("path", ["handshake", "poll", "event"])
def test_without_exactly_one_bot_id_nothing_is_done(bot: WireBot, path: str, dimensions: Any) -> None:
    body = bot.report(dimensions=dimensions, session=bot.session, session_id="s", event="bot_log", message="")
    error = bot.post(f"{API}/{path}", body, 400).json["error"]
    assert error["field"] == "dimensions.id"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"dimensions": {"id": ["bot1"], "pool": ["p"], "os": []}}, "dimensions.os"),
        ({"dimensions": {"id": ["bot1"], "pool": ["p"], "os": [7]}}, "dimensions.os"),
        ({"dimensions": {"id": ["bot1"], "pool": ["p"], "os": ["a", "a"]}}, "dimensions.os"),
        ({"dimensions": {"id": ["bot1"], "pool": ["p"], "k" * 65: ["a"]}}, "dimensions"),
        ({"dimensions": {"id": ["bot1"], "pool": ["p"], "many": [str(n) for n in range(600)]}}, "512"),
        ({"state": "x"}, "state"),
        ({"state": None}, "state"),
    ],
)
def test_a_malformed_report_quarantines_its_bot_which_is_told_why(
    bot: WireBot, changes: dict[str, Any], why: str
) -> None:
    bot.world.new_task()
    answer = bot.poll(**changes).json
    assert (answer["cmd"], answer["quarantined"]) == ("sleep", True)
    assert why in answer["quarantined_why"]
    assert bot.poll().json["cmd"] == "run"


@pytest.mark.parametrize(
    "state",
    [
        {"named_caches": 7},
        {"named_caches": {"a": None, "b": [[1]], "c": [["x", "y"]], "d": [["x", -5]]}},
        {"named_caches": {"a": [["x", 2**63], 1]}},
        {"quarantined": {"deep": 1}, "maintenance": [1]},
        {"disks": "full", "started_ts": [], "junk": "x" * 200_000},
    ],
)
def test_an_odd_state_does_no_harm(bot: WireBot, state: dict[str, Any]) -> None:
    assert bot.poll(state=state).json["cmd"] == "sleep"
    assert bot.poll().json["cmd"] == "sleep"
    entry = bot.world.p1.view.bot("bot1")
    assert entry is not None and entry.policy.alive


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": [value]}
    return value


@pytest.mark.parametrize("levels", [33, 150, 400])
def test_a_state_nested_too_deeply_is_refused_with_the_limit(bot: WireBot, levels: int) -> None:
    for path in (f"{API}/handshake", f"{API}/poll", "/poll"):
        body = bot.report(session=bot.session, session_id="bot1/1", state={"disks": nested(levels)})
        error = bot.post(path, body, 400).json["error"]
        assert (error["code"], error["field"]) == ("INVALID_ARGUMENT", "state")
        assert "64" in error["message"]
    assert bot.poll(state={"disks": nested(30)}).json["cmd"] == "sleep"


@pytest.mark.parametrize("statistic", [nested(400), "x" * 300_000])
def test_statistics_beyond_their_limits_are_left_out_and_the_task_ends(
    world: LifeWorld, bot: WireBot, statistic: Any
) -> None:
    task = running(world, bot)
    bot.update(isolated_stats=statistic, bot_overhead=1.5, exit_code=0, duration=1)
    assert world.state(task) == "COMPLETED"
    assert (world.result(task).stats["bot_overhead"], "isolated_stats" in world.result(task).stats) == (1.5, False)


def test_many_large_statistics_do_not_keep_a_task_from_ending(world: LifeWorld, bot: WireBot) -> None:
    task = running(world, bot)
    large = dict.fromkeys(STATS, "x" * 95_000)
    bot.update(**large, exit_code=0, duration=1)
    assert world.state(task) == "COMPLETED"


@pytest.mark.parametrize("missing", [nested(400), "x" * 800_000])
def test_an_odd_account_of_missing_inputs_ends_the_task(world: LifeWorld, bot: WireBot, missing: Any) -> None:
    task = running(world, bot)
    body = {"id": "bot1", "session": bot.session, "message": "no", "client_error": {"missing_cas": missing}}
    bot.post(f"{API}/task_error/{bot.run}", body)
    assert world.state(task) == "BOT_DIED"


@pytest.mark.parametrize("field", ["quarantined", "maintenance"])
@pytest.mark.parametrize("length", [50_000, 900_000])
def test_a_long_reason_is_cut(world: LifeWorld, bot: WireBot, field: str, length: int) -> None:
    answer = bot.poll(state={field: "x" * length, "named_caches": {"a": [["p", 5], 1]}})
    assert len(answer.body) < 2000
    entry = world.p1.view.bot("bot1")
    assert entry is not None
    assert 500 < len(entry.state[field]) < 2000
    assert "a" in entry.state["named_caches"]
    bot.post(f"{API}/handshake", bot.report(session_id="bot1/2", state={field: "x" * length}))


def test_more_caches_than_a_state_may_have_quarantine_the_bot_and_say_why(bot: WireBot) -> None:
    caches = {f"cache_{number}": [["some/folder", 1000], 1] for number in range(20_000)}
    answer = bot.poll(state={"named_caches": caches}).json
    assert (answer["quarantined"], "60000" in answer["quarantined_why"]) == (True, True)


def test_more_dimensions_than_are_kept_quarantine_the_bot_and_say_why(bot: WireBot) -> None:
    dimensions = {"id": ["bot1"], "pool": ["p"], "many": [f"{number:0250d}" for number in range(3_500)]}
    answer = bot.poll(dimensions=dimensions).json
    assert (answer["quarantined"], "512" in answer["quarantined_why"]) == (True, True)


@pytest.mark.parametrize("bot_id", ["../../etc", "a b", "ä" * 256, "x:y/z", "0", "<script>"])
def test_a_bot_may_be_called_anything(world: LifeWorld, bot_id: str) -> None:
    odd = WireBot(world, bot_id)
    odd.post(f"{API}/handshake", odd.report(session_id="s/1"))
    task = world.new_task()
    assert odd.poll().json["cmd"] == "run"
    odd.update()
    assert odd.update(exit_code=0, duration=1).json["ok"]
    assert world.result(task).bot_id == bot_id


def test_a_poll_of_one_bot_with_the_token_of_another_is_refused(world: LifeWorld, bot: WireBot) -> None:
    other = WireBot(world, "bot2")
    other.handshake()
    other.session = bot.session
    assert other.poll(400).json["error"]["field"] == "session"


@pytest.mark.parametrize("session", [None, "", 7, "forged", [1]])
def test_a_poll_without_a_good_token_is_told_to_start_anew(bot: WireBot, session: Any) -> None:
    bot.session = session
    answer = bot.poll().json
    assert answer["cmd"] == "bot_restart"
    assert answer["message"]


@pytest.mark.parametrize("hold_s", ["long", -1, True, [1], None])
def test_an_odd_wish_to_be_held_is_refused(bot: WireBot, hold_s: Any) -> None:
    answer = bot.poll(400, hold_s=hold_s).json
    assert answer["error"]["field"] == "hold_s"


def test_an_event_of_an_unknown_kind_is_refused_and_odd_messages_are_taken(bot: WireBot) -> None:
    body = bot.report(session=bot.session, event="party", message="x")
    assert bot.post(f"{API}/event", body, 400).json["error"]["field"] == "event"
    for message in (None, 7, ["x"], "x" * 100_000):
        assert bot.post(f"{API}/event", {**body, "event": "bot_error", "message": message}).json == {}
    assert bot.post(f"{API}/event", {**body, "event": "bot_shutdown", "message": ["x"]}).json == {}


# ---- repeats


def test_a_repeated_poll_is_given_the_same_run(world: LifeWorld, bot: WireBot) -> None:
    world.new_task()
    session = bot.session
    first = bot.poll().json
    bot.session = session
    second = bot.poll().json
    assert first["manifest"] == second["manifest"]


def test_every_update_may_come_twice_and_at_another_process(world: LifeWorld, bot: WireBot) -> None:
    task = world.new_task()
    bot.poll()
    packets = [b"one\n", b"two\n", b"three\n"]
    for process in (0, 1, 0):
        assert bot.update(process=process).json["must_stop"] is False
    offset = 0
    for packet in packets:
        for process in (0, 1, 1):
            fields = {"output": b64(packet), "output_chunk_start": offset}
            assert bot.update(process=process, **fields).json["must_stop"] is False
        offset += len(packet)
    for process in (1, 0, 1):
        last = {"output": b64(b"bye\n"), "output_chunk_start": offset, "exit_code": 3, "duration": 1.5}
        assert bot.update(process=process, **last).json["ok"] is True
    assert task_output.read(world.p1, task) == b"one\ntwo\nthree\nbye\n"
    ended = world.result(task)
    assert bot.update(exit_code=0, duration=9).json["ok"] is True
    assert (world.result(task).exit_code, world.result(task).completed_s) == (3, ended.completed_s)


def test_packets_in_any_order_make_the_same_output(world: LifeWorld, bot: WireBot) -> None:
    task = running(world, bot)
    for start_, data in ((8, b"three"), (0, b"one\n"), (4, b"two\n"), (0, b"one\n")):
        bot.update(output=b64(data), output_chunk_start=start_)
    assert task_output.read(world.p1, task) == b"one\ntwo\nthree"


@pytest.mark.parametrize("pool", ["../x", "a b", "x" * 129])
def test_a_pool_that_could_not_be_configured_is_refused_at_the_handshake(world: LifeWorld, pool: str) -> None:
    bot = WireBot(world, "bot9")
    dimensions = {"id": ["bot9"], "pool": [pool]}
    error = bot.post(f"{API}/handshake", bot.report(dimensions=dimensions, session_id="s/1"), 400).json["error"]
    assert (error["field"], "at most 128" in error["message"]) == ("dimensions.pool", True)
    assert pool not in world.p1.view.pools()


@pytest.mark.parametrize("bot_id", ["a\u0085b", "a\u2028b", "a\u009fb", "a\x7fb"])
def test_a_bot_id_with_an_invisible_line_end_is_refused(world: LifeWorld, bot_id: str) -> None:
    odd = WireBot(world, bot_id)
    assert odd.post(f"{API}/handshake", odd.report(session_id="s/1"), 400).json["error"]["field"] == "dimensions.id"
