"""Transactions that rules select: scored once each, decisions published, what cannot be used kept with its reason."""

import base64
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import small_fraud
from card_records import flat
from waiting import eventually

from masthead.app import Masthead
from masthead.base.errors import InvalidInput, LimitReached
from masthead.base.settings import Settings
from masthead.fraud.rule_action import score_actions
from masthead.streams.readings import Batch, Reading

SPOILT = {"name": "spoilt", "destination": "s3://spoilt/", "buffer_s": 0, "buffer_mib": 1}
RULE = {
    "name": "payments",
    "sql": "SELECT * FROM 'shops/+/payments'",
    "actions": [{"kind": "fraud", "name": "cards", "batch": True}],
    "error_action": {"kind": "delivery_stream", "name": "spoilt"},
}


class Shop:
    """A product that takes payments, and what was heard of its decisions. `restart` loses what lay in memory."""

    def __init__(self, data: Path) -> None:
        self._settings = Settings(data=data)
        self.log: list[Batch] = []
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.open()

    def open(self) -> None:
        self.product = Masthead.open(self._settings)
        self.product.streams.register_action("subject", self._hear)

    def _hear(self, action: Any, payload: bytes, reading: Reading) -> None:
        self.heard.append((action["name"], orjson.loads(payload)))

    def pay(self, *payloads: Any, take: bool = True) -> None:
        readings = tuple(Reading("shops/1/payments", orjson.dumps(one), 1.0, "till") for one in payloads)
        self.log.append(Batch(len(self.log) + 1, readings))
        if take:
            self.product.take(self.log[-1])

    def restart(self) -> None:
        """End without writing down how far the actions have come, and read the log again from what was written."""
        self.product.streams._save = lambda: None  # type: ignore[method-assign]
        self.product.close()
        self.open()
        position = self.product.streams.position()
        for batch in self.log:
            if batch.sequence >= position:
                self.product.take(batch)

    def settled(self) -> bool:
        self.product.streams.tick()
        return self.product.streams.position() == len(self.log) + 1

    def spoilt(self) -> list[dict[str, Any]]:
        self.product.streams.flush()
        found = self.product.objects.list("s3://spoilt/")
        lines = [line for one in found for line in self.product.objects.get(one.uri).splitlines()]
        return [orjson.loads(line) for line in lines]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    found = Shop(tmp_path / "data")
    found.product.fraud.deploy("cards", small_fraud.folder() / "model")
    found.product.streams.create_stream(SPOILT)
    found.product.streams.create_rule(RULE)
    yield found
    found.product.close()


def test_a_selected_transaction_is_stored_and_its_decision_published_before_the_place_moves_on(
    shop: Shop,
) -> None:
    go, send = threading.Event(), shop._hear

    def hear(*given: Any) -> None:
        assert go.wait(10)
        send(*given)

    shop.product.streams.register_action("subject", hear)
    shop.pay(flat(0))
    eventually(lambda: shop.product.fraud.find().items, 20)
    assert shop.product.streams.position() == 1  # scored, and nobody has heard of it
    go.set()
    eventually(shop.settled, 10)
    ((subject, decision),) = shop.heard
    stored = shop.product.fraud.get(flat(0)["TransactionID"])["decision"]
    assert subject == "masthead.fraud.cards"
    assert {name: decision[name] for name in stored} == stored


def test_readings_that_come_again_after_a_crash_are_not_scored_again(shop: Shop) -> None:
    for place in range(5):
        shop.pay(flat(2 * place), flat(2 * place + 1))
    eventually(shop.settled, 20)
    first = {decision["id"]: decision["pred_prob"] for _, decision in shop.heard}
    shop.pay(flat(10), take=False)
    shop.heard.clear()
    shop.restart()
    eventually(shop.settled, 20)
    again = {decision["id"]: decision["pred_prob"] for _, decision in shop.heard}
    assert len(shop.product.fraud.find(limit=100).items) == 11
    assert len(first) == 10
    assert first.items() <= again.items()


