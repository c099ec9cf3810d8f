"""Rules and delivery streams at work: where records land, what is told, what is refused."""

import base64
import gzip
import threading
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from masthead.base.errors import Conflict, InvalidInput, LimitReached, NotFound
from masthead.streams.readings import Batch, Reading
from masthead.streams.records import Records, TopicRule
from masthead.streams.router import DIRECT

from .conftest import AIR, EVENT_TIME, RULE, START, House

DETECTOR_ACTION = {"kind": "detector", "name": "d"}


def test_records_land_in_the_folder_of_the_interval_they_happened_in(air: House) -> None:
    air.send({"T": START + 10, "v": 1})
    air.clock.advance(30)
    air.send({"T": START + 299, "v": 2})
    assert air.content() == {}
    air.clock.advance(30)
    air.streams.tick()
    air.send({"T": START - 290, "v": 3})
    air.clock.advance(60)
    air.streams.tick()
    folders = {folder: [each["v"] for each in records] for folder, records in air.folders().items()}
    assert folders == {"air/20220324/2325": [3], "air/20220324/2330": [1, 2]}
    assert air.streams.position() == 4


def test_an_interval_is_put_and_sealed_when_the_watermark_passes_its_end(air: House) -> None:
    sealed: list[tuple[str, int]] = []
    air.streams.on_sealed(lambda stream, start_s: sealed.append((stream, start_s)))
    air.send({"T": START + 10})
    air.clock.advance(1)
    air.send({"T": START + 299})
    assert sealed == []
    air.send({"T": START + 300})
    assert sealed == [("air", int(START))]
    assert list(air.folders()) == ["air/20220324/2330"]
    air.send({"T": START + 20, "late": True})  # waits for the hints, is not told again
    assert len(air.content()) == 1
    air.clock.advance(61)
    air.streams.tick()
    assert len(air.folders()["air/20220324/2330"]) == 3
    assert sealed == [("air", int(START))]


def test_an_interval_is_sealed_as_much_later_as_its_readers_wait(air: House) -> None:
    sealed: list[tuple[str, int]] = []
    air.streams.on_sealed(lambda stream, start_s: sealed.append((stream, start_s)))
    air.streams.set_seal_delays({"air": 20})
    air.send({"T": START + 10})
    air.clock.advance(30)
    air.send({"T": START + 319})
    assert sealed == []
    assert air.content() == {}
    air.send({"T": START + 20, "slow": True})
    air.send({"T": START + 320})
    assert sealed == [("air", int(START))]
    assert len(air.folders()["air/20220324/2330"]) == 2
    air.streams.update_stream({**AIR, "buffer_s": 600})
    air.clock.advance(300)
    air.send({"T": START + 619}, {"T": START + 300})
    assert len(sealed) == 1
    air.send({"T": START + 620})
    assert sealed[1:] == [("air", int(START) + 300)]


def test_a_stream_tells_which_folder_holds_which_time(air: House) -> None:
    air.streams.create_stream({"name": "plain", "destination": "s3://readings/in/", "zone": "Europe/Rome"})
    by_time, plain = air.streams.feeds()
    assert (by_time.name, by_time.interval_s, by_time.buffer_s) == ("air", 300, 60)
    assert by_time.folder_at(START) == "s3://readings/air/20220324/2330"
    assert by_time.start_of is not None
    assert by_time.start_of(START + 299) == START
    assert (plain.interval_s, plain.start_of) == (0, None)
    assert plain.folder_at(START) == "s3://readings/in/2022/03/25/00"


