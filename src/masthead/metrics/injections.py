"""Planted anomalies: what to do to which readings, and the record of what was done.

SO2:spike:+60@23:30/2            two intervals from the first 23:30 on, 60 higher
CO[B-101]:level:x1.5@+400/24     station B-101, 24 intervals from the 400th on, half as much again
*[B-101]:silence@2022-03-24T10:00/6   nothing at all from that station for six intervals
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from masthead.base.errors import InvalidInput, shown

__all__ = ["KINDS", "SIZELESS", "Injection", "Injector", "Truth", "parse_injection"]

KINDS = ("spike", "shock", "dip", "level", "drift", "flatline", "silence")
SIZELESS = ("flatline", "silence")
EVERY_MEASURE = "*"

_FORM = re.compile(
    r"(?P<measure>[^:\[\]@]+)(?:\[(?P<value>[^\]]*)\])?:(?P<kind>[a-z]+)(?::(?P<size>[^@]+))?"
    r"@(?P<when>.+?)(?:/(?P<length>[^/]*))?"
)
_SIZE = re.compile(r"[+-]?\d+(\.\d+)?|x\d+(\.\d+)?")
_WHEN = re.compile(r"\+\d+|\d{1,2}:\d{2}|\d{4}-\d{2}-\d{2}T\d{2}:\d{2}")


@dataclass(frozen=True, slots=True)
class Injection:
    """One planted anomaly.

    Attributes:
        measure: Its name; `*` (silence only) = the whole reading.
        kind: One of `KINDS`. `spike`, `dip` and `level` move by `size`; `shock` falls back from it; `drift`
            grows to it; `flatline` repeats the first value; `silence` leaves the reading out.
        size: `+60`, `-60` or `x1.5`; empty for flatline and silence.
        when: `HH:MM` (the first such time), `+N` (the Nth interval, from 0) or `yyyy-MM-ddTHH:mm`.
        length: How many intervals; 1 or more.
        value: Only readings that hold this dimension value; empty = all.
    """

    measure: str
    kind: str
    size: str
    when: str
    length: int
    value: str = ""

    def start_s(self, first_s: float, interval_s: float, zone: tzinfo) -> float:
        """Return when it begins, for data whose first interval starts at `first_s`; times are in `zone`."""
        if self.when.startswith("+"):
            return first_s + int(self.when[1:]) * interval_s
        if "T" in self.when:
            return datetime.fromisoformat(self.when).replace(tzinfo=zone).timestamp()
        first = datetime.fromtimestamp(first_s, zone)
        hour, minute = map(int, self.when.split(":"))
        at = first.replace(hour=hour, minute=minute, second=0, microsecond=0)
        return (at if at >= first else at + timedelta(days=1)).timestamp()

    def moved(self, value: float, step: int) -> float:
        """Return the value of interval `step` (from 0) as moved."""
        part = 1.0
        if self.kind == "shock":
            part = math.exp(-3.0 * step / self.length)
        elif self.kind == "drift":
            part = (step + 1) / self.length
        if self.size.startswith("x"):
            return value * (1 + (float(self.size[1:]) - 1) * part)
        size = float(self.size)
        return value + (-abs(size) if self.kind == "dip" else size) * part


def parse_injection(text: str) -> Injection:
    """Return the anomaly that `MEASURE[VALUE]:KIND:SIZE@WHEN/LENGTH` says; VALUE, SIZE and LENGTH may lack.

    Raises:
        InvalidInput: The text has another form; the message says which part.

    >>> parse_injection("SO2:spike:+60@23:30/2")
    Injection(measure='SO2', kind='spike', size='+60', when='23:30', length=2, value='')
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise InvalidInput(f"inject: expected MEASURE:KIND:SIZE@WHEN/LENGTH, got {shown(text)}")
    kind, size, when = match["kind"], match["size"] or "", match["when"]
    if kind not in KINDS:
        raise InvalidInput(f"inject: expected a kind of {', '.join(KINDS)}, got {shown(kind)}")
    if kind in SIZELESS and size:
        raise InvalidInput(f"inject: expected no size for {kind}, got {shown(size)}")
    if kind not in SIZELESS and not _SIZE.fullmatch(size):
        raise InvalidInput(f"inject: expected a size such as +60, -5 or x1.5, got {shown(size)}")
    if not _WHEN.fullmatch(when) or not _is_time(when):
        raise InvalidInput(f"inject: expected HH:MM, +N or yyyy-MM-ddTHH:mm, got {shown(when)}")
    length = match["length"] if match["length"] is not None else "1"
    if not re.fullmatch(r"[1-9]\d{0,5}", length):
        raise InvalidInput(f"inject: expected a length of 1 to 999999 intervals, got {shown(length)}")
    if match["measure"] == EVERY_MEASURE and kind != "silence":
        raise InvalidInput(f"inject: expected one measure for {kind}, got '*'")
    return Injection(match["measure"], kind, size, when, int(length), match["value"] or "")


