"""What a program of SageMaker Runtime and Firehose does, by an unmodified boto3; prints what it was answered as JSON.

Run by an interpreter that has boto3, with `AWS_SHARED_CREDENTIALS_FILE` and `AWS_PROFILE` as the only set-up.
"""

import io
import json
import sys

import boto3
import botocore
from botocore.config import Config
from botocore.exceptions import ClientError

ONCE = Config(retries={"total_max_attempts": 1})
READING = {"TIMESTAMP": "2022-03-24 23:30", "LOCATION_ID": "B-101", "SO2": 120}
ROLE = "arn:aws:iam::000000000000:role/firehose"
S3 = {
    "RoleARN": ROLE,
    "BucketARN": "arn:aws:s3:::readings",
    "BufferingHints": {"IntervalInSeconds": 1, "SizeInMBs": 1},
}


def refused(call, **given):
    """Return code, status, class, message and further members of the error that a call ends with."""
    try:
        call(**given)
    except ClientError as error:
        told = {
            key: value for key, value in error.response.items() if key not in ("ResponseMetadata", "Error")
        }
        return {
            "code": error.response["Error"]["Code"],
            "message": error.response["Error"]["Message"],
            "status": error.response["ResponseMetadata"]["HTTPStatusCode"],
            "class": type(error).__name__,
            **told,
        }
    return None


def endpoints():
    """Call an endpoint in every way."""
    runtime = boto3.client("sagemaker-runtime", config=ONCE)
    invoke = runtime.invoke_endpoint
    found = invoke(
        EndpointName="air",
        ContentType="application/json",
        Body=json.dumps({"instances": [READING]}),
        CustomAttributes="trace=7",
        TargetVariant="AllTraffic",
        InferenceId="one",
        EnableExplanations="true",
    )
    table = invoke(
        EndpointName="air",
        ContentType="text/csv",
        Accept="text/csv",
        Body=io.BytesIO(b"TIMESTAMP,LOCATION_ID,SO2\n2022-03-24 23:30,B-101,120\n"),
    )
    later = runtime.invoke_endpoint_async(EndpointName="air", InputLocation="s3://inputs/one.json")
    return {
        "json": json.load(found["Body"]),
        "type": found["ContentType"],
        "variant": found["InvokedProductionVariant"],
        "attributes": found["CustomAttributes"],
        "csv": table["Body"].read().decode(),
        "csv_type": table["ContentType"],
        "later": {key: later[key] for key in ("OutputLocation", "FailureLocation", "InferenceId")},
        "later_status": later["ResponseMetadata"]["HTTPStatusCode"],
        "unknown": refused(invoke, EndpointName="none", Body=b"{}"),
        "bad": refused(invoke, EndpointName="air", Body=b'[{"SO2": 1}]'),
        "type_refused": refused(invoke, EndpointName="air", Body=b"x", ContentType="application/x-npy"),
        "variant_refused": refused(invoke, EndpointName="air", Body=b"{}", TargetVariant="blue"),
        "streamed": refused(runtime.invoke_endpoint_with_response_stream, EndpointName="air", Body=b"{}"),
    }


def streams():
    """Make a delivery stream, put records, read and change everything, delete it."""
    firehose = boto3.client("firehose", config=ONCE)
    name = {"DeliveryStreamName": "sales"}
    made = firehose.create_delivery_stream(
        ExtendedS3DestinationConfiguration=S3, Tags=[{"Key": "site", "Value": "north"}], **name
    )
    again = refused(firehose.create_delivery_stream, ExtendedS3DestinationConfiguration=S3, **name)
    one = firehose.put_record(Record={"Data": b"one\n"}, **name)
    many = firehose.put_record_batch(Records=[{"Data": b"%d\n" % number} for number in range(500)], **name)
    described = firehose.describe_delivery_stream(**name)["DeliveryStreamDescription"]
    update = {"DestinationId": described["Destinations"][0]["DestinationId"], **name}
    firehose.update_destination(
        CurrentDeliveryStreamVersionId="1", ExtendedS3DestinationUpdate={"Prefix": "new/"}, **update
    )
    stale = refused(
        firehose.update_destination,
        CurrentDeliveryStreamVersionId="1",
        ExtendedS3DestinationUpdate={"Prefix": "newer/"},
        **update,
    )
    firehose.tag_delivery_stream(Tags=[{"Key": "masthead:event-time-column", "Value": "t"}], **name)
    firehose.untag_delivery_stream(TagKeys=["masthead:event-time-column", "site"], **name)
    return {
        "made": made["DeliveryStreamARN"],
        "again": again,
        "one": one["RecordId"],
        "failed": many["FailedPutCount"],
        "ids": len({each["RecordId"] for each in many["RequestResponses"]}),
        "status": described["DeliveryStreamStatus"],
        "created": described["CreateTimestamp"].isoformat(),
        "stale": stale,
        "tags": firehose.list_tags_for_delivery_stream(**name)["Tags"],
        "listed": firehose.list_delivery_streams()["DeliveryStreamNames"],
        "unknown": refused(firehose.put_record, DeliveryStreamName="none", Record={"Data": b"x"}),
        "not_served": refused(
            firehose.create_delivery_stream,
            DeliveryStreamName="other",
            SplunkDestinationConfiguration={
                "HECEndpoint": "https://a.example",
                "HECEndpointType": "Raw",
                "S3Configuration": S3,
            },
        ),
        "encrypted": refused(firehose.start_delivery_stream_encryption, **name),
        "decrypted": refused(firehose.stop_delivery_stream_encryption, **name),
    }


if __name__ == "__main__":
    told = {"endpoints": endpoints, "streams": streams}[sys.argv[1]]()
    print(json.dumps({"botocore": botocore.__version__, **told}))