def test_a_clock_far_ahead_goes_to_the_error_place_and_seals_nothing(air: House) -> None:
    air.send({"T": START + 10}, {"T": 2_147_483_647})
    air.send({"T": START + 12})
    air.clock.advance(61)
    air.streams.tick()
    folders = air.folders()
    assert len(folders["air/20220324/2330"]) == 2
    (bad,) = folders["bad/processing-failed/2022/03/24/23"]
    assert "7 days after its arrival" in bad["error"]
    assert bad["sequence"] == 1
    assert orjson.loads(bad["raw"]) == {"T": 2_147_483_647}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"not json", "JSON object"),
        (b'{"T": NaN}', "T: expected a time"),
        (b'{"T": Nan}', "JSON object"),
        (b'{"T": NaN', "JSON object"),
        (b"[1]", "JSON object"),
        (b"\xff\xfe", "JSON object"),
        (b"", "JSON object"),
        (b'{"v": 1}', "T: expected a time"),
        (b'{"T": "soon"}', "T: expected a time"),
        (b"[" * 100_000, "JSON object"),
    ],
)
def test_what_cannot_be_used_goes_to_the_error_place_with_its_reason(
    air: House, payload: bytes, reason: str
) -> None:
    air.send(payload)
    air.streams.flush()
    ((folder, (bad,)),) = air.folders().items()
    assert folder.startswith("bad/processing-failed/")
    assert reason in bad["error"]
    raw = base64.b64decode(bad["raw"]) if bad.get("encoding") else bad["raw"].encode()
    assert raw == payload
    assert bad["arrived"].startswith("2022-03-24T23:30")
    assert air.streams.stream_state("air").errors == 1


def test_the_senders_own_bytes_are_kept_on_one_line(air: House) -> None:
    exact = b'{"T":1648164600, "v": 1.10, "big": 123456789012345678901234567890}'
    air.send(exact, b'\xef\xbb\xbf{"T":1648164601}\r\n', b'{\n "T": 1648164602\n}', thing=None)
    air.streams.flush()
    (data,) = air.content().values()
    assert data.splitlines() == [exact, b'{"T":1648164601}', b'{"T":1648164602}']


def test_a_reading_with_nan_is_taken_without_that_value(air: House) -> None:
    """Python's json writes it: the other values count, and what is delivered is JSON for everybody."""
    air.streams.create_rule(
        {
            "name": "hot",
            "sql": "SELECT T, a, isnull(b) AS gone FROM '#' WHERE a > 2",
            "actions": [DETECTOR_ACTION],
        }
    )
    air.streams.set_topic_routes({"e": "air/#"})
    sent = b'{"T": %d, "a": 2.50, "b": NaN, "c": Infinity}' % START
    batch = air.send(sent, b'{"T": %d, "a": 1.50, "b": "no NaN"}' % START, take=False)
    routed = {each.detector: each.records for each in air.streams.take(batch)}
    assert [record.fields for record in routed["d"]] == [{"T": START, "a": 2.5, "gone": True}]
    assert routed["e"][0].fields == {"T": START, "a": 2.5, "b": None, "c": float("inf")}
    assert routed["e"][0].raw == sent
    air.streams.flush()
    (lines,) = air.content().values()
    assert orjson.loads(lines.splitlines()[0]) == {"T": START, "a": 2.5, "b": None, "c": None}
    assert b'"a": 1.50, "b": "no NaN"' in lines


def test_without_event_time_the_arrival_of_the_oldest_record_names_the_object(house: House) -> None:
    house.streams.create_stream({"name": "plain", "destination": "s3://readings/in", "compression": "gzip"})
    house.streams.create_rule(
        {**RULE, "actions": [{"kind": "delivery_stream", "name": "plain", "separator": "|"}]}
    )
    house.send({"a": 1}, {"a": 1})
    house.clock.advance(299)
    house.send({"a": 2})
    house.streams.tick()
    assert house.content() == {}
    house.clock.advance(1)
    house.streams.tick()
    ((key, data),) = house.content().items()
    assert key.startswith("in/2022/03/24/23/plain-1-2022-03-24-23-30-00-")
    assert key.endswith(".gz")
    assert gzip.decompress(data) == b'{"a":1}|{"a":1}|{"a":2}|'


def test_a_full_buffer_is_put_before_its_time(air: House) -> None:
    air.send(*[{"T": START, "v": number, "pad": "x" * 1000} for number in range(1100)])
    assert len(air.content()) == 1


