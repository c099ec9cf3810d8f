"""kill -9 at 20 random moments: the scores are those of an undisturbed run to the bit, nothing is told twice.

The child feeds a detector from a log of readings that the seed alone decides, beginning at the position it asks for,
as the product's reader does. Run as a script this file is that child.
"""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forked import forked
from sqlalchemy import select

from masthead.alerts.service import AlertsService
from masthead.base.clock import ManualClock
from masthead.base.folder import DataFolder
from masthead.base.log import Journal
from masthead.base.secrets import SecretBox
from masthead.metrics import live, records, results
from masthead.metrics.service import MetricsService
from masthead.store.engine import Database
from masthead.store.objects import Objects

KILLS = 20
MESSAGES = 2_000  # two per interval
T0 = 1_700_000_100
FEEDBACK_AT = 1_000
SPEC = {
    "name": "air",
    "time": {"column": "t", "format": "epoch_s"},
    "measures": ["CO", {"name": "n", "column": "*", "aggregation": "count"}],
    "dimensions": ["at"],
    "source": {"kind": "stream", "topic": "air/#"},
}
RULE = {
    "name": "all",
    "threshold": 50,
    "on_close": True,
    "channel": {"kind": "command", "command": ["/bin/true"]},
}


@dataclass(frozen=True)
class Record:
    fields: dict[str, Any]
    thing: str | None
    arrived: float
    raw: bytes = b"{}"


@dataclass(frozen=True)
class Routed:
    detector: str
    sequence: int
    records: tuple[Record, ...]


def message(sequence: int) -> Routed:
    """Return a message of the log: rows of two intervals, some late, some again, some useless; a pause now and then."""
    chance = np.random.default_rng(sequence)
    second = 150 * sequence + 3_000 * (sequence // 700)
    found = []
    for place in range(4):
        value = float(chance.normal(20 + place, 2)) + (60 if sequence % 311 == place and place else 0)
        fields: dict[str, Any] = {
            "t": T0 + second + int(chance.integers(-40, 40)),
            "CO": value,
            "at": f"B-{place}",
        }
        if chance.random() < 0.02:
            fields["t"] -= 1_000
        if chance.random() < 0.02:
            fields = {"CO": "no time"}
        found.append(Record(fields, f"thing-{place}", T0 + second + 45.0))
    if sequence > 600:
        found.append(Record({"t": T0 + second, "CO": 1.0, "at": "new"}, "thing-new", T0 + second + 45.0))
    return Routed("air", sequence, (*found, found[0]))


def feed(folder: DataFolder) -> None:
    """Feed the detector from where it stands to the end of the log."""
    live.SNAPSHOT_INTERVALS = 40
    database = Database.open(folder.database_path)
    database.create_all()
    clock, journal = ManualClock(float(T0)), Journal(folder.logs)
    alerts = AlertsService(database, SecretBox.open_or_create(folder.path), clock, journal)
    service = MetricsService(database, Objects(folder.objects), alerts, clock, journal, folder)
    if not service.list_detectors():
        alerts.create_rule(RULE)
        service.create_detector(SPEC)
        service.activate("air")
    service.wait("air")
    first = service.position() or 1
    for sequence in range(first, MESSAGES + 1):
        routed = message(sequence)
        service.take(routed)
        service.advance(sequence, routed.records[0].arrived)
        if sequence == FEEDBACK_AT:
            _say_once(database, service)
        if sequence % 5 == 0 or sequence in (first, FEEDBACK_AT):
            service.tick(routed.records[0].arrived)
        if sequence == first:
            print(os.getpid(), flush=True)
    service.close()
    database.close()


def _say_once(database: Database, service: MetricsService) -> None:
    with database.read() as connection:
        given = records.find_feedback(connection, detector="air")
    if not given:
        groups = service.list_groups("air", min_severity=50).items
        service.give_feedback(groups[-1].id, 0, is_anomaly=False)


def _child(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([str(forked("python")), __file__, str(folder)], stdout=subprocess.PIPE, text=True)


def _finish(folder: Path) -> None:
    child = _child(folder)
    child.communicate(timeout=250)
    assert child.returncode == 0


@dataclass(frozen=True)
class Outcome:
    scores: list[tuple[int, int, bytes]]
    groups: list[tuple[Any, ...]]
    alerts: list[tuple[str, str]]
    counts: dict[str, Any]
    feedback: list[bool]


def _outcome(folder: Path) -> Outcome:
    database = Database.open(DataFolder(folder).database_path)
    table = results.detector_results.c
    with database.read() as connection:
        rows = connection.execute(
            select(table.chunk, table.start, table.data).order_by(table.start, table.chunk)
        )
        scores = [(chunk, start, bytes(data)) for chunk, start, data in rows]
        groups = records.find_groups(connection, detector="air")
        detector = records.require_detector(connection, "air")
        facts = records.find_facts(connection, detector.run)
        applied = [one.applied for one in records.find_feedback(connection, detector="air")]
    alerts = AlertsService(
        database, SecretBox.open_or_create(folder), ManualClock(), Journal(DataFolder(folder).logs)
    )
    told = [(one.group.rsplit("-", 1)[1], one.stage) for one in alerts.deliveries(limit=1000).items]
    database.close()
    return Outcome(
        scores,
        [
            (one.id.rsplit("-", 1)[1], one.measure, one.start, one.end, one.severity, one.state)
            for one in groups
        ],
        sorted(told),
        facts,
        applied,
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_scores_groups_and_alerts_after_twenty_kills_are_those_of_an_undisturbed_run(tmp_path: Path) -> None:
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    began = time.monotonic()
    _finish(calm)
    whole_s = time.monotonic() - began
    chance, kills = random.Random(5), 0
    while kills < KILLS:
        child = _child(killed)
        assert child.stdout is not None
        pid = child.stdout.readline()
        assert pid, "the child ended before it could be killed"
        # Moments spread so that the twenty lives together reach about three quarters of the log.
        time.sleep(chance.random() * 1.5 * whole_s / KILLS * 0.7)
        os.kill(int(pid), signal.SIGKILL)
        child.wait()
        child.stdout.close()
        kills += 1
    _finish(killed)
    expected, found = _outcome(calm), _outcome(killed)
    assert found.scores == expected.scores
    assert len(expected.scores) > 1_000
    assert found.groups == expected.groups
    assert len(expected.groups) > 10
    assert found.alerts == expected.alerts
    assert len(expected.alerts) == len(set(expected.alerts)) > 10
    assert found.counts == expected.counts
    assert expected.counts["late"] > 0
    assert expected.counts["duplicates"] > 0
    assert expected.counts["refused"] > 0
    assert (found.feedback, expected.feedback) == ([True], [True])


if __name__ == "__main__":
    feed(DataFolder(Path(sys.argv[1])).create())
