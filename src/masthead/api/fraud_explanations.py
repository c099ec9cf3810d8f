"""`/fraud/...` that looks back: why a transaction was decided so, what is around it, rings, and how it turned out."""

from typing import Annotated

from fastapi import APIRouter, Query

from masthead.api.factory import Product
from masthead.api.fraud import End, Space, Start, read_window
from masthead.api.segments import SegmentRoute
from masthead.api.shapes import Json, Limit

router = APIRouter(tags=["fraud"], route_class=SegmentRoute)


@router.get("/fraud/transactions/{id}/explanation")
def explanation(masthead: Product, id: str, space: Space = "live") -> Json:
    """Return why a transaction was decided so: reasons, and paths to frauds confirmed then; the same at any time."""
    return masthead.fraud.explanation(id, space=space)


@router.get("/fraud/transactions/{id}/graph")
def graph(masthead: Product, id: str, space: Space = "live") -> Json:
    """Return the graph around a transaction as of its decision: nodes with their labels, and edges."""
    return masthead.fraud.graph(id, space=space)


@router.get("/fraud/transactions/{id}/reproduction")
def reproduction(
    masthead: Product,
    id: str,
    endpoint: Annotated[str, Query(description="Which deployment's; absent: the one that decided.")] = "",
    space: Space = "live",
) -> Json:
    """Return a decision as it is stored, as it is made again from what was kept, and whether they are equal."""
    return masthead.fraud.reproduction(id, space=space, alias=endpoint)


@router.get("/fraud/rings")
def rings(masthead: Product, limit: Limit = 100, space: Space = "live") -> Json:
    """List the largest rings of the 30 days before the latest transaction."""
    return {"items": masthead.fraud.rings(space=space, limit=limit), "next_token": None}


@router.get("/fraud/outcomes")
def outcomes(masthead: Product, start: Start = None, end: End = None, space: Space = "live") -> Json:
    """Return counts, precision and recall of the decisions of a window whose outcome is known: of `all`, and of the
    `released` sample, of which nothing was reviewed and everything is mature."""
    after, before = read_window(start, end)
    return masthead.fraud.outcomes(space=space, start=after, end=before)
