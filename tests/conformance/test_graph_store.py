"""Transactions are kept alike by both engines."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psycopg
import pytest

from masthead.base.errors import NotFound
from masthead.fraud.data.columns import Labels
from masthead.fraud.data.schema import Schema
from masthead.fraud.store import links
from masthead.fraud.store.link_records import LinkRows, MarkRow, Moment
from masthead.fraud.store.links import LinkReader, link
from masthead.fraud.store.live_data import read_live, write_live
from masthead.fraud.store.live_results import Span, marks, scores, vectors
from masthead.fraud.store.loading import load_labels
from masthead.fraud.store.log import TransactionLog
from masthead.fraud.store.records import LIVE, NewDecision, NewLabel, NewTransaction
from masthead.fraud.store.results import (
    Space,
    empty_space,
    erase_entity,
    find_transactions,
    get_transaction,
    neighbours,
    newest,
    put_space,
    recent,
    spaces,
    stats,
)
from masthead.store.engine import Database

RELATIONS = ("card", "device")


@pytest.fixture
def store(any_database: Database) -> TransactionLog:
    found = TransactionLog(any_database)
    with found.group() as group:
        put_space(group, Space(LIVE, "live", "the schema", "digest", datetime(2026, 1, 2, tzinfo=UTC)))
    yield found
    found.close()


def put(
    store: TransactionLog, id: str, ts: int, *keys: str | None, space: str = LIVE, score: float = 0.1
) -> int:
    """Write one transaction with its decision; return its number."""
    with store.group() as group:
        pairs = [pair for pair in zip(RELATIONS, keys, strict=True) if pair[1] is not None]
        known = group.entities(space, pairs)
        known |= group.new_entities(space, [pair for pair in pairs if pair not in known])
        ents = [0 if key is None else known[rel, key] for rel, key in zip(RELATIONS, keys, strict=True)]
        seq = group.head.last + 1
        row = NewTransaction(
            seq,
            space,
            id,
            ts,
            None if ts == 5 else float(ts),
            np.array(ents, np.int32).tobytes(),
            np.float32([ts]).tobytes(),
            b"[]",
            ts,
            score,
            int(score >= 0.5),
        )
        decision = NewDecision(seq, "main", "m-1", 0, score, b'{"id": "x"}', b"")
        group.add([row], [decision])
    return seq


def mark(store: TransactionLog, id: str, value: int = 1) -> int:
    with store.group() as group:
        seq = group.head.last + 1
        group.note([NewLabel(seq, LIVE, id, value, "analyst", 77)])
    return seq


def load(store: TransactionLog, said: list[tuple[str, int, int]], **options: int) -> int:
    """Load labels as (id, value, arrival); return how many were stored."""
    ids, value, at = zip(*sorted(said, key=lambda one: one[2]), strict=True)
    rows = np.full(len(said), -1, np.int64)
    labels = Labels(rows, list(ids), np.array(value, np.int8), np.array(at, np.int64))
    return load_labels(store, LIVE, labels, source="import", **options)


def test_one_sequence_numbers_transactions_and_labels(store: TransactionLog) -> None:
    assert [put(store, "a", 1, "c1", None), mark(store, "a"), put(store, "b", 2, "c1", "d")] == [1, 2, 3]
    assert store.head().last == 3


def test_labels_that_are_loaded_again_are_stored_once(store: TransactionLog) -> None:
    put(store, "a", 1, "c1", None)
    said = [("a", 1, 50), ("b", 0, 60), ("b", 0, 60), ("a", 0, 70)]
    assert load(store, said) == 3
    assert load(store, said) == 0
    assert load(store, [("a", 1, 50), ("a", 1, 80), ("c", 0, 90)], at_once=1) == 2
    assert store.head().last == 6  # no number was used for what was there
    mark(store, "a")  # an analyst's word is another label, whatever was imported
    assert load(store, [("a", 1, 77)]) == 1
    marked = store.replay(relations=2)
    assert list(zip(marked.value.tolist(), marked.arrived_at.tolist(), strict=True)) == [
        (1, 50),
        (0, 70),
        (1, 80),
        (1, 77),
        (1, 77),
    ]


def test_an_exception_takes_the_whole_group_back_and_the_next_one_goes_on(store: TransactionLog) -> None:
    put(store, "a", 1, "c1", "d1")

    def fail() -> None:
        with store.group() as group:
            group.new_entities(LIVE, [("card", "c9")])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert put(store, "b", 2, "c2", None) == 2
    assert [key for _, _, key in store.entity_keys()] == ["c1", "d1", "c2"]


def test_what_was_stored_is_given_back_whole(store: TransactionLog) -> None:
    put(store, "a", 4, 'odd, "key"-1', None, score=0.9)
    mark(store, "a", 0)
    with store.database.read() as connection:
        found = get_transaction(connection, LIVE, "a")
        with pytest.raises(NotFound, match="no transaction 'b'"):
            get_transaction(connection, LIVE, "b")
    assert (found.keys, found.ts, found.amount, found.flagged) == (('odd, "key"-1', None), 4, 4.0, True)
    assert (found.decision, found.labels[0].value, found.labels[0].source) == (b'{"id": "x"}', 0, "analyst")


def test_the_newest_neighbours_come_first_ties_by_number_and_a_hub_is_cut(store: TransactionLog) -> None:
    for place in range(30):
        put(store, f"h{place}", 10 + place // 2, "hub", None)
    with store.database.read() as connection:
        found = recent(connection, LIVE, ("card", "hub"), before=24, limit=5)
        assert [one.id for one in found] == ["h27", "h26", "h25", "h24", "h23"]
        assert recent(connection, LIVE, ("card", "nobody"), before=24) == []


def test_neighbours_of_one_entity_cost_one_statement_beside_those_of_all(
    store: TransactionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in range(9):
        put(store, str(place), place, "c", "d" if place % 2 else None)
    asked: list[object] = []
    with store.database.read() as connection:
        if store.database.is_sqlite:
            connection.connection.driver_connection.set_trace_callback(asked.append)
        else:
            run = psycopg.Cursor.execute
            monkeypatch.setattr(
                psycopg.Cursor,
                "execute",
                lambda *given, **also: asked.append(given[1]) or run(*given, **also),
            )
        found = neighbours(connection, [1, 2], before=8, limit=3)
        if store.database.is_sqlite:
            connection.connection.driver_connection.set_trace_callback(None)
    assert [[one.id for one in found[eid]] for eid in (1, 2)] == [["7", "6", "5"], ["7", "5", "3"]]
    # Up to where links go, what is newer, the blocks of each (PostgreSQL: of all), the transactions.
    assert len(asked) == 2 + (2 if store.database.is_sqlite else 1) + 1


def linked(store: TransactionLog, *eids: int, **bounds: int) -> list[list[tuple[int, int]]]:
    """Return (ts, seq) of each entity's newest transactions."""
    with store.database.read() as connection:
        found = LinkReader(connection).newest_of(eids, **{"until": 2**60, "limit": 9_999, **bounds})
    return [list(zip(found[eid].ts.tolist(), found[eid].seq.tolist(), strict=True))[::-1] for eid in eids]


