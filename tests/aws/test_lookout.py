"""Lookout for Metrics over real verbs: what each operation does, and with which error it refuses."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fresh import fresh
from lookout_client import REGION, ROLE, Lookout, Refused, article_set, s3_source

from masthead.alerts.channels import Outcome
from masthead.app import Masthead
from masthead.base.clock import ManualClock
from masthead.base.settings import Settings
from masthead.store.objects import Objects

AIR = Path(__file__).parents[2] / "src/masthead/samples/air"
T0 = 1_700_000_100.0
PAST = {"HistoricalDataPathList": ["s3://air/past/"]}
LIVE = {"TemplatedPathList": ["s3://air/live/{{yyyyMMdd}}/{{HHmm}}"]}
TOPIC = {"SNSConfiguration": {"RoleArn": ROLE, "SnsTopicArn": f"arn:aws:sns:{REGION}:123456789012:night"}}
FUNCTION = {
    "LambdaConfiguration": {
        "RoleArn": ROLE,
        "LambdaArn": f"arn:aws:lambda:{REGION}:123456789012:function:siren",
    }
}
KEY = "arn:aws:kms:eu-west-1:123456789012:key/12345678-1234-1234-1234-123456789012"


def arn(resource: str, region: str = REGION, account: str = "000000000000") -> str:
    return f"arn:aws:lookoutmetrics:{region}:{account}:{resource}"


def opened(path: Path, **settings: Any) -> Masthead:
    return Masthead.open(Settings(data=fresh(path), **settings), clock=ManualClock(T0))


@pytest.fixture
def lookout(tmp_path: Path) -> Iterator[Lookout]:
    with opened(tmp_path / "data") as masthead:
        yield Lookout(masthead)


def put_article(masthead: Masthead) -> None:
    """Put history and live file, as they were published, into one folder of a bucket."""
    there = masthead.folder.objects / "air" / "past"
    there.mkdir(parents=True)
    for name in ("historic_data.json", "live_data_sample.csv"):
        shutil.copy(AIR / name, there / name)


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lookout]:
    """A detector whose back-test of the article's files is over; tests only read it or say a word on it."""
    with opened(tmp_path_factory.mktemp("tested") / "data") as masthead:
        put_article(masthead)
        found = Lookout(masthead)
        made(found)
        found("CreateMetricSet", **article_set(arn("AnomalyDetector:air"), s3_source(**PAST)))
        found("BackTestAnomalyDetector", AnomalyDetectorArn=arn("AnomalyDetector:air"))
        state = status(found)
        assert state == "BACK_TEST_ACTIVATING"
        masthead.metrics.wait("air")
        assert status(found) == "BACK_TEST_COMPLETE"
        masthead.flows.close(wait_s=10)  # a process runs one set of flows, and other tests want theirs
        yield found


def made(lookout: Lookout, name: str = "air", frequency: str = "PT5M", **more: Any) -> str:
    """Create a detector and return its ARN."""
    config = {"AnomalyDetectorFrequency": frequency}
    return str(
        lookout("CreateAnomalyDetector", AnomalyDetectorName=name, AnomalyDetectorConfig=config, **more)[
            "AnomalyDetectorArn"
        ]
    )


def status(lookout: Lookout, name: str = "air") -> str:
    found = lookout("DescribeAnomalyDetector", AnomalyDetectorArn=arn(f"AnomalyDetector:{name}"))
    return str(found["Status"])


def quality(lookout: Lookout) -> dict[tuple[str, str | None], float]:
    """Return the value of each metric about the data, by kind and column."""
    asked = {"AnomalyDetectorArn": arn("AnomalyDetector:air"), "MetricSetArn": arn("MetricSet/air/air-set")}
    (found,) = lookout("GetDataQualityMetrics", **asked)["AnomalyDetectorDataQualityMetricList"]
    (data_set,) = found["MetricSetDataQualityMetricList"]
    assert data_set["MetricSetArn"] == asked["MetricSetArn"]
    return {
        (one["MetricType"], one.get("RelatedColumnName")): one["MetricValue"]
        for one in data_set["DataQualityMetricList"]
    }


def named(told: Refused) -> tuple[str, str]:
    """Return which thing an error tells of, and what kind of thing it is."""
    return told.members["ResourceId"], told.members["ResourceType"]


# --- detectors ------------------------------------------------------------------------------------------


def test_a_detector_is_made_with_a_frequency_alone_and_described(lookout: Lookout) -> None:
    given = {"AnomalyDetectorDescription": "stations", "KmsKeyArn": KEY, "Tags": {"site": "north"}}
    name = made(lookout, frequency="PT1H", **given)
    assert name == arn("AnomalyDetector:air")
    found = lookout("DescribeAnomalyDetector", AnomalyDetectorArn=name)
    assert found == {
        "AnomalyDetectorArn": name,
        "AnomalyDetectorName": "air",
        "AnomalyDetectorDescription": "stations",
        "AnomalyDetectorConfig": {"AnomalyDetectorFrequency": "PT1H"},
        "CreationTime": int(T0),
        "LastModificationTime": int(T0),
        "Status": "INACTIVE",
        "KmsKeyArn": KEY,
    }
    (listed,) = lookout("ListAnomalyDetectors")["AnomalyDetectorSummaryList"]
    assert (listed["AnomalyDetectorArn"], listed["Tags"]) == (name, {"site": "north"})
    assert lookout.masthead.metrics.get_detector("air").spec.rollups == "none"


def test_a_detector_is_changed_while_it_does_not_run(lookout: Lookout) -> None:
    name = made(lookout)
    changes = {"AnomalyDetectorDescription": "new", "KmsKeyArn": KEY}
    config = {"AnomalyDetectorFrequency": "P1D"}
    told = lookout("UpdateAnomalyDetector", AnomalyDetectorArn=name, AnomalyDetectorConfig=config, **changes)
    assert told == {"AnomalyDetectorArn": name}
    found = lookout("DescribeAnomalyDetector", AnomalyDetectorArn=name)
    assert found["AnomalyDetectorConfig"] == config
    assert (found["AnomalyDetectorDescription"], found["KmsKeyArn"]) == ("new", KEY)