def test_more_than_64_intervals_at_once_put_the_oldest(air: House) -> None:
    air.send(*[{"T": START - 300 * number} for number in range(70)])
    air.streams.flush()
    air.send(*[{"T": START - 300 * number, "late": True} for number in range(1, 71)])
    state = air.streams.stream_state("air")
    assert state.open_partitions == 64
    assert state.objects == 70 + 6
    air.streams.flush()
    assert sum(map(len, air.folders().values())) == 140


def test_a_reading_that_a_thing_sends_again_is_kept_once(air: House) -> None:
    air.send({"T": START, "v": 1}, {"T": START, "v": 1}, {"T": START, "v": 2})
    air.send({"T": START, "v": 1})
    air.send({"T": START, "v": 1}, thing="b-102")
    air.send({"T": START, "v": 1}, {"T": START, "v": 1}, thing=None)  # two equal sales are two sales
    air.streams.flush()
    assert sorted(each["v"] for each in air.folders()["air/20220324/2330"]) == [1, 1, 1, 1, 2]
    assert air.streams.stream_state("air").duplicates == 2


def test_two_rules_may_feed_one_stream_with_the_same_reading(air: House) -> None:
    air.streams.create_rule({**RULE, "name": "again", "sql": "SELECT T, v + 1 AS v FROM '#'"})
    air.send({"T": START, "v": 1})
    air.send({"T": START, "v": 1})
    air.streams.flush()
    assert air.folders()["air/20220324/2330"] == [{"T": START, "v": 1}, {"T": START, "v": 2}]


def test_an_array_becomes_several_records_where_the_action_says_so(air: House) -> None:
    air.streams.update_rule({**RULE, "actions": [{"kind": "delivery_stream", "name": "air", "batch": True}]})
    air.send([{"T": START, "v": 1}, {"T": START, "v": 2}])
    air.streams.flush()
    assert [each["v"] for each in air.folders()["air/20220324/2330"]] == [1, 2]


def test_a_direct_reading_passes_all_rules(air: House) -> None:
    air.send({"T": START, "v": 9}, topic=DIRECT + "air", thing=None)
    air.send({"T": START}, topic=DIRECT + "nowhere", thing=None)
    air.streams.flush()
    assert air.folders() == {"air/20220324/2330": [{"T": START, "v": 9}]}


def test_a_detector_that_reads_a_rule_need_not_be_named_by_it(air: House) -> None:
    air.streams.create_rule({"name": "high", "sql": "SELECT v FROM 'air/#' WHERE v > 1"})
    named = {"kind": "detector", "name": "d"}
    air.streams.create_rule({"name": "low", "sql": "SELECT v FROM 'air/#' WHERE v < 2", "actions": [named]})
    air.streams.set_topic_routes({}, {"d": "low", "e": "high", "f": "none"})
    batch = air.send({"v": 1, "T": START}, {"v": 2, "T": START}, take=False)
    routed = {each.detector: [record.fields for record in each.records] for each in air.streams.take(batch)}
    assert routed == {"d": [{"v": 1}], "e": [{"v": 2}]}
    air.streams.update_rule({**air.streams.get_rule("high").to_json(), "enabled": False})
    assert [each.detector for each in air.streams.take(air.send({"v": 2, "T": START}, take=False))] == []


def test_what_lies_in_the_error_place_is_not_counted_as_delivered(air: House) -> None:
    air.send({"T": START}, {"T": "no time"}, b"garbage")
    air.clock.advance(61)
    air.streams.tick()
    found = air.streams.stream_state("air")
    assert (found.records, found.errors, found.objects) == (1, 2, 2)
    assert found.bytes == found.stored_bytes


