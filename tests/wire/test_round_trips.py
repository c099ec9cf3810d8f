"""Every operation that is served, by unmodified clients through every door, over the real verbs of a whole server."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from seen_verbs import Seen
from waiting import eventually
from wire_matrix import (
    CLI,
    MODELS,
    REGION,
    SERVED,
    VARIANTS,
    Ledger,
    Variant,
    Wired,
    operations,
    the_key,
    variants,
)

from masthead.access.keys import NewKey
from masthead.app import Masthead
from masthead.aws.core import Core
from masthead.base.clock import SystemClock
from masthead.base.settings import Settings
from masthead.server import Server

AIR = Path(__file__).parents[2] / "src/masthead/samples/air"
FILES = ("historic_data.json", "live_data_sample.csv")
ROLE = "arn:aws:iam::123456789012:role/lookout"
ARN = f"arn:aws:lookoutmetrics:{REGION}:000000000000:"
TESTED = ARN + "AnomalyDetector:tested"
TOPIC = {"SNSConfiguration": {"RoleArn": ROLE, "SnsTopicArn": f"arn:aws:sns:{REGION}:123456789012:night"}}
FUNCTION = {
    "LambdaConfiguration": {
        "RoleArn": ROLE,
        "LambdaArn": f"arn:aws:lambda:{REGION}:123456789012:function:siren",
    }
}
COLUMNS = ["TIMESTAMP", "LOCATION_ID", "CO", "SO2", "NO2"]
FORM = {"CsvFormatDescriptor": {"FileCompression": "NONE", "Delimiter": ",", "HeaderList": COLUMNS}}
READING = {"TIMESTAMP": "2022-03-24 23:30", "LOCATION_ID": "B-101", "SO2": 120}
BUCKET = {"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::readings"}
REFUSED = [
    "InvokeEndpointWithResponseStream",
    "StartDeliveryStreamEncryption",
    "StopDeliveryStreamEncryption",
]
STREAMED = "InvokeEndpointWithResponseStream"  # the AWS CLI has no such command
CLIENTS = [*VARIANTS, CLI]
SECRET_KEY = "arn:aws:kms:eu-west-1:123456789012:key/12345678-1234-1234-1234-123456789012"


def s3(**paths: Any) -> dict[str, Any]:
    return {"S3SourceConfig": {"RoleArn": ROLE, "FileFormatDescriptor": FORM, **paths}}


def metric_set(arn: str, source: dict[str, Any]) -> dict[str, Any]:
    return {
        "AnomalyDetectorArn": arn,
        "MetricSetName": "air-set",
        "MetricList": [{"MetricName": name, "AggregationFunction": "AVG"} for name in COLUMNS[2:]],
        "DimensionList": ["LOCATION_ID"],
        "TimestampColumn": {"ColumnName": "TIMESTAMP", "ColumnFormat": "yyyy-MM-dd HH:mm"},
        "MetricSetFrequency": "PT5M",
        "MetricSource": source,
    }


@dataclass
class House:
    """A whole server with a detector that was back-tested and one that is deployed, and clients of it."""

    masthead: Masthead
    seen: Seen
    key: NewKey
    by_variant: dict[tuple[str, str], Variant]
    ledger: Ledger

    def client(self, service: str, variant: tuple[str, str]) -> "Watched":
        found = self.by_variant[variant].wired(service, self.key, self.ledger)
        return Watched(**vars(found), seen=self.seen)


@dataclass
class Watched(Wired):
    """A client that also enters which verbs an answer took."""

    seen: Seen | None = None

    def __call__(self, operation: str, /, **given: Any) -> dict[str, Any]:
        assert self.seen is not None
        self.seen.verbs = []
        answer = super().__call__(operation, **given)
        row = self.ledger.rows[self.model.name, operation]
        row.verbs += [verb for verb in self.seen.verbs if verb not in row.verbs]
        return answer


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, ledger: Ledger) -> Iterator[House]:
    settings = Settings(
        data=tmp_path_factory.mktemp("round") / "data", port=0, aws_port=0, mqtt_port=0, sync="interval"
    )
    with Server(settings) as server:
        masthead = server.masthead
        for folder in ("past", "history"):
            (masthead.folder.objects / "air" / folder).mkdir(parents=True)
        for name in FILES:
            shutil.copy(AIR / name, masthead.folder.objects / "air" / "past" / name)
        shutil.copy(AIR / FILES[0], masthead.folder.objects / "air" / "history")
        seen = Seen(masthead)
        core = Core(seen, clock=SystemClock(), models=MODELS)  # type: ignore[arg-type]
        with variants(masthead, core) as by_variant:
            found = House(masthead, seen, the_key(masthead), by_variant, ledger)
            prepare(found)
            yield found


def prepare(house: House) -> None:
    """Back-test the article's files, learn from its history, and deploy what was learned."""
    lookout = house.client("lookoutmetrics", VARIANTS[0])
    lookout(
        "CreateAnomalyDetector",
        AnomalyDetectorName="tested",
        AnomalyDetectorConfig={"AnomalyDetectorFrequency": "PT5M"},
    )
    lookout("CreateMetricSet", **metric_set(TESTED, s3(HistoricalDataPathList=["s3://air/past/"])))
    lookout("BackTestAnomalyDetector", AnomalyDetectorArn=TESTED)
    metrics = house.masthead.metrics
    metrics.wait("tested", 120)
    metrics.create_detector(
        {
            "name": "served",
            "time": {"column": "TIMESTAMP", "format": "yyyy-MM-dd HH:mm"},
            "measures": ["SO2"],
            "dimensions": ["LOCATION_ID"],
            "source": {"kind": "stream", "topic": "sensors/+/air"},
            "history": {"paths": [str(AIR / FILES[0])]},
        }
    )
    metrics.activate("served")
    metrics.wait("served", 120)
    metrics.deploy("served")
    house.masthead.objects.put("s3://inputs/one.json", json.dumps(READING).encode())


