"""A decision made again from what was kept of it, whatever has changed since."""

import json
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import small_fraud
from card_records import flat
from fresh import fresh

from masthead.app import Masthead
from masthead.base.errors import Conflict, NotFound
from masthead.base.settings import Settings
from masthead.cli.main import run
from masthead.fraud.store.vectors import pack_vector, unpack_vector

MODEL = small_fraud.folder


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Masthead]:
    with Masthead.open(Settings(data=fresh(tmp_path / "data"))) as found:
        found.fraud.deploy("cards", MODEL() / "model")
        yield found


def ids(*places: int) -> list[str]:
    return [str(flat(place)["TransactionID"]) for place in places]


def rewrite(house: Masthead, id: str, **changes: object) -> None:
    """Change what is stored of a decision: None takes a field away, as if an older version had written it."""
    with house.database.write() as connection:
        where = "WHERE seq = (SELECT seq FROM fraud_transactions WHERE id = ?)"
        (body,) = connection.exec_driver_sql(f"SELECT body FROM fraud_decisions {where}", (id,)).one()
        told = {**orjson.loads(body), **changes}
        told = {name: value for name, value in told.items() if value is not None}
        connection.exec_driver_sql(f"UPDATE fraud_decisions SET body = ? {where}", (orjson.dumps(told), id))


def test_a_decision_is_made_again_after_thresholds_and_lists_have_changed_and_after_a_restart(
    house: Masthead,
) -> None:
    relation = small_fraud.model().schema.relations[0].name
    house.fraud.score(flat(0))
    house.portal.set_thresholds("cards", review=0.0, block=1.0)
    house.fraud.score(flat(1))
    house.portal.set_thresholds("cards", review=0.0, block=0.0)
    house.fraud.score(flat(2))
    house.portal.put_listed("allow", relation, str(flat(3)["card1"]), note="", space="live")
    house.fraud.score(flat(3))
    house.portal.put_listed("block", relation, str(flat(3)["card1"]), note="", space="live")
    house.portal.set_thresholds("cards", review=0.5, block=0.6)
    actions = ["review", "review", "block", "pass"]  # the first one by the model's own cuts
    with Masthead.open(house.settings) as other:  # which has neither scored nor loaded anything
        for one in (house, other):
            found = [one.fraud.reproduction(id) for id in ids(0, 1, 2, 3)]
            assert [each["recomputed"]["action"] for each in found] == actions
            assert all(each["stored"] == each["recomputed"] and each["equal"] for each in found)
            assert all(each["not_recorded"] == [] for each in found)
            assert found[3]["stored"]["listed"]["list"] == "allow"
            assert found[1]["stored"]["pred_prob"] == house.fraud.get(ids(1)[0])["decision"]["pred_prob"]


def test_what_is_stored_and_is_not_what_the_model_says_is_told(house: Masthead) -> None:
    for place in range(5):
        house.fraud.score(flat(place))
    score, other, action, listed, vector = ids(0, 1, 2, 3, 4)
    with house.database.write() as connection:
        seq = "(SELECT seq FROM fraud_transactions WHERE id = ?)"
        connection.exec_driver_sql(
            f"UPDATE fraud_decisions SET score = score + 1e-12 WHERE seq = {seq}", (score,)
        )
        (kept,) = connection.exec_driver_sql(
            f"SELECT vector FROM fraud_decisions WHERE seq = {seq}", (vector,)
        ).one()
        seen = unpack_vector(kept).copy()
        seen[:] = 1.0
        connection.exec_driver_sql(
            f"UPDATE fraud_decisions SET vector = ? WHERE seq = {seq}", (pack_vector(seen), vector)
        )
    rewrite(house, other, pred_prob=0.123)
    rewrite(house, action, action="block", flag=True)
    rewrite(house, listed, listed={"list": "allow", "relation": "card1", "value": "somebody else's"})
    for id in (score, other, action, listed, vector):
        assert not house.fraud.reproduction(id)["equal"], id


def test_a_draw_from_reviews_is_made_again_by_the_share_that_was_set_then(house: Masthead) -> None:
    house.fraud.deploy("cards", MODEL() / "model", release_share=0.5)
    house.portal.set_thresholds("cards", review=0.0, block=1.0)
    for place in range(8):
        house.fraud.score(flat(place))
    house.fraud.deploy("cards", MODEL() / "model", release_share=0.0)
    found = [house.fraud.reproduction(id) for id in ids(*range(8))]
    assert {one["stored"]["released"] for one in found} == {None, True}
    assert all(one["equal"] and one["recomputed"] == one["stored"] for one in found)
    assert all(one["not_recorded"] == [] for one in found)
    rewrite(house, next(one["id"] for one in found if not one["stored"]["released"]), released=True)
    assert [one["equal"] for one in map(house.fraud.reproduction, ids(*range(8)))].count(False) == 1


