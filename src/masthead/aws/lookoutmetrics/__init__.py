"""Lookout for Metrics over detectors, groups and alert rules: thirty operations, one module for each noun."""

from masthead.aws.lookoutmetrics import (
    alerts,
    anomalies,
    detectors,
    feedback,
    metric_sets,
    quality,
    sampling,
    tags,
)
from masthead.aws.operations import Operations

__all__ = ["OPERATIONS"]

OPERATIONS = Operations("lookoutmetrics")
for _noun in (detectors, metric_sets, sampling, quality, anomalies, feedback, alerts, tags):
    OPERATIONS.update(_noun.OPERATIONS)
