"""What a detector answers in pages, the share of a back-test that only teaches, samples of files, deletion while running."""

import gzip
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

import masthead.metrics.results  # noqa: F401  # declares its tables before a database is made
from masthead.alerts.events import AlertEvent
from masthead.base.clock import ManualClock, utc
from masthead.base.errors import Conflict, InvalidInput, LimitReached, NotFound
from masthead.base.folder import DataFolder
from masthead.base.ids import series_id
from masthead.base.log import Journal
from masthead.metrics.service import MetricsService
from masthead.metrics.spec import DetectorSpec
from masthead.store.engine import Database
from masthead.store.objects import Objects

AIR = Path(__file__).parents[2] / "src/masthead/samples/air"
T0 = 1_700_000_100
PAST: dict[str, Any] = {
    "name": "air",
    "mode": "backtest",
    "rollups": "none",
    "dimensions": ["LOCATION_ID"],
    "time": {"column": "TIMESTAMP", "format": "yyyy-MM-dd HH:mm"},
    "measures": ["CO", "SO2", "NO2"],
    "learning_share": 0.7,
}
COLUMNS = ["TIMESTAMP", "LOCATION_ID", "CO", "SO2", "NO2"]


class Alerts:
    """Nobody is told; deletions are kept."""

    def __init__(self) -> None:
        self.deleted: list[str] = []

    def notify(self, connection: Connection, event: AlertEvent) -> int:
        return 0

    def wake(self) -> None:
        pass

    def delete_rules_of(self, connection: Connection, detector: str) -> int:
        self.deleted.append(detector)
        return 1


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


@dataclass
class House:
    service: MetricsService
    alerts: Alerts
    folder: DataFolder


@pytest.fixture
def house(database: Database, folder: DataFolder) -> Iterator[House]:
    alerts, clock = Alerts(), ManualClock(float(T0))
    service = MetricsService(
        database, Objects(folder.objects), alerts, clock, Journal(folder.logs, clock=clock), folder
    )
    yield House(service, alerts, folder)
    service.close()


def put_article(house: House, bucket: str = "air") -> None:
    """Put history and live file, as they were published, into one folder of a bucket."""
    there = house.folder.objects / bucket / "past"
    there.mkdir(parents=True)
    for name in ("historic_data.json", "live_data_sample.csv"):
        shutil.copy(AIR / name, there / name)


@pytest.fixture
def tested(house: House) -> House:
    put_article(house)
    source = {"kind": "files", "paths": ["s3://air/past/"], "format": {"columns": COLUMNS}}
    house.service.create_detector({**PAST, "source": source})
    house.service.backtest("air")
    found = house.service.wait("air")
    assert found.state == "backtested", found.failure
    return house


# --- the share that teaches -----------------------------------------------------------------------------


def test_the_oldest_intervals_teach_and_the_rest_holds_the_planted_groups(tested: House) -> None:
    found = tested.service.list_groups("air").items
    assert [(one.measure, f"{one.start:%m-%d %H:%M}") for one in found] == [
        ("CO", "03-24 23:45"),
        ("SO2", "03-24 23:30"),
    ]
    split = tested.service.data_quality("air")["data"]["split"]
    times = {name: datetime.fromisoformat(value).timestamp() for name, value in split.items()}
    taught = (times["learned_last"] - times["learned_first"]) / 300 + 1
    rest = (times["tested_last"] - times["tested_first"]) / 300 + 1
    assert times["tested_first"] == times["learned_last"] + 300
    assert (taught, rest) == (3132, 900)  # of 4,032: 30 % would be 1,210


def test_at_least_200_intervals_teach_and_at_most_900_are_tested(house: House, tmp_path: Path) -> None:
    def split(intervals: int) -> tuple[int, int]:
        path = tmp_path / f"{intervals}.csv"
        path.write_text("t,v\n" + "".join(f"{T0 + 300 * i},{i % 7}\n" for i in range(intervals)))
        source = {"kind": "files", "paths": [str(path)]}
        plain = {"mode": "backtest", "time": "t", "measures": ["v"], "learning_share": 0.5, "source": source}
        house.service.create_detector({"name": f"n{intervals}", **plain})
        house.service.backtest(f"n{intervals}")
        found = house.service.wait(f"n{intervals}")
        assert found.state == "backtested", found.failure
        told = house.service.data_quality(f"n{intervals}")["data"]["split"]
        ends = {name: datetime.fromisoformat(value).timestamp() for name, value in told.items()}
        taught = (ends["learned_last"] - ends["learned_first"]) / 300 + 1
        return int(taught), int((ends["tested_last"] - ends["tested_first"]) / 300 + 1)

    assert split(250) == (200, 50)
    assert split(1000) == (500, 500)
    assert split(2000) == (1100, 900)


def test_a_back_test_with_too_few_intervals_to_teach_fails_with_the_number(
    house: House, tmp_path: Path
) -> None:
    path = tmp_path / "few.csv"
    path.write_text("t,v\n" + "".join(f"{T0 + 300 * i},{i % 7}\n" for i in range(200)))
    source = {"kind": "files", "paths": [str(path)]}
    plain = {"mode": "backtest", "time": "t", "measures": ["v"], "learning_share": 0.7, "source": source}
    house.service.create_detector({"name": "few", **plain})
    house.service.backtest("few")
    found = house.service.wait("few")
    assert found.state == "failed"
    assert "more than 200 intervals" in found.failure