def test_a_second_detector_of_a_name_is_a_conflict_and_none_without_frequency_is_made(
    lookout: Lookout,
) -> None:
    made(lookout)
    config = {"AnomalyDetectorFrequency": "PT5M"}
    again = {"AnomalyDetectorName": "air", "AnomalyDetectorConfig": config}
    told = lookout.refused("CreateAnomalyDetector", **again)
    assert (told.code, told.status) == ("ConflictException", 409)
    assert told.members["ResourceType"] == "AnomalyDetector"
    bare = lookout.refused("CreateAnomalyDetector", AnomalyDetectorName="b", AnomalyDetectorConfig={})
    assert bare.code == "ValidationException"
    assert bare.members["Fields"][0]["Name"] == "AnomalyDetectorConfig.AnomalyDetectorFrequency"
    tagged = lookout.refused(
        "CreateAnomalyDetector", AnomalyDetectorName="b", AnomalyDetectorConfig=config, Tags={"aws:x": "y"}
    )
    assert tagged.code == "ValidationException"
    assert len(lookout("ListAnomalyDetectors")["AnomalyDetectorSummaryList"]) == 1


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (arn("AnomalyDetector:none"), "ResourceNotFoundException"),
        (arn("AnomalyDetector:air", region="us-east-1"), "ResourceNotFoundException"),
        (arn("AnomalyDetector:air", account="123456789012"), "ResourceNotFoundException"),
        (arn("Alert:air"), "ValidationException"),
        (arn("MetricSet/air/air"), "ValidationException"),
        ("arn:aws:firehose:eu-west-1:000000000000:deliverystream/air", "ValidationException"),
        ("arn:aws-cn:lookoutmetrics:eu-west-1:000000000000:AnomalyDetector:air", "ValidationException"),
    ],
)
def test_an_arn_is_read_strictly(lookout: Lookout, given: str, code: str) -> None:
    made(lookout)
    for operation in ("DescribeAnomalyDetector", "DeleteAnomalyDetector", "GetDataQualityMetrics"):
        told = lookout.refused(operation, AnomalyDetectorArn=given)
        assert (told.code, told.status) == (code, 400)
        if code == "ResourceNotFoundException":
            assert named(told) == (given, "AnomalyDetector")


def test_detectors_come_in_pages_by_name_whose_tokens_are_of_use_nowhere_else(lookout: Lookout) -> None:
    for number in range(5):
        made(lookout, f"d{number}")
    pages = list(lookout.pages("ListAnomalyDetectors", "AnomalyDetectorSummaryList", MaxResults=2))
    names = [[one["AnomalyDetectorName"] for one in page] for page in pages]
    assert names == [["d0", "d1"], ["d2", "d3"], ["d4"]]
    token = lookout("ListAnomalyDetectors", MaxResults=2)["NextToken"]
    assert lookout.refused("ListMetricSets", NextToken=token).code == "ValidationException"
    assert lookout.refused("ListAnomalyDetectors", NextToken=f"{token}x").code == "ValidationException"


def test_a_detector_without_data_set_cannot_begin(lookout: Lookout) -> None:
    name = made(lookout)
    told = lookout.refused("ActivateAnomalyDetector", AnomalyDetectorArn=name)
    assert told.code == "ValidationException"
    assert "source" in told.members["Message"]
    assert lookout.refused("BackTestAnomalyDetector", AnomalyDetectorArn=name).code == "ValidationException"
    assert lookout.refused("DeactivateAnomalyDetector", AnomalyDetectorArn=name).code == "ConflictException"


def test_the_states_of_a_live_detector_are_those_of_the_service(lookout: Lookout) -> None:
    metrics, name = lookout.masthead.metrics, made(lookout)
    lookout("CreateMetricSet", **article_set(name, s3_source(**LIVE)))
    assert status(lookout) == "INACTIVE"
    lookout("ActivateAnomalyDetector", AnomalyDetectorArn=name)
    assert status(lookout) == "ACTIVATING"
    assert lookout.refused("ActivateAnomalyDetector", AnomalyDetectorArn=name).code == "ConflictException"
    metrics.wait("air")
    assert status(lookout) == "LEARNING"
    told = lookout.refused("UpdateAnomalyDetector", AnomalyDetectorArn=name, AnomalyDetectorDescription="x")
    assert told.code == "ValidationException"  # the operation lists no conflict
    lookout("DeactivateAnomalyDetector", AnomalyDetectorArn=name)
    assert status(lookout) == "DEACTIVATED"
    lookout("ActivateAnomalyDetector", AnomalyDetectorArn=name)
    metrics.wait("air")
    lookout("DeleteAnomalyDetector", AnomalyDetectorArn=name)
    told = lookout.refused("DescribeAnomalyDetector", AnomalyDetectorArn=name)
    assert (told.code, told.status) == ("ResourceNotFoundException", 400)
    assert told.members["ResourceId"] == name


def test_data_that_do_not_fit_make_a_back_test_fail_with_the_reason(lookout: Lookout) -> None:
    name = made(lookout)
    Objects(lookout.masthead.folder.objects).put("s3://air/past/a.csv", b"TIMESTAMP,CO\nnever,1\n")
    lookout("CreateMetricSet", **article_set(name, s3_source(**PAST)))
    lookout("BackTestAnomalyDetector", AnomalyDetectorArn=name)
    lookout.masthead.metrics.wait("air")
    found = lookout("DescribeAnomalyDetector", AnomalyDetectorArn=name)
    assert (found["Status"], found["FailureType"]) == ("FAILED", "BACK_TEST_ACTIVATION_FAILURE")
    assert "TIMESTAMP" in found["FailureReason"]
    (job,) = lookout("DescribeAnomalyDetectionExecutions", AnomalyDetectorArn=name)["ExecutionList"]
    assert (job["Status"], "TIMESTAMP" in job["FailureReason"]) == ("FAILED", True)


