"""Builds the native API over an opened installation."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from starlette.middleware import Middleware

from masthead.api import errors
from masthead.api.middleware import LOOPBACK, BodyLimit, HostGuard, RequestLog
from masthead.app import Masthead
from masthead.base.clock import Beat

_DESCRIPTION = """
Sees things coming: anomalies in streams of readings, on your own machine.

The nouns and verbs are those of the command line. Times are ISO 8601 with an offset. Lists come in pages: give
`next_token` back as `token`. Every error is `{"error": {"code", "message", "field"}}`: 400 InvalidInput,
404 NotFound, 409 Conflict, 413 and 429 LimitReached, 424 ModelFailure, 503 when this process cannot do it now.
"""


@dataclass(slots=True)
class Runtime:
    """What the routes know of the process around them.

    Attributes:
        ready: Returns what `/readyz` says: name of a part -> "" when it is up, else why not.
        devices: Returns the state of the devices' door; None when this process does not run it.
        backup: Writes an archive to a path of this machine and returns its manifest; None: not offered here.
        set_clock: Moves a demonstration's clock and returns what it shows then, epoch s; None: it is the machine's.
        token: What a caller must show for `backup` and `clock`; it lies in the data folder, for its owner only.
    """

    ready: Callable[[], dict[str, str]] = field(default=dict)
    devices: Callable[[], dict[str, Any] | None] = field(default=lambda: None)
    backup: Callable[[str], dict[str, Any]] | None = None
    set_clock: Callable[[Beat], float] | None = None
    token: str = ""


def product(request: Request) -> Masthead:
    """Return the installation that a request is about."""
    found: Masthead = request.app.state.masthead
    return found


def runtime(request: Request) -> Runtime:
    """Return the process's state."""
    found: Runtime = request.app.state.runtime
    return found


Product = Annotated[Masthead, Depends(product)]
Process = Annotated[Runtime, Depends(runtime)]


def create_api(
    masthead: Masthead, *, host: str = "127.0.0.1", native: bool = True, process: Runtime | None = None
) -> FastAPI:
    """Return the ASGI application.

    Args:
        masthead: The opened installation.
        host: Where it will listen; on loopback, foreign Host headers are refused.
        native: False leaves out all but health, `/metrics` and `/docs` (a server without the role api).
        process: The process's state; by default one that is ready and runs no devices.
    """
    masthead.build()
    most = int(masthead.settings.max_body_mib * 1024 * 1024)
    app = FastAPI(
        title="Masthead",
        version=version("masthead"),
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        middleware=[
            Middleware(RequestLog),
            Middleware(HostGuard, loopback=host in LOOPBACK),
            Middleware(BodyLimit, most_bytes=most),
        ],
    )
    app.state.masthead, app.state.runtime = masthead, process or Runtime()
    errors.install(app)
    _include(app, native=native)
    return app


def _include(app: FastAPI, *, native: bool) -> None:
    from masthead.api import docs, health

    rooms = [health, docs]
    if native:
        from masthead.api import (
            alerts,
            channels,
            detectors,
            endpoints,
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
    for room in rooms:
        app.include_router(room.router)
