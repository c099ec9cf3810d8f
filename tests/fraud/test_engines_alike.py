"""Fraud on a real PostgreSQL: what is decided, explained, loaded and erased there is what SQLite tells, to the bit."""

from pathlib import Path
from typing import Any

import pytest
import small_fraud
from card_records import flat
from fresh import fresh

from masthead.app import Masthead
from masthead.base.errors import MastheadError
from masthead.base.settings import Settings
from masthead.fraud import GraphStore

ROWS = 400


def decided(found: Any) -> dict[str, Any]:
    assert not isinstance(found, MastheadError), found
    return {name: value for name, value in found.items() if name not in ("latency_ms", "time")}


def lived(settings: Settings, tmp_path: Path) -> dict[str, Any]:
    """Return what is told of the same transactions by an installation: scored, labelled, loaded, erased, after a restart."""
    told: dict[str, Any] = {}
    home, events = small_fraud.folder(), small_fraud.events()
    history = tmp_path / "history.csv"
    history.write_text(
        "TransactionID,TransactionDT,TransactionAmt,card1,id_20\n1,1,5,77,d\n2,oops,5,77,d\n3,2,6,77,d\n"
    )
    with Masthead.open(settings) as house:
        house.fraud.deploy("cards", home / "model")
        house.fraud.deploy("along", home / "model", shadow=True)
        house.portal.set_thresholds("cards", review=0.05, block=0.5)
        marks = house.fraud.label_file(home / "data" / "labels.csv")
        told["labels"] = (marks["labels"], marks["waiting"])
        loading = house.loads.start([str(history)], worker="caller")
        for _ in house.loads.doing(loading["id"]):
            pass
        output = house.loads.get(loading["id"])["output"]
        told["load"] = {name: output[name] for name in ("loaded", "refused", "repeated")}
        found = house.fraud.score_many([flat(place) for place in range(ROWS)])
        told["scores"] = [decided(one) for one in found]
        told["conflict"] = [str(one) for one in house.fraud.score_many([flat(0, TransactionAmt=1.5)])]
    with Masthead.open(settings) as house:
        told["again"] = [
            decided(one) for one in house.fraud.score_many([flat(place) for place in range(ROWS, ROWS + 50)])
        ]
        flagged = house.fraud.find(flagged=True, limit=20).items
        ids = [one["id"] for one in flagged]
        told["explanations"] = [house.fraud.explanation(id) for id in ids]
        told["graphs"] = [house.fraud.graph(id) for id in ids[:5]]
        told["made again"] = [
            house.fraud.reproduction(id, alias=alias) for id in ids[:5] for alias in ("", "along")
        ]
        told["rings"] = house.fraud.rings()
        told["stats"] = house.fraud.stats(start=int(events.ts[50]), end=int(events.ts[300]))
        told["outcomes"] = house.fraud.outcomes()
        told["erased"] = house.fraud.erase("card1", str(flat(0)["card1"]))
        told["left"] = house.fraud.stats()
    return told


def test_a_life_with_transactions_is_the_same_on_both_engines(tmp_path: Path, postgres_url: str) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    sqlite = lived(Settings(data=fresh(tmp_path / "sqlite")), tmp_path / "one")
    postgres = lived(Settings(data=tmp_path / "postgres", database_url=postgres_url), tmp_path / "other")
    assert sqlite["load"] == {"loaded": 2, "refused": 1, "repeated": 0}
    assert len(sqlite["explanations"]) == 20
    assert any(one["reasons"] for one in sqlite["explanations"])
    assert all(one["equal"] for one in sqlite["made again"])
    assert sqlite["erased"]["transactions"] >= 1
    for name, expected in sqlite.items():
        assert postgres[name] == expected, name


@pytest.mark.parametrize("scheme", ["postgresql://", "postgresql+psycopg://"])
def test_a_program_opens_a_store_by_the_url_of_its_database(postgres_url: str, scheme: str) -> None:
    url = postgres_url.replace("postgresql+psycopg://", scheme)
    model, events = small_fraud.model(), small_fraud.events()
    with GraphStore.open(url) as store, model.stream(store) as stream:
        first = [stream.score(events.event(place)) for place in range(30)]
        assert stream.label(first[0].id, "fraud")
    with GraphStore.open(url) as store, model.stream(store) as stream:
        again = [stream.score(events.event(place)).pred_prob for place in range(30)]
        assert again == [one.pred_prob for one in first]
        newest = store.recent(model.schema.relations[0].name, str(events.event(29).keys[0]))
        assert newest[0].id == first[29].id
