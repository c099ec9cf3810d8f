"""Transactions scored into the tables: durable, once, in order, and the same as in memory."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_fraud

from masthead.base.errors import Conflict, InvalidInput, LimitReached
from masthead.fraud.data.columns import Event
from masthead.fraud.data.events import read_labels
from masthead.fraud.live.durable import DurableStream
from masthead.fraud.live.graph_store import GraphStore
from masthead.fraud.live.writer import MOST_TOGETHER, Writer
from masthead.fraud.scoring.stream import Stream
from masthead.fraud.store.loading import load_events, load_labels
from masthead.fraud.store.packing import event_of
from masthead.fraud.store.records import LIVE
from masthead.fraud.store.results import erase_entity, get_transaction
from masthead.store.engine import Database

DAY = 86_400_000_000


@pytest.fixture
def store(database: Database) -> Iterator[GraphStore]:
    found = GraphStore(database)
    yield found
    found.close()


@pytest.fixture
def stream(store: GraphStore) -> Iterator[DurableStream]:
    found = store.stream(small_fraud.model())
    yield found
    found.close()


def event(place: int) -> Event:
    return small_fraud.events().event(place)


def expected_after(stream: DurableStream, first: Event, second: Event) -> object:
    """Return the features of the second event for a stream that has answered to the first one again."""
    stream.score(first)
    return stream.ledger.books[LIVE].states[0].features(second)


def later(place: int, **changes: object) -> Event:
    return replace(event(place), id=f"new-{place}", **changes)


def test_durable_scores_equal_those_in_memory_to_the_bit_also_after_a_restart(
    store: GraphStore, stream: DurableStream
) -> None:
    memory = Stream(small_fraud.model())
    for place in range(150):
        assert stream.score(event(place)).pred_prob == memory.score(event(place)).pred_prob
        if place % 10 == 3:
            at = event(place).ts + DAY
            for one in (stream, memory):
                one.label(event(place).id, "fraud", at / 1e6 - 1_512_086_400)
    again = store.stream(small_fraud.model())
    for place in range(150, 250):
        assert again.score(event(place)).pred_prob == memory.score(event(place)).pred_prob
    again.close()


def test_a_stream_that_keeps_its_state_goes_on_from_it(
    store: GraphStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Stream(small_fraud.model())
    first = store.stream(small_fraud.model(), snapshots=tmp_path)
    for place in range(150):
        assert first.score(event(place)).pred_prob == memory.score(event(place)).pred_prob
    first.close()
    asked: list[int] = []
    replay = store.replay
    monkeypatch.setattr(
        store, "replay", lambda first, **more: (asked.append(first), replay(first, **more))[1]
    )
    again = store.stream(small_fraud.model(), snapshots=tmp_path)
    assert set(asked) == {151}  # nothing that the snapshot holds is read again
    for place in range(150, 200):
        assert again.score(event(place)).pred_prob == memory.score(event(place)).pred_prob
    again.close()


def test_another_process_that_writes_is_followed_before_the_next_answer(
    store: GraphStore, stream: DurableStream
) -> None:
    memory = Stream(small_fraud.model())
    other_store = GraphStore(store.database)
    other = other_store.stream(small_fraud.model())
    for place in range(60):
        one = (stream, other)[place // 7 % 2]
        assert one.score(event(place)).pred_prob == memory.score(event(place)).pred_prob
    other.close()
    other_store.close()


def test_the_same_transaction_again_gets_the_first_answer_and_writes_nothing(
    store: GraphStore, stream: DurableStream
) -> None:
    first = stream.score(event(0))
    stream.score(event(1))
    again = stream.score(event(0))
    assert replace(again, latency_ms=0) == replace(first, latency_ms=0)
    assert store.head().last == 2


def test_the_same_id_with_other_content_is_a_conflict_and_the_rest_of_the_batch_is_taken(
    stream: DurableStream,
) -> None:
    stream.score(event(0))
    found = stream.score_many([replace(event(0), amount=1.0), event(1), event(1), replace(event(1), ts=5)])
    assert isinstance(found[0], Conflict)
    assert "TransactionAmt" in found[0].message
    assert found[1].pred_prob == found[2].pred_prob
    assert isinstance(found[3], Conflict)
    assert "TransactionDT" in found[3].message


def test_missing_values_share_no_entity(store: GraphStore, stream: DurableStream) -> None:
    bare = replace(event(0), keys=(None,) * len(event(0).keys), amount=float("nan"))
    for place in range(50):
        stream.score(replace(bare, id=str(place)))
    assert store.entity_keys() == []
    with store.database.read() as connection:
        stored = event_of(get_transaction(connection, LIVE, "7"))
    assert np.isnan(stored.amount)
    assert stored.keys == bare.keys
    np.testing.assert_array_equal(stored.numerics, bare.numerics)
    assert stored.categories == bare.categories


def test_a_late_transaction_knows_only_what_was_before_it_and_the_order_of_arrival_is_no_matter_afterwards(
    store: GraphStore, database: Database
) -> None:
    def ends(order: list[int], space: str) -> float:
        stream = DurableStream(small_fraud.model(), store, space=space)
        for place in order:
            stream.score(event(place))
        found = stream.score(event(99)).pred_prob
        stream.close()
        return found

    early = list(range(90))
    late = [*range(40), *range(41, 90), 40]
    assert ends(early, "early") == ends(late, "late")


def test_a_label_of_a_transaction_that_has_not_come_waits_for_it_also_through_a_restart(
    store: GraphStore, stream: DurableStream
) -> None:
    memory = Stream(small_fraud.model())
    at = event(5).ts / 1e6 - 1_512_086_401
    assert not stream.label(event(5).id, "fraud", at)
    memory.label(event(5).id, "fraud", at)
    again = store.stream(small_fraud.model())
    for place in range(40):
        assert again.score(event(place)).pred_prob == memory.score(event(place)).pred_prob
    again.close()
    after = store.stream(small_fraud.model())
    assert after.ledger.books[LIVE].waiting == set()
    assert store.replay(relations=len(small_fraud.model().schema.relations)).labelled.tolist() == [7]
    after.close()


def test_a_label_that_arrives_later_is_not_known_before(stream: DurableStream) -> None:
    for place in range(30):
        stream.score(event(place))
    book = stream.ledger.books[LIVE]
    before = stream.score(later(3, ts=event(29).ts)).pred_prob
    stream.label(event(3).id, "fraud", (event(29).ts + DAY) / 1e6 - 1_512_086_400)
    assert len(book.coming) == 1
    assert stream.score(replace(later(3), id="x", ts=event(29).ts)).pred_prob is not None
    assert len(book.coming) == 1
    stream.score(replace(later(3), id="y", ts=event(29).ts + 2 * DAY))
    assert book.coming == []
    assert before > 0


def test_a_commit_that_fails_is_nobodys_answer_and_the_state_is_rebuilt_before_the_next(
    store: GraphStore, stream: DurableStream
) -> None:
    memory = Stream(small_fraud.model())
    for place in range(20):
        assert stream.score(event(place)).pred_prob == memory.score(event(place)).pred_prob
    # A full disk, as SQLite tells it: the file may not grow any more.
    driver = store._opened()
    pages = driver.execute("PRAGMA page_count").fetchone()[0]
    driver.execute(f"PRAGMA max_page_count={pages}")

    def fill() -> None:
        for place in range(20, 2_000):
            stream.score(event(place))

    with pytest.raises(LimitReached, match="no space left"):
        fill()
    stored = store.head().last
    driver.execute("PRAGMA max_page_count=1073741823")
    for place in range(20, stored):
        memory.score(event(place))
    for place in range(stored, stored + 30):
        assert stream.score(event(place)).pred_prob == memory.score(event(place)).pred_prob


def test_history_that_is_loaded_counts_as_if_it_had_been_streamed(store: GraphStore) -> None:
    model, events = small_fraud.model(), small_fraud.events()
    labels = read_labels(model.schema, events, small_fraud.folder() / "data" / "labels.csv")
    memory = Stream(model)
    until = int(events.ts[2_000])
    memory.warm(events, labels, until=until)
    stream = store.stream(model)
    rows = np.arange(2_000)
    done = load_events(store, LIVE, model.schema, events.take(rows), now_us=0, at_once=700)
    assert (done.loaded, done.repeated, done.refused) == (2_000, 0, 0)
    assert load_labels(store, LIVE, labels, source="import") == len(labels)
    for place in range(2_000, 2_100):
        assert stream.score(event(place)).pred_prob == memory.score(event(place)).pred_prob
    again = load_events(store, LIVE, model.schema, events.take(np.arange(50)), now_us=0)
    assert (again.loaded, again.repeated) == (0, 50)
    changed = replace(events.take(np.arange(50)), amount=np.full(50, 7.0))
    told = load_events(store, LIVE, model.schema, changed, now_us=0)
    assert told.refused + told.repeated == 50
    reason = told.problems[0]["reason"]
    assert reason.startswith("TransactionID: TransactionAmt was ")
    assert reason.endswith("is 7.0 now")
    assert isinstance(stream.score_many([event(3)])[0], Conflict)
    stream.close()


def test_what_was_erased_is_gone_from_the_states_of_those_who_serve(
    store: GraphStore, stream: DurableStream
) -> None:
    card = event(0).keys[0]
    for place in range(60):
        stream.score(event(place))
    gone = erase_entity(store, LIVE, small_fraud.model().schema.relations[0].name, card)
    assert gone["transactions"] >= 1
    fresh = store.stream(small_fraud.model())
    (former,) = stream.ledger.books[LIVE].states
    assert len(former) == 60
    stream.score(event(60))
    (state,) = stream.ledger.books[LIVE].states
    assert len(state) == 61 - gone["transactions"]
    np.testing.assert_array_equal(state.features(event(61)), expected_after(fresh, event(60), event(61)))
    fresh.close()


def test_many_callers_share_commits_and_each_gets_its_own_answer(
    store: GraphStore, stream: DurableStream
) -> None:
    answers: dict[str, str] = {}

    def call(part: int) -> None:
        for place in range(part, 240, 12):
            answers[event(place).id] = stream.score(event(place)).id

    commits: list[str] = []

    def slowed(statement: str) -> None:
        if statement == "COMMIT":
            commits.append(statement)
            time.sleep(0.002)  # as long as on a common disk: meanwhile the others come

    store._opened().set_trace_callback(slowed)
    threads = [threading.Thread(target=call, args=(part,)) for part in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store._opened().set_trace_callback(None)
    assert answers == {event(place).id: event(place).id for place in range(240)}
    assert store.head().last == 240
    assert 20 <= len(commits) <= 120  # twelve callers of twenty each: one commit for all of them at best


def test_the_latency_that_is_told_covers_the_commit(store: GraphStore, stream: DurableStream) -> None:
    stream.score(event(0))
    store._opened().set_trace_callback(lambda statement: time.sleep(0.15) if statement == "COMMIT" else None)
    found = stream.score(event(1))
    store._opened().set_trace_callback(None)
    assert found.latency_ms >= 150
    assert found.time == found.latency_ms / 1e3


def test_an_id_that_no_engine_can_hold_is_refused(stream: DurableStream) -> None:
    with pytest.raises(InvalidInput, match="without NUL"):
        stream.score(replace(event(0), id="a\0b"))


def test_a_model_of_another_schema_is_refused(store: GraphStore, stream: DurableStream) -> None:
    other = small_fraud.model()
    changed = replace(other.schema, name="other", numerics=())
    model = type(other).__new__(type(other))
    model.__dict__.update(other.__dict__ | {"schema": changed})
    with pytest.raises(Conflict, match="the transactions have"):
        store.stream(model)


def test_a_lone_request_does_not_wait_and_a_full_queue_is_told() -> None:
    groups: list[int] = []
    gate = threading.Event()

    def work(jobs: object) -> None:
        groups.append(len(jobs))
        gate.wait(5)

    writer = Writer(work, most_waiting=5)
    threads = [threading.Thread(target=writer.submit, args=(n,)) for n in range(6)]
    threads[0].start()
    while not groups:
        pass
    for thread in threads[1:]:
        thread.start()
    while writer.waiting < 5:
        pass
    with pytest.raises(LimitReached, match="at most 5 requests"):
        writer.submit(9)
    gate.set()
    for thread in threads:
        thread.join()
    writer.close()
    assert groups == [1, 5]
    assert MOST_TOGETHER == 64
    with pytest.raises(Conflict, match="ends"):
        writer.submit(1)
