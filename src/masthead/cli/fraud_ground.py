"""Where `masthead fraud bench` measures: histories from the generator, a model, a store beside here, and its figures."""

import contextlib
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from masthead.base.folder import DataFolder
from masthead.fraud.data.columns import Event, Events
from masthead.fraud.data.events import read_events
from masthead.fraud.data.generate import generate
from masthead.fraud.live.durable import DurableStream
from masthead.fraud.live.graph_store import GraphStore
from masthead.fraud.scoring.model import FraudModel
from masthead.fraud.store.loading import load_events
from masthead.fraud.store.records import LIVE
from masthead.store.engine import Database
from masthead.store.migrate import migrate

__all__ = ["Ground", "Json", "Sync", "figures", "ground", "machine", "opened", "time_of"]

Json = dict[str, Any]
Sync = Literal["full", "normal"]
_TAUGHT = 20_000


@dataclass(frozen=True, slots=True)
class Ground:
    """A folder with a database, transactions of which the first `history` are to lie in it, and a model."""

    folder: DataFolder
    events: Events
    history: int
    model: FraudModel

    def rows(self) -> list[Event]:
        """Return the transactions behind the history."""
        return [self.events.event(place) for place in range(self.history, len(self.events))]


@contextlib.contextmanager
def ground(history: int, more: int, *, hub: int = 0, model: Path | None = None) -> Iterator[Ground]:
    """Give a ground in a temporary folder beside here: a memory file system would flatter."""
    with tempfile.TemporaryDirectory(prefix=".masthead-bench-", dir=Path.cwd()) as name:
        home = Path(name)
        generate(max(history + more, 1_000), 7, home / "data")
        paths = [home / "data" / f"train_{part}.csv" for part in ("transaction", "identity")]
        if model is None:
            taught = home / "taught"
            generate(_TAUGHT, 11, taught)
            tables = [taught / f"train_{part}.csv" for part in ("transaction", "identity")]
            known = FraudModel.train(
                taught / "schema.toml", tables, taught / "labels.csv", threads=1, out=home / "model"
            )
        else:
            known = FraudModel.load(model)
        events = read_events(known.schema, paths).take(np.arange(history + more))
        yield Ground(
            DataFolder(home / "installation").create(), _with_hub(known, events, hub, history), history, known
        )


def _with_hub(model: FraudModel, events: Events, hub: int, history: int) -> Events:
    """Return transactions of which the last `hub` of the history, and all after it, share one entity."""
    if not hub:
        return events
    relation = model.layout.relations.index(model.layout.aggregated[-1])
    codes, vocabularies = events.codes.copy(), [list(one) for one in events.vocabularies]
    vocabularies[relation].append("hub")
    codes[max(0, history - hub) :, relation] = len(vocabularies[relation]) - 1
    return replace(events, codes=codes, vocabularies=vocabularies)


@contextlib.contextmanager
def opened(here: Ground, *, sync: Sync = "full", load: bool = True) -> Iterator[tuple[GraphStore, Json]]:
    """Give the store with the history in it, and what loading it took."""
    database = Database.open(here.folder.database_path)
    migrate(database)
    store = GraphStore(database, sync=sync)
    began = time.perf_counter()
    if load and here.history:
        stream = DurableStream(here.model, store)  # makes the space
        stream.close()
        began = time.perf_counter()
        events = here.events.take(np.arange(here.history))
        load_events(store, LIVE, here.model.schema, events, now_us=0, at_once=20_000)
        store.settle()
    seconds = time.perf_counter() - began
    size = here.folder.database_path.stat().st_size
    try:
        yield store, {"load_s": round(seconds, 2), "disk_mb": round(size / 1e6, 1)}
    finally:
        store.close()
        database.close()


def figures(seconds: Sequence[float]) -> Json:
    """Return percentiles of durations, in milliseconds."""
    ms = np.array(seconds) * 1e3
    p50, p99 = np.percentile(ms, [50, 99])
    return {
        "p50_ms": round(float(p50), 3),
        "p99_ms": round(float(p99), 3),
        "max_ms": round(float(ms.max()), 3),
    }


def machine() -> Json:
    """Return what was measured on, and how busy it was."""
    return {
        "load1": round(os.getloadavg()[0], 2),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }


def time_of(model: FraudModel, ts: int) -> Any:
    """Return a time, UTC microseconds, as a caller would send it."""
    origin = model.schema.time.origin
    return (ts - (0 if origin is None else round(origin.timestamp() * 1e6))) / 1e6
