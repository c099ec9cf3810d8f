"""What `masthead fraud` says of transactions that are kept: for people, as JSON, and where it cannot."""

import http.server
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import small_fraud
from card_records import flat
from fresh import fresh

from masthead.app import Masthead
from masthead.base.folder import ADDRESSES, DataFolder
from masthead.base.settings import Settings
from masthead.cli.main import run

Call = Callable[..., tuple[int, str, str]]
RING = ("8000001", "8000002", "8000003")
DEVICE = "shared by thieves"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a deployed model, some transactions, and three of one device, two of them confirmed frauds."""
    data = fresh(tmp_path_factory.mktemp("verbs") / "data")
    bare = dict.fromkeys(one.columns[0] for one in small_fraud.model().schema.relations)
    with Masthead.open(Settings(data=data)) as house:
        house.fraud.deploy("cards", small_fraud.folder() / "model")
        house.portal.set_thresholds("cards", review=0.0, block=1.0)
        house.fraud.score_many([flat(place) for place in range(20)])
        for place, id in enumerate(RING):
            own = {"card1": f"ring-{place}", "id_20": DEVICE, "TransactionAmt": 10.0 + place}
            house.fraud.score(
                flat(0, **{**bare, **own, "TransactionID": id, "TransactionDT": 15_000_000 + place})
            )
        for id in RING:
            house.fraud.label(id, "fraud", "chargeback")
    return data


@pytest.fixture
def call(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Runs `masthead fraud ...` over a folder of its own; gives status, output and errors."""
    monkeypatch.setenv("MASTHEAD_DATA", str(shutil.copytree(template, tmp_path / "data")))

    def call(*words: str) -> tuple[int, str, str]:
        status = run(["fraud", *words])
        told = capsys.readouterr()
        return status, told.out, told.err

    return call


def as_json(call: Call, *words: str) -> Any:
    status, out, err = call(*words, "--json")
    assert status == 0, err
    return json.loads(out)


def row_of(table: str, first: str) -> list[str]:
    """Return the words of the line of a table that begins with a word."""
    return next(line.split() for line in table.splitlines() if line.split()[:1] == [first])


def test_deployments_are_listed_and_taken_away(call: Call) -> None:
    model = small_fraud.model().id
    (one,) = as_json(call, "list")
    assert (one["name"], one["about"]["version"], one["about"]["space"]) == ("cards", model, "live")
    status, out, _ = call("list")
    assert status == 0
    assert row_of(out, "cards")[1:4] == [model, "live", "no"]
    assert call("undeploy", "cards")[:2] == (0, "undeployed cards\n")
    assert call("list")[:2] == (0, "Nothing is deployed yet.\n")
    status, out, err = call("undeploy", "cards")
    assert (status, out) == (1, "")
    assert "cards" in err
    assert call("deploy", "again", "--model", str(small_fraud.folder() / "model"))[0] == 0
    assert as_json(call, "undeploy", "again") == {"undeployed": "again"}


def test_models_are_listed_and_deleted_once_nothing_uses_them(call: Call) -> None:
    model = small_fraud.model().id
    (one,) = as_json(call, "models")
    assert (one["id"], one["deployed"]) == (model, ["cards"])
    status, out, _ = call("models")
    assert status == 0
    assert row_of(out, model)[1] == "cards"
    status, _, err = call("models", "--delete", model)
    assert (status, "deployed as cards" in err) == (1, True)
    call("undeploy", "cards")
    status, _, err = call("models", "--delete", model)
    assert (status, "has made 23 decisions" in err) == (1, True)
    assert as_json(call, "models", "--delete", model, "--force") == []
    assert call("models")[1] == "There is no model yet.\n"