@pytest.mark.parametrize(
    ("row", "invalid", "partial"),
    [("24.03.2022 23:30,B-1,1,2,3", 800, 0), ("2022-03-24 23:30,B-1,x,2,3", 0, 800)],
)
def test_the_quality_of_data_of_which_nothing_can_be_used_tells_what_was_refused(
    lookout: Lookout, row: str, invalid: int, partial: int
) -> None:
    name = made(lookout)
    objects = Objects(lookout.masthead.folder.objects)
    objects.put("s3://air/past/a.csv", "".join([f"{row}\n"] * 800).encode())
    lookout("CreateMetricSet", **article_set(name, s3_source(**PAST)))
    lookout("BackTestAnomalyDetector", AnomalyDetectorArn=name)
    lookout.masthead.metrics.wait("air")
    assert status(lookout) == "FAILED"
    told = quality(lookout)
    assert told["ROWS_PROCESSED", None] == 800
    assert told["INVALID_ROWS_COMPLIANCE", None] == invalid
    assert told["ROWS_PARTIAL_COMPLIANCE", None] == partial
    assert told["COLUMN_COMPLETENESS", "CO"] == 0


def test_a_back_test_never_goes_live_and_a_live_detector_is_not_back_tested(lookout: Lookout) -> None:
    name = made(lookout)
    lookout("CreateMetricSet", **article_set(name, s3_source(**PAST)))
    told = lookout.refused("ActivateAnomalyDetector", AnomalyDetectorArn=name)
    assert told.code == "ConflictException"
    other = made(lookout, "other")
    lookout("CreateMetricSet", **article_set(other, s3_source(**LIVE, **PAST)))
    assert lookout.refused("BackTestAnomalyDetector", AnomalyDetectorArn=other).code == "ValidationException"


def test_what_other_faces_made_is_shown_as_far_as_the_model_has_words(lookout: Lookout) -> None:
    metrics = lookout.masthead.metrics
    stream = {"source": {"kind": "stream", "topic": "air/#"}, "interval": "15m", "time": "t"}
    measures = ["CO", {"name": "top", "column": "CO", "aggregation": "max"}]
    metrics.create_detector({"name": "native", **stream, "measures": measures})
    found = lookout("DescribeAnomalyDetector", AnomalyDetectorArn=arn("AnomalyDetector:native"))
    assert found["AnomalyDetectorConfig"] == {}
    told = lookout("DescribeMetricSet", MetricSetArn=arn("MetricSet/native/native"))
    assert told["MetricList"] == [{"MetricName": "CO", "AggregationFunction": "AVG"}]
    assert told["MetricSource"] == {}
    assert "MetricSetFrequency" not in told


# --- metric sets ----------------------------------------------------------------------------------------


def test_a_metric_set_is_made_and_described_as_it_was_given(lookout: Lookout) -> None:
    name = made(lookout)
    source = s3_source(**LIVE, **PAST)
    filters = [
        {"Name": "LOCATION_ID", "FilterList": [{"DimensionValue": "B-101", "FilterOperation": "EQUALS"}]}
    ]
    extra = {
        "MetricSetDescription": "the article's",
        "Offset": 60,
        "Timezone": "Europe/Rome",
        "DimensionFilterList": filters,
        "Tags": {"site": "north"},
    }
    given = article_set(name, source, **extra)
    given["MetricList"][0]["Namespace"] = "article"
    made_set = lookout("CreateMetricSet", **given)["MetricSetArn"]
    assert made_set == arn("MetricSet/air/air-set")
    found = lookout("DescribeMetricSet", MetricSetArn=made_set)
    tags = given.pop("Tags")
    assert {key: found[key] for key in given} == given
    assert (found["MetricSetArn"], found["CreationTime"]) == (made_set, int(T0))
    (listed,) = lookout("ListMetricSets", AnomalyDetectorArn=name)["MetricSetSummaryList"]
    assert (listed["MetricSetName"], listed["Tags"]) == ("air-set", tags)
    spec = lookout.masthead.metrics.get_detector("air").spec
    assert (spec.mode, spec.delay_s, spec.zone, spec.rollups) == ("continuous", 60, "Europe/Rome", "none")
    assert spec.history is not None
    assert spec.history.paths == ("s3://air/past/",)
    assert spec.filters == {"LOCATION_ID": ("B-101",)}


def test_a_metric_set_is_changed_in_parts(lookout: Lookout) -> None:
    name = made(lookout)
    made_set = lookout("CreateMetricSet", **article_set(name, s3_source(**PAST)))["MetricSetArn"]
    assert lookout.masthead.metrics.get_detector("air").spec.learning_share == 0.7
    lookout("UpdateMetricSet", MetricSetArn=made_set, Offset=120, MetricSetDescription="later")
    found = lookout("DescribeMetricSet", MetricSetArn=made_set)
    assert (found["Offset"], found["MetricSetDescription"]) == (120, "later")
    assert found["MetricSource"] == s3_source(**PAST)
    lookout("UpdateMetricSet", MetricSetArn=made_set, MetricSource=s3_source(**LIVE))
    found = lookout("DescribeMetricSet", MetricSetArn=made_set)
    assert found["MetricSource"] == s3_source(**LIVE)
    spec = lookout.masthead.metrics.get_detector("air").spec
    assert (spec.mode, spec.history, spec.learning_share) == ("continuous", None, 0.0)


def test_a_detector_has_exactly_one_metric_set(lookout: Lookout) -> None:
    name = made(lookout)
    given = article_set(name, s3_source(**PAST))
    lookout("CreateMetricSet", **given)
    told = lookout.refused("CreateMetricSet", **given)
    assert (told.code, told.status) == ("ConflictException", 409)
    assert named(told) == (arn("MetricSet/air/air-set"), "MetricSet")
    told = lookout.refused("CreateMetricSet", **{**given, "MetricSetName": "second"})
    assert (told.code, told.status) == ("ServiceQuotaExceededException", 402)
    for wrong in ("MetricSet/air/second", "MetricSet/none/air-set"):
        told = lookout.refused("DescribeMetricSet", MetricSetArn=arn(wrong))
        assert told.code == "ResourceNotFoundException"
    for wrong in ("MetricSet/air", "MetricSet/air/a/b", "AnomalyDetector:air"):
        assert lookout.refused("DescribeMetricSet", MetricSetArn=arn(wrong)).code == "ValidationException"