def test_what_cannot_be_used_lies_in_the_error_place_with_its_reason_and_holds_up_nothing(shop: Shop) -> None:
    id = str(flat(0)["TransactionID"])
    shop.pay({"amount": 3}, flat(0), {**flat(0), "TransactionAmt": 1e6}, [flat(1), flat(2)])
    eventually(shop.settled, 20)
    assert {decision["id"] for _, decision in shop.heard} == {str(flat(n)["TransactionID"]) for n in range(3)}
    reasons = sorted((one["error"] for one in shop.spoilt()), key=len)
    assert [one.partition(":")[0] for one in reasons] == ["TransactionID", "TransactionID"]
    assert id in reasons[1]
    assert "TransactionAmt was " in reasons[1]


def test_without_an_error_action_what_cannot_be_used_is_told_beside_the_decisions_and_each_reason_logged(
    shop: Shop,
) -> None:
    for subject, place in (("", "masthead.fraud.cards.refused"), ("tills/decided", "tills/decided/refused")):
        action = RULE["actions"][0] | {"subject": subject}
        shop.product.streams.update_rule({**RULE, "actions": [action], "error_action": None})
        shop.heard.clear()
        shop.pay({"amount": 3}, {"amount": 4}, flat(0), {**flat(1), "TransactionDT": "soon"})
        eventually(shop.settled, 20)
        eventually(lambda: len(shop.heard) == 4, 20)
        refused = [document for where, document in shop.heard if where == place]
        reasons = [one["failures"][0]["errorMessage"].partition(":")[0] for one in refused]
        assert reasons == ["TransactionID", "TransactionID", "TransactionDT"]
        payload = base64.b64decode(refused[0]["base64OriginalPayload"])
        assert orjson.loads(payload) == {"amount": 3}
    logged = [one for one in shop.product.journal.read("rule", "payments") if one["event"] == "failed"]
    assert sorted((one["error"].partition(":")[0], one["count"]) for one in logged) == [
        *[("TransactionDT", 1)] * 2,
        *[("TransactionID", 2)] * 2,
    ]


def test_a_deployment_that_is_not_there_is_named_as_the_reason(shop: Shop) -> None:
    shop.product.streams.update_rule({**RULE, "actions": [{"kind": "fraud", "name": "nobody"}]})
    shop.pay(flat(0))
    eventually(shop.settled, 20)
    assert "nobody" in shop.spoilt()[0]["error"]
    assert shop.heard == []


def test_a_transaction_waits_for_as_long_as_there_is_no_room(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("masthead.streams.works._FIRST_DELAY_S", 0.01)
    full = 6  # more often than what leaves the house is tried

    def work(actions: Any) -> Any:
        nonlocal full
        full -= 1
        if full >= 0:
            raise LimitReached("transactions: the disk is full")
        return score_actions(shop.product.fraud, actions)

    shop.product.streams.register_work("fraud", work)
    shop.pay(flat(0))
    eventually(shop.settled, 20)
    assert full == -1
    assert [decision["id"] for _, decision in shop.heard] == [str(flat(0)["TransactionID"])]


def test_one_that_breaks_the_worker_does_not_take_the_others_with_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("masthead.streams.works._FIRST_DELAY_S", 0.01)
    broken = str(flat(1)["TransactionID"]).encode()

    def work(actions: Any) -> Any:
        if any(broken in action.payload for action in actions):
            raise ZeroDivisionError("a defect")
        return score_actions(shop.product.fraud, actions)

    shop.product.streams.register_work("fraud", work)
    shop.pay(flat(0), flat(1), flat(2))
    eventually(shop.settled, 20)
    assert len(shop.heard) == 2
    assert "ZeroDivisionError" in shop.spoilt()[0]["error"]


def test_a_subject_of_ones_own_is_checked_and_used(shop: Shop) -> None:
    rule: Callable[[str], dict[str, Any]] = lambda subject: {  # noqa: E731
        **RULE,
        "actions": [{"kind": "fraud", "name": "cards", "subject": subject}],
    }
    for wrong in ("tills/#", "$JS.API.STREAM.DELETE.READINGS", "masthead.clock"):
        with pytest.raises(InvalidInput, match=r"actions\.subject: expected"):
            shop.product.streams.update_rule(rule(wrong))
    shop.product.streams.update_rule(rule("tills/decisions"))
    shop.pay(flat(0))
    eventually(shop.settled, 20)
    assert [subject for subject, _ in shop.heard] == ["tills/decisions"]