def test_detectors_get_their_records_by_rule_and_by_topic(air: House) -> None:
    air.streams.create_rule(
        {
            "name": "hot",
            "sql": "SELECT T, v FROM 'air/+' WHERE v > 1",
            "actions": [{"kind": "detector", "name": "d"}],
        }
    )
    air.streams.set_topic_routes({"e": "air/#", "f": "other/#"})
    batch = air.send({"T": 1, "v": 1}, {"T": 2, "v": 2, "w": 0}, b"garbage", take=False)
    routed = {each.detector: each for each in air.streams.take(batch)}
    assert set(routed) == {"d", "e"}
    assert [record.fields for record in routed["d"].records] == [{"T": 2, "v": 2}]
    assert [record.fields for record in routed["e"].records] == [
        {"T": 1, "v": 1},
        {"T": 2, "v": 2, "w": 0},
        {},
    ]
    assert routed["e"].records[2].raw == b"garbage"
    assert routed["e"].records[0].thing == "b-101"
    again = {each.detector: each for each in air.streams.take(batch)}
    assert again == routed


def test_a_disabled_rule_does_nothing(air: House) -> None:
    air.streams.update_rule({**RULE, "enabled": False})
    air.send({"T": START})
    assert air.streams.flush()
    assert air.content() == {}


def test_a_stored_rule_that_cannot_be_used_is_left_out_and_the_others_go_on(air: House) -> None:
    """A row may be older than a check: neither its readings nor the next start may stop the others."""
    bad = TopicRule("bad", "SELECT * FROM 'a/#/b'", actions=({"kind": "delivery_stream", "name": "air"},))
    Records(air.database).insert(bad, air.clock.now())
    air.streams.refresh()
    air.send({"T": START})
    air.crash()
    air.send({"T": START + 1})
    air.streams.flush()
    assert [each["T"] for records in air.folders().values() for each in records] == [START, START + 1]
    assert "takes no readings" in air.events("rule", "bad")
    with pytest.raises(InvalidInput, match="sql: expected"):
        air.streams.update_rule(bad)
    air.streams.delete_rule("bad")
    assert [rule.name for rule in air.streams.list_rules()] == ["all"]


ERROR_STREAM = {"name": "errors", "destination": "s3://readings/errors"}


def test_the_error_action_gets_the_original_bytes(air: House) -> None:
    air.streams.create_stream(ERROR_STREAM)
    air.streams.update_rule({**RULE, "error_action": {"kind": "delivery_stream", "name": "errors"}})
    air.send(b"\xff\x00garbage")
    air.streams.flush()
    ((folder, (bad,)),) = air.folders().items()
    assert folder == "errors/2022/03/24/23"
    assert base64.b64decode(bad["base64OriginalPayload"]) == b"\xff\x00garbage"
    assert bad["rule"] == "all"
    assert "JSON object" in bad["failures"][0]["errorMessage"]
    air.streams.tick()
    assert "failed" in air.events("rule", "all")


def wait_for(condition: Callable[[], bool], house: House) -> None:
    for _ in range(500):
        house.streams.tick()
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not happen in 5 s")


def test_a_webhook_action_is_sent_and_the_position_waits_for_it(house: House) -> None:
    sent: list[tuple[Any, bytes]] = []
    go = threading.Event()

    def send(action: Any, payload: bytes, reading: Reading) -> None:
        go.wait(5)
        sent.append((action["url"], payload))

    house.streams.register_action("webhook", send)
    house.streams.create_rule({**RULE, "actions": [{"kind": "webhook", "url": "http://127.0.0.1/x"}]})
    house.send({"a": 1})
    house.send({"a": 2})
    assert house.streams.position() == 1
    go.set()
    wait_for(lambda: house.streams.position() == 3, house)
    assert sent == [("http://127.0.0.1/x", b'{"a":1}'), ("http://127.0.0.1/x", b'{"a":2}')]


