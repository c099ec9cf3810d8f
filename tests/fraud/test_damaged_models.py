"""A damaged model folder: everything else is served, the errors say what to do, and an intact copy mends it."""

from pathlib import Path

import pytest
import small_fraud
from card_records import flat

from masthead.app import Masthead
from masthead.base.errors import Conflict
from masthead.base.settings import Settings


def test_the_server_starts_says_so_and_a_good_copy_repairs_it(tmp_path: Path) -> None:
    model = small_fraud.folder() / "model"
    with Masthead.open(Settings(data=tmp_path)) as house:
        house.fraud.deploy("cards", model)
        house.fraud.deploy("apart", model, space="second")
        first = house.fraud.score(flat(1))
    kept = tmp_path / "models" / small_fraud.model().id / "forest.npz"
    kept.write_bytes(kept.read_bytes()[:3000])
    with Masthead.open(Settings(data=tmp_path)) as house:
        house.fraud.start()
        assert set(house.fraud.damaged) == {"cards", "apart"}
        assert any("cards does not answer" in note and "forest.npz" in note for note in house.fraud.notes())
        for space, name in (("live", "cards"), ("second", "apart")):
            with pytest.raises(Conflict, match=f"masthead fraud undeploy {name}"):
                house.fraud.score(flat(2), space=space)
        with pytest.raises(Conflict, match="damaged"):
            house.fraud.score(flat(2), alias="cards")
        assert house.fraud.get(first["id"])["decision"]["pred_prob"] == first["pred_prob"]
        assert [one["id"] for one in house.fraud.models()] == [small_fraud.model().id]
        house.fraud.deploy("cards", model)
        assert house.fraud.score(flat(2))["action"]
        assert house.fraud.score(flat(1))["pred_prob"] == first["pred_prob"]


def test_an_older_deployment_does_not_decide_in_the_place_of_a_damaged_one(tmp_path: Path) -> None:
    model = small_fraud.folder() / "model"
    with Masthead.open(Settings(data=tmp_path)) as house:
        house.fraud.deploy("cards", model)
        house.fraud.deploy("along", model, shadow=True)
    for path in (tmp_path / "models").glob("*/card.json"):
        path.write_text("{")
    with Masthead.open(Settings(data=tmp_path)) as house:
        house.fraud.start()
        with pytest.raises(Conflict, match="cards cannot decide"):
            house.fraud.score(flat(2))
        house.fraud.undeploy("cards")
        with pytest.raises(Conflict, match=r"none is deployed|no model"):
            house.fraud.score(flat(2))
        assert [one["deployed"] for one in house.fraud.models()] == [["along"]]
