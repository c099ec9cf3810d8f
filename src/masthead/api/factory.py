"""Builds the native API over an opened installation."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from types import ModuleType
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Security
from fastapi.security import APIKeyHeader
from starlette.middleware import Middleware

from masthead.access.visit import VISIT, Visit
from masthead.api import errors
from masthead.api.actions import authorise
from masthead.api.doorkeeper import REGION, Doorkeeper
from masthead.api.middleware import LOOPBACK, BodyLimit, HostGuard, RequestLog
from masthead.app import Masthead
from masthead.base.addresses import read_networks
from masthead.base.clock import Beat

_DESCRIPTION = """
Sees things coming: anomalies in streams of readings, on your own machine.

The nouns and verbs are those of the command line. Times are ISO 8601 with an offset. Lists come in pages: give
`next_token` back as `token`. Every error is `{"error": {"code", "message", "field"}}`: 400 InvalidInput,
401 Unauthenticated, 403 Forbidden, 404 NotFound, 409 Conflict, 413 and 429 LimitReached, 424 ModelFailure, 503 when this
process cannot do it now.

Every request shows a key, `x-api-key: ID.SECRET` or `Authorization: Bearer ID.SECRET`; this page uses the console's session.
"""
_ERROR = {
    "description": "Refused: 400, 401, 403, 404, 409, 413, 424 or 429.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["error"],
                "properties": {
                    "error": {
                        "type": "object",
                        "required": ["code", "message", "field"],
                        "properties": {
                            "code": {"type": "string"},
                            "message": {"type": "string"},
                            "field": {"type": ["string", "null"]},
                        },
                    }
                },
            }
        }
    },
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    "4XX": _ERROR,
    503: _ERROR | {"description": "Cannot be done by this process now."},
}
_KEY = APIKeyHeader(name="x-api-key", scheme_name="key", description="ID.SECRET", auto_error=False)


@dataclass(slots=True)
class Runtime:
    """What the routes know of the process around them.

    Attributes:
        ready: Returns what `/readyz` says: name of a part -> "" when it is up, else why not.
        devices: Returns the state of the devices' door; None when this process does not run it.
        notes: Returns what the installation's owner should know, though everything is up.
        backup: Writes an archive to a path of this machine and returns its manifest; None: not offered here.
        set_clock: Moves a demonstration's clock and returns what it shows then, epoch s; None: it is the machine's.
        follow: Follows now what other processes have changed in the database, not only at the next look.
        token: What a caller must show for `backup`, `clock` and `follow`; it lies in the data folder, for its owner only.
    """

    ready: Callable[[], dict[str, str]] = field(default=dict)
    devices: Callable[[], dict[str, Any] | None] = field(default=lambda: None)
    notes: Callable[[], list[str]] = field(default=list)
    backup: Callable[[str], dict[str, Any]] | None = None
    set_clock: Callable[[Beat], float] | None = None
    follow: Callable[[], None] = field(default=lambda: None)
    token: str = ""


def product(request: Request) -> Masthead:
    """Return the installation that a request is about."""
    found: Masthead = request.app.state.masthead
    return found


def runtime(request: Request) -> Runtime:
    """Return the process's state."""
    found: Runtime = request.app.state.runtime
    return found


def shown_key(request: Request) -> str:
    """Return the id of the key that a request shows, or whose session it belongs to."""
    visit: Visit = request.scope[VISIT]
    return visit.caller.key.id


Product = Annotated[Masthead, Depends(product)]
Process = Annotated[Runtime, Depends(runtime)]


def create_api(
    masthead: Masthead,
    *,
    host: str = "127.0.0.1",
    native: bool = True,
    console: bool = False,
    process: Runtime | None = None,
) -> FastAPI:
    """Return the ASGI application.

    Args:
        masthead: The opened installation.
        host: Where it will listen; on loopback, foreign Host headers are refused.
        native: False leaves out all but health, `/metrics` and `/docs` (a server without the role api).
        console: People may sign in: the console will be mounted on what is returned.
        process: The process's state; by default one that is ready and runs no devices.
    """
    masthead.build()
    most, process = int(masthead.settings.max_body_mib * 1024 * 1024), process or Runtime()
    doorkeeper = Middleware(
        Doorkeeper,
        keys=masthead.keys,
        gate=masthead.gate,
        token=process.token,
        console=console,
        region=masthead.settings.aws_region or REGION,
        trusted=read_networks(masthead.settings.trusted_proxies),
    )
    app = FastAPI(
        title="Masthead",
        version=version("masthead"),
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        middleware=[
            Middleware(RequestLog),
            Middleware(HostGuard, loopback=host in LOOPBACK),
            doorkeeper,
            Middleware(BodyLimit, most_bytes=most),
        ],
    )
    app.state.masthead, app.state.runtime = masthead, process
    errors.install(app)
    _include(app, native=native, console=console)
    return app


def _include(app: FastAPI, *, native: bool, console: bool) -> None:
    from masthead.api import docs, health, signin

    if console:
        app.include_router(signin.router)
    for open_room in (health, docs):
        app.include_router(open_room.router, dependencies=[Depends(authorise)])
    rooms: list[ModuleType] = []
    if native:
        from masthead.api import (
            alerts,
            channels,
            detectors,
            endpoints,
            fraud,
            fraud_desk,
            fraud_explanations,
            fraud_loads,
            fraud_pipelines,
            groups,
            ingest,
            jobs,
            logs,
            objects,
            policies,
            rules,
            streams,
            things,
        )

        rooms += [things, policies, rules, streams, alerts, channels, detectors]
        rooms += [groups, endpoints, jobs, objects, logs, ingest]
        rooms += [fraud, fraud_desk, fraud_explanations, fraud_loads, fraud_pipelines]
    for room in rooms:
        app.include_router(room.router, dependencies=[Depends(authorise), Security(_KEY)], responses=_ANSWERS)
