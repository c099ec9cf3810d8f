"""The look at a detector's data before it is activated: its history and its source, each by `validation`."""

from dataclasses import replace
from typing import Literal

from masthead.base.errors import MastheadError
from masthead.metrics.files import Source
from masthead.metrics.raw import Format
from masthead.metrics.sources import fixed_part, open_sources
from masthead.metrics.spec import DetectorSpec
from masthead.metrics.validation import Expectation, Finding, Validation, validate_files
from masthead.store.objects import Objects

__all__ = ["validate"]

_TEMPLATE_OBJECTS = 20


def validate(spec: DetectorSpec, objects: Objects) -> Validation:
    """Return what the data look like under `spec`; what it leaves open (time, measures) is guessed from them.

    Columns, sample and counts are those of the source where it has files, else of the history.
    """
    expected = Expectation(
        time=spec.time.column,
        time_format=spec.time.format,
        zone=spec.zone,
        measures=spec.measures,
        dimensions=spec.dimensions,
        interval_s=spec.interval_s,
        filters=spec.filters,
    )
    past = None
    if spec.history is not None:
        past = _look(spec.history.paths, spec.history.format, expected, objects, "history.paths", ())
    if spec.source is None:
        return _joined(
            _bare(expected, "error", "source", "source: expected where the rows come from, got none"), past
        )
    if spec.source.kind == "stream":
        text = "a stream has no rows to look at yet; what cannot be used will be counted with its reason"
        return _joined(past or _bare(expected, "info", "source", text), None)
    names = tuple(column.name for column in past.columns) if past is not None else ()
    if spec.source.kind == "files":
        found = _look(spec.source.paths, spec.source.format, expected, objects, "source.paths", names)
    else:
        found = _template(spec, expected, objects, names)
    return _joined(found, past)


def _look(
    paths: tuple[str, ...],
    format: Format,
    expected: Expectation,
    objects: Objects,
    what: str,
    inherited: tuple[str, ...],
) -> Validation:
    try:
        sources = open_sources(paths, objects, what)
    except MastheadError as error:
        return _bare(expected, "error", what, error.message)
    return validate_files(sources, expected, format, inherited=inherited)


def _template(
    spec: DetectorSpec, expected: Expectation, objects: Objects, inherited: tuple[str, ...]
) -> Validation:
    """Look at the latest objects below the fixed part of the template, as a sample of what will come."""
    assert spec.source is not None
    prefix = fixed_part(spec.source.template)
    try:
        infos = sorted(objects.list(prefix), key=lambda info: info.modified)[-_TEMPLATE_OBJECTS:]
        sources = [Source(info.uri, objects.get(info.uri)) for info in infos]
    except MastheadError as error:
        return _bare(expected, "error", "source.template", error.message)
    if not sources:
        text = f"nothing lies below {prefix} yet"
        return _bare(expected, "warning", "source.template", text, "check the bucket and the path")
    return validate_files(sources, expected, spec.source.format, inherited=inherited)


def _bare(
    expected: Expectation, level: Literal["error", "warning", "info"], field: str, text: str, action: str = ""
) -> Validation:
    """Return the answer where there is nothing to read."""
    return Validation(level != "error", (), (), expected, None, (Finding(level, field, text, action),))


def _joined(found: Validation, past: Validation | None) -> Validation:
    """Return one answer for source and history, errors first."""
    findings = found.findings if past is None else (*found.findings, *past.findings)
    ranked = sorted(dict.fromkeys(findings), key=lambda one: ("error", "warning", "info").index(one.level))
    main = past if past is not None and found.quality is None and found.valid else found
    valid = found.valid and (past is None or past.valid)
    enough = past.enough_at if past is not None else found.enough_at
    return replace(main, valid=valid, findings=tuple(ranked), enough_at=enough)
