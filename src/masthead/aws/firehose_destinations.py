"""S3 destinations as Firehose writes them, to the fields of a delivery stream and back; and the tags of event times."""

from collections.abc import Mapping
from typing import Any

from masthead.base.errors import InvalidInput
from masthead.streams.eventtime import EventTime
from masthead.streams.records import DeliveryStream

__all__ = ["DESTINATION_ID", "changed", "created", "described", "event_time_of"]

DESTINATION_ID = "destinationId-000000000001"
_BUCKET = "arn:aws:s3:::"
_ROLE = "arn:aws:iam::000000000000:role/masthead"  # of streams that were not made by a Firehose client
_USE_S3 = "not supported; use ExtendedS3DestinationConfiguration (s3://bucket/... is a folder or a store)"
_KEPT = ("RoleARN", "EncryptionConfiguration", "CloudWatchLoggingOptions")
_TAG = "masthead:event-time-"
_INTERVAL = "masthead:interval"


def created(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields of a new stream, and what is only kept and told again.

    Raises:
        InvalidInput: A source, destination or option is not served; it is named with what to use.
    """
    if given.get("DeliveryStreamType", "DirectPut") != "DirectPut":
        raise InvalidInput("DeliveryStreamType: not supported; use DirectPut", field="DeliveryStreamType")
    if "DeliveryStreamEncryptionConfigurationInput" in given:
        raise InvalidInput(
            "DeliveryStreamEncryptionConfigurationInput: not supported; the setting encrypt_streams encrypts the log",
            field="DeliveryStreamEncryptionConfigurationInput",
        )
    wanted = ("ExtendedS3DestinationConfiguration", "S3DestinationConfiguration")
    for member in given:
        if member.endswith(("SourceConfiguration", "DestinationConfiguration")) and member not in (
            *wanted,
            "DirectPutSourceConfiguration",
        ):
            advice = "not supported; use DirectPut" if "Source" in member else _USE_S3
            raise InvalidInput(f"{member}: {advice}", field=member)
    found = [member for member in wanted if member in given]
    if len(found) != 1:
        raise InvalidInput(
            f"{wanted[0]}: expected exactly one destination, got {len(found)}", field=wanted[0]
        )
    plain = {"name": given["DeliveryStreamName"], "destination": "", "separator": ""}
    return _fields(plain, {}, given[found[0]], found[0])


def changed(
    stream: DeliveryStream, note: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a stream's fields with the given members of its destination replaced, and what is only kept.

    Raises:
        InvalidInput: As `created`.
    """
    wanted = ("ExtendedS3DestinationUpdate", "S3DestinationUpdate")
    for member in given:
        if member.endswith("DestinationUpdate") and member not in wanted:
            raise InvalidInput(f"{member}: {_USE_S3.replace('Configuration', 'Update')}", field=member)
    found = [member for member in wanted if member in given]
    if len(found) != 1:
        raise InvalidInput(
            f"{wanted[0]}: expected exactly one destination, got {len(found)}", field=wanted[0]
        )
    return _fields(stream.to_json(), note, given[found[0]], found[0])


def _fields(
    fields: dict[str, Any], note: Mapping[str, Any], given: Mapping[str, Any], where: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    _require_plain(given, where)
    found = dict(fields)
    if "BucketARN" in given:
        bucket = given["BucketARN"]
        if not bucket.startswith(_BUCKET):
            raise InvalidInput(f"{where}.BucketARN: expected {_BUCKET}NAME", field=f"{where}.BucketARN")
        found["destination"] = f"s3://{bucket.removeprefix(_BUCKET)}/"
    for member, name in (
        ("Prefix", "prefix"),
        ("ErrorOutputPrefix", "error_prefix"),
        ("CustomTimeZone", "zone"),
    ):
        if member in given:
            found[name] = given[member] or ("UTC" if name == "zone" else "")
    if (hints := given.get("BufferingHints")) is not None:
        if len({"IntervalInSeconds", "SizeInMBs"} & hints.keys()) == 1:
            place = f"{where}.BufferingHints"
            raise InvalidInput(
                f"{place}: expected IntervalInSeconds and SizeInMBs or neither, got one", field=place
            )
        if hints:
            found |= {"buffer_s": hints["IntervalInSeconds"], "buffer_mib": hints["SizeInMBs"]}
    if "CompressionFormat" in given:
        found["compression"] = _compression(given["CompressionFormat"], where)
    kept = dict(note) | {member: given[member] for member in _KEPT if member in given}
    return found, kept | {"form": "S3" if where.startswith("S3") else "ExtendedS3"}


def _compression(text: str, where: str) -> str:
    found = {"UNCOMPRESSED": "none", "GZIP": "gzip"}.get(text)
    if found is None:
        place = f"{where}.CompressionFormat"
        raise InvalidInput(f"{place}: {text} is not supported; use GZIP or UNCOMPRESSED", field=place)
    return found


def _require_plain(given: Mapping[str, Any], where: str) -> None:
    """Refuse what would change records on their way, or write them twice."""
    for member in (
        "ProcessingConfiguration",
        "DataFormatConversionConfiguration",
        "DynamicPartitioningConfiguration",
    ):
        # Conversion is on unless it is said to be off.
        if given.get(member, {"Enabled": False}).get("Enabled", member.startswith("DataFormat")):
            raise InvalidInput(
                f"{where}.{member}: not supported; topic rules change records before they are delivered",
                field=f"{where}.{member}",
            )
    for member, off in (("S3BackupMode", "Disabled"), ("FileExtension", "")):
        if given.get(member, off) != off:
            raise InvalidInput(f"{where}.{member}: not supported; leave it out", field=f"{where}.{member}")
    for member in ("S3BackupConfiguration", "S3BackupUpdate"):
        if member in given:
            raise InvalidInput(f"{where}.{member}: not supported; leave it out", field=f"{where}.{member}")


def described(stream: DeliveryStream, note: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a stream's destination."""
    bucket, start = stream.bucket_and_start()
    plain: dict[str, Any] = {
        "RoleARN": note.get("RoleARN", _ROLE),
        "BucketARN": _BUCKET + bucket,
        "Prefix": start + stream.prefix,
        "ErrorOutputPrefix": (start if stream.error_prefix else "") + stream.error_prefix,
        "BufferingHints": {"IntervalInSeconds": stream.buffer_s, "SizeInMBs": int(stream.buffer_mib)},
        "CompressionFormat": "GZIP" if stream.compression == "gzip" else "UNCOMPRESSED",
        "EncryptionConfiguration": note.get(
            "EncryptionConfiguration", {"NoEncryptionConfig": "NoEncryption"}
        ),
        "CloudWatchLoggingOptions": note.get("CloudWatchLoggingOptions", {"Enabled": False}),
    }
    extended = {**plain, "S3BackupMode": "Disabled", "CustomTimeZone": stream.zone}
    return {
        "DestinationId": DESTINATION_ID,
        "S3DestinationDescription": plain,
        "ExtendedS3DestinationDescription": None if note.get("form") == "S3" else extended,
    }


def event_time_of(tags: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a stream that its tags say: those of event times, or none.

    Raises:
        InvalidInput: A tag's value cannot be used, or the column is missing.

    >>> event_time_of({"masthead:event-time-column": "t"})["event_time"]["format"]
    'iso'
    >>> event_time_of({"site": "north"})
    {}
    """
    known = {f"{_TAG}{name}": name for name in ("column", "format", "zone")} | {_INTERVAL: "interval"}
    if any(name.startswith("masthead:") and name not in known for name in tags):
        raise InvalidInput(f"Tags: expected {', '.join(known)}, got another tag of masthead:", field="Tags")
    given = {known[name]: value for name, value in tags.items() if name in known}
    if not given:
        return {}
    if "column" not in given:
        raise InvalidInput(f"Tags: expected {_TAG}column beside the others", field="Tags")
    event_time = EventTime.from_json({"format": "iso", **given}).to_json()
    # Partitions of event times are read by detectors, so records are lines there.
    return {"event_time": event_time, "zone": event_time["zone"], "separator": "\n"}
