"""An archive holds the whole database whichever engine it lies in, and moves an installation from one to the other."""

import importlib
import io
import json
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import masthead
from masthead.base.errors import Conflict, InvalidInput, LimitReached
from masthead.base.folder import DataFolder
from masthead.store import portable
from masthead.store.archive import read_archive, write_archive
from masthead.store.engine import Database
from masthead.store.migrate import migrate
from masthead.store.schema import Json, UtcDateTime, metadata

HOME = Path(masthead.__file__).parent
for found in sorted([*HOME.glob("*/re[cs]*.py"), *HOME.glob("*/*_records.py"), HOME / "store/notes.py"]):
    importlib.import_module(f"masthead.{found.parent.name}.{found.stem}")

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
VALUES: list[tuple[type, Callable[[int], Any]]] = [
    (UtcDateTime, lambda n: NOW.replace(microsecond=n)),
    (Json, lambda n: {"n": n, "text": "ä\u0000\n", "none": None, "list": [1.5, True]}),
    (sa.Boolean, lambda n: n % 2 == 0),
    (sa.BigInteger, lambda n: 2**60 + n),
    (sa.Integer, lambda n: n + 1),
    (sa.Float, lambda n: n + 0.1),
    (sa.LargeBinary, lambda n: bytes([0, 255, n % 256])),
    (sa.String, lambda n: f"'\"\\{n}€"),
]


def value(column: sa.Column[Any], n: int) -> Any:
    if column.nullable and n % 3 == 0:
        return None
    return next(make(n) for kind, make in VALUES if isinstance(column.type, kind))


def fill(database: Database, count: int = 3) -> None:
    with database.write() as connection:
        for table in metadata.sorted_tables:
            rows = [{column.name: value(column, n) for column in table.columns} for n in range(count)]
            connection.execute(table.insert(), rows)


def content(database: Database) -> dict[str, list[Any]]:
    with database.read() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(sa.select(table))), key=repr)
            for table in metadata.sorted_tables
        }


def only_row(database: Database, table: str) -> Any:
    with database.read() as connection:
        return connection.execute(sa.text(f'SELECT * FROM "{table}"')).one()


class Installations:
    """Data folders on either engine, and archives of them."""

    def __init__(self, tmp_path: Path, urls: dict[str, str]) -> None:
        self.tmp_path, self.urls = tmp_path, urls

    def open(self, engine: str, name: str) -> Database:
        return Database.open(self.urls[engine] if engine == "postgresql" else self.folder(name).database_path)

    def folder(self, name: str) -> DataFolder:
        return DataFolder(self.tmp_path / name)

    def made(self, engine: str, name: str) -> Database:
        self.folder(name).create()
        (self.folder(name).path / "master.key").write_text(name)
        database = self.open(engine, name)
        migrate(database)
        return database

    def backup(self, engine: str, name: str, file: str = "backup") -> Path:
        target, database = self.tmp_path / file, self.open(engine, name)
        outside = database if engine == "postgresql" else None
        write_archive(self.folder(name), target, version="1", now=NOW, database=outside)
        database.close()
        return target

    def restore(self, file: Path, engine: str, name: str, *, force: bool = False) -> Path | None:
        def opened(_: Path) -> Database | None:
            return self.open(engine, name) if engine == "postgresql" else None

        return read_archive(file, self.folder(name), force=force, now=NOW, database=opened)[1]


@pytest.fixture
def installations(tmp_path: Path, postgres_url: str) -> Installations:
    return Installations(tmp_path, {"postgresql": postgres_url})


def emptied(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))


@pytest.mark.parametrize("source", ["sqlite", "postgresql"])
@pytest.mark.parametrize("target", ["sqlite", "postgresql"])
def test_every_table_comes_back_on_either_engine(
    installations: Installations, source: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portable, "_BATCH", 2)  # several batches of a table
    database = installations.made(source, "first")
    fill(database, 7)
    before = content(database)
    file = installations.backup(source, "first")
    if source == target == "postgresql":
        emptied(database)
    database.close()
    installations.restore(file, target, "second")
    again = installations.open(target, "second")
    assert content(again) == before
    assert (installations.folder("second").path / "master.key").read_text() == "first"
    assert installations.folder("second").database_path.exists() is (target == "sqlite")
    again.close()


def test_numbers_that_postgresql_gives_go_on_behind_the_restored_ones(installations: Installations) -> None:
    database = installations.made("sqlite", "first")
    fill(database)
    file = installations.backup("sqlite", "first")
    database.close()
    installations.restore(file, "postgresql", "second")
    again = installations.open("postgresql", "second")
    table = metadata.tables["group_feedback"]
    row = {column.name: value(column, 1) for column in table.columns if column.name != "id"}
    with again.write() as connection:
        numbers = [connection.execute(table.insert().returning(table.c.id), row).scalar_one() for _ in "ab"]
    assert numbers == [4, 5]
    again.close()


def test_a_backup_holds_the_moment_at_which_the_sinks_held_still(installations: Installations) -> None:
    database = installations.made("postgresql", "first")
    fill(database, 1)
    before = content(database)
    with portable.snapshot(database) as view:
        fill_more = metadata.tables["access_revisions"].insert()
        with database.write() as connection:
            connection.execute(fill_more, {"name": "later", "value": 1})
        portable.write_portable(view, installations.tmp_path / "copy.db")
    copy = Database.open(installations.tmp_path / "copy.db")
    assert content(copy) == before
    copy.close()
    database.close()


