"""Readings for trying things out: stations that breathe like real ones, or a file played again.

Pure: both sources yield timed rows in time order, from arguments and a seed alone. Who sends them, and how
fast, is the caller's affair; `due_s` says when each is due at a speed.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput
from masthead.metrics.injections import SIZELESS, Injection, Injector

__all__ = ["AIR", "MeasureModel", "SimulatedReading", "Simulation", "due_s", "generate", "planted", "replay"]

DAY_S = 86_400


class TimeFormat(Protocol):
    """What reads and writes stamps; `masthead.metrics.timestamps.Parser` is one."""

    def parse(self, value: object, near_s: float | None = None) -> float:
        """Return UTC epoch seconds."""

    def format(self, time_s: float) -> str:
        """Return the stamp."""


@dataclass(frozen=True, slots=True)
class SimulatedReading:
    """One row and when it happens (UTC epoch seconds)."""

    time_s: float
    row: dict[str, Any]


@dataclass(frozen=True, slots=True)
class MeasureModel:
    """How one measure behaves; all in its own unit.

    Attributes:
        base: Its level. daily: Amplitude of the daily cycle. weekly: Loss on Saturday and Sunday.
        weather: Standard deviation of the part that all stations share. noise: Of the station's own part.
    """

    name: str
    base: float
    daily: float
    weekly: float
    weather: float
    noise: float


#: The article's three gases, with levels like its file's.
AIR = (
    MeasureModel("CO", base=2.5, daily=0.6, weekly=0.3, weather=0.25, noise=0.15),
    MeasureModel("SO2", base=62.0, daily=8.0, weekly=5.0, weather=4.0, noise=3.0),
    MeasureModel("NO2", base=60.0, daily=10.0, weekly=6.0, weather=5.0, noise=3.0),
)

# Weather changes over half a day, a sensor's own wandering within half an hour.
WEATHER_MEMORY_S = 6 * 3600.0
NOISE_MEMORY_S = 900.0


@dataclass(frozen=True, slots=True)
class Simulation:
    """What `generate` makes.

    Attributes:
        sensors: Number of stations, named S-001 on.
        start_s: Start of the first interval, UTC epoch seconds.
        intervals: How many.
        interval_s: Length of one, seconds.
        dropout: Chance that a reading is lost, in [0, 1).
        seed: The same seed gives the same readings.
        injections: Planted anomalies; times of day are in `zone`.
    """

    sensors: int
    start_s: float
    intervals: int
    interval_s: float = 300
    seed: int = 0
    dropout: float = 0.002
    measures: Sequence[MeasureModel] = AIR
    injections: Sequence[Injection] = ()
    zone: tzinfo = UTC
    time_column: str = "TIMESTAMP"
    station_column: str = "LOCATION_ID"

    def __post_init__(self) -> None:
        if not 1 <= self.sensors <= 100_000:
            raise InvalidInput(f"sensors: expected 1 to 100,000, got {self.sensors}")
        if self.intervals < 0:
            raise InvalidInput(f"intervals: expected 0 or more, got {self.intervals}")
        if not self.interval_s > 0:
            raise InvalidInput(f"interval_s: expected seconds above 0, got {self.interval_s}")
        if not 0 <= self.dropout < 1:
            raise InvalidInput(f"dropout: expected a share in [0, 1), got {self.dropout}")

    def injector(self) -> Injector:
        """Return what plants the anomalies; its `truth()` is complete once all readings were taken."""
        return Injector(
            injections=self.injections,
            interval_s=self.interval_s,
            first_s=self.start_s,
            dimensions=(self.station_column,),
            measures=[model.name for model in self.measures],
            zone=self.zone,
        )


def generate(
    simulation: Simulation, injector: Injector | None = None, times: TimeFormat | None = None
) -> Iterator[SimulatedReading]:
    """Yield one reading per station and interval, in time order.

    Args:
        simulation: What to make.
        injector: From `simulation.injector()`, when its truth is wanted afterwards.
        times: How stamps are written; default ISO 8601 in UTC.
    """
    injector = injector or simulation.injector()
    rng = np.random.default_rng(simulation.seed)
    models = simulation.measures
    names = [f"S-{number:03d}" for number in range(1, simulation.sensors + 1)]
    # Stations differ: the city's corner by up to a quarter, the hour of its peak by up to two hours.
    level = rng.uniform(0.85, 1.15, (simulation.sensors, len(models)))
    peak_s = 18 * 3600 + rng.uniform(-7200, 7200, simulation.sensors)
    weather = rng.normal(size=len(models))
    own = rng.normal(size=(simulation.sensors, len(models)))
    slow, quick = (math.exp(-simulation.interval_s / memory) for memory in (WEATHER_MEMORY_S, NOISE_MEMORY_S))
    for number in range(simulation.intervals):
        time_s = simulation.start_s + number * simulation.interval_s
        weather = slow * weather + math.sqrt(1 - slow**2) * rng.normal(size=weather.shape)
        own = quick * own + math.sqrt(1 - quick**2) * rng.normal(size=own.shape)
        lost = rng.random(simulation.sensors) < simulation.dropout
        values = _values(models, time_s, simulation.zone, level, peak_s, weather, own)
        stamp = times.format(time_s) if times else datetime.fromtimestamp(time_s, UTC).isoformat()
        for station in np.flatnonzero(~lost):
            row: dict[str, Any] = {simulation.time_column: stamp, simulation.station_column: names[station]}
            row |= {model.name: round(float(values[station, m]), 3) for m, model in enumerate(models)}
            changed = injector.apply(time_s, row)
            if changed is not None:
                yield SimulatedReading(time_s=time_s, row=changed)


def _values(
    models: Sequence[MeasureModel],
    time_s: float,
    zone: tzinfo,
    level: NDArray[np.float64],
    peak_s: NDArray[np.float64],
    weather: NDArray[np.float64],
    own: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return (stations, measures) values of one moment; nothing falls below 0."""
    moment = datetime.fromtimestamp(time_s, zone)
    second = moment.hour * 3600 + moment.minute * 60 + moment.second
    cycle = np.cos(2 * np.pi * (second - peak_s) / DAY_S)[:, None]
    weekend = 1.0 if moment.weekday() >= 5 else 0.0
    part = {
        name: np.array([getattr(model, name) for model in models])
        for name in MeasureModel.__slots__
        if name != "name"
    }
    mean = part["base"] * level + part["daily"] * cycle - part["weekly"] * weekend
    values: NDArray[np.float64] = np.maximum(mean + part["weather"] * weather + part["noise"] * own, 0.0)
    return values