def test_a_deleted_rule_owes_nothing_and_a_dead_target_holds_up_no_other_rule(house: House) -> None:
    sent: list[str] = []

    def send(action: Any, payload: bytes, reading: Reading) -> None:
        if action["url"].endswith("dead"):
            raise OSError("nobody there")
        sent.append(action["url"])

    house.streams.register_action("webhook", send)
    for name in ("dead", "good"):
        action = {"kind": "webhook", "url": f"http://127.0.0.1/{name}"}
        house.streams.create_rule({**RULE, "name": name, "actions": [action]})
    for number in range(5):
        house.send({"a": number})
    wait_for(lambda: len(sent) == 5, house)
    assert house.streams.position() == 1
    house.streams.delete_rule("dead")
    assert house.streams.position() == 6


def test_an_action_that_fails_for_good_goes_to_the_error_place(air: House) -> None:
    action = {"kind": "subject", "name": "alarm"}
    target = {"kind": "delivery_stream", "name": "air"}
    air.streams.create_rule(
        {"name": "out", "sql": "SELECT v FROM 'out'", "actions": [action], "error_action": target}
    )
    air.send({"v": 1}, topic="out")  # nobody registered for subjects; the rule "all" finds no time in it
    wait_for(
        lambda: any("nothing here sends subject" in data.decode() for data in air.content().values()), air
    )


def test_a_new_stream_takes_what_arrives_from_then_on(air: House) -> None:
    air.send({"T": START, "v": 1})
    air.streams.create_stream({**AIR, "name": "more", "destination": "s3://readings/more"})
    air.streams.create_rule(
        {**RULE, "name": "more", "actions": [{"kind": "delivery_stream", "name": "more"}]}
    )
    air.send({"T": START, "v": 2})
    air.streams.flush()
    assert [each["v"] for each in air.folders()["more/air/20220324/2330"]] == [2]
    assert [each["v"] for each in air.folders()["air/20220324/2330"]] == [1, 2]


def test_a_changed_stream_puts_what_it_holds_under_its_old_settings(air: House) -> None:
    air.send({"T": START, "v": 1})
    changed = air.streams.update_stream({**AIR, "prefix": "new/!{timestamp:yyyy}/"})
    assert changed.version == 2
    air.send({"T": START, "v": 2})
    air.streams.flush()
    assert air.folders() == {
        "air/20220324/2330": [{"T": START, "v": 1}],
        "new/2022": [{"T": START, "v": 2}],
    }
    assert any("/air-2-" in key for key in air.content())


def test_a_deleted_stream_puts_what_it_holds_and_its_objects_stay(air: House) -> None:
    air.send({"T": START, "v": 1})
    with pytest.raises(Conflict, match="fed by the rule all"):
        air.streams.delete_stream("air")
    air.streams.delete_rule("all")
    air.streams.delete_stream("air")
    assert air.folders() == {"air/20220324/2330": [{"T": START, "v": 1}]}
    with pytest.raises(NotFound):
        air.streams.get_stream("air")


def test_changes_of_another_process_are_taken_over_at_a_refresh(air: House) -> None:
    other = air.service()
    other.update_rule({**RULE, "sql": "SELECT T FROM '#'"})
    air.send({"T": START, "v": 1})
    air.streams.refresh()
    air.send({"T": START, "v": 2})
    air.streams.flush()
    assert air.folders() == {"air/20220324/2330": [{"T": START, "v": 1}, {"T": START}]}


class FullDisk:
    """An object store whose disk is full while `full` is set."""

    def __init__(self, objects: Any) -> None:
        self._objects = objects
        self.full = True

    def put(self, *args: Any, **options: Any) -> Any:
        if self.full:
            raise LimitReached("disk: no space left for objects; free some and try again")
        return self._objects.put(*args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)


