"""Tags of detectors, metric sets and alerts."""

from datetime import datetime
from typing import Any

from masthead.aws.lookoutmetrics.kept import set_name
from masthead.aws.lookoutmetrics.names import its_resource, resource_names
from masthead.aws.operations import Call, Operations
from masthead.base.errors import NotFound

OPERATIONS = Operations("lookoutmetrics")


@OPERATIONS.serves("ListTagsForResource", resources=its_resource)
def list_tags_for_resource(call: Call) -> dict[str, Any]:
    """Return the tags of a resource."""
    return {"Tags": call.masthead.notes.tags(*_kept(call)) or None}


@OPERATIONS.serves("TagResource", resources=its_resource)
def tag_resource(call: Call) -> dict[str, Any]:
    """Add tags to a resource."""
    call.masthead.notes.tag(*_kept(call), call.input["Tags"])
    return {}


@OPERATIONS.serves("UntagResource", resources=its_resource)
def untag_resource(call: Call) -> dict[str, Any]:
    """Take tags away; one that is not there is no error."""
    call.masthead.notes.untag(*_kept(call), call.input["TagKeys"])
    return {}


def _kept(call: Call) -> tuple[str, datetime]:
    """Return under which name the tags of the resource are kept, and when it was born.

    Raises:
        NotFound: There is no such resource.
    """
    name, *data_set = resource_names(call)
    if data_set:
        detector = call.masthead.metrics.get_detector(name)
        if detector.spec.source is None or [set_name(call, detector)] != data_set:
            raise NotFound(f"ResourceArn: {name} has no metric set {data_set[0]}", field="ResourceArn")
    return call.masthead.kept_under(call.input["ResourceArn"])
