"""Explanations: what was known at the decision and nothing else, in words that are right for planted cases."""

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import card_events
import numpy as np
import pytest
from card_events import BEGIN, DAY
from fresh import fresh

from masthead.app import Masthead
from masthead.base.errors import NotFound
from masthead.base.settings import Settings
from masthead.fraud.data.columns import Event
from masthead.fraud.live.ledger import Mark
from masthead.fraud.reasons.explaining import Explainer
from masthead.fraud.scoring.model import FraudModel
from masthead.fraud.scoring.reasons import find_reasons

DAY_0 = BEGIN + 100 * DAY


@functools.cache
def model_folder() -> Path:
    home = Path(tempfile.mkdtemp(prefix="masthead-cards-")) / "model"
    events = card_events.events(3_000)
    FraudModel.train(card_events.schema(), events, card_events.labels(events), threads=1, out=home)
    return home


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Masthead]:
    with Masthead.open(Settings(data=fresh(tmp_path / "data"))) as found:
        found.fraud.deploy("cards", model_folder())
        yield found


def paid(
    id: str,
    day: float,
    card: str | None = None,
    device: str | None = None,
    shop: str | None = None,
    amount: float = 20.0,
) -> Event:
    numerics = np.array([40.0, np.nan])
    return Event(id, int(DAY_0 + day * DAY), amount, (card, device, shop, None), numerics, ("a",))


def pay(house: Masthead, *events: Event) -> list[dict[str, Any]]:
    return house.fraud.score_events(events)


def call(house: Masthead, id: str, day: float, value: int = 1) -> None:
    house.fraud.label_many([Mark(id, value, "analyst", int(DAY_0 + day * DAY))])


def frauds_of(house: Masthead, id: str) -> list[str]:
    return [path["fraud"] for path in house.fraud.explanation(id)["paths"]]


def seen(house: Masthead, id: str) -> tuple[Any, Any]:
    return house.fraud.explanation(id), house.fraud.graph(id)


def test_paths_lead_over_one_or_two_entities_to_frauds_that_were_confirmed(house: Masthead) -> None:
    pay(house, paid("stolen", 0, "c1", "d1"), paid("between", 1, "c2", "d1"))
    call(house, "stolen", 5)
    pay(house, paid("near", 10, "c9", "d1"), paid("far", 11, "c2", "d7"))
    near, far = house.fraud.explanation("near")["paths"][0], house.fraud.explanation("far")["paths"][0]
    assert (near["hops"], near["fraud"], near["steps"][1]["value"]) == (2, "stolen", "d1")
    assert near["text"] == (
        "device d1 (3 transactions) - transaction stolen of 2024-02-22, confirmed as fraud on 2024-02-27"
    )
    assert (far["hops"], far["fraud"]) == (4, "stolen")
    assert [one.get("transaction") or one["value"] for one in far["steps"]] == [
        *("far", "c2", "between", "d1", "stolen")
    ]
    assert far["cost"] > near["cost"]


def test_a_label_that_came_after_the_decision_is_in_no_explanation(house: Masthead) -> None:
    pay(house, paid("a", 0, "c1", "d1"), paid("b", 10, "c1", "d1"))
    call(house, "a", 5)  # said to have arrived before, but told after the decision on b
    pay(house, paid("c", 11, "c1", "d1"))
    call(house, "b", 20)
    pay(house, paid("d", 12, "c1", "d1"), paid("e", 21, "c1", "d1"))
    assert frauds_of(house, "b") == []
    assert frauds_of(house, "c") == frauds_of(house, "d") == ["a"]
    assert frauds_of(house, "e") == ["b", "a"]
    labels = {one["transaction"]: one["label"] for one in house.fraud.graph("d")["nodes"] if "label" in one}
    assert labels == {"a": "fraud", "b": "unknown", "c": "unknown", "d": "unknown"}


def test_a_month_later_the_answer_is_the_same(house: Masthead) -> None:
    pay(house, paid("a", 0, "c1", "d1"), paid("b", 1, "c2", "d1"))
    call(house, "a", 5)
    pay(house, paid("x", 10, "c2", "d1", "s1"))
    before = seen(house, "x")
    assert before[0]["paths"]
    assert before[0]["reasons"]
    call(house, "a", 9, 0)  # it was none, as is said now
    call(house, "b", 8)
    pay(house, *(paid(f"late-{n}", 2 + n / 10, "c2", "d1", "s1") for n in range(30)))
    pay(house, *(paid(f"new-{n}", 40 + n, "c2", "d1", "s1") for n in range(600)))
    assert seen(house, "x") == before
    assert frauds_of(house, "new-5") == ["b"]