def test_a_look_that_is_left_to_the_job_ends_it_where_the_data_do_not_fit(
    house: House, tmp_path: Path
) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("t,v\nnever,1\n")
    source = {"kind": "files", "paths": [str(path)]}
    house.service.create_detector(
        {"name": "odd", "mode": "backtest", "time": "t", "measures": ["v"], "source": source}
    )
    with pytest.raises(InvalidInput):
        house.service.backtest("odd")
    assert house.service.backtest("odd", later=True).state == "backtesting"
    found = house.service.wait("odd")
    assert (found.state, house.service.executions("odd").items[0].state) == ("failed", "failed")
    assert found.failure


@pytest.mark.parametrize("changes", [{"learning_share": 1}, {"learning_share": True}, {"mode": "continuous"}])
def test_a_share_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="learning_share"):
        DetectorSpec.from_json({**PAST, **changes})


def test_a_share_survives_the_settings_file() -> None:
    spec = DetectorSpec.from_json(PAST)
    assert DetectorSpec.from_toml(spec.to_toml()) == spec
    assert "learning_share" not in DetectorSpec("air").to_json()


# --- groups ---------------------------------------------------------------------------------------------


def test_a_group_tells_its_series_with_a_value_for_each_of_its_intervals(tested: House) -> None:
    group = next(one for one in tested.service.list_groups("air").items if one.measure == "SO2")
    found = tested.service.group_values(group.id, "SO2")
    assert [f"{time:%H:%M}" for time in found.times] == ["23:30", "23:35"]
    (one,) = found.series
    assert one.id == series_id("air", "SO2", {"LOCATION_ID": "B-101"})
    assert one.dimensions == {"LOCATION_ID": "B-101"}
    assert one.values[0] == 120.0
    assert found.next_token is None
    with pytest.raises(NotFound, match="CO"):
        tested.service.group_values(group.id, "CO")


def test_the_series_of_a_group_come_in_pages_none_twice(house: House) -> None:
    stations = [f"B-{number}" for number in range(5)]
    rows = ["t,at,v"]
    for step in range(260):
        for place, name in enumerate(stations):
            value = 900.0 if step == 240 else (7 * step + place) % 11
            rows.append(f"{T0 + 300 * step},{name},{value}")
    objects = Objects(house.folder.objects)
    objects.put("s3://air/in/a.csv", "\n".join(rows).encode())
    source = {"kind": "files", "paths": ["s3://air/in/"]}
    plain = {"mode": "backtest", "time": "t", "measures": ["v"], "dimensions": ["at"], "rollups": "none"}
    house.service.create_detector({"name": "wide", **plain, "learning_share": 0.7, "source": source})
    house.service.backtest("wide")
    house.service.wait("wide")
    group = house.service.list_groups("wide", min_severity=50).items[0]
    seen, token = [], None
    while True:
        page = house.service.group_values(group.id, "v", limit=2, token=token)
        seen += [one.dimensions["at"] for one in page.series]
        assert all(one.values[page.times.index(group.start)] == 900.0 for one in page.series)
        token = page.next_token
        if token is None:
            break
    assert sorted(seen) == stations


def test_groups_are_counted_by_measure_from_a_severity_on(tested: House) -> None:
    found = tested.service.group_statistics("air", 70)
    assert (found.total, found.by_measure) == (2, {"CO": 1, "SO2": 1})
    split = tested.service.data_quality("air")["data"]["split"]
    assert found.since == datetime.fromisoformat(split["tested_first"])
    assert tested.service.group_statistics("air", 100).total == 0


def test_related_measures_are_told_by_what_came_first(tested: House) -> None:
    co = next(one for one in tested.service.list_groups("air").items if one.measure == "CO")
    assert [one.measure for one in tested.service.related(co.id, order="before")] == ["SO2"]
    assert tested.service.related(co.id, order="after") == []


# --- feedback -------------------------------------------------------------------------------------------


def test_the_last_word_on_a_series_is_told_once(tested: House) -> None:
    group = tested.service.list_groups("air").items[0]
    id = series_id("air", group.measure, {"LOCATION_ID": "B-101"})
    tested.service.give_feedback(group.id, id, is_anomaly=False)
    tested.service.give_feedback(group.id, id, is_anomaly=True)
    (word,) = tested.service.latest_feedback(group.id).items
    assert word.is_anomaly
    assert tested.service.latest_feedback(group.id, id).items == (word,)
    assert tested.service.latest_feedback(group.id, "0" * 128).items == ()
    with pytest.raises(NotFound, match="series"):
        tested.service.give_feedback(group.id, "0" * 128, is_anomaly=True)
    with pytest.raises(InvalidInput, match="token"):
        tested.service.latest_feedback(group.id, token="nonsense")


# --- executions -----------------------------------------------------------------------------------------


