"""How many rings are found, and why the rule is narrow; prints one JSON object.

    python benchmarks/fraud_rings.py [--rows 117000] [--seed 7]

Generates half a year of payments, learns from all but the last 30 days, loads those as history, and scores the month as
it happens, with labels that arrive on their day. Then the rings that are told are held against the true ones: a true
ring is alive when at least three of its payments lie in the month, and found when most members of a told ring are its.
Beside it: how many payments of the month hang together over entities of at most 10, which is why not all are members.
"""

import argparse
import csv
import json
import os
import tempfile
from collections import Counter, deque
from pathlib import Path

import numpy as np

from masthead.app import Masthead
from masthead.base.clock import DAY_US, utc
from masthead.base.settings import load_settings
from masthead.fraud.data.events import Events, Labels, read_events, read_labels
from masthead.fraud.data.generate import generate
from masthead.fraud.data.schema import Schema
from masthead.fraud.live.ledger import Mark
from masthead.fraud.scoring.model import FraudModel
from masthead.fraud.store.loading import load_events
from masthead.fraud.store.records import LIVE

TOGETHER = 64
RARE = 10
ALIVE = 3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=117_000)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        generate(asked.rows, asked.seed, folder / "data")
        print(json.dumps(measured(folder)))


def measured(folder: Path) -> dict[str, object]:
    """Return what was found in the last month of the tables of a folder."""
    data = folder / "data"
    schema = Schema.read(data / "schema.toml")
    events = read_events(schema, [data / f"train_{part}.csv" for part in ("transaction", "identity")])
    labels = read_labels(schema, events, data / "labels.csv")
    first = int(np.searchsorted(events.ts, int(events.ts[-1]) - 30 * DAY_US))
    told = _told(folder, schema, events, labels, first)
    with (data / "rings.csv").open() as file:
        ring_of = {row["TransactionID"]: int(row["ring"]) for row in csv.DictReader(file)}
    month = events.ids[first:]
    alive = Counter(ring_of[id] for id in month if ring_of[id] >= 0)
    alive = Counter({ring: count for ring, count in alive.items() if count >= ALIVE})
    owners = [Counter(ring_of[id] for id in ring) for ring in told]
    found = {ring for owner in owners for ring, count in owner.most_common(1) if 2 * count > owner.total()}
    return {
        "month": len(month),
        "component_of_all": _largest(events.take(np.arange(first, len(events)))),
        "alive": len(alive),
        "found": len(found & alive.keys()),
        "members_of_alive": alive.total(),
        "members_told": sum(count for owner in owners for ring, count in owner.items() if ring in alive),
        "joined": sum(sum(ring in alive for ring in owner) > 1 for owner in owners),
        "of_nobody": sum(not any(ring in alive for ring in owner) for owner in owners),
        "told": len(told),
        "load1": round(os.getloadavg()[0], 1),
    }


def _told(folder: Path, schema: Schema, events: Events, labels: Labels, first: int) -> list[set[str]]:
    """Learn from what was before the month, score the month in order, labels on their day; return the rings' members."""
    model = FraudModel.train(
        schema, events, labels, train_until=utc(int(events.ts[first]) / 1e6), out=folder / "model"
    )
    with Masthead.open(load_settings({}, data=folder / "house")) as house:
        house.fraud.deploy("cards", folder / "model")
        load_events(
            house.fraud.store, LIVE, model.schema, events.take(np.arange(first)), now_us=0, at_once=20_000
        )
        waiting = deque(
            sorted(zip(labels.arrived_at.tolist(), labels.ids, labels.value.tolist(), strict=True))
        )
        for start in range(first, len(events), TOGETHER):
            some = [events.event(row) for row in range(start, min(start + TOGETHER, len(events)))]
            marks = []
            while waiting and waiting[0][0] <= some[0].ts:
                at, id, value = waiting.popleft()
                marks.append(Mark(id, value, "import", at))
            house.fraud.label_many(marks)
            house.fraud.score_events(some)
        return [set(ring["transactions"]) for ring in house.fraud.rings(limit=1_000)]


def _largest(month: Events) -> int:
    """Return the largest component of payments that share an entity of at most `RARE`."""
    parents = np.arange(len(month))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = int(parents[place])
        return place

    for codes in month.codes.T:
        order = np.argsort(codes, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(codes[order]) != 0])
        for begin, end in zip(starts, np.r_[starts[1:], len(order)], strict=True):
            if codes[order[begin]] >= 0 and end - begin <= RARE:
                for other in order[begin + 1 : end]:
                    parents[root(int(other))] = root(int(order[begin]))
    return int(np.bincount([root(place) for place in range(len(month))]).max())


if __name__ == "__main__":
    main()
