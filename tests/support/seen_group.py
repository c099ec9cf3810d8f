"""A detector with one anomaly group of two series, as a run would have stored it."""

from datetime import UTC, datetime

from masthead.app import Masthead
from masthead.metrics.records import AnomalyGroup, put_group

AT = datetime(2022, 3, 24, 23, 30, tzinfo=UTC)
GROUP = "group-1"


def store_group(masthead: Masthead) -> None:
    """Store the detector `air` and a group of it: CO at the sites A and B."""
    masthead.metrics.create_detector({"name": "air", "measures": ["CO"], "dimensions": ["site"]})
    series = [
        {
            "measure": "CO",
            "dimensions": {"site": site},
            "value": value,
            "expected": 1.0,
            "severity": 90.0,
            "reason": "jump",
            "start": AT.isoformat(),
            "end": AT.isoformat(),
        }
        for site, value in (("A", 7.0), ("B", 8.0))
    ]
    group = AnomalyGroup(
        GROUP, "air", "CO", "value", AT, AT, 90.0, "jump", "closed", "full", {}, [], series, 2, AT, run="run-1"
    )  # fmt: skip
    with masthead.database.write() as connection:
        put_group(connection, group)