def test_later_frauds_take_no_place_from_those_that_were_known(house: Masthead) -> None:
    pay(house, *(paid(f"f{n}", n / 100, f"k{n}", f"d{n}") for n in range(60)))
    pay(house, *(paid(f"m{n}", 1 + n / 100, "c1", f"d{n}") for n in range(60)))
    call(house, "f0", 5)
    pay(house, paid("x", 10, "c1"))
    assert frauds_of(house, "x") == ["f0"]
    for n in range(1, 60):
        call(house, f"f{n}", 20)
    assert frauds_of(house, "x") == ["f0"]


def test_empty_values_make_no_path(house: Masthead) -> None:
    pay(house, paid("a", 0))
    call(house, "a", 1)
    pay(house, paid("b", 10, "c1"), paid("c", 11))
    assert frauds_of(house, "b") == frauds_of(house, "c") == []
    assert [one["id"] for one in house.fraud.graph("c")["nodes"]] == ["t4"]
    reasons = house.fraud.explanation("b")["reasons"]
    assert {"no device"} >= {one["text"] for one in reasons if one["relation"] == "device"}


def test_hubs_and_entities_of_more_than_500_transactions_never_appear(house: Masthead) -> None:
    pay(house, paid("a", 0, None, "busy", "s1"))
    call(house, "a", 1)
    pay(house, *(paid(f"n{n}", 2 + n / 1000, None, "busy", "s1") for n in range(499)))
    pay(house, paid("last", 3, "c1", "busy", "s1"), paid("over", 3.1, "c2", "busy", "s1"))
    pay(house, paid("behind", 4, "c2", None, "s1"))
    values = {one.get("value") for one in house.fraud.graph("last")["nodes"]}
    assert frauds_of(house, "last") == []
    assert values == {None, "c1"}
    assert frauds_of(house, "behind") == []


def test_the_graph_has_at_most_five_transactions_an_entity_and_known_frauds_first(house: Masthead) -> None:
    pay(house, *(paid(f"t{n}", n, "c1", "d1") for n in range(9)))
    call(house, "t0", 8)
    call(house, "t1", 8, 0)
    pay(house, paid("x", 9, "c1"), paid("y", 30, "c1"))
    found = house.fraud.graph("x")
    shown = [one["transaction"] for one in found["nodes"] if one["kind"] == "transaction"]
    assert shown == ["x", "t0", "t8", "t7", "t6", "t5"]
    assert sum(one["transaction"] == "t1" for one in found["edges"]) == 1
    labels = {one["transaction"]: one["label"] for one in house.fraud.graph("y")["nodes"] if "label" in one}
    assert labels["t8"] == "presumed-legit"


def test_contributions_add_up_and_only_flagged_decisions_have_reasons_unasked(house: Masthead) -> None:
    events = card_events.events(400, seed=5)
    asked = [house.fraud.score_events([events.event(place)])[0] for place in range(400)]
    assert {bool(one["reasons"]) for one in asked if one["flag"]} == {True}
    assert not any(one["reasons"] for one in asked if not one["flag"])
    for one in asked[::40] + [one for one in asked if one["flag"]][:10]:
        found = house.fraud.explanation(one["id"])
        total = sum(reason["contribution"] for reason in found["reasons"])
        assert len(found["reasons"]) <= 5
        assert total == pytest.approx(found["raw"] - found["base"], abs=1e-9)
        assert not one["flag"] or one["reasons"] == found["reasons"]
    quiet = next(one for one in asked if not one["flag"])
    assert house.fraud.get(quiet["id"])["decision"]["reasons"] == []


def told(house: Masthead, id: str, **weights: float) -> dict[str, str]:
    """Return the texts that planted contributions of columns (`device__frauds`) make."""
    model = house.fraud.model(house.fraud.models()[0]["id"])
    given = np.zeros(model.layout.width + 1)
    for name, weight in weights.items():
        given[model.columns.index(name.replace("__", "."))] = weight
    with house.fraud._explainer()._scene(id, "live") as scene:
        x = scene.vector()
        found = find_reasons(model.schema, model.layout, scene.event(), x, given, scene)
    return {one.relation: one.text for one in found}