@pytest.mark.parametrize(
    ("member", "setting"), [("MetricList", "max_measures"), ("DimensionList", "max_dimensions")]
)
def test_a_data_set_beyond_the_limits_of_the_installation_meets_its_quota(
    tmp_path: Path, member: str, setting: str
) -> None:
    columns: dict[str, list[Any]] = {
        "MetricList": [{"MetricName": f"m{n}", "AggregationFunction": "SUM"} for n in range(11)],
        "DimensionList": [f"d{n}" for n in range(11)],
    }
    with opened(tmp_path / "ten") as masthead:
        lookout = Lookout(masthead)
        given = {**article_set(made(lookout), s3_source(**PAST)), member: columns[member]}
        told = lookout.refused("CreateMetricSet", **given)
        assert (told.code, told.status) == ("ServiceQuotaExceededException", 402)
        assert "expected at most 10, got 11" in told.members["Message"]
    with opened(tmp_path / "more", **{setting: 11}) as masthead:
        lookout = Lookout(masthead)
        made(lookout)
        assert lookout("CreateMetricSet", **given)["MetricSetArn"] == arn("MetricSet/air/air-set")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"MetricSource": {"CloudWatchConfig": {"RoleArn": ROLE}}}, "source not supported: use S3SourceConfig"),
        ({"MetricSource": {"AthenaSourceConfig": {"RoleArn": ROLE}}}, "source not supported"),
        ({"MetricSource": {"RDSSourceConfig": {"TableName": "t"}}}, "source not supported"),
        ({"MetricSource": {"RedshiftSourceConfig": {"TableName": "t"}}}, "source not supported"),
        ({"MetricSource": {"AppFlowConfig": {"RoleArn": ROLE, "FlowName": "ff"}}}, "source not supported"),
        ({"MetricSource": s3_source()}, "TemplatedPathList (live), a HistoricalDataPathList (past) or both"),
        ({"MetricSource": s3_source(HistoricalDataPathList=["s3://air/../x/"])}, "'..'"),
        ({"MetricSource": s3_source(HistoricalDataPathList=["s3://air//x/"])}, "between slashes"),
        ({"MetricSource": s3_source(HistoricalDataPathList=["s3://air/a\\b/"])}, "backslash"),
        ({"MetricSource": s3_source(HistoricalDataPathList=["s3://a/x/"])}, "bucket"),
        ({"MetricSource": s3_source(TemplatedPathList=["s3://air/plain/"])}, "{{yyyyMMdd}}"),
        ({"MetricSetFrequency": "PT1H"}, "PT5M, the frequency of the detector"),
        ({"Timezone": "Mars/Olympus"}, "zone"),
        ({"DimensionList": ["a", "a"]}, "different names"),
        ({"DimensionList": ["a", "CO"]}, "measures: expected columns other than the dimensions, got 'CO' in both"),
        ({"DimensionFilterList": [{"FilterList": [{"DimensionValue": "x"}]}]}, "a Name and values"),
        ({"TimestampColumn": {"ColumnName": "t", "ColumnFormat": "yyyy-qq"}}, "format"),
    ],
)  # fmt: skip
def test_a_data_set_that_cannot_be_is_refused_at_once(
    lookout: Lookout, changes: dict[str, Any], said: str
) -> None:
    name = made(lookout)
    told = lookout.refused("CreateMetricSet", **{**article_set(name, s3_source(**PAST)), **changes})
    assert (told.code, told.status) == ("ValidationException", 400)
    assert said in told.members["Message"]
    assert lookout("ListMetricSets")["MetricSetSummaryList"] == []


# --- a look at files ------------------------------------------------------------------------------------


def test_sample_data_are_the_first_rows_as_texts(lookout: Lookout) -> None:
    put_article(lookout.masthead)
    source = s3_source(HistoricalDataPathList=["s3://air/past/live_data_sample.csv"])["S3SourceConfig"]
    found = lookout("GetSampleData", S3SourceConfig=source)
    assert found["HeaderValues"] == ["TIMESTAMP", "LOCATION_ID", "CO", "SO2", "NO2"]
    assert found["SampleRows"][0] == ["2022-03-25 00:00", "B-101", "2.6", "75", "61"]
    assert lookout.refused("GetSampleData").code == "ValidationException"
    empty = s3_source(**LIVE)["S3SourceConfig"]
    assert lookout.refused("GetSampleData", S3SourceConfig=empty).code == "ValidationException"


