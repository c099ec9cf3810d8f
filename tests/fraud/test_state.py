"""What the graph remembers: replayed and served alike to the bit, nothing of the future, windows as counted by hand."""

from dataclasses import replace

import card_events
import numpy as np
import pytest

from masthead.base.errors import InvalidInput
from masthead.fraud.scoring.features import Layout
from masthead.fraud.scoring.state import GraphState

DAY = card_events.DAY


def made(n: int = 3000, seed: int = 0):
    schema, events = card_events.schema(), card_events.events(n, seed=seed)
    layout = Layout.learn(schema, events, np.arange(n))
    return events, card_events.labels(events, seed=seed), layout


def column(layout: Layout, name: str) -> int:
    return layout.names.index(name)


def served(layout, events, labels):
    """Return features as serving makes them: one event at a time, labels as they arrive between them."""
    state, told, found = GraphState(layout), 0, []
    pending = []
    for i in range(len(events)):
        while told < len(labels) and labels.arrived_at[told] <= events.ts[i]:
            pending.append(told)
            told += 1
        for k in list(pending):
            if labels.rows[k] < i:
                state.label(int(labels.rows[k]), int(labels.value[k]), int(labels.arrived_at[k]))
                pending.remove(k)
        event = events.event(i)
        looked = state.features(event)
        state.add(i, event)
        found.append(looked)
    return np.array(found)


def test_parity_of_replayed_and_served_features_over_3000_rows():
    events, labels, layout = made(3000)
    replayed = GraphState(layout).replay(events, labels, rows=np.arange(3000))
    assert replayed.tobytes() == served(layout, events, labels).tobytes()
    assert (
        np.isfinite(replayed)
        .any(axis=0)[[column(layout, "device.frauds_7d"), column(layout, "shop.burst")]]
        .all()
    )


def test_leakage_permuting_everything_after_t_changes_nothing_up_to_t():
    events, labels, layout = made(2000)
    t = int(events.ts[1200])
    early, late = np.flatnonzero(events.ts <= t), np.flatnonzero(events.ts > t)
    rng = np.random.default_rng(1)
    shuffled = events.take(np.concatenate([early, rng.permutation(late)]))
    moved = replace(shuffled, ts=events.ts, inline_label=events.inline_label)
    unknown = labels.arrived_at > t
    value = labels.value.copy()
    value[unknown] = rng.permutation(value[unknown])
    for other in (replace(labels, value=value), labels):
        a = GraphState(layout).replay(events, labels, rows=early)
        b = GraphState(layout).replay(moved, other, rows=early)
        assert a.tobytes() == b.tobytes()


def test_windows_and_labels_are_those_counted_by_hand():
    events, labels, layout = made(1500, seed=3)
    found = GraphState(layout).replay(events, labels, rows=np.arange(1500))
    for i in range(900, 1500, 7):
        card, t = events.codes[i, 0], events.ts[i]
        if card < 0:
            assert np.isnan(found[i, column(layout, "card.count")])
            continue
        past = np.flatnonzero(events.codes[:i, 0] == card)
        assert found[i, column(layout, "card.count")] == np.float32(np.log1p(len(past)))
        for span, days in (("1d", 1), ("7d", 7), ("30d", 30)):
            within = past[events.ts[past] > t - days * DAY]
            assert found[i, column(layout, f"card.count_{span}")] == len(within)
            amounts = events.amount[within][np.isfinite(events.amount[within])]
            mean = np.mean(amounts) if len(amounts) else np.nan
            np.testing.assert_allclose(found[i, column(layout, f"card.amount_{span}")], mean, rtol=1e-5)
        last = {}
        for k in np.flatnonzero(labels.arrived_at <= t):
            if labels.rows[k] < i:
                last[labels.rows[k]] = labels.value[k]
        assert found[i, column(layout, "card.frauds")] == sum(last.get(row, 0) for row in past)
        devices = events.codes[past[-64:], 1]
        assert found[i, column(layout, "card.distinct_device")] == len(set(devices[devices >= 0]))


def test_a_busy_hub_counts_days_nearly_as_an_exact_count_would():
    events, labels, layout = made(6000, seed=4)
    found = GraphState(layout).replay(events, labels, rows=np.arange(6000))
    rows = [i for i in range(3000, 6000, 11) if events.codes[i, 2] == 1]
    for span, days, tolerance in (("1d", 1, 2), ("7d", 7, 8), ("30d", 30, 12)):
        exact = [
            np.sum((events.codes[:i, 2] == 1) & (events.ts[:i] > events.ts[i] - days * DAY)) for i in rows
        ]
        assert np.abs(found[rows, column(layout, f"shop.count_{span}")] - exact).max() <= tolerance
    share = found[rows, column(layout, "shop.distinct_device_share")]
    assert ((share > 0) & (share <= 1)).all()


