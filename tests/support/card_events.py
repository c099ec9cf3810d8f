"""Card transactions small enough to recount by hand: cards, devices and shops, some fraud, labels that arrive late."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from masthead.fraud.data.events import Events, Labels
from masthead.fraud.data.schema import Schema
from masthead.fraud.scoring.model import FraudModel

DAY = 86_400_000_000
BEGIN = 1_700_000_000_000_000 // DAY * DAY

SCHEMA = """
name = "cards"
hubs = ["shop"]
counterparties = ["card", "device"]
numerics = ["age", "empty"]
categoricals = ["kind"]
[transaction]
id = "id"
time = { column = "time", unit = "us" }
amount = "amount"
[label]
column = "fraud"
delay = "7d"
maturity = "20d"
[entities]
card = "card"
device = "device"
shop = "shop"
country = { columns = ["country"], aggregate = false }
"""


def schema() -> Schema:
    """Return the schema of `cards`."""
    return Schema.parse(SCHEMA)


def save_model(folder: Path) -> FraudModel:
    """Return a model that 600 of these taught, and save it: one of another schema than the generated cards have."""
    taught = events(600)
    return FraudModel.train(schema(), taught, labels(taught, changed=False), threads=1, out=folder)


def events(n: int, *, seed: int = 0, days: int = 90) -> Events:
    """Return n transactions over some days: a busy shop, tied times, missing values, refunds, 6 % fraud."""
    rng = np.random.default_rng(seed)
    ts = BEGIN + np.sort(rng.integers(0, days * DAY // 1000, n)) * 1000
    ts[1:][rng.random(n - 1) < 0.05] = 0
    ts = np.maximum.accumulate(ts)
    fraud = rng.random(n) < 0.06
    device = np.where(fraud, rng.integers(0, 8, n), rng.integers(8, 400, n))
    codes = np.column_stack([rng.integers(0, 300, n), device, rng.integers(0, 4, n), rng.integers(0, 9, n)])
    codes[rng.random(codes.shape) < 0.1] = -1
    amount = np.round(rng.lognormal(3, 1, n) * np.where(fraud, 1.5, 1.0), 2)
    amount[rng.random(n) < 0.03] *= -1
    amount[rng.random(n) < 0.03] = np.nan
    numerics = np.full((n, 2), np.nan, np.float32)
    numerics[:, 0] = rng.normal(40, 10, n)
    kinds = rng.integers(-1, 5, (n, 1))
    return Events(
        ids=[f"t-{i}" for i in range(n)],
        ts=ts,
        amount=amount,
        codes=codes.astype(np.int32),
        vocabularies=[[f"{name}{i}" for i in range(400)] for name in ("card", "device", "shop", "country")],
        numerics=numerics,
        category_codes=kinds.astype(np.int32),
        category_values=[["a", "b", "c", "d", "e"]],
        raw_ids=pa.array([f"t-{i}" for i in range(n)]),
        raw_times=pa.array(ts),
        inline_label=fraud.astype(np.int8),
        absent=(),
        problems=pa.table({"row": pa.array([], pa.int64())}),
    )


def labels(found: Events, *, seed: int = 0, changed: bool = True) -> Labels:
    """Return labels that arrive 1 to 20 days late, a few of them twice with another value."""
    rng = np.random.default_rng(seed)
    n = len(found)
    rows = np.arange(n)
    value = found.inline_label.copy()
    arrived = found.ts + rng.integers(DAY, 20 * DAY, n)
    if changed:
        again = np.flatnonzero(rng.random(n) < 0.05)
        rows = np.concatenate([rows, again])
        value = np.concatenate([value, 1 - value[again]])
        arrived = np.concatenate([arrived, arrived[again] + rng.integers(-2 * DAY, 6 * DAY, len(again))])
    order = np.argsort(arrived, kind="stable")
    rows = rows[order]
    return Labels(
        rows=rows, ids=[found.ids[row] for row in rows], value=value[order], arrived_at=arrived[order]
    )