@pytest.mark.parametrize("variant", CLIENTS, ids=" ".join)
def test_detectors_and_metric_sets(variant: tuple[str, str], house: House) -> None:
    lookout = house.client("lookoutmetrics", variant)
    given = {
        "AnomalyDetectorName": "air",
        "AnomalyDetectorDescription": "stations",
        "AnomalyDetectorConfig": {"AnomalyDetectorFrequency": "PT1H"},
        "KmsKeyArn": SECRET_KEY,
        "Tags": {"site": "n\u00f8rd"},
    }
    arn = lookout("CreateAnomalyDetector", **given)["AnomalyDetectorArn"]
    assert arn == ARN + "AnomalyDetector:air"
    again = lookout.refused("CreateAnomalyDetector", "ConflictException", "air", **given)
    assert again.says(ResourceId=arn, ResourceType="AnomalyDetector")
    lookout.refused("BackTestAnomalyDetector", "ValidationException", "source", AnomalyDetectorArn=arn)
    config = {"AnomalyDetectorFrequency": "PT5M"}
    changed = lookout("UpdateAnomalyDetector", AnomalyDetectorArn=arn, AnomalyDetectorConfig=config)
    assert changed == {"AnomalyDetectorArn": arn}
    told = lookout("DescribeAnomalyDetector", AnomalyDetectorArn=arn)
    assert (told["Status"], told["AnomalyDetectorConfig"]) == ("INACTIVE", config)
    listed = lookout("ListAnomalyDetectors", MaxResults=1)
    rest = lookout("ListAnomalyDetectors", MaxResults=100, NextToken=listed["NextToken"])
    names = [
        one["AnomalyDetectorName"] for page in (listed, rest) for one in page["AnomalyDetectorSummaryList"]
    ]
    assert names == ["air", "served", "tested"]
    foreign = {"AnomalyDetectorArn": TESTED, "NextToken": listed["NextToken"]}
    lookout.refused("ListAlerts", "ValidationException", "NextToken", **foreign)

    live = s3(
        TemplatedPathList=["s3://air/live/{{yyyyMMdd}}/{{HHmm}}"],
        HistoricalDataPathList=["s3://air/history/"],
    )
    athena = {
        "AthenaSourceConfig": {"RoleArn": ROLE, "DatabaseName": "d", "DataCatalog": "c", "TableName": "t"}
    }
    lookout.refused("CreateMetricSet", "ValidationException", "use S3SourceConfig", **metric_set(arn, athena))
    made = lookout("CreateMetricSet", **metric_set(arn, live))["MetricSetArn"]
    lookout.refused("CreateMetricSet", "ConflictException", "", **metric_set(arn, live))
    more = [{"MetricName": "CO", "AggregationFunction": "SUM"}]
    assert lookout("UpdateMetricSet", MetricSetArn=made, MetricList=more) == {"MetricSetArn": made}
    told = lookout("DescribeMetricSet", MetricSetArn=made)
    assert (told["MetricList"], told["MetricSetFrequency"]) == (more, "PT5M")
    assert told["MetricSource"]["S3SourceConfig"]["RoleArn"] == ROLE
    [one] = lookout("ListMetricSets", AnomalyDetectorArn=arn)["MetricSetSummaryList"]
    assert one["MetricSetArn"] == made

    assert lookout("ActivateAnomalyDetector", AnomalyDetectorArn=arn) == {}
    house.masthead.metrics.wait("air", 120)
    assert lookout("DescribeAnomalyDetector", AnomalyDetectorArn=arn)["Status"] == "ACTIVE"
    lookout.refused("ActivateAnomalyDetector", "ConflictException", "air", AnomalyDetectorArn=arn)
    assert lookout("DeactivateAnomalyDetector", AnomalyDetectorArn=arn) == {}
    eventually(lambda: lookout("DescribeAnomalyDetector", AnomalyDetectorArn=arn)["Status"] == "DEACTIVATED")
    tags_of(lookout, arn, {"site": "n\u00f8rd"})
    tags_of(lookout, made, {})
    assert lookout("DeleteAnomalyDetector", AnomalyDetectorArn=arn) == {}
    house.masthead.metrics.tick(house.masthead.clock.time())
    lookout.refused("DescribeAnomalyDetector", "ResourceNotFoundException", "air", AnomalyDetectorArn=arn)


