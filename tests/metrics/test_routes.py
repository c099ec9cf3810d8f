"""When a detector begins to hear the stream."""

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from fresh import fresh
from sqlalchemy import select, update

from masthead.app import Masthead
from masthead.base.clock import ManualClock
from masthead.base.errors import InvalidInput
from masthead.base.settings import Settings
from masthead.metrics.records import detectors
from masthead.streams.readings import Batch, Reading

T0 = 1_648_164_600  # 2022-03-24T23:30Z
DETECTOR = {
    "name": "air",
    "time": {"column": "t", "format": "epoch_s"},
    "measures": ["CO"],
    "source": {"kind": "stream", "topic": "air/#"},
}


@pytest.fixture
def masthead(tmp_path: Path) -> Iterator[Masthead]:
    with Masthead.open(Settings(data=fresh(tmp_path / "data")), clock=ManualClock(float(T0))) as opened:
        opened.start()
        yield opened


def heard_by(masthead: Masthead, sequence: int) -> list[str]:
    payload = orjson.dumps({"t": T0, "CO": 2})
    routed = masthead.streams.take(Batch(sequence, (Reading("air/b", payload, float(T0), "b-101"),)))
    return [one.detector for one in routed if one.records]


def test_the_stream_leads_to_a_detector_as_soon_as_it_is_activated(masthead: Masthead) -> None:
    masthead.metrics.create_detector(DETECTOR)
    assert heard_by(masthead, 1) == []
    masthead.metrics.activate("air")
    assert heard_by(masthead, 2) == ["air"]  # with no refresh between: the verb itself leads it there


def test_a_stored_filter_that_cannot_be_used_fails_its_own_detector_alone(tmp_path: Path) -> None:
    """A row may be older than a check: every change, the next start and the other detectors go on without it."""
    settings, clock = Settings(data=fresh(tmp_path / "data")), ManualClock(float(T0))
    with Masthead.open(settings, clock=clock) as first:
        first.start()
        for name in ("air", "bad"):
            first.metrics.create_detector({**DETECTOR, "name": name})
            first.metrics.activate(name)
            first.metrics.wait(name)
        with first.database.write() as connection:
            spec = connection.execute(select(detectors.c.spec).where(detectors.c.name == "bad")).scalar_one()
            spec = {**spec, "source": {"kind": "stream", "topic": "a/#/b"}}
            connection.execute(update(detectors).where(detectors.c.name == "bad").values(spec=spec))
        first.refresh()
        assert heard_by(first, 1) == ["air"]
        assert "takes no readings" in [line["event"] for line in first.journal.read("detector", "bad")]
    with Masthead.open(settings, clock=clock) as again:
        again.start()
        assert heard_by(again, 2) == ["air"]
        again.tick(float(T0))
        assert again.metrics.get_detector("air").state == "learning"
        found = again.metrics.get_detector("bad")
        assert found.state == "failed"
        assert found.failure.startswith("source.topic: expected '+' alone in its level")
        assert not again.metrics.validate("bad").valid
        with pytest.raises(InvalidInput, match=r"source\.topic"):
            again.metrics.activate("bad")
        again.metrics.update_detector("bad", {"source": {"kind": "stream", "topic": "air/b"}})
        again.metrics.activate("bad")
        assert heard_by(again, 3) == ["air", "bad"]


def test_validation_knows_the_rules(masthead: Masthead) -> None:
    spec = {**DETECTOR, "source": {"kind": "stream", "rule": "all-air"}}
    assert [one.field for one in masthead.metrics.validate(spec).findings] == ["source.rule", "source"]
    masthead.streams.create_rule({"name": "all-air", "sql": "SELECT * FROM 'air/#'"})
    assert [one.field for one in masthead.metrics.validate(spec).findings] == ["source"]
