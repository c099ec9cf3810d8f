"""How detectors, their data and their anomalies look to a person: short fields first, then tables."""

from collections.abc import Mapping
from typing import Any

from masthead.cli.output import cell, print_fields, print_table

Json = Mapping[str, Any]


def tell_detector(found: Json) -> None:
    """Print a detector: what it watches, how far it is, what came late."""
    spec, progress = found["spec"], found["progress"]
    fields: dict[str, Any] = {
        "name": found["name"],
        "state": found["state"],
        "failure": found["failure"],
        "description": spec.get("description", ""),
        "watches": _watches(spec),
        "every": f"{spec.get('interval')}, zone {spec.get('zone', 'UTC')}, {spec.get('mode')}",
        "source": _source(spec.get("source")),
        "history": cell((spec.get("history") or {}).get("paths")),
        "time": cell(spec.get("time")) or "found in the data",
        "progress": _progress(progress),
        "last interval": found["last_interval"],
        "records": f"{found['late']:,} late, {found['duplicates']:,} duplicates, {found['refused']:,} refused",
        "error place": found["error_place"],
        "created": found["created"],
        "changed": found["updated"],
    }
    print_fields({name: value for name, value in fields.items() if value not in (None, "", [])})
    _counts("Thing", "Late", found.get("late_by_thing"))


def tell_quality(found: Json) -> None:
    """Print what was counted about a detector's data: rows, intervals, gaps, what was refused and why."""
    data = found.get("data") or {}
    fields: dict[str, Any] = {"detector": found["detector"]}
    if data:
        fields["data"] = f"{data['rows']:,} rows from {cell(data['first'])} to {cell(data['last'])}"
        fields["intervals"] = (
            f"{data['intervals_present']:,} of {data['intervals_expected']:,} hold data, "
            f"{data['intervals_empty']:,} are empty; {data['series']:,} series"
        )
        fields["rows"] = (
            f"{data['refused']:,} refused, {data['filtered']:,} filtered out, {data['duplicates']:,} duplicates, "
            f"{data['out_of_order']:,} out of order"
        )
        fields["stamps"] = f"read as {data['time_format']}, {data['duplicate_stamps']:,} doubled"
        fields["missing"] = cell(data["missing"])
    if "rows" in found:
        fields["scored"] = f"{found['rows']:,} records in {found['intervals']:,} intervals"
        fields["records"] = (
            f"{found['late']:,} late, {found['duplicates']:,} duplicates, {found['refused']:,} refused"
        )
        if found["refused"]:
            fields["error place"] = found["error_place"]
    print_fields(fields)
    if not data and "rows" not in found:
        print("Nothing was read yet.")
    gaps = (("Gap from", "start"), ("To", "end"), ("Intervals", "intervals"))
    if data.get("gaps"):
        print_table(gaps, data["gaps"], empty="")
    _counts(
        "Refused because", "Rows", {**data.get("refused_by_reason", {}), **found.get("refused_by_reason", {})}
    )
    _counts("Thing", "Late", found.get("late_by_thing"))
    if data.get("problems"):
        columns = [(name.capitalize(), name) for name in data["problems"][0]]
        print_table(columns, data["problems"], empty="")


def tell_group(found: Json) -> None:
    """Print an anomaly group: when, how severe and why; then its series and what moved beside it."""
    fields = {
        name: found[name]
        for name in ("id", "detector", "measure", "kind", "state", "severity", "reason", "start", "end")
    }
    fields["confidence"] = found["confidence"]
    fields["acknowledged"] = found["acknowledged"]
    fields["muted until"] = found["muted_until"]
    fields["contributions"] = _shares(found["contributions"])
    print_fields({name: value for name, value in fields.items() if value not in (None, "", [])})
    columns = (
        ("Series", "dimensions"),
        ("Value", "value"),
        ("Expected", "expected"),
        ("Severity", "severity"),
        ("Reason", "reason"),
    )
    if found["series"]:
        print_table(columns, found["series"], empty="")
    if related := found["related"]:
        print_table([(name.replace("_", " ").capitalize(), name) for name in related[0]], related, empty="")


def _watches(spec: Json) -> str:
    measures = ", ".join(
        f"{one['name']} ({one.get('aggregation', 'avg')})" for one in spec.get("measures") or ()
    )
    dimensions = ", ".join(spec.get("dimensions") or ())
    return (measures or "no measure yet") + (f" by {dimensions}" if dimensions else "")


def _source(source: Json | None) -> str:
    if not source:
        return "none yet"
    where = {name: value for name, value in source.items() if name not in ("kind", "format")}
    return f"{source['kind']}: {cell(where)}"


def _progress(progress: Json) -> str:
    seen, needed = progress.get("seen", 0), progress.get("needed", 0)
    text = str(progress.get("text", ""))
    learned = f"{seen:,} of {needed:,} intervals" if seen < needed else f"{seen:,} intervals seen"
    return f"{text} ({learned})" if needed or seen else text


def _shares(contributions: Mapping[str, Mapping[str, float]]) -> list[str]:
    return [
        f"{dimension} "
        + " ".join(
            f"{value} {percent:g} %" for value, percent in sorted(values.items(), key=lambda one: -one[1])
        )
        for dimension, values in contributions.items()
    ]


def _counts(title: str, what: str, counts: Mapping[str, Any] | None) -> None:
    if counts:
        rows = [{"name": name, "count": count} for name, count in counts.items()]
        print_table(((title, "name"), (what, "count")), rows, empty="")
