"""One installation behind the native API, served on loopback."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
import uvicorn
from fastapi import FastAPI
from fresh import fresh
from keyed import key_header

from masthead.api.factory import create_api
from masthead.app import Masthead
from masthead.base.log import configure_logs
from masthead.base.settings import Settings
from masthead.streams.readings import Reading

Serving = Callable[..., contextlib.AbstractContextManager[httpx.Client]]


class _Http(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@pytest.fixture
def masthead(tmp_path: Path) -> Iterator[Masthead]:
    with Masthead.open(Settings(data=fresh(tmp_path / "data"), max_body_mib=0.01)) as found:
        yield found


@pytest.fixture
def stored(masthead: Masthead) -> list[Reading]:
    """What a door stores, in place of the broker's log."""
    found: list[Reading] = []

    def store(readings: Sequence[Reading], *, partly: bool = False) -> list[int]:
        found.extend(readings)
        return [1] * len(readings)

    masthead.register_ingest(store)
    return found


class _Switch:
    """One server for all tests; each puts its own application behind it."""

    def __init__(self) -> None:
        self.app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


@pytest.fixture(scope="session")
def _served() -> Iterator[tuple[_Switch, int]]:
    configure_logs(as_json=True, level="warning")
    switch = _Switch()
    server = _Http(uvicorn.Config(switch, port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.005)
    yield switch, server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()
    structlog.reset_defaults()


@pytest.fixture
def serving(_served: tuple[_Switch, int]) -> Serving:
    """Serves an application and gives a client of it, which shows a key of an administrator unless told otherwise."""
    switch, port = _served

    @contextlib.contextmanager
    def serve(app: FastAPI, headers: dict[str, str] | None = None) -> Iterator[httpx.Client]:
        switch.app = app
        shown = key_header(app.state.masthead) if headers is None else headers
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers=shown, trust_env=False, timeout=30
        ) as client:
            yield client

    return serve


@pytest.fixture
def api(masthead: Masthead, serving: Serving) -> Iterator[httpx.Client]:
    with serving(create_api(masthead)) as client:
        yield client
