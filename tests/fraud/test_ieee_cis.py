"""The built-in schema on tables that have every published column, and on some that lack most or have more."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from masthead.base.errors import InvalidInput
from masthead.fraud import FraudModel
from masthead.fraud.data.events import read_events
from masthead.fraud.data.schema import Schema

ROWS = 600
SCHEMA = Schema.read("ieee-cis")


def numbered(name: str, last: int, width: int = 1) -> list[str]:
    return [f"{name}{place:0{width}}" for place in range(1, last + 1)]


# Headers as published, in their order.
TRANSACTION = [
    *("TransactionID", "isFraud", "TransactionDT", "TransactionAmt", "ProductCD", *numbered("card", 6)),
    *("addr1", "addr2", "dist1", "dist2", "P_emaildomain", "R_emaildomain"),
    *(*numbered("C", 14), *numbered("D", 15), *numbered("M", 9), *numbered("V", 339)),
]
IDENTITY = ["TransactionID", *numbered("id_", 38, 2), "DeviceType", "DeviceInfo"]
TEXTS = {
    "ProductCD": ("W", "C", "H"),
    "card4": ("visa", "discover"),
    "card6": ("debit", "credit"),
    "P_emaildomain": ("gmail.com", "aol.com"),
    "R_emaildomain": ("gmail.com", "aol.com"),
    "id_30": ("Windows 10", "iOS 11.2.1"),
    "id_31": ("chrome 63.0", "safari generic"),
    "id_33": ("1920x1080", "1334x750"),
    "DeviceType": ("desktop", "mobile"),
    "DeviceInfo": ("Windows", "iOS Device", "SM-G960U Build/R16NW"),
    **dict.fromkeys([*numbered("M", 9), *(f"id_{place}" for place in (35, 36, 37, 38))], ("T", "F")),
    **{f"id_{place}": ("Found", "NotFound") for place in (12, 15, 16, 23, 27, 28, 29, 34)},
}


def write(path: Path, header: Sequence[str], rows: Sequence[int]) -> Path:
    """Write values of each column's kind for these transactions; a fifth are missing. C1 tells most frauds."""
    chance = np.random.default_rng(len(header))
    columns = {}
    for name in header:
        if name in TEXTS:
            drawn = chance.choice(TEXTS[name], ROWS)
        elif name.startswith(("card", "addr", "id_")):
            drawn = chance.integers(100, 140, ROWS).astype(str)
        else:
            drawn = chance.normal(50, 10, ROWS).round(3).astype(str)
        columns[name] = np.where(chance.random(ROWS) < 0.2, "", drawn)
    fraud = np.arange(ROWS) % 5 == 0
    columns["TransactionID"] = np.arange(2_987_000, 2_987_000 + ROWS)
    columns["TransactionDT"] = 86_400 + 20_000 * np.arange(ROWS)
    columns["isFraud"] = fraud.astype(int)
    columns["C1"] = (fraud ^ (chance.random(ROWS) < 0.1)).astype(int)  # some err, so that learning soon stops
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(header)
        out.writerows([columns[name][row] for name in header] for row in rows)
    return path


def trained(*paths: Path) -> FraudModel:
    quick = {"learning_rate": 1.0, "max_bin": 8}
    return FraudModel.train(SCHEMA, paths, threads=1, parameters=quick)


def test_tables_with_every_published_column_are_read_whole_and_teach(tmp_path: Path) -> None:
    assert (len(TRANSACTION), len(IDENTITY)) == (394, 41)
    assert set(SCHEMA.columns()) == {*TRANSACTION, *IDENTITY}
    whole = write(tmp_path / "train_transaction.csv", TRANSACTION, range(ROWS))
    some = write(tmp_path / "train_identity.csv", IDENTITY, range(0, ROWS, 2))
    model = trained(whole, some)
    assert model.card["columns_absent"] == []
    assert {*numbered("C", 14), *numbered("D", 15), *numbered("V", 339)} <= set(model.columns)
    assert {*numbered("M", 9), "id_11", "id_38", "id_30.count", "DeviceInfo.distinct_id_20"} <= set(
        model.columns
    )
    assert len(model.layout.present) == 51
    assert model.card["validation"]["average_precision"] > 0.5
    events = read_events(SCHEMA, [whole, some])
    assert events.problems.num_rows == 0
    assert (events.codes[1::2, 11:] == -1).all(), "every second transaction has no identity"
    assert (events.codes[::2, 11:] >= 0).any(axis=0).all()
    # The published identity table of the test set spells id-01.
    dashed = write(tmp_path / "test_identity.csv", IDENTITY, range(0, ROWS, 2))
    dashed.write_text(dashed.read_text().replace("id_", "id-", 38))
    again = read_events(SCHEMA, [whole, dashed])
    assert again.absent == ()
    assert np.array_equal(again.codes, events.codes)


def test_without_any_v_and_with_columns_that_nobody_knows_it_learns_the_same(tmp_path: Path) -> None:
    header = [name for name in TRANSACTION if not name.startswith("V")]
    plain = write(tmp_path / "plain.csv", header, range(ROWS))
    model = trained(plain)
    assert {*numbered("V", 339), "DeviceType", "id_01"} <= set(model.card["columns_absent"])
    assert not [name for name in model.columns if name.startswith("V")]
    assert model.card["validation"]["average_precision"] > 0.5
    lines = plain.read_text().splitlines()
    more = [f"{line},{'V340,note' if place == 0 else f'{place},see'}" for place, line in enumerate(lines)]
    (tmp_path / "more.csv").write_text("\n".join(more) + "\n")
    assert trained(tmp_path / "more.csv").id == model.id
    record = dict(zip(header, next(csv.reader(lines[1:2])), strict=True))
    known, other = (model.stream().score(one) for one in (record, record | {"V340": "x", "note": ["see"]}))
    assert (other.id, other.pred_prob) == (known.id, known.pred_prob)


def test_the_fewest_columns_will_do_and_a_time_of_another_name_is_told(tmp_path: Path) -> None:
    header = ["TransactionID", "TransactionDT", "TransactionAmt", "card1", "isFraud"]
    few = write(tmp_path / "few.csv", header, range(ROWS))
    assert trained(few).layout.present == ("card1",)
    few.write_text(few.read_text().replace("TransactionDT", "When"))
    with pytest.raises(InvalidInput, match=r"transaction\.time: .*'TransactionDT' \(ieee-cis line \d+\)"):
        trained(few)
