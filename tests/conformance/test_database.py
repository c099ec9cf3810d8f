"""One suite for both database engines."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from masthead.store.engine import Database
from masthead.store.schema import Json, UtcDateTime

TABLE = sa.Table(
    "conformance",
    sa.MetaData(),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("at", UtcDateTime),
    sa.Column("value", Json),
)


@pytest.fixture
def table(any_database: Database) -> sa.Table:
    TABLE.create(any_database.engine)
    return TABLE


def rows(database: Database) -> list[tuple[object, ...]]:
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(sa.select(TABLE).order_by(TABLE.c.name))]


def test_a_time_comes_back_aware_and_in_utc(any_database: Database, table: sa.Table) -> None:
    local = datetime(2026, 3, 1, 12, 0, tzinfo=timezone(timedelta(hours=2)))
    with any_database.write() as connection:
        connection.execute(table.insert(), {"name": "a", "at": local, "value": {"x": [1, None, "ä"]}})
    assert rows(any_database) == [("a", datetime(2026, 3, 1, 10, 0, tzinfo=UTC), {"x": [1, None, "ä"]})]


def test_an_exception_takes_the_whole_transaction_back(any_database: Database, table: sa.Table) -> None:
    def fail() -> None:
        with any_database.write() as connection:
            connection.execute(table.insert(), {"name": "a"})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert rows(any_database) == []


def test_ignore_keeps_the_first_and_upsert_the_last(any_database: Database, table: sa.Table) -> None:
    with any_database.write() as connection:
        assert (
            any_database.insert_ignore(
                connection, table, [{"name": "a", "value": 1}, {"name": "b", "value": 2}]
            )
            == 2
        )
        assert any_database.insert_ignore(connection, table, [{"name": "a", "value": 9}]) == 0
        any_database.upsert(connection, table, {"name": "b", "value": 3})
    assert [row[2] for row in rows(any_database)] == [1, 3]


def test_the_version_tells_that_somebody_else_wrote(any_database: Database, table: sa.Table) -> None:
    other = Database.open(any_database.engine.url.render_as_string(hide_password=False))
    before = any_database.version()
    assert any_database.version() == before
    with other.write() as connection:
        connection.execute(table.insert(), {"name": "z"})
    assert any_database.version() != before
    other.close()
