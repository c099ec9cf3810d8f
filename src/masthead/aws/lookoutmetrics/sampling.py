"""A look at files before there is a data set: their first rows, and what can be guessed of them."""

from collections.abc import Mapping
from typing import Any

from masthead.aws.lookoutmetrics.names import detector_name, its_detector
from masthead.aws.lookoutmetrics.sources import one_source
from masthead.aws.lookoutmetrics.words import FREQUENCIES
from masthead.aws.operations import Call, Operations
from masthead.base.errors import InvalidInput
from masthead.metrics.samples import Guess

OPERATIONS = Operations("lookoutmetrics")


@OPERATIONS.serves("GetSampleData")
def get_sample_data(call: Call) -> dict[str, Any]:
    """Return the first rows of a source as texts."""
    if "S3SourceConfig" not in call.input:
        raise InvalidInput("S3SourceConfig: expected where the files lie, got none", field="S3SourceConfig")
    found = call.masthead.metrics.sample_rows(one_source(call.input["S3SourceConfig"], "S3SourceConfig"))
    return {"HeaderValues": list(found.columns), "SampleRows": [list(row) for row in found.rows]}


@OPERATIONS.serves("DetectMetricSetConfig", resources=its_detector)
def detect_metric_set_config(call: Call) -> dict[str, Any]:
    """Return what the files of a source seem to be."""
    call.masthead.metrics.get_detector(detector_name(call))
    member = "AutoDetectionMetricSource.S3SourceConfig"
    given = call.input["AutoDetectionMetricSource"].get("S3SourceConfig", {})
    found = call.masthead.metrics.detect(one_source(given, member))
    interval = found["interval"]
    return {
        "DetectedMetricSetConfig": {
            "Offset": _field(found["delay_s"]),
            "MetricSetFrequency": _field(
                Guess(FREQUENCIES.get(interval.value), interval.confidence, interval.message)
            ),
            "MetricSource": {"S3SourceConfig": {"FileFormatDescriptor": _descriptor(found)}},
        }
    }


def _descriptor(found: Mapping[str, Guess]) -> dict[str, Any]:
    packing = found["compression"]
    written: dict[str, Any] = {
        "FileCompression": _field(Guess(packing.value.upper(), packing.confidence, packing.message)),
        "Charset": _field(found.get("charset")),
    }
    if found["kind"].value == "json":
        return {"JsonFormatDescriptor": written}
    if found["kind"].value != "csv":
        return {}
    names = {
        "ContainsHeader": "header",
        "Delimiter": "delimiter",
        "HeaderList": "columns",
        "QuoteSymbol": "quote",
    }
    return {
        "CsvFormatDescriptor": written | {member: _field(found.get(ours)) for member, ours in names.items()}
    }


def _field(guess: Guess | None) -> dict[str, Any] | None:
    """Return a guess with its value in the one member that fits its type."""
    if guess is None:
        return None
    return {
        "Value": _value(guess.value),
        "Confidence": guess.confidence.upper(),
        "Message": guess.message or None,
    }


def _value(value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return {"S": str(value).lower()}
    if isinstance(value, int):
        return {"N": str(value)}
    return {"SS": list(value)} if isinstance(value, tuple) else {"S": str(value)}
