"""Firehose over `masthead.streams`: delivery streams with S3 destinations, and records that are durable when answered.

What the service model knows and this house does not (other sources and destinations, conversion, Lambda, dynamic
partitioning) is refused by its member. Role, logging and encryption are kept and told again, and change nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from masthead.access.arns import stream_arn
from masthead.aws.errors import Fault
from masthead.aws.firehose_destinations import DESTINATION_ID, changed, created, described, event_time_of
from masthead.aws.operations import Call, Operations
from masthead.base.errors import Conflict, InvalidInput, LimitReached, NotFound
from masthead.streams.readings import Reading
from masthead.streams.records import DeliveryStream
from masthead.streams.router import DIRECT

OPERATIONS = Operations("firehose")
_MOST_BATCH = 4 * 2**20  # bytes of all records of a batch, as documented
_LISTED, _TAGS_LISTED = 10, 50  # by default, as documented
_ENCRYPTION = (
    "the log of readings is encrypted at rest by the setting encrypt_streams, objects by their store"
)


def _stream(call: Call) -> Sequence[str]:
    return (stream_arn(call.input["DeliveryStreamName"], call.region),)


def _found(call: Call) -> DeliveryStream:
    """Return the stream that an input names; a name that ours cannot be is that of no stream.

    Raises:
        NotFound: There is none.
    """
    name = call.input["DeliveryStreamName"]
    try:
        return call.masthead.streams.get_stream(name)
    except (NotFound, InvalidInput):
        raise NotFound(f"Firehose {name} under account 000000000000 not found.") from None


def _resource(name: str) -> str:
    return f"stream:{name}"


# ------------------------------------------------------------------ streams


@OPERATIONS.serves("CreateDeliveryStream", resources=_stream)
def create_delivery_stream(call: Call) -> Mapping[str, Any]:
    """Create a stream that is active at once; tags may give it event times."""
    given, masthead = call.input, call.masthead
    fields, note = created(given)
    tags = _tags(given.get("Tags", ()))
    fields |= event_time_of(tags)
    made = masthead.streams.create_stream(fields)
    born = masthead.streams.stream_born(made.name)
    try:
        if tags:
            masthead.notes.tag(_resource(made.name), born, tags)
        masthead.notes.keep_note(_resource(made.name), born, note)
    except BaseException:
        masthead.streams.delete_stream(made.name)
        raise
    return {"DeliveryStreamARN": stream_arn(made.name, call.region)}


@OPERATIONS.serves("DescribeDeliveryStream", resources=_stream)
def describe_delivery_stream(call: Call) -> Mapping[str, Any]:
    """Return one stream with its one destination."""
    found = _found(call)
    born = call.masthead.streams.stream_born(found.name)
    note = call.masthead.notes.note(_resource(found.name), born)
    after = call.input.get("ExclusiveStartDestinationId", "")
    return {
        "DeliveryStreamDescription": {
            "DeliveryStreamName": found.name,
            "DeliveryStreamARN": stream_arn(found.name, call.region),
            "DeliveryStreamStatus": "ACTIVE",
            "DeliveryStreamType": "DirectPut",
            "VersionId": str(found.version),
            "CreateTimestamp": born,
            "DeliveryStreamEncryptionConfiguration": {"Status": "DISABLED"},
            "Destinations": [] if after >= DESTINATION_ID else [described(found, note)],
            "HasMoreDestinations": False,
        }
    }


@OPERATIONS.serves("ListDeliveryStreams")
def list_delivery_streams(call: Call) -> Mapping[str, Any]:
    """Return the names of streams, a page of them."""
    given = call.input
    names = [one.name for one in call.masthead.streams.list_streams()]
    if given.get("DeliveryStreamType", "DirectPut") != "DirectPut":
        names = []
    rest = [name for name in names if name > given.get("ExclusiveStartDeliveryStreamName", "")]
    limit = given.get("Limit", _LISTED)
    return {"DeliveryStreamNames": rest[:limit], "HasMoreDeliveryStreams": len(rest) > limit}


@OPERATIONS.serves("DeleteDeliveryStream", resources=_stream)
def delete_delivery_stream(call: Call) -> Mapping[str, Any]:
    """Delete a stream with its tags; what it holds is put first."""
    found = _found(call)
    call.masthead.streams.delete_stream(found.name)
    call.masthead.notes.forget(_resource(found.name))
    return {}


@OPERATIONS.serves("UpdateDestination", resources=_stream)
def update_destination(call: Call) -> Mapping[str, Any]:
    """Change the destination of a stream whose version the caller knows."""
    given, masthead = call.input, call.masthead
    found = _found(call)
    if given["DestinationId"] != DESTINATION_ID:
        raise InvalidInput(
            f"DestinationId: expected {DESTINATION_ID}, the one destination", field="DestinationId"
        )
    born = masthead.streams.stream_born(found.name)
    note = masthead.notes.note(_resource(found.name), born)
    fields, note = changed(found, note, given)
    version = given["CurrentDeliveryStreamVersionId"]
    try:
        # A number that no version can be stands for an old one.
        masthead.streams.update_stream(fields, version=int(version) if len(version) < 16 else 0)
    except Conflict as error:
        raise Fault(
            "ConcurrentModificationException", f"CurrentDeliveryStreamVersionId: {error.message}"
        ) from error
    masthead.notes.keep_note(_resource(found.name), born, note)
    return {}


@OPERATIONS.serves("StartDeliveryStreamEncryption", resources=_stream)
@OPERATIONS.serves("StopDeliveryStreamEncryption", resources=_stream)
def delivery_stream_encryption(call: Call) -> Mapping[str, Any]:
    """Refuse: there is nothing to switch for one stream."""
    _found(call)
    raise InvalidInput(f"{call.operation}: not supported; {_ENCRYPTION}", field="DeliveryStreamName")


# ------------------------------------------------------------------ records


@OPERATIONS.serves("PutRecord", resources=_stream)
def put_record(call: Call) -> Mapping[str, Any]:
    """Store one record; answered once it is durable."""
    found = _found(call)
    [record_id] = _put(call, found.name, [call.input["Record"]["Data"]])
    return {"RecordId": record_id, "Encrypted": False}


@OPERATIONS.serves("PutRecordBatch", resources=_stream)
def put_record_batch(call: Call) -> Mapping[str, Any]:
    """Store records; what could not be stored is told one by one, and may be sent again."""
    found = _found(call)
    records = [record["Data"] for record in call.input["Records"]]
    size = sum(len(record) for record in records)
    if size > _MOST_BATCH:
        raise InvalidInput(
            f"Records: expected at most {_MOST_BATCH:,} bytes in one batch, got {size:,}", field="Records"
        )
    stored: list[dict[str, Any]] = [{"RecordId": one} for one in _put(call, found.name, records)]
    failed = {
        "ErrorCode": "ServiceUnavailableException",
        "ErrorMessage": "The log of readings takes no more right now; send this record again.",
    }
    left = len(records) - len(stored)
    return {"FailedPutCount": left, "Encrypted": False, "RequestResponses": stored + [failed] * left}


def _put(call: Call, name: str, records: Sequence[bytes]) -> list[str]:
    """Store records for a stream; return the ids of those that are durable: sequence in the log, place in it.

    Raises:
        Fault: None could be stored.
    """
    now = call.masthead.clock.time()
    readings = [Reading(DIRECT + name, data, now) for data in records]
    try:
        sequences = call.masthead.ingest(readings, partly=True)
    except LimitReached as error:
        raise Fault("ServiceUnavailableException", error.message, 503) from error
    ids, before, place = [], None, 0
    for sequence in sequences:
        place = place + 1 if sequence == before else 0
        before = sequence
        ids.append(f"{sequence}-{place}")
    return ids


# ------------------------------------------------------------------ tags


@OPERATIONS.serves("TagDeliveryStream", resources=_stream)
def tag_delivery_stream(call: Call) -> Mapping[str, Any]:
    """Add tags; those of event times switch them on."""
    found, masthead = _found(call), call.masthead
    born, added = masthead.streams.stream_born(found.name), _tags(call.input["Tags"])
    _follow_tags(call, found, masthead.notes.tags(_resource(found.name), born) | added)
    masthead.notes.tag(_resource(found.name), born, added)
    return {}


@OPERATIONS.serves("UntagDeliveryStream", resources=_stream)
def untag_delivery_stream(call: Call) -> Mapping[str, Any]:
    """Take tags away; without those of event times, arrival counts again."""
    found, masthead = _found(call), call.masthead
    born, names = masthead.streams.stream_born(found.name), call.input["TagKeys"]
    left = {
        name: value
        for name, value in masthead.notes.tags(_resource(found.name), born).items()
        if name not in names
    }
    _follow_tags(call, found, left)
    masthead.notes.untag(_resource(found.name), born, names)
    return {}


@OPERATIONS.serves("ListTagsForDeliveryStream", resources=_stream)
def list_tags_for_delivery_stream(call: Call) -> Mapping[str, Any]:
    """Return the tags of a stream, a page of them."""
    found = _found(call)
    tags = call.masthead.notes.tags(_resource(found.name), call.masthead.streams.stream_born(found.name))
    rest = [name for name in sorted(tags) if name > call.input.get("ExclusiveStartTagKey", "")]
    limit = call.input.get("Limit", _TAGS_LISTED)
    return {
        "Tags": [{"Key": name, "Value": tags[name]} for name in rest[:limit]],
        "HasMoreTags": len(rest) > limit,
    }


def _tags(given: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value", "") for tag in given}


def _follow_tags(call: Call, found: DeliveryStream, tags: Mapping[str, str]) -> None:
    """Change a stream's event times when its tags say something else than before."""
    before = event_time_of(
        call.masthead.notes.tags(_resource(found.name), call.masthead.streams.stream_born(found.name))
    )
    after = event_time_of(tags)
    if after != before:
        plain = {"event_time": None, "separator": "", "dedupe": "", "zone": "UTC"}
        call.masthead.streams.update_stream({**found.to_json(), **plain, **after})
