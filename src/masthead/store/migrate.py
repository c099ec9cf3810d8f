"""Brings a database to the present schema, with a copy of a SQLite file before the first change."""

import shutil
import sqlite3
from pathlib import Path

from sqlalchemy import inspect, text

from masthead.base.errors import Conflict
from masthead.base.log import get_logger
from masthead.store.engine import Database

_COPIES = 3
_MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(database: Database, *, copy_from: Path | None = None) -> list[str]:
    """Run the migrations that the database lacks and return their names; [] when it is up to date.

    Args:
        database: What to migrate.
        copy_from: The SQLite file, when it is one: copied to `NAME.before-REVISION` first. The last three
            copies are kept.

    Raises:
        Conflict: The database was written by a newer version of Masthead.
    """
    if _is_newest(database):
        return []
    # Alembic costs a command a tenth of a second; only one of many finds something to migrate.
    from alembic import command
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    with database.engine.connect() as connection:
        present = MigrationContext.configure(connection).get_current_revision()
    known = [script.revision for script in reversed(list(scripts.walk_revisions()))]
    if present is not None and present not in known:
        raise Conflict(
            f"database: revision {present} is newer than this version of Masthead knows; install the newer one"
        )
    missing = known[known.index(present) + 1 :] if present else known
    if not missing:
        return []
    if copy_from is not None and present is not None:
        _copy_before(copy_from, missing[0])
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    get_logger("store").info("database migrated", revisions=missing)
    return missing


def _is_newest(database: Database) -> bool:
    """Return whether the database has the last migration; their files are named by number, `0001_first.py`."""
    last = max(path.name.partition("_")[0] for path in _MIGRATIONS.glob("versions/[0-9]*.py"))
    with database.engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return False
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [last]


def _copy_before(path: Path, revision: str) -> None:
    target = path.with_name(f"{path.name}.before-{revision}")
    with sqlite3.connect(path) as source, sqlite3.connect(target) as copy:
        source.backup(copy)
    shutil.copymode(path, target)
    for old in sorted(path.parent.glob(f"{path.name}.before-*"), key=lambda found: found.stat().st_mtime)[
        :-_COPIES
    ]:
        old.unlink()