def test_what_an_older_version_did_not_record_is_said_and_nothing_else_is_doubted(house: Masthead) -> None:
    house.fraud.deploy("cards", MODEL() / "model", release_share=1.0)
    house.portal.set_thresholds("cards", review=0.0, block=0.0)
    house.fraud.score(flat(0))
    house.portal.set_thresholds("cards", review=1.0, block=1.0)
    house.fraud.score(flat(1))
    house.portal.set_thresholds("cards")
    own = house.portal.thresholds("cards")
    house.portal.set_thresholds("cards", review=own["review"], block=own["block"])
    house.fraud.score(flat(2))
    for id in ids(0, 1, 2):
        rewrite(house, id, block_threshold=None)
    blocked, passed, by_own = (house.fraud.reproduction(id) for id in ids(0, 1, 2))
    assert (blocked["not_recorded"], blocked["equal"]) == (["block_threshold"], True)
    assert (blocked["stored"]["action"], blocked["recomputed"]["action"]) == ("block", None)
    assert (passed["not_recorded"], passed["recomputed"]["action"]) == (["block_threshold"], "pass")
    assert (by_own["not_recorded"], by_own["equal"]) == ([], True)
    house.portal.set_thresholds("cards", review=0.0, block=1.0)
    house.fraud.score(flat(3))
    rewrite(house, ids(3)[0], release_share=None)
    released = house.fraud.reproduction(ids(3)[0])
    assert (released["not_recorded"], released["equal"]) == (["release_share"], True)


def test_a_deployment_in_shadow_is_asked_by_its_name(house: Masthead) -> None:
    house.fraud.deploy("along", MODEL() / "model", shadow=True)
    house.portal.set_thresholds("along", review=0.0, block=0.0)
    house.fraud.score(flat(0))
    (id,) = ids(0)
    decided, along = house.fraud.reproduction(id), house.fraud.reproduction(id, alias="along")
    assert (decided["deployment"], decided["shadow"], decided["equal"]) == ("cards", False, True)
    assert (along["deployment"], along["shadow"], along["equal"]) == ("along", True, True)
    assert (decided["stored"]["action"], along["recomputed"]["action"]) == ("review", "block")
    house.fraud.undeploy("along")
    assert house.fraud.reproduction(id, alias="along") == along
    with pytest.raises(NotFound, match="'nobody' has not scored"):
        house.fraud.reproduction(id, alias="nobody")


def test_where_nothing_can_be_made_again_it_is_said_why(house: Masthead, tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("TransactionID,TransactionDT,TransactionAmt,card1\n1,86400,5,77\n")
    house.fraud.load([tmp_path / "more.csv"])
    with pytest.raises(Conflict, match="loaded as history"):
        house.fraud.reproduction("1")
    with pytest.raises(NotFound, match="no transaction '2'"):
        house.fraud.reproduction("2")
    model = house.fraud.score(flat(0))["model"]
    (id,) = ids(0)
    with Masthead.open(house.settings) as other:
        card = house.folder.models / model / "card.json"
        whole = card.read_bytes()
        card.write_bytes(b"{")
        with pytest.raises(Conflict, match=f"model: {model} cannot be read"):
            other.fraud.reproduction(id)
        card.write_bytes(whole)
    house.fraud.undeploy("cards")
    house.fraud.delete_model(model, force=True)
    with pytest.raises(Conflict, match=f"{model}, which decided on '{id}', was deleted"):
        house.fraud.reproduction(id)


def test_the_command_shows_both_and_ends_with_1_where_they_differ(
    house: Masthead, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASTHEAD_DATA", str(house.settings.data))
    decided = house.fraud.score(flat(0))
    (id,) = ids(0)
    assert run(["fraud", "reproduce", id]) == 0
    shown = capsys.readouterr().out
    assert f"transaction {id}, {decided['model']} as cards: the same decision again" in shown
    assert shown.count(repr(decided["pred_prob"])) == 2
    assert run(["fraud", "reproduce", id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == house.fraud.reproduction(id)
    rewrite(house, id, action="block", flag=True)
    assert run(["fraud", "reproduce", id]) == 1
    assert "ANOTHER decision" in capsys.readouterr().out
    assert run(["fraud", "reproduce", "nobody's"]) == 1
    assert "no transaction" in capsys.readouterr().err
