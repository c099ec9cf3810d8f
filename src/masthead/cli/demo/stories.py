"""The two stories told with published readings: one station every five minutes, four stations every hour.

Both are moved by whole intervals, so that their first live reading is of now; what came before moves with them.
"""

import csv
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from masthead.metrics.simulate import SimulatedReading, replay
from masthead.metrics.timestamps import compile_pattern
from masthead.metrics.zones import zone_of

_FORMAT = "yyyy-MM-dd HH:mm"
ARTICLE_SEVERITY = 93
"""The severity of the anomaly that the AWS article shows."""


@dataclass(frozen=True, slots=True)
class Expected:
    """An anomaly that is known to be in the data; `start` and `end` as they stand in the file."""

    measure: str
    start: str
    end: str
    what: str


@dataclass(frozen=True, slots=True)
class Story:
    """One detector and what its things send.

    Attributes:
        interval_s: Length of an interval, seconds.
        shift_s: What was added to every stamp.
        readings: The live ones, in time order.
        history: The earlier rows, as JSON lines.
        thing: Name of the column that names the sending thing.
        topic: Last level of the topic: `sensors/<thing>/<topic>`.
        planted: Must be found. known: Is in the data, by nature.
    """

    name: str
    interval_s: int
    zone: str
    time: str
    thing: str
    topic: str
    measures: tuple[str, ...]
    shift_s: float
    readings: list[SimulatedReading]
    history: bytes
    planted: tuple[Expected, ...] = ()
    known: tuple[Expected, ...] = ()

    @property
    def things(self) -> list[str]:
        """Return the names of the things that send."""
        return sorted({reading.row[self.thing] for reading in self.readings})

    @property
    def end_s(self) -> float:
        """Return the end of the last live interval, epoch seconds."""
        last = self.readings[-1].time_s
        return math.floor(last / self.interval_s) * self.interval_s + self.interval_s

    def topic_of(self, row: Mapping[str, Any]) -> str:
        """Return where a reading is published."""
        return f"sensors/{row[self.thing]}/{self.topic}"

    def original(self, moment: datetime | str) -> str:
        """Return a moment of the demonstration as the file has it: `2022-03-24 23:30`."""
        found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        local = datetime.fromtimestamp(found.timestamp() - self.shift_s, UTC).astimezone(zone_of(self.zone))
        return f"{local:%Y-%m-%d %H:%M}"

    def detector(self, history: Path, source: Mapping[str, Any]) -> dict[str, Any]:
        """Return the detector's specification."""
        return {
            "name": self.name,
            "interval": f"{self.interval_s}s",
            "zone": self.zone,
            "dimensions": [self.thing],
            "time": {"column": self.time, "format": _FORMAT},
            "measures": list(self.measures),
            "source": {"kind": "stream", **source},
            "history": {"paths": [str(history)]},
        }


def air(now_s: float) -> Story:
    """Return the air-quality article's story, moved to begin at `now_s`."""
    folder = files("masthead") / "samples" / "air"
    names = ("TIMESTAMP", "LOCATION_ID", "CO", "SO2", "NO2")
    live = csv.DictReader(_lines(folder / "live_data_sample.csv"), fieldnames=names)
    past = [json.loads(line) for line in _lines(folder / "historic_data.json") if line.strip()]
    return _story(
        now_s,
        map(_numbers, live),
        past,
        name="air",
        interval_s=300,
        zone="UTC",
        time="TIMESTAMP",
        thing="LOCATION_ID",
        topic="air",
        measures=("CO", "SO2", "NO2"),
        planted=(
            Expected("SO2", "2022-03-24 23:30", "2022-03-24 23:35", "SO2 120 and 125, planted"),
            Expected("CO", "2022-03-24 23:45", "2022-03-24 23:50", "CO 4.8 and 5.0, planted"),
        ),
    )


def stations(now_s: float) -> Story:
    """Return the story of Beijing's air in the New Year's night of 2017, moved to begin at `now_s`."""
    folder = files("masthead") / "samples" / "stations"
    live = csv.DictReader(_lines(folder / "live_data.csv"))
    past = csv.DictReader(_lines(folder / "historic_data.csv"))
    return _story(
        now_s,
        map(_numbers, live),
        map(_numbers, past),
        name="stations",
        interval_s=3600,
        zone="Asia/Shanghai",
        time="timestamp",
        thing="station",
        topic="hourly",
        measures=("PM25", "SO2", "NO2", "CO"),
        known=(Expected("SO2", "2017-01-28 01:00", "2017-01-28 01:00", "the New Year's fireworks"),),
    )


def _story(
    now_s: float, live: Iterable[dict[str, Any]], past: Iterable[dict[str, Any]], **more: Any
) -> Story:
    times = compile_pattern(_FORMAT, more["zone"])
    rows, column, interval_s = list(live), more["time"], more["interval_s"]
    readings, _ = replay(rows, time_column=column, times=times, interval_s=interval_s, shift_to_s=now_s)
    first_s = min(times.parse(row[column]) for row in rows)
    shift_s = readings[0].time_s - first_s
    lines = [json.dumps(row | {column: times.format(times.parse(row[column]) + shift_s)}) for row in past]
    return Story(shift_s=shift_s, readings=readings, history=("\n".join(lines) + "\n").encode(), **more)


def _lines(path: Any) -> list[str]:
    lines: list[str] = path.read_text(encoding="utf-8-sig").splitlines()
    return lines


def _numbers(row: Mapping[str, str]) -> dict[str, Any]:
    """Return a row of a CSV file with its numbers as numbers; an empty cell is left out."""
    return {name: _number(cell) for name, cell in row.items() if cell not in ("", "NA")}


def _number(cell: str) -> Any:
    convert: Callable[[str], Any]
    for convert in (int, float):
        try:
            return convert(cell)
        except ValueError:
            continue
    return cell
