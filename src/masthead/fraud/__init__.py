"""Transactions on their graph: from events to a score in real time, with reasons and feedback."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from masthead.fraud.data.schema import Schema
    from masthead.fraud.live.graph_store import GraphStore
    from masthead.fraud.scoring.model import FraudModel

__all__ = ["FraudModel", "GraphStore", "Schema"]


def __getattr__(name: str) -> Any:
    # Compilers and readers of tables load when somebody asks for a model, not with the room.
    if name == "FraudModel":
        from masthead.fraud.scoring.model import FraudModel

        return FraudModel
    if name == "GraphStore":
        from masthead.fraud.live.graph_store import GraphStore

        return GraphStore
    if name == "Schema":
        from masthead.fraud.data.schema import Schema

        return Schema
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
