"""The policies that come with Masthead, as documents."""

from collections.abc import Mapping
from typing import Any

_VERSION = "2012-10-17"


def _allow(sid: str, *actions: str) -> dict[str, Any]:
    statement = {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return {"Version": _VERSION, "Statement": [statement]}


INVOKE_ACTION = "sagemaker:InvokeEndpoint"

SHIPPED: Mapping[str, Mapping[str, Any]] = {
    "admin": _allow("Everything", "*"),
    "read-only": _allow(
        "Look",
        "lookoutmetrics:Describe*",
        "lookoutmetrics:Get*",
        "lookoutmetrics:List*",
        "private-networks:Get*",
        "private-networks:List*",
        "private-networks:Ping",
        "firehose:Describe*",
        "firehose:List*",
        "sagemaker:Describe*",
        "sagemaker:List*",
        "iot:Describe*",
        "iot:Get*",
        "iot:List*",
        "s3:Get*",
        "s3:List*",
        "masthead:Describe*",
        "masthead:Get*",
        "masthead:List*",
        "masthead:Explain*",
        "masthead:Export*",
    ),
    "metrics": _allow(
        "Detectors",
        "lookoutmetrics:*",
        "masthead:*Detector",
        "masthead:*Alert",
        "masthead:*Group*",
        "masthead:*Job*",
        "masthead:*Series",
        "masthead:*Chart",
        "masthead:*Deliver*",
    ),
    "fraud": _allow(
        "Transactions",
        "masthead:*Transaction*",
        "masthead:*Simulation*",
        "masthead:*Fraud*",
        "masthead:*Pipeline*",
        "masthead:*Load",
        "masthead:ListLoads",
        "masthead:*Job*",
        "sagemaker:*Endpoint*",
    ),
    "network": _allow("Networks", "private-networks:*"),
    "ingest": _allow("Put", "firehose:PutRecord", "firehose:PutRecordBatch", "iot:Publish"),
    "invoke": _allow("Invoke", INVOKE_ACTION),
}
"""Each policy by name. A key that has one by name gets the form of the version that runs."""