def tags_of(lookout: Wired, arn: str, born_with: dict[str, str]) -> None:
    """Add, list and take tags, on an ARN whose slashes and colons are encoded in the path."""
    assert lookout("ListTagsForResource", ResourceArn=arn).get("Tags", {}) == born_with
    assert lookout("TagResource", ResourceArn=arn, Tags={"a b": "1", "c&d": "2"}) == {}
    assert lookout("UntagResource", ResourceArn=arn, TagKeys=["a b", "none"]) == {}
    assert lookout("ListTagsForResource", ResourceArn=arn)["Tags"] == {**born_with, "c&d": "2"}
    lookout.refused("TagResource", "ValidationException", "aws:", ResourceArn=arn, Tags={"aws:x": "1"})


@pytest.mark.parametrize("variant", CLIENTS, ids=" ".join)
def test_alerts(variant: tuple[str, str], house: House) -> None:
    lookout = house.client("lookoutmetrics", variant)
    given = {
        "AlertName": "night",
        "AlertSensitivityThreshold": 70,
        "AnomalyDetectorArn": TESTED,
        "Action": TOPIC,
        "AlertFilters": {"MetricList": ["CO"]},
        "Tags": {"site": "north"},
    }
    arn = lookout("CreateAlert", **given)["AlertArn"]
    again = lookout.refused("CreateAlert", "ConflictException", "night", **given)
    assert again.says(ResourceId=arn, ResourceType="Alert")
    assert lookout("UpdateAlert", AlertArn=arn, Action=FUNCTION, AlertSensitivityThreshold=90) == {
        "AlertArn": arn
    }
    told = lookout("DescribeAlert", AlertArn=arn)["Alert"]
    assert (told["AlertType"], told["AlertSensitivityThreshold"], told["Action"]) == ("LAMBDA", 90, FUNCTION)
    assert told["AlertFilters"] == {"MetricList": ["CO"]}
    [one] = lookout("ListAlerts", AnomalyDetectorArn=TESTED)["AlertSummaryList"]
    assert (one["AlertArn"], one["Tags"]) == (arn, {"site": "north"})
    tags_of(lookout, arn, {"site": "north"})
    assert lookout("DeleteAlert", AlertArn=arn) == {}
    lookout.refused("DescribeAlert", "ResourceNotFoundException", "night", AlertArn=arn)


