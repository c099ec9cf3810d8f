"""`/fraud/...` that looks back: why a transaction was decided so, what is around it, and rings."""

from fastapi import APIRouter

from masthead.api.factory import Product
from masthead.api.fraud import Space
from masthead.api.shapes import Json, Limit

router = APIRouter(tags=["fraud"])


@router.get("/fraud/transactions/{id}/explanation")
def explanation(masthead: Product, id: str, space: Space = "live") -> Json:
    """Return why a transaction was decided so: reasons, and paths to frauds confirmed then; the same at any time."""
    return masthead.fraud.explanation(id, space=space)


@router.get("/fraud/transactions/{id}/graph")
def graph(masthead: Product, id: str, space: Space = "live") -> Json:
    """Return the graph around a transaction as of its decision: nodes with their labels, and edges."""
    return masthead.fraud.graph(id, space=space)


@router.get("/fraud/rings")
def rings(masthead: Product, limit: Limit = 100, space: Space = "live") -> Json:
    """List the largest rings of the 30 days before the latest transaction."""
    return {"items": masthead.fraud.rings(space=space, limit=limit), "next_token": None}
