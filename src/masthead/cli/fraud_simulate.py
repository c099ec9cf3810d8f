"""`masthead fraud simulate`: transactions replayed through a running server, and how well they were judged."""

import contextlib
import http.client
import json
import ssl
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masthead.base.errors import Conflict, InvalidInput, LimitReached, MastheadError, NotFound, shown
from masthead.cli.addresses import Served, served
from masthead.cli.installation import AsJson, Data, installation, settings
from masthead.cli.output import print_json

if TYPE_CHECKING:
    from masthead.fraud.desk.simulate import Material, Plan

__all__ = ["add"]

_LOAD_S = 600.0


def add(app: typer.Typer) -> None:
    """Add the command to `masthead fraud`."""
    app.command("simulate")(simulate)


def simulate(
    source: Annotated[
        str,
        typer.Option(
            "--source",
            metavar="generated|FILE",
            help="Made-up payments with rings, or your files of the live schema.",
        ),
    ] = "generated",
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="FILE", help="What became known of FILE's transactions."),
    ] = None,
    rate: Annotated[float, typer.Option("--rate", metavar="N", help="Transactions a second.")] = 50.0,
    duration: Annotated[float, typer.Option("--duration", metavar="S", help="How long, seconds.")] = 300.0,
    concurrent: Annotated[int, typer.Option("--concurrent", metavar="N", help="Requests at once.")] = 8,
    fraud_share: Annotated[
        float | None,
        typer.Option(
            "--fraud-share",
            metavar="0..0.5",
            help="Share of fraud. [default: 0.035 of made-up ones, as it is in FILE]",
        ),
    ] = None,
    history: Annotated[
        int, typer.Option("--history", metavar="N", help="Stored before the first is sent.")
    ] = 10_000,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of what is made up.")] = 1,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the simulated transactions in the server.")
    ] = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Replay transactions through the running server and hold its decisions against the truth.

    They lie in a space of their own, and never touch real ones.
    """
    from masthead.fraud.desk.simulate import Plan

    plan = Plan(rate, duration, concurrent, fraud_share, seed, history)
    with _key(data, duration) as key:
        found = _simulated(_Server(_running(data), key), source, labels, plan, keep=keep)
    space = found["space"]
    if as_json:
        print_json(found)
    else:
        print(_line(found) + (f"; kept in the space {space}" if keep else "; deleted again"))


def _simulated(
    server: "_Server", source: str, labels: Path | None, plan: "Plan", *, keep: bool
) -> dict[str, Any]:
    from masthead.fraud.desk.simulate import Simulation

    with tempfile.TemporaryDirectory(prefix="masthead-simulate-") as folder:
        material = _material(source, labels, plan, Path(folder), server)
        space = str(server.ask("POST", "/fraud/simulations", {})["name"])
        try:
            server.space = space
            _load(server, material, Path(folder))
            found = Simulation(material, plan).run(server, told=_tell)
        finally:
            if sys.stderr.isatty():
                sys.stderr.write("\n")
            if not keep:
                server.ask("DELETE", f"/fraud/simulations/{space}", None)
    return {**found, "space": space, "kept": keep}


@contextlib.contextmanager
def _key(data: Path | None, duration_s: float) -> Iterator[str]:
    """Give a key that may do what is to do with transactions; it is revoked at the end, and ends by itself."""
    with installation(data) as masthead:
        made = masthead.keys.create_key("simulate", ["fraud"], expires_s=int(duration_s + _LOAD_S + 3_600))
    try:
        yield f"{made.key.id}.{made.secret}"
    finally:
        with installation(data) as masthead:
            masthead.keys.revoke_key(made.key.id)


def _running(data: Path | None) -> Served:
    folder = settings(data).data
    found = served(folder)
    if found is None:
        raise NotFound(f"server: none runs over {folder}; start one with masthead serve")
    return found


def _material(source: str, labels: Path | None, plan: "Plan", folder: Path, server: "_Server") -> "Material":
    from masthead.fraud.data.schema import Schema
    from masthead.fraud.desk.simulate import generated, read_material

    if source == "generated":
        return generated(plan, folder)
    if not Path(source).exists():
        raise InvalidInput(f"source: expected generated or a file that is there, got {shown(source)}")
    live = server.ask("GET", "/fraud/schema", None)
    path = Path(source)
    beside = path / "labels.csv"
    return read_material(
        Schema.parse(str(live["schema"]), source="the server's schema"),
        [path],
        labels or (beside if path.is_dir() and beside.is_file() else None),
        plan,
    )


def _load(server: "_Server", material: "Material", folder: Path) -> None:
    """Store what happened before, and return when it is there."""
    history = material.write_history(folder)
    if history is None:
        return
    body = {"paths": [str(history[0])], "labels": str(history[1])}
    job = server.ask("POST", f"/fraud/loads?space={server.space}", body)
    ends = time.monotonic() + _LOAD_S
    while (found := server.ask("GET", f"/fraud/loads/{job['id']}", None))["state"] in ("waiting", "running"):
        if time.monotonic() > ends:
            raise LimitReached(f"load: expected the history to be stored within {_LOAD_S:g} s")
        time.sleep(0.1)
    if found["state"] != "done":
        raise Conflict(f"load: {found.get('error') or found['state']}")


def _tell(found: dict[str, Any]) -> None:
    """Show on a terminal how far it is."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{_line(found)}")
        sys.stderr.flush()


