"""Firehose through the core: real streams, real notes, and a log that stores what it has room for."""

import base64
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aws_signer import sign

from masthead.access.keys import NewKey
from masthead.app import Masthead
from masthead.aws.core import Core
from masthead.aws.protocol import Request
from masthead.base.clock import SystemClock
from masthead.base.errors import LimitReached
from masthead.base.settings import Settings
from masthead.streams.readings import Batch, Reading

ROLE = "arn:aws:iam::000000000000:role/firehose"
ARN = "arn:aws:firehose:eu-west-1:000000000000:deliverystream/air"
S3: dict[str, Any] = {"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::readings"}
DESTINATION = "destinationId-000000000001"


@dataclass
class Log:
    """A log of readings with room for some; each message of it holds two."""

    room: int = 1_000
    stored: list[Reading] = field(default_factory=list)
    sequence: int = 0

    def __call__(self, readings: Sequence[Reading], *, partly: bool = False) -> list[int]:
        sequences: list[int] = []
        for place in range(0, len(readings), 2):
            chunk = readings[place : place + 2]
            if len(self.stored) + len(chunk) > self.room:
                if sequences and partly:
                    break
                raise LimitReached("ingest: the log of readings takes no more")
            self.sequence += 1
            self.stored += chunk
            sequences += [self.sequence] * len(chunk)
        return sequences


