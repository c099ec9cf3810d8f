"""What `masthead fraud bench latency | throughput | store` does: clocks around the durable path."""

import contextlib
import gc
import http.client
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from masthead.cli.fraud_ground import Ground, Json, Sync, figures, ground, machine, opened, time_of
from masthead.fraud.data.columns import Event
from masthead.fraud.live.durable import DurableStream
from masthead.fraud.live.graph_store import GraphStore
from masthead.fraud.scoring.model import FraudModel
from masthead.fraud.store.loading import load_events
from masthead.fraud.store.records import LIVE
from masthead.fraud.store.results import neighbours
from masthead.store.engine import Database
from masthead.store.migrate import migrate

_WARM = 200  # first answers that are not counted


def latency(*, n: int, runs: int, history: int, hub: int, sync: Sync, model: Path | None) -> Json:
    """Return how long one transaction after the other takes, the same less its commit, and a bare fdatasync in the same
    minutes; of several runs behind each other the median, and each run's p99."""
    more = runs * n + _WARM
    with ground(history, more, hub=hub, model=model) as here, opened(here, sync=sync) as (store, loaded):
        began = time.perf_counter()
        stream = store.stream(here.model, reasons=False)
        state_s = time.perf_counter() - began
        commits = _TimedCommits(store)
        rows, bare = iter(here.rows()), here.folder.path / "bare"
        for event in itertools.islice(rows, _WARM):
            stream.score(event)
        with bare.open("wb", buffering=0) as file:
            found = [
                _one_run(stream, commits, list(itertools.islice(rows, n)), lambda: _synced(file))
                for _ in range(runs)
            ]
        stream.close()
    counts = {"n": n, "runs": runs, "history": history, "hub": hub, "sync": sync}
    return {**_medians(found), **counts, "state_s": round(state_s, 2), **loaded, **machine()}


class _TimedCommits:
    """The connection of a store's writer, whose commits are timed: what is left of an answer is insert, features, score."""

    def __init__(self, store: GraphStore) -> None:
        self.seconds = 0.0
        self._driver, store._driver = store._driver, self

    def commit(self) -> None:
        """Commit, and add how long it took."""
        start = time.perf_counter()
        self._driver.commit()
        self.seconds += time.perf_counter() - start

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)


def _one_run(
    stream: DurableStream, commits: _TimedCommits, rows: Sequence[Event], sync: Callable[[], float]
) -> Json:
    took, without, syncs = [], [], []
    for place, event in enumerate(rows):
        commits.seconds, start = 0.0, time.perf_counter()
        stream.score(event)
        took.append(time.perf_counter() - start)
        without.append(took[-1] - commits.seconds)
        if place % 10 == 0:
            syncs.append(sync())
    told = figures(took)
    for name, seconds in (("no_commit", without), ("fsync", syncs)):
        told |= {f"{name}_{figure}": value for figure, value in figures(seconds).items()}
    return told


def _synced(file: Any) -> float:
    """Return how long a page takes to a file on the disk."""
    file.write(bytes(4096))
    start = time.perf_counter()
    os.fdatasync(file.fileno())
    return time.perf_counter() - start


def _medians(runs: Sequence[Json]) -> Json:
    """Return the median of each figure, and where there are several runs the p99 of each."""
    told: Json = {name: round(float(np.median([one[name] for one in runs])), 3) for name in runs[0]}
    return told if len(runs) == 1 else told | {"p99_ms_of_runs": [one["p99_ms"] for one in runs]}


def throughput(
    *, seconds: float, clients: int, history: int, sync: Sync, model: Path | None, rate: float
) -> Json:
    """Return how many transactions a second many callers get answered, and how long each takes when `rate` a second come.

    Half of the time so many come a second, whether answers come or not, and each is timed from when it was due. Then
    every caller sends the next one when it has its answer, so that all of them always wait for each other: that says
    how many can be.
    """
    most = int(seconds / 2 * (4_000 + rate))
    with ground(history, most, model=model) as here, opened(here, sync=sync) as (store, loaded):
        stream, rows = store.stream(here.model, reasons=False), iter(here.rows())
        _set_apart()
        paced, _ = _called(stream, rows, seconds=seconds / 2, clients=clients, rate=rate)
        full, reached = _called(stream, rows, seconds=seconds / 2, clients=clients)
        stream.close()
    told = {"tx_per_s": round(reached, 1), "acknowledged": len(full) + len(paced), "clients": clients}
    busy = {f"full_{name}": value for name, value in figures(full).items()}
    return {
        **told,
        **busy,
        "rate": rate,
        **figures(paced),
        "history": history,
        "sync": sync,
        **loaded,
        **machine(),
    }


def _set_apart() -> None:
    """Keep the collector from what lies here by now: to walk through thousands of waiting events holds up all threads
    for a quarter of a second, and no server has them."""
    gc.collect()
    gc.freeze()


