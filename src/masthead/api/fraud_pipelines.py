"""`/fraud/pipelines`: from files to an endpoint, in steps."""

from fastapi import APIRouter

from masthead.api.factory import Product
from masthead.api.shapes import Json, body

router = APIRouter(prefix="/fraud/pipelines", tags=["fraud"])

_EXAMPLE = {
    "schema": "/srv/fraud/schema.toml",
    "data": ["/srv/fraud/train_transaction.csv"],
    "labels": "/srv/fraud/labels.csv",
    "endpoint": {"name": "cards"},
}


@router.post("", status_code=201)
def start_pipeline(
    masthead: Product, document: Json = body(_EXAMPLE, "As the command line's --config.")
) -> Json:
    """Begin a run; paths are absolute, and a script lies in the data folder's `scripts`."""
    return masthead.pipelines.start(document)


@router.get("")
def list_pipelines(masthead: Product) -> Json:
    """List every run, the newest first."""
    return {"items": masthead.pipelines.list(), "next_token": None}


@router.get("/{id}")
def get_pipeline(masthead: Product, id: str) -> Json:
    """Return a run with its steps: what is done, what each found, how far the one under way is."""
    return masthead.pipelines.get(id)


@router.get("/{id}/log/{step}")
def get_pipeline_log(masthead: Product, id: str, step: str) -> Json:
    """Return what a step printed while it ran."""
    return {"text": masthead.pipelines.log(id, step)}


@router.post("/{id}/resume", status_code=202)
def resume_pipeline(masthead: Product, id: str) -> Json:
    """Let a run go on behind its last finished step."""
    return masthead.pipelines.resume(id)


@router.post("/{id}/cancel", status_code=202)
def cancel_pipeline(masthead: Product, id: str) -> Json:
    """End a run that runs or waits."""
    return masthead.pipelines.cancel(id)


@router.delete("/{id}")
def delete_pipeline(masthead: Product, id: str) -> Json:
    """Remove a run with what its steps left; its model and its endpoint stay."""
    masthead.pipelines.delete(id)
    return {"deleted": id}
