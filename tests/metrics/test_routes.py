"""When a detector begins to hear the stream."""

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from fresh import fresh

from masthead.app import Masthead
from masthead.base.clock import ManualClock
from masthead.base.settings import Settings
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
