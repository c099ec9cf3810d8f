"""`/jobs`: the long jobs of every room."""

from fastapi import APIRouter

from masthead.api.factory import Product
from masthead.api.shapes import Json, Limit
from masthead.base.pages import check_limit

router = APIRouter(tags=["jobs"])


@router.get("/jobs")
def list_jobs(masthead: Product, limit: Limit = 100) -> Json:
    """List the latest jobs, the newest first: activations that learn a history, and back-tests."""
    found = masthead.flows.list(limit=check_limit(limit))
    return {"items": [one.to_json() for one in found], "next_token": None}


@router.get("/jobs/{id}")
def get_job(masthead: Product, id: str) -> Json:
    """Return one job with its finished steps; its log is `/logs/job/{id}`."""
    return masthead.flows.get(id).to_json()


@router.post("/jobs/{id}/cancel", status_code=202)
def cancel_job(masthead: Product, id: str) -> Json:
    """End a job; its detector is stopped, and what the job had found is removed."""
    return masthead.cancel_job(id).to_json()
