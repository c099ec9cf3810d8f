"""What the data look like under a specification: columns, sample rows, gaps, and every finding with what to do.

Nothing is changed and nothing is learned. At most `LOOKED_AT` rows of a source are judged.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Literal

import numpy as np

from masthead.base.clock import Clock, utc
from masthead.base.errors import InvalidInput, MastheadError
from masthead.metrics.columns import numbers_of, texts_of
from masthead.metrics.cubes import Limits
from masthead.metrics.detection import cube_of
from masthead.metrics.files import Source, load
from masthead.metrics.groups import learning_points
from masthead.metrics.intake import selection_of
from masthead.metrics.intervals import interval_starts
from masthead.metrics.problems import Problems
from masthead.metrics.quality import DataQuality, describe, measure_quality
from masthead.metrics.raw import Format, Wanted
from masthead.metrics.readers import Rows, read_rows
from masthead.metrics.sources import open_sources
from masthead.metrics.spec import DetectorSpec
from masthead.metrics.timestamps import fitting
from masthead.store.objects import Objects

__all__ = ["Finding", "Validation", "validate"]

LOOKED_AT = 10_000
SAMPLE_ROWS = 20
_TEMPLATE_OBJECTS = 20
_KIND_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know. `level`: error blocks activation, warning asks for a decision, note only tells."""

    level: Literal["error", "warning", "note"]
    field: str
    text: str


