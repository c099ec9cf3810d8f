"""Calls of Lookout for Metrics without sockets and signatures: the model checks input and output, the verbs are real."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from masthead.access.gate import Caller
from masthead.app import Masthead
from masthead.aws.errors import ErrorAnswer, answer
from masthead.aws.lookoutmetrics import OPERATIONS
from masthead.aws.models import Model, compile_model, read_model
from masthead.aws.operations import Call
from masthead.aws.protocol import output_problems, write_output
from masthead.aws.shapes import Problems
from masthead.aws.tokens import PageTokens

ROLE = "arn:aws:iam::123456789012:role/lookout"
REGION = "eu-west-1"


class Refused(Exception):
    """An operation answered with an error."""

    def __init__(self, told: ErrorAnswer) -> None:
        super().__init__(f"{told.code}: {told.members}")
        self.code, self.status, self.members = told.code, told.status, told.members


class Lookout:
    """A client: `lookout("DescribeAnomalyDetector", AnomalyDetectorArn=arn)` returns what a client would parse."""

    def __init__(self, masthead: Masthead, region: str = REGION) -> None:
        self.masthead, self.region = masthead, region
        self.model: Model = compile_model("lookoutmetrics", read_model("lookoutmetrics"))
        self._tokens = PageTokens(b"k" * 32)
        self.key = masthead.keys.create_key("tests", policies=["metrics"]).key

    def __call__(self, operation: str, **given: Any) -> dict[str, Any]:
        """Return the output of an operation, which its own shape has been asked about.

        Raises:
            Refused: It answered with an error.
        """
        shape = self.model.operations[operation]
        problems = Problems()
        assert shape.input is not None
        assert set(given) <= set(shape.input.members)
        found = {
            name: shape.input.members[name].shape.read(value, name, problems) for name, value in given.items()
        }
        assert not problems, problems.told()
        assert set(shape.input.required) <= set(found)
        call = self._call(operation, found)
        resources: tuple[str, ...] = ()
        try:
            resources = tuple(OPERATIONS[operation].resources(call))
            output = OPERATIONS[operation].verb(call)
        except Exception as error:
            raise Refused(answer(self.model, operation, error, resources)) from error
        response = write_output(self.model, shape, output, "request")
        assert not output_problems(shape, output)
        return dict(json.loads(response.body or b"{}"))

    def _call(self, operation: str, given: dict[str, Any]) -> Call:
        caller = Caller(key=self.key, address="127.0.0.1", region=self.region)
        return Call(operation, given, self.region, caller, self.masthead, "request", self._tokens)

    def refused(self, operation: str, **given: Any) -> Refused:
        """Return the error with which an operation answers; each is one that its model lists."""
        with pytest.raises(Refused) as caught:
            self(operation, **given)
        assert caught.value.code in self.model.operations[operation].errors, caught.value.code
        return caught.value

    def pages(self, operation: str, member: str, **given: Any) -> Iterator[list[Any]]:
        """Yield a list member page by page."""
        token: dict[str, str] = {}
        while True:
            found = self(operation, **given, **token)
            yield found[member]
            if "NextToken" not in found:
                return
            token = {"NextToken": found["NextToken"]}


def s3_source(**paths: Any) -> dict[str, Any]:
    """Return a metric source of S3 paths, with the article's columns for the file that has no header."""
    columns = ["TIMESTAMP", "LOCATION_ID", "CO", "SO2", "NO2"]
    form = {"CsvFormatDescriptor": {"FileCompression": "NONE", "Delimiter": ",", "HeaderList": columns}}
    return {"S3SourceConfig": {"RoleArn": ROLE, "FileFormatDescriptor": form, **paths}}


def article_set(arn: str, source: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the input of CreateMetricSet for the article's files."""
    metrics = [{"MetricName": name, "AggregationFunction": "AVG"} for name in ("CO", "SO2", "NO2")]
    return {
        "AnomalyDetectorArn": arn,
        "MetricSetName": "air-set",
        "MetricList": metrics,
        "DimensionList": ["LOCATION_ID"],
        "TimestampColumn": {"ColumnName": "TIMESTAMP", "ColumnFormat": "yyyy-MM-dd HH:mm"},
        "MetricSetFrequency": "PT5M",
        "MetricSource": source,
        **changes,
    }