def _called(
    stream: DurableStream, rows: Iterator[Event], *, seconds: float, clients: int, rate: float = 0.0
) -> tuple[list[float], float]:
    """Return how long each answer took, and how many there were a second. `rate` 0: each after its caller's last one."""
    took: list[float] = []
    turn, due, began = threading.Lock(), itertools.count(), time.perf_counter()

    def call() -> None:
        while time.perf_counter() < began + seconds:
            with turn:
                event, place = next(rows, None), next(due)
            if event is None:
                return
            start = began + place / rate if rate else time.perf_counter()
            time.sleep(max(0.0, start - time.perf_counter()))
            stream.score(event)
            took.append(time.perf_counter() - start)

    threads = [threading.Thread(target=call) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took, len(took) / (time.perf_counter() - began)


def store(*, transactions: int, url: str) -> Json:
    """Return how long a bulk load takes, and the newest 20 neighbours of all entities of a transaction."""
    asked = 3_000
    with ground(transactions, 0, hub=transactions * 8 // 10) as here, contextlib.ExitStack() as stack:
        database = Database.open(url or here.folder.database_path)
        stack.callback(database.close)
        migrate(database)
        kept = GraphStore(database)
        stack.callback(kept.close)
        DurableStream(here.model, kept).close()
        began = time.perf_counter()
        load_events(kept, LIVE, here.model.schema, here.events, now_us=0, at_once=20_000)
        kept.settle()
        load_s = time.perf_counter() - began
        eids = {(rel, key): eid for eid, rel, key in kept.entity_keys()}
        took, found = [], 0
        names = [relation.name for relation in here.model.schema.relations]
        with database.read() as connection:
            for place in range(transactions - asked, transactions):
                event = here.events.event(place)
                mine = [eids[pair] for pair in zip(names, event.keys, strict=True) if pair in eids]
                start = time.perf_counter()
                near = neighbours(connection, mine, before=event.ts)
                took.append(time.perf_counter() - start)
                found += sum(map(len, near.values()))
        size = 0 if url else here.folder.database_path.stat().st_size
        edges = int((here.events.codes >= 0).sum())
    told = {"transactions": transactions, "edges": edges, "neighbours": round(found / asked, 1)}
    return {
        **figures(took),
        **told,
        "load_s": round(load_s, 2),
        "disk_mb": round(size / 1e6, 1),
        "backend": "postgresql" if url else "sqlite",
        **machine(),
    }


# ---------------------------------------------------------------------- over HTTP


def latency_over_http(*, n: int, runs: int, history: int, hub: int, sync: Sync, model: Path | None) -> Json:
    """Return how long one transaction after the other takes over HTTP, to a server of its own; medians of several runs."""
    with ground(history, runs * n + _WARM, hub=hub, model=model) as here:
        with opened(here, sync=sync) as (_, loaded):
            pass
        here.model.save(here.folder.path / "bench-model")
        key = _prepare(here, sync)
        with _server(here.folder.path, sync) as (host, port):
            client, took = http.client.HTTPConnection(host, port), []
            for event in here.rows():
                body = json.dumps(_record(here.model, event))
                start = time.perf_counter()
                client.request("POST", "/fraud/transactions", body, {"x-api-key": key})
                answer = client.getresponse()
                text = answer.read()
                took.append(time.perf_counter() - start)
                if answer.status != 200:
                    raise RuntimeError(text.decode())
            client.close()
    found = [figures(took[start : start + n]) for start in range(_WARM, len(took), n)]
    counts = {"n": n, "runs": runs, "history": history, "hub": hub, "sync": sync, "http": True}
    return {**_medians(found), **counts, **loaded, **machine()}


def _prepare(here: Ground, sync: Sync) -> str:
    """Deploy the model and return a key."""
    from masthead.app import Masthead
    from masthead.base.settings import load_settings

    with Masthead.open(load_settings({}, data=here.folder.path, fraud_sync=sync)) as masthead:
        masthead.fraud.deploy("bench", here.folder.path / "bench-model")
        made = masthead.keys.create_key("bench", ["admin"])
    return f"{made.key.id}.{made.secret}"


@contextlib.contextmanager
def _server(data: Path, sync: Sync) -> Iterator[tuple[str, int]]:
    command = [sys.executable, "-m", "masthead.cli.main", "serve", "--port", "0"]
    told = {
        "MASTHEAD_DATA": str(data),
        "MASTHEAD_ROLES": "api,worker",
        "MASTHEAD_FRAUD_SYNC": sync,
        "MASTHEAD_LOG_LEVEL": "warning",
    }
    process = subprocess.Popen(command, env={**os.environ, **told}, stdout=subprocess.DEVNULL)
    try:
        place = data / "serve.json"
        while not place.exists():
            if process.poll() is not None:
                raise RuntimeError("the server did not start")
            time.sleep(0.05)
        found = json.loads(place.read_text())
        yield found["host"], found["port"]
    finally:
        process.terminate()
        process.wait(30)


def _record(model: FraudModel, event: Event) -> Json:
    """Return a transaction as a caller would send it."""
    schema = model.schema
    record: Json = {schema.id: event.id, schema.time.column: time_of(model, event.ts)}
    if schema.amount is not None and event.amount == event.amount:
        record[schema.amount] = event.amount
    for relation, key in zip(schema.relations, event.keys, strict=True):
        if len(relation.columns) == 1:
            record[relation.columns[0]] = key
    record |= dict(zip(schema.categoricals, event.categories, strict=True))
    numbers = zip(schema.numerics, event.numerics.tolist(), strict=True)
    return record | {name: value for name, value in numbers if value == value}
