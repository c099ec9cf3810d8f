"""Groups as CSV, for spreadsheets."""

import csv
import io
from collections.abc import Sequence

from masthead.metrics.records import AnomalyGroup

__all__ = ["groups_csv"]

_COLUMNS = (
    "id",
    "detector",
    "measure",
    "kind",
    "start",
    "end",
    "severity",
    "reason",
    "state",
    "confidence",
    "acknowledged",
    "series_count",
    "value",
    "expected",
    "contributions",
)


def groups_csv(groups: Sequence[AnomalyGroup]) -> str:
    """Return groups as CSV (RFC 4180) with a header; value and expected are those of the most severe series.

    A text that a spreadsheet would take for a formula is led by an apostrophe.
    Source: OWASP, "CSV Injection".
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(_COLUMNS)
    for group in groups:
        worst = group.series[0] if group.series else {}
        plain = [getattr(group, name) for name in _COLUMNS[:-3]]
        cells = [*plain, worst.get("value"), worst.get("expected"), _contributions(group)]
        writer.writerow([_cell(cell) for cell in cells])
    return out.getvalue()


def _contributions(group: AnomalyGroup) -> str:
    parts = [
        f"{dimension}={value}: {percent:.2f} %"
        for dimension, shares in group.contributions.items()
        for value, percent in sorted(shares.items(), key=lambda one: -one[1])
    ]
    return "; ".join(parts)


def _cell(value: object) -> object:
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value
