"""`masthead backup FILE` and `masthead restore FILE`: an installation as one file, taken while it runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masthead.base.errors import Conflict, InvalidInput, LimitReached, MastheadError
from masthead.cli.addresses import Served, served
from masthead.cli.grammar import answer
from masthead.cli.installation import AsJson, Data, settings

if TYPE_CHECKING:
    from masthead.base.settings import Settings
    from masthead.store.engine import Database

_ERRORS: dict[int, type[MastheadError]] = {
    400: InvalidInput,
    409: Conflict,
    413: LimitReached,
    429: LimitReached,
}


def mount(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("backup")(backup)
    app.command("restore")(restore)


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Write the whole installation to FILE, also while it is served. The file holds its keys: keep it safe."""
    chosen = settings(data)
    check_covered(chosen)
    target = file.absolute()
    running = served(chosen.data)
    found = _ask(running, target) if running else _of_a_folder_at_rest(chosen, target)
    if not target.exists():
        raise Conflict(
            f"file: the server wrote {target} where only it can see it, as systemd's PrivateTmp and containers make it; "
            "name a file in a folder that both share"
        )
    answer({"file": str(target), "bytes": target.stat().st_size, **found}, as_json=as_json)


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Put aside what lies in the data folder.")] = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Make the data folder, and the database of database_url, what FILE holds. The server must be stopped, both empty."""
    from dataclasses import asdict

    from masthead.base.clock import SystemClock
    from masthead.base.folder import DataFolder
    from masthead.store.archive import read_archive

    chosen = settings(data)
    found, before = read_archive(
        file,
        DataFolder(chosen.data),
        force=force,
        now=SystemClock().now(),
        # The settings of the restored installation count: its folder may hold a file of them.
        database=lambda unpacked: _elsewhere(settings(unpacked)),
    )
    put_aside = {"put_aside": str(before)} if before else {}
    answer({"data": str(chosen.data.absolute()), **asdict(found), **put_aside}, as_json=as_json)


def check_covered(chosen: "Settings") -> None:
    """Refuse what a backup would leave out in silence.

    Raises:
        InvalidInput: Long jobs lie in a database of their own, which has tools of its own.
    """
    if chosen.flows_url:
        raise InvalidInput(
            "flows_url: a backup covers the data folder and database_url; back up "
            f"{chosen.flows_url.partition(':')[0]} with its own tools and copy the folder with the server stopped"
        )


def _elsewhere(chosen: "Settings") -> "Database | None":
    """Return the installation's database when it is not the data folder's own file."""
    from masthead.store.engine import Database

    return Database.open(chosen.database_url) if chosen.database_url else None


def _of_a_folder_at_rest(chosen: "Settings", target: Path) -> dict[str, Any]:
    from dataclasses import asdict
    from importlib.metadata import version

    from masthead.base.clock import SystemClock
    from masthead.base.errors import NotFound
    from masthead.base.folder import DataFolder
    from masthead.store.archive import write_archive

    folder = DataFolder(chosen.data)
    if not (folder.path.is_dir() if chosen.database_url else folder.database_path.exists()):
        raise NotFound(f"data: there is no installation in {chosen.data}")
    with folder.lock():
        database = _elsewhere(chosen)
        try:
            found = write_archive(
                folder, target, version=version("masthead"), now=SystemClock().now(), database=database
            )
        finally:
            if database is not None:
                database.close()
    return asdict(found)


def _ask(running: Served, target: Path) -> dict[str, Any]:
    """Let the running server write the file: only it knows when its sinks hold still."""
    import ssl
    import urllib.error
    import urllib.request

    request = urllib.request.Request(
        f"{running.url}/backup",
        data=json.dumps({"path": str(target)}).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {running.token}"},
    )
    # The address is this machine's own and the token is good for this one process: no name to verify.
    context = ssl._create_unverified_context() if running.url.startswith("https:") else None
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), *([urllib.request.HTTPSHandler(context=context)] if context else [])
    )
    try:
        with opener.open(request) as response:
            found: dict[str, Any] = json.load(response)
            return found
    except urllib.error.HTTPError as error:
        told = json.load(error)["error"]
        raise _ERRORS.get(error.code, MastheadError)(told["message"], field=told["field"]) from error
    except OSError as error:
        raise Conflict(f"server: it does not answer at {running.url}: {error}") from error