def _line(found: Mapping[str, Any]) -> str:
    def of(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    failed = f", {found['failed']:,} failed ({found['problem']})" if found["failed"] else ""
    return (
        f"{found['sent']:,} of {found['total']:,} transactions at {found['per_second']:g} a second{failed}, "
        f"{found['frauds']:,} frauds, {found['flagged']:,} flagged: precision {of(found['precision'])}, recall "
        f"{of(found['recall'])}, AP {of(found['average_precision'])}; rings caught {found['rings_caught']} of "
        f"{found['rings']}; p50 {found['p50_ms']} ms, p99 {found['p99_ms']} ms"
    )


class _Server:
    """The running server over HTTP, one connection a thread."""

    def __init__(self, running: Served, key: str) -> None:
        self._at, self._token = urllib.parse.urlsplit(running.url), key
        self._own = threading.local()
        self.space = ""

    def score(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        return self.ask("POST", f"/fraud/transactions?space={self.space}", record)

    def label(self, id: str, value: int, arrived_at: int) -> None:
        from masthead.base.clock import utc

        told = {
            "id": id,
            "value": "fraud" if value else "legit",
            "source": "chargeback" if value else "import",
            "arrived_at": utc(arrived_at / 1e6).isoformat(),
        }
        self.ask("POST", f"/fraud/labels?space={self.space}", told)

    def ask(self, method: str, path: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the JSON answer.

        Raises:
            MastheadError: The server refuses. OSError: It does not answer.
        """
        body = None if given is None else json.dumps(given)
        try:
            status, content = self._sent(method, path, body)
        except (http.client.HTTPException, ConnectionError):
            self._own.connection = None  # the server lets go of a connection that was idle: a new one, once
            try:
                status, content = self._sent(method, path, body)
            except http.client.HTTPException as error:
                raise OSError(f"the server does not answer: {error!r}") from error
        found: dict[str, Any] = json.loads(content) if content else {}
        if status >= 400:
            raise _error(status, found)
        return found

    def _sent(self, method: str, path: str, body: str | None) -> tuple[int, bytes]:
        connection = getattr(self._own, "connection", None) or self._connect()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._at.hostname or "127.0.0.1", self._at.port
        if self._at.scheme == "https":  # the own machine: no name to verify
            made: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, context=ssl._create_unverified_context(), timeout=60
            )
        else:
            made = http.client.HTTPConnection(host, port, timeout=60)
        self._own.connection = made
        return made


def _error(status: int, found: Mapping[str, Any]) -> MastheadError:
    told = found.get("error", found)
    text = str(told.get("message", told)) if isinstance(told, Mapping) else str(told)
    kinds: dict[int, type[MastheadError]] = {400: InvalidInput, 404: NotFound, 429: LimitReached}
    return kinds.get(status, Conflict)(text)