def test_files_are_described_before_there_is_a_metric_set(lookout: Lookout) -> None:
    name = made(lookout)
    rows = "".join(f"2022-03-{1 + i // 24:02} {i % 24:02}:00;{i % 7}\n" for i in range(300))
    Objects(lookout.masthead.folder.objects).put("s3://air/a/x.csv", f"when;v\n{rows}".encode())
    source = {"S3SourceConfig": {"HistoricalDataPathList": ["s3://air/a/"]}}
    asked = {"AnomalyDetectorArn": name, "AutoDetectionMetricSource": source}
    found = lookout("DetectMetricSetConfig", **asked)["DetectedMetricSetConfig"]
    assert found["MetricSetFrequency"]["Value"] == {"S": "PT1H"}
    assert found["MetricSetFrequency"]["Confidence"] == "HIGH"
    assert (found["Offset"]["Value"], found["Offset"]["Confidence"]) == ({"N": "0"}, "NONE")
    csv = found["MetricSource"]["S3SourceConfig"]["FileFormatDescriptor"]["CsvFormatDescriptor"]
    values = {member: field["Value"] for member, field in csv.items()}
    assert values == {
        "FileCompression": {"S": "NONE"},
        "Charset": {"S": "UTF-8"},
        "ContainsHeader": {"S": "true"},
        "Delimiter": {"S": ";"},
        "HeaderList": {"SS": ["when", "v"]},
        "QuoteSymbol": {"S": '"'},
    }
    put_article(lookout.masthead)
    source = {"S3SourceConfig": {"HistoricalDataPathList": ["s3://air/past/historic_data.json"]}}
    found = lookout("DetectMetricSetConfig", AnomalyDetectorArn=name, AutoDetectionMetricSource=source)[
        "DetectedMetricSetConfig"
    ]
    assert "JsonFormatDescriptor" in found["MetricSource"]["S3SourceConfig"]["FileFormatDescriptor"]
    assert found["MetricSetFrequency"]["Value"] == {"S": "PT5M"}
    none = {**asked, "AnomalyDetectorArn": arn("AnomalyDetector:none")}
    assert lookout.refused("DetectMetricSetConfig", **none).code == "ResourceNotFoundException"
    bare = {**asked, "AutoDetectionMetricSource": {}}
    assert lookout.refused("DetectMetricSetConfig", **bare).code == "ValidationException"


# --- after a back-test ----------------------------------------------------------------------------------


def groups(lookout: Lookout, threshold: int = 70) -> list[dict[str, Any]]:
    asked = {"AnomalyDetectorArn": arn("AnomalyDetector:air"), "SensitivityThreshold": threshold}
    return list(lookout("ListAnomalyGroupSummaries", **asked)["AnomalyGroupSummaryList"])


def test_the_planted_groups_are_listed_the_latest_first_with_their_statistics(tested: Lookout) -> None:
    asked = {"AnomalyDetectorArn": arn("AnomalyDetector:air"), "SensitivityThreshold": 70}
    found = tested("ListAnomalyGroupSummaries", **asked)
    listed = found["AnomalyGroupSummaryList"]
    assert [(one["PrimaryMetricName"], one["StartTime"], one["EndTime"]) for one in listed] == [
        ("CO", "2022-03-24T23:45:00+00:00[UTC]", "2022-03-24T23:50:00+00:00[UTC]"),
        ("SO2", "2022-03-24T23:30:00+00:00[UTC]", "2022-03-24T23:35:00+00:00[UTC]"),
    ]
    assert all(70 <= one["AnomalyGroupScore"] <= 100 for one in listed)
    counted = found["AnomalyGroupStatistics"]
    assert counted["TotalCount"] == 2
    assert counted["ItemizedMetricStatsList"] == [
        {"MetricName": "CO", "OccurrenceCount": 1},
        {"MetricName": "SO2", "OccurrenceCount": 1},
    ]
    assert counted["EvaluationStartDate"] == "2022-03-22T21:00:00+00:00[UTC]"
    assert groups(tested, 100) == []


def test_groups_come_in_pages_none_twice(tested: Lookout) -> None:
    asked = {"AnomalyDetectorArn": arn("AnomalyDetector:air"), "SensitivityThreshold": 0}
    whole = [one["AnomalyGroupId"] for one in groups(tested, 0)]
    assert len(whole) > 3
    pages = tested.pages("ListAnomalyGroupSummaries", "AnomalyGroupSummaryList", MaxResults=2, **asked)
    assert [one["AnomalyGroupId"] for page in pages for one in page] == whole
    token = tested("ListAnomalyGroupSummaries", MaxResults=1, **asked)["NextToken"]
    other = {**asked, "SensitivityThreshold": 1, "NextToken": token}
    assert tested.refused("ListAnomalyGroupSummaries", **other).code == "ValidationException"


def test_a_group_tells_what_contributes_to_it(tested: Lookout) -> None:
    asked = {"AnomalyDetectorArn": arn("AnomalyDetector:air")}
    for one in groups(tested):
        found = tested("GetAnomalyGroup", AnomalyGroupId=one["AnomalyGroupId"], **asked)["AnomalyGroup"]
        assert {key: found[key] for key in one} == one
        (impact,) = found["MetricLevelImpactList"]
        assert (impact["MetricName"], impact["NumTimeSeries"]) == (one["PrimaryMetricName"], 1)
        assert impact["ContributionMatrix"] == {
            "DimensionContributionList": [
                {
                    "DimensionName": "LOCATION_ID",
                    "DimensionValueContributionList": [
                        {"DimensionValue": "B-101", "ContributionScore": 100.0}
                    ],
                }
            ]
        }


def test_the_series_of_a_group_have_a_value_at_each_of_its_times(tested: Lookout) -> None:
    so2 = groups(tested)[1]
    asked = {"AnomalyDetectorArn": arn("AnomalyDetector:air"), "AnomalyGroupId": so2["AnomalyGroupId"]}
    found = tested("ListAnomalyGroupTimeSeries", MetricName="SO2", **asked)
    assert found["TimestampList"] == [so2["StartTime"], so2["EndTime"]]
    (one,) = found["TimeSeriesList"]
    assert one["DimensionList"] == [{"DimensionName": "LOCATION_ID", "DimensionValue": "B-101"}]
    assert one["MetricValueList"][0] == 120.0
    assert len(one["MetricValueList"]) == 2
    told = tested.refused("ListAnomalyGroupTimeSeries", MetricName="NO2", **asked)
    assert told.code == "ResourceNotFoundException"


