"""An entity of a million transactions costs what any other costs, and looks as what it keeps of them says."""

import time

import card_events
import numpy as np
import pyarrow as pa
import pytest

from masthead.fraud.data.columns import Event, Events, Labels
from masthead.fraud.data.schema import Schema
from masthead.fraud.scoring.features import Layout
from masthead.fraud.scoring.kernel import ENTRY, K
from masthead.fraud.scoring.state import GraphState

DAY = card_events.DAY
N, DAYS = 1_000_000, 250
SCHEMA = Schema.parse("""
counterparties = ["card"]
[transaction]
id = "id"
time = { column = "time", unit = "us" }
amount = "amount"
[entities]
shop = "shop"
card = { columns = ["card"], aggregate = false }
""")


@pytest.fixture(scope="module")
def payments() -> Events:
    """Return a million payments in one shop by 5,000 cards."""
    chance = np.random.default_rng(1)
    nothing = pa.nulls(N)
    cards = chance.integers(0, 5_000, N, dtype=np.int32)
    return Events(
        ids=[""] * N,
        ts=card_events.BEGIN + np.arange(N, dtype=np.int64) * (DAYS * DAY // N),
        amount=chance.integers(1, 10_000, N) / 64,  # sums of these are exact, in whatever order
        codes=np.column_stack([np.zeros(N, np.int32), cards]),
        vocabularies=[["mall"], [str(card) for card in range(5_000)]],
        numerics=np.empty((N, 0), np.float32),
        category_codes=np.empty((N, 0), np.int32),
        category_values=[],
        raw_ids=nothing,
        raw_times=nothing,
        inline_label=np.full(N, -1, np.int8),
        absent=(),
        problems=pa.table({}),
    )


def replayed(layout: Layout, payments: Events, first: int = 0) -> GraphState:
    """Return what remembers the payments from one on; each thousandth was called fraud a day later."""
    rows = np.arange(0, N - N // DAYS, 1_000)
    rows = rows[rows >= first]
    told = Labels(rows - first, [""] * len(rows), np.ones(len(rows), np.int8), payments.ts[rows] + DAY)
    found = GraphState(layout)
    found.replay(payments.take(np.arange(first, N)) if first else payments, told)
    return found


def seconds(state: GraphState, probe: Event) -> float:
    """Return what one look takes, the quickest of many: others share this machine."""
    found = []
    for _ in range(40):
        began = time.perf_counter()
        for _ in range(25):
            state.features(probe)
        found.append((time.perf_counter() - began) / 25)
    return min(found)


def test_a_hub_of_a_million_is_counted_whole_looks_as_its_last_days_and_costs_no_more(
    payments: Events,
) -> None:
    layout = Layout.learn(SCHEMA, payments, np.arange(0, N, 1_000))
    hub = replayed(layout, payments)
    end = card_events.BEGIN + DAYS * DAY
    probe = Event("x", end, 12.5, ("mall", "7"), np.empty(0), ())
    looked = dict(zip(layout.names, hub.features(probe).tolist(), strict=True))

    # What is counted from the first one on is exact.
    assert looked["shop.count"] == np.float32(np.log1p(N))
    assert looked["shop.since_first"] == np.float32(np.log1p(DAYS * 86_400))
    assert looked["shop.frauds"] == (N - N // DAYS) / 1_000
    for days in (1, 7, 30):
        assert looked[f"shop.count_{days}d"] == pytest.approx(N * days / DAYS, abs=1)
        within = payments.amount[payments.ts > end - days * DAY]
        assert looked[f"shop.amount_{days}d"] == pytest.approx(within.mean(), rel=0.01)

    assert looked["shop.distinct_card"] == len(set(payments.codes[-64:, 1].tolist()))

    # All else is as if there were no more than the last 32 days; of amounts and cards, no more than the last 64.
    month = replayed(layout, payments, int(np.searchsorted(payments.ts, end - 32 * DAY)))
    last = replayed(layout, payments, N - 64)
    for few, groups in ((month, ("window", "velocity")), (last, ("amount", "counterparty"))):
        seen = dict(zip(layout.names, few.features(probe).tolist(), strict=True))
        names = [one.name for one in layout.columns if one.relation == "shop" and one.group in groups]
        assert {name: looked[name] for name in names} == {name: seen[name] for name in names}
        assert names
    for kept in ("pool", "buckets"):
        assert hub.dump()[kept].nbytes == month.dump()[kept].nbytes
    assert (
        hub.dump()["pool"].nbytes < 3 * K * ENTRY.itemsize
    )  # of transactions and of labels 64, and smaller ones left
    assert seconds(hub, probe) < 3 * seconds(last, probe)
