"""Whether the process lives, whether it is ready, what it counts; and what only the folder's owner may ask."""

from typing import Annotated

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from masthead.api.factory import Process, Product
from masthead.api.shapes import Json, body, text
from masthead.base.clock import Beat
from masthead.base.errors import Conflict, Unavailable
from masthead.base.telemetry import exposition

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> Json:
    """Say that the process lives."""
    return {"status": "alive"}


@router.get("/readyz")
async def readyz(process: Process) -> JSONResponse:
    """Answer 200 when every listener is up, else 503 with what is not; `notes` say what its owner should know."""
    parts = process.ready()
    waiting = {name: reason for name, reason in parts.items() if reason}
    status = "ready" if not waiting else "not ready"
    found: Json = {"status": status, "parts": dict.fromkeys(parts, "up") | waiting}
    if notes := process.notes():
        found["notes"] = notes
    return JSONResponse(found, 503 if waiting else 200)


@router.get("/metrics", response_class=Response)
def metrics() -> Response:
    """Return what Masthead counts about itself, for Prometheus."""
    return Response(exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.post("/backup", include_in_schema=False, response_model=None)
def backup(
    process: Process,
    given: Annotated[Json, body({"path": "/backups/masthead.tar.gz"})],
) -> Json:
    """Write an archive of the running installation; `masthead backup` asks for it with the folder's own token."""
    if process.backup is None:
        raise Unavailable("backup: this process does not offer it")
    return process.backup(text(given, "path"))


@router.get("/clock", include_in_schema=False, response_model=None)
def clock(masthead: Product, process: Process) -> Json:
    """Say what the clock shows, and whether it is a demonstration's, which its owner may move."""
    return {"virtual": process.set_clock is not None, "time": masthead.clock.time()}


@router.post("/clock", include_in_schema=False, response_model=None)
def move_clock(
    process: Process,
    given: Annotated[Json, body({"time": 1648164600.0, "factor": 1000, "until": 1648168200.0})],
) -> Json:
    """Move the clock of a server that was started with --virtual-clock, once all acknowledged readings are taken.

    Forward to `time`, on at `factor`, and standing still at `until`; answers with what it shows then.
    """
    if process.set_clock is None:
        raise Conflict("clock: this server follows the machine's; start it with --virtual-clock")
    return {"virtual": True, "time": process.set_clock(Beat.from_json(given))}


@router.post("/follow", include_in_schema=False, response_model=None)
def follow(process: Process) -> Json:
    """Follow what another process has changed; answers once that is done. Every command that wrote asks for it."""
    process.follow()
    return {"status": "followed"}
