"""The calls of the public Lookout for Metrics notebooks, by an unmodified boto3 over loopback, with the article's files.

Source: aws-samples/amazon-lookout-for-metrics-samples, `getting_started`: back-testing, live data, exporting anomalies.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aws_clients import PINNED, client_python
from boto_agent import Boto, ClientFailed, boto, wire
from waiting import eventually

from masthead.alerts.channels import Outcome
from masthead.app import Masthead
from masthead.base.clock import ManualClock
from masthead.base.settings import Settings
from masthead.store.objects import Objects

AIR = Path(__file__).parents[2] / "src/masthead/samples/air"
REGION = "eu-west-1"
ROLE = "arn:aws:iam::123456789012:role/L4MTestRole"
TOPIC = f"arn:aws:sns:{REGION}:123456789012:anomalyalerts"
LIVE_DAY = datetime(2026, 3, 12, tzinfo=UTC)
PLANTED = [("CO", "23:45", "23:50"), ("SO2", "23:30", "23:35")]


@dataclass
class House:
    """An installation on the wire, with a clock in the test's hand, and an unmodified client of it."""

    masthead: Masthead
    clock: ManualClock
    l4m: Boto
    objects: Objects

    def move_to(self, moment: datetime) -> None:
        self.clock.advance(moment.timestamp() - self.clock.time())
        self.masthead.metrics.tick(self.clock.time())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    clock = ManualClock(LIVE_DAY.timestamp() + 1)
    with Masthead.open(Settings(data=tmp_path / "data"), clock=clock) as masthead:
        masthead.build()
        new = masthead.keys.create_key("notebook", policies=["metrics"])
        with (
            wire(masthead) as port,
            boto(
                client_python(*PINNED),
                "lookoutmetrics",
                endpoint_url=f"http://127.0.0.1:{port}",
                region_name=REGION,
                aws_access_key_id=new.key.id,
                aws_secret_access_key=new.secret,
            ) as l4m,
        ):
            yield House(masthead, clock, l4m, Objects(masthead.folder.objects))


