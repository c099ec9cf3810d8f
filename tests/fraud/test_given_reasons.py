"""Reasons that go with a decision: with flagged ones, the same wherever it is made, and again in every list."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small_fraud
from card_records import flat
from fresh import fresh

from masthead.app import Masthead
from masthead.base.settings import Settings
from masthead.fraud.data.columns import Event
from masthead.fraud.data.events import read_labels
from masthead.fraud.live.graph_store import GraphStore
from masthead.fraud.scoring.stream import Stream
from masthead.store.engine import Database

MODEL = small_fraud.folder() / "model"
_ROWS = 600


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Masthead]:
    with Masthead.open(Settings(data=fresh(tmp_path / "data"))) as found:
        found.fraud.deploy("cards", MODEL)
        yield found


def event(place: int) -> Event:
    return small_fraud.events().event(place)


def replayed(*streams: Any) -> Iterator[list[Any]]:
    """Yield what each stream says of a transaction, labels coming in when they arrive."""
    events = small_fraud.events()
    labels = read_labels(small_fraud.model().schema, events, small_fraud.folder() / "data" / "labels.csv")
    schema = small_fraud.model().schema
    assert schema.time.origin is not None
    origin = schema.time.origin.timestamp()
    due = 0
    for place in range(_ROWS):
        while due < len(labels.ids) and labels.arrived_at[due] <= events.ts[place]:
            at = float(labels.arrived_at[due]) / 1e6 - origin
            if 0 <= labels.rows[due] < place:
                for stream in streams:
                    stream.label(labels.ids[due], int(labels.value[due]), at)
            due += 1
        yield [stream.score(event(place)) for stream in streams]


def test_in_memory_and_in_tables_flagged_decisions_have_the_same_reasons(
    database: Database, tmp_path: Path
) -> None:
    store = GraphStore(database)
    model = small_fraud.model()
    durable = model.stream(store)
    flagged = 0
    for memory, stored, silent in replayed(model.stream(), durable, model.stream(reasons=False)):
        assert memory.reasons == stored.reasons
        assert bool(memory.reasons) == memory.flag
        assert len(memory.reasons) <= 5
        assert replace(memory, reasons=(), latency_ms=0) == replace(silent, latency_ms=0)
        flagged += memory.flag
    assert flagged > 5
    durable.close()
    store.close()


def test_a_repeated_transaction_gets_its_reasons_again(database: Database) -> None:
    store = GraphStore(database)
    for stream in (Stream(small_fraud.model()), small_fraud.model().stream(store)):
        told = [stream.score(event(place)) for place in range(200)]
        again = [stream.score(event(place)) for place in range(200)]
        assert [one.reasons for one in told] == [one.reasons for one in again]
    stream.close()
    store.close()


def test_a_page_ends_where_reasons_would_take_too_long(
    house: Masthead, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("masthead.fraud.service._EXPLAINED", 4)
    house.portal.set_thresholds("cards", review=0.0, block=1.0)
    scored = [one["id"] for one in house.fraud.score_events([event(place) for place in range(10)])]
    pages, token = [], None
    while True:
        page = house.fraud.find(limit=9, token=token)
        pages.append([one["id"] for one in page.items])
        assert all(one["decision"]["reasons"] for one in page.items)
        if (token := page.next_token) is None:
            break
    assert [len(page) for page in pages] == [4, 4, 2]
    assert [id for page in pages for id in page] == scored[::-1]
    whole = house.fraud.find(limit=10, explain=False)
    assert (len(whole.items), whole.next_token) == (10, None)


def test_reasons_of_what_was_erased_are_not_remembered(house: Masthead) -> None:
    house.portal.set_thresholds("cards", review=0.0, block=1.0)
    first = house.fraud.score(flat(0))
    house.fraud.erase("card1", str(flat(0)["card1"]))
    second = house.fraud.score(flat(1, TransactionID=flat(0)["TransactionID"]))
    (listed,) = house.fraud.find().items
    assert listed["decision"]["reasons"] == second["reasons"] != first["reasons"]
