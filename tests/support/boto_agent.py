"""A boto3 client in the hand of a test, in a process of its own so that its botocore and ours never meet."""

import base64
import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn

from masthead.app import Masthead
from masthead.aws.core import Core
from masthead.aws.gateway import Gateway
from masthead.aws.protocol import Request
from masthead.aws.serving import configured, listener_config

PROGRAM = Path(__file__).parents[1] / "wire" / "clients" / "agent.py"


class ClientFailed(Exception):
    """What boto3 raised: its class, and the error's code, message and modelled members."""

    def __init__(self, kind: str, response: dict[str, Any]) -> None:
        super().__init__(f"{kind}: {response}")
        self.kind, self.response = kind, response
        self.code: str = response["Error"]["Code"]
        self.message: str = response["Error"].get("Message", "")
        self.status: int = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


@dataclass
class Agent:
    """A process with boto3 in it; `core` answers what its clients of the door "pipe" send."""

    process: "subprocess.Popen[str]"
    core: Core | None = None

    def client(self, service: str, **settings: Any) -> "Boto":
        """Return a client; `settings` are those of `boto3.client`, and `door` and `validates` of the agent."""
        return Boto(self, service, settings)

    def call(
        self,
        service: str,
        settings: dict[str, Any],
        name: str,
        given: dict[str, Any],
        document: str | None = None,
    ) -> dict[str, Any]:
        """Return the answer to a call.

        Raises:
            ClientFailed: boto3 raised.
        """
        told = self._exchange(
            {"service": service, "settings": settings, "name": name, "given": given, "document": document}
        )
        while "send" in told:
            told = self._exchange(self._sent(told["send"]))
        if "error" in told:
            raise ClientFailed(told["class"], told["error"])
        answer: dict[str, Any] = told["answer"]
        answer.pop("ResponseMetadata", None)
        return answer

    def _exchange(self, line: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(line, default=_write_special) + "\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self.process.stdout.readline(), object_hook=_read_special)
        return found

    def _sent(self, sent: dict[str, Any]) -> dict[str, Any]:
        """Return what the core answers to a request that a client has signed."""
        assert self.core is not None
        url = urlsplit(sent["url"])
        headers = {name.lower(): value for name, value in sent["headers"].items()}
        headers.setdefault("host", url.netloc)  # written by the connection that there is none of here
        answer = self.core.handle(Request(sent["method"], url.path, url.query, headers, sent["body"]))
        return {"status": answer.status, "headers": list(answer.headers), "body": answer.body}


@dataclass
class Boto:
    """A boto3 client in another process: `boto.list_alerts(MaxResults=1)`, or by the operation's own name."""

    agent: Agent
    service: str
    settings: dict[str, Any]
    calls: list[str] = field(default_factory=list)

    def send(self, name: str, given: dict[str, Any], document: str | None = None) -> dict[str, Any]:
        """Return the answer to a call; `document` replaces the body that the client would send."""
        self.calls.append(name)
        return self.agent.call(self.service, self.settings, name, given, document)

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        return lambda **given: self.send(name, given)


@contextlib.contextmanager
def agent(python: Path, core: Core | None = None, home: Path | None = None) -> Iterator[Agent]:
    """Give a process with boto3; `home`: where it finds the files of a user."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    if home is not None:
        clean["HOME"] = str(home)
    process = subprocess.Popen(
        [str(python), str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean
    )
    try:
        yield Agent(process, core)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


@contextlib.contextmanager
def boto(python: Path, service: str, **settings: str) -> Iterator[Boto]:
    """Give a client of a service; `settings` are those of `boto3.client`."""
    with agent(python) as found:
        yield found.client(service, **settings)


def _write_special(value: Any) -> dict[str, str]:
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    assert isinstance(value, datetime)
    return {"$time": value.isoformat()}


def _read_special(given: dict[str, Any]) -> Any:
    if "$bytes" in given:
        return base64.b64decode(given["$bytes"])
    return datetime.fromisoformat(given["$time"]) if "$time" in given else given


class _Http(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def wire(masthead: Masthead, core: Core | None = None) -> Iterator[int]:
    """Serve an installation on a free port of loopback, as the server does on 8401; give the port.

    Args:
        masthead: The installation.
        core: What answers; default: the one that the server would have.
    """
    if core is None:
        config = listener_config(masthead, certificate=None, key=None, drain_s=1)
        config.port = 0
    else:
        config = configured(Gateway(core), drain_s=1)
    server = _Http(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
            assert thread.is_alive()
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
