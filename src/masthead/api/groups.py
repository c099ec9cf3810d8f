"""`/groups`: anomalies, their series, what moved beside them, and a person's word on them."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from masthead.api.factory import Product
from masthead.api.shapes import Json, Limit, Token, body, flag, only, page_json, read_time, text
from masthead.base.errors import InvalidInput, shown

router = APIRouter(tags=["groups"])


@router.get("/groups")
def list_groups(
    masthead: Product,
    detector: str | None = None,
    min_severity: Annotated[float, Query(description="Lowest severity, 0 to 100.")] = 70.0,
    measure: str | None = None,
    state: str | None = None,
    start: Annotated[str | None, Query(description="Groups that end at or after this time.")] = None,
    end: Annotated[str | None, Query(description="Groups that start before this time.")] = None,
    limit: Limit = 100,
    token: Token = None,
) -> Json:
    """List anomaly groups, the latest first."""
    found = masthead.metrics.list_groups(
        detector,
        min_severity=min_severity,
        measure=measure,
        state=state,
        start=read_time(start, "start"),
        end=read_time(end, "end"),
        limit=limit,
        token=token,
    )
    return page_json(found)


@router.get("/groups/{group}")
def get_group(masthead: Product, group: str) -> Json:
    """Return one anomaly group."""
    return masthead.metrics.get_group(group).to_json()


@router.get("/groups/{group}/series")
def group_series(masthead: Product, group: str) -> Json:
    """List the series of a group, the most severe first."""
    return {"items": list(masthead.metrics.group_series(group)), "next_token": None}


@router.get("/groups/{group}/values")
def group_values(
    masthead: Product, group: str, measure: str, limit: Limit = 100, token: Token = None
) -> Json:
    """Return a page of the series of a group that are of one measure, with their values over its time."""
    return masthead.metrics.group_values(group, measure, limit=limit, token=token).to_json()


@router.get("/groups/{group}/related")
def related(masthead: Product, group: str) -> Json:
    """List other measures that moved beside a group, how often before, and which came first."""
    return {"items": [_json(one) for one in masthead.metrics.related(group)], "next_token": None}


@router.post("/groups/{group}/acknowledge")
def acknowledge(
    masthead: Product, group: str, given: Annotated[Json | None, body({"acknowledged": True})] = None
) -> Json:
    """Mark a group as seen by a person, or as not seen."""
    wanted = flag(only(given or {}, "acknowledged"), "acknowledged", True)
    return masthead.metrics.acknowledge_group(group, wanted).to_json()


@router.post("/groups/{group}/mute")
def mute(
    masthead: Product, group: str, given: Annotated[Json, body({"until": "2026-01-02T06:00:00Z"})]
) -> Json:
    """Tell nobody of this group before `until`; null ends the silence."""
    only(given, "until")
    if "until" not in given:
        raise InvalidInput("until: expected an ISO 8601 time or null, got none")
    until = None if given["until"] is None else _moment(text(given, "until"))
    return masthead.metrics.mute_group(group, until).to_json()


@router.post("/groups/{group}/feedback", status_code=201)
def feedback(
    masthead: Product,
    group: str,
    given: Annotated[
        Json,
        body({"is_anomaly": False, "series": {"measure": "CO", "dimensions": {"LOCATION_ID": "B-101"}}}),
    ],
) -> Json:
    """Say whether a group, or one of its series, is an anomaly; later severities follow."""
    only(given, "is_anomaly", "series")
    series = given.get("series")
    if series is not None and not _is_series(series):
        raise InvalidInput(f"series: expected its place or its measure and dimensions, got {shown(series)}")
    told = masthead.metrics.give_feedback(group, series, is_anomaly=flag(given, "is_anomaly"))
    return {"items": [one.to_json() for one in told], "next_token": None}


@router.get("/groups/{group}/feedback")
def list_feedback(masthead: Product, group: str) -> Json:
    """List what people said of a group, oldest first."""
    return {"items": [one.to_json() for one in masthead.metrics.feedback(group)], "next_token": None}


def _moment(given: str) -> datetime | None:
    return read_time(given, "until")


def _is_series(value: Any) -> bool:
    if isinstance(value, dict):
        return isinstance(value.get("dimensions", {}), dict)
    return isinstance(value, int) and not isinstance(value, bool)


def _json(value: Any) -> Any:
    return value.to_json() if hasattr(value, "to_json") else value