def test_a_late_event_enters_at_its_place_and_sees_nothing_after_its_time():
    events, _, layout = made(400, seed=5)
    held = 200
    order = np.array([*range(held), *range(held + 1, 400), held])
    on_time = GraphState(layout)
    on_time.replay(events)
    late, seen = GraphState(layout), None
    for seq, i in enumerate(order):
        seen = late.features(events.event(int(i)))
        late.add(seq, events.event(int(i)))
    usual = GraphState(layout).replay(events, rows=np.array([held]))[0]
    for name in ("count_7d", "amount_7d", "since_last", "distinct_device"):
        at = column(layout, f"card.{name}")
        np.testing.assert_array_equal(seen[at], usual[at])
    probe = replace(events.event(399), ts=int(events.ts[-1]) + DAY)
    names = [i for i, one in enumerate(layout.columns) if one.group in ("window", "counterparty", "history")]
    np.testing.assert_allclose(late.features(probe)[names], on_time.features(probe)[names], rtol=1e-6)


def test_a_late_event_knows_no_label_that_arrives_after_it():
    events, _, layout = made(400)
    card = np.bincount(events.codes[events.codes[:, 0] >= 0, 0]).argmax()
    first, second = np.flatnonzero(events.codes[:, 0] == card)[:2].tolist()
    last = int(events.ts[-1])
    state = GraphState(layout)
    state.replay(events)
    state.label(first, 1, last + DAY)
    state.label(second, 1, last + 3 * DAY)
    names = ("frauds", "since_fraud", "frauds_7d", "labels_7d")
    found = {
        days: [
            float(
                state.features(replace(events.event(first), ts=last + days * DAY))[
                    column(layout, f"card.{one}")
                ]
            )
            for one in names
        ]
        for days in (0, 2, 4)
    }
    np.testing.assert_array_equal(found[0], [0, np.nan, 0, 0])
    np.testing.assert_allclose(found[2], [1, np.log1p(86_400), 1, 1], rtol=1e-6)
    np.testing.assert_allclose(found[4], [2, np.log1p(86_400), 2, 2], rtol=1e-6)


def test_an_unknown_entity_looks_alike_before_and_after_its_key_is_known():
    events, _, layout = made(300)
    small = GraphState(layout)
    small.replay(events.take(np.arange(100)), None)
    large = GraphState(layout)
    large.replay(events, None, until=int(events.ts[100]))  # keys of all 300 have a place already
    probe = replace(events.event(250), keys=("card-new", "device399", "shop1", None))
    assert small.features(probe).tobytes() == large.features(probe).tobytes()


def test_the_latest_label_of_a_transaction_wins_and_saying_it_twice_changes_nothing():
    events, _, layout = made(50)
    row = int(np.flatnonzero(events.codes[:, 0] >= 0)[0])
    probe = replace(events.event(row), ts=int(events.ts[-1]) + DAY)
    frauds, labelled = column(layout, "card.frauds"), column(layout, "card.labels_30d")
    state, t = GraphState(layout), int(events.ts[-1])
    state.replay(events)
    for value, arrived_at, expected in ((1, t, 1), (1, t + 1, 1), (0, t + 3, 0), (1, t + 2, 0)):
        state.label(row, value, arrived_at)
        assert state.features(probe)[frauds] == expected
        assert state.features(probe)[labelled] == 1


def test_numbers_that_run_backwards_and_labels_of_nobody_are_refused():
    events, _, layout = made(10)
    state = GraphState(layout)
    state.add(5, events.event(0))
    with pytest.raises(InvalidInput, match="seq: expected above 5, got 5"):
        state.add(5, events.event(1))
    with pytest.raises(InvalidInput, match="seq: expected that of a transaction"):
        state.label(3, 1, 0)
    with pytest.raises(InvalidInput, match="value: expected 1"):
        state.label(5, 2, 0)


def test_a_layout_survives_its_card_and_names_every_column_once():
    _, _, layout = made(100)
    assert Layout.from_json(layout.to_json()) == layout
    assert len(set(layout.names)) == layout.width
    assert "empty" not in layout.names
    assert {one.relation for one in layout.columns} == {"", "card", "device", "shop"}