def test_what_moved_beside_a_group_is_called_a_cause_when_it_came_first(tested: Lookout) -> None:
    co, so2 = groups(tested)
    asked = {"AnomalyDetectorArn": arn("AnomalyDetector:air"), "AnomalyGroupId": co["AnomalyGroupId"]}
    (found,) = [
        one
        for one in tested("ListAnomalyGroupRelatedMetrics", **asked)["InterMetricImpactList"]
        if one["MetricName"] == "SO2"
    ]
    assert found["AnomalyGroupId"] == so2["AnomalyGroupId"]
    assert found["RelationshipType"] == "CAUSE_OF_INPUT_ANOMALY_GROUP"
    effects = {**asked, "RelationshipTypeFilter": "EFFECT_OF_INPUT_ANOMALY_GROUP"}
    told = tested("ListAnomalyGroupRelatedMetrics", **effects)["InterMetricImpactList"]
    assert "SO2" not in [one["MetricName"] for one in told]
    back = {**effects, "AnomalyGroupId": so2["AnomalyGroupId"]}
    told = tested("ListAnomalyGroupRelatedMetrics", **back)["InterMetricImpactList"]
    assert "CO" in [one["MetricName"] for one in told]


@pytest.mark.parametrize(
    "id", ["00000000-0000-0000-0000-000000000001", "zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz"]
)
def test_a_group_that_does_not_exist_is_not_found(tested: Lookout, id: str) -> None:
    asked = {"AnomalyDetectorArn": arn("AnomalyDetector:air"), "AnomalyGroupId": id}
    told = tested.refused("GetAnomalyGroup", **asked)
    assert told.code == "ResourceNotFoundException"
    assert named(told) == (id, "AnomalyGroup")
    assert told.members["Message"] == f"AnomalyGroupId: air has no group '{id}'"
    told = tested.refused("ListAnomalyGroupTimeSeries", MetricName="CO", **asked)
    assert told.code == "ResourceNotFoundException"
    assert tested.refused("ListAnomalyGroupRelatedMetrics", **asked).code == "ResourceNotFoundException"
    word = {"AnomalyGroupId": id, "TimeSeriesId": "x", "IsAnomaly": True}
    given = {"AnomalyDetectorArn": asked["AnomalyDetectorArn"], "AnomalyGroupTimeSeriesFeedback": word}
    assert tested.refused("PutFeedback", **given).code == "ResourceNotFoundException"


def test_a_group_of_another_detector_is_not_found(tested: Lookout) -> None:
    if "other" not in [one.name for one in tested.masthead.metrics.list_detectors()]:
        made(tested, "other")
    asked = {"AnomalyGroupId": groups(tested)[0]["AnomalyGroupId"]}
    told = tested.refused("GetAnomalyGroup", AnomalyDetectorArn=arn("AnomalyDetector:other"), **asked)
    assert told.code == "ResourceNotFoundException"
    assert named(told) == (asked["AnomalyGroupId"], "AnomalyGroup")


def test_feedback_on_a_series_is_kept_and_its_last_word_counts(tested: Lookout) -> None:
    detector, group = arn("AnomalyDetector:air"), groups(tested)[0]["AnomalyGroupId"]
    series = tested(
        "ListAnomalyGroupTimeSeries", AnomalyDetectorArn=detector, AnomalyGroupId=group, MetricName="CO"
    )["TimeSeriesList"][0]["TimeSeriesId"]
    asked = {"AnomalyDetectorArn": detector, "AnomalyGroupTimeSeriesFeedback": {"AnomalyGroupId": group}}
    assert tested("GetFeedback", **asked)["AnomalyGroupTimeSeriesFeedback"] == []
    for word in (True, False):
        given = {"AnomalyGroupId": group, "TimeSeriesId": series, "IsAnomaly": word}
        tested("PutFeedback", AnomalyDetectorArn=detector, AnomalyGroupTimeSeriesFeedback=given)
    told = [{"TimeSeriesId": series, "IsAnomaly": False}]
    assert tested("GetFeedback", **asked)["AnomalyGroupTimeSeriesFeedback"] == told
    one = {"AnomalyGroupId": group, "TimeSeriesId": series}
    found = tested("GetFeedback", AnomalyDetectorArn=detector, AnomalyGroupTimeSeriesFeedback=one)
    assert found["AnomalyGroupTimeSeriesFeedback"] == told
    wrong = {"AnomalyGroupId": group, "TimeSeriesId": "x", "IsAnomaly": True}
    refused = tested.refused("PutFeedback", AnomalyDetectorArn=detector, AnomalyGroupTimeSeriesFeedback=wrong)
    assert refused.code == "ResourceNotFoundException"
    assert named(refused) == ("x", "TimeSeries")


def test_the_quality_of_the_data_tells_rows_columns_and_how_the_back_test_was_split(tested: Lookout) -> None:
    detector = arn("AnomalyDetector:air")
    told = quality(tested)
    assert told["TIME_SERIES_COUNT", None] == 3
    assert told["DIMENSION_UNIQUENESS", "LOCATION_ID"] == 1
    assert told["COLUMN_COMPLETENESS", "CO"] == pytest.approx(100, abs=5)
    assert told["ROWS_PROCESSED", None] > 2900
    tested_s = told["BACKTEST_INFERENCE_DATA_START_TIME_STAMP", None]
    assert told["BACKTEST_TRAINING_DATA_END_TIME_STAMP", None] == tested_s - 300
    wrong = {"AnomalyDetectorArn": detector, "MetricSetArn": arn("MetricSet/air/none")}
    told_of = tested.refused("GetDataQualityMetrics", **wrong)
    assert told_of.code == "ResourceNotFoundException"
    assert named(told_of) == (arn("MetricSet/air/none"), "MetricSet")


def test_each_scored_interval_is_an_execution_beside_the_job(tested: Lookout) -> None:
    asked = {"AnomalyDetectorArn": arn("AnomalyDetector:air")}
    first = tested("DescribeAnomalyDetectionExecutions", MaxResults=3, **asked)
    assert [one["Status"] for one in first["ExecutionList"]] == ["COMPLETED"] * 3
    assert first["ExecutionList"][1]["Timestamp"] == "2022-03-25T23:55:00+00:00[UTC]"
    second = tested("DescribeAnomalyDetectionExecutions", MaxResults=3, NextToken=first["NextToken"], **asked)
    assert second["ExecutionList"][0]["Timestamp"] == "2022-03-25T23:45:00+00:00[UTC]"
    at = "2022-03-24T23:30:00+00:00[UTC]"
    for text in (at, "2022-03-25T00:30:00+01:00[Europe/Rome]", "2022-03-24T23:30:00Z"):
        found = tested("DescribeAnomalyDetectionExecutions", Timestamp=text, **asked)
        assert [one["Timestamp"] for one in found["ExecutionList"]] == [at]
    told = tested.refused("DescribeAnomalyDetectionExecutions", Timestamp="2022-02-31T00:00:00Z", **asked)
    assert told.code == "ValidationException"


