"""The article's air quality in Python: first the kernel alone, then a whole installation in one process.

Run it cell by cell in an editor, or as a script: `python examples/air_quality.py`. It writes to a temporary folder.
"""

# %% The readings of one station, every five minutes, as AWS published them.
import csv
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import masthead
from masthead.app import Masthead
from masthead.base.log import configure_logs
from masthead.base.settings import load_settings
from masthead.metrics.scorer import SeriesScorer

SAMPLES = Path(masthead.__file__).parent / "samples" / "air"
MEASURES = ("CO", "SO2", "NO2")
INTERVAL_S = 300


def start_s(stamp: str) -> int:
    """Return the interval of a stamp, epoch seconds."""
    moment = datetime.strptime(stamp, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
    return int(moment.timestamp()) // INTERVAL_S * INTERVAL_S


with (SAMPLES / "historic_data.json").open(encoding="utf-8-sig") as file:
    history = [json.loads(line) for line in file]
with (SAMPLES / "live_data_sample.csv").open(encoding="utf-8-sig") as file:
    live = list(csv.DictReader(file, ["TIMESTAMP", "LOCATION_ID", *MEASURES]))

# Rows are out of order, and two stamps come twice: the later row stands here.
rows = {start_s(row["TIMESTAMP"]): [float(row[name]) for name in MEASURES] for row in [*history, *live]}
first_live_s = min(start_s(row["TIMESTAMP"]) for row in live)

# %% The kernel alone: values in, severities from 0 to 100 out.
scorer = SeriesScorer(series=len(MEASURES), interval_s=INTERVAL_S)
paused = False
for time_s, values in sorted(rows.items()):
    if time_s >= first_live_s and not paused:
        scorer.pause()  # the days between history and live data are no silence
        paused = True
    severity = scorer.update(time_s, values)
    for place, name in enumerate(MEASURES):
        if paused and severity[place] >= 70:
            when = datetime.fromtimestamp(time_s, UTC)
            print(
                f"{when:%Y-%m-%d %H:%M} {name} {values[place]:g}, usually about {scorer.expected()[place]:.3g}"
            )

# %% The whole service: a detector that is kept, its groups and their causes.
configure_logs(as_json=False, level="warning")
with tempfile.TemporaryDirectory() as folder, Masthead.open(load_settings({}, data=folder)) as product:
    product.metrics.create_detector(
        {
            "name": "air",
            "mode": "backtest",
            "interval": "5m",
            "dimensions": ["LOCATION_ID"],
            "measures": list(MEASURES),
            "time": {"column": "TIMESTAMP", "format": "yyyy-MM-dd HH:mm"},
            "source": {
                "kind": "files",
                "paths": [str(SAMPLES / "live_data_sample.csv")],
                "format": {"columns": ["TIMESTAMP", "LOCATION_ID", *MEASURES]},
            },
            "history": {"paths": [str(SAMPLES / "historic_data.json")]},
        }
    )
    print(f"the data can be used: {product.metrics.validate('air').valid}")
    product.start()
    product.metrics.backtest("air")
    print(product.metrics.wait("air").state)
    for group in product.metrics.list_groups("air").items:
        print(
            f"{group.start:%Y-%m-%d %H:%M} {group.measure} severity {group.severity:.0f} {group.contributions}"
        )