def metric_set(arn: str, source: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of `create_metric_set`, as the notebooks build them."""
    columns = ["TIMESTAMP", "LOCATION_ID", "CO", "SO2", "NO2"]
    form = {
        "CsvFormatDescriptor": {
            "FileCompression": "NONE",
            "Charset": "UTF-8",
            "Delimiter": ",",
            "HeaderList": columns,
            "QuoteSymbol": '"',
        }
    }
    return {
        "AnomalyDetectorArn": arn,
        "MetricSetName": "air-metric-set-1",
        "MetricList": [{"MetricName": name, "AggregationFunction": "AVG"} for name in ("CO", "SO2", "NO2")],
        "DimensionList": ["LOCATION_ID"],
        "TimestampColumn": {"ColumnName": "TIMESTAMP", "ColumnFormat": "yyyy-MM-dd HH:mm"},
        "MetricSetFrequency": "PT5M",
        "MetricSource": {"S3SourceConfig": {"RoleArn": ROLE, "FileFormatDescriptor": form, **source}},
    }


def wait_for(l4m: Boto, arn: str, step: Callable[[], None]) -> list[str]:
    """Poll as the notebooks' helper does; return the states that were seen, each once."""
    seen: list[str] = []
    limit = time.monotonic() + 240  # the first back-test after a change compiles the kernel
    while time.monotonic() < limit:
        step()
        state = l4m.describe_anomaly_detector(AnomalyDetectorArn=arn)["Status"]
        if state not in seen:
            seen.append(state)
        if state not in ("ACTIVATING", "BACK_TEST_ACTIVATING", "BACK_TEST_ACTIVE"):
            return seen
        time.sleep(0.05)
    raise AssertionError(f"still {seen}")


def exported(l4m: Boto, arn: str, threshold: int) -> list[dict[str, Any]]:
    """Return every group with the series of its primary metric, as the notebook that exports anomalies gathers them."""
    groups: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    while True:
        answer = l4m.list_anomaly_group_summaries(
            AnomalyDetectorArn=arn, SensitivityThreshold=threshold, MaxResults=1, **token
        )
        groups += answer["AnomalyGroupSummaryList"]
        if "NextToken" not in answer:
            break
        token = {"NextToken": answer["NextToken"]}
    for group in groups:
        answer = l4m.list_anomaly_group_time_series(
            AnomalyDetectorArn=arn,
            AnomalyGroupId=group["AnomalyGroupId"],
            MetricName=group["PrimaryMetricName"],
            MaxResults=100,
        )
        assert "NextToken" not in answer
        group["series"] = answer["TimeSeriesList"]
        start, end = (datetime.fromisoformat(group[name].split("[")[0]) for name in ("StartTime", "EndTime"))
        group["span"] = (group["PrimaryMetricName"], f"{start:%H:%M}", f"{end:%H:%M}")
    return groups


def test_the_backtesting_notebook_finds_the_planted_groups(house: House) -> None:
    l4m = house.l4m
    there = house.masthead.folder.objects / "air-data" / "backtest"
    there.mkdir(parents=True)
    for name in ("historic_data.json", "live_data_sample.csv"):
        shutil.copy(AIR / name, there / name)
    arn = l4m.create_anomaly_detector(
        AnomalyDetectorName="air-backtesting-detector",
        AnomalyDetectorDescription="My Detector",
        AnomalyDetectorConfig={"AnomalyDetectorFrequency": "PT5M"},
    )["AnomalyDetectorArn"]
    assert l4m.describe_anomaly_detector(AnomalyDetectorArn=arn)["Status"] == "INACTIVE"
    source = {"HistoricalDataPathList": ["s3://air-data/backtest/"]}
    set_arn = l4m.create_metric_set(**metric_set(arn, source))["MetricSetArn"]
    assert l4m.describe_metric_set(MetricSetArn=set_arn)["MetricSetFrequency"] == "PT5M"
    l4m.back_test_anomaly_detector(AnomalyDetectorArn=arn)
    tick = lambda: house.masthead.metrics.tick(house.clock.time())  # noqa: E731
    assert wait_for(l4m, arn, tick)[-1] == "BACK_TEST_COMPLETE"

    found = exported(l4m, arn, 70)
    assert [one["span"] for one in found] == PLANTED
    assert [[one["MetricValueList"] for one in group["series"]] for group in found][1][0][0] == 120.0
    for group in found:
        asked = {"AnomalyDetectorArn": arn, "AnomalyGroupId": group["AnomalyGroupId"]}
        (impact,) = l4m.get_anomaly_group(**asked)["AnomalyGroup"]["MetricLevelImpactList"]
        (dimension,) = impact["ContributionMatrix"]["DimensionContributionList"]
        (value,) = dimension["DimensionValueContributionList"]
        assert (value["DimensionValue"], value["ContributionScore"]) == ("B-101", 100.0)
        word = {"AnomalyGroupId": group["AnomalyGroupId"]}
        series = {**word, "TimeSeriesId": group["series"][0]["TimeSeriesId"]}
        l4m.put_feedback(AnomalyDetectorArn=arn, AnomalyGroupTimeSeriesFeedback={**series, "IsAnomaly": True})
        told = l4m.get_feedback(AnomalyDetectorArn=arn, AnomalyGroupTimeSeriesFeedback=word)
        assert told["AnomalyGroupTimeSeriesFeedback"] == [
            {"TimeSeriesId": series["TimeSeriesId"], "IsAnomaly": True}
        ]

    l4m.delete_anomaly_detector(AnomalyDetectorArn=arn)
    with pytest.raises(ClientFailed) as gone:
        l4m.describe_anomaly_detector(AnomalyDetectorArn=arn)
    assert (gone.value.kind, gone.value.code) == ("ResourceNotFoundException",) * 2
    assert gone.value.response["ResourceId"] == arn


def test_the_live_notebook_hears_of_the_planted_groups_when_the_clock_has_closed_them(house: House) -> None:
    l4m = house.l4m
    put_shifted(house.objects, LIVE_DAY - datetime(2022, 3, 24, tzinfo=UTC))
    assert l4m.list_metric_sets()["MetricSetSummaryList"] == []
    arn = l4m.create_anomaly_detector(
        AnomalyDetectorName="air-detector-1",
        AnomalyDetectorDescription="My Detector",
        AnomalyDetectorConfig={"AnomalyDetectorFrequency": "PT5M"},
        Tags={"site": "north"},
    )["AnomalyDetectorArn"]
    paths = {
        "TemplatedPathList": ["s3://air-data/live/{{yyyyMMdd}}/{{HHmm}}"],
        "HistoricalDataPathList": ["s3://air-data/training/"],
    }
    l4m.create_metric_set(**metric_set(arn, paths))
    l4m.activate_anomaly_detector(AnomalyDetectorArn=arn)
    tick = lambda: house.masthead.metrics.tick(house.clock.time())  # noqa: E731
    assert wait_for(l4m, arn, tick)[-1] == "ACTIVE"
    tick()

    alert = l4m.create_alert(
        Action={"SNSConfiguration": {"RoleArn": ROLE, "SnsTopicArn": TOPIC}},
        AlertDescription="Test Alert 1",
        AlertName="air-alert-1",
        AnomalyDetectorArn=arn,
        AlertSensitivityThreshold=70,
    )["AlertArn"]
    for hour in range(1, 25):
        house.move_to(LIVE_DAY + timedelta(hours=hour, seconds=40))
    assert [one["span"] for one in exported(l4m, arn, 70)] == PLANTED

    # Nobody has subscribed to the topic: the alerts wait, and are told once the owner makes the channel of its name.
    alerts = house.masthead.alerts
    assert sorted(one.measure for one in alerts.deliveries(state="unheard").items) == ["CO", "SO2"]
    heard: list[dict[str, Any]] = []
    alerts.register_channel("webhook", lambda channel, sent: heard.append(sent.payload) or Outcome(True, ""))
    alerts.create_channel({"name": "anomalyalerts", "kind": "webhook", "url": "http://127.0.0.1:9/x"})
    alerts.deliver_due()
    assert sorted(one["impactedMetric"]["metricName"] for one in heard) == ["CO", "SO2"]
    assert {(one["alertArn"], one["anomalyDetectorArn"]) for one in heard} == {(alert, arn)}
    series = {one["impactedMetric"]["relevantTimeSeries"][0]["timeSeriesId"] for one in heard}
    assert series == {one["series"][0]["TimeSeriesId"] for one in exported(l4m, arn, 70)}

    l4m.delete_alert(AlertArn=alert)
    l4m.delete_anomaly_detector(AnomalyDetectorArn=arn)  # the notebook deletes it while it runs
    wait_until_deleted(l4m, arn, tick)
    assert l4m.list_anomaly_detectors()["AnomalyDetectorSummaryList"] == []


def wait_until_deleted(l4m: Boto, arn: str, step: Callable[[], None]) -> None:
    """Poll as the notebooks' helper does, until the detector is not found."""

    def is_gone() -> bool:
        step()
        try:
            found = l4m.describe_anomaly_detector(AnomalyDetectorArn=arn)
        except ClientFailed as failed:
            return failed.code == "ResourceNotFoundException"
        return bool(found["Status"] != "DELETING")

    eventually(is_gone, within_s=30)


def put_shifted(objects: Objects, shift: timedelta) -> None:
    """Put the history, and each live row into the folder of its interval, with shifted times."""

    def moved(text: str) -> datetime:
        return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC) + shift

    history = [json.loads(line) for line in (AIR / "historic_data.json").read_text("utf-8-sig").splitlines()]
    past = [{**row, "TIMESTAMP": f"{moved(row['TIMESTAMP']):%Y-%m-%d %H:%M}"} for row in history]
    objects.put("s3://air-data/training/history.json", "\n".join(map(json.dumps, past)).encode())
    for number, line in enumerate((AIR / "live_data_sample.csv").read_text().splitlines()):
        stamp, cells = line.split(",", 1)
        at = moved(stamp)
        row = f"{at:%Y-%m-%d %H:%M},{cells}\n".encode()
        objects.put(f"s3://air-data/live/{at:%Y%m%d}/{at:%H%M}/{number}.csv", row)
