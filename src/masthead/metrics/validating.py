"""The look at a detector's data before it is activated: its history and its source, each by `validation`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from masthead.base.errors import InvalidInput, MastheadError, nearest
from masthead.metrics.feeds import SAMPLE_S, Feed, feeding
from masthead.metrics.intervals import interval_start, interval_starts
from masthead.metrics.raw import Format
from masthead.metrics.readers import Rows
from masthead.metrics.sources import fixed_part, open_sources, sampled_sources
from masthead.metrics.spec import DetectorSpec
from masthead.metrics.timestamps import folder_for
from masthead.metrics.validation import Expectation, Finding, Validation, validate_files
from masthead.store.objects import Objects

__all__ = ["validate"]

_DAY_S, _MINUTE_S = 86_400, 60


def validate(
    spec: DetectorSpec,
    objects: Objects,
    feeds: Sequence[Feed] = (),
    rules: Mapping[str, bool] | None = None,
) -> Validation:
    """Return what the data look like under `spec`; what it leaves open (time, measures) is guessed from them.

    Columns, sample and counts are those of the source where it has files, else of the history.

    Args:
        feeds: The delivery streams there are: those that fill the folders of a template are judged, too.
        rules: Topic rule -> whether it is enabled; None: not known here.
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
    try:
        spec.source.check()  # it may have been stored before there was a check
        spec.require_fit()
    except InvalidInput as error:
        return _joined(_bare(expected, "error", error.field or "source", error.message), past)
    if spec.source.kind == "stream":
        text = "a stream has no rows to look at yet; what cannot be used will be counted with its reason"
        found = past or _bare(expected, "info", "source", text)
        return _joined(replace(found, findings=(*_selected(spec.source.rule, rules), *found.findings)), None)
    names = tuple(column.name for column in past.columns) if past is not None else ()
    if spec.source.kind == "files":
        found = _look(spec.source.paths, spec.source.format, expected, objects, "source.paths", names)
    else:
        found = _template(spec, expected, objects, names)
        found = replace(found, findings=(*_fed(spec, feeds), *found.findings))
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
        sources = sampled_sources(spec.source, objects)
    except MastheadError as error:
        return _bare(expected, "error", "source.template", error.message)
    if not sources:
        level: Literal["error", "warning"] = "warning"
        text = f"nothing lies below {prefix} yet"
        if spec.mode == "backtest":  # which waits for nothing
            level, text = "error", f"nothing lies below {prefix}, so there is nothing to score"
        return _bare(expected, level, "source.template", text, "check the bucket and the path")
    return validate_files(
        sources,
        expected,
        spec.source.format,
        inherited=inherited,
        judge=lambda rows: _misplaced(rows, spec) if spec.mode == "continuous" else (),
    )


def _selected(rule: str, rules: Mapping[str, bool] | None) -> list[Finding]:
    """Return why nothing comes from a rule as long as it stays so; it may be made or enabled later."""
    if not rule or rules is None or rules.get(rule):
        return []
    if rule in rules:
        text = f"the rule {rule} is disabled: nothing comes from it"
        return [Finding("warning", "source.rule", text, f"enable the rule {rule}")]
    near = nearest(rule, rules)
    action = "create it" + (f", or name one that exists, such as {near}" if near else "")
    return [Finding("warning", "source.rule", f"there is no rule {rule}: nothing comes from it", action)]


def _fed(spec: DetectorSpec, feeds: Sequence[Feed]) -> list[Finding]:
    """Return what is to be said of the streams that fill the folders; a backtest opens all of these anyway."""
    return [_judged(feed, spec) for feed in feeding(spec, feeds)] if spec.mode == "continuous" else []


def _judged(feed: Feed, spec: DetectorSpec) -> Finding:
    """Return how many of a day's readings a stream puts where the detector looks, and what to do about the others."""
    assert spec.source is not None
    hits = 0
    for at in range(SAMPLE_S, SAMPLE_S + _DAY_S, _MINUTE_S):
        wanted = folder_for(
            spec.source.template.rstrip("/"), interval_start(at, spec.interval_s, spec.zone), spec.zone
        )
        found = feed.folder_at(at if feed.start_of is None else feed.start_of(at))
        hits += f"{found}/".startswith(f"{wanted}/")
    minutes = _DAY_S // _MINUTE_S
    share = f"{hits:,} of the {minutes:,} minutes of a day have their records in the folder that is read"
    if feed.start_of is None:
        message = (
            f"delivery stream {feed.name} names folders after the minute in which records arrive, not in which "
            f"they happened: at best {share}"
        )
        action = (
            f'set event_time = {{ column = "{spec.time.column}", format = "{spec.time.format or "..."}", '
            f'zone = "{spec.zone}", interval = "{spec.interval}" }} on the delivery stream {feed.name}, '
            'or give the detector the topic or rule itself (source.kind = "stream")'
        )
        return Finding("warning", "source.template", message, action)
    if hits < minutes:
        message = (
            f"delivery stream {feed.name} has a folder each {feed.interval_s:,} s in {feed.zone}, "
            f"the detector opens one each {spec.interval_s:,} s in {spec.zone}: {share}"
        )
        action = f'set interval = "{spec.interval}" and zone = "{spec.zone}" in both'
        return Finding("warning", "source.template", message, action)
    message = f"delivery stream {feed.name} fills these folders by event time and tells when an interval is complete"
    return Finding("info", "source.template", message)


def _misplaced(rows: Rows, spec: DetectorSpec) -> Sequence[Finding]:
    """Say how many rows lie in another folder than that of their interval: nobody will look for them there."""
    assert spec.source is not None
    starts = interval_starts(rows.times, spec.interval_s, spec.zone)
    astray, example = 0, ""
    for file, start in sorted({*zip(rows.file.tolist(), starts.tolist(), strict=True)}):
        folder = folder_for(spec.source.template.rstrip("/"), start, spec.zone)
        if not rows.files[file].startswith(f"{folder}/"):
            astray += int(((rows.file == file) & (starts == start)).sum())
            example = example or f"{rows.files[file]} holds rows that are looked for in {folder}/"
    if not astray:
        return ()
    message = (
        f"{astray:,} of {len(rows):,} rows lie in another folder than that of their interval, "
        f"where they are late or never read: {example}"
    )
    action = (
        "let who writes the folders name them after the interval in which a record happened "
        "(a delivery stream does with event_time)"
    )
    return (Finding("warning", "source.template", message, action),)


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