def test_executions_come_in_pages_with_the_intervals_when_they_are_asked_for(tested: House) -> None:
    jobs = tested.service.executions("air")
    assert [one.kind for one in jobs.items] == ["backtest"]
    seen, token = [], None
    while True:
        page = tested.service.executions("air", limit=700, token=token, intervals=True)
        seen += list(page.items)
        token = page.next_token
        if token is None:
            break
    assert [one.kind for one in seen[:1]] == ["backtest"]  # it began long after the intervals that it scored
    starts = [one.started for one in seen[1:]]
    assert starts == sorted(starts, reverse=True)
    assert len(starts) == len(set(starts)) == 4032
    at = datetime(2022, 3, 24, 23, 30, tzinfo=UTC)
    assert [one.started for one in tested.service.executions("air", at=at, intervals=True).items] == [at]
    with pytest.raises(InvalidInput, match="token"):
        tested.service.executions("air", token="nonsense")


# --- data sets and deletion -----------------------------------------------------------------------------


def test_a_detector_has_exactly_one_data_set(house: House) -> None:
    house.service.create_detector({"name": "air", "interval": "1h"})
    part = {"source": {"kind": "stream", "topic": "air/#"}, "measures": ["CO"]}
    house.service.set_dataset("air", part, first=True)
    with pytest.raises(LimitReached, match="dataset"):
        house.service.set_dataset("air", part, first=True)
    assert house.service.set_dataset("air", {"delay_s": 60}).spec.delay_s == 60


def test_a_running_detector_is_deleted_when_it_may_be_stopped(house: House) -> None:
    service = house.service
    stream = {"source": {"kind": "stream", "topic": "air/#"}, "measures": ["CO"], "time": "t"}
    service.create_detector({"name": "air", **stream})
    service.activate("air")
    service.wait("air")
    service.take(Routed("air", 1, (Record({"t": T0, "CO": 1.0}, float(T0)),)))
    with pytest.raises(Conflict, match="learning"):
        service.delete_detector("air")
    service.delete_detector("air", stop=True)
    with pytest.raises(NotFound):
        service.get_detector("air")
    assert house.alerts.deleted == ["air"]
    assert not (house.folder.metrics / "air").exists()
    service.create_detector({"name": "air"})


def test_a_detector_whose_job_runs_is_deleted_once_the_job_has_heard_of_it(house: House) -> None:
    put_article(house)
    source = {"kind": "files", "paths": ["s3://air/past/"], "format": {"columns": COLUMNS}}
    house.service.create_detector({**PAST, "source": source})
    house.service.backtest("air")
    house.service.tick(T0)
    house.service.delete_detector("air", stop=True)
    with pytest.raises(NotFound):
        house.service.wait("air", timeout_s=30)


# --- samples --------------------------------------------------------------------------------------------


def test_a_sample_shows_rows_as_they_stand(house: House) -> None:
    put_article(house)
    found = house.service.sample_rows({"kind": "files", "paths": ["s3://air/past/historic_data.json"]})
    assert found.columns == tuple(COLUMNS)
    assert found.rows[0] == ("2022-03-20 00:00", "B-101", "2.6", "62", "57")
    assert len(found.rows) == 20
    template = {
        "kind": "path",
        "template": "s3://air/past/{{yyyyMMdd}}/{{HHmm}}",
        "format": {"header": False},
    }
    with pytest.raises(InvalidInput, match="source"):
        house.service.sample_rows({"kind": "path", "template": "s3://none-yet/{{yyyyMMdd}}"})
    assert house.service.sample_rows(template, limit=3).rows


def test_what_files_are_is_guessed_with_a_confidence(house: House) -> None:
    objects = Objects(house.folder.objects)
    rows = "".join(f"{utc(T0 + 600 * i):%Y-%m-%d %H:%M};B-{i % 3};{i % 7}\n" for i in range(400))
    objects.put("s3://air/a/x.csv", f"when;at;v\n{rows}".encode())
    found = house.service.detect({"kind": "files", "paths": ["s3://air/a/"]})
    told = {name: (guess.value, guess.confidence) for name, guess in found.items()}
    assert told == {
        "compression": ("none", "high"),
        "kind": ("csv", "high"),
        "charset": ("UTF-8", "high"),
        "delimiter": (";", "high"),
        "header": (True, "high"),
        "columns": (("when", "at", "v"), "high"),
        "quote": ('"', "low"),
        "interval": ("10m", "high"),
        "delay_s": (0, "none"),
    }
    objects.put("s3://air/b/x.json.gz", gzip.compress((AIR / "historic_data.json").read_bytes()))
    packed = house.service.detect({"kind": "files", "paths": ["s3://air/b/"]})
    assert (packed["compression"].value, packed["kind"].value) == ("gzip", "json")
    assert packed["interval"].value == "5m"
    objects.put("s3://air/c/x.csv", b"name,colour\nrose,red\n")
    assert house.service.detect({"kind": "files", "paths": ["s3://air/c/"]})["interval"].confidence == "none"
    with pytest.raises(InvalidInput, match="kind"):
        house.service.detect({"kind": "stream", "topic": "air/#"})
