"""`/alerts`: who hears of what, and whether it arrived."""

from typing import Annotated

from fastapi import APIRouter

from masthead.alerts.rules import AlertRule
from masthead.api.factory import Product
from masthead.api.shapes import Json, Limit, Token, body, only, page_by_name, page_json
from masthead.app import Masthead
from masthead.base.errors import InvalidInput, shown

router = APIRouter(tags=["alerts"])
_EXAMPLE = {
    "name": "night-shift",
    "detector": "air",
    "threshold": 70,
    "measures": ["CO"],
    "dimensions": {"LOCATION_ID": ["B-101"]},
    "channel": {"kind": "webhook", "url": "http://127.0.0.1:9000/alert"},
    "form": "json",
    "quiet_hours": "22:00-06:00",
    "on_close": True,
}


@router.post("/alerts", status_code=201)
def create_alert_rule(masthead: Product, given: Annotated[Json, body(_EXAMPLE)]) -> Json:
    """Create an alert rule; its secrets are sealed and shown as `***` from then on.

    `warnings` in the answer names what does not exist yet: a detector, measure or dimension.
    """
    return _with_warnings(masthead, masthead.alerts.create_rule(given))


@router.get("/alerts")
def list_alert_rules(
    masthead: Product, detector: str | None = None, limit: Limit = 100, token: Token = None
) -> Json:
    """List alert rules by name."""
    return page_by_name("alerts", masthead.alerts.list_rules(detector), limit, token)


@router.get("/alerts/deliveries")
def deliveries(
    masthead: Product,
    rule: str | None = None,
    state: str | None = None,
    group: str | None = None,
    limit: Limit = 100,
    token: Token = None,
) -> Json:
    """List what was told and what waits, the newest first."""
    return page_json(masthead.alerts.deliveries(rule, state, limit, group=group, token=token))


@router.get("/alerts/deliveries/{key}")
def get_delivery(masthead: Product, key: str) -> Json:
    """Return one delivery."""
    return masthead.alerts.get_delivery(key).to_json()


@router.post("/alerts/deliveries/{key}/retry")
def retry(masthead: Product, key: str) -> Json:
    """Try an undelivered alert again."""
    return masthead.alerts.retry(key).to_json()


@router.get("/alerts/counts")
def counts(masthead: Product) -> Json:
    """Count deliveries by state."""
    return masthead.alerts.counts()


@router.get("/alerts/{name}")
def get_alert_rule(masthead: Product, name: str) -> Json:
    """Return one alert rule; `warnings` names what it is about and does not exist."""
    return _with_warnings(masthead, masthead.alerts.get_rule(name))


@router.patch("/alerts/{name}")
def update_alert_rule(masthead: Product, name: str, given: Annotated[Json, body({"threshold": 80})]) -> Json:
    """Change some fields; a secret given back as `***` stays what it is."""
    return _with_warnings(
        masthead,
        masthead.alerts.update_rule(name, {key: value for key, value in given.items() if key != "warnings"}),
    )


@router.delete("/alerts/{name}", status_code=204)
def delete_alert_rule(masthead: Product, name: str) -> None:
    """Delete an alert rule, and what it had not told yet."""
    masthead.alerts.delete_rule(name)


@router.post("/alerts/{name}/test")
def try_alert_rule(
    masthead: Product, name: str, given: Annotated[Json | None, body({"event": {"severity": 90}})] = None
) -> Json:
    """Send a message that is marked as a test, about an `event` if fields of one are given; return how it ended."""
    event = only(given or {}, "event").get("event")
    if event is not None and not isinstance(event, dict):
        raise InvalidInput(f"event: expected an object, got {shown(event)}")
    return masthead.alerts.test_rule(name, event).to_json()


def _with_warnings(masthead: Masthead, rule: AlertRule) -> Json:
    return rule.to_json() | {"warnings": masthead.alert_warnings(rule)}