def test_a_full_disk_stops_the_reading_and_loses_nothing(house: House) -> None:
    house.objects = disk = FullDisk(house.objects)
    house.streams = house.service()
    house.streams.create_stream(AIR)
    house.streams.create_rule(RULE)
    pad = "x" * 100_000
    while house.streams.can_take():
        house.send(*[{"T": START, "v": len(house.log), "i": number, "pad": pad} for number in range(5)])
        house.clock.advance(1)
        house.streams.tick()
        assert len(house.log) < 30
    taken = len(house.log)
    with pytest.raises(LimitReached, match="no room"):
        house.streams.take(Batch(taken + 1, ()))
    assert house.streams.position() == 1
    assert "no space left" in house.streams.stream_state("air").last_error
    assert house.events("stream", "air").count("delivery failed") == 1
    disk.full = False
    house.clock.advance(61)
    house.streams.tick()
    assert house.streams.can_take()
    assert "delivery recovered" in house.events("stream", "air")
    house.streams.flush()
    assert house.streams.position() == taken + 1
    assert len(house.folders()["air/20220324/2330"]) == taken * 5


def test_a_change_that_cannot_be_applied_yet_is_applied_later(house: House) -> None:
    house.objects = disk = FullDisk(house.objects)
    house.streams = house.service()
    disk.full = False
    house.streams.create_stream(AIR)
    house.streams.create_rule(RULE)
    house.send({"T": START, "v": 1})
    disk.full = True
    house.streams.update_stream({**AIR, "prefix": "new/!{timestamp:yyyy}/"})
    house.send({"T": START, "v": 2})  # still under the settings that hold
    disk.full = False
    house.clock.advance(61)
    house.streams.tick()
    house.send({"T": START, "v": 3})
    house.streams.flush()
    found = {folder: [each["v"] for each in records] for folder, records in house.folders().items()}
    assert found == {"air/20220324/2330": [1, 2], "new/2022": [3]}


def test_old_and_superfluous_objects_are_removed_and_no_others(house: House) -> None:
    house.objects.put("s3://readings/air/foreign", b"x")
    house.streams.create_stream({**AIR, "retention_days": 2, "retention_gib": 250_000 / 1024**3})
    house.streams.create_rule(RULE)
    for day in range(6):
        house.send({"T": START, "day": day, "pad": "x" * 100_000})
        house.streams.flush()
        house.clock.advance(86_400 / 2)
    house.streams.tick()
    days = [orjson.loads(data)["day"] for key, data in house.content().items() if "foreign" not in key]
    assert sorted(days) == [4, 5]
    assert house.objects.exists("s3://readings/air/foreign")


def test_a_stream_can_be_tried_without_putting_anything(air: House) -> None:
    good = air.streams.test_stream("air", orjson.dumps({"T": START}))
    assert good["folder"] == "s3://readings/air/20220324/2330/"
    assert good["partition"] == "2022-03-24T23:30:00+00:00"
    bad = air.streams.test_stream("air", b"{}")
    assert bad["partition"] == "error"
    assert "T: expected a time" in bad["error"]
    assert air.content() == {}