def test_links_are_the_same_whenever_they_are_written(store: TransactionLog) -> None:
    draw = np.random.default_rng(3)
    truth: dict[int, list[tuple[int, int]]] = {1: [], 2: []}
    for place in range(700):  # a hub of three blocks; some transactions come late, some at the same time
        ts, both = int(place // 3 * 1_000_000 - draw.choice([0, 0, 0, 5_500_000, 10**8])), place % 9 == 0
        seq = put(store, str(place), ts, "hub", "d" if both else None)
        truth[1].append((ts, seq))
        if both:
            truth[2].append((ts, seq))
        if place in (5, 6, 400, 650):
            link(store)
    wanted = [sorted(truth[eid], reverse=True) for eid in (1, 2)]
    assert linked(store, 1, 2) == wanted
    bounds = {"until": 100_000_000, "below": 400, "limit": 20}
    early = [[one for one in found if one[0] <= 100_000_000 and one[1] < 400][:20] for found in wanted]
    assert linked(store, 1, 2, **bounds) == early
    link(store)
    assert linked(store, 1, 2) == wanted
    assert linked(store, 1, 2, **bounds) == early
    with store.group() as group:
        assert group.run("SELECT count(*) FROM fraud_links WHERE eid = 1").fetchone()[0] >= 3
        group.run("UPDATE fraud_linked SET seq = 3")  # as after a kill -9: done, and not yet said
    link(store)
    assert linked(store, 1, 2) == wanted
    assert linked(store, 99) == [[]]


def test_links_of_what_is_taken_away_while_they_are_written_do_not_come_back(
    store: TransactionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.group() as group:
        put_space(group, Space("live", "live", "s", "g", datetime(2026, 1, 2, tzinfo=UTC)))
    for place in range(20):
        put(store, str(place), place, f"c{place}", "shared")
    monkeypatch.setattr(links, "_AT_ONCE", 1)
    taken: list[dict[str, int]] = []
    merged = links._merged

    def interrupted(*given: object) -> object:  # another process erases between two commits
        found = merged(*given)
        if len(taken) == 0 and given[1].eid[0] == 9:
            taken.append({})
            taken[:] = [erase_entity(store, LIVE, "card", "c7")]
        return found

    monkeypatch.setattr(links, "_merged", interrupted)
    link(store)
    link(store)
    assert taken == [{"transactions": 1, "entities": 1}]
    (shared,) = linked(store, 2)
    assert [seq for _, seq in shared] == [seq for seq in range(20, 0, -1) if seq != 8]
    assert linked(store, 9) == [[]]  # c7


def test_numbers_that_are_given_again_are_linked_again(store: TransactionLog) -> None:
    with store.group() as group:
        put_space(group, Space("live", "live", "s", "g", datetime(2026, 1, 2, tzinfo=UTC)))
    put(store, "a", 1, "c1", "d")
    assert put(store, "b", 2, "c2", "d") == 2
    link(store)
    erase_entity(store, LIVE, "card", "c2")
    assert put(store, "again", 3, "c3", "d") == 2
    for _ in range(2):
        assert linked(store, 2) == [[(3, 2), (1, 1)]]
        link(store)


def test_a_late_transaction_stands_at_its_time(store: TransactionLog) -> None:
    for id, ts in (("a", 10), ("b", 30), ("late", 20)):
        put(store, id, ts, "c", None)
    with store.database.read() as connection:
        assert [one.id for one in recent(connection, LIVE, ("card", "c"), before=99)] == ["b", "late", "a"]
        assert [one.id for one in recent(connection, LIVE, ("card", "c"), before=30)] == ["late", "a"]


def test_replay_gives_what_came_in_order_and_labels_once_both_are_there(store: TransactionLog) -> None:
    put(store, "a", 5, "c", None)
    mark(store, "b")
    put(store, "b", 3, "c", "d")
    mark(store, "never")
    whole = store.replay(relations=2)
    assert whole.seq.tolist() == [1, 3]
    assert whole.ts.tolist() == [5, 3]
    assert np.isnan(whole.amount[0])
    assert whole.amount[1] == 3.0
    assert whole.ents.tolist() == [[1, 0], [1, 2]]
    assert (whole.label_seq.tolist(), whole.labelled.tolist()) == ([2], [3])
    assert store.replay(2, relations=2).labelled.tolist() == [3]
    assert store.replay(2, relations=2, until=2).seq.tolist() == []
    assert store.waiting_labels(LIVE) == {"never"}
    assert store.replay(9, relations=2).ents.shape == (0, 2)


def test_pages_go_from_new_to_old_and_flagged_ones_can_be_asked_for(store: TransactionLog) -> None:
    for place in range(6):
        put(store, str(place), 10 + place // 2, None, "d", score=0.6 if place % 2 else 0.2)
    with store.database.read() as connection:

        def ids(**given: object) -> list[str]:
            bounds = {"flagged": None, "start": 0, "end": 99, "limit": 3} | given
            return [one.id for one in find_transactions(connection, LIVE, **bounds)]

        assert ids() == ["5", "4", "3"]
        assert ids(before=(11, 4)) == ["2", "1", "0"]
        assert ids(flagged=True) == ["5", "3", "1"]
        assert ids(flagged=False, end=12) == ["2", "0"]
        assert ids(start=12) == ["5", "4"]
        told = stats(connection, LIVE, start=11, end=13)
    assert told == {"totalCount": 4, "totalAmount": 46.0, "fraudCount": 2, "totalFraudAmount": 23.0}


def test_a_simulation_shares_nothing_with_real_transactions_and_goes_without_a_trace(
    store: TransactionLog,
) -> None:
    put(store, "a", 1, "c", "d")
    with store.group() as group:
        put_space(group, Space("sim-1", "simulation", "s", "g", datetime(2026, 1, 2, tzinfo=UTC)))
    put(store, "a", 2, "c", "d", space="sim-1")
    with store.database.read() as connection:
        assert [(one.name, one.transactions) for one in spaces(connection, counted=True)] == [
            ("live", 1),
            ("sim-1", 1),
        ]
        assert recent(connection, "sim-1", ("card", "c"), before=9)[0].ts == 2
    before = store.head().epoch
    with store.group() as group:
        assert empty_space(group, "sim-1") == 1
    assert store.head().epoch == before + 1
    with store.database.read() as connection:
        assert [one.name for one in spaces(connection)] == ["live"]
        assert [one.id for one in recent(connection, LIVE, ("card", "c"), before=9)] == ["a"]
        assert recent(connection, "sim-1", ("card", "c"), before=9) == []


def test_an_erased_entity_leaves_nothing_and_others_keep_theirs(store: TransactionLog) -> None:
    put(store, "a", 1, "ann-1234567", "shared")
    put(store, "b", 2, "ann-1234567", "hers-7654321")
    put(store, "c", 3, "bob", "shared")
    mark(store, "a")
    mark(store, "c")
    assert erase_entity(store, LIVE, "card", "ann-1234567") == {"transactions": 2, "entities": 2}
    assert [key for _, _, key in store.entity_keys()] == ["shared", "bob"]
    assert store.replay(relations=2).labelled.tolist() == [3]
    with store.database.read() as connection:
        assert [one.id for one in recent(connection, LIVE, ("device", "shared"), before=9)] == ["c"]
    with pytest.raises(NotFound, match="card 'ann-1234567'"):
        erase_entity(store, LIVE, "card", "ann-1234567")
    if store.database.is_sqlite:
        path = store.database.engine.url.database
        files = [Path(f"{path}{end}").read_bytes() for end in ("", "-wal")]
        assert not any(text in file for file in files for text in (b"ann-123", b"hers-765"))


def test_many_rows_at_once_are_the_same_rows(store: TransactionLog) -> None:
    with store.group() as group:
        known = group.new_entities(LIVE, [("card", f"c{place}") for place in range(600)])
        rows = [
            NewTransaction(
                place + 1,
                LIVE,
                f"t{place}",
                place,
                None,
                np.int32([place + 1, 0]).tobytes(),
                b"\x00\\\n",
                b"[]",
                0,
                None,
                0,
            )
            for place in range(600)
        ]
        group.add(rows)
        assert group.find(LIVE, ["t7", "t599", "no"]) == {"t7": rows[7], "t599": rows[599]}
        assert group.entities(LIVE, [("card", "c5"), ("card", "none")]) == {
            ("card", "c5"): known["card", "c5"]
        }
        assert group.decision(7) is None
    assert store.replay(relations=2).ents[:, 0].tolist() == list(range(1, 601))


def test_a_clock_that_is_wrong_does_not_say_what_is_newest(store: TransactionLog) -> None:
    day, now = 86_400_000_000, 400 * 86_400_000_000
    put(store, "ahead", now + 3 * day, "c", "d")
    with store.database.read() as connection:
        assert newest(connection, LIVE, now=now) == now + 3 * day  # all of them lie ahead
    put(store, "usual", now - 7 * day, "c", "d")
    put(store, "tomorrow", now + day // 2, "c", "d")
    with store.database.read() as connection, store.group() as group:
        assert newest(connection, LIVE, now=now) == now + day // 2
        assert group.newest(LIVE, until=now) == now - 7 * day
        assert group.newest("nowhere", until=now) == 0


def test_what_explanations_ask_is_answered_as_of_a_moment(store: TransactionLog) -> None:
    a, b, x = (
        put(store, "a", 10, "c1", "d1"),
        put(store, "b", 20, "c1", None),
        put(store, "x", 90, "c1", "d1"),
    )
    told, late = mark(store, "a"), put(store, "late", 15, "c1", None)
    with store.database.read() as connection:
        rows, head = LinkRows(connection), store.head_of(connection)
        decided = rows.decided(LIVE, "x")
        assert (decided.seq, decided.model, decided.ents) == (x, "m-1", (1, 2))
        assert rows.names(decided.ents) == {1: "c1", 2: "d1"}
        assert rows.names([]) == {}
        assert [one.seq for one in rows.linked(1, decided.moment, 9)] == [b, a]
        assert (rows.degree(1, decided.moment, 5), rows.degree(1, decided.moment, 1)) == (2, 2)
        assert rows.labels(LIVE, ["a", "b"], decided.moment) == {}
        assert rows.labels(LIVE, ["a", "b"], Moment(90, x, told + 1)) == {"a": (1, 77)}
        for first in (0, told):
            assert rows.marks(LIVE, first) == [MarkRow(a, "a", 10, (1, 2), 77, told, 1)]
        assert rows.marks(LIVE, late + 1) == []
        assert [one.number for one in rows.recent(LIVE, 0, 0)] == [a, b, x, told, late]
        assert [one.number for one in rows.recent(LIVE, 9, told)] == [told, late]
        assert [one.number for one in rows.recent(LIVE, 10, told)] == [late]
        assert [one.id for one in rows.transactions([late, a])] == ["a", "late"]
        assert (newest(connection, LIVE, now=10**15), newest(connection, "nowhere", now=0), head.last) == (
            90,
            None,
            late,
        )
        with pytest.raises(NotFound, match="no transaction"):
            rows.decided(LIVE, "y")


SCHEMA = """
name = "cards"
numerics = ["n"]
[transaction]
id = "id"
time = "time"
amount = "amount"
[entities]
card = "card"
device = "device"
"""


def test_what_a_model_said_and_what_became_of_it_is_read_by_window(store: TransactionLog) -> None:
    for place, score in enumerate((0.1, 0.9, 0.4)):
        put(store, f"t{place}", 10 * place, "c1", None, score=score)
    put(store, "else", 10, "c1", None, space="sim")
    with store.group() as group:  # the same model under another name, and another model, both in shadow
        group.add([], [NewDecision(2, "twin", "m-1", 1, 0.9, b"{}", b"v2")])
        group.add([], [NewDecision(2, "other", "m-2", 1, 0.3, b"{}", b"w2")])
    mark(store, "t1", 1)
    mark(store, "t1", 0)
    mark(store, "t0", 1)
    span = Span(LIVE, 0, 20)
    with store.database.read() as connection:
        said = scores(connection, span, "m-1", limit=10)
        assert (said.seq.tolist(), said.ts.tolist(), said.score.tolist()) == ([1, 2], [0, 10], [0.1, 0.9])
        assert scores(connection, span, "m-1", limit=1).seq.tolist() == [2], "the newest stay"
        assert scores(connection, span, "m-2", limit=10).score.tolist() == [0.3]
        assert scores(connection, span, "m-3", limit=10).seq.tolist() == []
        assert vectors(connection, [1, 2], "m-2") == [b"w2"]
        labelled, value = marks(connection, span, until=77)
        assert (labelled.tolist(), value.tolist()) == ([2, 2, 1], [1, 0, 1])
        assert marks(connection, span, until=76)[0].tolist() == []


def test_all_that_is_stored_is_written_and_read_back_alike(store: TransactionLog, tmp_path: Path) -> None:
    put(store, "b", 7, "c1", None)
    put(store, "a", 5, "c2", "d1")
    put(store, "else", 6, "c1", "d1", space="sim")
    mark(store, "nobody")
    mark(store, "a")
    schema = Schema.parse(SCHEMA)
    found = write_live(store, LIVE, schema, tmp_path, lambda done, total: None)
    assert (found["rows"], found["labels"]) == (2, 2)
    events, labels = read_live(schema, tmp_path)
    assert [(one.id, one.ts, one.keys) for one in map(events.event, range(2))] == [
        ("a", 5, ("c2", "d1")),
        ("b", 7, ("c1", None)),
    ]
    assert (np.isnan(events.amount).tolist(), events.numerics.ravel().tolist()) == ([True, False], [5.0, 7.0])
    assert (labels.ids, labels.rows.tolist(), labels.value.tolist()) == (["nobody", "a"], [-1, 0], [1, 1])
