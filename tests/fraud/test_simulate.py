"""Replayed transactions: the same as in the tables, in order, labels not before their time, counts that add up."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import small_fraud

from masthead.base.clock import utc
from masthead.base.errors import InvalidInput
from masthead.fraud.data.events import parse_record, read_events, read_labels
from masthead.fraud.desk.simulate import SHARE, Material, Plan, Simulation, generated, read_material

PLAN = Plan(rate=2_000, duration_s=1, concurrent=1, history=500)


@pytest.fixture(scope="module")
def material() -> Material:
    data = small_fraud.folder() / "data"
    return read_material(
        small_fraud.model().schema, [data], data / "labels.csv", dataclasses.replace(PLAN, duration_s=1)
    )


def same(one: Any, other: Any) -> bool:
    return (
        (one.id, one.ts, one.keys, one.categories) == (other.id, other.ts, other.keys, other.categories)
        and np.array_equal(one.amount, other.amount, equal_nan=True)
        and np.array_equal(one.numerics, other.numerics, equal_nan=True)
    )


def test_a_message_parses_to_the_transaction_that_stands_in_the_tables(material: Material) -> None:
    for row in range(0, len(material.events), 37):
        sent = orjson.loads(orjson.dumps(material.message(row)))
        assert same(parse_record(material.schema, sent), material.events.event(row))


def test_the_history_holds_what_was_before_and_only_labels_that_had_arrived(
    material: Material, tmp_path: Path
) -> None:
    written = material.write_history(tmp_path)
    assert written is not None
    events = read_events(material.schema, [written[0]])
    assert events.ids == material.events.ids[: material.first]
    assert all(same(events.event(row), material.events.event(row)) for row in range(0, material.first, 53))
    labels = read_labels(material.schema, events, written[1])
    assert len(labels.ids)
    assert (labels.rows >= 0).all()
    assert labels.arrived_at.max() < material.events.ts[material.first]


def test_labels_leave_once_and_not_before_their_transaction_or_their_time(material: Material) -> None:
    left: list[int] = []
    for row, due in material.steps():
        for place in due:
            assert int(material.labels.rows[place]) < row
            assert material.labels.arrived_at[place] <= material.events.ts[row]
        left += due
    assert len(left) == len(set(left)) > 0


class InMemory:
    """A model at work, as a target."""

    def __init__(self, material: Material, folder: Path) -> None:
        self.stream = small_fraud.model().stream()
        self.told: list[tuple[str, bool]] = []
        written = material.write_history(folder)
        assert written is not None
        events = read_events(material.schema, [written[0]])
        labels = read_labels(material.schema, events, written[1])
        self.stream.warm(events, labels, until=int(material.events.ts[material.first]))

    def score(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        decision = self.stream.score(record)
        self.told.append((decision.id, decision.flag))
        return decision.to_json()

    def label(self, id: str, value: int, arrived_at: int) -> None:
        self.stream.label(id, value, utc(arrived_at / 1e6))


def test_precision_and_recall_are_those_of_the_decisions(material: Material, tmp_path: Path) -> None:
    target = InMemory(material, tmp_path)
    found = Simulation(material, PLAN).run(target)
    truth = dict(zip(material.events.ids, material.truth.tolist(), strict=True))
    flagged = [id for id, flag in target.told if flag]
    hits = sum(truth[id] == 1 for id in flagged)
    frauds = sum(truth[id] == 1 for id, _ in target.told)
    assert found["failed"] == 0, found["problem"]
    assert [id for id, _ in target.told] == material.events.ids[material.first :]
    assert (found["flagged"], found["caught"], found["frauds"]) == (len(flagged), hits, frauds)
    assert (found["precision"], found["recall"]) == (round(hits / len(flagged), 4), round(hits / frauds, 4))
    assert found["average_precision"] > 0.3  # 0.035 at random


def test_the_wished_share_of_fraud_is_sent() -> None:
    data = small_fraud.folder() / "data"
    plan = dataclasses.replace(PLAN, fraud_share=0.3, rate=100, history=0)
    found = read_material(small_fraud.model().schema, [data], data / "labels.csv", plan)
    assert len(found.events) == 100
    assert (found.truth == 1).sum() == 30
    assert (np.diff(found.events.ts) >= 0).all()


def test_made_up_transactions_have_the_documented_share_and_the_history_that_was_asked_for(
    tmp_path: Path,
) -> None:
    found = generated(dataclasses.replace(PLAN, rate=1_000, history=2_000), tmp_path)
    sent = found.truth[found.first :]
    assert (found.first, len(sent)) == (2_000, 1_000)
    assert (sent == 1).sum() == SHARE * 1_000


@pytest.mark.parametrize(
    ("name", "value"), [("rate", 0.0), ("duration_s", 0.0), ("concurrent", 65), ("fraud_share", 0.9)]
)
def test_a_plan_that_cannot_be_kept_is_refused(name: str, value: float) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        Plan(**{name: value})
