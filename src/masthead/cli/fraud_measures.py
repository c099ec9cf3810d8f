"""What `masthead fraud bench` does: histories from the generator, a model, and clocks around the durable path."""

import contextlib
import gc
import http.client
import itertools
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from masthead.base.clock import FOREVER_US
from masthead.base.folder import DataFolder
from masthead.fraud.data.columns import Event, Events, Labels
from masthead.fraud.data.events import read_events
from masthead.fraud.data.generate import generate
from masthead.fraud.live.durable import DurableStream
from masthead.fraud.live.graph_store import GraphStore
from masthead.fraud.scoring.model import FraudModel
from masthead.fraud.scoring.stream import Stream
from masthead.fraud.store.link_blocks import unpack
from masthead.fraud.store.links import link
from masthead.fraud.store.loading import load_events
from masthead.fraud.store.records import LIVE
from masthead.fraud.store.results import neighbours
from masthead.store.engine import Database
from masthead.store.migrate import migrate

Json = dict[str, Any]
Sync = Literal["full", "normal"]
_TAUGHT = 20_000
_WARM = 200  # first answers that are not counted


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


def latency(*, n: int, history: int, hub: int, sync: Sync, model: Path | None) -> Json:
    """Return how long one transaction after the other takes, and a bare fdatasync in the same minutes."""
    with ground(history, n + _WARM, hub=hub, model=model) as here, opened(here, sync=sync) as (store, loaded):
        began = time.perf_counter()
        stream = store.stream(here.model, reasons=False)
        state_s = time.perf_counter() - began
        took, syncs, bare = [], [], here.folder.path / "bare"
        with bare.open("wb", buffering=0) as file:
            for place, event in enumerate(here.rows()):
                start = time.perf_counter()
                stream.score(event)
                took.append(time.perf_counter() - start)
                if place % 10 == 0:
                    file.write(bytes(4096))
                    start = time.perf_counter()
                    os.fdatasync(file.fileno())
                    syncs.append(time.perf_counter() - start)
        without = _without_commit(stream, here)
        stream.close()
    synced = {f"fsync_{name}": value for name, value in figures(syncs).items()}
    counts = {"n": n, "history": history, "hub": hub, "sync": sync, "state_s": round(state_s, 2)}
    return {**figures(took[_WARM:]), **without, **synced, **counts, **loaded, **machine()}


def _without_commit(stream: DurableStream, here: Ground) -> Json:
    """Return how long state and model alone take, on the state that the others left."""
    (state,), scorer = stream.ledger.books[LIVE].states, here.model.scorer
    took = []
    for event in here.rows()[-1_000:]:
        start = time.perf_counter()
        scorer.score(state.features(event))
        took.append(time.perf_counter() - start)
    return {f"no_commit_{name}": value for name, value in figures(took).items()}


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


def latency_over_http(*, n: int, history: int, hub: int, sync: Sync, model: Path | None) -> Json:
    """Return how long one transaction after the other takes over HTTP, to a server of its own."""
    with ground(history, n + _WARM, hub=hub, model=model) as here:
        with opened(here, sync=sync) as (_, loaded):
            pass
        here.model.save(here.folder.path / "bench-model")
        key = _prepare(here, sync)
        with _server(here.folder.path, sync) as (host, port):
            client = http.client.HTTPConnection(host, port)
            took = []
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
    counts = {"n": n, "history": history, "hub": hub, "sync": sync, "http": True}
    return {**figures(took[_WARM:]), **counts, **loaded, **machine()}


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
    record: Json = {schema.id: event.id, schema.time.column: _time(model, event.ts)}
    if schema.amount is not None and event.amount == event.amount:
        record[schema.amount] = event.amount
    for relation, key in zip(schema.relations, event.keys, strict=True):
        if len(relation.columns) == 1:
            record[relation.columns[0]] = key
    record |= dict(zip(schema.categoricals, event.categories, strict=True))
    numbers = zip(schema.numerics, event.numerics.tolist(), strict=True)
    return record | {name: value for name, value in numbers if value == value}


def _time(model: FraudModel, ts: int) -> Any:
    origin = model.schema.time.origin
    return (ts - (0 if origin is None else round(origin.timestamp() * 1e6))) / 1e6


# ---------------------------------------------------------------------- kill -9


