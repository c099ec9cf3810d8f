"""What a program sends to the article's endpoint, by an unmodified boto3; prints what it was answered as JSON.

Run by an interpreter that has boto3, with `AWS_SHARED_CREDENTIALS_FILE` and `AWS_PROFILE` as the only set-up; payloads
by name come on standard input, each with the endpoint that it goes to.
"""

import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


def answer(runtime, endpoint, payload):
    """Return the body of the answer, or of an error what a client sees of it."""
    body = payload if isinstance(payload, str) else json.dumps(payload)
    try:
        found = runtime.invoke_endpoint(EndpointName=endpoint, ContentType="application/json", Body=body)
    except ClientError as error:
        told = error.response
        return {
            "code": told["Error"]["Code"],
            "message": told["Error"]["Message"],
            "status": told["ResponseMetadata"]["HTTPStatusCode"],
            "class": type(error).__name__,
            "original": told.get("OriginalStatusCode"),
            "original_message": told.get("OriginalMessage"),
        }
    return {"type": found["ContentType"], "body": found["Body"].read().decode()}


client = boto3.client("sagemaker-runtime", config=Config(retries={"total_max_attempts": 1}))
asked = json.load(sys.stdin)
print(json.dumps({name: answer(client, *one) for name, one in asked.items()}))