@dataclass
class Bench:
    masthead: Masthead
    core: Core
    key: NewKey
    log: Log

    def ask(self, operation: str, /, *, key: NewKey | None = None, **given: Any) -> dict[str, Any]:
        """Return the answer's members; `code` and `status` are those of an error."""
        body = json.dumps(given).encode()
        used = key or self.key
        headers = {
            "content-type": "application/x-amz-json-1.1",
            "x-amz-target": f"Firehose_20150804.{operation}",
        }
        signed = sign(
            "POST", "/", "", headers, body, service="firehose", region="eu-west-1",
            key_id=used.key.id, secret=used.secret, when=SystemClock().now(),
        )  # fmt: skip
        found = self.core.handle(Request("POST", "/", "", signed, body, "127.0.0.1"))
        members: dict[str, Any] = json.loads(found.body or b"{}")
        if found.status != 200:
            members |= {"code": members["__type"], "status": found.status}
        return members

    def make(self, **more: Any) -> dict[str, Any]:
        return self.ask(
            "CreateDeliveryStream",
            **{"DeliveryStreamName": "air", "ExtendedS3DestinationConfiguration": S3, **more},
        )

    def describe(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("DescribeDeliveryStream", DeliveryStreamName="air")
        return dict(found["DeliveryStreamDescription"])


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Masthead.open(Settings(data=tmp_path / "data")) as masthead:
        log = Log()
        masthead.register_ingest(log)
        key = masthead.keys.create_key("anna", ["admin"])
        yield Bench(masthead, Core(masthead, clock=SystemClock()), key, log)


def data(text: str) -> dict[str, str]:
    return {"Data": base64.b64encode(text.encode()).decode()}


# --- streams -------------------------------------------------------------------------------------------


def test_a_stream_is_created_described_listed_and_deleted(bench: Bench) -> None:
    options = {
        "Prefix": "air/!{timestamp:yyyy/MM/dd}/",
        "ErrorOutputPrefix": "errors/!{firehose:error-output-type}/",
        "BufferingHints": {"IntervalInSeconds": 60, "SizeInMBs": 1},
        "CompressionFormat": "GZIP",
        "CloudWatchLoggingOptions": {"Enabled": True, "LogGroupName": "g", "LogStreamName": "s"},
        "CustomTimeZone": "Europe/Rome",
    }
    made = bench.make(ExtendedS3DestinationConfiguration=S3 | options, DeliveryStreamType="DirectPut")
    assert made == {"DeliveryStreamARN": ARN}
    assert bench.make()["code"] == "ResourceInUseException"
    found = bench.describe()
    assert found.pop("CreateTimestamp") > 1.7e9
    [destination] = found.pop("Destinations")
    assert found == {
        "DeliveryStreamName": "air",
        "DeliveryStreamARN": ARN,
        "DeliveryStreamStatus": "ACTIVE",
        "DeliveryStreamType": "DirectPut",
        "VersionId": "1",
        "DeliveryStreamEncryptionConfiguration": {"Status": "DISABLED"},
        "HasMoreDestinations": False,
    }
    assert destination["DestinationId"] == DESTINATION
    told = destination["ExtendedS3DestinationDescription"]
    assert {name: told[name] for name in (S3 | options)} == S3 | options
    kept = bench.masthead.streams.get_stream("air")
    assert (kept.destination, kept.separator, kept.zone) == ("s3://readings/", "", "Europe/Rome")
    assert bench.ask("ListDeliveryStreams") == {
        "DeliveryStreamNames": ["air"],
        "HasMoreDeliveryStreams": False,
    }
    assert bench.ask("ListDeliveryStreams", DeliveryStreamType="MSKAsSource")["DeliveryStreamNames"] == []
    assert bench.ask("DeleteDeliveryStream", DeliveryStreamName="air") == {}
    gone = bench.ask("DescribeDeliveryStream", DeliveryStreamName="air")
    assert (gone["code"], gone["status"]) == ("ResourceNotFoundException", 400)
    assert gone["message"] == "Firehose air under account 000000000000 not found."


def test_without_an_audit_no_stream_is_made_or_deleted_and_nothing_is_put(bench: Bench) -> None:
    bench.make()
    bench.masthead.gate.audit.close()
    shutil.rmtree(bench.masthead.folder.audit)
    bench.masthead.folder.audit.write_text("in the way")
    for refused in (
        bench.make(DeliveryStreamName="other"),
        bench.ask("DeleteDeliveryStream", DeliveryStreamName="air"),
        bench.ask("PutRecord", DeliveryStreamName="air", Record=data("1")),
        bench.ask("PutRecordBatch", DeliveryStreamName="air", Records=[data("1")]),
    ):
        assert (refused["code"], refused["status"]) == ("ServiceUnavailableException", 503)
    assert bench.ask("ListDeliveryStreams")["DeliveryStreamNames"] == ["air"]
    assert bench.log.stored == []


def test_the_short_form_of_a_destination_is_told_in_the_short_form(bench: Bench) -> None:
    bench.ask("CreateDeliveryStream", DeliveryStreamName="air", S3DestinationConfiguration=S3)
    [destination] = bench.describe()["Destinations"]
    assert sorted(destination) == ["DestinationId", "S3DestinationDescription"]
    assert destination["S3DestinationDescription"]["BufferingHints"] == {
        "IntervalInSeconds": 300,
        "SizeInMBs": 5,
    }


def test_lists_come_in_pages(bench: Bench) -> None:
    for name in ("a", "b", "c"):
        bench.masthead.streams.create_stream({"name": name, "destination": "s3://readings/"})
    first = bench.ask("ListDeliveryStreams", Limit=2)
    assert first == {"DeliveryStreamNames": ["a", "b"], "HasMoreDeliveryStreams": True}
    rest = bench.ask("ListDeliveryStreams", ExclusiveStartDeliveryStreamName="b")
    assert rest == {"DeliveryStreamNames": ["c"], "HasMoreDeliveryStreams": False}


def test_a_stream_that_was_made_natively_is_described_too(bench: Bench) -> None:
    bench.masthead.streams.create_stream({"name": "air", "destination": "s3://readings/raw/"})
    [destination] = bench.describe()["Destinations"]
    told = destination["ExtendedS3DestinationDescription"]
    assert (told["BucketARN"], told["Prefix"]) == ("arn:aws:s3:::readings", "raw/")


def test_a_destination_changes_only_from_the_version_that_is_known(bench: Bench) -> None:
    bench.make()
    update = {"Prefix": "new/", "BufferingHints": {"IntervalInSeconds": 0, "SizeInMBs": 2}}
    given = {"DeliveryStreamName": "air", "DestinationId": DESTINATION, "ExtendedS3DestinationUpdate": update}
    assert bench.ask("UpdateDestination", CurrentDeliveryStreamVersionId="1", **given) == {}
    stale = bench.ask("UpdateDestination", CurrentDeliveryStreamVersionId="1", **given)
    assert (stale["code"], stale["message"]) == (
        "ConcurrentModificationException",
        "CurrentDeliveryStreamVersionId: version: expected 2, the present one, got 1",
    )
    found = bench.describe()
    told = found["Destinations"][0]["ExtendedS3DestinationDescription"]
    assert (found["VersionId"], told["Prefix"], told["RoleARN"]) == ("2", "new/", ROLE)
    given["DestinationId"] = "destinationId-2"
    assert bench.ask("UpdateDestination", CurrentDeliveryStreamVersionId="2", **given)["code"] == (
        "InvalidArgumentException"
    )


REFUSED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("DeliveryStreamType", {"DeliveryStreamType": "KinesisStreamAsSource"}),
    (
        "KinesisStreamSourceConfiguration",
        {"KinesisStreamSourceConfiguration": {"KinesisStreamARN": "x", "RoleARN": ROLE}},
    ),
    ("RedshiftDestinationConfiguration", {"RedshiftDestinationConfiguration": {"any": 1}}),
    ("SplunkDestinationConfiguration", {"SplunkDestinationConfiguration": {}}),
    (
        "DeliveryStreamEncryptionConfigurationInput",
        {"DeliveryStreamEncryptionConfigurationInput": {"KeyType": "AWS_OWNED_CMK"}},
    ),
    ("exactly one destination", {"S3DestinationConfiguration": S3}),
    ("exactly one destination", {"ExtendedS3DestinationConfiguration": None}),
)
REFUSED_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "BufferingHints: expected IntervalInSeconds and SizeInMBs or neither",
        {"BufferingHints": {"SizeInMBs": 1}},
    ),
    ("ProcessingConfiguration", {"ProcessingConfiguration": {"Enabled": True}}),
    ("DataFormatConversionConfiguration", {"DataFormatConversionConfiguration": {}}),
    ("DynamicPartitioningConfiguration", {"DynamicPartitioningConfiguration": {"Enabled": True}}),
    ("CompressionFormat: Snappy is not supported", {"CompressionFormat": "Snappy"}),
    ("S3BackupMode", {"S3BackupMode": "Enabled"}),
    ("FileExtension", {"FileExtension": ".json"}),
    ("zone: expected an IANA name", {"CustomTimeZone": "Mars/North"}),
    ("error_prefix: expected one", {"Prefix": "a/!{timestamp:yyyy}/"}),
    ("BucketARN", {"BucketARN": "arn:aws-cn:s3:::readings"}),
)


