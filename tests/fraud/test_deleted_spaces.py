"""A space that is deleted while something still writes to it: that ends with an error, and nothing stays behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import small_fraud
from card_records import flat
from sqlalchemy import text

from masthead.app import Masthead
from masthead.base.errors import Conflict
from masthead.base.settings import Settings
from masthead.fraud.data.generate import generate
from masthead.fraud.store import loading, results


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Masthead]:
    with Masthead.open(Settings(data=tmp_path / "house")) as found:
        yield found


def left(house: Masthead, space: str) -> int:
    """Return how many rows the tables still hold of a space."""
    with house.database.read() as connection:
        return sum(
            connection.execute(
                text(f"SELECT count(*) FROM {table} WHERE space = :space"), {"space": space}
            ).scalar_one()
            for table in ("fraud_transactions", "fraud_labels", "fraud_entities")
        )


def test_a_load_into_it_fails_and_can_go_on_elsewhere(
    house: Masthead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "AT_ONCE", 100)
    generate(500, 3, tmp_path / "cards")
    given = {"schema": str(tmp_path / "cards" / "schema.toml"), "worker": "caller"}
    begun = house.loads.start([str(tmp_path / "cards")], space="aside", **given)  # type: ignore[arg-type]
    doing = house.loads.doing(begun["id"])
    while next(doing)[2] != "200 of 500 rows":
        pass
    assert house.fraud.delete_space("aside") == 200
    with pytest.raises(Conflict, match="aside was deleted while files were loaded"):
        list(doing)
    found = house.loads.get(begun["id"])
    assert found["state"] == "failed"
    assert "load them into another one" in found["error"]
    assert left(house, "aside") == 0


def test_a_transaction_that_comes_in_the_same_moment_is_not_stored(house: Masthead) -> None:
    house.fraud.deploy("cards", small_fraud.folder() / "model")
    house.fraud.score(flat(1))
    space = house.fraud.create_simulation().name
    house.fraud.score(flat(1), space=space)
    with house.fraud.store.group() as group:  # another process; this one has not been told yet
        results.empty_space(group, space)
    with pytest.raises(Conflict, match="none is deployed in the space"):
        house.fraud.score(flat(2), space=space)
    assert left(house, space) == 0
    assert house.fraud.score(flat(2))["action"]