def test_spaces_are_listed_with_what_they_hold_and_deleted(call: Call) -> None:
    call("deploy", "apart", "--model", str(small_fraud.folder() / "model"), "--space", "eu")
    found = {one["name"]: one["transactions"] for one in as_json(call, "spaces")}
    assert found == {"eu": 0, "live": 23}
    status, out, _ = call("spaces")
    assert status == 0
    assert row_of(out, "live")[1:3] == ["live", "23"]
    status, _, err = call("spaces", "--delete", "eu")
    assert (status, "apart" in err) == (1, True)
    call("undeploy", "apart")
    assert [one["name"] for one in as_json(call, "spaces", "--delete", "eu")] == ["live"]


def test_a_customer_is_erased(call: Call) -> None:
    assert as_json(call, "erase", "--entity", "card1=ring-2") == {"transactions": 1, "entities": 1}
    status, out, _ = call("erase", "--entity", f"id_20={DEVICE}")
    assert (status, out.split()) == (0, ["transactions:", "2", "entities:", "3"])
    assert {one["id"] for one in as_json(call, "transactions", "--limit", "50")}.isdisjoint(RING)
    assert call("erase", "--entity", "card1=ring-2")[0] == 1
    status, _, err = call("erase", "--entity", "card1")
    assert (status, "expected REL=VALUE" in err) == (2, True)


def test_a_decision_is_explained(call: Call) -> None:
    id = str(flat(3)["TransactionID"])
    found = as_json(call, "explain", id)
    assert (found["id"], found["model"]) == (id, small_fraud.model().id)
    assert found["reasons"]
    status, out, _ = call("explain", id)
    assert status == 0
    assert out.startswith(
        f"transaction {id} of {found['as_of']}: {found['pred_prob']:.4f} by {found['model']}"
    )
    assert all(reason["text"] in out for reason in found["reasons"])
    assert out.endswith("No path leads to a fraud that was known then.\n")
    graph = json.loads(call("explain", RING[0], "--graph")[1])
    assert {one.get("value") for one in graph["nodes"]} >= {DEVICE, "ring-0"}
    status, out, err = call("explain", "nobody")
    assert (status, out) == (1, "")
    assert "there is no transaction 'nobody'" in err


def test_rings_are_listed_with_what_ties_them(call: Call) -> None:
    (one,) = as_json(call, "rings")
    assert (one["size"], one["confirmed"], one["amount"]) == (3, 3, 33.0)
    assert set(one["transactions"]) == set(RING)
    status, out, _ = call("rings")
    assert status == 0
    assert row_of(out, one["ring"])[1:4] == ["3", "33", "3"]
    assert f"device {DEVICE}" in out
    status, _, err = call("rings", "--limit", "0")
    assert (status, "limit" in err) == (2, True)
    call("erase", "--entity", f"id_20={DEVICE}")
    assert call("rings")[:2] == (0, "There is no ring.\n")


class _Follows(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *said: object) -> None:
        pass


@pytest.fixture
def served(call: Call, tmp_path: Path) -> Iterator[None]:
    """A server holds the folder, which takes up what others begin."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Follows)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with DataFolder(tmp_path / "data").lock():
        told = {"url": f"http://127.0.0.1:{server.server_port}", "token": "t", "mqtt_port": 0}
        (tmp_path / "data" / ADDRESSES).write_text(json.dumps(told))
        yield
    server.shutdown()
    server.server_close()


def test_a_retraining_is_begun_for_the_server_to_go_on_with(call: Call, served: None) -> None:
    found = as_json(call, "retrain", "cards", "--trials", "2", "--detach")
    assert (found["state"], found["config"]["challenges"], found["config"]["endpoint"]) == (
        "waiting",
        "cards",
        "cards-challenger",
    )
    assert found["config"]["trials"] == 2
    status, out, _ = call("retrain", "cards", "--detach")
    assert status == 0
    assert ": waiting\n" in out
    assert "train" in out
    assert len(as_json(call, "pipeline", "list")) == 2


def test_a_retraining_of_nothing_or_for_nobody_is_refused(call: Call) -> None:
    status, _, err = call("retrain", "others")
    assert (status, "others" in err) == (1, True)
    status, _, err = call("retrain", "cards", "--detach")
    assert (status, "no server runs" in err) == (1, True)
    assert call("retrain", "cards", "--trials", "many")[0] == 2
