"""`masthead metrics simulate`: readings from a file or a generator, sent as things would send them."""

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masthead.base.errors import InvalidInput, shown
from masthead.cli.installation import Data

if TYPE_CHECKING:
    from masthead.cli.server_clock import ServerClock
    from masthead.metrics.injections import Injection, Injector
    from masthead.metrics.simulate import SimulatedReading

_FASTEST = 1000
_FORMAT = "yyyy-MM-dd HH:mm"
_THING = "simulator"


Inject = Annotated[
    list[str] | None,
    typer.Option("--inject", metavar="'SO2:spike:+60@23:30/2'", help="Plant an anomaly; repeatable."),
]


class To(enum.StrEnum):
    """Where readings go: through MQTT as a thing, into the stream over HTTP, or into files by interval."""

    mqtt = "mqtt"
    stream = "stream"
    files = "files"


class Shift(enum.StrEnum):
    """Whether stamps move so that the first interval is the current one."""

    now = "now"
    none = "none"


def simulate(
    file: Annotated[Path | None, typer.Option("--file", metavar="F", help="Rows to play again.")] = None,
    timestamp: Annotated[
        str, typer.Option("--timestamp", metavar="COL", help="Column of the event time.")
    ] = "",
    sensors: Annotated[
        int | None, typer.Option("--generate", metavar="SENSORS", help="Make up that many stations instead.")
    ] = None,
    to: Annotated[To, typer.Option("--to", help="Where the readings go.")] = To.mqtt,
    topic: Annotated[
        str,
        typer.Option("--topic", metavar="T", help="The topic. [default: sensors/THING/readings]"),
    ] = "",
    speed: Annotated[
        str, typer.Option("--speed", metavar="1..1000|max", help="How many times faster than real time.")
    ] = "1",
    shift: Annotated[
        Shift, typer.Option("--shift", help="Move the stamps so that the first interval is the current one.")
    ] = Shift.now,
    inject: Inject = None,
    anomalies: Annotated[
        int | None,
        typer.Option(
            "--anomalies",
            metavar="N",
            help="How many are planted in made-up readings; 0: none. [default: 7, one of each kind, for each 576 "
            "intervals; none with --inject]",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of what is made up.")] = 0,
    truth: Annotated[
        Path | None, typer.Option("--truth", metavar="FILE", help="Write down what was planted.")
    ] = None,
    interval: Annotated[
        str, typer.Option("--interval", metavar="<N>s|m|h|d", help="Length of an interval.")
    ] = "5m",
    intervals: Annotated[
        int, typer.Option("--intervals", metavar="N", help="How many intervals are made up.")
    ] = 576,
    timestamp_format: Annotated[
        str, typer.Option("--timestamp-format", metavar="F", help="Java letters; found when not given.")
    ] = "",
    zone: Annotated[
        str, typer.Option("--zone", metavar="NAME", help="Zone of stamps without an offset.")
    ] = "UTC",
    columns: Annotated[
        str, typer.Option("--columns", metavar="A,B,C", help="Names for a CSV file without header.")
    ] = "",
    thing: Annotated[
        str, typer.Option("--thing", metavar="NAME", help="Who publishes; made when there is none.")
    ] = _THING,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for --to files: DIR/yyyyMMdd/HHmm.")
    ] = Path("simulated"),
    data: Data = None,
) -> None:
    """Send readings of a file or a generator to a server or into files, with anomalies planted in them."""
    import time

    from masthead.base.units import parse_duration_s
    from masthead.cli import simulate_to

    factor = _factor(speed)
    if (file is None) == (sensors is None):
        raise InvalidInput("file: expected either --file with --timestamp, or --generate")
    interval_s = parse_duration_s(interval, "interval")
    planted = _planted(inject or [])
    if file is not None and anomalies:
        raise InvalidInput("anomalies: expected none for --file, plant them with --inject")
    if anomalies is not None and anomalies < 0:
        raise InvalidInput(f"anomalies: expected 0 or more, got {anomalies}")
    if anomalies is None and planted:
        anomalies = 0
    clock = None if to is To.files else simulate_to.clock_of(data)
    now_s = clock.start_s if clock else time.time()
    if file is not None:
        shift_to_s = now_s if shift is Shift.now else None
        made = _replayed(file, timestamp, timestamp_format, zone, columns, interval_s, planted, shift_to_s)
    else:
        assert sensors is not None
        made = _generated(sensors, interval_s, intervals, seed, planted, anomalies, zone, now_s)
    readings, injector = made
    leads = clock is not None and _leads(clock, readings, factor)
    where = topic or f"sensors/{thing}/readings"
    with simulate_to.target(to.value, topic=where, thing=thing, out=out, data=data, zone=zone) as target:
        if clock is not None and leads:
            from masthead.cli.server_clock import play_by

            sent = play_by(clock, readings, target, interval_s=interval_s, factor=factor)
        else:
            sent = simulate_to.play(
                readings, target, interval_s=interval_s, factor=factor, begun=time.monotonic()
            )
    if truth is not None:
        _write_truth(truth, injector)
    _tell(sent, target.name, injector, truth)


def _tell(sent: int, where: str, injector: "Injector", truth: Path | None) -> None:
    """Print what was sent, how many anomalies were in it, and where they are named."""
    count = len(injector.truth())
    planted = f", {count} anomal{'y' if count == 1 else 'ies'} planted" if count else ""
    print(f"{sent:,} readings to {where}{planted}" + (f"; truth in {truth}" if truth is not None else ""))


def _leads(clock: "ServerClock", readings: "list[SimulatedReading]", factor: float | None) -> bool:
    """Return whether the server's clock has to be led for these readings.

    Raises:
        InvalidInput: It would have to be, and follows the machine's.
    """
    ahead = bool(readings) and readings[-1].time_s > clock.start_s
    if clock.virtual or factor == 1 or not ahead:
        return clock.virtual and ahead
    raise InvalidInput(
        "speed: expected 1, since this server's clock is the machine's: stamps would run ahead of it, and a detector "
        "refuses readings more than one interval in the future; start it with `masthead serve --virtual-clock` over a "
        "data folder of its own, or write files with --to files"
    )


def _factor(speed: str) -> float | None:
    """Return how many times faster; None = without a pause."""
    if speed == "max":
        return None
    try:
        factor = float(speed)
    except ValueError:
        factor = 0.0
    if not 1 <= factor <= _FASTEST:
        raise InvalidInput(f"speed: expected 1 to {_FASTEST} or max, got {shown(speed)}")
    return factor


def _planted(given: list[str]) -> "list[Injection]":
    from masthead.metrics.injections import parse_injection

    return [parse_injection(text) for text in given]


def _generated(
    sensors: int,
    interval_s: int,
    intervals: int,
    seed: int,
    injections: "list[Injection]",
    anomalies: int | None,
    zone: str,
    now_s: float,
) -> "tuple[list[SimulatedReading], Injector]":
    """Return made-up readings from the current interval on, with anomalies beside the ones asked for."""
    from dataclasses import replace

    from masthead.metrics.simulate import Simulation, generate, planted
    from masthead.metrics.timestamps import compile_pattern
    from masthead.metrics.zones import zone_of

    simulation = Simulation(
        sensors=sensors,
        start_s=now_s // interval_s * interval_s,
        intervals=intervals,
        interval_s=interval_s,
        seed=seed,
        injections=injections,
        zone=zone_of(zone),
    )
    more = planted(simulation, anomalies=anomalies, seed=seed)
    simulation = replace(simulation, injections=[*injections, *more])
    injector = simulation.injector()
    times = compile_pattern(_FORMAT if interval_s % 60 == 0 else "yyyy-MM-dd HH:mm:ss", zone)
    return list(generate(simulation, injector, times)), injector


def _replayed(
    file: Path,
    timestamp: str,
    form: str,
    zone: str,
    columns: str,
    interval_s: int,
    planted: "list[Injection]",
    shift_to_s: float | None,
) -> "tuple[list[SimulatedReading], Injector]":
    """Return a file's rows as readings; a column that holds no numbers is a dimension."""
    from masthead.cli.simulate_to import rows_of
    from masthead.metrics.simulate import replay
    from masthead.metrics.timestamps import agree, compile_pattern
    from masthead.metrics.zones import zone_of

    if not timestamp:
        raise InvalidInput("timestamp: expected the column of the event time, got none")
    rows = rows_of(file, tuple(name.strip() for name in columns.split(",")) if columns else ())
    stamps = [str(row[timestamp]) for row in rows if timestamp in row]
    if not stamps:
        raise InvalidInput(
            f"timestamp: expected a column of {', '.join(rows[0]) or 'the file'}, got {timestamp}"
        )
    times = compile_pattern(form or _written(stamps[0], zone) or agree(stamps[:1000], zone), zone)
    numbers, others = _sorted_columns(rows, timestamp)
    return replay(
        rows,
        time_column=timestamp,
        times=times,
        interval_s=interval_s,
        measures=numbers,
        dimensions=others,
        injections=planted,
        shift_to_s=shift_to_s,
        zone=zone_of(zone),
    )


def _written(stamp: str, zone: str) -> str:
    """Return the usual form in which a stamp is written, so that shifted ones look the same; "" = none of these."""
    from masthead.metrics.timestamps import compile_pattern

    for form in (_FORMAT, f"{_FORMAT}:ss", "yyyy-MM-dd'T'HH:mm", "yyyy-MM-dd'T'HH:mm:ss"):
        times = compile_pattern(form, zone)
        try:
            if times.format(times.parse(stamp)) == stamp:
                return form
        except InvalidInput:
            continue
    return ""


def _sorted_columns(rows: list[dict[str, Any]], timestamp: str) -> tuple[list[str], list[str]]:
    """Return the columns that hold numbers, and the others but the time."""
    kinds: dict[str, bool] = {}
    for row in rows:
        for name, value in row.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            kinds[name] = kinds.get(name, True) and number
    kinds.pop(timestamp, None)
    return [name for name, number in kinds.items() if number], [
        name for name, number in kinds.items() if not number
    ]


def _write_truth(path: Path, injector: "Injector") -> None:
    import orjson

    from masthead.base.folder import write_atomic

    found = [one.to_json() for one in injector.truth()]
    write_atomic(path, orjson.dumps(found, option=orjson.OPT_INDENT_2), mode=0o644)