@pytest.mark.parametrize("variant", CLIENTS, ids=" ".join)
def test_what_a_back_test_found(variant: tuple[str, str], house: House) -> None:
    lookout = house.client("lookoutmetrics", variant)
    asked = {"AnomalyDetectorArn": TESTED}
    assert lookout("BackTestAnomalyDetector", **asked) == {}
    house.masthead.metrics.wait("tested", 120)
    assert lookout("DescribeAnomalyDetector", **asked)["Status"] == "BACK_TEST_COMPLETE"
    found = lookout("ListAnomalyGroupSummaries", SensitivityThreshold=70, **asked)
    groups = found["AnomalyGroupSummaryList"]
    assert [one["PrimaryMetricName"] for one in groups] == ["CO", "SO2"]
    assert found["AnomalyGroupStatistics"]["TotalCount"] == 2
    group = {**asked, "AnomalyGroupId": groups[1]["AnomalyGroupId"]}
    [impact] = lookout("GetAnomalyGroup", **group)["AnomalyGroup"]["MetricLevelImpactList"]
    assert impact["MetricName"] == "SO2"
    [series] = lookout("ListAnomalyGroupTimeSeries", MetricName="SO2", **group)["TimeSeriesList"]
    assert series["MetricValueList"][0] == 120.0
    related = lookout("ListAnomalyGroupRelatedMetrics", **group)["InterMetricImpactList"]
    assert all(one["AnomalyGroupId"] != group["AnomalyGroupId"] for one in related)
    one = {"AnomalyGroupId": group["AnomalyGroupId"], "TimeSeriesId": series["TimeSeriesId"]}
    word = {**asked, "AnomalyGroupTimeSeriesFeedback": {**one, "IsAnomaly": True}}
    assert lookout("PutFeedback", **word) == {}
    about = {**asked, "AnomalyGroupTimeSeriesFeedback": {"AnomalyGroupId": group["AnomalyGroupId"]}}
    [told] = lookout("GetFeedback", **about)["AnomalyGroupTimeSeriesFeedback"]
    assert told == {"TimeSeriesId": series["TimeSeriesId"], "IsAnomaly": True}
    executed = lookout("DescribeAnomalyDetectionExecutions", MaxResults=3, **asked)["ExecutionList"]
    assert [one["Status"] for one in executed] == ["COMPLETED"] * 3
    [quality] = lookout("GetDataQualityMetrics", **asked)["AnomalyDetectorDataQualityMetricList"]
    assert quality["MetricSetDataQualityMetricList"][0]["DataQualityMetricList"]
    lookout.refused(
        "DescribeAnomalyDetectionExecutions",
        "ValidationException",
        "Timestamp",
        Timestamp="2022-02-31T00:00:00Z",
        **asked,
    )


@pytest.mark.parametrize("variant", CLIENTS, ids=" ".join)
def test_a_look_at_files(variant: tuple[str, str], house: House) -> None:
    lookout = house.client("lookoutmetrics", variant)
    source = s3(HistoricalDataPathList=["s3://air/past/live_data_sample.csv"])
    rows = lookout("GetSampleData", **source)
    assert (rows["HeaderValues"], rows["SampleRows"][0][1]) == (COLUMNS, "B-101")
    lookout.refused("GetSampleData", "ValidationException", "S3SourceConfig")
    given = {
        "AutoDetectionMetricSource": {"S3SourceConfig": {"HistoricalDataPathList": ["s3://air/history/"]}}
    }
    found = lookout("DetectMetricSetConfig", AnomalyDetectorArn=TESTED, **given)["DetectedMetricSetConfig"]
    assert found["MetricSetFrequency"]["Value"] == {"S": "PT5M"}


