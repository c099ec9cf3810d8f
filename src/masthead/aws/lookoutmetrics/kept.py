"""What is kept beside a resource because our own records have no place for it: ARNs, a set's name, how it was described."""

from collections.abc import Mapping
from typing import Any

from masthead.aws.operations import Call
from masthead.metrics.records import Detector
from masthead.store.notes import check_tag

__all__ = ["check_tags", "forget", "keep", "note_of", "set_name", "set_note"]


def check_tags(call: Call) -> None:
    """Refuse tags that could not be kept, before anything is made.

    Raises:
        InvalidInput: A name or value is outside its domain.
    """
    for name, value in call.input.get("Tags", {}).items():
        check_tag(name, value)


def keep(call: Call, resource: tuple[str, Any], note: Mapping[str, Any]) -> None:
    """Keep a note of a resource that was just made or changed, and the tags of the input."""
    call.masthead.notes.keep_note(*resource, note)
    keep_tags(call, resource)


def keep_tags(call: Call, resource: tuple[str, Any]) -> None:
    """Keep the tags of the input, if it has any."""
    if tags := call.input.get("Tags"):
        call.masthead.notes.tag(*resource, tags)


def note_of(call: Call, found: Detector) -> dict[str, Any]:
    """Return what was kept about a detector: `arn`, `KmsKeyArn`, `set`."""
    return call.masthead.notes.note(f"detector:{found.name}", found.created)


def set_note(call: Call, found: Detector) -> dict[str, Any]:
    """Return what was kept about a detector's data set: its name, how it was described, when it was made and changed."""
    return dict(note_of(call, found).get("set", {}))


def set_name(call: Call, found: Detector) -> str:
    """Return the name of a detector's data set; one that another face made is called as the detector is."""
    return str(set_note(call, found).get("MetricSetName", found.name))


def forget(call: Call, *resources: str) -> None:
    """Remove tags and notes of resources that are no more."""
    for resource in resources:
        call.masthead.notes.forget(resource)
