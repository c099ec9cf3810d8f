"""The write-ahead log goes into the database beside who writes."""

import threading
import time
from pathlib import Path

import pytest

from masthead.fraud.store import checkpoints
from masthead.fraud.store.log import TransactionLog
from masthead.store.engine import Database


@pytest.fixture
def store(tmp_path: Path) -> TransactionLog:
    database = Database.open(tmp_path / "db.sqlite")
    database.create_all()
    return TransactionLog(database)


def write(store: TransactionLog, first: int, count: int = 200) -> None:
    """Write so many rows, of a kilobyte each."""
    with store.group() as group:
        group.each(
            "INSERT INTO fraud_entities (eid, space, rel, key) VALUES (?, 'live', 'card', ?)",
            [(eid, f"{eid:01000}") for eid in range(first, first + count)],
        )


def test_a_commit_is_copied_beside_the_writer(store: TransactionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_EVERY_S", 0.0)
    size = Path(str(store.database.engine.url.database)).stat().st_size
    write(store, 1)
    store.close()  # waits for what goes on beside it
    assert Path(str(store.database.engine.url.database)).stat().st_size > size + 200_000


def test_a_log_that_grows_on_begins_anew(store: TransactionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_EVERY_S", 0.0)
    monkeypatch.setattr(checkpoints, "_LONG_PAGES", 200)
    for turn in range(60):
        write(store, 1 + 200 * turn)
        time.sleep(0.01)
    store.close()
    log = Path(f"{store.database.engine.url.database}-wal")
    assert log.stat().st_size < 12_000_000  # of some 17 MB that were written; beside other work it comes late


def test_who_writes_does_not_copy(store: TransactionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_EVERY_S", 3_600.0)
    write(store, 1)  # the first commit is copied at once
    store.close()
    size = Path(str(store.database.engine.url.database)).stat().st_size
    for turn in range(1, 30):
        write(store, 1 + 200 * turn)
    assert Path(str(store.database.engine.url.database)).stat().st_size == size
    store.settle()
    assert Path(f"{store.database.engine.url.database}-wal").stat().st_size == 0


def test_a_reader_that_is_about_to_write_holds_up_nobody_who_settles(store: TransactionLog) -> None:
    write(store, 1)
    reads, writes = threading.Event(), threading.Event()

    def link() -> None:  # as who links does: it reads, and writes in between
        with store.database.read() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM fraud_transactions").fetchall()
            reads.set()
            writes.wait(10)
            time.sleep(0.1)  # until somebody settles
            with store.group():
                pass

    linking = threading.Thread(target=link)
    linking.start()
    reads.wait(10)
    write(store, 1_001)  # behind what the reader sees
    writes.set()
    began = time.monotonic()
    store.settle()
    assert time.monotonic() - began < 10
    assert Path(f"{store.database.engine.url.database}-wal").stat().st_size == 0
    linking.join()