def test_texts_are_right_for_planted_cases(house: Masthead) -> None:
    pay(house, *(paid(f"old{n}", n, "c0", "d1", "s1", 10.0) for n in (0, 1)))
    call(house, "old0", 11)
    call(house, "old1", 17.5)
    pay(house, *(paid(f"p{n}", 20 + n / 10, f"c{n}", "d2", "s1", 10.0) for n in range(5)))
    pay(house, paid("x", 20.6, "c9", "d2", None, 100.0), paid("y", 20.7, "c1", "d1", "s1"))
    assert told(house, "x", device__distinct_card=1.9, card__count=0.5) == {
        "device": "device d2: 6 cards in 24 h",
        "card": "card c9: never seen before",
    }
    assert told(house, "y", device__frauds=1.2)["device"] == "device d1: 2 confirmed frauds, 3 and 9 days ago"
    assert told(house, "x", device__count_1d=1.0)["device"] == "device d2: 6 transactions in 24 h"
    assert told(house, "x", device__amount_deviations=1.0)["device"] == "device d2: amount 10 times its usual"
    assert told(house, "x", device__since_last=1.0)["device"] == "device d2: last seen 4 hours ago"
    assert told(house, "x", device__fraud_rate=-1.0)["device"] == "device d2: no confirmed fraud"
    assert told(house, "x", shop__count=0.3, amount=0.5, hour=0.2, age=0.1, kind=0.2) == {
        "amount": "amount 100",
        "shop": "no shop",
        "columns": "kind a, age 40",
        "time": "time of day and weekday: Wednesday 14:24",
    }
    many = told(
        house, "x", shop__count=0.3, amount=0.5, hour=0.2, age=0.05, kind=0.1, card__count=1, device__count=1
    )
    assert many["other"] == "2 others: time, column kind and column age"


def test_a_count_of_what_is_remembered_says_so_where_there_may_be_more(house: Masthead) -> None:
    pay(house, *(paid(f"p{n}", n / 10, f"c{n}", "d1", "s1") for n in range(80)))
    pay(house, paid("x", 8, "c80", "d1", "s2"), paid("few", 8.1, "c81", "d2"))
    pay(house, *(paid(f"q{n}", 9 + n, "c82", "d3") for n in range(70)))
    assert told(house, "x", device__distinct_card=1.9)["device"] == "device d1: at least 64 cards in 7 days"
    assert told(house, "few", device__distinct_card=1.9)["device"] == "device d2: 1 card in 24 h"
    assert told(house, "q69", device__distinct_card=1.9)["device"] == "device d3: 1 card in 24 h"


def test_rings_follow_what_is_scored_labelled_and_erased(house: Masthead) -> None:
    def found() -> list[set[str]]:
        """Return the members of each ring, which are those that are found anew."""
        shown = house.fraud.rings()
        fresh = Explainer(house.fraud.store, house.fraud.model, house.fraud.schema)
        assert shown == fresh.rings("live", 100)
        return [set(one["transactions"]) for one in shown]

    pay(house, paid("r1", 40, "c1", "d1"), paid("r2", 41, "c2", "d1", amount=5.5), paid("end", 60))
    assert found() == []
    call(house, "r1", 59)
    call(house, "r2", 61)  # not yet
    assert found() == []
    pay(house, paid("later", 61.5))
    assert found() == [{"r1", "r2"}]
    (ring,) = house.fraud.rings()
    assert (ring["ring"], ring["size"], ring["amount"], ring["confirmed"]) == ("r1", 2, 25.5, 2)
    assert [one["text"] for one in ring["entities"]] == ["device d1"]
    assert (ring["first_seen"][:10], ring["last_seen"][:10]) == ("2024-04-02", "2024-04-03")
    pay(house, paid("r3", 61.6, "c2"))
    call(house, "r3", 61.6)
    assert found() == [{"r1", "r2", "r3"}]
    house.fraud.erase("device", "d1")
    assert found() == []


def test_what_is_not_there_is_not_found(house: Masthead) -> None:
    for verb in (house.fraud.explanation, house.fraud.graph):
        with pytest.raises(NotFound, match="no transaction"):
            verb("nobody")
    with pytest.raises(NotFound, match="none named"):
        house.fraud.rings(space="nowhere")