def planted(
    simulation: Simulation, *, anomalies: int | None = None, after: int | None = None, seed: int = 0
) -> list[Injection]:
    """Return random anomalies of all kinds in turn, each whole, no two of one series closer than an hour of intervals.

    Sizes are 6 to 12 times the scatter that a station shows about its daily cycle. Kinds for which the simulation is
    too short are left out; where there is no room for as many as asked, there are fewer.

    Args:
        anomalies: How many; None = one of each kind in two days of five-minute intervals.
        after: None begins before this interval; None = 300, when a detector has learned, or half of a shorter run.
        seed: The same seed plants the same.

    Raises:
        InvalidInput: A number below 0, or `after` leaves no interval.
    """
    after = min(_LEARNED, simulation.intervals // 2) if after is None else after
    if anomalies is None:
        anomalies = len(_LENGTHS) * max(1, round(simulation.intervals / _ROUND_INTERVALS))
    if anomalies < 0:
        raise InvalidInput(f"anomalies: expected 0 or more, got {anomalies}")
    if anomalies and simulation.intervals - after < 1:
        raise InvalidInput(f"intervals: expected more than {after}, got {simulation.intervals}")
    rng = np.random.default_rng([seed, 1])  # not the stream that made the readings
    kinds = [kind for kind, length in _LENGTHS.items() if length <= simulation.intervals - after]
    made: list[Injection] = []
    for number in range(anomalies if kinds else 0):
        kind = kinds[number % len(kinds)]
        tries = (_one(rng, simulation, kind, after) for _ in range(_TRIES))
        found = next((one for one in tries if not any(_touch(one, other) for other in made)), None)
        made += [] if found is None else [found]
    return made


# Intervals that an anomaly of each kind lasts.
_LENGTHS = {"spike": 2, "shock": 12, "dip": 3, "level": 36, "drift": 72, "flatline": 36, "silence": 12}
_LEARNED = 300  # intervals after which groups have full confidence
_ROUND_INTERVALS = 576  # for one anomaly of each kind
_APART = 12
_TRIES = 100


def _one(rng: np.random.Generator, simulation: Simulation, kind: str, after: int) -> Injection:
    """Return an anomaly of a kind at a random station, measure and time."""
    model = simulation.measures[int(rng.integers(len(simulation.measures)))]
    size = rng.uniform(6, 12) * math.hypot(model.weather, model.noise)
    return Injection(
        measure=model.name,
        kind=kind,
        size="" if kind in SIZELESS else f"+{size:.3f}",
        when=f"+{rng.integers(after, simulation.intervals - _LENGTHS[kind] + 1)}",
        length=_LENGTHS[kind],
        value=f"S-{rng.integers(1, simulation.sensors + 1):03d}",
    )


def _touch(one: Injection, other: Injection) -> bool:
    """Return whether two anomalies would be told as one, or damp each other: they must be told apart in the truth."""
    first, second = sorted((one, other), key=lambda found: int(found.when))
    near = int(second.when) < int(first.when) + first.length + _APART
    return (one.measure, one.value) == (other.measure, other.value) and near


def replay(
    rows: Iterable[Mapping[str, Any]],
    *,
    time_column: str,
    times: TimeFormat,
    interval_s: float,
    measures: Sequence[str] = (),
    dimensions: Sequence[str] = (),
    injections: Sequence[Injection] = (),
    shift_to_s: float | None = None,
    zone: tzinfo = UTC,
) -> tuple[list[SimulatedReading], Injector]:
    """Return the rows as readings in time order, and the injector that knows what was planted.

    Stamps are shifted by whole intervals, so that the first interval becomes the one that holds
    `shift_to_s`; None leaves them. Anomalies are placed by the stamps of the file, and `truth()` tells the
    shifted times. Rows of one stamp keep their order.

    Raises:
        InvalidInput: A row without a stamp that can be read; injections of unknown measures.
    """
    timed = sorted(
        ((times.parse(row.get(time_column)), place, row) for place, row in enumerate(rows)),
        key=lambda t: t[:2],
    )
    first_s = math.floor(timed[0][0] / interval_s) * interval_s if timed else 0.0
    shift_s = 0.0 if shift_to_s is None else math.floor(shift_to_s / interval_s) * interval_s - first_s
    shifted = [_moved(one, shift_s, first_s, interval_s, zone) for one in injections]
    injector = Injector(
        injections=shifted,
        interval_s=interval_s,
        first_s=first_s + shift_s,
        dimensions=dimensions,
        measures=measures,
        zone=UTC,
    )
    readings = []
    for time_s, _, row in timed:
        changed = injector.apply(time_s + shift_s, row)
        if changed is not None:
            changed[time_column] = times.format(time_s + shift_s)
            readings.append(SimulatedReading(time_s=time_s + shift_s, row=changed))
    return readings, injector


def _moved(one: Injection, shift_s: float, first_s: float, interval_s: float, zone: tzinfo) -> Injection:
    """Return the injection counted in intervals from the first one, wherever that is shifted to."""
    start_s = one.start_s(first_s, interval_s, zone)
    at = datetime.fromtimestamp(start_s + shift_s, UTC)
    return Injection(one.measure, one.kind, one.size, at.strftime("%Y-%m-%dT%H:%M:%S"), one.length, one.value)


def due_s(reading: SimulatedReading, *, first_s: float, begun_s: float, speed: float) -> float:
    """Return when a reading is due on the sender's clock, `speed` times faster than it happened.

    >>> due_s(SimulatedReading(600.0, {}), first_s=0.0, begun_s=1000.0, speed=300.0)
    1002.0
    """
    if not speed > 0:
        raise InvalidInput(f"speed: expected a number above 0, got {speed}")
    return begun_s + (reading.time_s - first_s) / speed
