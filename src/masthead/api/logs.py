"""`/logs`: the bounded log of each job, stream, detector and endpoint."""

from typing import Annotated

from fastapi import APIRouter, Query

from masthead.api.factory import Product
from masthead.api.shapes import Json
from masthead.base.errors import InvalidInput, shown
from masthead.base.log import JOURNAL_KINDS
from masthead.base.pages import check_limit

router = APIRouter(tags=["logs"])


@router.get("/logs/{kind}")
def list_logs(masthead: Product, kind: str) -> Json:
    """List the names that have a log of this kind."""
    return {"items": masthead.journal.names(_known(kind)), "next_token": None}


@router.get("/logs/{kind}/{name}")
def read_log(
    masthead: Product, kind: str, name: str, limit: Annotated[int, Query(description="Lines.")] = 200
) -> Json:
    """Return the last lines of one log, oldest first."""
    lines = masthead.journal.read(_known(kind), name, limit=check_limit(limit))
    return {"items": lines, "next_token": None}


def _known(kind: str) -> str:
    if kind not in JOURNAL_KINDS:
        raise InvalidInput(f"kind: expected one of {', '.join(JOURNAL_KINDS)}, got {shown(kind)}")
    return kind
