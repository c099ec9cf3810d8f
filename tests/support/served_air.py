"""A whole server whose detector `air` has learned the article's history and is deployed as the endpoint `air`."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from masthead.base.settings import Settings
from masthead.server import Server

AIR = Path(__file__).parents[2] / "src/masthead/samples/air"
READING = {"TIMESTAMP": "2022-03-24 23:30", "LOCATION_ID": "B-101", "SO2": 120}


@contextlib.contextmanager
def served_air(folder: Path, **settings: Any) -> Iterator[Server]:
    """Serve it on free ports."""
    shutil.copy(AIR / "historic_data.json", folder)
    plain = {"port": 0, "aws_port": 0, "mqtt_port": 0, "sync": "interval"}
    with Server(Settings(data=folder / "data", **{**plain, **settings})) as found:
        metrics = found.masthead.metrics
        metrics.create_detector(
            {
                "name": "air",
                "time": {"column": "TIMESTAMP", "format": "yyyy-MM-dd HH:mm"},
                "measures": ["CO", "SO2"],
                "dimensions": ["LOCATION_ID"],
                "source": {"kind": "stream", "topic": "sensors/+/air"},
                "history": {"paths": [str(folder / "historic_data.json")]},
            }
        )
        metrics.activate("air")
        metrics.wait("air")
        metrics.deploy("air")
        yield found
