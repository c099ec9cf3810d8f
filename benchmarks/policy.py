"""Time of one decision of the policy evaluator, in process.

    python benchmarks/policy.py [DECISIONS]

A key with two policies of ten statements each, with literal actions, wildcards, resource names with wildcards and with a
variable, and conditions; questions that are allowed late, allowed early, denied and not allowed at all, in turn, with the
ten condition keys that every request has. Bar: median under 20 us. Prints one JSON object.
"""

import json
import statistics
import sys
import time
from typing import Any

from masthead.access.policy import Policy, decide

BAR_US = 20
HOME = "arn:aws:lookoutmetrics"


def statement(number: int) -> dict[str, Any]:
    """Return one of the kinds that people write."""
    kinds: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": "lookoutmetrics:Describe*", "Resource": f"{HOME}:*:*:AnomalyDetector:air-{number}-*"},
        {"Effect": "Allow", "Action": ["firehose:PutRecord", "firehose:PutRecordBatch"], "Resource": f"arn:aws:firehose:*:*:deliverystream/s{number}"},
        {"Effect": "Allow", "Action": "lookoutmetrics:*", "Resource": f"{HOME}:*:*:*:${{aws:username}}-{number}"},
        {"Effect": "Allow", "Action": "sagemaker:InvokeEndpoint", "Resource": "arn:aws:sagemaker:*:*:endpoint/*-prod", "Condition": {"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "192.168.0.0/16"]}}},
        {"Effect": "Deny", "Action": "*:Delete*", "Resource": "*", "Condition": {"DateGreaterThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}, "StringNotEquals": {"aws:username": "root"}}},
    ]  # fmt: skip
    return {"Sid": f"S{number}", **kinds[number % len(kinds)]}


def questions() -> list[tuple[str, str]]:
    """Return actions with resources."""
    return [
        ("lookoutmetrics:DescribeAnomalyDetector", f"{HOME}:us-east-1:000000000000:AnomalyDetector:air-15-north"),
        ("lookoutmetrics:DescribeAnomalyDetector", f"{HOME}:us-east-1:000000000000:AnomalyDetector:water"),
        ("lookoutmetrics:CreateAlert", f"{HOME}:us-east-1:000000000000:Alert:ann-17"),
        ("firehose:PutRecordBatch", "arn:aws:firehose:us-east-1:000000000000:deliverystream/s11"),
        ("sagemaker:InvokeEndpoint", "arn:aws:sagemaker:us-east-1:000000000000:endpoint/air-prod"),
        ("lookoutmetrics:DeleteAlert", f"{HOME}:us-east-1:000000000000:Alert:ann-2"),
        ("iot:Publish", "arn:aws:iot:us-east-1:000000000000:topic/air"),
    ]  # fmt: skip


CONTEXT = {
    "aws:SourceIp": "10.1.2.3",
    "aws:CurrentTime": "2026-11-29T16:20:27+00:00",
    "aws:EpochTime": "1796055627",
    "aws:SecureTransport": "true",
    "aws:username": "ann",
    "aws:PrincipalArn": "arn:aws:iam::000000000000:user/ann",
    "aws:RequestedRegion": "us-east-1",
    "aws:UserAgent": "Boto3/1.38.19 md/Botocore#1.38.19 ua/2.1 os/linux",
    "aws:TagKeys": ["site", "team"],
    "aws:ResourceTag/site": "north",
}


def main(decisions: int) -> int:
    policies = [
        (f"p{half}", Policy.parse({"Version": "2012-10-17", "Statement": [statement(n) for n in range(half, half + 10)]}))
        for half in (0, 10)
    ]  # fmt: skip
    asked = questions()
    times: list[float] = []
    answers: dict[str, int] = {}
    for number in range(decisions):
        action, resource = asked[number % len(asked)]
        started = time.perf_counter_ns()
        found = decide(policies, action=action, resource=resource, context=CONTEXT)
        times.append((time.perf_counter_ns() - started) / 1000)
        answers[found.word] = answers.get(found.word, 0) + 1
    times.sort()
    median = statistics.median(times)
    told = {
        "decisions": decisions,
        "statements": 20,
        "answers": answers,
        "median_us": round(median, 2),
        "p99_us": round(times[int(len(times) * 0.99)], 2),
        "bar_us": BAR_US,
        "ok": median < BAR_US,
    }
    print(json.dumps(told))
    return 0 if told["ok"] else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 70_000))