def _is_time(when: str) -> bool:
    if when.startswith("+"):
        return len(when) <= 8
    try:
        datetime.fromisoformat(when if "T" in when else f"2000-01-01T{when:0>5}")
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Truth:
    """What was really done to one series: `end_s` is the start of the last interval touched."""

    measure: str
    dimensions: dict[str, str]
    kind: str
    size: str
    start_s: float
    end_s: float

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values; times are ISO 8601 in UTC."""
        times = {
            name: datetime.fromtimestamp(at, UTC).isoformat()
            for name, at in (("start", self.start_s), ("end", self.end_s))
        }
        kept = {name: value for name, value in asdict(self).items() if not name.endswith("_s")}
        return {"series": self.series} | kept | times

    @property
    def series(self) -> str:
        """Return the series in words: `SO2 LOCATION_ID=B-101`."""
        return " ".join([self.measure, *(f"{name}={value}" for name, value in self.dimensions.items())])


@dataclass(slots=True)
class Injector:
    """Applies injections to readings in time order and remembers what it did.

    Attributes:
        first_s: Start of the first interval; the injections' times are counted from it.
        dimensions: Columns that tell the series of one measure apart.
    """

    injections: Sequence[Injection]
    interval_s: float
    first_s: float
    dimensions: Sequence[str]
    measures: Sequence[str]
    zone: tzinfo = UTC
    _done: dict[tuple[int, str, tuple[str, ...]], Truth] = field(default_factory=dict)
    _held: dict[tuple[int, tuple[str, ...]], Any] = field(default_factory=dict)
    _starts: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        unknown = {one.measure for one in self.injections} - {*self.measures, EVERY_MEASURE}
        if unknown:
            raise InvalidInput(
                f"inject: expected a measure of {', '.join(self.measures)}, got {shown(min(unknown))}"
            )
        self._starts = [one.start_s(self.first_s, self.interval_s, self.zone) for one in self.injections]

    def apply(self, time_s: float, row: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the row as changed, or None when it is left out."""
        changed, key = dict(row), tuple(str(row.get(name, "")) for name in self.dimensions)
        for place, (one, start_s) in enumerate(zip(self.injections, self._starts, strict=True)):
            step = math.floor((time_s - start_s) / self.interval_s)
            if not 0 <= step < one.length or (one.value and one.value not in key):
                continue
            if one.measure == EVERY_MEASURE:
                self._remember(place, one, self.measures, key, time_s)
                return None
            value = _number(changed.get(one.measure))
            if value is None:
                continue
            self._remember(place, one, [one.measure], key, time_s)
            if one.kind == "silence":
                del changed[one.measure]
            elif one.kind == "flatline":
                changed[one.measure] = self._held.setdefault((place, key), value)
            else:
                changed[one.measure] = round(one.moved(value, step), 6)
        return changed

    def truth(self) -> list[Truth]:
        """Return what was done so far, by start."""
        return sorted(self._done.values(), key=lambda t: (t.start_s, t.measure, sorted(t.dimensions.items())))

    def _remember(
        self, place: int, one: Injection, measures: Iterable[str], key: tuple[str, ...], time_s: float
    ) -> None:
        at = math.floor((time_s - self.first_s) / self.interval_s) * self.interval_s + self.first_s
        for measure in measures:
            before = self._done.get((place, measure, key))
            self._done[(place, measure, key)] = Truth(
                measure=measure,
                dimensions=dict(zip(self.dimensions, key, strict=True)),
                kind=one.kind,
                size=one.size,
                start_s=before.start_s if before else at,
                end_s=at,
            )


def _number(value: object) -> float | None:
    """Return the value as a number; None when it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
