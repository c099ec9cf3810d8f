"""What an installation says of a transaction: how long it took, how durable it is, and what people have laid down by hand."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small_fraud
from card_records import flat
from fresh import fresh

from masthead.app import Masthead
from masthead.base.settings import Settings
from masthead.fraud.live.counting import LATENCY


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Masthead]:
    with Masthead.open(Settings(data=fresh(tmp_path / "data"))) as found:
        found.fraud.deploy("cards", small_fraud.folder() / "model")
        yield found


def counted() -> float:
    """Return how many decisions the histogram has seen that took 100 ms or more."""
    (found,) = LATENCY.collect()
    below = {one.labels["le"]: one.value for one in found.samples if one.name.endswith("_bucket")}
    return float(below["+Inf"] - below["0.1"])


def test_the_latency_that_is_told_and_counted_covers_the_commit(house: Masthead) -> None:
    house.fraud.score(flat(0))  # what the first one waits for is no commit
    before = counted()
    driver = house.fraud.store._opened()
    driver.set_trace_callback(lambda statement: time.sleep(0.15) if statement == "COMMIT" else None)
    slow = house.fraud.score(flat(1))
    driver.set_trace_callback(None)
    assert slow["latency_ms"] >= 150
    assert slow["time"] == pytest.approx(slow["latency_ms"] / 1e3, abs=1e-5)
    assert counted() == before + 1


@pytest.mark.parametrize(("sync", "level"), [("full", 2), ("normal", 1)])
def test_the_setting_says_how_durable_a_commit_is(tmp_path: Path, sync: Any, level: int) -> None:
    with Masthead.open(Settings(data=fresh(tmp_path / "data"), fraud_sync=sync)) as house:
        store = house.fraud.store

        def told() -> int:
            return int(store._opened().execute("PRAGMA synchronous").fetchone()[0])

        with store.group():
            assert told() == level
        with store.group(durable=False):  # what can be made again waits for no disk
            assert told() == 1
        with store.group():
            assert told() == level


def test_an_allow_list_lets_pass_what_would_be_blocked_and_block_wins_over_it(house: Masthead) -> None:
    portal = house.portal
    portal.set_thresholds("cards", review=0.0, block=0.0)
    one, other = flat(0), flat(1)
    assert house.fraud.score(flat(0))["action"] == "block"
    portal.put_listed("allow", "card1", str(one["card1"]))
    found = house.fraud.score(flat(0, TransactionID="allowed"))
    assert (found["action"], found["flag"]) == ("pass", False)
    assert found["listed"] == {"list": "allow", "relation": "card1", "value": str(one["card1"])}
    assert found["pred_prob"] == pytest.approx(house.fraud.get("allowed")["decision"]["pred_prob"])
    assert house.fraud.score(flat(1, TransactionID="of nobody"))["action"] == "block"
    assert house.fraud.stats()["fraudCount"] == 2
    portal.put_listed("block", "addr1", "77")  # a later relation than the one that is allowed
    portal.put_listed("block", "card1", str(other["card1"]))
    portal.put_listed("allow", "addr1", "78")
    for id, changes in (
        ("block behind allow", {"addr1": "77"}),
        ("block before allow", {**other, "addr1": "78"}),
    ):
        found = house.fraud.score(flat(0, **{**changes, "TransactionID": id}))
        assert (found["action"], found["flag"], found["listed"]["list"]) == ("block", True, "block"), id
    portal.put_listed("allow", "card1", str(other["card1"]))  # an entity is on one list, the last one
    assert [entry.kind for entry in portal.listed() if entry.value == str(other["card1"])] == ["allow"]
    assert house.fraud.score(flat(1, TransactionID="changed", addr1=None))["action"] == "pass"
    portal.remove_listed("card1", str(other["card1"]))
    assert house.fraud.score(flat(1, TransactionID="off", addr1=None))["action"] == "block"


def test_a_verdict_changes_the_later_score_of_what_shares_an_entity_and_of_nothing_else(
    house: Masthead,
) -> None:
    bare = dict.fromkeys(one.columns[0] for one in small_fraud.model().schema.relations)

    def scored(id: str) -> tuple[float, float]:
        """Return the scores of two transactions that are alike but for whom they share an address with."""
        found = [
            house.fraud.score(
                flat(0, **{**bare, "id_19": one, "TransactionID": f"{one} {id}", "TransactionDT": 15_000_000})
            )["pred_prob"]
            for one in ("ours", "theirs")
        ]
        return found[0], found[1]

    ours, theirs = scored("first")
    assert ours == theirs
    house.portal.give_verdict("ours first", "unsure")
    ours, theirs = scored("unsure")
    assert ours == theirs
    house.portal.give_verdict("ours first", "fraud")
    fraud, theirs = scored("fraud")
    assert fraud != theirs
    house.portal.give_verdict("ours first", "legit")
    legit, theirs = scored("legit")
    assert legit not in (fraud, theirs)


def test_of_two_verdicts_of_one_moment_the_last_one_holds_wherever_it_is_asked(house: Masthead) -> None:
    house.portal.set_thresholds("cards", review=0.0, block=1.0)
    id = house.fraud.score(flat(0))[
        "id"
    ]  # of a past year: the label arrives when the newest transaction happens
    for said, precision in (("fraud", 1.0), ("legit", 0.0), ("fraud", 1.0)):
        house.portal.give_verdict(id, said)
        assert house.fraud.get(id)["label"] == said
        assert {one["id"]: one["label"] for one in house.fraud.find().items}[id] == said
        assert house.fraud.outcomes()["all"]["precision"] == precision
        later = house.fraud.score(flat(0, TransactionID=f"after {said} {len(house.fraud.get(id)['labels'])}"))
        (node,) = [one for one in house.fraud.graph(later["id"])["nodes"] if one.get("transaction") == id]
        assert node["label"] == said
    assert len({one["arrived_at"] for one in house.fraud.get(id)["labels"]}) == 1