# --- alerts ---------------------------------------------------------------------------------------------


def test_an_alert_is_made_before_its_channel_and_told_once_there_is_one(lookout: Lookout) -> None:
    name, alerts = made(lookout), lookout.masthead.alerts
    filters = {
        "MetricList": ["CO"],
        "DimensionFilterList": [{"DimensionName": "LOCATION_ID", "DimensionValueList": ["B-101"]}],
    }
    given = {
        "AlertName": "night",
        "AlertSensitivityThreshold": 50,
        "AlertDescription": "CO in the north",
        "AnomalyDetectorArn": name,
        "Action": TOPIC,
        "AlertFilters": filters,
    }
    alert = lookout("CreateAlert", Tags={"site": "north"}, **given)["AlertArn"]
    assert alert == arn("Alert:night")
    found = lookout("DescribeAlert", AlertArn=alert)["Alert"]
    assert {key: found[key] for key in given} == given
    assert (found["AlertType"], found["AlertStatus"], found["AlertArn"]) == ("SNS", "ACTIVE", alert)
    assert alerts.get_rule("night").channel == {"kind": "named", "name": "night"}
    (listed,) = lookout("ListAlerts", AnomalyDetectorArn=name)["AlertSummaryList"]
    assert (listed["AlertName"], listed["Tags"]) == ("night", {"site": "north"})

    heard: list[dict[str, Any]] = []
    alerts.register_channel(
        "webhook", lambda channel, sent: heard.append(sent.payload) or Outcome(True, "taken")
    )
    assert alerts.test_rule("night").state == "undelivered"
    alerts.create_channel({"name": "night", "kind": "webhook", "url": "http://127.0.0.1:9/x"})
    assert alerts.test_rule("night").state == "delivered"
    assert (heard[0]["alertArn"], heard[0]["anomalyDetectorArn"]) == (alert, name)


def test_an_alert_is_changed_in_parts_and_deleted(lookout: Lookout) -> None:
    name = made(lookout)
    alert = lookout("CreateAlert", AlertName="a", AnomalyDetectorArn=name, Action=FUNCTION)["AlertArn"]
    found = lookout("DescribeAlert", AlertArn=alert)["Alert"]
    assert (found["AlertType"], found["AlertSensitivityThreshold"]) == ("LAMBDA", 70)
    assert lookout.masthead.alerts.get_rule("a").channel == {"kind": "named", "name": "siren"}
    topic = {"SNSConfiguration": {**TOPIC["SNSConfiguration"], "SnsFormat": "SHORT_TEXT"}}
    assert lookout("UpdateAlert", AlertArn=alert, Action=topic) == {"AlertArn": alert}
    lookout("UpdateAlert", AlertArn=alert, AlertSensitivityThreshold=90, AlertDescription="loud")
    found = lookout("DescribeAlert", AlertArn=alert)["Alert"]
    assert (found["Action"], found["AlertType"]) == (topic, "SNS")
    assert (found["AlertSensitivityThreshold"], found["AlertDescription"]) == (90, "loud")
    assert lookout.masthead.alerts.get_rule("a").form == "short"
    lookout("DeleteAlert", AlertArn=alert)
    for operation in ("DescribeAlert", "DeleteAlert", "UpdateAlert"):
        assert lookout.refused(operation, AlertArn=alert).code == "ResourceNotFoundException"


@pytest.mark.parametrize(
    "action",
    [
        {},
        {**TOPIC, **FUNCTION},
        {"SNSConfiguration": {"RoleArn": ROLE, "SnsTopicArn": "arn:aws:sqs:eu-west-1:123456789012:queue"}},
        {
            "LambdaConfiguration": {
                "RoleArn": ROLE,
                "LambdaArn": "arn:aws:lambda:eu-west-1:123456789012:layer:x",
            }
        },
    ],
)
def test_an_action_without_exactly_one_topic_or_function_is_refused(
    lookout: Lookout, action: dict[str, Any]
) -> None:
    name = made(lookout)
    told = lookout.refused("CreateAlert", AlertName="a", AnomalyDetectorArn=name, Action=action)
    assert told.code == "ValidationException"
    assert "Action" in told.members["Message"]


def test_alerts_of_unknown_detectors_and_taken_names_are_refused(lookout: Lookout) -> None:
    name, none = made(lookout), arn("AnomalyDetector:none")
    lookout("CreateAlert", AlertName="a", AnomalyDetectorArn=name, Action=TOPIC)
    told = lookout.refused("CreateAlert", AlertName="a", AnomalyDetectorArn=name, Action=TOPIC)
    assert (told.code, told.status) == ("ConflictException", 409)
    assert named(told) == (arn("Alert:a"), "Alert")
    told = lookout.refused("CreateAlert", AlertName="b", AnomalyDetectorArn=none, Action=TOPIC)
    assert told.code == "ResourceNotFoundException"
    assert named(told) == (none, "AnomalyDetector")
    assert lookout.refused("ListAlerts", AnomalyDetectorArn=none).code == "ResourceNotFoundException"


def test_a_rule_of_another_face_is_listed_without_an_action(lookout: Lookout) -> None:
    alerts = lookout.masthead.alerts
    alerts.create_rule({"name": "all", "channel": {"kind": "command", "command": ["/bin/true"]}})
    (listed,) = lookout("ListAlerts")["AlertSummaryList"]
    assert (listed["AlertType"], "AnomalyDetectorArn" in listed) == ("LAMBDA", False)
    assert "Action" not in lookout("DescribeAlert", AlertArn=arn("Alert:all"))["Alert"]


