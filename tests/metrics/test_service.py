"""The verbs: a detector's life from creation to its groups, and what each verb refuses."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from masthead.alerts.events import AlertEvent
from masthead.base.clock import ManualClock, utc
from masthead.base.errors import Conflict, InvalidInput, LimitReached, NotFound
from masthead.base.folder import DataFolder
from masthead.base.log import Journal
from masthead.metrics import records
from masthead.metrics.bounds import Bounds, Limits
from masthead.metrics.effects import progress_of
from masthead.metrics.service import MetricsService
from masthead.metrics.spec import DetectorSpec
from masthead.store.engine import Database
from masthead.store.objects import Objects

SAMPLES = Path(__file__).parents[2] / "src/masthead/samples/air"
SECONDS = "yyyy-MM-dd HH:mm"
AIR: dict[str, Any] = {
    "name": "air",
    "dimensions": ["LOCATION_ID"],
    "time": {"column": "TIMESTAMP", "format": SECONDS},
    "measures": ["CO", "SO2", "NO2"],
    "source": {"kind": "stream", "topic": "air/#"},
}
T0 = 1_700_000_100


@dataclass(frozen=True)
class Record:
    fields: dict[str, Any]
    arrived: float
    thing: str | None = "b-101"
    raw: bytes = b"{}"


@dataclass(frozen=True)
class Routed:
    detector: str
    sequence: int
    records: tuple[Record, ...]


class Alerts:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[AlertEvent] = []
        self.deleted: list[str] = []

    def notify(self, connection: Connection, event: AlertEvent) -> int:
        self.events.append(event)
        return 1

    def wake(self) -> None:
        pass

    def delete_rules_of(self, connection: Connection, detector: str) -> int:
        self.deleted.append(detector)
        return 1


@dataclass
class House:
    service: MetricsService
    alerts: Alerts
    clock: ManualClock
    database: Database
    folder: DataFolder
    seconds: list[float]
    sequence: int = 0

    def give(self, fields: dict[str, Any], *, arrived: float | None = None, name: str = "air") -> None:
        self.sequence += 1
        at = self.clock.time() if arrived is None else arrived
        self.service.take(Routed(name, self.sequence, (Record(fields, at),)))
        self.service.advance(self.sequence, at)

    def again(self, bounds: Bounds | None = None) -> "House":
        """Return the house after a restart of the process."""
        self.service.close()
        return _house(self.database, self.folder, self.clock, self.seconds, bounds)


def _house(
    database: Database,
    folder: DataFolder,
    clock: ManualClock,
    seconds: list[float],
    bounds: Bounds | None = None,
) -> House:
    alerts = Alerts()
    service = MetricsService(
        database, Objects(folder.objects), alerts, clock, Journal(folder.logs, clock=clock), folder,
        bounds=bounds, monotonic=lambda: seconds[0],
    )  # fmt: skip
    return House(service, alerts, clock, database, folder, seconds)


@pytest.fixture
def house(database: Database, folder: DataFolder) -> Iterator[House]:
    found = _house(database, folder, ManualClock(float(T0)), [0.0])
    yield found
    found.service.close()


def _stream(name: str = "air", **changes: Any) -> dict[str, Any]:
    plain = {
        "name": name,
        "time": {"column": "t", "format": "epoch_s"},
        "measures": ["CO"],
        "dimensions": ["at"],
        "source": {"kind": "stream", "topic": "air/#"},
    }
    return {**plain, **changes}


def _live(house: House, **changes: Any) -> None:
    house.service.create_detector(_stream(**changes))
    house.service.activate("air")
    house.service.wait("air")


def _feed(house: House, first: int, last: int, **values: float) -> None:
    for step in range(first, last):
        value = values.get(f"at_{step}", float((7 * step) % 11))
        house.give({"t": T0 + 300 * step, "CO": value, "at": "B-101"}, arrived=T0 + 300 * step + 1)


# --- making and changing -------------------------------------------------------------------------------


def test_a_detector_is_made_changed_and_deleted(house: House) -> None:
    service = house.service
    made = service.create_detector({"name": "air", "interval": "1h"})
    assert (made.state, made.spec.interval_s) == ("created", 3600)
    service.set_dataset("air", {key: AIR[key] for key in ("source", "time", "measures")})
    service.update_detector("air", {"description": "stations"})
    assert [one.spec.description for one in service.list_detectors()] == ["stations"]
    with pytest.raises(Conflict):
        service.create_detector({"name": "air"})
    service.delete_detector("air")
    assert service.list_detectors() == []
    assert house.alerts.deleted == ["air"]
    with pytest.raises(NotFound):
        service.get_detector("air")


def test_a_name_cannot_change(house: House) -> None:
    house.service.create_detector(AIR)
    with pytest.raises(InvalidInput, match="name"):
        house.service.update_detector("air", {"name": "water"})


def test_only_legal_changes_of_state_are_made(house: House) -> None:
    service = house.service
    service.create_detector(_stream())
    with pytest.raises(Conflict):
        service.deactivate("air")
    with pytest.raises(Conflict):
        service.backtest("air")
    assert service.activate("air").state == "activating"
    with pytest.raises(Conflict):
        service.activate("air")
    assert service.wait("air").state == "learning"
    for verb in (service.activate, service.delete_detector):
        with pytest.raises(Conflict):
            verb("air")
    with pytest.raises(Conflict):
        service.update_detector("air", {"delay_s": 5})
    assert service.deactivate("air").state == "stopped"
    service.update_detector("air", {"delay_s": 5})
    service.activate("air")
    assert service.wait("air").state == "learning"


def test_an_incomplete_or_unfit_detector_is_not_activated(house: House, tmp_path: Path) -> None:
    house.service.create_detector({"name": "bare"})
    with pytest.raises(InvalidInput, match="source"):
        house.service.activate("bare")
    house.service.create_detector({**AIR, "history": [str(tmp_path / "nothing.csv")]})
    with pytest.raises(InvalidInput, match=r"nothing\.csv"):
        house.service.activate("air")
    assert house.service.get_detector("air").state == "created"


def test_a_rule_that_selects_nothing_now_is_told_and_may_be_made_later(house: House) -> None:
    house.service.follow_rules(lambda: {"all-air": True, "off": False})
    found = house.service.validate(_stream(source={"kind": "stream", "rule": "al-air"}))
    assert found.valid
    assert (found.findings[0].level, found.findings[0].field) == ("warning", "source.rule")
    assert found.findings[0].message.startswith("there is no rule al-air")
    assert found.findings[0].action == "create it, or name one that exists, such as all-air"
    found = house.service.validate(_stream(source={"kind": "stream", "rule": "off"}))
    assert "disabled" in found.findings[0].message
    found = house.service.validate(_stream(source={"kind": "stream", "rule": "all-air"}))
    assert [finding.level for finding in found.findings] == ["info"]


def test_what_no_activation_or_back_test_would_take_is_told_before(house: House, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"source\.kind: expected files or path in backtest mode"):
        house.service.create_detector(_stream(mode="backtest"))
    source = {"kind": "path", "template": "s3://nowhere/in/{{yyyyMMdd}}"}
    house.service.create_detector(_stream(mode="backtest", source=source))
    (finding,) = house.service.validate("air").findings
    assert (finding.level, finding.field) == ("error", "source.template")
    assert finding.message == "nothing lies below s3://nowhere/in/, so there is nothing to score"
    with pytest.raises(InvalidInput, match="nothing lies below"):
        house.service.backtest("air")
    (tmp_path / "data.csv").write_text("t,CO,at\n1,2,B\n")
    files = {"kind": "files", "paths": [str(tmp_path / "data.csv")]}
    (finding,) = house.service.validate(_stream(source=files)).findings
    assert (finding.level, finding.field) == ("error", "source.kind")


def test_a_process_that_only_changes_rows_runs_nothing(house: House) -> None:
    house.service.create_detector(_stream())
    house.service.activate("air")
    house.service.refresh()
    house.service.topic_routes()
    assert house.service.get_detector("air").state == "activating"


def test_topic_routes_are_those_of_running_detectors(house: House) -> None:
    house.service.create_detector(_stream())
    assert house.service.topic_routes() == {}
    house.service.activate("air")
    assert house.service.topic_routes() == {"air": "air/#"}


# --- the article ---------------------------------------------------------------------------------------


def _article(house: House) -> None:
    house.service.create_detector({**AIR, "history": [str(SAMPLES / "historic_data.json")]})
    house.service.activate("air")
    assert house.service.wait("air").state == "active"
    rows = sorted(csv.reader((SAMPLES / "live_data_sample.csv").read_text().splitlines()))
    for stamp, place, *numbers in rows:
        at = _seconds(stamp)
        fields = dict(zip(("CO", "SO2", "NO2"), map(float, numbers), strict=True))
        house.give({"TIMESTAMP": stamp, "LOCATION_ID": place, **fields}, arrived=at + 1)


def _seconds(stamp: str) -> float:
    from masthead.metrics.timestamps import compile_pattern

    return compile_pattern(SECONDS).parse(stamp)


def test_the_articles_two_anomalies_are_found_live_and_nothing_else(house: House) -> None:
    _article(house)
    found = house.service.list_groups("air").items
    assert [
        (one.measure, f"{one.start:%m-%d %H:%M}", f"{one.end:%H:%M}", round(one.severity)) for one in found
    ] == [
        ("CO", "03-24 23:45", "23:50", 76),
        ("SO2", "03-24 23:30", "23:35", 89),
    ]
    assert found[0].contributions == {"LOCATION_ID": {"B-101": 100.0}}
    told = [(one.measure, one.stage) for one in house.alerts.events if one.severity >= 70]
    assert told == [("SO2", "open"), ("CO", "open"), ("SO2", "closed"), ("CO", "closed")]
    told = [
        (line["event"], line.get("measure")) for line in Journal(house.folder.logs).read("detector", "air")
    ]
    assert ("group opened", "SO2") in told
    assert ("group closed", "CO") in told
    (beside,) = house.service.related(found[0].id)
    assert (beside.measure, beside.order, beside.lead_s) == ("SO2", "before", 900.0)
    chart = house.service.chart(
        "air", "SO2", {"LOCATION_ID": "B-101"}, start=utc(_seconds("2022-03-24 23:25")), limit=400
    )
    place = chart.times.index(found[1].start)
    assert (chart.values[place], chart.reason[place]) == (120.0, "value_never_seen")
    assert chart.high[place] is not None
    assert chart.high[place] < 120
    assert house.service.group_series(found[1].id)[0]["value"] == 120.0


def test_groups_are_acknowledged_muted_and_exported(house: House) -> None:
    _article(house)
    service = house.service
    group = service.list_groups("air").items[0].id
    assert service.acknowledge_group(group).acknowledged
    until = house.clock.now() + timedelta(hours=1)
    assert service.mute_group(group, until).muted_until == until
    assert service.mute_group(group, None).muted_until is None
    rows = list(csv.DictReader(io.StringIO(service.export_groups("air", min_severity=70))))
    assert [row["measure"] for row in rows] == ["SO2", "CO"]
    assert rows[1]["acknowledged"] == "True"
    assert rows[0]["contributions"] == "LOCATION_ID=B-101: 100.00 %"
    json.dumps(service.get_group(group).to_json())


def test_groups_come_in_pages_none_twice(house: House) -> None:
    _article(house)
    pages, token = [], None
    while True:
        page = house.service.list_groups("air", min_severity=0, limit=1, token=token)
        pages += [one.id for one in page.items]
        token = page.next_token
        if token is None:
            break
    everything = [one.id for one in house.service.list_groups("air", min_severity=0).items]
    assert pages == everything
    assert len(everything) == len(set(everything)) > 2
    with pytest.raises(InvalidInput):
        house.service.list_groups("air", token="x")
    with pytest.raises(NotFound):
        house.service.list_groups("water")


# --- learning, feedback, restart -------------------------------------------------------------------------


def test_learning_is_told_in_words_and_ends() -> None:
    spec = DetectorSpec("air")
    assert progress_of(spec, 41).text == "41 of 100 intervals, about 4 h 55 min to go"
    assert progress_of(spec, 120).text == "120 of 300 intervals, about 15 h to go"
    assert progress_of(spec, 300).eta_s == 0
    assert progress_of(DetectorSpec("air", interval="1d"), 3).needed == 4


def test_a_detector_without_history_is_provisional_then_active(house: House) -> None:
    _live(house)
    _feed(house, 0, 96, at_90=90.0)
    found = house.service.get_detector("air")
    assert (found.state, found.progress.seen, found.progress.needed) == ("learning", 95, 100)
    assert house.service.list_groups("air", min_severity=0).items == ()
    _feed(house, 96, 170, at_150=900.0)
    (group,) = house.service.list_groups("air", min_severity=50).items
    assert group.confidence == "low"
    _feed(house, 170, 302)
    assert house.service.get_detector("air").state == "active"


def test_feedback_is_learned_at_the_next_tick(house: House) -> None:
    _live(house)
    _feed(house, 0, 310, at_305=500.0)
    (group,) = house.service.list_groups("air").items
    (told,) = house.service.give_feedback(group.id, 0, is_anomaly=False)
    assert (told.value, told.applied) == (500.0, False)
    house.service.tick(house.clock.time())
    (told,) = house.service.feedback(group.id)
    assert told.applied
    _feed(house, 310, 500, at_450=500.0)
    assert len(house.service.list_groups("air").items) == 1
    with pytest.raises(NotFound):
        house.service.give_feedback(group.id, 5, is_anomaly=True)
    with pytest.raises(NotFound):
        house.service.give_feedback("group-none", is_anomaly=True)


def test_a_restart_goes_on_and_asks_for_the_readings_of_open_intervals(house: House) -> None:
    _live(house)
    _feed(house, 0, 150)
    house.give({"t": T0 + 300 * 149 + 5, "CO": 1.0, "at": "B-101"})
    again = house.again()
    assert again.service.position() == 150
    again.sequence = 149
    again.give({"t": T0 + 300 * 149, "CO": 3.0, "at": "B-101"}, arrived=T0 + 300 * 149 + 1.0)
    again.give({"t": T0 + 300 * 149 + 5, "CO": 1.0, "at": "B-101"}, arrived=T0 + 300 * 149 + 6.0)
    again.give({"t": T0 + 300 * 150, "CO": 1.0, "at": "B-101"}, arrived=T0 + 300 * 150 + 1.0)
    found = again.service.get_detector("air")
    assert found.last_interval == utc(T0 + 300 * 149)
    assert (found.late, found.duplicates, found.progress.seen) == (0, 0, 150)
    again.service.close()


def test_readings_that_come_while_a_history_is_learned_wait_for_its_end(house: House) -> None:
    house.service.create_detector({**AIR, "history": [str(SAMPLES / "historic_data.json")]})
    house.service.activate("air")
    fields = {"TIMESTAMP": "2022-03-24 00:00", "LOCATION_ID": "B-101", "CO": 2.0, "SO2": 60, "NO2": 60}
    at = _seconds("2022-03-24 00:00")
    house.give(fields, arrived=at)
    assert house.service.position() == 1
    house.service.wait("air")
    house.give({**fields, "TIMESTAMP": "2022-03-24 00:05"}, arrived=at + 300)
    assert house.service.get_detector("air").last_interval == utc(_seconds("2022-03-24 00:00"))


def test_an_interrupted_activation_begins_anew(house: House) -> None:
    house.service.create_detector({**AIR, "history": [str(SAMPLES / "historic_data.json")]})
    house.service.activate("air")
    house.service.tick(house.clock.time())
    again = house.again()
    assert again.service.wait("air").state == "active"
    (execution,) = again.service.executions("air").items
    assert (execution.kind, execution.state, execution.done) == ("activation", "finished", 1.0)
    again.service.close()


def test_a_memory_of_another_kernel_is_learned_again_from_the_history(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.service.create_detector({**AIR, "history": [str(SAMPLES / "historic_data.json")]})
    house.service.activate("air")
    first = house.service.wait("air").run
    house.service.close()
    monkeypatch.setattr("masthead.metrics.scorer.configuration_hash", lambda configuration: "another")
    again = _house(house.database, house.folder, house.clock, [0.0])
    found = again.service.wait("air")
    assert found.state == "active"
    assert found.run != first
    again.service.close()


# --- the clock -------------------------------------------------------------------------------------------


def test_while_readings_flow_their_arrival_is_the_time(house: House) -> None:
    _live(house)
    _feed(house, 0, 3)
    house.clock.advance(10_000)
    house.service.tick(house.clock.time())
    assert house.service.get_detector("air").last_interval == utc(T0 + 300)
    house.seconds[0] += 2.5
    house.service.tick(house.clock.time())
    assert house.service.get_detector("air").last_interval == utc(T0 + 300 * 32)


def test_after_a_start_waiting_readings_get_a_moment_to_arrive(house: House) -> None:
    _live(house)
    _feed(house, 0, 3)
    again = house.again()
    again.clock.advance(3_000)
    again.service.tick(again.clock.time())
    assert again.service.get_detector("air").last_interval == utc(T0 + 300)
    again.seconds[0] += 16
    again.service.tick(again.clock.time())
    assert again.service.get_detector("air").last_interval == utc(T0 + 300 * 8)
    again.service.close()


def test_old_stamps_in_a_live_stream_are_told_before_any_silence(house: House) -> None:
    _live(house)
    _feed(house, 0, 110)
    house.clock.advance(300 * 110)
    old = T0 - 86_400
    for step in range(30):
        house.clock.advance(60)
        house.give({"t": old + 60 * step, "CO": 3.0, "at": "B-101"})
        house.seconds[0] += 60
        house.service.tick(house.clock.time())
    (finding,) = house.service.data_quality("air")["findings"]
    assert "records are older than the open interval: they are counted late" in finding["message"]
    assert "backtest" in finding["action"]
    events = [line["event"] for line in Journal(house.folder.logs, clock=house.clock).read("detector", "air")]
    told = events.index("records are too old")
    assert events.count("records are too old") == 1
    silences = [
        group for group in house.service.list_groups("air", min_severity=0).items if group.kind == "silence"
    ]
    assert silences
    assert "group opened" not in events[:told]
    assert "group opened" in events[told:]


def test_the_span_between_a_history_and_the_first_live_rows_is_never_silence(house: House) -> None:
    house.service.create_detector({**AIR, "history": [str(SAMPLES / "historic_data.json")]})
    house.service.activate("air")
    house.service.wait("air")
    now, place = house.clock.time(), {"LOCATION_ID": "B-101"}
    fields = {"CO": 2.5, "SO2": 60.0, "NO2": 60.0}
    house.give({"TIMESTAMP": f"{utc(now):%Y-%m-%d %H:%M}", "CO": "none", **place})
    house.give({"TIMESTAMP": "2022-03-24 23:31", **fields, **place})
    for _ in range(3):
        house.clock.advance(300)
        house.seconds[0] += 300
        house.give({"TIMESTAMP": f"{house.clock.now():%Y-%m-%d %H:%M}", **fields, **place})
        house.service.tick(house.clock.time())
    assert house.service.data_quality("air")["late"] == 1
    assert house.service.get_detector("air").last_interval == utc(now + 600)
    found = house.service.list_groups("air", min_severity=0).items
    assert [group for group in found if group.kind == "silence"] == []


def test_a_few_stragglers_are_no_finding_and_many_ask_for_a_delay(house: House) -> None:
    _live(house)
    _feed(house, 0, 20)
    house.give({"t": T0, "CO": 1.0, "at": "B-101"})
    _feed(house, 20, 22)
    assert house.service.data_quality("air")["findings"] == []
    for step in range(22, 26):
        late = {"t": T0 + 300 * (step - 2), "CO": 1.0, "at": "B-101"}
        house.give(late, arrived=T0 + 300 * step)
        _feed(house, step, step + 1)
    (finding,) = house.service.data_quality("air")["findings"]
    assert "came after their interval was closed" in finding["message"]
    assert finding["action"] == "raise delay_s (now 0 s) to what senders need"


def _tick(house: House, seconds: float = 1.0) -> None:
    house.seconds[0] += seconds
    house.service.tick(house.clock.time())


def test_what_is_late_doubled_or_refused_shows_while_the_interval_is_open(house: House) -> None:
    _live(house)
    _feed(house, 0, 3)
    house.clock.advance(601)
    before = house.service.get_detector("air")
    assert (before.late, before.duplicates, before.refused) == (0, 0, 0)
    house.give({"t": T0 + 5, "CO": 1.0, "at": "B-101"})
    for _ in range(3):
        house.give({"t": T0 + 601, "CO": 2.0, "at": "B-101"})
    house.give({"t": "soon", "CO": 2.0, "at": "B-101"})
    _tick(house)
    found = house.service.get_detector("air")
    assert (found.late, found.duplicates, found.refused) == (1, 2, 1)
    assert found.late_by_thing == {"b-101": 1}
    assert found.last_interval == before.last_interval
    quality = house.service.data_quality("air")
    assert (quality["late"], quality["duplicates"], quality["refused"], quality["rows"]) == (1, 2, 1, 2)
    assert quality["refused_by_reason"]
    assert quality["error_place"] == found.error_place == found.to_json()["error_place"]
    assert "1 of 7 records" in quality["findings"][0]["message"]  # those of the open interval are in the 7
    assert [info.uri for info in Objects(house.folder.objects).list(found.error_place)]
    _feed(house, 3, 4)
    closed = house.service.data_quality("air")
    assert (closed["late"], closed["duplicates"], closed["refused"], closed["rows"]) == (1, 2, 1, 4)


def test_counts_are_stored_once_a_second_and_only_when_they_changed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[int] = []
    plain = records.update_facts

    def counted(connection: Connection, run: str, facts: Mapping[str, Any]) -> None:
        stored.append(facts["late"])
        plain(connection, run, facts)

    monkeypatch.setattr(records, "update_facts", counted)
    _live(house)
    _feed(house, 0, 3)
    _tick(house)
    assert stored == []
    for _ in range(4):
        house.give({"t": T0, "CO": 1.0, "at": "B-101"})
        _tick(house, 0.25)
    assert stored == [4]
    _tick(house)
    assert stored == [4]


def test_what_was_told_meanwhile_changes_nothing_that_a_restart_follows(
    database: Database, folder: DataFolder, house: House
) -> None:
    """One undisturbed life, and one that tells its counts after every reading and is begun anew in between."""
    found = []
    for restarts in (False, True):
        _live(house)
        given = []
        for step in range(12):
            at = T0 + 300 * step
            given += [{"t": at, "CO": float(step % 5), "at": "B-101"}] * (1 + step % 3)
            given += [{"t": at - 900, "CO": 50.0, "at": "B-101"}, {"t": at, "CO": "much", "at": "B-101"}]
        house.sequence = 0
        for place, fields in enumerate(given):
            house.give(fields, arrived=T0 + 3600.0)
            if restarts:
                _tick(house)
            if restarts and place in (11, 30):
                needed = house.service.position()
                house = house.again()
                for sequence in range(needed or 1, place + 2):
                    record = Record(given[sequence - 1], T0 + 3600.0)
                    house.service.take(Routed("air", sequence, (record,)))
                house.sequence = place + 1
        chart = house.service.chart("air", "CO", {"at": "B-101"})
        house.service.deactivate("air")  # coming to rest stores what was not told yet
        facts = house.service.data_quality("air")
        found.append((chart.values, chart.severity, chart.expected, facts))
        house.service.delete_detector("air")
    assert found[0] == found[1]
    assert found[0][3]["duplicates"] > 0
    house.service.close()


# --- paths and backtests ---------------------------------------------------------------------------------


def test_a_path_detector_reads_each_intervals_folder_once(house: House) -> None:
    objects = Objects(house.folder.objects)
    source = {"kind": "path", "template": "s3://air-data/in/{{yyyyMMdd}}/{{HHmm}}"}
    house.service.create_detector(_stream(source=source, delay_s=60))
    house.service.activate("air")
    house.service.wait("air")
    house.service.tick(T0)
    at = f"s3://air-data/in/{utc(T0):%Y%m%d}/"
    objects.put(f"{at}{utc(T0):%H%M}/a.json", f'{{"t": {T0}, "CO": 2, "at": "B-101"}}'.encode())
    objects.put(f"{at}{utc(T0):%H%M}/b.json", f'{{"t": {T0 + 9}, "CO": 4, "at": "B-101"}}\nrubbish'.encode())
    house.service.tick(T0 + 359)
    assert house.service.get_detector("air").last_interval is None
    house.service.tick(T0 + 360)
    objects.put(f"{at}{utc(T0):%H%M}/late.json", f'{{"t": {T0}, "CO": 90, "at": "B-101"}}'.encode())
    house.service.tick(T0 + 660)
    house.service.tick(T0 + 961)
    chart = house.service.chart("air", "CO", {"at": "B-101"})
    assert chart.values == [3.0, None, None]
    found = house.service.get_detector("air")
    assert (found.late, found.refused) == (1, 1)
    assert house.service.position() is None


def test_a_path_detector_without_any_data_yet_goes_on_quietly(house: House) -> None:
    source = {"kind": "path", "template": "s3://air-data/in/day-{{yyyyMMdd}}/{{HHmm}}"}
    house.service.create_detector(_stream(source=source))
    assert [finding.level for finding in house.service.validate("air").findings] == ["warning"]
    house.service.activate("air")
    house.service.wait("air")
    for step in range(5):
        house.service.tick(T0 + 300 * step)
    found = house.service.get_detector("air")
    assert (found.state, found.last_interval) == ("learning", utc(T0 + 900))
    assert house.service.list_groups("air", min_severity=0).items == ()


def test_a_path_detector_goes_on_after_a_restart_with_what_it_had_not_read(house: House) -> None:
    objects = Objects(house.folder.objects)
    source = {"kind": "path", "template": "s3://air-data/in/{{yyyyMMdd}}/{{HHmm}}"}
    house.service.create_detector(_stream(source=source))
    house.service.activate("air")
    house.service.wait("air")
    house.service.tick(T0)
    for step in range(4):
        at = utc(T0 + 300 * step)
        objects.put(
            f"s3://air-data/in/{at:%Y%m%d}/{at:%H%M}/a.json",
            f'{{"t": {T0 + 300 * step}, "CO": {step}, "at": "B"}}'.encode(),
        )
    house.service.tick(T0 + 650)
    again = house.again()
    again.service.tick(T0 + 1200)
    assert again.service.chart("air", "CO", {"at": "B"}).values == [0.0, 1.0, 2.0, 3.0]
    assert again.service.get_detector("air").late == 0
    again.service.close()


def test_a_backtest_finds_the_articles_groups_and_never_becomes_live(house: House) -> None:
    files = {"kind": "files", "paths": [str(SAMPLES / "live_data_sample.csv")]}
    house.service.create_detector(
        {
            **AIR,
            "mode": "backtest",
            "source": files,
            "history": [str(SAMPLES / "historic_data.json")],
            "rollups": "none",
        }
    )
    assert house.service.validate("air").valid
    assert house.service.backtest("air").state == "backtesting"
    assert house.service.wait("air").state == "backtested"
    assert [one.measure for one in house.service.list_groups("air").items] == ["CO", "SO2"]
    assert len(house.service.chart("air", "CO", {"LOCATION_ID": "B-101"}).times) == 576
    quality = house.service.data_quality("air")
    assert (quality["rows"], quality["data"]["series"]) == (576, 1)
    with pytest.raises(Conflict):
        house.service.activate("air")
    house.service.backtest("air")
    house.service.wait("air")
    assert len(house.service.executions("air").items) == 2


def test_a_failed_job_names_its_reason_and_may_be_tried_again(house: House, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("t,CO,at\n" + "".join(f"{T0 + 300 * i},{i % 7},B\n" for i in range(50)))
    source = {"kind": "files", "paths": [str(path)]}
    house.service.create_detector(_stream(mode="backtest", source=source))
    house.service.backtest("air")
    path.unlink()
    found = house.service.wait("air")
    if found.state == "backtested":  # the job was quicker than the hand that took its file away
        house.service.backtest("air", validated=True)
        found = house.service.wait("air")
    assert found.state == "failed"
    assert "data.csv" in found.failure
    assert house.service.executions("air").items[0].state == "failed"


def test_too_many_series_end_a_detector_with_the_column_named(house: House) -> None:
    house = house.again(Bounds(cube=Limits(series=20)))
    _live(house)
    for place in range(30):
        house.give({"t": T0, "CO": 1, "at": f"B-{place}"})
    house.give({"t": T0 + 300, "CO": 1, "at": "B-1"}, arrived=T0 + 301.0)
    found = house.service.get_detector("air")
    assert found.state == "failed"
    assert found.failure.startswith("at: expected at most 20 series")
    house.service.close()


@pytest.mark.parametrize("field", ["measures", "dimensions"])
def test_an_installation_says_how_many_measures_and_dimensions_a_detector_may_have(
    house: House, field: str
) -> None:
    many = {field: [f"c{number}" for number in range(11)]}
    house.service.create_detector(_stream(name="narrow"))
    for refused in (
        lambda: house.service.create_detector(_stream(**many)),
        lambda: house.service.update_detector("narrow", many),
        lambda: house.service.set_dataset("narrow", many),
        lambda: house.service.validate(_stream(**many)),
    ):
        with pytest.raises(LimitReached, match=f"^{field}: expected at most 10, got 11$"):
            refused()
    house = house.again(Bounds(cube=Limits(measures=11, dimensions=11)))
    _live(house, **many)
    assert house.service.get_detector("air").state == "learning"
    house.service.close()


def test_an_installation_says_how_many_records_an_interval_may_have(house: House) -> None:
    house = house.again(Bounds(cube=Limits(records=2)))
    _live(house)
    for value in range(3):
        house.give({"t": T0, "CO": value, "at": "B-1"})
    assert house.service.get_detector("air").failure == "records: expected at most 2 in one interval, got 3"
    house.service.close()


def test_an_installation_says_how_many_detectors_it_has(house: House) -> None:
    house = house.again(Bounds(detectors=1))
    house.service.create_detector(_stream())
    with pytest.raises(LimitReached, match="detectors: expected at most 1"):
        house.service.create_detector(_stream(name="other"))
    house.service.close()


def test_a_column_is_a_measure_or_a_dimension_but_counted_it_may_be_both(house: House) -> None:
    ratio = {"name": "r", "aggregation": "ratio", "numerator": "CO", "denominator": "at"}
    house.service.create_detector(_stream(name="narrow"))
    for refused in (
        lambda: house.service.create_detector(_stream(measures=["CO", "at"])),
        lambda: house.service.create_detector(_stream(measures=[ratio])),
        lambda: house.service.update_detector("narrow", {"dimensions": ["at", "CO"]}),
        lambda: house.service.validate(_stream(measures=["CO", "at"])),
    ):
        with pytest.raises(InvalidInput, match="measures: expected columns other than the dimensions, got"):
            refused()
    counted = {"name": "calls", "aggregation": "count", "column": "at"}
    assert house.service.create_detector(_stream(measures=[counted])).name == "air"


def test_waiting_too_long_is_said(house: House) -> None:
    house.service.create_detector(_stream())
    house.service.activate("air")
    with pytest.raises(LimitReached, match="activating"):
        house.service.wait("air", timeout_s=0.0)


def test_a_deleted_detector_leaves_no_files(house: House) -> None:
    _live(house)
    _feed(house, 0, 3)
    house.service.deactivate("air")
    assert (house.folder.metrics / "air").is_dir()
    house.service.delete_detector("air")
    assert not (house.folder.metrics / "air").exists()
