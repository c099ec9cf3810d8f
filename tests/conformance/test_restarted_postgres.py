"""PostgreSQL is started again beside a running product: that goes on by itself, and meanwhile nothing is taken for granted."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import small_fraud
from card_records import flat
from waiting import eventually

from masthead.app import Masthead
from masthead.base.errors import Unavailable
from masthead.base.settings import Settings


@pytest.fixture
def house(tmp_path: Path, postgres_url: str) -> Iterator[Masthead]:
    with Masthead.open(Settings(data=tmp_path, database_url=postgres_url)) as found:
        found.fraud.deploy("cards", small_fraud.folder() / "model")
        found.fraud.score(flat(0))
        yield found


@pytest.fixture
def administer(postgres_server: str, postgres_url: str) -> Iterator[Callable[[str], Any]]:
    """Run a statement about the database from outside of it; `{name}` is the database's."""
    name = postgres_url.partition("?")[0].rpartition("/")[2]
    with psycopg.connect(postgres_server.replace("+psycopg", ""), autocommit=True) as connection:
        yield lambda statement: connection.execute(statement.format(name=name))


_END_ALL = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'"


def test_scoring_goes_on_behind_a_restart_and_a_key_that_is_revoked_is_refused(
    house: Masthead, administer: Callable[[str], Any]
) -> None:
    key = house.keys.create_key("till", ["admin"])
    token = f"{key.key.id}.{key.secret}"
    assert house.keys.authenticate(token)
    administer(_END_ALL)
    with Masthead.open(house.settings) as other:
        other.keys.revoke_key(key.key.id)
    eventually(lambda: house.keys.authenticate(token) is None, within_s=5)
    assert house.fraud.score(flat(1))["action"]
    assert house.fraud.score(flat(0))["id"] == flat(0)["TransactionID"]


def test_while_nobody_can_connect_that_is_told_and_what_was_not_stored_can_be_sent_again(
    house: Masthead, administer: Callable[[str], Any]
) -> None:
    administer('ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    administer(_END_ALL)
    for verb in (house.database.version, house.fraud.stats, lambda: house.fraud.score(flat(1))):
        with pytest.raises(Unavailable, match="does not answer now"):
            verb()
    administer('ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    assert house.fraud.stats()["totalCount"] == 1
    assert house.fraud.score(flat(1))["action"]
    assert house.fraud.stats()["totalCount"] == 2