@pytest.mark.parametrize("variant", CLIENTS, ids=" ".join)
def test_endpoints(variant: tuple[str, str], house: House) -> None:
    runtime = house.client("sagemaker-runtime", variant)
    name = {"EndpointName": "served"}
    found = runtime(
        "InvokeEndpoint",
        Body=json.dumps(READING),
        ContentType="application/json",
        CustomAttributes="t=1",
        **name,
    )
    [one] = json.loads(found["Body"])["predictions"]
    assert one["value"] == 120.0
    assert (found["InvokedProductionVariant"], found["CustomAttributes"]) == ("AllTraffic", "t=1")
    failed = runtime.refused("InvokeEndpoint", "ModelError", "TIMESTAMP", Body=b'[{"SO2": 1}]', **name)
    log = (
        f"arn:aws:logs:{REGION}:000000000000:log-group:/aws/sagemaker/Endpoints/served:log-stream:AllTraffic"
    )
    assert failed.says(OriginalStatusCode=400, OriginalMessage="instances[0].TIMESTAMP: time missing")
    assert failed.says(LogStreamArn=log)
    runtime.refused(
        "InvokeEndpoint", "ValidationError", "TargetVariant", Body=b"{}", TargetVariant="blue", **name
    )
    later = runtime("InvokeEndpointAsync", InputLocation="s3://inputs/one.json", **name)
    eventually(lambda: house.masthead.objects.exists(later["OutputLocation"]))
    runtime.refused(
        "InvokeEndpointAsync", "ValidationError", "InputLocation", InputLocation="https://x/y", **name
    )
    if variant != CLI:
        runtime.refused(STREAMED, "ValidationError", "use InvokeEndpoint", Body=b"{}", **name)


@pytest.mark.parametrize("variant", CLIENTS, ids=" ".join)
def test_delivery_streams(variant: tuple[str, str], house: House) -> None:
    firehose = house.client("firehose", variant)
    name = {"DeliveryStreamName": "sales"}
    given = {
        "ExtendedS3DestinationConfiguration": BUCKET,
        "Tags": [{"Key": "site", "Value": "north"}],
        **name,
    }
    arn = firehose("CreateDeliveryStream", **given)["DeliveryStreamARN"]
    assert arn == f"arn:aws:firehose:{REGION}:000000000000:deliverystream/sales"
    firehose.refused("CreateDeliveryStream", "ResourceInUseException", "sales", **given)
    told = firehose("DescribeDeliveryStream", **name)["DeliveryStreamDescription"]
    assert (told["DeliveryStreamStatus"], told["VersionId"]) == ("ACTIVE", "1")
    assert firehose("ListDeliveryStreams", Limit=5)["DeliveryStreamNames"] == ["sales"]
    one = firehose("PutRecord", Record={"Data": b"one\n"}, **name)
    assert one["RecordId"].endswith("-0")
    many = firehose("PutRecordBatch", Records=[{"Data": b"%d" % number} for number in range(10)], **name)
    assert (many["FailedPutCount"], len({each["RecordId"] for each in many["RequestResponses"]})) == (0, 10)
    update = {
        "DestinationId": told["Destinations"][0]["DestinationId"],
        "CurrentDeliveryStreamVersionId": "1",
    }
    change = {"ExtendedS3DestinationUpdate": {"Prefix": "new/"}, **update, **name}
    assert firehose("UpdateDestination", **change) == {}
    firehose.refused("UpdateDestination", "ConcurrentModificationException", "VersionId", **change)
    assert firehose("TagDeliveryStream", Tags=[{"Key": "a", "Value": "1"}], **name) == {}
    assert firehose("UntagDeliveryStream", TagKeys=["site"], **name) == {}
    tags = firehose("ListTagsForDeliveryStream", **name)
    assert (tags["Tags"], tags["HasMoreTags"]) == ([{"Key": "a", "Value": "1"}], False)
    for operation in ("StartDeliveryStreamEncryption", "StopDeliveryStreamEncryption"):
        firehose.refused(operation, "InvalidArgumentException", "not supported", **name)
    assert firehose("DeleteDeliveryStream", **name) == {}
    firehose.refused("DescribeDeliveryStream", "ResourceNotFoundException", "sales", **name)


def test_every_operation_was_answered_but_those_that_are_refused_by_name(house: House) -> None:
    everyone = {(variant.name, variant.door) for variant in house.by_variant.values()}
    cli = house.by_variant[CLI]
    silent = []
    for place in operations(*SERVED):
        row = house.ledger.rows[place]
        wanted = everyone - ({(cli.name, cli.door)} if place[1] == STREAMED else set())
        assert {(client, door) for client, doors in row.clients.items() for door in doors} == wanted, place
        silent += [] if row.answered else [place[1]]
    assert silent == REFUSED