def test_a_database_with_rows_is_replaced_only_by_force_and_put_aside(installations: Installations) -> None:
    database = installations.made("postgresql", "first")
    fill(database, 2)
    new = content(database)
    file = installations.backup("postgresql", "first")
    with database.write() as connection:
        connection.execute(sa.text("UPDATE access_revisions SET value = 99"))
    old = content(database)
    with pytest.raises(Conflict, match="not empty"):
        installations.restore(file, "postgresql", "second")
    assert not installations.folder("second").path.exists()
    assert content(database) == old

    aside = installations.restore(file, "postgresql", "second", force=True)
    assert content(database) == new
    assert aside is not None
    kept = Database.open(aside / "database.db")
    assert content(kept) == old
    kept.close()
    database.close()


def test_what_fails_at_the_last_moment_leaves_folder_and_database_as_they_were(
    installations: Installations, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = installations.made("postgresql", "first")
    fill(database, 2)
    file = installations.backup("postgresql", "first")
    with database.write() as connection:
        connection.execute(sa.text("UPDATE access_revisions SET value = 99"))
    before = content(database)
    (installations.folder("first").path / "master.key").write_text("present")

    def no_space(*_: Any, **__: Any) -> None:
        raise LimitReached("disk: full")

    monkeypatch.setattr(Database, "_count_change", no_space)  # after the last row, before the commit
    with pytest.raises(LimitReached):
        installations.restore(file, "postgresql", "first", force=True)
    assert content(database) == before
    assert (installations.folder("first").path / "master.key").read_text() == "present"
    assert sorted(path.name for path in installations.tmp_path.iterdir()) == ["backup", "first"]
    database.close()


def test_a_row_that_postgresql_cannot_hold_is_named_and_nothing_changes(installations: Installations) -> None:
    database = installations.made("sqlite", "first")
    with database.write() as connection:
        connection.execute(metadata.tables["access_revisions"].insert(), {"name": "n" * 40, "value": 1})
    file = installations.backup("sqlite", "first")
    database.close()
    with pytest.raises(InvalidInput, match=r"does not fit.*too long"):
        installations.restore(file, "postgresql", "second")
    assert not installations.folder("second").path.exists()


def test_a_database_that_does_not_answer_is_told_in_one_line_without_its_password(
    installations: Installations,
) -> None:
    installations.made("sqlite", "first").close()
    file = installations.backup("sqlite", "first")
    installations.urls["postgresql"] = "postgresql://somebody:secret@127.0.0.1:1/none"
    with pytest.raises(Conflict, match="database_url") as told:
        installations.restore(file, "postgresql", "second")
    assert ("secret" in str(told.value), str(told.value).count("\n")) == (False, 0)


# ---------------------------------------------------------------- archives that cannot be used


def rewritten(file: Path, change: Callable[[str, bytes], bytes]) -> None:
    with tarfile.open(file) as tar:
        held = [(one.name, tar.extractfile(one).read()) for one in tar]  # type: ignore[union-attr]
    with tarfile.open(file, "w:gz") as tar:
        for name, data in held:
            info = tarfile.TarInfo(name)
            info.size = len(new := change(name, data))
            tar.addfile(info, io.BytesIO(new))


def newer_format(name: str, data: bytes) -> bytes:
    if name != "manifest.json":
        return data
    return json.dumps(json.loads(data) | {"format": 2, "version": "9.0", "further": 1}).encode()


def newer_tables(name: str, data: bytes) -> bytes:
    if name != "data/masthead.db":
        return data
    with tempfile.TemporaryDirectory() as folder, closing(sqlite3.connect(f"{folder}/db")) as database:
        Path(folder, "db").write_bytes(data)
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return Path(folder, "db").read_bytes()


def no_database(name: str, data: bytes) -> bytes:
    return b"SQLite format 3\x00 and then noise" * 300 if name == "data/masthead.db" else data


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (newer_format, Conflict, "format 2, written by Masthead 9.0"),
        (newer_tables, Conflict, "newer"),
        (no_database, InvalidInput, "expected a database of Masthead"),
    ],
)
def test_an_archive_of_a_newer_version_or_with_a_broken_database_changes_nothing(
    installations: Installations, engine: str, change: Any, error: type[Exception], told: str
) -> None:
    installations.made("sqlite", "first").close()
    file = installations.backup("sqlite", "first")
    rewritten(file, change)
    with pytest.raises(error, match=told):
        installations.restore(file, engine, "second")
    assert sorted(path.name for path in installations.tmp_path.iterdir()) == ["backup", "first"]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9, 1.0])
def test_what_is_missing_at_the_end_or_changed_in_the_middle_is_found(
    installations: Installations, share: float
) -> None:
    installations.made("sqlite", "first").close()
    file = installations.backup("sqlite", "first")
    whole = file.read_bytes()
    place = 40 + int(share * (len(whole) - 50))
    noise = bytes(byte ^ 0x55 for byte in whole[place : place + 8])
    for broken in (whole[:place] + noise + whole[place + 8 :], whole[:place], whole[:-1]):
        file.write_bytes(broken)
        with pytest.raises(InvalidInput, match="whole backup"):
            installations.restore(file, "sqlite", "second")
        assert sorted(path.name for path in installations.tmp_path.iterdir()) == ["backup", "first"]
