"""The migrations make exactly the tables that the rooms declare, on both engines, and keep what was there."""

import importlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

import masthead
from masthead.base.errors import Conflict
from masthead.base.folder import DataFolder
from masthead.store.engine import Database
from masthead.store.migrate import migrate
from masthead.store.schema import metadata

HOME = Path(masthead.__file__).parent
for found in sorted([*HOME.rglob("re[cs]*.py"), *HOME.rglob("*_records.py"), HOME / "store/notes.py"]):
    importlib.import_module(".".join(("masthead", *found.relative_to(HOME).with_suffix("").parts)))


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, folder: DataFolder) -> Iterator[Database]:
    url = folder.database_path if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    database = Database.open(url)
    yield database
    database.close()


def test_the_migrations_make_what_the_rooms_declare(empty: Database) -> None:
    assert migrate(empty)
    with empty.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    assert migrate(empty) == []


def test_a_database_of_a_newer_version_is_refused(empty: Database) -> None:
    migrate(empty)
    with empty.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Conflict, match="newer"):
        migrate(empty)


def test_a_copy_is_kept_before_a_migration(folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database.open(folder.database_path)
    migrate(database)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'older'"))
    walk = "alembic.script.ScriptDirectory.walk_revisions"
    script = type("Script", (), {"revision": "older"})()
    newer = type("Script", (), {"revision": "newer"})()
    monkeypatch.setattr(walk, lambda self: iter([newer, script]))
    monkeypatch.setattr("alembic.command.upgrade", lambda config, to: None)
    assert migrate(database, copy_from=folder.database_path) == ["newer"]
    copy = folder.database_path.with_name("masthead.db.before-newer")
    with sqlite3.connect(copy) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("older",)
    database.close()