def test_what_is_not_served_is_refused_by_its_member(bench: Bench) -> None:
    cases = [*REFUSED, *(
        (text, {"ExtendedS3DestinationConfiguration": S3 | option}) for text, option in REFUSED_OPTIONS
    )]  # fmt: skip
    for text, given in cases:
        told = bench.make(**given)
        assert (told.get("code"), told.get("status")) == ("InvalidArgumentException", 400), given
        assert text in told["message"]
    assert bench.masthead.streams.list_streams() == []
    bench.make(
        ExtendedS3DestinationConfiguration=S3
        | {
            "ProcessingConfiguration": {"Enabled": False},
            "DataFormatConversionConfiguration": {"Enabled": False},
            "S3BackupMode": "Disabled",
        }
    )
    for operation in ("StartDeliveryStreamEncryption", "StopDeliveryStreamEncryption"):
        told = bench.ask(operation, DeliveryStreamName="air")
        assert told["code"] == "InvalidArgumentException"
        assert "encrypt_streams" in told["message"]


@pytest.mark.parametrize(
    "operation",
    [
        "DescribeDeliveryStream",
        "DeleteDeliveryStream",
        "ListTagsForDeliveryStream",
        "StartDeliveryStreamEncryption",
    ],
)
def test_no_operation_finds_a_stream_that_is_not_there(bench: Bench, operation: str) -> None:
    for name in ("none", "with.dots", "_x"):
        told = bench.ask(operation, DeliveryStreamName=name)
        assert told["code"] == "ResourceNotFoundException"


