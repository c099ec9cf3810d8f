"""`/fraud/loads`: history that is stored from files of this machine, as a job."""

from typing import Annotated

from fastapi import APIRouter, Query

from masthead.api.factory import Product
from masthead.api.shapes import Json, Limit, Token, body, text, texts

router = APIRouter(prefix="/fraud/loads", tags=["fraud"])
Space = Annotated[str, Query(description="Where the transactions lie: `live`, or a simulation.")]


@router.post("", status_code=202)
def load(
    masthead: Product,
    given: Annotated[Json, body({"paths": ["/data/train_transaction.csv"], "schema": "ieee-cis"})],
    space: Space = "live",
) -> Json:
    """Begin to load files of this machine as history: a job, which goes on after a crash; paths are absolute."""
    return masthead.loads.start(
        texts(given, "paths") or [],
        schema=text(given, "schema", ""),
        labels=text(given, "labels", ""),
        space=space,
    )


@router.get("")
def list_loads(masthead: Product) -> Json:
    """List every load, the newest first."""
    return {"items": masthead.loads.list(), "next_token": None}


@router.get("/{id}")
def get_load(masthead: Product, id: str) -> Json:
    """Return a load: state, progress, and in `output` how many rows were read, stored, repeated or refused, and why."""
    return masthead.loads.get(id)


@router.get("/{id}/problems")
def get_load_problems(masthead: Product, id: str, limit: Limit = 100, token: Token = None) -> Json:
    """Return what a load that is done could not take: row, file, column, id, reason."""
    page = masthead.loads.problems(id, limit=limit, token=token)
    return {"items": list(page.items), "next_token": page.next_token}


@router.post("/{id}/resume", status_code=202)
def resume_load(masthead: Product, id: str) -> Json:
    """Let a load that failed, was cancelled or interrupted go on."""
    return masthead.loads.resume(id, worker="job")


@router.post("/{id}/cancel", status_code=202)
def cancel_load(masthead: Product, id: str) -> Json:
    """End a load that runs or waits; what it has stored stays."""
    return masthead.loads.cancel(id)


@router.delete("/{id}")
def delete_load(masthead: Product, id: str) -> Json:
    """Remove a load with its list of problems; what it has stored stays."""
    masthead.loads.delete(id)
    return {"deleted": id}
