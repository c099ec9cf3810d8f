"""Metric sets: the one data set of a detector, which comes after it and says where its rows are and what is measured."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from masthead.access.arns import detector_arn, metric_set_arn
from masthead.aws.errors import Fault
from masthead.aws.lookoutmetrics.kept import check_tags, keep_tags, note_of, set_name, set_note
from masthead.aws.lookoutmetrics.names import (
    detector_name,
    its_detector,
    its_set,
    new_set,
    set_names,
)
from masthead.aws.lookoutmetrics.sources import described_source, source_part
from masthead.aws.lookoutmetrics.words import FREQUENCIES, interval_of, message, page_by_name
from masthead.aws.operations import Call, Operations
from masthead.base.errors import InvalidInput, NotFound, shown
from masthead.metrics.records import Detector

OPERATIONS = Operations("lookoutmetrics")


@OPERATIONS.serves("CreateMetricSet", resources=new_set)
def create_metric_set(call: Call) -> dict[str, Any]:
    """Give a detector its data set."""
    check_tags(call)
    metrics, detector, name = call.masthead.metrics, detector_name(call), call.input["MetricSetName"]
    found, arn = metrics.get_detector(detector), metric_set_arn(detector, name, call.region)
    if found.spec.source is not None and set_name(call, found) == name:
        told = f"MetricSetName: {detector} has a metric set {name} already"
        raise Fault("ConflictException", told, ResourceId=arn, ResourceType="MetricSet")
    made = metrics.set_dataset(detector, _part(call, found), first=True)
    _keep(call, made, {"MetricSetName": name, "created": made.updated.isoformat()})
    keep_tags(call, (f"dataset:{detector}/{name}", made.created))
    return {"MetricSetArn": arn}


@OPERATIONS.serves("UpdateMetricSet", resources=its_set)
def update_metric_set(call: Call) -> dict[str, Any]:
    """Change the data set of a detector that does not run; what is not given stays."""
    found = _found(call)
    made = call.masthead.metrics.set_dataset(found.name, _part(call, found))
    _keep(call, made, {"MetricSetName": set_name(call, found)})
    return {"MetricSetArn": call.input["MetricSetArn"]}


@OPERATIONS.serves("DescribeMetricSet", resources=its_set)
def describe_metric_set(call: Call) -> dict[str, Any]:
    """Return a data set."""
    found = _found(call)
    spec, note = found.spec, set_note(call, found)
    return {
        **_summary(call, found),
        "Offset": spec.delay_s,
        "MetricList": _metrics(found, note.get("Namespaces", {})) or None,
        "TimestampColumn": _timestamp(found),
        "DimensionList": list(spec.dimensions) or None,
        "MetricSetFrequency": FREQUENCIES.get(spec.interval),
        "Timezone": spec.zone,
        "MetricSource": described_source(spec, note),
        "DimensionFilterList": _filters(found) or None,
    }


@OPERATIONS.serves("ListMetricSets", resources=its_detector)
def list_metric_sets(call: Call) -> dict[str, Any]:
    """List the data sets of all detectors, or of one."""
    metrics = call.masthead.metrics
    asked = detector_name(call) if "AnomalyDetectorArn" in call.input else None
    known = metrics.list_detectors() if asked is None else [metrics.get_detector(asked)]
    page, following = page_by_name(call, (one for one in known if one.spec.source is not None), asked)
    listed = [{**_summary(call, one), "Tags": _tags_of(call, one) or None} for one in page]
    return {"MetricSetSummaryList": listed, "NextToken": following}


# --- from the wire -----------------------------------------------------------------------------------------


def _part(call: Call, found: Detector) -> dict[str, Any]:
    """Return the fields of the data set that the input gives."""
    given, part = call.input, dict[str, Any]()
    frequency = given.get("MetricSetFrequency")
    if frequency is not None and interval_of(frequency) != found.spec.interval:
        expected = FREQUENCIES.get(found.spec.interval, found.spec.interval)
        raise InvalidInput(
            f"MetricSetFrequency: expected {expected}, the frequency of the detector, got {frequency}",
            field="MetricSetFrequency",
        )
    if "MetricSource" in given:
        part |= source_part(given["MetricSource"])
    if "MetricList" in given:
        part["measures"] = [_measure(one) for one in given["MetricList"]]
    if "TimestampColumn" in given:
        part["time"] = _time(given["TimestampColumn"])
    for member, field in (("Offset", "delay_s"), ("DimensionList", "dimensions"), ("Timezone", "zone")):
        if member in given:
            part[field] = given[member]
    if "DimensionFilterList" in given:
        part["filters"] = dict(_filter(one) for one in given["DimensionFilterList"])
    return part


def _measure(given: Mapping[str, Any]) -> dict[str, str]:
    return {"name": given["MetricName"], "aggregation": given["AggregationFunction"].lower()}


def _time(given: Mapping[str, Any]) -> dict[str, str]:
    names = {"ColumnName": "column", "ColumnFormat": "format"}
    return {ours: given[name] for name, ours in names.items() if name in given}


def _filter(given: Mapping[str, Any]) -> tuple[str, list[str]]:
    values = [one.get("DimensionValue", "") for one in given.get("FilterList", ())]
    if "Name" not in given or not all(values):
        raise InvalidInput(
            f"DimensionFilterList: expected a Name and values of its dimension, got {shown(dict(given))}",
            field="DimensionFilterList",
        )
    return given["Name"], values


def _keep(call: Call, made: Detector, fresh: Mapping[str, Any]) -> None:
    """Keep of a data set what our own records have no place for."""
    given, note = call.input, note_of(call, made)
    kept = {**note.get("set", {}), **fresh, "updated": made.updated.isoformat()}
    if "MetricSetDescription" in given:
        kept["MetricSetDescription"] = given["MetricSetDescription"]
    if (source := given.get("MetricSource", {}).get("S3SourceConfig")) is not None:
        kept |= {name: source.get(name) for name in ("RoleArn", "FileFormatDescriptor")}
    if "MetricList" in given:
        kept["Namespaces"] = {
            one["MetricName"]: one["Namespace"] for one in given["MetricList"] if "Namespace" in one
        }
    call.masthead.notes.keep_note(f"detector:{made.name}", made.created, {**note, "set": kept})


# --- to the wire -------------------------------------------------------------------------------------------


def _found(call: Call) -> Detector:
    """Return the detector whose data set the input names."""
    detector, name = set_names(call)
    found = call.masthead.metrics.get_detector(detector)
    if found.spec.source is None or set_name(call, found) != name:
        raise NotFound(f"MetricSetArn: {detector} has no metric set {shown(name)}", field="MetricSetArn")
    return found


def _summary(call: Call, found: Detector) -> dict[str, Any]:
    note = set_note(call, found)
    created, updated = note.get("created"), note.get("updated")
    return {
        "MetricSetArn": metric_set_arn(found.name, set_name(call, found), call.region),
        "AnomalyDetectorArn": detector_arn(found.name, call.region),
        "MetricSetName": set_name(call, found),
        "MetricSetDescription": message(note.get("MetricSetDescription", "")),
        "CreationTime": datetime.fromisoformat(created) if created else found.created,
        "LastModificationTime": datetime.fromisoformat(updated) if updated else found.updated,
    }


def _metrics(found: Detector, namespaces: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the measures that the model has words for: averages and sums."""
    return [
        {
            "MetricName": one.name,
            "AggregationFunction": one.aggregation.upper(),
            "Namespace": namespaces.get(one.name),
        }
        for one in found.spec.measures
        if one.aggregation in ("avg", "sum")
    ]


def _timestamp(found: Detector) -> dict[str, Any] | None:
    time = found.spec.time
    return {"ColumnName": time.column, "ColumnFormat": time.format or None} if time.column else None


def _filters(found: Detector) -> list[dict[str, Any]]:
    return [
        {
            "Name": name,
            "FilterList": [{"DimensionValue": value, "FilterOperation": "EQUALS"} for value in values],
        }
        for name, values in found.spec.filters.items()
    ]


def _tags_of(call: Call, found: Detector) -> dict[str, str]:
    return call.masthead.notes.tags(f"dataset:{found.name}/{set_name(call, found)}", found.created)