def test_a_stream_that_a_rule_feeds_is_in_use(bench: Bench) -> None:
    bench.make()
    action = {"kind": "delivery_stream", "name": "air"}
    bench.masthead.streams.create_rule({"name": "r", "sql": "SELECT * FROM 'a'", "actions": [action]})
    assert bench.ask("DeleteDeliveryStream", DeliveryStreamName="air")["code"] == "ResourceInUseException"


# --- records -------------------------------------------------------------------------------------------


def test_a_record_is_answered_with_its_place_in_the_log(bench: Bench) -> None:
    bench.make()
    told = bench.ask("PutRecord", DeliveryStreamName="air", Record=data('{"CO": 1}'))
    assert told == {"RecordId": "1-0", "Encrypted": False}
    batch = [data(str(number)) for number in range(3)]
    told = bench.ask("PutRecordBatch", DeliveryStreamName="air", Records=batch)
    assert told == {
        "FailedPutCount": 0,
        "Encrypted": False,
        "RequestResponses": [{"RecordId": "2-0"}, {"RecordId": "2-1"}, {"RecordId": "3-0"}],
    }
    assert [(one.topic, one.payload) for one in bench.log.stored] == [
        ("$streams/air", text) for text in (b'{"CO": 1}', b"0", b"1", b"2")
    ]


def test_what_is_put_becomes_the_object_that_a_plain_client_expects(bench: Bench) -> None:
    bench.make()
    for text in ("one", "two\n"):
        bench.ask("PutRecord", DeliveryStreamName="air", Record=data(text))
    for sequence, reading in enumerate(bench.log.stored, start=1):
        bench.masthead.take(Batch(sequence, (reading,)))
    assert bench.masthead.streams.flush()
    [found] = bench.masthead.objects.list("s3://readings/")
    assert bench.masthead.objects.get(found.uri) == b"onetwo\n"


def test_a_log_without_room_is_told_record_by_record(bench: Bench) -> None:
    bench.make()
    bench.log.room = 2
    batch = [data(str(number)) for number in range(5)]
    told = bench.ask("PutRecordBatch", DeliveryStreamName="air", Records=batch)
    assert told["FailedPutCount"] == 3
    assert [one.get("RecordId") or one["ErrorCode"] for one in told["RequestResponses"]] == [
        "1-0",
        "1-1",
        *["ServiceUnavailableException"] * 3,
    ]
    for operation, given in (("PutRecordBatch", {"Records": batch}), ("PutRecord", {"Record": batch[0]})):
        told = bench.ask(operation, DeliveryStreamName="air", **given)
        assert (told["code"], told["status"]) == ("ServiceUnavailableException", 503)


def test_a_server_without_a_log_says_so(bench: Bench) -> None:
    bench.make()
    bench.masthead.register_ingest(None)
    told = bench.ask("PutRecord", DeliveryStreamName="air", Record=data("x"))
    assert told["code"] == "ServiceUnavailableException"


def test_batches_are_bounded(bench: Bench) -> None:
    bench.make()
    big = data("x" * 1_000_000)
    told = bench.ask("PutRecordBatch", DeliveryStreamName="air", Records=[big] * 5)
    assert (told["code"], bench.log.stored) == ("InvalidArgumentException", [])
    many = bench.ask("PutRecordBatch", DeliveryStreamName="air", Records=[data("x")] * 501)
    assert many["code"] == "InvalidArgumentException"
    wide = bench.ask("PutRecord", DeliveryStreamName="air", Record=data("x" * 1_024_001))
    assert wide["code"] == "InvalidArgumentException"
    assert bench.ask("PutRecord", DeliveryStreamName="none", Record=data("x"))["code"] == (
        "ResourceNotFoundException"
    )


