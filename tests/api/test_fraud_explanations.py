"""Why a transaction was decided so, over HTTP."""

from pathlib import Path
from typing import Any

import small_fraud
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
