"""`/alerts`: who hears of what, and whether it arrived."""

from typing import Annotated

from fastapi import APIRouter

from masthead.api.factory import Product
from masthead.api.shapes import Json, Limit, Token, body, page_by_name, page_json

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
    """Create an alert rule; its secrets are sealed and shown as `***` from then on."""
    return masthead.alerts.create_rule(given).to_json()


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
    """Return one alert rule."""
    return masthead.alerts.get_rule(name).to_json()


@router.patch("/alerts/{name}")
def update_alert_rule(masthead: Product, name: str, given: Annotated[Json, body({"threshold": 80})]) -> Json:
    """Change some fields; a secret given back as `***` stays what it is."""
    return masthead.alerts.update_rule(name, given).to_json()


@router.delete("/alerts/{name}", status_code=204)
def delete_alert_rule(masthead: Product, name: str) -> None:
    """Delete an alert rule, and what it had not told yet."""
    masthead.alerts.delete_rule(name)


@router.post("/alerts/{name}/test")
def test_alert_rule(masthead: Product, name: str) -> Json:
    """Send a message that is marked as a test, and return how it ended."""
    return masthead.alerts.test_rule(name).to_json()
