"""Why a transaction was decided so, over HTTP."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import small_fraud
from card_records import flat
from fresh import fresh

from masthead.api.factory import create_api
from masthead.app import Masthead
from masthead.base.settings import Settings


def test_explanations_graphs_and_rings_are_told_and_a_decision_has_reasons_when_asked(
    tmp_path: Path, serving: Any
) -> None:
    body = {"TransactionID": "a", "TransactionDT": 90_000, "TransactionAmt": 30, "card1": 5, "id_20": "d"}
    with (
        Masthead.open(Settings(data=fresh(tmp_path / "data"))) as house,
        serving(create_api(house)) as client,
    ):
        house.fraud.deploy("cards", small_fraud.folder() / "model")
        asked = client.post("/fraud/transactions?explain=true", json=body).json()
        assert 1 <= len(asked["reasons"]) <= 5
        found = client.get("/fraud/transactions/a/explanation").json()
        assert found["reasons"] == asked["reasons"]
        assert (found["pred_prob"], found["model"], found["paths"]) == (
            *(asked["pred_prob"], asked["model"]),
            [],
        )
        graph = client.get("/fraud/transactions/a/graph").json()
        assert [one.get("value", "centre") for one in graph["nodes"]] == ["centre", "5", "d"]
        assert graph["edges"][0] == {"transaction": "t1", "entity": "e1"}
        assert client.get("/fraud/rings").json() == {"items": [], "next_token": None}
        for unknown in ("/fraud/transactions/b/explanation", "/fraud/transactions/b/graph"):
            assert client.get(unknown).status_code == 404


def test_lists_show_the_reasons_that_were_given(tmp_path: Path, serving: Any) -> None:
    given = {}
    house = Masthead.open(Settings(data=fresh(tmp_path / "data")))
    with house, serving(create_api(house)) as client:
        house.fraud.deploy("cards", small_fraud.folder() / "model")
        house.portal.set_thresholds("cards", review=0.02, block=1.0)
        for place in range(60):
            answer = client.post("/fraud/transactions", json=flat(place)).json()
            given[answer["id"]] = answer["reasons"]
        assert any(given.values())
        listed = client.get("/fraud/transactions").json()["items"]
        assert {one["id"]: one["decision"]["reasons"] for one in listed} == given
        bare = client.get("/fraud/transactions", params={"explain": False}).json()["items"]
        assert all(one["decision"]["reasons"] == [] for one in bare)
    with Masthead.open(house.settings) as other:  # another process remembers none of them
        assert {one["id"]: one["decision"]["reasons"] for one in other.fraud.find().items} == given


def test_an_id_of_any_characters_is_reached_by_its_escaped_form(tmp_path: Path, serving: Any) -> None:
    house = Masthead.open(Settings(data=fresh(tmp_path / "data")))
    with house, serving(create_api(house)) as client:
        house.fraud.deploy("cards", small_fraud.folder() / "model")
        for id in ("a/b#1", "50% off", "a/explanation", "x/graph", "/", "%2F", "a b?c=d", "ü/ß", "../stats"):
            there = f"/fraud/transactions/{quote(id, safe='')}"
            listed = f"/fraud/lists/card1/{quote(id, safe='')}"
            body = {**flat(0), "TransactionID": id}
            assert client.post("/fraud/transactions", json=body).status_code == 200
            for path in (there, f"{there}/explanation"):
                found = client.get(path)
                assert (found.status_code, found.json().get("id")) == (200, id)
            assert client.get(f"{there}/graph").json()["nodes"][0]["transaction"] == id
            assert client.post(f"{there}/verdict", json={"verdict": "fraud"}).status_code == 204
            assert client.get(there).json()["label"] == "fraud"
            assert client.put(listed, json={"list": "block"}).json()["value"] == id
            assert client.delete(listed).status_code == 204
        assert client.get("/fraud/lists").json()["items"] == []