def test_the_alerts_of_a_deleted_detector_go_with_it(lookout: Lookout) -> None:
    name = made(lookout)
    lookout("CreateAlert", AlertName="a", AnomalyDetectorArn=name, Action=TOPIC)
    lookout("DeleteAnomalyDetector", AnomalyDetectorArn=name)
    assert lookout("ListAlerts")["AlertSummaryList"] == []


# --- tags -----------------------------------------------------------------------------------------------


def test_detectors_metric_sets_and_alerts_have_tags(lookout: Lookout) -> None:
    name = made(lookout)
    given = article_set(name, s3_source(**PAST))
    data_set = lookout("CreateMetricSet", **given)["MetricSetArn"]
    alert = lookout("CreateAlert", AlertName="a", AnomalyDetectorArn=name, Action=TOPIC)["AlertArn"]
    for resource in (name, data_set, alert):
        assert lookout("ListTagsForResource", ResourceArn=resource) == {}
        assert lookout("TagResource", ResourceArn=resource, Tags={"site": "north", "ü": ""}) == {}
        lookout("TagResource", ResourceArn=resource, Tags={"site": resource[-3:]})
        lookout("UntagResource", ResourceArn=resource, TagKeys=["ü", "absent"])
    for resource in (name, data_set, alert):
        assert lookout("ListTagsForResource", ResourceArn=resource) == {"Tags": {"site": resource[-3:]}}
    told = lookout.refused("TagResource", ResourceArn=name, Tags={"aws:x": "y"})
    assert told.code == "ValidationException"


def test_the_tags_of_each_kind_of_resource_are_found_by_its_name(lookout: Lookout) -> None:
    name = made(lookout, Tags={"site": "north"})
    data_set = lookout("CreateMetricSet", **article_set(name, s3_source(**PAST)), Tags={"set": "1"})
    assert lookout.masthead.tags_of(name) == {"site": "north"}
    assert lookout.masthead.tags_of(data_set["MetricSetArn"]) == {"set": "1"}
    assert lookout.masthead.tags_of(arn("AnomalyDetector:none")) == {}
    assert lookout.masthead.tags_of("arn:aws:s3:::air") == {}


@pytest.mark.parametrize("resource", ["AnomalyDetector:none", "MetricSet/air/none", "Alert:none"])
def test_tags_of_what_does_not_exist_are_not_found(lookout: Lookout, resource: str) -> None:
    made(lookout)
    given = {"ResourceArn": arn(resource)}
    assert lookout.refused("ListTagsForResource", **given).code == "ResourceNotFoundException"
    assert lookout.refused("TagResource", Tags={"a": "b"}, **given).code == "ResourceNotFoundException"
    assert lookout.refused("UntagResource", TagKeys=["a"], **given).code == "ResourceNotFoundException"


def test_tags_of_another_region_are_not_found(lookout: Lookout) -> None:
    made(lookout, Tags={"site": "north"})
    elsewhere = arn("AnomalyDetector:air", region="us-east-1")
    told = lookout.refused("ListTagsForResource", ResourceArn=elsewhere)
    assert (told.code, named(told)) == ("ResourceNotFoundException", (elsewhere, "AnomalyDetector"))


def test_a_detector_made_anew_has_none_of_the_tags_of_its_former_namesake(lookout: Lookout) -> None:
    name = made(lookout, Tags={"site": "north"})
    lookout("DeleteAnomalyDetector", AnomalyDetectorArn=name)
    lookout.masthead.clock.advance(1)  # type: ignore[attr-defined]
    made(lookout)
    assert lookout("ListTagsForResource", ResourceArn=name) == {}


# --- live -----------------------------------------------------------------------------------------------


def test_a_live_detector_reads_templated_folders_and_is_closed_by_the_clock(lookout: Lookout) -> None:
    """The article's history taught it; its live day, shifted to now, lies in one folder per interval."""
    masthead, clock = lookout.masthead, lookout.masthead.clock
    assert isinstance(clock, ManualClock)
    start = datetime(2023, 11, 16, tzinfo=UTC)
    put_shifted(masthead, start - datetime(2022, 3, 24, tzinfo=UTC))
    name = made(lookout)
    lookout("CreateMetricSet", **article_set(name, s3_source(**LIVE, **PAST)))
    clock.advance(start.timestamp() + 1 - clock.time())
    lookout("ActivateAnomalyDetector", AnomalyDetectorArn=name)
    found = masthead.metrics.wait("air")
    assert (status(lookout), found.failure) == ("ACTIVE", "")
    masthead.metrics.tick(clock.time())
    for hour in range(1, 25):
        clock.advance((start + timedelta(hours=hour, seconds=40)).timestamp() - clock.time())
        masthead.metrics.tick(clock.time())
    found = groups(lookout)
    assert [(one["PrimaryMetricName"], one["StartTime"][:16]) for one in found] == [
        ("CO", "2023-11-16T23:45"),
        ("SO2", "2023-11-16T23:30"),
    ]


def put_shifted(masthead: Masthead, shift: timedelta) -> None:
    """Put the history, and each live row into the folder of its interval, with shifted times."""
    objects = Objects(masthead.folder.objects)

    def moved(text: str) -> datetime:
        return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC) + shift

    history = [json.loads(line) for line in (AIR / "historic_data.json").read_text("utf-8-sig").splitlines()]
    past = [{**row, "TIMESTAMP": f"{moved(row['TIMESTAMP']):%Y-%m-%d %H:%M}"} for row in history]
    objects.put("s3://air/past/h.json", "\n".join(map(json.dumps, past)).encode())
    for number, line in enumerate((AIR / "live_data_sample.csv").read_text().splitlines()):
        stamp, cells = line.split(",", 1)
        at = moved(stamp)
        row = f"{at:%Y-%m-%d %H:%M},{cells}\n".encode()
        objects.put(f"s3://air/live/{at:%Y%m%d}/{at:%H%M}/{number}.csv", row)
