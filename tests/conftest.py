"""What every test shares: a real PostgreSQL, databases on both engines, and no way off the machine."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy import text

from masthead.base.clock import ManualClock
from masthead.base.folder import DataFolder
from masthead.base.log import Journal
from masthead.store.engine import Database

# Hypothesis's 200 ms an example are wall time: on a busy machine they fail a test that has found nothing wrong.
settings.register_profile("masthead", deadline=None)
settings.load_profile("masthead")

_connect = socket.socket.connect


def _loopback_only(self: socket.socket, address: object) -> None:
    """Refuse every connection that would leave the machine."""
    host = address[0] if isinstance(address, tuple) else "localhost"
    if self.family in (socket.AF_INET, socket.AF_INET6) and host not in (
        "127.0.0.1",
        "localhost",
        "::1",
        "0.0.0.0",
    ):
        raise AssertionError(f"a test tried to reach {host}")
    _connect(self, address)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _stay_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", _loopback_only)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_700_000_000.0)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data").create()


@pytest.fixture
def journal(folder: DataFolder) -> Journal:
    return Journal(folder.logs)


@pytest.fixture(scope="session")
def empty_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with every declared table: copied in a millisecond, made in forty, a thousand times."""
    path = tmp_path_factory.mktemp("empty") / "masthead.db"
    made = Database.open(path)
    made.create_all()
    made.close()
    return path


@pytest.fixture
def database(folder: DataFolder, empty_tables: Path) -> Iterator[Database]:
    """A SQLite database with every declared table."""
    shutil.copy(empty_tables, folder.database_path)
    found = Database.open(folder.database_path)
    yield found
    found.close()


def free_port() -> int:
    """Return a port of loopback that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _postgres_binary(name: str) -> str:
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(places[-1]) if places else None)
    if not found:
        pytest.fail("PostgreSQL is missing: apt-get install postgresql")
    return found


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A PostgreSQL of our own on a socket in a temporary folder; the URL of its `postgres` database.

    PostgreSQL refuses to run as root, so root starts it as the user `postgres` that Debian's package makes.
    """
    root = Path(tempfile.mkdtemp(prefix="masthead-pg-"))
    as_user: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(root, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    initdb, postgres = _postgres_binary("initdb"), _postgres_binary("postgres")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "cwd": root}
    subprocess.run(
        [*as_user, initdb, "-D", root / "db", "-U", "postgres", "-A", "trust", "--no-sync"],
        check=True,
        **quiet,
    )
    port = free_port()
    options = ["-D", root / "db", "-k", root, "-p", str(port), "-h", "", "-c", "fsync=off"]
    process = subprocess.Popen([*as_user, postgres, *options], **quiet)
    url = f"postgresql+psycopg://postgres@/postgres?host={root}&port={port}"
    try:
        _wait_until_up(url)
        yield url
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(root, ignore_errors=True)


def _wait_until_up(url: str) -> None:
    for _ in range(100):
        probe = Database.open(url)
        try:
            with probe.engine.connect():
                return
        except Exception:
            time.sleep(0.1)
        finally:
            probe.close()
    pytest.fail("PostgreSQL did not start within 10 s")


@contextlib.contextmanager
def _postgres_database(server: str, template: str = "template1") -> Iterator[str]:
    """The URL of a new database, made like `template`."""
    name = f"t{time.time_ns()}"
    admin = Database.open(server)
    with admin.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    yield server.replace("/postgres?", f"/{name}?")
    with admin.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.close()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    with _postgres_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_tables(postgres_server: str) -> Iterator[str]:
    """The name of a PostgreSQL database with every declared table."""
    with _postgres_database(postgres_server) as url:
        made = Database.open(url)
        made.create_all()
        made.close()
        yield url.partition("?")[0].rpartition("/")[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def any_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """The same test on both engines, each with every declared table."""
    if request.param == "sqlite":
        yield request.getfixturevalue("database")
        return
    server, template = request.getfixturevalue("postgres_server"), request.getfixturevalue("postgres_tables")
    with _postgres_database(server, template) as url:
        found = Database.open(url)
        yield found
        found.close()
