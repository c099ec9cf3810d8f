"""The demonstration of payments as it is told: a model is taught, others stream through it, a ring appears and is caught."""

import re
from pathlib import Path

import pytest

from masthead.base.settings import Settings
from masthead.cli.demo import payments
from masthead.server import Server

pytestmark = pytest.mark.slow


class Listener:
    """Hears what the demonstration says in place of a terminal."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str = "", *, style: str = "") -> None:
        self.lines.append(line)


def test_rings_appear_and_are_caught_and_it_is_said_where_they_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fewer than half of the payments, twice as fast.
    for name, value in (("_TAUGHT", 6_000), ("_BEFORE", 2_000), ("_RATE", 80.0), ("_STREAM_S", 5.0)):
        monkeypatch.setattr(payments, name, value)
    settings = Settings(data=tmp_path / "data", port=0, aws_port=0, mqtt_port=0, sync="interval")
    heard, shown = Listener(), list[str]()
    with Server(settings) as server:
        masthead = server.masthead
        found = payments.tell(masthead, tmp_path / "tables", heard, shown.append)  # type: ignore[arg-type]
        space = found["space"]
        assert found["ok"], found
        assert (found["sent"], found["failed"]) == (400, 0)
        assert found["rings_caught"] >= 1
        assert shown == [f"/ui/fraud?space={space}"]
        caught = [
            line
            for line in heard.lines
            if re.fullmatch(r"  ring \d+: caught at the \d+(st|nd|rd|th) of its payments", line)
        ]
        assert len(caught) == found["rings_caught"]
        rings = masthead.fraud.rings(space=space, limit=3)
        told = [line for line in heard.lines if line.startswith("  on the page of rings: ")]
        assert len(told) == len(rings) >= 1
        assert told[0].startswith(f"  on the page of rings: {rings[0]['size']} payments, ")
        assert masthead.fraud.stats(space=space)["totalCount"] == 2_400
        assert masthead.fraud.find().items == ()  # real transactions are not touched
    assert not (tmp_path / "tables").exists()
