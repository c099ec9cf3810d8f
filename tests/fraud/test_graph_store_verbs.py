"""What a program has of a store, on both engines: scored, labelled, asked, exported, without a server."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import small_fraud

from masthead.base.errors import Conflict, InvalidInput, NotFound
from masthead.fraud import GraphStore
from masthead.fraud.data.columns import Event
from masthead.fraud.data.neptune import read_neptune
from masthead.fraud.scoring.stream import Stream
from masthead.store.engine import Database

DAY = 86_400_000_000


@pytest.fixture
def store(any_database: Database) -> Iterator[GraphStore]:
    found = GraphStore(any_database)
    yield found
    found.close()


def event(place: int) -> Event:
    return small_fraud.events().event(place)


def linked(id: str, day: float, card: str | None, device: str | None) -> Event:
    """Return a made-up transaction that shares at most a card and a device with others."""
    schema = small_fraud.model().schema
    keys = {"card1": card, "id_20": device}
    return Event(
        id,
        small_fraud.events().event(0).ts + int(day * DAY),
        10.0,
        tuple(keys.get(one.name) for one in schema.relations),
        np.zeros(len(schema.numerics), np.float32),
        (None,) * len(schema.categoricals),
    )


@pytest.fixture
def chain(store: GraphStore) -> GraphStore:
    """a - card c1 - b - device d1 - c - card c2 - d; a is confirmed on day 3, c on day 20."""
    store.append(
        [
            linked("a", 0, "c1", None),
            linked("b", 1, "c1", "d1"),
            linked("c", 2, "c2", "d1"),
            linked("d", 3.5, "c2", None),
        ],
        small_fraud.model(),
    )
    store.set_label("a", "fraud", "chargeback", at=event(0).ts + 3 * DAY)
    store.set_label("c", "fraud", "analyst", at=event(0).ts + 20 * DAY)
    return store


def test_what_is_appended_is_decided_once_as_in_memory_and_labels_count_from_when_they_arrive(
    store: GraphStore,
) -> None:
    model = small_fraud.model()
    memory = Stream(model, reasons=False)
    first = store.append([event(place) for place in range(20)], model)
    assert [one.pred_prob for one in first] == [memory.score(event(place)).pred_prob for place in range(20)]
    at = event(19).ts
    assert store.set_label(event(3).id, "fraud", at=at)
    memory.label(event(3).id, "fraud", datetime.fromtimestamp(at / 1e6, UTC))
    assert not store.set_label("yet to come", 0, "analyst")
    later = store.append([event(place) for place in range(20, 60)], model)
    assert [one.pred_prob for one in later] == [
        memory.score(event(place)).pred_prob for place in range(20, 60)
    ]
    assert store.append([event(0)], model)[0].pred_prob == first[0].pred_prob
    last = store.head().last
    assert store.set_label(event(3).id, "fraud", at=at)  # the same said again is kept once
    assert store.head().last == last
    with pytest.raises(
        InvalidInput, match="source: expected one of chargeback, analyst, import, got 'rumour'"
    ):
        store.set_label(event(3).id, "fraud", "rumour")
    with pytest.raises(InvalidInput, match="expected fraud or legit"):
        store.set_label(event(3).id, "perhaps")


def test_a_models_stream_takes_a_label_only_from_who_may_give_one(store: GraphStore) -> None:
    with store.stream(small_fraud.model()) as stream:
        stream.score(event(0))
        assert stream.label(event(0).id, "fraud", source="analyst")
        with pytest.raises(
            InvalidInput, match="source: expected one of chargeback, analyst, import, got 'rumour'"
        ):
            stream.label(event(0).id, "fraud", source="rumour")


def names(found: dict[str, Any]) -> list[str]:
    return [one.get("transaction") or f"{one['relation']}={one['value']}" for one in found["nodes"]]


def test_a_subgraph_goes_as_far_as_it_is_asked_and_knows_nothing_later(chain: GraphStore) -> None:
    one = chain.subgraph(["a"], hops=1)
    assert names(one) == ["a", "card1=c1"]
    two = chain.subgraph(["a"])
    assert names(two) == ["a", "b", "card1=c1"]
    four = chain.subgraph(["a"], hops=4)
    assert names(four) == ["a", "b", "c", "card1=c1", "id_20=d1"]
    assert {one["id"]: one["label"] for one in four["nodes"] if one["kind"] == "transaction"} == {
        one["id"]: "unknown" if one["transaction"] == "b" else "fraud"
        for one in four["nodes"]
        if one["kind"] == "transaction"
    }
    by = {one["id"]: name for one, name in zip(four["nodes"], names(four), strict=True)}
    assert sorted((by[one["transaction"]], by[one["entity"]]) for one in four["edges"]) == [
        ("a", "card1=c1"),
        ("b", "card1=c1"),
        ("b", "id_20=d1"),
        ("c", "id_20=d1"),
    ]
    assert names(chain.subgraph(["a"], hops=6)) == ["a", "b", "c", "d", "card1=c1", "id_20=d1", "card1=c2"]
    early = chain.subgraph(["a"], as_of=event(0).ts + DAY, hops=6)
    assert names(early) == ["a", "b", "card1=c1", "id_20=d1"]
    assert {one.get("label") for one in early["nodes"]} == {"unknown", None}
    assert names(chain.subgraph(["b"], fan=(1, 1))) == ["b", "card1=c1"]  # the newest of the card is itself
    for wrong, field in (
        ({"hops": 0}, "hops"),
        ({"hops": 7}, "hops"),
        ({"fan": (1,)}, "fan"),
        ({"fan": (0, 5)}, "fan"),
    ):
        with pytest.raises(InvalidInput) as caught:
            chain.subgraph(["a"], **wrong)
        assert caught.value.field == field
    with pytest.raises(NotFound, match="no transaction 'nobody'"):
        chain.subgraph(["a", "nobody"])


def test_paths_lead_to_frauds_that_were_known_by_then(chain: GraphStore) -> None:
    def frauds(id: str, **more: Any) -> list[tuple[str, int]]:
        return [(one["fraud"], one["hops"]) for one in chain.paths(id, **more)]

    start = event(0).ts
    assert frauds("d") == []  # as of its decision: a was known, and is six hops away
    assert frauds("d", as_of=start + 19 * DAY) == []
    assert frauds("d", as_of=start + 20 * DAY) == [("c", 2)]
    assert frauds("c", as_of=start + 2 * DAY) == []
    assert frauds("c", as_of=start + 3 * DAY) == [("a", 4)]
    assert frauds("c", as_of=start + 3 * DAY, max_hops=2) == []
    assert frauds("b", as_of=start + 30 * DAY) == [("a", 2)]  # of what was accepted before it
    with pytest.raises(InvalidInput) as caught:
        chain.paths("d", max_hops=3)
    assert caught.value.field == "max_hops"
    with pytest.raises(NotFound, match="no transaction"):
        chain.paths("nobody")


def test_all_that_is_stored_is_exported_and_can_be_read_again(chain: GraphStore, tmp_path: Path) -> None:
    chain.append([event(place) for place in range(30)], small_fraud.model())
    told = chain.export(tmp_path / "graph")
    again = read_neptune(chain.schema(), tmp_path / "graph")
    stored = {one.id: one for one in [event(place) for place in range(30)]}
    assert told["transactions"] == len(again) == 34
    for place in range(len(again)):
        one = again.event(place)
        if one.id in stored:
            assert (one.ts, one.keys, one.categories) == (
                stored[one.id].ts,
                stored[one.id].keys,
                stored[one.id].categories,
            )
            np.testing.assert_array_equal(one.numerics, stored[one.id].numerics)
    told = chain.export(tmp_path / "tables", "parquet")
    assert (told["rows"], told["labels"]) == (34, 2)
    assert pq.read_table(tmp_path / "tables" / "labels.parquet")["id"].to_pylist() == ["a", "c"]
    with pytest.raises(InvalidInput) as caught:
        chain.export(tmp_path, "gremlin")
    assert caught.value.field == "format"


def test_an_empty_store_says_that_there_is_nothing(store: GraphStore, tmp_path: Path) -> None:
    for ask in (
        store.schema,
        lambda: store.subgraph(["a"]),
        lambda: store.paths("a"),
        lambda: store.export(tmp_path),
    ):
        with pytest.raises(NotFound, match="none named 'live'"):
            ask()
    with (
        store.stream(small_fraud.model()),
        pytest.raises(Conflict, match="expected transactions in the space live"),
    ):
        store.export(tmp_path / "x")
