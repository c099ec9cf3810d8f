"""Which verb each route is, so that a key's policies are asked before it is done.

A route's answer is its verb in `access.verbs`, with the verb's parameters that the path calls otherwise. No route is
without: `tests/api/test_actions.py` compares this table with the routes.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from masthead.access.refusals import Refusal
from masthead.access.verbs import VERBS, Deed
from masthead.access.visit import VISIT, Refused, Visit
from masthead.api.doorkeeper import AUDITED
from masthead.app import Masthead
from masthead.base.errors import NotFound

OPEN = "open"
"""Answered to everybody: whether the process lives, is ready, and what it counts."""
OWNER = "owner"
"""Answered to who shows the token in the data folder; no key opens it."""
ANY_KEY = "any key"
"""Answered to every key and session: it tells nothing about the installation."""

_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
_DETECTOR = {"detector": "name"}
ROUTES: Mapping[str, str | tuple[str, Mapping[str, str]]] = {
    "GET /healthz": OPEN,
    "GET /readyz": OPEN,
    "GET /metrics": OPEN,
    "POST /backup": OWNER,
    "POST /clock": OWNER,
    "POST /follow": OWNER,
    "GET /clock": "clock",
    "GET /docs": ANY_KEY,
    "GET /docs/{name}": ANY_KEY,
    "GET /openapi.json": ANY_KEY,
    "GET /favicon.svg": ANY_KEY,
    "GET /favicon.ico": ANY_KEY,
    "POST /things": "access.create_thing",
    "GET /things": "access.list_things",
    "GET /things/{name}": "access.get_thing",
    "PATCH /things/{name}": "access.update_thing",
    "DELETE /things/{name}": "access.delete_thing",
    "POST /things/{name}/revoke": "access.revoke_thing",
    "POST /things/{name}/renew": "access.renew_thing",
    "GET /things/{name}/forbidden": ("access.forbidden", {"thing": "name"}),
    "POST /things/{name}/test": "access.test_thing",
    "POST /policies": "access.create_policy",
    "GET /policies": "access.list_policies",
    "GET /policies/{name}": "access.get_policy",
    "DELETE /policies/{name}": "access.delete_policy",
    "POST /policies/{name}/test": "access.test_policy",
    "POST /rules": "streams.create_rule",
    "GET /rules": "streams.list_rules",
    "POST /rules/test": "streams.test_rule",
    "GET /rules/{name}": "streams.get_rule",
    "PUT /rules/{name}": "streams.update_rule",
    "DELETE /rules/{name}": "streams.delete_rule",
    "POST /rules/{name}/test": "streams.test_rule",
    "POST /streams": "streams.create_stream",
    "GET /streams": "streams.list_streams",
    "GET /streams/{name}": "streams.get_stream",
    "PUT /streams/{name}": "streams.update_stream",
    "DELETE /streams/{name}": "streams.delete_stream",
    "GET /streams/{name}/state": "streams.stream_state",
    "POST /streams/{name}/test": "streams.test_stream",
    "POST /alerts": "alerts.create_rule",
    "GET /alerts": "alerts.list_rules",
    "GET /alerts/deliveries": "alerts.deliveries",
    "GET /alerts/deliveries/{key}": "alerts.get_delivery",
    "POST /alerts/deliveries/{key}/retry": "alerts.retry",
    "GET /alerts/counts": "alerts.counts",
    "GET /alerts/{name}": "alerts.get_rule",
    "PATCH /alerts/{name}": "alerts.update_rule",
    "DELETE /alerts/{name}": "alerts.delete_rule",
    "POST /alerts/{name}/test": "alerts.test_rule",
    "POST /channels": "alerts.create_channel",
    "GET /channels": "alerts.list_channels",
    "GET /channels/{name}": "alerts.get_channel",
    "DELETE /channels/{name}": "alerts.delete_channel",
    "POST /detectors": "metrics.create_detector",
    "GET /detectors": "metrics.list_detectors",
    "POST /detectors/validate": "metrics.validate",
    "POST /detectors/sample": "metrics.sample_rows",
    "POST /detectors/detect": "metrics.detect",
    "GET /detectors/{name}": "metrics.get_detector",
    "PATCH /detectors/{name}": "metrics.update_detector",
    "DELETE /detectors/{name}": "metrics.delete_detector",
    "PUT /detectors/{name}/dataset": "metrics.set_dataset",
    "GET /detectors/{name}/settings.toml": "metrics.get_detector",
    "POST /detectors/{name}/validate": "metrics.validate",
    "POST /detectors/{name}/test": "metrics.validate",
    "POST /detectors/{name}/activate": "metrics.activate",
    "POST /detectors/{name}/deactivate": "metrics.deactivate",
    "POST /detectors/{name}/backtest": "metrics.backtest",
    "GET /detectors/{name}/quality": "metrics.data_quality",
    "GET /detectors/{name}/executions": "metrics.executions",
    "GET /detectors/{name}/series": ("metrics.series", _DETECTOR),
    "GET /detectors/{name}/chart": ("metrics.chart", _DETECTOR),
    "GET /detectors/{name}/groups.csv": ("metrics.export_groups", _DETECTOR),
    "GET /groups": "metrics.list_groups",
    "GET /groups/{group}": "metrics.get_group",
    "GET /groups/{group}/series": "metrics.group_series",
    "GET /groups/{group}/values": "metrics.group_values",
    "GET /groups/{group}/related": "metrics.related",
    "POST /groups/{group}/acknowledge": "metrics.acknowledge_group",
    "POST /groups/{group}/mute": "metrics.mute_group",
    "POST /groups/{group}/feedback": "metrics.give_feedback",
    "GET /groups/{group}/feedback": "metrics.feedback",
    "POST /detectors/{name}/deploy": "metrics.deploy",
    "GET /endpoints": "list_endpoints",
    "GET /endpoints/{name}": "get_endpoint",
    "DELETE /endpoints/{name}": "endpoints.delete",
    "POST /endpoints/{name}/invocations": "endpoints.invoke",
    "POST /fraud/transactions": "fraud.score",
    "GET /fraud/transactions": "fraud.find",
    "GET /fraud/transactions/{id}": "fraud.get",
    "GET /fraud/transactions/{id}/explanation": "fraud.explanation",
    "GET /fraud/transactions/{id}/graph": "fraud.graph",
    "GET /fraud/transactions/{id}/reproduction": "fraud.reproduction",
    "GET /fraud/rings": "fraud.rings",
    "GET /fraud/outcomes": "fraud.outcomes",
    "GET /fraud/stats": "fraud.stats",
    "POST /fraud/labels": "fraud.label",
    "GET /fraud/models": "fraud.models",
    "DELETE /fraud/models/{id}": "fraud.delete_model",
    "POST /fraud/deployments": "fraud.deploy",
    "GET /fraud/deployments": "fraud.deployments",
    "DELETE /fraud/deployments/{name}": "fraud.undeploy",
    "GET /fraud/deployments/{name}/drift": "fraud.drift",
    "POST /fraud/deployments/{name}/promote": "fraud.promote",
    "POST /fraud/deployments/{name}/retrain": "pipelines.retrain",
    "POST /fraud/loads": "loads.start",
    "GET /fraud/loads": "loads.list",
    "GET /fraud/loads/{id}": "loads.get",
    "GET /fraud/loads/{id}/problems": "loads.problems",
    "POST /fraud/loads/{id}/resume": "loads.resume",
    "POST /fraud/loads/{id}/cancel": "loads.cancel",
    "DELETE /fraud/loads/{id}": "loads.delete",
    "POST /fraud/erase": "fraud.erase",
    "GET /fraud/spaces": "fraud.spaces",
    "DELETE /fraud/spaces/{name}": "fraud.delete_space",
    "GET /fraud/simulations": "fraud.spaces",
    "POST /fraud/simulations": "fraud.create_simulation",
    "DELETE /fraud/simulations/{name}": "fraud.delete_simulation",
    "GET /fraud/schema": "fraud.schema",
    "GET /fraud/lists": "portal.listed",
    "PUT /fraud/lists/{relation}/{value}": "portal.put_listed",
    "DELETE /fraud/lists/{relation}/{value}": "portal.remove_listed",
    "GET /fraud/deployments/{name}/thresholds": "portal.thresholds",
    "PUT /fraud/deployments/{name}/thresholds": "portal.set_thresholds",
    "POST /fraud/transactions/{id}/verdict": "portal.give_verdict",
    "POST /fraud/pipelines": "pipelines.start",
    "GET /fraud/pipelines": "pipelines.list",
    "GET /fraud/pipelines/{id}": "pipelines.get",
    "GET /fraud/pipelines/{id}/log/{step}": "pipelines.log",
    "POST /fraud/pipelines/{id}/resume": "pipelines.resume",
    "POST /fraud/pipelines/{id}/cancel": "pipelines.cancel",
    "DELETE /fraud/pipelines/{id}": "pipelines.delete",
    "GET /jobs": "flows.list",
    "GET /jobs/{id}": "flows.get",
    "POST /jobs/{id}/cancel": "cancel_job",
    "GET /logs/{kind}": "journal.names",
    "GET /logs/{kind}/{name}": "journal.read",
    "GET /objects/{bucket}": "objects.list",
    "GET /objects/{bucket}/{key:path}": "objects.get",
    "PUT /objects/{bucket}/{key:path}": "objects.put",
    "DELETE /objects/{bucket}/{key:path}": "objects.delete",
    "POST /ingest/files": "ingest",
    "POST /ingest/{topic:path}": "ingest",
}


async def authorise(request: Request) -> None:
    """Ask the caller's policies about a route before anything is looked up.

    Raises:
        Refused: No policy allows it, or one forbids it; 403 with AWS's words.
        LimitReached: The audit cannot be written, so nothing may be changed.
    """
    route = request.scope["route"]
    told = ROUTES[f"{request.method} {route.path}"]
    verb, others = (told, {}) if isinstance(told, str) else told
    visit: Visit | None = request.scope.get(VISIT)
    if verb in (OPEN, ANY_KEY) or (visit is None and verb in (OWNER, "clock", "ingest")):
        return
    if verb == OWNER or visit is None:
        raise Refused(Refusal("denied", "token: expected the one in the data folder"))
    masthead: Masthead = request.app.state.masthead
    caller, deed = visit.caller, VERBS[verb]
    values = await _values(request, route, deed, others)
    if "group" in deed.fields:
        arns = await run_in_threadpool(
            deed.arns, values, caller.region, lambda group: _detector_of(masthead, group)
        )
    else:
        arns = deed.arns(values, caller.region)
    told = request.scope[AUDITED]
    told.verb, told.deed, told.resources = verb, deed, arns
    if deed.changes:
        masthead.gate.audit.check()
    refusal = masthead.gate.authorise(caller, deed.action, arns)
    if refusal is not None:
        raise Refused(refusal)


async def _values(request: Request, route: APIRoute, deed: Deed, others: Mapping[str, str]) -> dict[str, Any]:
    """Return the verb's parameters as the route will read them; nothing that it does not declare counts.

    The path's win: a body or a query that names something else must not be what policies are asked about.
    """
    path = request.path_params
    found = {name: path[others.get(name, name)] for name in deed.fields if others.get(name, name) in path}
    if missing := deed.fields - found.keys():
        declared = {one.alias for one in route.dependant.query_params}
        query = request.query_params
        found |= {name: query[name] for name in missing & declared if name in query}
        if route.body_field is not None:
            body = await _body(request)
            found |= {name: body[name] for name in missing - declared if name in body}
    return found


async def _body(request: Request) -> Mapping[str, Any]:
    """Return the fields of a body that was read already; one that cannot be read is refused by the route itself."""
    if request.headers.get("content-type", "").startswith(_FORMS):
        return await request.form()
    try:
        found = await request.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _detector_of(masthead: Masthead, group: str) -> str:
    try:
        return masthead.metrics.get_group(group).detector
    except NotFound:
        return "*"