def test_a_rule_can_be_tried_by_name_or_by_its_sql(air: House) -> None:
    assert air.streams.test_rule("all", "air/x", b'{"a": 1}')["result"] == {"a": 1}
    tried = air.streams.test_rule("SELECT a FROM 'air/+' WHERE a > 1", "air/x", '{"a": 1}')
    assert tried["matched"] is False
    assert "not taken by" in air.streams.test_rule("SELECT a FROM 'b'", "air/x", "{}")["error"]
    assert "JSON object" in air.streams.test_rule("all", "air/x", "[]")["error"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "../x"}, "name"),
        ({"destination": "http://x/"}, "destination"),
        ({"destination": "s3://BAD/"}, "bucket"),
        ({"destination": "s3://good/../x"}, "destination"),
        ({"buffer_s": 901}, "buffer_s"),
        ({"buffer_s": True}, "buffer_s"),
        ({"buffer_mib": 0.5}, "buffer_mib"),
        ({"prefix": "!{x}"}, "prefix"),
        ({"error_prefix": ""}, "error_prefix"),
        ({"compression": "zip"}, "compression"),
        ({"dedupe": "maybe"}, "dedupe"),
        ({"separator": 5}, "separator"),
        ({"event_time": {"column": "T"}}, "event_time"),
        ({"retention_days": -1}, "retention_days"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_stream_is_refused_by_field(house: House, change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        house.streams.create_stream({**AIR, **change})
    assert refusal.value.field == field


def test_both_hints_or_neither(house: House) -> None:
    with pytest.raises(InvalidInput, match="both"):
        house.streams.create_stream({"name": "a", "destination": "s3://abc/", "buffer_s": 60})


@pytest.mark.parametrize(
    "name",
    [
        "$JS.API.STREAM.DELETE.READINGS",
        "masthead.clock",
        "masthead/clock",
        "_INBOX.x",
        "a..b",
        "a b",
        "a.*",
        "a/#",
        "a/>",
        "",
    ],
)
@pytest.mark.parametrize("field", ["actions", "error_action"])
def test_a_rule_publishes_on_no_subject_of_the_brokers_or_our_own(air: House, field: str, name: str) -> None:
    action = {"kind": "subject", "name": name}
    given = {**RULE, "name": "out", field: [action] if field == "actions" else action}
    with pytest.raises(InvalidInput, match=rf"{field}\.name: expected"):
        air.streams.create_rule(given)


@pytest.mark.parametrize(
    "name", ["commands.fan", "commands/fan", "commands//fan", "/fan", "a.b/c", "lüfter.1"]
)
def test_a_rule_publishes_on_subjects_and_topics(air: House, name: str) -> None:
    made = air.streams.create_rule({**RULE, "name": "out", "actions": [{"kind": "subject", "name": name}]})
    assert made.actions == ({"kind": "subject", "name": name},)


def test_what_its_sender_refuses_is_not_tried_again(air: House) -> None:
    tries: list[str] = []

    def refuse(action: Any, payload: bytes, reading: Reading) -> None:
        tries.append(action["name"])
        raise InvalidInput("name: expected a subject of your own")

    air.streams.register_action("subject", refuse)
    target = {"kind": "delivery_stream", "name": "air"}
    action = {"kind": "subject", "name": "alarm"}
    air.streams.create_rule(
        {"name": "out", "sql": "SELECT v FROM 'out'", "actions": [action], "error_action": target}
    )
    air.send({"v": 1}, topic="out")
    wait_for(lambda: any("a subject of your own" in data.decode() for data in air.content().values()), air)
    assert tries == ["alarm"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"sql": "SELECT"}, InvalidInput),
        ({"actions": [{"kind": "rocket"}]}, InvalidInput),
        ({"actions": [{"kind": "webhook", "url": "ftp://x"}]}, InvalidInput),
        ({"actions": [{"kind": "subject"}]}, InvalidInput),
        ({"actions": [{"kind": "detector", "name": "d", "more": 1}]}, InvalidInput),
        ({"actions": "none"}, InvalidInput),
        ({"actions": [{"kind": "detector", "name": "d"}] * 11}, InvalidInput),
        ({"actions": [{"kind": "delivery_stream", "name": "nowhere"}]}, NotFound),
        ({"error_action": {"kind": "delivery_stream", "name": "nowhere"}}, NotFound),
        ({"enabled": "yes"}, InvalidInput),
    ],
)
def test_a_wrong_rule_is_refused(air: House, change: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        air.streams.create_rule({**RULE, "name": "wrong", **change})


def test_names_are_taken_once_and_lists_are_by_name(air: House) -> None:
    with pytest.raises(Conflict):
        air.streams.create_rule(RULE)
    with pytest.raises(Conflict):
        air.streams.create_stream(AIR)
    air.streams.create_stream({**AIR, "name": "a2", "event_time": {**EVENT_TIME, "interval": 600}})
    assert [stream.name for stream in air.streams.list_streams()] == ["a2", "air"]
    assert [rule.name for rule in air.streams.list_rules()] == ["all"]
    for stream in air.streams.list_streams():
        assert type(stream).from_json(stream.to_json()) == stream
    for missing in (
        air.streams.delete_rule,
        air.streams.delete_stream,
        air.streams.get_rule,
        air.streams.stream_state,
    ):
        with pytest.raises(NotFound):
            missing("none")
