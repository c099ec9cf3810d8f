"""Where simulated readings go, and at what pace. The next reading waits for the one before: nothing is skipped."""

import contextlib
import itertools
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from masthead.base.errors import InvalidInput, LimitReached, NotFound
from masthead.base.folder import write_atomic
from masthead.cli.addresses import Served, mqtt_endpoint, opener, served
from masthead.cli.installation import installation, settings
from masthead.cli.publisher import Door, Publisher, acknowledged
from masthead.cli.server_clock import ServerClock
from masthead.metrics.files import Source, load
from masthead.metrics.problems import Problems
from masthead.metrics.raw import Format, Wanted
from masthead.metrics.simulate import SimulatedReading, due_s
from masthead.metrics.timestamps import folder_for

_AT_ONCE = 200  # readings in flight at the highest speed
_PATIENCE_S = 10.0  # a server follows a new thing within half a second
_FULL_S = 60.0


class Target(Protocol):
    """Takes readings of one moment; returns once they are stored durably."""

    name: str

    def send(self, readings: Sequence[SimulatedReading]) -> None: ...


def play(
    readings: Sequence[SimulatedReading],
    target: Target,
    *,
    interval_s: float,
    factor: float | None,
    begun: float,
) -> int:
    """Send everything, each moment when it is due; return the number of readings.

    Args:
        factor: How many times faster than real time; None = one interval after another without a pause.
        begun: When the first is due, by `time.monotonic`.
    """
    sent = 0
    first_s = readings[0].time_s // interval_s * interval_s if readings else 0.0
    for _, same in itertools.groupby(readings, key=lambda one: one.time_s):
        moment = list(same)
        if factor is not None:
            due = due_s(moment[0], first_s=first_s, begun_s=begun, speed=factor)
            time.sleep(max(0.0, due - time.monotonic()))
        for first in range(0, len(moment), _AT_ONCE):
            target.send(moment[first : first + _AT_ONCE])
        sent += len(moment)
    return sent


@contextlib.contextmanager
def target(kind: str, *, topic: str, thing: str, out: Path, data: Path | None, zone: str) -> Iterator[Target]:
    """Give where readings go.

    Raises:
        NotFound: No server runs over the data folder.
        InvalidInput: The thing's policies forbid the topic.
        LimitReached: The thing is not let in.
    """
    if kind == "files":
        yield _Files(out, zone)
    elif kind == "stream":
        yield _Stream(_require_server(data), topic)
    else:
        with _connected(_door(data, thing, topic), thing) as publisher:
            yield _Mqtt(publisher, topic)


def rows_of(path: Path, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return a file's rows: JSON lines, CSV or Parquet, gzip or not; cells that are numbers as numbers.

    Raises:
        InvalidInput: It holds no rows.
    """
    problems = Problems()
    raw = load(Source(str(path)), Format(columns=columns), Wanted(), problems)
    if raw is None or not len(raw.lines):
        reason = problems.kept[0].reason if problems.kept else "no rows"
        raise InvalidInput(f"file: expected rows in {path}, got {reason}")
    listed = [column if isinstance(column, list) else column.to_pylist() for column in raw.columns.values()]
    rows = []
    for values in zip(*listed, strict=True):
        cells = zip(raw.columns, values, strict=True)
        rows.append({name: _number(cell) for name, cell in cells if cell not in (None, "")})
    return rows


def _number(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    for convert in (int, float):
        with contextlib.suppress(ValueError):
            return convert(cell)
    return cell


class _Mqtt:
    def __init__(self, publisher: Publisher, topic: str) -> None:
        self._publisher, self.name = publisher, topic

    def send(self, readings: Sequence[SimulatedReading]) -> None:
        acknowledged([self._publisher.publish(self.name, _payload(one)) for one in readings])


class _Stream:
    def __init__(self, running: Served, topic: str) -> None:
        self._url, self._open, self.name = f"{running.url}/ingest/{topic}", opener(running), topic
        self._headers = {
            "Content-Type": "application/x-ndjson",
            "Authorization": f"Bearer {running.token}",
        }

    def send(self, readings: Sequence[SimulatedReading]) -> None:
        """Send a body; while the server says that it has no room, wait and try again."""
        body = b"\n".join(_payload(one) for one in readings)
        deadline = time.monotonic() + _FULL_S
        while True:
            request = urllib.request.Request(self._url, body, self._headers, method="POST")
            try:
                with self._open.open(request, timeout=_FULL_S):
                    return
            except urllib.error.HTTPError as error:
                reason = error.read().decode(errors="replace")[:500]
                if error.code not in (429, 503) or time.monotonic() > deadline:
                    raise LimitReached(f"ingest: the server answered {error.code}: {reason}") from error
            except OSError as error:
                if time.monotonic() > deadline:
                    raise LimitReached(f"ingest: the server does not answer: {error}") from error
            time.sleep(0.5)


class _Files:
    """Whole files, one per interval of the readings' own stamps."""

    def __init__(self, folder: Path, zone: str) -> None:
        self._folder, self._zone, self.name = folder, zone, str(folder)

    def send(self, readings: Sequence[SimulatedReading]) -> None:
        place = folder_for(f"{self._folder}/{{{{yyyyMMdd}}}}/{{{{HHmm}}}}", readings[0].time_s, self._zone)
        number = len(list(Path(place).glob("part-*.jsonl"))) if Path(place).is_dir() else 0
        lines = b"".join(_payload(one) + b"\n" for one in readings)
        write_atomic(Path(place) / f"part-{number:04d}.jsonl", lines, mode=0o644)


def clock_of(data: Path | None) -> ServerClock:
    """Return the clock of the server of a data folder.

    Raises:
        NotFound: None runs there.
    """
    return ServerClock(_require_server(data))


def _require_server(data: Path | None) -> Served:
    folder = settings(data).data
    running = served(folder)
    if running is None:
        raise NotFound(f"data: no server runs over {folder}; start one with `masthead serve`")
    return running


def _payload(reading: SimulatedReading) -> bytes:
    return json.dumps(reading.row, default=str).encode()


def _door(data: Path | None, thing: str, topic: str) -> Door:
    """Return the thing's door, making the thing when there is none."""
    from masthead.access.thing_policies import allows

    _require_server(data)
    with installation(data) as masthead:
        try:
            masthead.access.get_thing(thing)
        except NotFound:
            masthead.access.create_thing(thing)
        permissions = masthead.access.compiled_permissions()[thing]
        if not allows(permissions, action="iot:Publish", resource=topic):
            raise InvalidInput(
                f"topic: the policies of thing {thing} forbid {topic}; `masthead things show {thing}`"
            )
        host, port = mqtt_endpoint(masthead.folder.path, masthead.settings)
        return Door.of(masthead.folder.things / thing, host=host, port=port)


@contextlib.contextmanager
def _connected(door: Door, thing: str) -> Iterator[Publisher]:
    """Give a connected thing; one that was made just now is let in within a second."""
    deadline = time.monotonic() + _PATIENCE_S
    with contextlib.ExitStack() as stack:
        while True:
            try:
                publisher = stack.enter_context(Publisher(thing, door))
                break
            except LimitReached:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
        yield publisher
