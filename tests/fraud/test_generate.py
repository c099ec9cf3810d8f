"""The generator writes what it says, the same each time, and gives nothing away that a thief would hide."""

from pathlib import Path

import numpy as np
import pyarrow.csv as pc
import pytest

from masthead.base.errors import InvalidInput
from masthead.fraud.data.events import read_events, read_labels
from masthead.fraud.data.generate import generate
from masthead.fraud.data.schema import Schema

ROWS = 20_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("generated")
    generate(ROWS, 7, out)
    return out


def column(folder: Path, file: str, name: str) -> np.ndarray:
    return pc.read_csv(folder / file)[name].to_numpy(zero_copy_only=False)


def test_the_same_number_and_seed_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = generate(ROWS, 7, tmp_path / "again")
    other = generate(ROWS, 8, tmp_path / "other")
    assert set(again.files) == {path.name for path in folder.iterdir()}
    for name in again.files:
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    assert other.rings > 0
    assert (folder / "rings.csv").read_bytes() != (tmp_path / "other" / "rings.csv").read_bytes()


@pytest.mark.parametrize("count", [1, 2, 57, 1000])
def test_exactly_so_many_transactions_are_written(count: int, tmp_path: Path) -> None:
    made = generate(count, 1, tmp_path)
    events = read_events(Schema.read(tmp_path / "schema.toml"), [tmp_path])
    assert len(events) == count
    assert int((events.inline_label == 1).sum()) == made.frauds
    assert events.problems.num_rows == 0


def test_its_schema_names_what_is_there(folder: Path) -> None:
    events = read_events(Schema.read(folder / "schema.toml"), [folder])
    assert events.absent == ()
    missing = (events.codes < 0).mean(axis=0)
    by_name = dict(
        zip([one.name for one in Schema.read(folder / "schema.toml").relations], missing, strict=True)
    )
    assert by_name["card1"] == 0
    assert by_name["id_19"] == pytest.approx(0.1, abs=0.01)
    assert by_name["id_20"] == pytest.approx(0.3, abs=0.01)


def test_three_and_a_half_percent_are_fraud_and_most_of_it_is_of_rings(folder: Path) -> None:
    ring = column(folder, "rings.csv", "ring")
    fraud = column(folder, "train_transaction.csv", "isFraud") == 1
    assert fraud.mean() == pytest.approx(0.035)
    assert ((ring != -1) == fraud).all()
    assert (ring >= 0).sum() / fraud.sum() == pytest.approx(5 / 7, abs=0.01)


def test_ids_follow_the_time_and_nothing_else(folder: Path) -> None:
    ids = column(folder, "train_transaction.csv", "TransactionID")
    times = column(folder, "train_transaction.csv", "TransactionDT")
    assert ids.tolist() == list(range(2_987_000, 2_987_000 + ROWS))
    assert (np.diff(times) >= 0).all()
    assert times.min() >= 86_400
    assert times.max() < 181 * 86_400


@pytest.mark.parametrize(
    ("file", "name"),
    [("train_transaction.csv", name) for name in ("card1", "addr1", "card2")]
    + [("train_identity.csv", "id_19"), ("train_identity.csv", "id_20")],
)
def test_the_number_of_an_entity_tells_nothing_of_fraud(file: str, name: str, folder: Path) -> None:
    # One value per entity: busy ones would weigh more, and their numbers are a matter of luck.
    ids = column(folder, file, "TransactionID") - 2_987_000
    values = column(folder, file, name)
    fraud = column(folder, "train_transaction.csv", "isFraud")[ids] == 1
    known = np.isfinite(values)
    tainted = np.unique(values[known & fraud])
    clean = np.setdiff1d(np.unique(values[known]), tainted)
    rank = np.argsort(np.argsort(np.concatenate([tainted, clean])))[: len(tainted)]
    auc = (rank.sum() - len(tainted) * (len(tainted) - 1) / 2) / (len(tainted) * len(clean))
    assert auc == pytest.approx(0.5, abs=4 / np.sqrt(12 * min(len(tainted), len(clean))))


def test_the_age_of_a_card_gives_no_thief_away(folder: Path) -> None:
    fraud = column(folder, "train_transaction.csv", "isFraud") == 1
    fresh = column(folder, "train_transaction.csv", "D1") == 0
    assert fresh[fraud].mean() < 2 * fresh[~fraud].mean() + 0.02


def test_chargebacks_arrive_after_twelve_days_and_silence_counts_after_sixty(folder: Path) -> None:
    schema = Schema.read(folder / "schema.toml")
    events = read_events(schema, [folder])
    labels = read_labels(schema, events, folder / "labels.csv")
    assert sorted(labels.rows.tolist()) == list(range(ROWS))
    days = (labels.arrived_at - events.ts[labels.rows]) / 86_400e6
    assert np.median(days[labels.value == 1]) == pytest.approx(12, rel=0.1)
    assert np.std(np.log(days[labels.value == 1])) == pytest.approx(0.6, rel=0.1)
    assert set(days[labels.value == 0].tolist()) == {60.0}


@pytest.mark.parametrize(
    ("count", "seed", "field"), [(0, 1, "transactions"), (10**9, 1, "transactions"), (5, -1, "seed")]
)
def test_numbers_that_cannot_be_are_refused(count: int, seed: int, field: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=f"{field}: expected"):
        generate(count, seed, tmp_path)