def crash(*, kills: int, history: int, model: Path | None) -> Json:
    """Return what was lost or is there in part after kills under load, how long reopening took, and which scores differ."""
    with ground(history, kills * 4_000, model=model) as here:
        with opened(here) as (store, _):
            _reopened(here, store).close()  # what a server leaves behind that ends
        acknowledged: set[str] = set()
        labelled: set[str] = set()
        reopened, places = [], random.Random(7)
        rows = here.rows()
        for _ in range(kills):
            taken, marked = _killed_child(here, rows, len(acknowledged), places.uniform(0.3, 1.5))
            acknowledged |= taken
            labelled |= marked
            with opened(here, load=False) as (store, _):
                began = time.perf_counter()
                _reopened(here, store)  # and not closed: what the next one starts from stays as it is
                reopened.append(time.perf_counter() - began)
        with opened(here, load=False) as (store, _):
            began = time.perf_counter()
            store.stream(here.model, reasons=False)
            from_tables_s = time.perf_counter() - began
            told = _compared(here, store, acknowledged, labelled)
    return {
        "kills": kills,
        "acknowledged": len(acknowledged),
        "labels_acknowledged": len(labelled),
        **told,
        "reopen_s_max": round(max(reopened), 3),
        "from_tables_s": round(from_tables_s, 3),
        "history": history,
        **machine(),
    }


def _reopened(here: Ground, store: GraphStore) -> DurableStream:
    """Return a stream that starts as a server does: from its snapshot, and what was accepted since."""
    return store.stream(here.model, reasons=False, snapshots=here.folder.cache / "fraud")


def _killed_child(
    here: Ground, rows: Sequence[Event], first: int, seconds: float
) -> tuple[set[str], set[str]]:
    """Let a child score from several threads and kill it; return what it had acknowledged by then."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # nothing but the work, and never back into this program
        os.close(read)
        try:
            _work_until_killed(here, rows[first:], write)
        finally:
            os._exit(1)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        begun = pipe.readline()  # the state is built: from here on it is under load
        assert begun == b"ready\n"
        timer = threading.Timer(seconds, os.kill, (child, signal.SIGKILL))
        timer.start()
        lines = pipe.read().decode().split("\n")[:-1]  # what stands behind the last end of line was cut
    os.waitpid(child, 0)
    timer.cancel()
    return (
        {line[2:] for line in lines if line.startswith("t ")},
        {line[2:] for line in lines if line.startswith("l ")},
    )


def _work_until_killed(here: Ground, rows: Sequence[Event], pipe: int) -> None:
    database = Database.open(here.folder.database_path)
    stream = _reopened(here, GraphStore(database))
    os.write(pipe, b"ready\n")
    turn, waiting = threading.Lock(), iter(rows)

    def call() -> None:
        while True:
            with turn:
                event = next(waiting)
            stream.score(event)
            os.write(pipe, f"t {event.id}\n".encode())
            if int(event.id[-1]) == 7:
                stream.label(event.id, "fraud", source="analyst")
                os.write(pipe, f"l {event.id}\n".encode())

    threads = [threading.Thread(target=call, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _compared(here: Ground, store: GraphStore, acknowledged: set[str], labelled: set[str]) -> Json:
    """Return what is missing, what is there in part, and which scores an undisturbed run does not give."""
    link(store)
    with store.database.read() as connection:

        def rows(statement: str) -> list[Any]:
            return list(connection.exec_driver_sql(statement).all())

        stored = rows("SELECT seq, id, score FROM fraud_transactions WHERE score IS NOT NULL ORDER BY seq")
        decided = {seq for (seq,) in rows("SELECT seq FROM fraud_decisions WHERE shadow = 0")}
        seqs = unpack(rows("SELECT eid, ts, seq, links FROM fraud_links")).seq
        edges = dict(zip(*(column.tolist() for column in np.unique(seqs, return_counts=True)), strict=True))
        marks = rows("SELECT seq, id, value, arrived_at FROM fraud_labels ORDER BY seq")
    by_id = {event.id: event for event in here.rows()}
    wanted = {id: sum(key is not None for key in event.keys) for id, event in by_id.items()}
    partial = sum(seq not in decided or edges.get(seq, 0) != wanted[id] for seq, id, _ in stored)
    lost = len(acknowledged - {id for _, id, _ in stored}) + len(labelled - {id for _, id, *_ in marks})
    return {
        "stored": len(stored),
        "lost": lost,
        "partial": partial,
        "different": _different(here, stored, marks, by_id),
    }


def _different(here: Ground, stored: Sequence[Any], marks: Sequence[Any], by_id: dict[str, Event]) -> int:
    """Return how many stored scores a run in memory, in the order of the log, does not give to the bit."""
    undisturbed = Stream(here.model, reasons=False)
    nobody = here.events.take(np.arange(here.history))
    none = np.empty(0, np.int64)
    undisturbed.warm(nobody, Labels(none, [], none.astype(np.int8), none), until=FOREVER_US)
    log = [(seq, "score", id, score) for seq, id, score in stored]
    log += [(seq, "label", id, at) for seq, id, _, at in marks]
    differ = 0
    for _, what, id, value in sorted(log):
        if what == "score":
            differ += undisturbed.score(by_id[id]).pred_prob != value
        else:
            undisturbed.label(id, "fraud", _time(here.model, value))
    return differ
