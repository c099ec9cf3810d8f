"""The article's InvokeEndpoint payload over loopback, by unmodified boto3: a number, or what is wrong with it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import small_fraud
import small_graph
from aws_clients import PINNED, client_python
from card_records import flat
from small_graph import payload, the_graph

from masthead.base.settings import Settings
from masthead.fraud.networks.graph_model import GraphModel
from masthead.fraud.scoring.stream import Stream
from masthead.server import Server

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).parent / "clients" / "fraud_graph.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("graph")
    subprocess.run([sys.executable, small_graph.__file__, str(made / "model")], check=True)
    return made


@pytest.fixture(scope="module")
def model(folder: Path) -> GraphModel:
    return GraphModel.load(folder / "model")


@pytest.fixture(scope="module")
def told(model: GraphModel, folder: Path) -> dict[str, dict[str, Any]]:
    """Return what boto3 was answered, by the name of what it sent."""
    settings = Settings(data=folder / "data", port=0, aws_port=0, mqtt_port=0, sync="interval")
    with Server(settings) as server:
        server.masthead.fraud.deploy("graph", folder / "model")
        server.masthead.fraud.deploy("cards", small_fraud.folder() / "model")
        for model_folder in (small_fraud.folder() / "model", folder / "model"):
            server.masthead.fraud.deploy("both", model_folder)
        done = subprocess.run(
            [str(client_python(*PINNED)), str(PROGRAM)],
            input=json.dumps(sent(model)),
            env={
                "PATH": os.environ["PATH"],
                "AWS_SHARED_CREDENTIALS_FILE": str(settings.data / "credentials"),
                "AWS_PROFILE": "masthead",
                "NO_PROXY": "127.0.0.1",
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def sent(model: GraphModel) -> dict[str, tuple[str, Any]]:
    whole, numbers, texts = payload(model), payload(model), payload(model)
    numbers["graph"]["target<>card1"][1] = [int(one) for one in numbers["graph"]["target<>card1"][1]]
    texts["target_id"] = str(texts["target_id"])
    texts["graph"]["target<>card1"][0] = [str(one) for one in texts["graph"]["target<>card1"][0]]
    absent, mean, short, narrow = payload(model), payload(model), payload(model), payload(model)
    del absent["n_feats"]["card1"]
    vector = model.mean_vector("card1").tolist()
    mean["n_feats"]["card1"] = dict.fromkeys(mean["n_feats"]["card1"], vector)
    short["n_feats"]["target"]["3000007"] = [1.0]
    narrow["n_feats"]["card1"]["100"] = [0.5] * 7
    return {
        "whole": ("graph", whole),
        "numbers": ("graph", numbers),
        "texts": ("graph", texts),
        "absent": ("graph", absent),
        "mean": ("graph", mean),
        "short": ("graph", short),
        "narrow": ("graph", narrow),
        "no json": ("graph", '{"graph": '),
        "no target": ("graph", {"graph": {}, "n_feats": {}}),
        "transaction": ("graph", flat(0)),
        "event": ("graph", {"transaction_data": [flat(0)]}),
        "unknown": ("nobody", whole),
        "graph to trees": ("cards", whole),
        "article's event": ("cards", {"transaction_data": [flat(0)]}),
        "graph to both": ("both", whole),
        "event to both": ("both", {"transaction_data": [flat(3)]}),
        "plain": ("cards", flat(0)),
        "next": ("cards", flat(1)),
        "other content": ("cards", flat(1, TransactionAmt=1.5)),
        "no time": ("cards", {"TransactionID": "5", "card1": "77"}),
    }


def test_a_payload_is_answered_with_one_number(model: GraphModel, told: dict[str, dict[str, Any]]) -> None:
    whole = told["whole"]
    assert whole["type"] == "application/json"
    found = json.loads(whole["body"])
    assert isinstance(found, float)
    assert found == pytest.approx(model.score(the_graph())[7], abs=1e-5)


def test_ids_as_numbers_and_as_texts_are_the_same(told: dict[str, dict[str, Any]]) -> None:
    assert told["numbers"]["body"] == told["texts"]["body"] == told["whole"]["body"]


def test_an_entity_without_a_vector_counts_as_the_mean_of_its_type(told: dict[str, dict[str, Any]]) -> None:
    absent, mean = (float(told[name]["body"]) for name in ("absent", "mean"))
    assert absent == pytest.approx(mean, abs=1e-7)
    assert absent != pytest.approx(float(told["whole"]["body"]), abs=1e-7)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("short", "n_feats.target.3000007: expected 2 numbers, got 1"),
        ("narrow", "n_feats.card1.100: expected 3 numbers, got 7"),
        ("no json", "body: expected JSON"),
        ("no target", "target_id: expected an id"),
        ("transaction", "graph: expected graph, n_feats and target_id"),
        ("event", "deploy a model of masthead fraud train under the same name"),
        ("graph to trees", "graph: expected a transaction"),
        ("graph to trees", "deploy a model of masthead fraud graph train"),
        ("no time", "TransactionDT: expected the transaction's time"),
        ("other content", "id: is stored with other content"),
    ],
)
def test_a_payload_that_cannot_be_used_is_a_model_error_that_says_why(
    told: dict[str, dict[str, Any]], name: str, message: str
) -> None:
    found = told[name]
    assert (found["code"], found["class"], found["status"]) == ("ModelError", "ModelError", 424)
    assert found["original"] == 400
    assert message in found["original_message"]


def test_an_unknown_alias_is_a_validation_error(told: dict[str, dict[str, Any]]) -> None:
    found = told["unknown"]
    assert (found["code"], found["status"]) == ("ValidationError", 400)
    assert "nobody" in found["message"]


def test_one_endpoint_answers_both_the_articles_payload_and_a_transaction(
    told: dict[str, dict[str, Any]],
) -> None:
    assert told["graph to both"]["body"] == told["whole"]["body"]
    decision = json.loads(told["event to both"]["body"])
    assert (decision["id"], decision["model"]) == (str(flat(3)["TransactionID"]), small_fraud.model().id)


def test_the_articles_event_is_decided_as_any_transaction(told: dict[str, dict[str, Any]]) -> None:
    decision = json.loads(told["article's event"]["body"])
    assert decision["id"] == str(flat(0)["TransactionID"])
    assert 0 <= decision["pred_prob"] <= 1


def test_a_plain_transaction_is_decided_as_it_is_in_memory_and_once(told: dict[str, dict[str, Any]]) -> None:
    memory = Stream(small_fraud.model(), reasons=False)
    for name, place in (("plain", 0), ("next", 1)):
        assert told[name]["type"] == "application/json"
        decision, expected = json.loads(told[name]["body"]), memory.score(flat(place))
        for part in ("id", "flag", "pred_prob", "threshold", "action", "model"):
            assert decision[part] == getattr(expected, part), part
        assert decision["time"] == pytest.approx(decision["latency_ms"] / 1e3, abs=1e-5)
    event = json.loads(told["article's event"]["body"])
    assert event["pred_prob"] == json.loads(told["plain"]["body"])["pred_prob"]