@dataclass(frozen=True, slots=True)
class Validation:
    """What was found.

    Attributes:
        valid: Nothing blocks activation.
        findings: Errors first.
        columns: `{"name", "kind"}`; kind is time, measure, dimension, number or text.
        sample: Up to 20 rows as they were understood.
        quality: Of source and history, as far as there is one: part -> counts, see `DataQuality`.
        series: How many series these rows make.
        enough_at: When the detector will have learned enough for full confidence, ISO 8601; None = it has at once.
    """

    valid: bool
    findings: tuple[Finding, ...]
    columns: tuple[dict[str, str], ...] = ()
    sample: tuple[dict[str, Any], ...] = ()
    quality: dict[str, Any] = field(default_factory=dict)
    series: int = 0
    enough_at: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the validation as JSON values."""
        return asdict(self)

    def require_valid(self) -> None:
        """Refuse what is not valid.

        Raises:
            InvalidInput: With the first error's text and field.
        """
        for finding in self.findings:
            if finding.level == "error":
                raise InvalidInput(finding.text, field=finding.field)


def validate(spec: DetectorSpec, objects: Objects, clock: Clock) -> Validation:
    """Return what the data look like under `spec`.

    Raises:
        InvalidInput: The specification is not complete.
    """
    spec.require_complete()
    look = _Look(spec, objects)
    parts: dict[str, Rows] = {}
    inherited: tuple[str, ...] = ()
    if spec.history is not None:
        rows = look.part("history", spec.history.paths, spec.history.format)
        if rows is not None:
            parts["history"], inherited = rows, rows.names
    assert spec.source is not None
    if spec.source.kind == "files":
        rows = look.part("source", spec.source.paths, spec.source.format, inherited)
        if rows is not None:
            parts["source"] = rows
    elif spec.source.kind == "path":
        rows = look.template(inherited)
        if rows is not None:
            parts["source"] = rows
    elif spec.history is None:
        look.tell(
            "note", "source", "a stream has no rows to look at; refused records will be counted with reasons"
        )
    shown = parts.get("source") or parts.get("history")
    series = look.series(shown) if shown is not None else 0
    learned = look.quality["history"].intervals_present if "history" in look.quality else 0
    return Validation(
        valid=not any(finding.level == "error" for finding in look.findings),
        findings=tuple(sorted(look.findings, key=lambda one: ("error", "warning", "note").index(one.level))),
        columns=tuple(look.columns),
        sample=_sample(shown) if shown is not None else (),
        quality={name: one.to_json() for name, one in look.quality.items()},
        series=series,
        enough_at=_enough(spec, learned, clock),
    )


class _Look:
    """Collects what is found about a specification's data."""

    def __init__(self, spec: DetectorSpec, objects: Objects) -> None:
        self.spec, self.objects = spec, objects
        self.findings: list[Finding] = []
        self.quality: dict[str, DataQuality] = {}
        self.columns: list[dict[str, str]] = []

    def tell(self, level: Literal["error", "warning", "note"], field: str, text: str) -> None:
        self.findings.append(Finding(level, field, text))

    def part(
        self, name: str, paths: Sequence[str], format: Format, inherited: tuple[str, ...] = ()
    ) -> Rows | None:
        """Read the files of a part; None, with the reason among the findings, when they cannot be used."""
        try:
            sources = open_sources(paths, self.objects, f"{name}.paths")
        except MastheadError as error:
            self.tell("error", f"{name}.paths", error.message)
            return None
        return self.read(name, sources, format, inherited)

    def template(self, inherited: tuple[str, ...]) -> Rows | None:
        """Read the latest objects below the fixed part of the template, as a sample."""
        assert self.spec.source is not None
        prefix = self.spec.source.template.split("{{")[0]
        try:
            infos = sorted(self.objects.list(prefix), key=lambda info: info.modified)[-_TEMPLATE_OBJECTS:]
            sources = [Source(info.uri, self.objects.get(info.uri)) for info in infos]
        except MastheadError as error:
            self.tell("error", "source.template", error.message)
            return None
        if not sources:
            self.tell(
                "warning",
                "source.template",
                f"nothing lies below {prefix} yet; check the bucket and the path",
            )
            return None
        return self.read("source", sources, self.spec.source.format, inherited)

    def read(
        self, name: str, sources: Sequence[Source], format: Format, inherited: tuple[str, ...]
    ) -> Rows | None:
        spec, problems = self.spec, Problems()
        self.columns = self._columns(sources[0], format, inherited) or self.columns
        try:
            rows = read_rows(sources, selection_of(spec), format, problems=problems, inherited=inherited)
        except MastheadError as error:
            self.tell("error", error.field or name, error.message)
            self._advise(sources[0], format, inherited)
            return None
        if len(rows) > LOOKED_AT:
            rows = rows.take(np.arange(LOOKED_AT))
        quality = measure_quality(rows, problems, interval_s=spec.interval_s, zone=spec.zone)
        self.quality[name] = quality
        for line in describe(quality):
            self.tell("note", name, line)
        if quality.duplicates and not spec.drops_duplicates:
            self.tell(
                "warning",
                "dedupe",
                f'{quality.duplicates:,} rows repeat another; dedupe = "exact" drops them',
            )
        for column, missing in quality.missing.items():
            if missing == len(rows):
                self.tell("error", column, f"{column}: expected numbers, got none in {len(rows):,} rows")
        return rows

    def _advise(self, source: Source, format: Format, inherited: tuple[str, ...]) -> None:
        """Say which time format would fit, if that is what is wrong."""
        spec = self.spec
        wanted = Wanted(frozenset({spec.time.column}), spec.time.column, inherited)
        raw = load(source, format, wanted, Problems())
        if raw is None or spec.time.column not in raw.columns:
            return
        texts = [text for text in texts_of(raw.columns[spec.time.column])[:LOOKED_AT] if text]
        found = fitting(texts, spec.zone)
        if not texts or not spec.time.format or spec.time.format in found:
            return
        best = next(iter(found.items()), None)
        advice = f"; {best[0]} matches {'all' if best[1] == len(texts) else f'{best[1]:,}'}" if best else ""
        self.tell(
            "error",
            "time.format",
            f"{spec.time.column}: 0 of {len(texts):,} rows match {spec.time.format}{advice}",
        )

    def _columns(self, source: Source, format: Format, inherited: tuple[str, ...]) -> list[dict[str, str]]:
        try:
            raw = load(source, format, Wanted(None, self.spec.time.column, inherited), Problems())
        except MastheadError:
            return []
        if raw is None:
            return []
        roles = dict.fromkeys(selection_of(self.spec).numbers, "measure")
        roles |= dict.fromkeys(self.spec.dimensions, "dimension") | {self.spec.time.column: "time"}
        return [{"name": name, "kind": roles.get(name) or _kind(raw.columns[name])} for name in raw.names]

    def series(self, rows: Rows) -> int:
        """Return how many series rows make; beyond the bound a finding says so."""
        try:
            return len(cube_of(self.spec).keys_after(rows, np.zeros(len(rows), np.int64)))
        except MastheadError as error:
            self.tell("error", error.field or "dimensions", error.message)
            return Limits().series


def _kind(column: Any) -> str:
    values, bad = numbers_of(column[:_KIND_ROWS])
    return "number" if not bad and not np.isnan(values).all() else "text"


def _sample(rows: Rows) -> tuple[dict[str, Any], ...]:
    few = rows.take(np.arange(min(SAMPLE_ROWS, len(rows))))
    labels = {name: column.texts() for name, column in few.labels.items()}
    return tuple(
        {
            "time": utc(float(few.times[row])).isoformat(),
            **{name: texts[row] for name, texts in labels.items()},
            **{
                name: None if np.isnan(values[row]) else float(values[row])
                for name, values in few.numbers.items()
            },
        }
        for row in range(len(few))
    )


def _enough(spec: DetectorSpec, learned: int, clock: Clock) -> str | None:
    full = learning_points(spec.interval_s)[1]
    if learned >= full or not spec.interval_s or spec.mode == "backtest":
        return None
    start = interval_starts(np.array([clock.time()]), spec.interval_s, spec.zone)[0]
    return (utc(float(start)) + timedelta(seconds=(full - learned + 1) * spec.interval_s)).isoformat()
