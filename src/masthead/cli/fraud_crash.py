"""`masthead fraud bench crash`: kill -9 under load, again and again, then everything is compared."""

import os
import random
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from masthead.base.clock import FOREVER_US
from masthead.cli.fraud_ground import Ground, Json, ground, machine, opened, time_of
from masthead.fraud.data.columns import Event, Labels
from masthead.fraud.live.durable import DurableStream
from masthead.fraud.live.graph_store import GraphStore
from masthead.fraud.scoring.stream import Stream
from masthead.fraud.store.link_blocks import unpack
from masthead.fraud.store.links import link
from masthead.store.engine import Database

__all__ = ["crash"]

_VERDICTS = {"3": "legit", "7": "fraud"}  # by the last digit of a transaction's id


def crash(*, kills: int, history: int, model: Path | None) -> Json:
    """Return what was lost or is there in part after kills under load, how long reopening took, and which scores differ."""
    with ground(history, kills * 4_000, model=model) as here:
        rows = here.rows()
        nursery = _Nursery(here, rows)
        with opened(here) as (store, _):
            _reopened(here, store).close()  # what a server leaves behind that ends
        acknowledged: set[str] = set()
        labelled: set[tuple[str, str]] = set()
        reopened, places = [], random.Random(7)
        for _ in range(kills):
            taken, marked = nursery.kill_one(len(acknowledged), places.uniform(0.3, 1.5))
            acknowledged |= taken
            labelled |= marked
            with opened(here, load=False) as (store, _):
                began = time.perf_counter()
                _reopened(here, store)  # and not closed: what the next one starts from stays as it is
                reopened.append(time.perf_counter() - began)
        nursery.close()
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


class _Nursery:
    """A process without threads that forks those which are killed: a fork beside threads can inherit a lock that nobody
    will ever open."""

    def __init__(self, here: Ground, rows: Sequence[Event]) -> None:
        orders, self._orders = os.pipe()
        said, answers = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:  # nothing but the work, and never back into this program
            try:
                os.close(self._orders)
                _nurse(here, rows, os.fdopen(orders), answers)
            finally:
                os._exit(0)
        os.close(orders)
        os.close(answers)
        self._said = os.fdopen(said)

    def kill_one(self, first: int, seconds: float) -> tuple[set[str], set[tuple[str, str]]]:
        """Let a child score and label from several threads and kill it; return which transactions, and (id, value) of
        which labels it had acknowledged by then.

        Args:
            first: Of the rows, the first that it scores. seconds: How long it is under load.
        """
        os.write(self._orders, f"{first}\n".encode())
        child = int(self._said.readline())
        begun = self._said.readline()  # the state is built: from here on it is under load
        if begun != "ready\n":
            raise RuntimeError("a child ended before it was ready")
        timer = threading.Timer(seconds, os.kill, (child, signal.SIGKILL))
        timer.start()
        lines = [line.split() for line in iter(self._said.readline, "ended\n")]
        timer.join()
        return {one[0] for one in lines if len(one) == 1}, {
            (one[0], one[1]) for one in lines if len(one) == 2
        }

    def close(self) -> None:
        """End the process."""
        os.close(self._orders)
        os.waitpid(self._pid, 0)
        self._said.close()


def _nurse(here: Ground, rows: Sequence[Event], orders: TextIO, answers: int) -> None:
    """For each order fork a child and wait until it is dead. Lines are written whole: a pipe takes so few bytes at once."""
    for first in orders:
        child = os.fork()
        if child == 0:
            try:
                os.write(answers, f"{os.getpid()}\n".encode())
                _work_until_killed(here, rows[int(first) :], answers)
                signal.pause()  # all rows are scored: the kill still comes
            finally:
                os._exit(1)
        os.waitpid(child, 0)
        os.write(answers, b"ended\n")


def _work_until_killed(here: Ground, rows: Sequence[Event], pipe: int) -> None:
    database = Database.open(here.folder.database_path)
    stream = _reopened(here, GraphStore(database))
    os.write(pipe, b"ready\n")
    turn, waiting = threading.Lock(), iter(rows)

    def call() -> None:
        while True:
            with turn:
                event = next(waiting, None)
            if event is None:
                return
            stream.score(event)
            os.write(pipe, f"{event.id}\n".encode())
            if value := _VERDICTS.get(event.id[-1]):
                stream.label(event.id, value, source="analyst")
                os.write(pipe, f"{event.id} {value}\n".encode())

    threads = [threading.Thread(target=call, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _compared(
    here: Ground, store: GraphStore, acknowledged: set[str], labelled: set[tuple[str, str]]
) -> Json:
    """Return what is missing, what is there in part, and which scores an undisturbed run does not give."""
    link(store)
    with store.database.read() as connection:

        def rows(statement: str) -> list[Any]:
            return list(connection.exec_driver_sql(statement).all())

        stored = rows(
            f"SELECT seq, id, score FROM fraud_transactions WHERE seq > {here.history:d} ORDER BY seq"
        )
        decided = {seq for (seq,) in rows("SELECT seq FROM fraud_decisions WHERE shadow = 0")}
        seqs = unpack(rows("SELECT eid, ts, seq, links FROM fraud_links")).seq
        edges = dict(zip(*(column.tolist() for column in np.unique(seqs, return_counts=True)), strict=True))
        marks = rows("SELECT seq, id, value, arrived_at FROM fraud_labels ORDER BY seq")
    by_id = {event.id: event for event in here.rows()}
    wanted = {id: sum(key is not None for key in event.keys) for id, event in by_id.items()}
    partial = sum(
        score is None or seq not in decided or edges.get(seq, 0) != wanted[id] for seq, id, score in stored
    )
    said = {(id, "fraud" if value else "legit") for _, id, value, _ in marks}
    return {
        "stored": len(stored),
        "lost": len(acknowledged - {id for _, id, _ in stored}) + len(labelled - said),
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
    log += [(seq, "fraud" if value else "legit", id, at) for seq, id, value, at in marks]
    differ = 0
    for _, what, id, value in sorted(log):
        if what == "score":
            differ += undisturbed.score(by_id[id]).pred_prob != value
        else:
            undisturbed.label(id, what, time_of(here.model, value))
    return differ
