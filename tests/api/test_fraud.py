"""Transactions over HTTP: scored once, looked at, labelled, erased; models come and go while the server runs."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import card_events
import httpx
import pytest
import small_fraud
import small_graph
from card_records import flat
from fresh import fresh

from masthead.api.factory import create_api
from masthead.app import Masthead
from masthead.base.settings import Settings
from masthead.fraud.networks.graph_model import GraphModel
from masthead.fraud.scoring.stream import Stream


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Masthead]:
    with Masthead.open(Settings(data=fresh(tmp_path / "data"))) as found:
        yield found


@pytest.fixture
def client(house: Masthead, serving: Any) -> Iterator[httpx.Client]:
    with serving(create_api(house)) as found:
        model = str(small_fraud.folder() / "model")
        made = found.post("/fraud/deployments", json={"name": "cards", "model": model})
        assert made.status_code == 201, made.text
        yield found


def test_without_a_model_the_answer_says_what_to_do(house: Masthead, serving: Any) -> None:
    with serving(create_api(house)) as client:
        answer = client.post("/fraud/transactions", json=flat(0))
        assert answer.status_code == 409
        assert "masthead fraud deploy" in answer.json()["error"]["message"]
        assert client.get("/fraud/transactions").status_code == 404
        assert client.get("/fraud/models").json()["items"] == []


def test_a_transaction_is_scored_as_in_memory_and_can_be_looked_at(client: httpx.Client) -> None:
    memory = Stream(small_fraud.model())
    for place in range(12):
        answer = client.post("/fraud/transactions", json=flat(place)).json()
        expected = memory.score(flat(place)).to_json()
        apart = {"latency_ms", "time", "reasons"}  # reasons are sought in the tables
        assert {k: v for k, v in answer.items() if k not in apart} == {
            k: v for k, v in expected.items() if k not in apart
        }
        assert bool(answer["reasons"]) == answer["flag"]
        assert answer["time"] == pytest.approx(answer["latency_ms"] / 1e3, abs=1e-5)
    shown = client.get(f"/fraud/transactions/{flat(3)['TransactionID']}").json()
    assert shown["amount"] == flat(3)["TransactionAmt"]
    assert shown["card1"] == flat(3)["card1"]
    assert shown["decision"]["id"] == shown["id"]
    assert shown["label"] == "unknown"
    first = client.get("/fraud/transactions", params={"limit": 5}).json()
    rest = client.get("/fraud/transactions", params={"limit": 50, "token": first["next_token"]}).json()
    ids = [one["id"] for one in first["items"] + rest["items"]]
    assert ids == [flat(place)["TransactionID"] for place in reversed(range(12))]
    flagged = client.get("/fraud/transactions", params={"flagged": True}).json()["items"]
    told = client.get("/fraud/stats").json()
    assert told["totalCount"] == 12
    assert told["fraudCount"] == len(flagged)
    assert told["totalAmount"] == pytest.approx(sum(flat(place)["TransactionAmt"] for place in range(12)))
    start = datetime.fromtimestamp(small_fraud.events().ts[6] / 1e6, UTC).isoformat()
    assert client.get("/fraud/stats", params={"start": start}).json()["totalCount"] == 6


def test_the_articles_event_is_the_same_transaction(client: httpx.Client) -> None:
    one = flat(0)
    first = client.post("/fraud/transactions", json=one).json()
    parts = {
        "transaction_data": [{name: value for name, value in one.items() if name[:3] not in ("id_", "Dev")}],
        "identity_data": [
            {name: value for name, value in one.items() if name[:3] in ("id_", "Dev")}
            | {"TransactionID": one["TransactionID"]}
        ],
    }
    again = client.post("/fraud/transactions", json=parts).json()
    assert again["pred_prob"] == first["pred_prob"]
    assert client.get("/fraud/stats").json()["totalCount"] == 1


def test_of_a_batch_each_gets_its_own_answer(client: httpx.Client) -> None:
    client.post("/fraud/transactions", json=flat(0))
    batch = [flat(1), flat(0, TransactionAmt=1.5), {"TransactionDT": 5}, flat(2, C1="many"), 7, flat(3)]
    answer = client.post("/fraud/transactions", json=batch)
    assert answer.status_code == 200
    items = answer.json()["items"]
    assert [one.get("error", {}).get("code", "") for one in items] == [
        "",
        "Conflict",
        "InvalidInput",
        "InvalidInput",
        "InvalidInput",
        "",
    ]
    told = items[1]["error"]["message"]
    assert "1.5" in told
    assert str(flat(0)["TransactionAmt"]) in told


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "body: expected JSON"),
        (b"{", "body: expected JSON"),
        (b"\xff", "body: expected JSON"),
        (b"7", "expected a transaction or an array of them, got 7"),
        (b'"x"', "expected a transaction or an array of them, got 'x'"),
        (b'{"TransactionID": "1"}', "TransactionDT"),
    ],
)
def test_what_is_no_transaction_is_refused_and_the_next_one_is_scored(
    client: httpx.Client, body: bytes, expected: str
) -> None:
    answer = client.post("/fraud/transactions", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidInput")
    assert expected in answer.json()["error"]["message"]
    assert client.post("/fraud/transactions", json=flat(1)).status_code == 200


def test_what_is_no_transaction_of_an_array_is_told_in_its_place(client: httpx.Client) -> None:
    answer = client.post("/fraud/transactions", content=b"[[]]")
    assert answer.status_code == 200
    (item,) = answer.json()["items"]
    assert item["error"] == {
        "code": "InvalidInput",
        "message": "transaction: expected an object, got []",
        "field": "transaction",
    }
    empty = client.post("/fraud/transactions", content=b"[]")
    assert (empty.status_code, empty.json()) == (200, {"items": []})


def test_an_error_names_the_field_as_it_was_sent(client: httpx.Client) -> None:
    long = "at most 1,024 characters"
    two = {"transaction_data": [flat(0), flat(1)], "identity_data": [{"TransactionID": "1"}]}
    for method, path, body, field, expected in (
        ("POST", "/fraud/transactions", flat(0, card1="x" * 2_000), "card1", long),
        ("POST", "/fraud/transactions", flat(0, TransactionID="x" * 2_000), "TransactionID", long),
        ("POST", "/fraud/deployments", {"name": "a/b", "model": "/nowhere"}, "name", "1 to 63 letters"),
        (
            "POST",
            "/fraud/transactions",
            two,
            "transaction_data",
            "got 2 in transaction_data and 1 in identity",
        ),
        ("POST", "/fraud/transactions", two, "transaction_data", "are sent as an array"),
        ("POST", "/fraud/transactions", flat(0, TransactionAmt="inf"), "TransactionAmt", "a finite number"),
        ("POST", "/fraud/transactions", flat(0, V1="-Infinity"), "V1", "a finite number"),
        *(
            (
                "GET",
                f"/fraud/{what}?start=2024-05-02&end=2024-05-01",
                None,
                "end",
                "2024-05-02T00:00:00+00:00",
            )
            for what in ("stats", "transactions", "outcomes")
        ),
        ("POST", "/fraud/labels", ["x"], "body", "body: expected an object, got ['x']"),
        (
            "GET",
            "/fraud/transactions?limit=many",
            None,
            "limit",
            "limit: expected a whole number, got 'many'",
        ),
        ("GET", "/fraud/transactions?flagged=yep", None, "flagged", "flagged: expected true or false"),
    ):
        found = client.request(method, path, json=body)
        told = found.json()["error"]
        assert (found.status_code, told["code"], told["field"]) == (400, "InvalidInput", field)
        assert expected in told["message"]


def test_a_label_changes_what_is_known_and_one_too_early_waits(client: httpx.Client) -> None:
    client.post("/fraud/transactions", json=flat(0))
    known = client.post(
        "/fraud/labels", json={"id": flat(0)["TransactionID"], "value": "fraud", "source": "analyst"}
    )
    assert known.json() == {"id": flat(0)["TransactionID"], "known": True}
    shown = client.get(f"/fraud/transactions/{flat(0)['TransactionID']}").json()
    assert shown["label"] == "fraud"
    assert shown["labels"][0]["source"] == "analyst"
    early = client.post("/fraud/labels", json={"id": "yet-to-come", "value": 1, "source": "chargeback"})
    assert early.json()["known"] is False
    for bad in ({"id": "1", "value": "maybe"}, {"value": 1}, {"id": "1", "value": 1, "source": "rumour"}):
        assert client.post("/fraud/labels", json=bad).status_code == 400


def test_a_label_that_cannot_be_meant_is_refused_and_the_same_again_is_stored_once(
    client: httpx.Client,
) -> None:
    id = client.post("/fraud/transactions", json=flat(0)).json()["id"]
    happened = datetime.fromisoformat(client.get(f"/fraud/transactions/{id}").json()["time"])
    before, after = (happened + timedelta(days=days) for days in (-1, 1))
    body = {"id": id, "value": "fraud", "source": "chargeback"}
    misspelt = client.post("/fraud/labels", json=body | {"arived_at": after.isoformat()}).json()["error"]
    assert (misspelt["code"], misspelt["field"]) == ("InvalidInput", "arived_at")
    early = client.post("/fraud/labels", json=body | {"arrived_at": before.isoformat()}).json()["error"]
    assert early["field"] == "arrived_at"
    assert happened.isoformat() in early["message"]
    assert before.isoformat() in early["message"]
    unknown = body | {"id": "later", "arrived_at": before.isoformat()}
    assert client.post("/fraud/labels", json=unknown).json() == {"id": "later", "known": False}
    for _ in range(2):
        again = client.post("/fraud/labels", json=body | {"arrived_at": after.isoformat()})
        assert again.json() == {"id": id, "known": True}
    assert len(client.get(f"/fraud/transactions/{id}").json()["labels"]) == 1
    client.post("/fraud/labels", json=body | {"arrived_at": after.isoformat(), "source": "import"})
    assert len(client.get(f"/fraud/transactions/{id}").json()["labels"]) == 2


def test_deployments_are_listed_replaced_and_taken_away_and_the_model_stays(
    client: httpx.Client, house: Masthead
) -> None:
    (one,) = client.get("/fraud/deployments").json()["items"]
    assert (one["name"], one["about"]["version"]) == ("cards", small_fraud.model().id)
    (model,) = client.get("/fraud/models").json()["items"]
    assert (model["id"], model["deployed"]) == (small_fraud.model().id, ["cards"])
    assert client.delete(f"/fraud/models/{model['id']}").status_code == 409
    shadow = {"name": "other", "model": str(small_fraud.folder() / "model"), "shadow": True}
    assert client.post("/fraud/deployments", json=shadow).status_code == 201
    decided = client.post("/fraud/transactions", json=flat(0)).json()
    with house.database.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT alias, shadow, score FROM fraud_decisions ORDER BY alias"
        ).all()
    assert [tuple(row) for row in rows] == [
        ("cards", 0, decided["pred_prob"]),
        ("other", 1, decided["pred_prob"]),
    ]
    assert client.delete("/fraud/deployments/cards").status_code == 204
    assert client.post("/fraud/transactions", json=flat(1)).status_code == 409
    assert client.delete("/fraud/deployments/other").status_code == 204
    assert client.delete(f"/fraud/models/{model['id']}?force=true").status_code == 204
    assert client.delete(f"/fraud/models/{model['id']}").status_code == 404


def test_the_endpoint_takes_a_transaction_too_and_refuses_a_graph_it_has_no_model_for(
    client: httpx.Client,
) -> None:
    found = client.post("/endpoints/cards/invocations", json=flat(0)).json()
    assert found["id"] == flat(0)["TransactionID"]
    assert client.post("/fraud/transactions", json=flat(0)).json()["pred_prob"] == found["pred_prob"]
    several = client.post("/endpoints/cards/invocations", json={"instances": [flat(1), flat(2)]}).json()
    assert [one["id"] for one in several["predictions"]] == [flat(n)["TransactionID"] for n in (1, 2)]
    for bad in ({"graph": {}, "n_feats": {}, "target_id": 1}, {"TransactionID": "5"}):
        assert client.post("/endpoints/cards/invocations", json=bad).status_code == 424
    graph = client.post("/endpoints/cards/invocations", json={"graph": {}, "n_feats": {}, "target_id": 1})
    told = graph.json()["error"]["message"]
    assert "expected a transaction" in told
    assert "masthead fraud graph train" in told


def test_a_graph_network_has_no_thresholds_to_ask_for_or_to_set(client: httpx.Client) -> None:
    model = str(small_graph.folder() / "model")
    assert client.post("/fraud/deployments", json={"name": "network", "model": model}).status_code == 201
    path = "/fraud/deployments/network/thresholds"
    for answer in (client.get(path), client.put(path, json={"review": 0.1})):
        assert answer.status_code == 409
        assert "network is a graph network, which has no thresholds" in answer.json()["error"]["message"]


def test_a_damaged_model_is_listed_with_what_is_wrong_and_can_be_deleted(
    client: httpx.Client, house: Masthead
) -> None:
    (whole,) = client.get("/fraud/models").json()["items"]
    beside = house.folder.models / "fraud-0123456789ab"
    beside.mkdir()
    (beside / "card.json").write_text('{"files": {"sch')
    broken, again = client.get("/fraud/models").json()["items"]
    if broken["id"] == whole["id"]:
        broken, again = again, broken
    assert (again, broken["deployed"]) == (whole, [])
    assert "damaged" in broken["problem"]
    assert client.delete(f"/fraud/models/{beside.name}").status_code == 204
    assert client.get("/fraud/models").json()["items"] == [whole]


def test_a_list_is_answered_under_the_name_under_which_it_is_given(client: httpx.Client) -> None:
    made = client.put("/fraud/lists/card1/13926", json={"list": "block", "note": "chargebacks"}).json()
    assert {name: made[name] for name in ("relation", "value", "list", "note")} == {
        "relation": "card1",
        "value": "13926",
        "list": "block",
        "note": "chargebacks",
    }
    assert "kind" not in made
    assert client.get("/fraud/lists").json()["items"] == [made]


def test_a_simulation_is_scored_apart_and_deleted_without_touching_real_transactions(
    client: httpx.Client,
) -> None:
    real = client.post("/fraud/transactions", json=flat(0)).json()
    name = client.post("/fraud/simulations").json()["name"]
    apart = client.post("/fraud/transactions", params={"space": name}, json=flat(0, TransactionAmt=9)).json()
    assert apart["id"] == real["id"]
    (listed,) = client.get("/fraud/simulations").json()["items"]
    assert (listed["name"], listed["transactions"]) == (name, 1)
    assert client.delete(f"/fraud/simulations/{name}").json() == {"deleted": name, "transactions": 1}
    assert client.delete("/fraud/simulations/live").status_code == 404
    again = client.post("/fraud/transactions", json=flat(0)).json()
    assert again["pred_prob"] == real["pred_prob"]
    assert client.post("/fraud/transactions", params={"space": name}, json=flat(0)).status_code == 409


def test_a_model_that_has_decided_is_deleted_only_by_force_and_its_decisions_say_that_it_is_gone(
    client: httpx.Client, house: Masthead
) -> None:
    decided = client.post("/fraud/transactions?explain=true", json=flat(0)).json()
    where = f"/fraud/transactions/{decided['id']}/explanation"
    assert client.get(where).json()["note"] is None
    client.delete("/fraud/deployments/cards")
    refused = client.delete(f"/fraud/models/{decided['model']}")
    assert refused.status_code == 409
    assert "has made 1 decision" in refused.json()["error"]["message"]
    assert client.get(where).json()["reasons"] == decided["reasons"]
    assert client.delete(f"/fraud/models/{decided['model']}?force=true").status_code == 204
    found = client.get(where).json()
    assert found["reasons"] == []
    assert "was deleted" in found["note"]
    assert not house.fraud._models.loaded


def test_a_space_is_listed_and_deleted_once_nothing_scores_it(client: httpx.Client) -> None:
    model = str(small_fraud.folder() / "model")
    made = {"name": "aside", "model": model, "space": "eu"}
    assert client.post("/fraud/deployments", json=made).status_code == 201
    assert client.post("/fraud/transactions", params={"space": "eu"}, json=flat(0)).status_code == 200
    listed = client.get("/fraud/spaces").json()["items"]
    assert [(one["name"], one["transactions"]) for one in listed] == [("eu", 1), ("live", 0)]
    for name, status in (("live", 409), ("eu", 409), ("us", 404)):
        assert client.delete(f"/fraud/spaces/{name}").status_code == status
    assert "aside" in client.delete("/fraud/spaces/eu").json()["error"]["message"]
    simulation = client.post("/fraud/simulations").json()["name"]
    assert client.delete(f"/fraud/spaces/{simulation}").status_code == 409
    client.delete("/fraud/deployments/aside")
    assert client.delete("/fraud/spaces/eu").json() == {"deleted": "eu", "transactions": 1}
    assert [one["name"] for one in client.get("/fraud/spaces").json()["items"]] == ["live", simulation]
    assert client.get("/fraud/transactions", params={"space": "eu"}).status_code == 404


def test_one_customers_data_can_be_erased(client: httpx.Client) -> None:
    for place in range(5):
        client.post("/fraud/transactions", json=flat(place))
    gone = client.post("/fraud/erase", json={"relation": "card1", "value": flat(0)["card1"]}).json()
    assert gone["transactions"] >= 1
    assert client.get(f"/fraud/transactions/{flat(0)['TransactionID']}").status_code == 404
    assert client.post("/fraud/erase", json={"relation": "shoe", "value": "9"}).status_code == 404
    assert client.post("/fraud/transactions", json=flat(6)).status_code == 200


def test_a_model_of_another_schema_is_refused_and_the_one_that_serves_goes_on(
    client: httpx.Client, tmp_path: Path
) -> None:
    client.post("/fraud/transactions", json=flat(0))
    other = card_events.save_model(tmp_path / "other")
    for name in ("x", "cards"):
        answer = client.post("/fraud/deployments", json={"name": name, "model": str(tmp_path / "other")})
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "Conflict")
        for schema in (other.schema, small_fraud.model().schema):
            assert schema.digest() in answer.json()["error"]["message"]
    assert client.post("/fraud/transactions", json=flat(1)).json()["model"] == small_fraud.model().id
    assert [one["name"] for one in client.get("/fraud/deployments").json()["items"]] == ["cards"]


def test_a_folder_without_a_model_or_with_a_damaged_one_is_refused_and_the_one_that_serves_goes_on(
    client: httpx.Client, tmp_path: Path
) -> None:
    client.post("/fraud/transactions", json=flat(0))
    assert client.post("/fraud/deployments", json={"name": "x", "model": str(tmp_path)}).status_code == 404
    broken = tmp_path / "broken"
    broken.mkdir()
    for one in (small_fraud.folder() / "model").iterdir():
        (broken / one.name).write_bytes(one.read_bytes()[:-1])
    assert client.post("/fraud/deployments", json={"name": "x", "model": str(broken)}).status_code == 400
    assert client.post("/fraud/transactions", json=flat(1)).status_code == 200


def test_another_process_that_deploys_is_followed(house: Masthead, serving: Any) -> None:
    with serving(create_api(house)) as client:
        assert client.post("/fraud/transactions", json=flat(0)).status_code == 409
        with Masthead.open(house.settings) as other:
            other.fraud.deploy("cards", small_fraud.folder() / "model")
        assert client.post("/fraud/transactions", json=flat(0)).status_code == 200
        with Masthead.open(house.settings) as other:
            marks = small_fraud.folder() / "data" / "labels.csv"
            told = other.fraud.label_file(marks)
            assert told["labels"] > 100
            labelled = str(flat(0)["TransactionID"]) in marks.read_text()
            assert told["waiting"] == told["labels"] - labelled, "of the one that was scored nothing waits"
            again = other.fraud.label_file(marks)
            assert (again["labels"], again["repeated"]) == (0, told["labels"])
        assert client.post("/fraud/transactions", json=flat(1)).status_code == 200


def test_history_is_loaded_by_a_job_that_tells_each_refused_row(client: httpx.Client, tmp_path: Path) -> None:
    rows = "TransactionID,TransactionDT,TransactionAmt,card1\n1,86400,5,77\n2,oops,5,77\n3,86500,6,77\n"
    (tmp_path / "more.csv").write_text(rows)
    with pytest.raises(KeyError):  # no such job
        _ = client.get("/fraud/loads/load-0").json()["state"]
    started = client.post("/fraud/loads", json={"paths": [str(tmp_path / "more.csv")]})
    assert started.status_code == 202, started.text
    place = f"/fraud/loads/{started.json()['id']}"
    for _ in range(600):
        found = client.get(place).json()
        if found["state"] in ("done", "failed"):
            break
    assert found["state"] == "done", found["error"]
    assert found["output"]["loaded"] == 2
    assert found["output"]["refused"] == 1
    assert found["output"]["problems"][0]["row"] == 2
    page = client.get(f"{place}/problems", params={"limit": 1}).json()
    assert (page["items"][0]["row"], page["items"][0]["column"]) == (2, "TransactionDT")
    assert [one["id"] for one in client.get("/fraud/loads").json()["items"]] == [found["id"]]
    assert [client.post(f"{place}/{verb}").status_code for verb in ("cancel", "resume")] == [409, 409]
    assert client.get("/fraud/transactions/3").json()["decision"] is None
    for paths in ([], ["more.csv"], ["/nowhere.csv"]):
        refused = client.post("/fraud/loads", json={"paths": paths})
        assert (refused.status_code, refused.json()["error"]["field"]) == (400, "paths")
    assert client.delete(place).json() == {"deleted": found["id"]}
    assert client.get(place).status_code == 404
    assert client.get("/fraud/transactions/3").status_code == 200


def test_drift_is_told_and_a_challenger_is_promoted_over_http(client: httpx.Client) -> None:
    model = str(small_fraud.folder() / "model")
    for place in range(30):
        assert client.post("/fraud/transactions", json=flat(place)).status_code == 200
    found = client.get("/fraud/deployments/cards/drift", params={"days": 366}).json()
    assert (found["deployment"], found["window"]["transactions"], found["alert_from"]) == ("cards", 30, 0.2)
    assert found["features"].keys() == set(small_fraud.model().columns)
    assert client.get("/fraud/deployments/none/drift").status_code == 404
    refused = client.get("/fraud/deployments/cards/drift", params={"days": 0})
    assert (refused.status_code, refused.json()["error"]["field"]) == (400, "days")
    path = "/fraud/deployments/cards/promote"
    assert client.post(path, json={}).status_code == 404, "nobody challenges it"
    made = client.post(
        "/fraud/deployments", json={"name": "cards-new", "model": model, "challenges": "cards"}
    ).json()
    assert (made["about"]["shadow"], made["about"]["challenges"]) == (True, "cards")
    assert client.post(path, json={"if_better": True}).json()["promoted"] is False
    assert client.post(path, json={"challenger": "cards-new"}).json()["promoted"] is True
    run = client.post("/fraud/deployments/cards/retrain")
    assert (run.status_code, run.json()["config"]["challenges"]) == (201, "cards")


def test_what_differs_from_what_is_stored_is_a_conflict_with_both(client: httpx.Client) -> None:
    client.post("/fraud/transactions", json=flat(1))
    answer = client.post("/fraud/transactions", json=flat(1, TransactionAmt=1.0))
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "Conflict")
    assert "is 1.0 now" in answer.json()["error"]["message"]


def test_of_several_rows_of_an_endpoint_each_is_answered_in_its_place(client: httpx.Client) -> None:
    rows = [flat(1), flat(2, TransactionID=None), flat(3)]
    found = client.post("/endpoints/cards/invocations", json=rows).json()["predictions"]
    assert [one.get("id") for one in found] == [flat(1)["TransactionID"], None, flat(3)["TransactionID"]]
    assert found[1]["error"]["code"] == "InvalidInput"
    refused = client.post("/endpoints/cards/invocations", json=rows, headers={"accept": "text/csv"})
    assert refused.status_code == 424
    assert "row 1: " in refused.json()["error"]["message"]


def test_thresholds_are_only_changed_by_fields_that_there_are(client: httpx.Client) -> None:
    path = "/fraud/deployments/cards/thresholds"
    own = client.get(path).json()
    assert client.put(path, json={"review": 0.3, "block": 0.9}).json()["by_hand"]
    for wrong in ({"reveiw": 0.2}, {"block": None}, {"review": "0.2"}):
        assert client.put(path, json=wrong).status_code == 400
    found = client.get(path).json()
    assert (found["review"], found["block"]) == (0.3, 0.9)
    assert client.put(path, json={}).json() == own


def test_two_amounts_that_are_no_money_do_not_make_a_sum_infinite(client: httpx.Client) -> None:
    for place in (1, 2):
        client.post("/fraud/transactions", json=flat(place, TransactionAmt=1e308))
    client.post("/fraud/transactions", json=flat(3, TransactionAmt=-1e308))
    assert client.get("/fraud/stats").json()["totalAmount"] == pytest.approx(1e15)


def test_a_space_that_is_not_there_is_told_and_a_model_is_named_by_its_whole_path(
    client: httpx.Client,
) -> None:
    assert client.get("/fraud/stats?space=nowhere").status_code == 404
    answer = client.post("/fraud/deployments", json={"name": "cards", "model": "model"})
    assert answer.status_code == 400
    assert "absolute path" in answer.json()["error"]["message"]


def test_a_network_beside_a_model_stays_when_the_model_is_deployed_anew(
    client: httpx.Client, house: Masthead
) -> None:
    network = small_graph.folder() / "model"
    house.fraud.deploy("cards", network)
    house.fraud.deploy("cards", small_fraud.folder() / "model")
    sent = small_graph.payload(GraphModel.load(network))
    assert client.post("/endpoints/cards/invocations", json=sent).json() >= 0
    assert client.post("/fraud/transactions", json=flat(1)).status_code == 200
    used = {one["id"]: one["deployed"] for one in client.get("/fraud/models").json()["items"]}
    assert list(used.values()) == [["cards"], ["cards"]]


def test_thresholds_are_told_set_and_given_back_over_http(client: httpx.Client) -> None:
    path = "/fraud/deployments/cards/thresholds"
    own = {name: getattr(small_fraud.model().thresholds, name) for name in ("review", "block")}
    assert client.get(path).json() == {**own, "by_hand": False, "own": own}
    found = client.put(path, json={"review": 0.3, "block": 0.9})
    assert (found.status_code, found.json()) == (
        200,
        {"review": 0.3, "block": 0.9, "by_hand": True, "own": own},
    )
    assert client.get(path).json() == found.json()
    decision = client.post("/fraud/transactions", json=flat(0)).json()
    assert (decision["threshold"], decision["block_threshold"]) == (0.3, 0.9)
    assert client.put(path, json={"block": 0.95}).json()["review"] == 0.3
    for bad, field in (
        ({"review": "much"}, "review"),
        ({"review": True}, "review"),
        ({"review": 1.5}, "review"),
        ({"block": 0.1}, "block"),
    ):
        refused = client.put(path, json=bad)
        assert (refused.status_code, refused.json()["error"]["field"]) == (400, field)
    assert client.put(path, json={}).json() == {**own, "by_hand": False, "own": own}
    assert client.get("/fraud/deployments/none/thresholds").status_code == 404


def test_the_schema_of_a_space_is_told_as_a_file_that_can_be_used(client: httpx.Client) -> None:
    found = client.get("/fraud/schema").json()
    schema = small_fraud.model().schema
    assert (found["name"], found["digest"]) == (schema.name, schema.digest())
    assert type(schema).parse(found["schema"]) == schema
    assert client.get("/fraud/schema", params={"space": "none"}).status_code == 404


def test_how_decisions_turned_out_is_counted_from_labels(client: httpx.Client) -> None:
    path = "/fraud/deployments/cards/thresholds"
    client.put(path, json={"review": 0.0, "block": 1.0})
    flagged = [client.post("/fraud/transactions", json=flat(place)).json() for place in range(3)]
    client.put(path, json={"review": 1.0, "block": 1.0})
    passed = [client.post("/fraud/transactions", json=flat(place)).json() for place in range(3, 6)]
    for decision, value in zip(
        [*flagged, *passed], ("fraud", "fraud", "legit", "fraud", "legit", None), strict=True
    ):
        if value:
            client.post("/fraud/labels", json={"id": decision["id"], "value": value, "source": "chargeback"})
    found = client.get("/fraud/outcomes").json()
    assert found["all"] == {
        "decided": 6,
        "known": 5,
        "flagged": 3,
        "caught": 2,
        "frauds": 3,
        "precision": 2 / 3,
        "recall": 2 / 3,
    }
    assert found["released"]["decided"] == 0
    start = datetime.fromtimestamp(small_fraud.events().ts[3] / 1e6, UTC).isoformat()
    assert client.get("/fraud/outcomes", params={"start": start}).json()["all"]["frauds"] == 1


def test_a_decision_is_made_again_over_http(client: httpx.Client) -> None:
    model = str(small_fraud.folder() / "model")
    client.post("/fraud/deployments", json={"name": "along", "model": model, "shadow": True})
    decided = client.post("/fraud/transactions", json=flat(0)).json()
    path = f"/fraud/transactions/{decided['id']}/reproduction"
    found = client.get(path).json()
    assert (found["equal"], found["deployment"]) == (True, "cards")
    assert found["recomputed"]["pred_prob"] == decided["pred_prob"]
    assert client.get(path, params={"endpoint": "along"}).json()["shadow"] is True
    assert client.get(path, params={"endpoint": "nobody"}).status_code == 404
    for name in ("cards", "along"):
        client.delete(f"/fraud/deployments/{name}")
    client.delete(f"/fraud/models/{decided['model']}?force=true")
    gone = client.get(path)
    assert (gone.status_code, "was deleted" in gone.json()["error"]["message"]) == (409, True)