def test_a_key_for_ingest_may_put_and_nothing_else(bench: Bench) -> None:
    bench.make()
    key = bench.masthead.keys.create_key("sensor", ["ingest"])
    assert "RecordId" in bench.ask("PutRecord", key=key, DeliveryStreamName="air", Record=data("x"))
    told = bench.ask("DeleteDeliveryStream", key=key, DeliveryStreamName="air")
    assert (told["code"], told["status"]) == ("AccessDeniedException", 403)
    assert ARN in told["message"]


# --- tags ----------------------------------------------------------------------------------------------


def tags(**named: str) -> list[dict[str, str]]:
    return [{"Key": key.replace("__", ":").replace("_", "-"), "Value": value} for key, value in named.items()]


def test_tags_are_kept_listed_in_pages_and_taken_away(bench: Bench) -> None:
    bench.make(Tags=[{"Key": "site", "Value": "north"}, {"Key": "bare"}])
    bench.ask("TagDeliveryStream", DeliveryStreamName="air", Tags=[{"Key": "site", "Value": "south"}])
    first = bench.ask("ListTagsForDeliveryStream", DeliveryStreamName="air", Limit=1)
    assert first == {"Tags": [{"Key": "bare", "Value": ""}], "HasMoreTags": True}
    rest = bench.ask("ListTagsForDeliveryStream", DeliveryStreamName="air", ExclusiveStartTagKey="bare")
    assert rest == {"Tags": [{"Key": "site", "Value": "south"}], "HasMoreTags": False}
    bench.ask("UntagDeliveryStream", DeliveryStreamName="air", TagKeys=["site", "none"])
    assert len(bench.ask("ListTagsForDeliveryStream", DeliveryStreamName="air")["Tags"]) == 1
    assert bench.describe()["VersionId"] == "1"
    bench.ask("DeleteDeliveryStream", DeliveryStreamName="air")
    bench.make()
    assert bench.ask("ListTagsForDeliveryStream", DeliveryStreamName="air")["Tags"] == []


def test_tags_switch_event_times_on_and_off(bench: Bench) -> None:
    event = tags(
        masthead__event_time_column="TIMESTAMP",
        masthead__event_time_format="yyyy-MM-dd HH:mm",
        masthead__event_time_zone="Europe/Rome",
        masthead__interval="5m",
    )
    bench.make(Tags=event)
    expected = {"column": "TIMESTAMP", "format": "yyyy-MM-dd HH:mm", "zone": "Europe/Rome", "interval": 300}
    stream = bench.masthead.streams.get_stream("air")
    assert (stream.event_time, stream.separator, stream.dedupe) == (expected, "\n", "exact")
    bench.ask("UntagDeliveryStream", DeliveryStreamName="air", TagKeys=[tag["Key"] for tag in event])
    stream = bench.masthead.streams.get_stream("air")
    assert (stream.event_time, stream.separator, stream.dedupe, stream.version) == (None, "", "none", 2)
    bench.ask("TagDeliveryStream", DeliveryStreamName="air", Tags=event[:1])
    changed = bench.masthead.streams.get_stream("air").event_time
    assert changed == {"column": "TIMESTAMP", "format": "iso", "zone": "UTC", "interval": 300}


def test_tags_that_say_nothing_usable_change_nothing(bench: Bench) -> None:
    bench.make()
    for bad in (
        tags(masthead__event_time_format="iso"),
        tags(masthead__event_time_colum="t"),
        tags(masthead__event_time_column="t", masthead__event_time_zone="Mars/North"),
        tags(masthead__event_time_column="t", masthead__interval="soon"),
    ):
        told = bench.ask("TagDeliveryStream", DeliveryStreamName="air", Tags=bad)
        assert told["code"] == "InvalidArgumentException", bad
    assert bench.ask("ListTagsForDeliveryStream", DeliveryStreamName="air")["Tags"] == []
    assert bench.masthead.streams.get_stream("air").event_time is None
