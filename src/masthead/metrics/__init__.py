"""Metrics: from readings to anomalies grouped by cause."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from masthead.metrics.scorer import SeriesScorer

__all__ = ["SeriesScorer"]


def __getattr__(name: str) -> Any:
    """Load a public name at its first use: the room alone must cost nothing."""
    if name == "SeriesScorer":
        from masthead.metrics.scorer import SeriesScorer

        return SeriesScorer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
